"""Features are computed once, kept whole, and go on after a stop."""

import dataclasses
import json

import numpy as np
import pytest

from brainbert.processing.decoding.features import compute_features, find_problems
from brainbert.processing.decoding.signals import Signals, contacts_of

STARTS = [0, 10240, 20480, 61 * 2048, 65 * 2048]


class Mean:
    """A feature that can be checked by hand, and that counts the rows of each batch."""

    def __init__(self, fails_after=None):
        self.batches, self.fails_after = [], fails_after

    def __call__(self, voltage, electrode):
        if self.fails_after is not None and len(self.batches) == self.fails_after:
            raise KeyboardInterrupt
        self.batches.append(len(voltage))
        return np.stack([voltage.mean(1), electrode], axis=1)[:, None]


def computed(recordings, epochs, contacts, make, *, cache=None, about=None, problems=None):
    return compute_features(
        Signals(recordings, epochs, contacts),
        make,
        what="mean",
        shape=(1, 2),
        about=about or {},
        problems=problems,
        cache=cache,
        progress=False,
    )


def short_recordings(recording, count):
    """20 s each, of contacts A1 and A3."""
    return [
        dataclasses.replace(recording, id=f"r{number}", data=recording.data[:, 2048 * number :][:, : 20 * 2048])
        for number in range(count)
    ]


def test_features_are_by_contact_and_window(recording, epochs_at):
    features = computed([recording], epochs_at({"r1": STARTS}), ("A1", "A3"), Mean())
    assert (features.shape, features.dtype) == ((1, 2, 5, 2), np.float32)
    expected = [[recording.data[row, start : start + 10240].mean() for start in STARTS] for row in (0, 2)]
    np.testing.assert_allclose(features[0, :, :, 0], expected, rtol=1e-5)
    assert features[0, :, :, 1].tolist() == [[0] * 5, [1] * 5]


def test_pooled_features_are_those_of_each_contact_in_the_order_window_contact(recording, epochs_at):
    epochs = epochs_at({"r1": STARTS})
    by_contact = computed([recording], epochs, ("A1", "A3"), Mean())
    pooled = computed([recording], epochs, contacts_of([recording], pool=True), Mean())
    assert pooled.shape == (1, 1, 10, 2)
    np.testing.assert_array_equal(pooled[0, 0].reshape(5, 2, 2), by_contact[0].swapaxes(0, 1))


def test_a_window_with_a_problem_has_no_features_and_says_why(recording, epochs_at):
    data = recording.data.copy()
    data[0, 10240:20480] = 0
    recording = dataclasses.replace(recording, data=data, artefacts={"A3": ((65.5, 66.5),)})
    epochs = epochs_at({"r1": STARTS})
    problems = find_problems([recording], epochs, ("A1", "A3"), progress=False)
    assert problems.tolist() == [["", "flat", "", "", ""], ["", "", "", "artefact", "artefact"]]
    features = computed([recording], epochs, ("A1", "A3"), Mean())
    np.testing.assert_array_equal(np.isnan(features[0, :, :, 0]), problems != "")
    np.testing.assert_array_equal(
        find_problems([recording], epochs, contacts_of([recording], pool=True), progress=False)[0],
        problems.T.reshape(-1),
    )


def test_the_caller_may_use_windows_all_the_same(recording, epochs_at):
    recording = dataclasses.replace(recording, artefacts={"A3": ((65.5, 66.5),)})
    epochs = epochs_at({"r1": STARTS})
    problems = find_problems([recording], epochs, ("A1", "A3"), progress=False)
    problems[problems == "artefact"] = ""
    assert np.isfinite(computed([recording], epochs, ("A1", "A3"), Mean(), problems=problems)).all()


def test_batches_run_over_many_short_recordings(recording, epochs_at):
    recordings = short_recordings(recording, 40)
    epochs = epochs_at({each.id: [0, 10240, 20480, 30720] for each in recordings})
    make = Mean()
    computed(recordings, epochs, ("A1", "A3"), make)  # 40 · 4 windows of 2 contacts
    assert make.batches == [64] * 5


def test_kept_features_are_not_computed_again(recording, epochs_at, tmp_path):
    epochs = epochs_at({"r1": STARTS})
    first = computed([recording], epochs, ("A1", "A3"), Mean(), cache=tmp_path)
    again = Mean()
    second = computed([recording], epochs, ("A1", "A3"), again, cache=tmp_path)
    assert again.batches == []
    np.testing.assert_array_equal(first, computed([recording], epochs, ("A1", "A3"), Mean()))
    np.testing.assert_array_equal(second, first)
    assert isinstance(second, np.memmap)
    assert not second.flags.writeable
    names = sorted(path.name.split("-")[0] + path.suffix for path in tmp_path.iterdir())
    assert names == ["mean.json", "mean.npy", "problems.json", "problems.npy"]


def test_other_windows_contacts_signals_settings_or_problems_are_other_files(recording, epochs_at, tmp_path):
    epochs, contacts = epochs_at({"r1": STARTS}), ("A1", "A3")
    problems = find_problems([recording], epochs, contacts, progress=False)
    fewer = problems.copy()
    fewer[0, 0] = "artefact"
    louder = dataclasses.replace(recording, data=recording.data * np.float32(2))
    for each, windows, names, settings, which in [
        (recording, epochs, contacts, {}, problems),
        (recording, epochs, contacts, {}, problems),
        (recording, epochs, ("A3", "A1"), {}, problems),
        (recording, epochs_at({"r1": [1, *STARTS[1:]]}), contacts, {}, problems),
        (louder, epochs, contacts, {}, problems),
        (recording, epochs, contacts, {"segments": 2}, problems),
        (recording, epochs, contacts, {}, fewer),
    ]:
        computed([each], windows, names, Mean(), cache=tmp_path, about=settings, problems=which)
    assert len(list(tmp_path.glob("mean-*.npy"))) == 6
    about = [json.loads(path.read_text()) for path in tmp_path.glob("mean-*.json")]
    assert {each["recordings"][0]["id"] for each in about} == {"r1"}
    assert [each.get("segments") for each in about].count(2) == 1


def test_who_is_stopped_goes_on_with_the_block_where_it_was(recording, epochs_at, tmp_path, monkeypatch):
    monkeypatch.setattr("brainbert.processing.decoding.signals.BLOCK_ROWS", 4)
    epochs, contacts = epochs_at({"r1": STARTS}), ("A1", "A3")
    with pytest.raises(KeyboardInterrupt):
        computed([recording], epochs, contacts, Mean(fails_after=2), cache=tmp_path)
    assert not list(tmp_path.glob("mean-*.npy"))
    rest = Mean()
    features = computed([recording], epochs, contacts, rest, cache=tmp_path)
    assert rest.batches == [4]  # blocks of two windows, one, and two after a pause
    np.testing.assert_array_equal(features, computed([recording], epochs, contacts, Mean()))
    assert not list(tmp_path.glob("*.parts"))


def test_problems_of_other_windows_are_refused(recording, epochs_at):
    problems = find_problems([recording], epochs_at({"r1": STARTS}), ("A1",), progress=False)
    with pytest.raises(ValueError, match=r"problems are \(1, 5\) and there are \(2, 5\)"):
        computed([recording], epochs_at({"r1": STARTS}), ("A1", "A3"), Mean(), problems=problems)
