from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import roc_auc_score

from brainbert.processing.decoding import chance
from brainbert.processing.decoding.chance import (
    chance_interval,
    false_discovery,
    null_method,
    null_scores,
    p_value,
    widening,
)
from brainbert.processing.decoding.splits import Fold, Split, blocked, by_recording, grouped


def one_fold(windows) -> Split:
    """Trained on the first window and tested on all others: no pair counts twice, so chance is not widened."""
    rows = np.arange(windows)
    return Split(name="made", folds=(Fold(rows[:1], rows[1:], "1"),), unit=rows // 10, unit_name="block of time")


def test_shifts_are_all_turns_of_a_recording_but_those_by_less_than_a_window(windows_of):
    random = np.random.default_rng(0)
    epochs, values = windows_of(random.integers(0, 2, 40)), random.standard_normal(40)
    found = null_scores(epochs, one_fold(40), values[None, :, None], draws=2000)
    turns = [
        roc_auc_score(np.roll(epochs.target, k)[1:], values[1:]) for k in range(40)
    ]  # windows do not overlap: by 1 at least
    counts = dict(zip(*np.unique(found.round(9), return_counts=True), strict=True))
    assert set(counts) == set(np.round(turns, 9))
    assert sum(counts.values()) == 2000


def test_windows_that_overlap_are_shifted_further(windows_of):
    epochs = windows_of(np.arange(40) // 4 % 2)
    epochs = replace(epochs, start=np.arange(40) * 4)  # of 10 samples: a window overlaps with the next two
    moved = np.concatenate(list(chance._shifts(epochs, 500, np.random.default_rng(0))))
    distance = (moved[:, 0] - 0) % 40
    assert set(distance) == {0, *range(3, 38)}


def test_all_labels_of_a_recording_stay_in_it_and_pooled_contacts_stay_together(windows_of):
    epochs = windows_of(np.arange(24) % 2, recording=np.repeat([0, 1], 12))
    epochs = replace(epochs, start=np.tile(np.repeat(np.arange(6) * 10, 2), 2))  # two contacts at each time
    for moved in np.concatenate(list(chance._shifts(epochs, 100, np.random.default_rng(0)))):
        assert (epochs.recording[moved] == epochs.recording).all()
        assert (moved[0::2] == moved[1::2]).all()


def test_units_of_one_label_are_permuted_within_their_fold(windows_of):
    group = np.repeat(np.arange(12), 3)
    epochs = windows_of((np.arange(12) % 2)[group], group=group)
    split = grouped(epochs, folds=3)
    assert null_method(epochs, split) == "blocks"
    moved = epochs.target[np.concatenate(list(chance._permutations(epochs, split, 200, np.random.default_rng(0))))]
    assert len(np.unique(moved, axis=0)) > 100  # of 6 · 6 · 6 arrangements
    for labels in moved:
        assert all(len(set(labels[group == number])) == 1 for number in range(12))
        assert all(labels[fold.test].sum() == epochs.target[fold.test].sum() for fold in split.folds)


def test_the_method_follows_from_where_labels_are_constant(windows_of):
    recording = np.repeat(np.arange(10), 6)
    alternating = windows_of(np.arange(60) % 2, recording=recording)
    assert null_method(alternating, by_recording(alternating)) == "shift"
    of_recording = windows_of((np.arange(10) % 2)[recording], recording=recording)
    assert null_method(of_recording, by_recording(of_recording)) == "blocks"
    with pytest.raises(ValueError, match="shifting labels within recordings changes nothing"):
        null_scores(of_recording, by_recording(of_recording), np.zeros((1, 60, 1)), method="shift")
    with pytest.raises(ValueError, match="Labels vary within a recording"):
        null_scores(alternating, by_recording(alternating), np.zeros((1, 60, 1)), method="blocks")


def test_draws_are_scores_of_moved_labels_fold_by_fold(windows_of):
    random = np.random.default_rng(0)
    tested = np.arange(90) % 3
    folds = tuple(Fold(np.flatnonzero(tested != k), np.flatnonzero(tested == k), str(k)) for k in range(3))
    split = Split(name="made", folds=folds, unit=np.arange(90), unit_name="group")
    values = random.standard_normal((2, 90)).round(1)
    values[1, 4:8] = np.nan
    for target in (random.integers(0, 2, 90), random.standard_normal(90)):
        moved = random.permuted(np.tile(target, (4, 1)), axis=1)
        found = chance._scores_of(windows_of(target), split, values[..., None], moved)
        for draw, contact in np.ndindex(found.shape):
            parts = []
            for fold in folds:
                test = fold.test[np.isfinite(values[contact, fold.test])]
                y, x = moved[draw, test], values[contact, test]
                if target.dtype.kind == "i":
                    parts.append((roc_auc_score(y, x), (y == 1).sum() * (y == 0).sum()))
                else:
                    parts.append((pearsonr(y, x)[0], len(y)))
            assert found[draw, contact] == pytest.approx(
                np.average(*np.transpose(parts)[:1], weights=np.transpose(parts)[1])
            )


def test_chance_is_widened_by_the_pairs_that_count_twice(windows_of):
    epochs = windows_of(np.arange(40) % 2, group=np.arange(40))
    assert widening(grouped(epochs)) == pytest.approx(np.sqrt(2))
    assert widening(one_fold(40)) == 1


def test_p_counts_the_observed_labels_among_the_draws():
    null = np.array([[0.1, 0.5], [0.2, 0.6], [0.3, 0.7]])
    np.testing.assert_allclose(p_value(np.array([0.3, 0.9]), null), [0.5, 0.25])
    assert np.isnan(p_value(np.array([np.nan, 0.9]), null)[0])
    assert p_value(np.float64(0.25), null[:, 0]) == 0.5


def test_the_chance_interval_holds_the_middle_of_the_draws():
    np.testing.assert_allclose(chance_interval(np.arange(101.0)[:, None], level=0.9)[:, 0], [5, 95])


def test_false_discovery_is_benjamini_and_hochbergs_and_skips_contacts_without_a_score():
    # 4 p: .01 · 4/1, .02 · 4/2, .03 · 4/3, .9
    np.testing.assert_allclose(
        false_discovery(np.array([0.02, np.nan, 0.01, 0.9, 0.03])), [0.04, np.nan, 0.04, 0.9, 0.04]
    )


def test_the_same_seed_gives_the_same_draws(windows_of):
    epochs = windows_of(np.random.default_rng(0).integers(0, 2, 200))
    values = np.random.default_rng(1).standard_normal((2, 200, 1))
    once, again, other = (null_scores(epochs, blocked(epochs), values, draws=30, seed=seed) for seed in (0, 0, 1))
    assert (once == again).all()
    assert not (once == other).all()
