import numpy as np
import pytest
from sklearn.metrics import f1_score, fbeta_score, log_loss, roc_auc_score, root_mean_squared_error

from brainbert.processing.decoding.measures import (
    by_unit,
    check_measures,
    constant_scores,
    judge_measure,
    null_measure,
)
from brainbert.processing.decoding.splits import Fold, Split

HOW = {"draws": 500, "seed": 0}


@pytest.fixture
def problem(windows_of):
    """Windows of six people in two folds, and scores that know something of their classes or values."""

    def make(target):
        person = np.repeat(np.arange(6), len(target) // 6)
        epochs = windows_of(target, recording=person)
        test = [np.flatnonzero(person % 2 == part) for part in (0, 1)]
        folds = tuple(Fold(np.flatnonzero(person % 2 != part), test[part], str(part + 1)) for part in (0, 1))
        return epochs, Split(name="groups", folds=folds, unit=person, unit_name="person")

    return make


@pytest.fixture
def two_classes(problem):
    random = np.random.default_rng(1)
    target = (random.random(300) < 0.25).astype(np.int64)
    epochs, split = problem(target)
    return epochs, split, (1.5 * target - 0.5 + random.standard_normal(300))[None, :, None]


def value(name, epochs, split, scores):
    return judge_measure(name, [scores], epochs, split, **HOW).score


def test_measures_of_two_classes_are_those_of_scikit_learn(two_classes):
    epochs, _, scores = two_classes
    target, odds = epochs.target, scores[0, :, 0]
    assert value("f1", *two_classes) == pytest.approx(f1_score(target, odds > 0))
    assert value("f2", *two_classes) == pytest.approx(fbeta_score(target, odds > 0, beta=2))
    assert value("accuracy", *two_classes) == pytest.approx(((odds > 0) == target).mean())
    assert value("cross-entropy", *two_classes) == pytest.approx(log_loss(target, 1 / (1 + np.exp(-odds))))
    recall = [((odds > 0) == target)[target == code].mean() for code in (0, 1)]
    assert value("balanced-accuracy", *two_classes) == pytest.approx(np.mean(recall))


def test_cross_entropy_and_accuracy_of_three_classes(problem):
    random = np.random.default_rng(2)
    epochs, split = problem(np.tile([0, 1, 2], 20))
    scores = random.standard_normal((1, 60, 3))
    share = np.exp(scores[0]) / np.exp(scores[0]).sum(axis=1, keepdims=True)
    assert value("cross-entropy", epochs, split, scores) == pytest.approx(log_loss(epochs.target, share))
    assert value("accuracy", epochs, split, scores) == pytest.approx((scores[0].argmax(1) == epochs.target).mean())


def test_rmse_is_in_the_unit_of_the_values_and_leaves_out_windows_without_a_score(problem):
    random = np.random.default_rng(3)
    epochs, split = problem(random.normal(33.0, 1.0, 60))
    scores = (epochs.target + random.normal(0, 0.5, 60))[None, :, None]
    scores[0, 7] = np.nan
    there = np.arange(60) != 7
    expected = root_mean_squared_error(epochs.target[there], scores[0, there, 0])
    assert value("rmse", epochs, split, scores) == pytest.approx(expected)


def test_every_unit_alone(two_classes):
    epochs, split, scores = two_classes
    of_person = split.unit == 4
    found = by_unit("auroc", scores, epochs, split)
    assert found[4] == pytest.approx(roc_auc_score(epochs.target[of_person], scores[0, of_person, 0]))
    right = (scores[0, of_person, 0] > 0) == epochs.target[of_person]
    assert by_unit("accuracy", scores, epochs, split)[4] == pytest.approx(right.mean())


def test_the_mean_of_seeds_is_judged(two_classes):
    epochs, split, scores = two_classes
    judged = judge_measure("accuracy", [scores, -scores], epochs, split, **HOW)
    assert judged.score == pytest.approx(0.5)
    assert sum(judged.seeds) == pytest.approx(1.0)


def test_better_scores_have_an_interval_above_worse_ones(two_classes):
    epochs, split, scores = two_classes
    log_odds = 1.5 * (scores - 0.25) - np.log(3)  # of normal scores about 1 and -0.5, one in four of class 1
    both = (log_odds, constant_scores(epochs, split))
    loss = [judge_measure("cross-entropy", [each], epochs, split, **HOW) for each in both]
    assert loss[1].minus(loss[0]).interval[0] > 0


@pytest.mark.parametrize("name", ["accuracy", "balanced-accuracy", "f1", "cross-entropy"])
def test_scores_that_know_something_are_beyond_chance_and_others_within(two_classes, name):
    epochs, split, scores = two_classes
    idle = np.random.default_rng(5).standard_normal(scores.shape)
    for each, knows in ((scores, True), (idle, False)):
        low, high = np.quantile(null_measure(name, each, epochs, split, **HOW), [0.005, 0.995])
        assert (low <= value(name, epochs, split, each) <= high) is not knows


def test_chance_of_rmse_is_that_of_the_same_predictions_with_other_values(problem):
    random = np.random.default_rng(3)
    epochs, split = problem(random.normal(33.0, 1.0, 300))
    scores = (33 + 0.6 * (epochs.target - 33) + random.normal(0, 0.1, 300))[None, :, None]
    null = null_measure("rmse", scores, epochs, split, **HOW)
    assert null.mean() == pytest.approx(np.sqrt(epochs.target.var() + scores.var()), rel=0.02)
    assert value("rmse", epochs, split, scores) < null.min()


def test_the_constant_knows_the_shares_of_the_training_windows(two_classes):
    epochs, split, _ = two_classes
    train = epochs.target[split.folds[0].train].mean()
    found = constant_scores(epochs, split)[0, split.folds[0].test, 0]
    np.testing.assert_allclose(found, np.log(train / (1 - train)))


@pytest.mark.parametrize(
    ("names", "classes", "said"),
    [
        (["recall"], ("a", "b"), "There is no measure 'recall'"),
        (["rmse"], ("a", "b"), "rmse is no measure of classes"),
        (["auroc"], None, "auroc is no measure of values"),
        (["f1"], ("a", "b", "c"), "f1 is of two classes and there are 3"),
    ],
)
def test_measures_that_do_not_fit_the_labels_are_refused(names, classes, said):
    with pytest.raises(ValueError, match=said):
        check_measures(names, classes=classes)
