import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from brainbert.processing.decoding import probes
from brainbert.processing.decoding.probes import (
    balanced_logistic,
    inner_folds,
    logistic,
    nearest_centroid,
    network,
    ridge,
)


@pytest.fixture
def random():
    return np.random.default_rng(0)


def two_classes(random, windows=300, features=6, effect=1.0):
    y = random.integers(0, 2, windows)
    x = random.standard_normal((windows, features)) + effect * y[:, None] * (np.arange(features) == 0)
    return x.astype(np.float32), y, np.arange(windows) // 10


def test_logistic_is_scikit_learns_on_standardised_features_with_one_of_the_penalties(random):
    x, y, groups = two_classes(random)
    scores = logistic(x[:200], y[:200], x[200:], groups[:200], 0)
    z = (x - x[:200].mean(0)) / x[:200].std(0) / np.sqrt(6)
    ours = [LogisticRegression(C=c, max_iter=500).fit(z[:200], y[:200]) for c in probes.INVERSE_PENALTIES]
    assert min(np.abs(model.decision_function(z[200:]) - scores[:, 0]).max() for model in ours) < 0.02


def test_ridge_is_scikit_learns_with_more_and_with_fewer_features_than_windows(random):
    for features in (6, 300):
        x = random.standard_normal((250, features))
        y = 3.0 + x[:, 0] + random.standard_normal(250)
        scores = ridge(x[:200], y[:200], x[200:], np.arange(200) // 10, 0)
        z = (x - x[:200].mean(0)) / x[:200].std(0) / np.sqrt(features)
        ours = [Ridge(alpha=1 / c).fit(z[:200], y[:200]).predict(z[200:]) for c in probes.INVERSE_PENALTIES]
        assert min(np.abs(each - scores[:, 0]).max() for each in ours) < 1e-4


def test_scores_do_not_change_with_the_unit_of_the_features(random):
    x, y, groups = two_classes(random)
    shifted = (x * 1e3 + 500).astype(np.float32)
    for probe in (logistic, ridge):
        plain, other = (
            probe(each[:200], y[:200] + (0.0 if probe is ridge else 0), each[200:], groups[:200], 0)
            for each in (x, shifted)
        )
        np.testing.assert_allclose(plain, other, atol=0.02)


def test_a_feature_that_is_constant_in_training_has_no_say_in_the_test(random):
    x, y, groups = two_classes(random)
    x[:200, 3], x[200:, 3] = 0.1, 1e6
    without = logistic(np.delete(x, 3, 1)[:200], y[:200], np.delete(x, 3, 1)[200:], groups[:200], 0)
    assert np.abs(logistic(x[:200], y[:200], x[200:], groups[:200], 0)).max() < 2 * np.abs(without).max()


@pytest.mark.parametrize("features", [6, 800])
def test_the_penalty_is_chosen_so_that_noise_features_cost_little(random, features):
    # Classes 2.5 deviations apart: at best AUROC .96, in whichever number of features.
    y = random.integers(0, 2, 600)
    direction = random.standard_normal(features)
    x = random.standard_normal((600, features)) + 2.5 * y[:, None] * direction / np.linalg.norm(direction)
    scores = logistic(x[:400], y[:400], x[400:], np.arange(400) // 10, 0)
    assert roc_auc_score(y[400:], scores[:, 0]) > (0.93 if features == 6 else 0.8)


def test_three_classes_have_one_score_each(random):
    y = random.integers(0, 3, 300)
    x = random.standard_normal((300, 4)) + 3 * np.eye(4)[y]
    scores = logistic(x[:200], y[:200], x[200:], np.arange(200) // 10, 0)
    assert scores.shape == (100, 3)
    assert (scores.argmax(1) == y[200:]).mean() > 0.8


def test_balanced_regression_gives_a_class_that_is_a_fifth_the_weight_of_the_others(random):
    y = np.repeat([0, 1], [400, 100])
    x = random.standard_normal((500, 3)) + y[:, None]
    odds = {probe: probe(x, y, x, np.arange(500), 0)[:, 0] for probe in (logistic, balanced_logistic)}
    assert np.median(odds[balanced_logistic] - odds[logistic]) == pytest.approx(np.log(4), abs=0.15)
    found = {probe: balanced_accuracy_score(y, each > 0) for probe, each in odds.items()}
    assert found[balanced_logistic] > found[logistic] + 0.05


def test_differences_of_the_nearest_class_mean_are_half_those_of_squared_distances():
    x, y = np.array([[0.0], [0], [4], [4], [8], [8]]), np.array([0, 0, 1, 1, 2, 2])
    found = nearest_centroid(x, y, np.array([[0.5], [3.9], [9]]), np.arange(6), 0)
    assert found.argmax(axis=1).tolist() == [0, 1, 2]
    # In training the deviation is √(32/3): (0.5² - 3.5²) / 2 / (32/3) from the first class to the second.
    assert found[0, 1] - found[0, 0] == pytest.approx(-6 / (32 / 3), abs=1e-5)
    two = nearest_centroid(x[:4], y[:4], np.array([[2.0], [3]]), np.arange(4), 0)
    np.testing.assert_allclose(two, [[0], [1]], atol=1e-6)  # the deviation is 2, and 4 away from 0 is 2 · 2


def test_the_network_finds_what_a_linear_probe_cannot(random, monkeypatch):
    monkeypatch.setattr(probes, "LAYERS", (64, 32))
    x = random.standard_normal((900, 2)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] > 0).astype(np.int64)
    groups = np.arange(700) // 10
    bent, straight = (probe(x[:700], y[:700], x[700:], groups, 0)[:, 0] for probe in (network, logistic))
    assert roc_auc_score(y[700:], bent) > 0.95 > 0.65 > roc_auc_score(y[700:], straight)
    target = 10 + 5 * x[:, 0] * x[:, 1]
    predicted = network(x[:700], target[:700].astype(np.float64), x[700:], groups, 0)[:, 0]
    assert np.corrcoef(predicted, target[700:])[0, 1] > 0.9
    assert abs(predicted.mean() - target[700:].mean()) < 1


def test_the_same_seed_gives_the_same_scores_and_another_one_another_network(random, monkeypatch):
    monkeypatch.setattr(probes, "LAYERS", (8,))
    x, y, groups = two_classes(random)
    once, again, other = (network(x[:200], y[:200], x[200:], groups[:200], seed) for seed in (0, 0, 1))
    assert (once == again).all()
    assert not (once == other).all()


def test_inner_folds_keep_units_whole_and_every_class_in_training(random):
    y, groups = np.repeat([0, 1, 0, 1, 0, 1], 5), np.repeat(np.arange(6), 5)
    folds = inner_folds(y, groups, 0)
    assert len(folds) == 3
    for fit, hold in folds:
        assert not set(groups[fit]) & set(groups[hold])
        assert set(y[fit]) == {0, 1}


def test_inner_folds_are_of_windows_where_one_unit_holds_a_whole_class():
    y = np.repeat([0, 1], 6)
    folds = inner_folds(y, np.repeat([0, 1], 6), 0)
    assert all(set(y[fit]) == {0, 1} for fit, _ in folds)
    assert inner_folds(np.array([0, 1]), np.array([0, 1]), 0) == []


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="all of one class"):
        logistic(np.zeros((4, 2)), np.ones(4, int), np.zeros((1, 2)), np.arange(4), 0)
