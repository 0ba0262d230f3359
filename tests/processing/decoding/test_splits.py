"""No window that a decoder is tested on shares a sample, a unit or an embargo with one that it is trained on."""

import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from brainbert.processing.decoding.epochs import Epochs
from brainbert.processing.decoding.splits import (
    Fold,
    LeakageError,
    Split,
    blocked,
    by_recording,
    count_overlaps,
    grouped,
    inner_groups,
    leave_subject_out,
    paper,
    prove_disjoint,
    validation_rows,
)

RATE, LENGTH = 100.0, 500  # windows of 5 s


def windows(recording, start, target, *, group=None, subject=None, regression: bool = False) -> Epochs:
    """Epochs of recordings r0, r1 …, sorted as `make_epochs` sorts them; every recording is a subject by default."""
    recording, start = np.asarray(recording), np.asarray(start)
    order = np.lexsort((start, recording))
    subject = recording if subject is None else np.asarray(subject)
    target = np.asarray(target, dtype=np.float64 if regression else np.int64)[order]
    return Epochs(
        recordings=tuple(f"r{number}" for number in range(recording.max() + 1)),
        recording=recording[order].astype(np.int64),
        subjects=tuple(f"s{number}" for number in range(subject.max() + 1)),
        subject=subject[order].astype(np.int64),
        start=start[order].astype(np.int64),
        length=LENGTH,
        sampling_rate=RATE,
        target=target,
        classes=None if regression else tuple("abc"[: target.max() + 1]),
        group=None if group is None else np.asarray(group)[order].astype(np.int64),
        groups=() if group is None else tuple(f"g{number}" for number in range(np.max(group) + 1)),
    )


def in_a_row(count: int = 100, *, stride: int = 500, **fields) -> Epochs:
    """One recording of windows every `stride` samples, classes in turn."""
    return windows(np.zeros(count, int), np.arange(count) * stride, np.arange(count) % 2, **fields)


def random_epochs(seed: int, *, regression: bool = False) -> Epochs:
    """One to four recordings with windows at random times, each in twice as if contacts were pooled."""
    random = np.random.default_rng(seed)
    recording = random.integers(0, random.integers(1, 5), 150)
    recording = np.unique(recording, return_inverse=True)[1]
    start = random.integers(0, random.choice([30_000, 200_000]), 150)
    target = random.standard_normal(150) if regression else random.integers(0, 2, 150)
    return windows(np.tile(recording, 2), np.tile(start, 2), np.tile(target, 2), regression=regression)


def grouped_randomly(seed: int) -> Epochs:
    """Twenty groups of windows far apart, in random numbers, each of one class."""
    random = np.random.default_rng(seed)
    group = random.integers(0, 20, 200)
    group = np.unique(group, return_inverse=True)[1]
    return windows(group % 4, group * 100_000 + np.arange(200) * 500, random.integers(0, 2, 20)[group], group=group)


SPLITS: dict[str, Callable[[int], tuple[Epochs, Split]]] = {
    "blocked": lambda seed: (epochs := random_epochs(seed), blocked(epochs, folds=3)),
    "blocked regression": lambda seed: (epochs := random_epochs(seed, regression=True), blocked(epochs, folds=3)),
    "paper": lambda seed: (epochs := random_epochs(seed), paper(epochs, seed=seed)),
    "by_recording": lambda seed: (epochs := _of_four(seed), by_recording(epochs, folds=None)),
    "leave_subject_out": lambda seed: (epochs := _of_four(seed), leave_subject_out(epochs)),
    "grouped": lambda seed: (epochs := grouped_randomly(seed), grouped(epochs)),
}


