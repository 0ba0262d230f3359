"""A Recording refuses parts that contradict each other, and steps leave the old one alone."""

import numpy as np
import pytest

from brainbert.processing.recordings import left_out, mark_bad


def test_a_recording_knows_its_length_and_its_good_contacts(make_recording):
    recording = make_recording(("A1", "A2"), seconds=2.0, bad={"A1": "noisy"})
    assert recording.num_samples == 1024
    assert recording.duration_s == 2.0
    assert recording.good == ("A2",)
    assert "2 contacts, 1 of them bad, 2.0 s at 512 Hz" in repr(recording)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"data": np.zeros(5, np.float32)}, r"data is \(5,\); give a non-empty NumPy array of shape"),
        ({"data": np.zeros((2, 0), np.float32)}, r"data is \(2, 0\); give a non-empty"),
        ({"data": np.zeros((2, 5))}, r"data is float64; .* float32 in microvolts"),
        ({"data": np.zeros((3, 5), np.float32), "types": ("seeg",) * 3}, "contacts has 2 entries for 3 rows"),
        ({"types": ("seeg",)}, "types has 1 entries for 2 rows"),
        ({"types": "seeg"}, "types is one string"),
        ({"types": ("seeg", "eeg")}, r"\['eeg'\] are not brain contacts"),
        ({"bad": {"B7": "flat"}}, r"bad names \['B7'\], which are not contacts"),
        ({"positions": np.zeros((2, 2))}, r"positions are \(2, 2\); give \(2, 3\) in millimetres"),
        ({"band_hz": (10.0, 5.0)}, "band_hz is .* give .lower, upper. in hertz"),
        ({"history": ({"method": "x"},)}, "A history entry has no 'step'"),
        ({"history": ({"step": "x", "array": np.zeros(2)},)}, "history cannot be written as JSON"),
    ],
)
def test_contradictory_parts_are_refused(make_recording, fields, message):
    with pytest.raises(ValueError, match=message):
        make_recording(("A1", "A2"), **fields)


def test_a_repeated_name_is_refused(make_recording):
    with pytest.raises(ValueError, match=r"\['A1'\] occur more than once"):
        make_recording(("A1", "A1"))


@pytest.mark.parametrize("rate", [float("nan"), float("inf"), 0.0, -1.0])
def test_a_rate_that_is_none_is_refused(make_recording, rate):
    with pytest.raises(ValueError, match="give a positive number of hertz"):
        make_recording(("A1",)).with_step("x", {}, sampling_rate=rate)


def test_nobody_writes_through_a_recording_and_nothing_is_copied(make_recording):
    data, positions = np.ones((2, 5), np.float32), np.zeros((2, 3))
    recording = make_recording(("A1", "A2"), data=data, positions=positions)
    for given, held in ((data, recording.data), (positions, recording.positions)):
        with pytest.raises(ValueError, match="read-only"):
            held[0, 0] = 7.0
        assert np.shares_memory(given, held)
        given[0, 0] = 2.0  # whoever made the array keeps it
    assert not mark_bad(recording, ["A1"]).data.flags.writeable


def test_what_was_left_out_has_the_first_reason_over_the_history_and_what_is_bad_now(make_recording):
    recording = make_recording(
        ("A1", "A2"),
        bad={"A1": "noisy", "A2": "late"},
        history=({"step": "x", "dropped": {"B1": "flat", "A1": "early"}}, {"step": "y", "dropped": {"B1": "other"}}),
    )
    assert left_out(recording) == {"B1": "flat", "A1": "early", "A2": "late"}
    assert left_out(make_recording(("A1",))) == {}


def test_marking_bad_keeps_the_first_reason_and_the_old_recording(make_recording):
    first = make_recording(("A1", "A2", "A3"), bad={"A1": "flat"})
    second = mark_bad(first, ["A1", "A2"], reason="seizure onset")
    assert first.bad == {"A1": "flat"}
    assert second.bad == {"A1": "flat", "A2": "seizure onset"}
    assert second.history == ({"step": "mark_bad", "contacts": {"A2": "seizure onset"}},)


def test_marking_an_unknown_contact_is_refused(make_recording):
    with pytest.raises(ValueError, match=r"No contacts are called \['B1'\]; the recording has A1, A2"):
        mark_bad(make_recording(("A1", "A2")), {"B1": "flat"})


def test_marking_one_text_is_refused(make_recording):
    with pytest.raises(ValueError, match="contacts is the text 'A1'; give a list"):
        mark_bad(make_recording(("A1", "A2")), "A1")
