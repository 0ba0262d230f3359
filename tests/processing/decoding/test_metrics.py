import numpy as np
import pytest
from scipy.stats import mannwhitneyu, pearsonr
from sklearn.metrics import r2_score, roc_auc_score

from brainbert.processing.decoding.metrics import r_squared, score, unit_sums, weighted_score
from brainbert.processing.decoding.splits import Fold, Split


def split_of(tested, unit=None) -> Split:
    """Fold number `tested` of each window."""
    tested = np.asarray(tested)
    folds = [Fold(np.flatnonzero(tested != k), np.flatnonzero(tested == k), str(k)) for k in np.unique(tested)]
    unit = np.arange(len(tested)) if unit is None else unit
    return Split(name="made", folds=tuple(folds), unit=unit, unit_name="group")


def scores_of(*contacts):
    return np.array(contacts, dtype=float)[..., None]


def test_auroc_of_one_fold_is_scikit_learns_ties_included(windows_of):
    random = np.random.default_rng(0)
    epochs = windows_of(random.integers(0, 2, 200))
    values = np.round(random.standard_normal((5, 200)) + 0.5 * epochs.target, 1)  # many ties
    sums = unit_sums(epochs, split_of(np.zeros(200), np.arange(200) // 7), values[..., None])
    np.testing.assert_allclose(score(sums), [roc_auc_score(epochs.target, row) for row in values], rtol=1e-14)
    high, low = values[:, epochs.target == 1], values[:, epochs.target == 0]
    counted = mannwhitneyu(high, low, axis=1).statistic  # in whole and half pairs, so equal to the last bit
    assert (score(sums) == counted / (high.shape[1] * low.shape[1])).all()


def test_auroc_of_three_classes_is_scikit_learns_macro_average(windows_of):
    random = np.random.default_rng(0)
    epochs = windows_of(random.integers(0, 3, 150))
    values = random.random((2, 150, 3)) + 0.3 * np.eye(3)[epochs.target]
    values /= values.sum(axis=2, keepdims=True)
    expected = [roc_auc_score(epochs.target, row, multi_class="ovr", average="macro") for row in values]
    np.testing.assert_allclose(score(unit_sums(epochs, split_of(np.zeros(150)), values)), expected, atol=1e-12)


def test_only_windows_of_the_same_fold_are_compared(windows_of):
    # Fold 0: one pair, right. Fold 1: two pairs, one right. Three of six pairs across folds would be wrong.
    epochs = windows_of([0, 1, 0, 1, 1])
    sums = unit_sums(epochs, split_of([0, 0, 1, 1, 1]), scores_of([10, 11, 1, 0, 2]))
    assert score(sums) == pytest.approx(2 / 3)


def test_a_fold_with_one_class_adds_nothing_and_a_contact_without_pairs_has_no_score(windows_of):
    epochs = windows_of([0, 1, 1, 1])
    nan = np.nan
    sums = unit_sums(epochs, split_of([0, 0, 1, 1]), scores_of([1, 2, 0, 0], [nan, 2, 0, 0]))
    assert score(sums)[0] == 1
    assert np.isnan(score(sums)[1])


def test_windows_without_a_score_are_left_out_for_that_contact_only(windows_of):
    random = np.random.default_rng(1)
    epochs = windows_of(random.integers(0, 2, 60))
    values = random.standard_normal((2, 60))
    values[0, 10:30] = np.nan
    kept = np.isfinite(values[0])
    found = score(unit_sums(epochs, split_of(np.zeros(60)), values[..., None]))
    assert found[0] == pytest.approx(roc_auc_score(epochs.target[kept], values[0, kept]), abs=1e-14)
    assert found[1] == pytest.approx(roc_auc_score(epochs.target, values[1]), abs=1e-14)


def test_r_is_the_mean_of_scipys_over_folds_each_counting_its_windows(windows_of):
    random = np.random.default_rng(0)
    target = random.standard_normal(100) + 1e6  # far from zero: moments must not lose digits
    tested = np.repeat([0, 1, 2], [20, 30, 50])
    values = target + random.standard_normal((3, 100)) + 100 * tested
    folds = [tested == k for k in range(3)]
    expected = [np.average([pearsonr(row[f], target[f])[0] for f in folds], weights=[20, 30, 50]) for row in values]
    sums = unit_sums(windows_of(target), split_of(tested, np.arange(100) // 5), values[..., None])
    np.testing.assert_allclose(score(sums), expected, rtol=1e-9)


def test_constant_predictions_are_a_correlation_of_nothing(windows_of):
    target = np.arange(20.0)
    sums = unit_sums(windows_of(target), split_of(np.repeat([0, 1], 10)), scores_of([*range(10), *[3] * 10]))
    assert score(sums) == pytest.approx(0.5)


def test_r_squared_of_one_fold_is_scikit_learns(windows_of):
    random = np.random.default_rng(0)
    target = random.standard_normal(50)
    values = target + random.standard_normal((2, 50))
    found = r_squared(windows_of(target), split_of(np.zeros(50)), values[..., None])
    np.testing.assert_allclose(found, [r2_score(target, row) for row in values])


@pytest.mark.parametrize("kind", ["classes", "values"])
def test_weights_of_units_equal_windows_that_are_there_as_often(windows_of, kind):
    random = np.random.default_rng(2)
    target = random.integers(0, 2, 60) if kind == "classes" else random.standard_normal(60)
    unit, values = np.arange(60) // 6, random.standard_normal((3, 60)).round(1)
    values[1, 5:9] = np.nan
    tested = np.arange(60) // 12 % 2
    weights = random.integers(0, 4, (5, 10)).astype(float)
    found = weighted_score(unit_sums(windows_of(target), split_of(tested, unit), values[..., None]), weights)
    for draw, of_unit in enumerate(weights):
        rows = np.repeat(np.arange(60), of_unit[unit].astype(int))
        naive = []
        for fold in (0, 1):
            part = rows[tested[rows] == fold]
            for contact in range(3):
                there = part[np.isfinite(values[contact, part])]
                x, y = values[contact, there], target[there]
                if kind == "classes":
                    pairs = int((y == 1).sum() * (y == 0).sum())
                    naive.append((roc_auc_score(y, x) if pairs else 0.0, pairs))
                else:
                    naive.append((pearsonr(x, y)[0], len(there)))
        value, count = np.moveaxis(np.array(naive).reshape(2, 3, 2), 2, 0)
        np.testing.assert_allclose(found[draw], (value * count).sum(0) / count.sum(0), atol=1e-12)


def test_scores_of_another_shape_are_refused(windows_of):
    with pytest.raises(ValueError, match=r"give \(contacts, 4 windows, 1 outputs\)"):
        unit_sums(windows_of([0, 1, 0, 1]), split_of([0, 0, 1, 1]), np.zeros((2, 4, 2)))


def test_shuffled_labels_score_one_half_within_folds_and_less_pooled(windows_of):
    # Folds differ in their balance; a probe of one constant feature can only tell how many of each it was trained on.
    random = np.random.default_rng(0)
    within, pooled = [], []
    for _ in range(200):
        target = random.permutation(np.arange(60) % 2)
        tested = np.arange(60) // 12
        x = random.standard_normal(60)
        values = np.empty(60)
        for fold in range(5):
            train, test = tested != fold, tested == fold
            means = [x[train & (target == code)].mean() for code in (0, 1)]
            share = target[train].mean()
            values[test] = (means[1] - means[0]) * (x[test] - np.mean(means)) + np.log(share / (1 - share))
        within.append(score(unit_sums(windows_of(target), split_of(tested), values[None, :, None]))[0])
        pooled.append(roc_auc_score(target, values))
    error = np.std(within) / np.sqrt(200)
    assert abs(np.mean(within) - 0.5) < 2 * error
    assert np.mean(pooled) < 0.5 - 4 * np.std(pooled) / np.sqrt(200)
