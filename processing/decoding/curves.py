"""What a score is made of: receiver operating characteristic and confusion of classes."""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_curve as roc_of_fold

from .epochs import Epochs
from .metrics import class_outputs
from .splits import Split

POINTS = 200


def roc_curve(
    epochs: Epochs, split: Split, scores: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return false and true positive rate (200,) of scores (contacts, windows, outputs), from (0, 0) to (1, 1).

    Curves of folds are averaged at equal false positive rate, each counting as the pairs that it compares: so the area
    is the AUROC of `metrics.score`, but for the width of the grid. Then the mean over classes and contacts.
    Raises ValueError where nothing can be compared.
    """
    grid = np.linspace(0.0, 1.0, POINTS)
    curves = []
    for code, of_class in class_outputs(epochs, scores):
        for values in of_class:
            total, pairs = np.zeros(POINTS), 0
            for fold in split.folds:
                test = fold.test[np.isfinite(values[fold.test])]
                truth = epochs.target[test] == code
                if truth.all() or not truth.any():
                    continue
                false, true, _ = roc_of_fold(truth, values[test])
                weight = int(truth.sum() * (~truth).sum())
                total += weight * np.interp(grid, false, true)
                pairs += weight
            if pairs:
                curves.append(total / pairs)
    if not curves:
        raise ValueError("No fold tested windows of two classes: there is no curve to draw.")
    mean = np.mean(curves, axis=0)
    mean[0] = 0.0
    return grid, mean


def confusion(epochs: Epochs, scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return how many windows of each class (rows) were taken for each (columns), summed over contacts.

    scores: out-of-fold, (contacts, windows, outputs). The class is the one with the highest score, of two classes the
    second where its log-odds are above 0.
    """
    assert epochs.classes is not None
    both = np.concatenate([np.zeros_like(scores), scores], axis=2) if scores.shape[2] == 1 else scores
    tested = np.isfinite(scores).all(axis=2)
    truth = np.broadcast_to(epochs.target, tested.shape)[tested]
    counts = np.zeros((len(epochs.classes),) * 2, np.int64)
    np.add.at(counts, (truth, both[tested].argmax(axis=1)), 1)
    return counts
