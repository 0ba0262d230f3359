"""The whole chain: order, history, and what it does with bad contacts."""

import json
import warnings

import numpy as np
import pytest

from brainbert.processing.recordings import (
    check_clips,
    condition,
    fill_gaps,
    laplacian,
    left_out,
    mark_bad,
    read_recording,
    recording_clip_problems,
    remove_line_noise,
    resample,
)

NAMES = ("A1", "A2", "A3", "A4", "A5")


def test_condition_is_mark_notch_reference_resample(make_recording):
    data = make_recording(NAMES).data.copy()
    data[4, :2000] = np.nan  # 39 %
    recording = make_recording(NAMES, data=data)
    result = condition(recording, line_frequency_hz=60)
    by_hand = resample(laplacian(remove_line_noise(mark_bad(recording, {"A5": "not finite"}), 60)))
    assert result.contacts == by_hand.contacts == ("A2", "A3")
    np.testing.assert_array_equal(result.data, by_hand.data)
    assert [entry["step"] for entry in result.history] == [
        "mark_bad",
        "quality",
        "remove_line_noise",
        "laplacian",
        "resample",
    ]
    assert result.history[0]["contacts"] == {"A5": "not finite"}
    assert json.loads(json.dumps(result.history))[-1]["to_hz"] == 2048.0
    assert result.sampling_rate == 2048.0
    assert recording.sampling_rate == 512.0
    assert recording.history == ()


@pytest.mark.parametrize(
    ("reference", "contacts"),
    [
        ("bipolar", ("A1-A2", "A2-A3", "A3-A4", "A4-A5")),
        ("common-average", NAMES),
        ("none", NAMES),
        ("laplacian", ("A2", "A3", "A4")),
    ],
)
def test_each_reference_by_name(make_recording, reference, contacts):
    result = condition(make_recording(NAMES), line_frequency_hz=None, reference=reference)
    assert result.contacts == contacts
    assert {"step": "remove_line_noise", "method": "none"} in result.history


def test_a_second_lost_before_filtering_is_still_known_after(make_recording):
    data = make_recording(NAMES, seconds=20).data.copy()
    data[0, 512 * 6 : 512 * 7] = 0.0
    result = condition(make_recording(NAMES, data=data), line_frequency_hz=50)
    assert result.contacts[0] == "A2"
    assert recording_clip_problems(result, 0).tolist() == ["", "artefact", "", ""]  # A2 lost its neighbour A1
    assert recording_clip_problems(result, 1).tolist() == [""] * 4


def test_the_band_is_measured_and_kept(make_recording):
    assert condition(make_recording(NAMES), line_frequency_hz=60).band_hz == (0.0, pytest.approx(0.9 * 256))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_recording_without_a_good_contact_is_refused(make_recording):
    recording = make_recording(NAMES, data=np.zeros((5, 5120), np.float32))
    with pytest.raises(ValueError, match=r"No good contact is left \(A1: zeros, .*look at assess_quality"):
        condition(recording, line_frequency_hz=60)


def test_an_unknown_reference_is_refused(make_recording):
    with pytest.raises(ValueError, match="reference is 'mastoid'; use one of laplacian"):
        condition(make_recording(NAMES), line_frequency_hz=60, reference="mastoid")


def test_conditioning_twice_is_refused(make_recording):
    once = condition(make_recording(NAMES), line_frequency_hz=60)
    with pytest.raises(ValueError, match="already went through resample; condition the recording as it was read"):
        condition(once, line_frequency_hz=60)


def railed(clean: np.ndarray) -> np.ndarray:
    """A1 at 5 mV for the half second before 20 s, at 1000 Hz."""
    data = clean.copy()
    data[0, 19_500:20_000] = 5000.0
    return data


@pytest.mark.parametrize("notch", ["causal-notch", "zero-phase-fir"])
def test_no_clip_into_which_a_filter_smeared_a_rail_is_used(make_recording, notch):
    names = ("A1", "A2", "A3", "A4")
    recording = make_recording(names, rate=1000.0, seconds=60)
    results = [
        condition(make_recording(names, rate=1000.0, data=data), line_frequency_hz=50, reference="none", notch=notch)
        for data in (recording.data, railed(recording.data))
    ]
    error = np.abs(results[1].data[0] - results[0].data[0])[: 12 * 10240].reshape(12, 10240).max(axis=1)
    problems = recording_clip_problems(results[1], 0)
    assert error[4] > 500  # from 20 s on, where the raw signal is clean
    assert problems[4] == "artefact"
    # What five time constants leave of 5 mV at the notch: 1 µV, within a standard deviation of 50.
    assert error[problems == ""].max() < 2
    assert (problems == "").sum() == 10


