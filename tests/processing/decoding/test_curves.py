import numpy as np
import pytest

from brainbert.processing.decoding.curves import confusion, roc_curve
from brainbert.processing.decoding.metrics import score, unit_sums
from brainbert.processing.decoding.splits import Fold, Split


@pytest.fixture
def split():
    tested = np.arange(300) // 100
    folds = tuple(Fold(np.flatnonzero(tested != k), np.flatnonzero(tested == k), str(k)) for k in range(3))
    return Split(name="made", folds=folds, unit=np.arange(300) // 5, unit_name="group")


@pytest.mark.parametrize("classes", [2, 3])
def test_the_area_under_the_curve_is_the_score(windows_of, split, classes):
    random = np.random.default_rng(0)
    epochs = windows_of(random.integers(0, classes, 300))
    shape = (4, 300, 1 if classes == 2 else 3)
    told = epochs.target[:, None] if classes == 2 else np.eye(3)[epochs.target]
    values = (
        random.standard_normal(shape) + told + 10 * (np.arange(300) // 100)[:, None]
    )  # folds on scales of their own
    values[0, :20] = np.nan
    false, true = roc_curve(epochs, split, values)
    assert false.shape == true.shape == (200,)
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(true, false) == pytest.approx(score(unit_sums(epochs, split, values)).mean(), abs=0.01)


def test_confusion_counts_windows_by_the_sign_of_log_odds_and_by_the_highest_score(windows_of):
    two = np.array([[[-1.0], [2.0], [0.5], [np.nan]], [[1.0], [1.0], [-1.0], [3.0]]])
    assert confusion(windows_of([0, 1, 0, 1]), two).tolist() == [[2, 2], [0, 3]]
    three = np.array([[[3.0, 2, 1], [0, 1, 2], [0, 1, 0]]])
    assert confusion(windows_of([0, 1, 2]), three).tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]


def test_nothing_to_compare_is_refused(windows_of, split):
    with pytest.raises(ValueError, match="No fold tested windows of two classes"):
        roc_curve(windows_of([0, 1] * 150), split, np.full((1, 300, 1), np.nan))
