"""What is found in contacts that are broken on purpose, in clips, and in filtered spectra."""

import warnings

import numpy as np
import pytest
from scipy.signal import butter, iirnotch, lfilter, sosfiltfilt

from brainbert.processing.recordings import (
    assess_quality,
    check_clips,
    cut_clips,
    estimate_band,
    recording_clip_problems,
)


@pytest.fixture
def broken(make_recording):
    """Seven contacts: good, flat, mostly missing, mostly zero, clipped, spiking, and good with one lost second."""
    names = ("G1", "F1", "N1", "Z1", "C1", "S1", "L1")
    data = make_recording(names, seconds=20).data.copy()
    _, flat, missing, zero, clipped, spiking, lost = data
    flat[:] = 7.0
    missing[300 : 300 + 10240 // 4] = np.nan
    zero[: 10240 // 4] = 0.0
    np.clip(clipped, -60, 60, out=clipped)
    spiking[::15] += 5000.0
    lost[5120:5632] = 0.0
    return make_recording(names, data=data)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_each_fault_is_named(broken):
    report = assess_quality(broken)
    assert report.bad == {"F1": "flat", "N1": "not finite", "Z1": "zeros", "C1": "clipped", "S1": "spiking"}
    assert "F1" in report.to_text()
    assert "not finite" in str(report)
    assert report.table[0]["reason"] == ""
    assert report.table[0]["sd_uv"] == pytest.approx(50, rel=0.01)
    assert report.table[3]["zero_share"] == 0.25
    assert report.table[6]["zero_share"] == 0.05


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_mask_holds_stretches_of_good_contacts_and_all_of_bad_ones(broken):
    mask = assess_quality(broken).mask
    assert mask.shape == broken.data.shape
    assert not mask[0].any()
    assert mask[1:6].all()
    np.testing.assert_array_equal(np.flatnonzero(mask[6]), np.arange(5120, 5632))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_contacts_that_were_bad_keep_their_reason(make_recording):
    assert assess_quality(make_recording(("A1", "A2"), bad={"A1": "resected"})).bad == {"A1": "resected"}


def test_missing_samples_are_artefacts_up_to_the_share_that_held_ones_are(make_recording):
    data = make_recording(("A1", "A2", "A3", "A4"), seconds=100).data.copy()
    data[0, 7] = np.nan
    data[1, 5120:15360] = np.inf  # 20 %
    data[2, 5120:15361] = np.nan  # one more
    report = assess_quality(make_recording(("A1", "A2", "A3", "A4"), data=data))
    assert report.bad == {"A3": "not finite"}
    assert report.artefacts["A1"] == ((7 / 512, 8 / 512),)
    assert report.artefacts["A2"] == ((10.0, 30.0),)
    assert report.table[1]["nan_share"] == 0.2
    assert report.table[1]["held_share"] == 0.0


def test_a_wrong_unit_that_reading_has_warned_about_is_not_warned_about_again(make_recording):
    data = make_recording(("A1", "A2")).data / 1000
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = assess_quality(make_recording(("A1", "A2"), data=data, history=({"step": "read"},)))
    assert len(report.warnings) == 1


def test_clean_quantised_signal_is_not_called_clipped_or_held(make_recording):
    data = make_recording(("A1", "A2"), rate=2048.0).data
    report = assess_quality(make_recording(("A1", "A2"), rate=2048.0, data=np.round(data * 2) / 2))
    assert report.bad == {}
    assert report.artefacts == {}


def test_epileptic_spikes_are_physiology(make_recording):
    data = make_recording(("A1", "A2")).data.copy()
    spike = 2000 * np.hanning(36).astype(np.float32)  # 70 ms, 2 mV, once a second
    for start in range(100, 5000, 512):
        data[0, start : start + 36] += spike
    assert assess_quality(make_recording(("A1", "A2"), data=data)).bad == {}


def test_an_implausible_unit_is_warned_about(make_recording):
    recording = make_recording(("A1", "A2"))
    with pytest.warns(UserWarning, match="standard deviation is 0.05 µV, outside 0.5 to 5000 µV: check the unit"):
        report = assess_quality(recording.with_step("x", {}, data=recording.data / 1000))
    assert len(report.warnings) == 1


def filtered(make_recording, rate: float, high: float):
    recording = make_recording(("A1", "A2"), rate=rate, seconds=30)
    sections = butter(4, [0.5, high], "bandpass", fs=rate, output="sos")
    return recording.with_step("x", {}, data=sosfiltfilt(sections, recording.data).astype(np.float32))


# Measured over seeds and slopes: within 4 % of the nominal edge of filters run forward and backward.
@pytest.mark.parametrize(("rate", "high"), [(512.0, 150.0), (1000.0, 100.0), (2048.0, 150.0), (399.61, 70.0)])
def test_the_band_ends_at_the_filter(make_recording, rate, high):
    with pytest.warns(UserWarning, match=r"pass band ends near .* Hz: the front end's bins above"):
        low, top = estimate_band(filtered(make_recording, rate, high))
    assert top == pytest.approx(high, rel=0.06)
    assert 0.3 < low < 0.8


@pytest.mark.parametrize("rate", [512.0, 1000.0, 5000.0])
def test_an_unfiltered_signal_has_the_whole_band_with_line_noise_and_with_notches(make_recording, rate):
    recording = make_recording(("A1", "A2"), rate=rate, seconds=30)
    notched = recording.data.astype(np.float64)
    for frequency in (60, 120, 180, 240):
        notched = lfilter(*iirnotch(frequency, 30, fs=rate), notched)
    line = 100 * np.sin(2 * np.pi * 50 * np.arange(recording.num_samples) / rate)
    for data in (recording.data, notched, recording.data + line):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert estimate_band(recording.with_step("x", {}, data=data.astype(np.float32))) == (0.0, 0.45 * rate)


def test_the_band_is_measured_beside_a_gap_that_all_contacts_have(make_recording):
    recording = make_recording(("A1", "A2"), seconds=600)
    data = sosfiltfilt(butter(4, 100, fs=512, output="sos"), recording.data).astype(np.float32)
    data[:, 512 * 240 : 512 * 360] = np.nan  # the middle two minutes, which are looked at otherwise
    _, high = estimate_band(make_recording(("A1", "A2"), data=data), warn=False)
    assert high == pytest.approx(100, rel=0.06)


def test_the_band_ends_where_rounding_noise_begins(make_recording):
    recording = make_recording(("A1",), rate=1000.0, seconds=30)
    steep = np.cumsum(recording.data.astype(np.float64), axis=-1)  # 1/f³
    steep = np.round(50 * (steep - steep.mean()) / steep.std() / 0.5) * 0.5
    density = 0.5**2 / 12 / 500
    _, high = estimate_band(recording.with_step("x", {}, data=steep.astype(np.float32)), warn=False)
    # By hand: a 1/f³ spectrum with knee at 0.5 Hz and 2500 µV² meets the rounding density between 60 and 300 Hz.
    assert 30 < high < 300
    assert density < 1e-4


def test_a_known_band_is_never_widened(make_recording):
    assert estimate_band(make_recording(("A1",), band_hz=(1.0, 120.0)), warn=False) == (1.0, 120.0)


def test_a_recording_without_signal_has_no_band(make_recording):
    recording = make_recording(("A1",), data=np.zeros((1, 5120), np.float32))
    with pytest.raises(ValueError, match=r"No good contact has a finite, changing signal; look at assess_quality"):
        estimate_band(recording)
    assert assess_quality(recording).band_hz is None


def test_clips_are_cut_without_overlap_from_good_contacts(make_recording):
    recording = make_recording(("A1", "A2", "A3"), seconds=12.5, bad={"A2": "flat"})
    pieces = dict(cut_clips(recording, clip_s=5.0))
    assert sorted(pieces) == [0, 2]
    assert pieces[2].shape == (2, 2560)
    np.testing.assert_array_equal(pieces[2][1], recording.data[2, 2560:5120])
    assert np.shares_memory(pieces[2], recording.data)


def test_a_recording_shorter_than_a_clip_is_refused_at_once(make_recording):
    with pytest.raises(ValueError, match=r"lasts 4\.00 s and a clip 5 s; use a smaller clip_s"):
        cut_clips(make_recording(seconds=4))


@pytest.mark.parametrize("lengths", [{"clip_s": 0.0}, {"stride_s": 0.0}, {"stride_s": -1.0}])
def test_a_clip_without_samples_is_refused(make_recording, lengths):
    with pytest.raises(ValueError, match="have no samples; use a longer clip_s or stride_s"):
        cut_clips(make_recording(), **lengths)


def test_clips_overlap_when_asked_to(make_recording):
    recording = make_recording(("A1",), seconds=10, artefacts={"A1": ((4.5, 4.6),)})
    [(_, clips)] = cut_clips(recording, clip_s=4.0, stride_s=2.0)
    assert clips.shape == (4, 2048)  # from 0, 2, 4 and 6 s
    np.testing.assert_array_equal(clips[3], recording.data[0, 3072:5120])
    problems = recording_clip_problems(recording, 0, clip_s=4.0, stride_s=2.0)
    assert problems.tolist() == ["", "artefact", "artefact", ""]


def test_each_unfit_clip_is_named(make_recording):
    clips = make_recording(("A1", "A2", "A3", "A4", "A5", "A6", "A7"), rate=2048.0, seconds=5).data.copy()
    clips[1, 5] = np.inf
    clips[2] = 3.0
    clips[3, 100:150] = 0.0  # 24 ms, the shortest wavelet of the superlets
    clips[4] = np.clip(clips[4], -60, 60)
    clips[5, ::8] += 1e5
    clips[6, 100:140] = 0.0  # 19.5 ms: allowed
    assert check_clips(clips).tolist() == ["", "not finite", "flat", "zeros", "clipped", "spiking", ""]


def test_one_clip_alone_is_refused():
    with pytest.raises(ValueError, match=r"clips are \(100,\); give \(clips, samples\)"):
        check_clips(np.zeros(100))


def test_artefacts_of_the_raw_signal_reach_the_clips(make_recording):
    recording = make_recording(("A1", "A2"), seconds=20, artefacts={"A1": ((4.9, 5.1), (12.0, 12.2))})
    assert recording_clip_problems(recording, 0).tolist() == ["artefact", "artefact", "artefact", ""]
    assert recording_clip_problems(recording, 1).tolist() == [""] * 4
