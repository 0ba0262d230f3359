"""Line-noise filters: the paper's, a zero-phase one, and what they refuse."""

import mne
import numpy as np
import pytest
from scipy.signal import iirnotch, lfilter

from brainbert.processing.recordings import mark_bad, remove_line_noise
from brainbert.processing.recordings.filters import plan_line_filter
from brainbert.processing.recordings.recording import RecordingHeader


def test_the_causal_notch_is_the_papers(make_recording):
    data = make_recording(("A1", "A2"), rate=2048.0, seconds=3).data
    recording = make_recording(("A1", "A2"), rate=2048.0, data=data - data[:, :1])  # starts at zero
    expected = recording.data.astype(np.float64)
    for frequency in (60, 120, 180, 240, 300, 360):
        b, a = iirnotch(frequency, 30, fs=2048)
        expected = lfilter(b, a, expected)
    result = remove_line_noise(recording, 60)
    np.testing.assert_allclose(result.data, expected, atol=1e-4)
    assert result.history[-1] == {
        "step": "remove_line_noise",
        "frequency_hz": 60.0,
        "method": "causal-notch",
        "notches_hz": [60.0, 120.0, 180.0, 240.0, 300.0, 360.0],
        "quality_factor": 30.0,
        "starts_from": "first sample",
        "reach_s": [0.0, pytest.approx(5 * 30 / (np.pi * 60))],
    }


@pytest.mark.parametrize("method", ["causal-notch", "zero-phase-fir"])
def test_a_constant_passes_as_it_is(make_recording, method):
    recording = make_recording(("A1",))
    shifted = remove_line_noise(make_recording(("A1",), data=recording.data + np.float32(16384)), 50, method=method)
    alone = remove_line_noise(recording, 50, method=method)
    np.testing.assert_allclose(shifted.data.astype(np.float64) - 16384, alone.data, atol=0.01)


@pytest.mark.parametrize(
    ("method", "stretches"),
    [
        ("causal-notch", ((1.0, 2.0 + 3 / np.pi), (5.0, 6.5 + 3 / np.pi), (9.9, 10.0))),  # 5 · 30 / (π · 50)
        ("zero-phase-fir", ((0.0, 10.0),)),
    ],
)
def test_artefacts_grow_by_the_reach_of_the_filter_and_join(make_recording, method, stretches):
    recording = make_recording(("A1",), artefacts={"A1": ((9.9, 9.95), (5.0, 6.0), (6.4, 6.5), (1.0, 2.0))})
    found = remove_line_noise(recording, 50, method=method).artefacts["A1"]
    np.testing.assert_allclose(found, stretches)


@pytest.mark.parametrize("method", ["causal-notch", "zero-phase-fir"])
def test_beyond_its_reach_the_filter_has_forgotten_a_step(make_recording, method):
    data = np.zeros((1, 20_000), np.float32)
    data[0, 9_000:10_000] = 5000.0
    recording = make_recording(("A1",), rate=1000.0, data=data, artefacts={"A1": ((9.0, 10.0),)})
    result = remove_line_noise(recording, 50, method=method)
    [(start, stop)] = result.artefacts["A1"]
    outside = np.abs(np.concatenate([result.data[0, : int(start * 1000)], result.data[0, int(stop * 1000) + 1 :]]))
    inside = np.abs(result.data[0, int(start * 1000) : 9_000]), np.abs(result.data[0, 10_000 : int(stop * 1000)])
    assert max(part.max(initial=0) for part in inside) > 50
    assert outside.max() < 2.0


@pytest.mark.parametrize("method", ["causal-notch", "zero-phase-fir"])
@pytest.mark.parametrize("line", [50, 60])
def test_line_noise_goes_and_signal_between_stays(make_recording, method, line):
    seconds = np.arange(20 * 1000) / 1000
    noise = sum(np.sin(2 * np.pi * line * k * seconds) for k in (1, 2, 3))
    signal = np.sin(2 * np.pi * 33 * seconds) + np.sin(2 * np.pi * 83 * seconds)
    recording = make_recording(("A1",), rate=1000.0, data=(signal + noise).astype(np.float32)[None])
    result = remove_line_noise(recording, line, method=method).data[0, 5000:-5000]
    # The causal filter turns the phase at 33 Hz by about two degrees; amplitudes stay.
    spectrum = np.abs(np.fft.rfft(result)) / len(result) * 2
    frequencies = np.fft.rfftfreq(len(result), 1 / 1000)
    for frequency, amplitude in ((33, 1), (83, 1), (line, 0), (2 * line, 0), (3 * line, 0)):
        assert spectrum[np.argmin(abs(frequencies - frequency))] == pytest.approx(amplitude, abs=0.02)


def test_the_fir_filter_does_not_move_an_event(make_recording):
    pulse = np.zeros((1, 20001), np.float32)
    pulse[0, 10000] = 100.0
    recording = make_recording(("A1",), rate=1000.0, data=pulse)
    result = remove_line_noise(recording, 50, method="zero-phase-fir").data[0].astype(np.float64)
    assert int(np.argmax(result)) == 10000
    # Linear phase: the response is the same before and after the event.
    np.testing.assert_allclose(result[6000:10000], result[14000:10000:-1], atol=1e-4)


