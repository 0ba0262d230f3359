"""Windows come out of recordings as they stand there, whatever is read at once."""

import dataclasses

import numpy as np
import pytest

from brainbert.processing.decoding.signals import Signals, contact_names, contacts_of, pool_epochs
from brainbert.processing.recordings import mark_bad


def renamed(recording, name, contacts=("A1", "A2", "A3"), **changes):
    return dataclasses.replace(recording, id=name, contacts=contacts, **changes)


def all_windows(signals):
    """(rows, samples) of all blocks."""
    blocks = [signals.read(number) for number in range(len(signals.blocks))]
    return np.concatenate([signals.windows(block, block.rows) for block in blocks])


def test_contacts_are_those_that_are_good_in_all_recordings(recording):
    other = mark_bad(renamed(recording, "r2"), ["A3"])
    assert contacts_of([recording]) == ("A1", "A3")
    assert contacts_of([recording, other]) == ("A1",)
    assert contact_names(contacts_of([recording, other])) == ("A1",)


def test_pooled_contacts_are_those_of_each_recording(recording):
    other = renamed(recording, "r2", contacts=("B1", "B2", "B3"), bad={})
    contacts = contacts_of([recording, other], pool=True)
    assert contacts == {"r1": ("A1", "A3"), "r2": ("B1", "B2", "B3")}
    assert contact_names(contacts) == ("all contacts",)


def test_recordings_that_share_no_contact_are_refused_with_the_remedy(recording):
    other = renamed(recording, "r2", contacts=("B1", "B2", "B3"), bad={})
    with pytest.raises(ValueError, match="No contact is good in each of the 2 recordings: pool the contacts"):
        contacts_of([recording, other])


def test_pooled_epochs_have_each_window_once_for_each_contact_of_its_recording(epochs_at):
    epochs = epochs_at({"r1": [0, 10240], "r2": [5]})
    pooled = pool_epochs(epochs, {"r1": ("A1", "A3"), "r2": ("B1", "B2", "B3")})
    assert pooled.start.tolist() == [0, 0, 10240, 10240, 5, 5, 5]
    assert pooled.recording.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert pooled.target.tolist() == [0, 0, 1, 1, 0, 0, 0]
    assert pool_epochs(epochs, ("A1",)) is epochs


@pytest.mark.parametrize("in_memory", [True, False])
def test_rows_are_the_contacts_of_each_window(recording, epochs_at, in_memory):
    source = recording if in_memory else recording.with_source(recording.read)
    starts = [0, 100, 5000, 61 * 2048, 65 * 2048]
    rows = all_windows(Signals([source], epochs_at({"r1": starts}), ("A3", "A1")))
    expected = [recording.data[row, start : start + 10240] for start in starts for row in (2, 0)]
    np.testing.assert_array_equal(rows, expected)


def test_pooled_recordings_bring_contacts_of_their_own(recording, epochs_at):
    other = renamed(recording, "r2", contacts=("B1", "B2", "B3"), bad={}, data=recording.data + np.float32(1))
    epochs = epochs_at({"r2": [7, 9], "r1": [8]})
    signals = Signals([recording, other], epochs, contacts_of([recording, other], pool=True))
    expected = [other.data[row, start : start + 10240] for start in (7, 9) for row in (0, 1, 2)]
    expected += [recording.data[row, 8 : 8 + 10240] for row in (0, 2)]
    np.testing.assert_array_equal(all_windows(signals), expected)
    assert signals.electrode.tolist() == [0, 1, 2, 0, 1, 2, 3, 4]
    assert signals.shape == (1, 8)


def test_windows_close_to_each_other_are_read_at_once_and_a_long_pause_is_not_read(recording, epochs_at):
    reads = []

    def source(start, stop):
        reads.append((start, stop))
        return recording.data[:, :10240] if stop - start == 10240 else np.zeros((3, stop - start), np.float32)

    stream = dataclasses.replace(recording.with_source(source), num_samples=3600 * 2048)
    epochs = epochs_at({"r1": [0, 5120, 10240, 3000 * 2048]})
    signals = Signals([stream], epochs, ("A1",))
    all_windows(signals)
    assert reads == [(0, 20480), (3000 * 2048, 3000 * 2048 + 10240)]
    assert signals.blocks == [(0, 4)]


def test_no_stretch_is_longer_than_a_minute_and_no_block_holds_more_than_2048_rows(recording, epochs_at):
    stream = dataclasses.replace(recording.with_source(recording.read), num_samples=10**8)
    signals = Signals([stream], epochs_at({"r1": list(range(0, 600 * 2048, 2048))}), ("A1", "A3"))
    stretches = list(signals._stretches())
    assert [last - first for first, last in stretches] == [56] * 10 + [40]  # 55 s between the first and the last start
    assert max(last - first for first, last in signals.blocks) * 2 <= 2048
    dense = Signals([stream], epochs_at({"r1": list(range(0, 30000, 5))}), ("A1", "A3"))
    assert [last - first for first, last in dense.blocks] == [1024] * 5 + [880]


def test_what_does_not_fit_the_windows_is_refused(recording, epochs_at):
    epochs = epochs_at({"r1": [0]})
    with pytest.raises(ValueError, match="has no good contact A2: choose contacts with contacts_of"):
        Signals([recording], epochs, ("A1", "A2"))
    with pytest.raises(ValueError, match="windows of recording r1 and it was not given"):
        Signals([renamed(recording, "r2")], epochs, ("A1",))
    with pytest.raises(ValueError, match="The windows are not sorted by recording and start"):
        Signals([recording], epochs_at({"r1": [10240, 0]}), ("A1",))
    with pytest.raises(ValueError, match="The 2 recordings have 1 ids: give each recording once"):
        Signals([recording, recording], epochs, ("A1",))
    with pytest.raises(ValueError, match="sampled at 512 Hz and its windows were made for 2048 Hz"):
        Signals([renamed(recording, "r1", sampling_rate=512.0)], epochs, ("A1",))
