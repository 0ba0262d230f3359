"""Training and validation never touch."""

import numpy as np
import pytest

from brainbert.processing.corpora import build_corpus, split_corpus


def times(corpus, name):
    """(first, last) second that the clips of a recording cover."""
    rows = [(row["start"] / 2048, row["start"] / 2048 + 2) for row in corpus if row["recording"] == name]
    return min(start for start, _ in rows), max(stop for _, stop in rows)


@pytest.fixture(scope="module")
def corpus(recording, tmp_path_factory):
    recordings = [recording(name, seconds=seconds, seed=seconds) for name, seconds in (("a", 40), ("b", 60))]
    return build_corpus(
        recordings, tmp_path_factory.mktemp("corpora") / "corpus", clip_s=2.0, stride_s=0.5, progress=False
    )


@pytest.mark.parametrize("embargo_s", [0.0, 1.0, 5.0])
def test_in_time_the_end_of_each_recording_is_held_out_after_an_embargo(corpus, embargo_s):
    train, held_out = split_corpus(corpus, validation=0.25, embargo_s=embargo_s)
    for name, cut in (("a", 30), ("b", 45)):
        assert times(held_out, name)[0] == pytest.approx(cut, abs=0.5)
        gap = times(held_out, name)[0] - times(train, name)[1]
        assert embargo_s <= gap < embargo_s + 0.51


def test_in_time_all_contacts_are_cut_at_the_same_moment(corpus):
    _, held_out = split_corpus(corpus, validation=0.25)
    first = {}
    for row in held_out:
        key = (row["recording"], row["contact"])
        first[key] = min(first.get(key, np.inf), row["start"])
    assert len(first) == 6
    assert len(set(first.values())) == 2


def test_by_recording_whole_recordings_are_held_out(corpus):
    train, held_out = split_corpus(corpus, by="recording", validation=0.1)
    assert len(train) + len(held_out) == len(corpus)
    assert not set(train["recording"][:]) & set(held_out["recording"][:])


def test_by_recording_one_seed_gives_one_split(corpus):
    first, second = (split_corpus(corpus, by="recording", seed=3)[1]["recording"][0] for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"validation": 0.0}, "validation is 0.0: give a share between 0 and 1"),
        ({"embargo_s": 500.0}, "leave nothing to train on"),
        ({"by": "clip"}, "by is 'clip'"),
    ],
)
def test_bad_splits_are_refused(corpus, settings, message):
    with pytest.raises(ValueError, match=message):
        split_corpus(corpus, **settings)