def _of_four(seed: int) -> Epochs:
    random = np.random.default_rng(seed)
    recording = np.r_[np.arange(4), random.integers(0, 4, 196)]
    return windows(recording, random.integers(0, 30_000, 200), np.arange(200) % 2, subject=recording // 2)


def gaps(epochs: Epochs, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Samples between each pair of windows by brute force, (rows, others): negative when they overlap."""
    apart = np.maximum(
        epochs.start[rows][:, None] - epochs.stop[others], epochs.start[others] - epochs.stop[rows][:, None]
    )
    return np.where(epochs.recording[rows][:, None] == epochs.recording[others], apart, 10**9)


@pytest.mark.filterwarnings("ignore:.* test windows share samples")
@pytest.mark.parametrize("name", SPLITS)
def test_no_window_is_tested_twice_or_trained_on_where_it_is_tested(name):
    for seed in range(10):
        epochs, split = SPLITS[name](seed)
        tested = np.concatenate([fold.test for fold in split.folds])
        assert len(np.unique(tested)) == len(tested)
        if name == "paper":
            assert (len(split.folds[0].train), len(tested)) == (240, 30)
        else:
            assert len(tested) == len(epochs)
        for fold in split.folds:
            assert not np.intersect1d(fold.train, fold.test).size
            assert (np.diff(fold.train) > 0).all()
            assert (np.diff(fold.test) > 0).all()
        assert np.unique(split.unit).tolist() == list(range(split.unit.max() + 1))


@pytest.mark.parametrize("name", [name for name in SPLITS if name != "paper"])
def test_training_and_test_windows_share_no_sample_and_no_unit(name):
    for seed in range(10):
        epochs, split = SPLITS[name](seed)
        assert split.overlapping == 0
        for fold in split.folds:
            assert gaps(epochs, fold.test, fold.train).min() >= 0
            assert not np.intersect1d(split.unit[fold.test], split.unit[fold.train]).size


@pytest.mark.parametrize("embargo_s", [0.0, 0.005, 2.0, None, 20.0])
def test_every_training_window_is_an_embargo_away_from_every_test_window(embargo_s):
    for seed in range(15):
        epochs = random_epochs(seed)
        split = blocked(epochs, folds=3, embargo_s=embargo_s)
        wanted = split.embargo_s * RATE
        assert split.embargo_s == (5.0 if embargo_s is None else embargo_s)
        for fold in split.folds:
            assert gaps(epochs, fold.test, fold.train).min() >= wanted
            # Nothing but the embargo was left out.
            others = np.setdiff1d(np.arange(len(epochs)), np.concatenate([fold.train, fold.test]))
            assert (gaps(epochs, others, fold.test).min(axis=1) < wanted).all()


def test_windows_at_the_same_time_never_straddle():
    contacts = in_a_row(100, stride=500, group=np.arange(100) // 5).take(np.repeat(np.arange(100), 3))
    splits = [(contacts, grouped(contacts))]
    splits += [SPLITS[name](seed) for name in ("blocked", "blocked regression") for seed in range(10)]
    for epochs, split in splits:
        place = epochs.recording * 10**7 + epochs.start
        assert len(np.unique(place)) <= len(epochs) / 2
        assert len(np.unique(np.stack([place, split.unit]), axis=1).T) == len(np.unique(place))
        for fold in split.folds:
            assert not np.intersect1d(place[fold.train], place[fold.test]).size


def test_a_window_that_was_moved_to_overlap_by_one_sample_is_caught():
    epochs = in_a_row(20, stride=600)
    fold = Fold(np.arange(10), np.arange(10, 20), "4")
    prove_disjoint(epochs, [fold])
    start = epochs.start.copy()
    start[10] = start[9] + LENGTH  # touches: the last sample of 9 is the one before
    prove_disjoint(replace(epochs, start=start), [fold])
    start[10] -= 1
    leaking = replace(epochs, start=start)
    with pytest.raises(LeakageError) as leak:
        prove_disjoint(leaking, [fold])
    assert str(leak.value) == (
        "Fold 4 trains on 54.0000–59.0000 s and tests on 58.9900–63.9900 s of recording r0: they share 1 samples; "
        "keep them on one side, or use split='blocked'."
    )
    assert count_overlaps(leaking, [fold]) == 1
    with pytest.raises(LeakageError, match="of recording r0: only 100 samples lie between"):
        prove_disjoint(epochs, [fold], embargo_s=1.01)
    prove_disjoint(epochs, [fold], embargo_s=1.0)


def test_the_proof_and_the_count_agree_with_brute_force_over_random_folds():
    for seed in range(40):
        epochs = random_epochs(seed)
        random = np.random.default_rng(seed)
        side = random.integers(0, 2, len(epochs)) if seed % 2 else (epochs.start > 90_000).astype(int)
        fold = Fold(np.flatnonzero(side == 0), np.flatnonzero(side == 1), "1")
        if not (len(fold.train) and len(fold.test)):
            continue
        overlapping = int((gaps(epochs, fold.test, fold.train).min(axis=1) < 0).sum())
        assert count_overlaps(epochs, [fold]) == overlapping
        if overlapping:
            with pytest.raises(LeakageError):
                prove_disjoint(epochs, [fold])
        else:
            prove_disjoint(epochs, [fold])


def test_a_leak_in_the_groups_is_refused():
    epochs = in_a_row(40, stride=250, group=np.arange(40) // 4)  # windows overlap by half, across groups too
    with pytest.raises(LeakageError, match="share 250 samples; keep them on one side"):
        grouped(epochs)


def test_blocks_are_contiguous_two_windows_long_and_several_a_fold():
    split = blocked(in_a_row(100, stride=500), folds=5, blocks_per_fold=4)
    assert split.unit.tolist() == np.repeat(np.arange(20), 5).tolist()  # 500 s in 20 blocks of 25 s
    assert [len(np.unique(split.unit[fold.test])) for fold in split.folds] == [4] * 5
    assert (split.unit_name, split.embargo_s) == ("block of time", 5.0)
    # 104 s with a window every second: 21 blocks would be one window long each, ten are two.
    split = blocked(in_a_row(100, stride=100), folds=3, blocks_per_fold=7)
    assert split.unit.tolist() == np.repeat(np.arange(10), 10).tolist()


def test_blocks_do_not_count_time_without_windows():
    start = np.r_[np.arange(50) * 500, 10_000_000 + np.arange(50) * 500]  # a day between
    split = blocked(windows(np.zeros(100, int), start, np.arange(100) % 2))
    assert np.bincount(split.unit).tolist() == [5] * 20


def test_blocks_belong_to_one_recording_each():
    epochs = windows(np.repeat(np.arange(30), 10), np.tile(np.arange(10) * 500, 30), np.arange(300) % 2)
    split = blocked(epochs)
    assert len(np.unique(np.stack([split.unit, epochs.recording]), axis=1).T) == split.unit.max() + 1 == 30


def test_every_fold_tests_on_its_share_of_the_classes():
    target = (np.arange(200) // 25) % 2  # changes every 25 windows: a fold of 40 in a row would hold mostly one class
    for fold in blocked(windows(np.zeros(200, int), np.arange(200) * 500, target)).folds:
        assert 0.35 <= target[fold.test].mean() <= 0.65


def test_a_rare_class_is_in_every_fold_where_there_are_blocks_enough():
    target = np.zeros(400, int)
    target[::50] = 1  # in 8 of 20 blocks of 20 windows
    split = blocked(windows(np.zeros(400, int), np.arange(400) * 500, target))
    assert all(target[fold.test].sum() >= 1 for fold in split.folds)


def test_fifty_pairs_of_each_class_give_ten_of_each_to_every_fold():
    pair = np.repeat(np.arange(100), 8)
    target = (pair < 50).astype(int)
    split = grouped(windows(pair, np.tile(np.arange(8) * 500, 100), target, group=pair), unit_name="pair")
    assert split.unit_name == "pair"
    for fold in split.folds:
        assert len(np.unique(pair[fold.test])) == 20
        assert target[fold.test].sum() == 80
        assert not np.intersect1d(pair[fold.train], pair[fold.test]).size


def test_five_seizures_and_five_fifths_give_one_of_each_to_every_fold():
    # Seizures of 4 to 40 windows; 200 interictal windows in a row, in fifths.
    sizes = [4, 40, 9, 17, 30]
    seizure = np.repeat(np.arange(5), sizes)
    group = np.r_[seizure, 5 + np.arange(200) // 40]
    recording = np.r_[seizure, np.full(200, 5)]
    start = np.r_[np.concatenate([np.arange(size) for size in sizes]), np.arange(200)] * 500
    epochs = windows(recording, start, group < 5, group=group)
    for fold in grouped(epochs).folds:
        inside = np.unique(epochs.group[fold.test])
        assert [(inside < 5).sum(), (inside >= 5).sum()] == [1, 1]


def test_groups_of_one_class_reach_every_fold_whatever_their_sizes():
    for seed in range(50):
        random = np.random.default_rng(seed)
        holders = random.integers(5, 15, 3)
        target_of = np.repeat(np.arange(3), holders)
        group = np.repeat(np.arange(len(target_of)), random.integers(1, 60, len(target_of)))
        epochs = windows(np.zeros(len(group), int), np.arange(len(group)) * 500, target_of[group], group=group)
        for fold in grouped(epochs).folds:
            assert np.unique(epochs.target[fold.test]).tolist() == [0, 1, 2]


def test_groups_without_a_number_of_folds_are_left_out_one_by_one():
    epochs = in_a_row(60, stride=700, group=np.repeat(np.arange(6), 10))
    split = grouped(epochs, folds=None)
    assert [fold.name for fold in split.folds] == ["g0", "g1", "g2", "g3", "g4", "g5"]
    assert [fold.test.tolist() for fold in split.folds] == np.arange(60).reshape(6, 10).tolist()


def test_subjects_and_recordings_are_left_out_by_name():
    recording = np.repeat([0, 1, 2, 3], 10)
    epochs = windows(recording, np.tile(np.arange(10) * 500, 4), np.arange(40) % 2, subject=recording // 2)
    people, files = leave_subject_out(epochs), by_recording(epochs, folds=None)
    assert [(fold.name, fold.test.tolist()) for fold in people.folds] == [
        ("s0", list(range(20))),
        ("s1", list(range(20, 40))),
    ]
    assert [fold.name for fold in files.folds] == ["r0", "r1", "r2", "r3"]
    assert [len(fold.test) for fold in by_recording(epochs, folds=2).folds] == [20, 20]
    assert (people.unit_name, files.unit_name) == ("subject", "recording")


def test_the_split_of_the_paper_counts_its_overlaps_and_warns():
    epochs = in_a_row(200, stride=250)  # each window overlaps with both neighbours
    with pytest.warns(UserWarning, match=r"19 of 20 test windows share samples with a training window") as caught:
        split = paper(epochs, seed=0)
    assert len(caught) == 1
    (fold,) = split.folds
    assert split.overlapping == int((gaps(epochs, fold.test, fold.train).min(axis=1) < 0).sum()) == 19
    train, validation = validation_rows(epochs, split, fold)
    assert sorted([*train, *validation, *fold.test]) == list(range(200))
    assert (len(train), len(validation), len(fold.test)) == (160, 20, 20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert paper(in_a_row(200), seed=0).overlapping == 0


def test_the_same_seed_gives_the_same_random_split_and_another_seed_another():
    epochs = in_a_row(100)
    first, second, third = (paper(epochs, seed=seed).folds[0].test.tolist() for seed in (1, 1, 2))
    assert first == second != third


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (lambda: leave_subject_out(in_a_row()), "There is one subject, s0, and split='leave_subject_out' needs two"),
        (lambda: by_recording(in_a_row()), "There is one recording, r0"),
        (lambda: by_recording(_of_four(0)), "There are 4 recordings for 5 folds; use folds=4 or fewer"),
        (lambda: grouped(in_a_row()), "The labels name no groups; give a column 'group'"),
        (lambda: grouped(in_a_row(group=np.zeros(100, int))), "There is one group, g0"),
        (lambda: grouped(in_a_row(group=np.arange(100)), folds=1), "folds is 1; give 2 or more"),
        (lambda: blocked(in_a_row(), folds=1), "folds is 1; give 2 or more"),
        (lambda: blocked(in_a_row(), blocks_per_fold=0), "blocks_per_fold is 0"),
        (lambda: blocked(in_a_row(), embargo_s=-1.0), "embargo_s is -1.0"),
        (lambda: blocked(in_a_row(), embargo_s=300.0), "Fold 1 of split='blocked' has no a and no b among its 0"),
        (
            lambda: blocked(windows([0] * 12, [0] * 12, [0, 1] * 6)),
            "The windows make 1 blocks of time, too few for 5 folds",
        ),
        (
            lambda: grouped(in_a_row(group=np.arange(100)), folds=None),
            "No fold of split='grouped' tests on two classes or values, so that none can be scored",
        ),
        (
            lambda: leave_subject_out(windows([0] * 10 + [1] * 10, [*range(0, 10_000, 500)], [0] * 10 + [1] * 10)),
            "Fold s0 of split='leave_subject_out' has no a among its 10 training windows",
        ),
    ],
)
def test_what_cannot_be_split_is_refused_in_one_sentence(split, message):
    with pytest.raises(ValueError, match=message) as refusal:
        split()
    assert "\n" not in str(refusal.value)


def test_blocks_of_recordings_with_one_class_each_are_warned_about():
    recording = np.repeat(np.arange(4), 25)
    start = np.tile(np.arange(25) * 500, 4)
    with pytest.warns(UserWarning, match="Labels are constant in each recording, and split='blocked'"):
        blocked(windows(recording, start, recording % 2))
    with pytest.warns(UserWarning, match="The labels name groups, and split='blocked'"):
        blocked(in_a_row(group=np.arange(100) % 10))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        blocked(windows(recording, start, np.arange(100) % 2))


def test_an_inner_cross_validation_keeps_units_together():
    epochs = in_a_row(100)
    split = blocked(epochs)
    rows = split.folds[1].train
    groups = inner_groups(epochs, split, rows)
    assert groups.shape == rows.shape
    assert len(np.unique(np.stack([groups, split.unit[rows]]), axis=1).T) == len(np.unique(groups))


def test_training_rows_of_one_subject_are_kept_together_by_blocks_of_time():
    epochs = windows(np.repeat([0, 1], 100), np.tile(np.arange(100) * 500, 2), np.arange(200) % 2)
    split = leave_subject_out(epochs)
    groups = inner_groups(epochs, split, split.folds[0].train)
    assert groups.tolist() == np.repeat(np.arange(10), 10).tolist()
    train, validation = validation_rows(epochs, split, split.folds[0])
    assert gaps(epochs, train, validation).min() >= 0
    assert len(validation) == 10


@pytest.mark.parametrize("name", [name for name in SPLITS if name != "paper"])
def test_validation_windows_are_whole_units_apart_from_training_and_hold_every_class(name):
    for seed in range(10):
        epochs, split = SPLITS[name](seed)
        for fold in split.folds:
            train, validation = validation_rows(epochs, split, fold)
            assert np.isin(train, fold.train).all()
            assert np.isin(validation, fold.train).all()
            assert gaps(epochs, train, validation).min() >= split.embargo_s * RATE
            assert len(train) > len(validation) > 0
            if epochs.classes is not None:
                assert np.unique(epochs.target[train]).tolist() == [0, 1]
                assert np.unique(epochs.target[validation]).tolist() == [0, 1]
            if name != "leave_subject_out":  # with one subject to train on, its units are blocks of time
                assert not np.intersect1d(split.unit[train], split.unit[validation]).size


def test_no_unit_to_spare_for_validation_is_refused():
    group = np.repeat([0, 1, 2, 3], 5)
    epochs = windows(group, np.tile(np.arange(5) * 500, 4), group % 2, group=group)
    split = grouped(epochs, folds=2)
    with pytest.raises(ValueError, match="Fold 1 trains on 2 groups, of which none can be spared for validation"):
        validation_rows(epochs, split, split.folds[0])