@pytest.mark.parametrize(
    ("rate", "most", "notches"),
    [
        (250.0, 6, [60.0, 120.0]),
        (244.0, 6, [60.0]),  # the notch at 120 Hz reaches 122 Hz, the Nyquist frequency
        (399.61, 6, [60.0, 120.0, 180.0]),
        (1000.0, None, [60.0 * k for k in range(1, 9)]),
        (1000.0, 1, [60.0]),
    ],
)
def test_as_many_harmonics_as_fit(make_recording, rate, most, notches):
    result = remove_line_noise(make_recording(("A1",), rate=rate), 60, max_harmonics=most)
    assert result.history[-1]["notches_hz"] == notches


def test_a_line_frequency_beyond_nyquist_is_refused(make_recording):
    with pytest.raises(
        ValueError, match=r"at 60 Hz does not fit under the Nyquist frequency \(50 Hz\); skip the filter"
    ):
        remove_line_noise(make_recording(("A1",), rate=100.0), 60)


def test_another_line_frequency_is_refused(make_recording):
    with pytest.raises(ValueError, match="given as 55 Hz; use 50 or 60"):
        remove_line_noise(make_recording(("A1",)), 55)


def test_an_unknown_method_is_refused(make_recording):
    with pytest.raises(ValueError, match="method is 'comb'; use 'causal-notch' or 'zero-phase-fir'"):
        remove_line_noise(make_recording(("A1",)), 50, method="comb")


def test_no_harmonics_are_refused(make_recording):
    with pytest.raises(ValueError, match="max_harmonics is 0; use at least 1"):
        remove_line_noise(make_recording(("A1",)), 50, max_harmonics=0)


@pytest.mark.parametrize(("method", "seconds"), [("causal-notch", 0.7), ("zero-phase-fir", 6.5)])
def test_a_filter_longer_than_the_recording_is_refused(make_recording, method, seconds):
    with pytest.raises(
        ValueError, match=f"lasts {seconds:.2f} s and the {method} filter .* filter the whole recording"
    ):
        remove_line_noise(make_recording(("A1",), seconds=seconds), 60, method=method)


def test_nan_is_refused_in_good_contacts_and_left_in_bad_ones(make_recording):
    data = make_recording(("A1", "A2")).data.copy()
    data[1, 100] = np.nan
    recording = make_recording(("A1", "A2"), data=data)
    with pytest.raises(ValueError, match=r"\['A2'\] hold NaN .* mark or fill them first: mark_bad.* fill_gaps"):
        remove_line_noise(recording, 50)
    result = remove_line_noise(mark_bad(recording, ["A2"]), 50)
    assert np.isfinite(result.data[0]).all()
    np.testing.assert_array_equal(result.data[1], recording.data[1])


@pytest.mark.parametrize("rate", [512.0, 399.61, 256.0, 2034.5])
def test_the_fir_filter_is_mnes_notch_filter_at_the_edges_too(make_recording, rate):
    recording = make_recording(("A1", "A2"), rate=rate)
    result = remove_line_noise(recording, 50, method="zero-phase-fir")
    expected = mne.filter.notch_filter(
        recording.data.astype(np.float64),
        rate,
        np.array(result.history[-1]["notches_hz"]),
        phase="zero",
        verbose="ERROR",
    )
    np.testing.assert_allclose(result.data, expected, atol=1e-4)  # half a step of float32 at 1 mV is 3e-5


def unread(rate: float) -> RecordingHeader:
    given = {"contacts": ("A1",), "types": ("seeg",), "id": "r", "subject": "s"}
    return RecordingHeader(num_samples=int(10 * rate), sampling_rate=rate, **given)


RATES = (122.1, 200, 250, 256, 399.61, 400, 499.907, 500, 512, 512.5, 1000, 1024, 2000, 2034.5, 2048, 3051.76, 4096)


@pytest.mark.parametrize("rate", [*RATES, 5000, 10_000, 24_414.0625, 30_000 / 13, 30_000])
def test_the_fir_filter_can_be_planned_at_any_rate_and_reaches_as_far_as_it_says(rate):
    plan = plan_line_filter(unread(rate), 60, method="zero-phase-fir")
    # 3.3 s to each side, and what makes the number of taps odd.
    assert 3.3 * rate - 0.5 <= plan.before == plan.after <= 3.3 * rate + 0.5
    assert plan.header.history[-1]["reach_s"] == [plan.before / rate] * 2
    pulse = np.zeros(2 * plan.before + 101)
    pulse[plan.before + 50] = 1e6
    outside = np.delete(plan.apply(pulse), np.arange(50, 2 * plan.before + 51))
    np.testing.assert_allclose(outside, 0, atol=1e-6)


def test_more_notches_than_the_fir_filter_has_room_for_are_refused_when_it_is_planned():
    with pytest.raises(ValueError, match=r"295 harmonics fit .* room for 196; give max_harmonics, at most that"):
        plan_line_filter(unread(30_000), 50, method="zero-phase-fir", max_harmonics=None)
    plan = plan_line_filter(unread(20_000), 50, method="zero-phase-fir", max_harmonics=None)
    assert plan.frequencies[-1] == 196 * 50
