"""Probes: what is fitted on the features of training windows and scores the windows of the test.

A probe is called with (train_x, train_y, test_x, inner_groups, seed): features (windows, features), whole numbers
(codes of classes) or floats as targets, and the independent unit of each training window. It returns scores (test
windows, outputs): for two classes the log-odds of the second, for more one score a class, for regression the
prediction. Standardisation and regularisation see training windows only.

Features are divided by the root of their number after standardisation, so that a window's expected squared length is 1
and one grid of penalties serves 6 features as well as 5000. (800 noisy ones at the usual C=1: AUROC .58, chosen: .68.)
"""

import warnings
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold
from sklearn.neural_network import MLPClassifier, MLPRegressor

Probe = Callable[[NDArray, NDArray, NDArray, NDArray[np.int64], int], NDArray[np.float64]]

INNER_FOLDS = 3
INVERSE_PENALTIES = 10.0 ** np.arange(-3, 4)
UNCHOSEN = len(INVERSE_PENALTIES) // 2  # where the training windows are too few to choose by
LAYERS = (1024, 512, 256, 128)
EPOCHS, PATIENCE = 60, 8
LEAST_LOG = -100.0  # of a probability that a sure network rounds to 0: scores are finite


def logistic(
    train_x: NDArray, train_y: NDArray, test_x: NDArray, inner_groups: NDArray[np.int64], seed: int
) -> NDArray[np.float64]:
    """Score by logistic regression (multinomial for more than two classes), its L2 penalty chosen in the training rows.

    The penalty has the least log loss in three inner folds of whole units. Shapes are those of the module.
    Raises ValueError for training windows of one class.
    Source: Wang et al. 2023, section 4 (a linear classifier on frozen embeddings).
    """
    return _logistic(train_x, train_y, test_x, inner_groups, seed, balanced=False)


def balanced_logistic(
    train_x: NDArray, train_y: NDArray, test_x: NDArray, inner_groups: NDArray[np.int64], seed: int
) -> NDArray[np.float64]:
    """Score as `logistic` does, but every class weighs the same, however many windows it has.

    So log-odds above 0 say that the window is of the second class as if both were equally frequent.
    """
    return _logistic(train_x, train_y, test_x, inner_groups, seed, balanced=True)


def ridge(
    train_x: NDArray, train_y: NDArray, test_x: NDArray, inner_groups: NDArray[np.int64], seed: int
) -> NDArray[np.float64]:
    """Predict by ridge regression, its penalty with the least squared error in three inner folds of whole units.

    Shapes are those of the module.
    """
    train_x, test_x = _standardised(train_x, test_x)
    best = _least_loss(_ridge_path, _squared_error, train_x, train_y, inner_groups, seed)
    *_, scores = _ridge_path(train_x, train_y, test_x, best + 1)
    return scores


def nearest_centroid(
    train_x: NDArray, train_y: NDArray, test_x: NDArray, inner_groups: NDArray[np.int64], seed: int
) -> NDArray[np.float64]:
    """Score by the squared distance to the mean of each class: fast, for choosing among many contacts.

    Shapes are those of the module; inner_groups and seed are not needed.
    """
    train_x, test_x = _standardised(train_x, test_x)
    code = np.unique(train_y, return_inverse=True)[1]
    means = np.stack([train_x[code == number].mean(axis=0, dtype=np.float64) for number in range(code.max() + 1)])
    scores = test_x @ means.T - 0.5 * np.square(means).sum(axis=1)
    return scores if len(means) > 2 else scores[:, 1:] - scores[:, :1]