def test_a_rail_of_one_contact_does_not_reach_the_others_by_the_common_average(make_recording):
    names = ("A1", "A2", "A3", "A4")
    recording = make_recording(names, rate=1000.0, seconds=60)
    offsets = np.array([[20_000], [-5_000], [12_000], [3_000]], np.float32)
    results = [
        condition(
            make_recording(names, rate=1000.0, data=data + offsets), line_frequency_hz=50, reference="common-average"
        )
        for data in (recording.data, railed(recording.data))
    ]
    assert recording_clip_problems(results[1], 0)[3:5].tolist() == ["spiking", "artefact"]
    # The others miss A1's own quarter in the mean (under 200 / 4 µV), and see nothing of its rail or its offset.
    assert np.abs(results[1].data[1:] - results[0].data[1:]).max() < 60
    assert all((recording_clip_problems(results[1], index) == "").all() for index in (1, 2, 3))


@pytest.mark.parametrize("notch", ["causal-notch", "zero-phase-fir"])
def test_an_offset_of_an_amplifier_does_not_reach_the_first_clip(make_recording, notch):
    names = ("A1", "A2", "A3", "A4")
    steep = np.cumsum(make_recording(names, rate=1000.0, seconds=30).data.astype(np.float64), axis=-1)
    brown = 58 * (steep - steep.mean(axis=-1, keepdims=True)) / steep.std(axis=-1, keepdims=True)
    offsets = np.array([[20_000], [-5_000], [12_000], [3_000]])
    clean, shifted = (
        condition(
            make_recording(names, rate=1000.0, data=data.astype(np.float32)),
            line_frequency_hz=50,
            reference="none",
            notch=notch,
        ).data.astype(np.float64)
        for data in (brown, brown + offsets)
    )
    np.testing.assert_allclose(shifted, clean + offsets, atol=0.02)  # float32 has steps of 0.002 µV at 20 mV


def test_an_amplifier_gap_in_all_contacts_costs_only_the_clips_that_it_touches(make_recording):
    data = make_recording(NAMES, seconds=60).data.copy()
    data[:, 512 * 21 : 512 * 23] = np.nan
    data[1, 512 * 42] = np.inf
    result = condition(make_recording(NAMES, data=data), line_frequency_hz=60)
    assert result.contacts == ("A2", "A3", "A4")
    assert np.isfinite(result.data).all()
    filled = next(entry for entry in result.history if entry["step"] == "fill_gaps")
    assert filled["method"] == "linear"
    assert filled["filled_s"] == {name: 2.0 + (name == "A2") / 512 for name in NAMES}
    gap = ["artefact" if k == 4 else "" for k in range(12)]
    assert recording_clip_problems(result, 2).tolist() == gap  # A4
    assert recording_clip_problems(result, 0).tolist() == [*gap[:8], "artefact", *gap[9:]]  # A2
    assert check_clips(result.data[2, : 12 * 10240].reshape(12, 10240)).tolist()[3] == ""
    assert result.band_hz == condition(make_recording(NAMES, seconds=60), line_frequency_hz=60).band_hz


def test_gaps_are_bridged_by_lines_and_marked(make_recording):
    data = np.array([[np.nan, 2, 3, np.nan, np.inf, 6, 7, np.nan], [np.nan] * 8], np.float32)
    recording = make_recording(("A1", "A2"), rate=1.0, data=data, bad={"A2": "broken"})
    result = fill_gaps(recording)
    np.testing.assert_array_equal(result.data[0], [2, 2, 3, 4, 5, 6, 7, 7])
    assert np.isnan(result.data[1]).all()
    assert result.artefacts == {"A1": ((0.0, 1.0), (3.0, 5.0), (7.0, 8.0))}
    assert result.history == ({"step": "fill_gaps", "method": "linear", "filled_s": {"A1": 4.0}},)
    whole = make_recording(("A1",))
    assert fill_gaps(whole) is whole
    with pytest.raises(ValueError, match="'A2' has no finite sample to fill from; mark it first: mark_bad"):
        fill_gaps(make_recording(("A1", "A2"), rate=1.0, data=data))


@pytest.mark.parametrize(
    ("reference", "others"),
    [
        ("laplacian", {"A1": "no neighbour on both sides", "A5": "no neighbour on both sides", "B1": "flat"}),
        ("bipolar", {"B1": "flat"}),
        ("common-average", {"B1": "flat"}),
        ("none", {"B1": "flat"}),
    ],
)
def test_what_was_left_out_is_known_with_the_first_reason(make_recording, reference, others):
    names = (*NAMES, "B1", "C1")
    data = make_recording(names).data.copy()
    data[5] = 7.0
    recording = make_recording(names, data=data, bad={"C1": "bad in the file"})
    result = condition(recording, line_frequency_hz=60, reference=reference)
    assert left_out(result) == {**others, "C1": "bad in the file"}
    assert not set(left_out(result)) & set(result.good)


def test_a_wrong_unit_is_warned_about_once(files):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        condition(read_recording(files["EDF"], unit="mV"), line_frequency_hz=60)
    assert ["check the unit" in str(warning.message) for warning in caught] == [True]
