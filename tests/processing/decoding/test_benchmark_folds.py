import dataclasses

import numpy as np
import pytest

from brainbert.processing.decoding import Fold, LeakageError
from brainbert.processing.decoding.benchmark_folds import (
    participant_folds,
    prove_three_parts,
    rotated_groups,
    shares_of_classes,
)


@pytest.fixture
def people(windows_of):
    """Twelve windows of each of eight people, who have one recording each."""
    person = np.repeat(np.arange(8), 12)
    epochs = windows_of(np.tile([0, 1, 0], 32), recording=person)
    return dataclasses.replace(epochs, subjects=tuple(f"P{number}" for number in range(8)), subject=person)


GROUPS = [["P0", "P1"], ["P2"], ["P3", "P4"], ["P5", "P6", "P7"]]


def subjects(epochs, rows):
    return {epochs.subjects[number] for number in epochs.subject[rows]}


def test_groups_rotate_so_that_each_is_tested_once(people):
    split = rotated_groups(people, GROUPS, (2, 1, 1))
    tested = [subjects(people, fold.test) for fold in split.folds]
    assert tested == [set(group) for group in GROUPS]
    assert [subjects(people, fold.validation) for fold in split.folds] == [*tested[1:], tested[0]]
    assert subjects(people, split.folds[0].train) == {"P3", "P4", "P5", "P6", "P7"}


def test_two_groups_at_a_time_make_half_as_many_folds(people):
    split = rotated_groups(people, GROUPS, (1, 1, 2))
    assert [subjects(people, fold.test) for fold in split.folds] == [{"P0", "P1", "P2"}, {"P3", "P4", "P5", "P6", "P7"}]


def test_no_person_is_in_two_parts_of_a_fold_whatever_the_seed_of_the_data(windows_of):
    for seed in range(20):
        random = np.random.default_rng(seed)
        person = np.repeat(np.arange(9), random.integers(4, 15, 9))
        epochs = windows_of(np.resize([0, 1], len(person)), recording=person)
        epochs = dataclasses.replace(epochs, subjects=tuple(map(str, range(9))), subject=person)
        split = participant_folds(epochs, folds=4)
        for fold in split.folds:
            parts = [subjects(epochs, rows) for rows in (fold.train, fold.validation, fold.test)]
            assert sum(map(len, parts)) == len(set.union(*parts)) == 9
        tested = np.concatenate([fold.test for fold in split.folds])
        np.testing.assert_array_equal(np.sort(tested), np.arange(len(epochs)))


@pytest.mark.parametrize("order", ["time", "random"])
def test_shares_of_every_class_are_for_training_validation_and_test(windows_of, order):
    epochs = windows_of(np.tile([0, 1, 2], 20))
    (fold,) = shares_of_classes(epochs, order=order).folds
    for rows, share in ((fold.train, 16), (fold.validation, 2), (fold.test, 2)):
        assert np.bincount(epochs.target[rows]).tolist() == [share] * 3
    in_time = fold.train.max() < fold.validation.min() and fold.validation.max() < fold.test.min()
    assert bool(in_time) is (order == "time")


def test_a_person_on_two_sides_is_proved_to_leak(people):
    rows = np.arange(len(people))
    leaking = Fold(rows[:30], rows[60:], "1", validation=rows[30:60])
    with pytest.raises(LeakageError, match="Fold 1 trains on and stops by the same patient"):
        prove_three_parts(people, [leaking], people.subject, unit_name="patient")
    one = Fold(rows[:24], rows[60:], "1", validation=rows[24:60])
    with pytest.raises(LeakageError, match="Fold 2 tests a patient that another fold tests"):
        prove_three_parts(people, [one, dataclasses.replace(one, name="2")], people.subject, unit_name="patient")


def test_windows_of_validation_that_share_samples_with_others_are_proved_to_leak(windows_of):
    epochs = windows_of(np.resize([0, 1], 30))
    epochs = dataclasses.replace(epochs, length=15)
    with pytest.raises(LeakageError, match="they share 5 samples"):
        shares_of_classes(epochs)


@pytest.mark.parametrize(
    ("groups", "shares", "said"),
    [
        (GROUPS, (2, 1, 2), "do not rotate over 4"),
        (GROUPS, (1, 0, 3), "do not rotate over 4"),
        ([["P0", "P1"], ["P2"], ["P3", "P4"], ["P5", "P6"]], (2, 1, 1), "P7 is in none of the 4 groups"),
        ([["P0", "P1"], ["P2"], ["P3", "P4"], ["P5", "P6", "P7", "P0"]], (2, 1, 1), "in two groups"),
        ([[f"P{number}" for number in range(8)], ["P9"], ["P10"]], (1, 1, 1), "Nobody of group 2 \\(P9\\)"),
    ],
)
def test_groups_that_do_not_fit_are_refused(people, groups, shares, said):
    with pytest.raises(ValueError, match=said):
        rotated_groups(people, groups, shares)


def test_two_folds_have_no_room_for_validation(people):
    with pytest.raises(ValueError, match="three folds are the least"):
        participant_folds(people, folds=2)


def test_a_class_of_two_windows_is_refused(windows_of):
    with pytest.raises(ValueError, match="Class 'b' has 2 windows"):
        shares_of_classes(windows_of(np.array([0] * 10 + [1] * 2)))