def network(
    train_x: NDArray, train_y: NDArray, test_x: NDArray, inner_groups: NDArray[np.int64], seed: int
) -> NDArray[np.float64]:
    """Score by the paper's network of 1024, 512, 256 and 128 rectified units.

    About a tenth of the training windows, whole units where that leaves every class, tells when to stop; the weights of
    the best epoch are used. Shapes are those of the module.
    Source: Wang et al. 2023, section 4 (deep network on the waveform).
    """
    train_x, test_x = _standardised(train_x, test_x, by_number=False)
    classes = _is_classes(train_y)
    center, scale = (0.0, 1.0) if classes else (train_y.mean(), train_y.std() or 1.0)
    target = np.unique(train_y, return_inverse=True)[1] if classes else (train_y - center) / scale
    make, loss = (MLPClassifier, _log_loss) if classes else (MLPRegressor, _squared_error)
    known = {"classes": np.unique(target)} if classes else {}
    folds = inner_folds(target, inner_groups, seed, folds=10)
    fit, hold = folds[0] if folds else (np.arange(len(target)), np.arange(len(target)))
    model = make(hidden_layer_sizes=LAYERS, batch_size=min(64, len(fit)), random_state=seed)  # Adam, rate 1e-3
    least, best, scores = np.inf, 0, np.empty(0)
    for epoch in range(EPOCHS):
        model.partial_fit(train_x[fit], target[fit], **known)
        found = loss(target[hold], _network_outputs(model, train_x[hold]))
        if epoch == 0 or found < least:
            least, best, scores = found, epoch, _network_outputs(model, test_x)
        elif epoch - best >= PATIENCE:
            break
    return scores * scale + center


def _logistic(
    train_x: NDArray, train_y: NDArray, test_x: NDArray, inner_groups: NDArray[np.int64], seed: int, *, balanced: bool
) -> NDArray[np.float64]:
    if len(np.unique(train_y)) < 2:
        raise ValueError("The training windows are all of one class: a probe needs windows of two.")
    train_x, test_x = _standardised(train_x, test_x)
    code = np.unique(train_y, return_inverse=True)[1]
    path = partial(_logistic_path, class_weight="balanced" if balanced else None)
    best = _least_loss(path, _balanced_log_loss if balanced else _log_loss, train_x, code, inner_groups, seed)
    *_, scores = path(train_x, code, test_x, best + 1)
    return scores


def _network_outputs(model: MLPClassifier | MLPRegressor, x: NDArray) -> NDArray[np.float64]:
    """Return the last layer (windows, outputs) before it becomes probabilities, which saturate at 0 and 1."""
    *hidden, last = zip(model.coefs_, model.intercepts_, strict=True)
    for weights, bias in hidden:
        x = np.maximum(x @ weights + bias, 0)
    return (x @ last[0] + last[1]).astype(np.float64)


def _log_loss(truth: NDArray, scores: NDArray[np.float64]) -> float:
    return float(_log_losses(truth, scores).sum())


def _balanced_log_loss(truth: NDArray, scores: NDArray[np.float64]) -> float:
    return float((_log_losses(truth, scores) / np.bincount(truth)[truth]).sum())


def _log_losses(truth: NDArray, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    both = scores if scores.shape[1] > 1 else np.hstack([np.zeros_like(scores), scores])
    return -np.take_along_axis(log_softmax(both, axis=1), truth[:, None], axis=1)[:, 0]


def _squared_error(truth: NDArray, scores: NDArray[np.float64]) -> float:
    return float(((truth - scores[:, 0]) ** 2).sum())


def _standardised(train_x: NDArray, test_x: NDArray, *, by_number: bool = True) -> tuple[NDArray, NDArray]:
    """Return both with mean 0 and deviation 1 in the training rows, float32; constant features become 0."""
    mean = train_x.mean(axis=0, dtype=np.float64)
    deviation = train_x.std(axis=0, dtype=np.float64)
    # Rounding leaves a constant a tiny deviation, by which its test rows must not be divided.
    scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 1e-6 * np.abs(mean))
    if by_number:
        scale /= np.sqrt(train_x.shape[1])
    train, test = (((rows - mean) * scale).astype(np.float32) for rows in (train_x, test_x))
    return train, test


