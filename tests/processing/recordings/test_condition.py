"""The whole chain: order, history, and what it does with bad contacts."""

import json

import numpy as np
import pytest

from brainbert.processing.recordings import (
    condition,
    laplacian,
    mark_bad,
    recording_clip_problems,
    remove_line_noise,
    resample,
)

NAMES = ("A1", "A2", "A3", "A4", "A5")


def test_condition_is_mark_notch_reference_resample(make_recording):
    recording = make_recording(NAMES)
    recording.data[4, 1000] = np.nan
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
    recording = make_recording(NAMES, seconds=20)
    recording.data[0, 512 * 6 : 512 * 7] = 0.0
    result = condition(recording, line_frequency_hz=50)
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