def _logistic_path(
    train_x: NDArray, train_y: NDArray, test_x: NDArray, count: int, *, class_weight: str | None
) -> Iterator[NDArray[np.float64]]:
    """Yield the scores of the test rows for the first `count` penalties, each fit started from the one before."""
    model = LogisticRegression(warm_start=True, max_iter=500, class_weight=class_weight)
    for inverse in INVERSE_PENALTIES[:count]:
        model.C = inverse
        with warnings.catch_warnings():  # the weakest penalties need not converge: they are hardly ever chosen
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(train_x, train_y)
        scores = model.decision_function(test_x).astype(np.float64)
        yield scores.reshape(len(test_x), -1)


def _ridge_path(train_x: NDArray, train_y: NDArray, test_x: NDArray, count: int) -> Iterator[NDArray[np.float64]]:
    """Yield the predictions of the test rows for the first `count` penalties, from one eigendecomposition."""
    train_x, test_x = train_x.astype(np.float64), test_x.astype(np.float64)
    mean, target = train_x.mean(axis=0), train_y - train_y.mean()
    train_x, test_x = train_x - mean, test_x - mean
    wide = train_x.shape[1] > train_x.shape[0]  # then with windows × windows, which is smaller
    values, vectors = np.linalg.eigh(train_x @ train_x.T if wide else train_x.T @ train_x)
    left = (test_x @ train_x.T if wide else test_x) @ vectors
    right = vectors.T @ (target if wide else train_x.T @ target)
    for inverse in INVERSE_PENALTIES[:count]:
        yield (left @ (right / (np.maximum(values, 0.0) + 1.0 / inverse)) + train_y.mean())[:, None]


def _least_loss(
    path: Callable[[NDArray, NDArray, NDArray, int], Iterator[NDArray[np.float64]]],
    loss: Callable[[NDArray, NDArray[np.float64]], float],
    train_x: NDArray,
    train_y: NDArray,
    inner_groups: NDArray[np.int64],
    seed: int,
) -> int:
    """Return which penalty has the least loss, summed over the windows held out in the inner folds."""
    total = np.zeros(len(INVERSE_PENALTIES))
    folds = inner_folds(train_y, inner_groups, seed)
    for fit, hold in folds:
        scores = path(train_x[fit], train_y[fit], train_x[hold], len(total))
        total += [loss(train_y[hold], of_penalty) for of_penalty in scores]
    return int(np.argmin(total)) if folds else UNCHOSEN


def inner_folds(
    targets: NDArray, groups: NDArray[np.int64], seed: int, folds: int = INNER_FOLDS
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return (fit, held out) rows of folds of whole groups; of windows where too few groups leave no class out.

    An empty list means that there are too few windows for that as well.
    """
    if not _is_classes(targets):
        if len(np.unique(groups)) > 1:
            return list(GroupKFold(min(folds, len(np.unique(groups)))).split(targets, targets, groups))
        return list(KFold(min(folds, len(targets))).split(targets)) if len(targets) > 1 else []
    per_class = np.unique(targets, return_counts=True)[1]
    units = len(np.unique(groups))
    parts = min(folds, units, int(per_class.max()))
    by_group = StratifiedGroupKFold(parts, shuffle=True, random_state=seed) if parts > 1 else None
    by_window = StratifiedKFold(min(folds, per_class.min())) if per_class.min() > 1 else None
    for splitter in (by_group, by_window):
        if splitter is not None:
            with warnings.catch_warnings():  # of classes in fewer groups than folds: looked at below
                warnings.simplefilter("ignore", UserWarning)
                found = list(splitter.split(targets, targets, groups))
            if all(len(hold) and len(np.unique(targets[fit])) == len(per_class) for fit, hold in found):
                return found
    return []


def _is_classes(targets: NDArray) -> bool:
    return bool(np.issubdtype(targets.dtype, np.integer))
