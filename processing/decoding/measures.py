"""Measures that published tables have, of one decoder's scores: each with its bootstrap over units and its chance.

Scores are those of a head, (1, windows, outputs), NaN where a window was not tested. AUROC and Pearson's r compare
windows of a fold (`metrics`); all others are sums over windows: a unit, or a bootstrap sample of units, is a weight.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_expit, log_softmax
from sklearn.metrics import roc_auc_score

from .bootstrap import Judged, Scores, judge, unit_weights
from .chance import moved_labels, null_scores, widened
from .epochs import Epochs
from .metrics import mean_defined, ratio
from .splits import Split

Sums = Sequence[NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What a measure is called, whether it is of classes, which way is better, and between which numbers it lies."""

    label: str
    of_classes: bool
    higher_is_better: bool = True
    limits: tuple[float, float] = (0.0, 1.0)


MEASURES = {
    "auroc": Measure(label="AUROC", of_classes=True),
    "accuracy": Measure(label="Accuracy", of_classes=True),
    "balanced-accuracy": Measure(label="Balanced accuracy", of_classes=True),
    "f1": Measure(label="F1", of_classes=True),
    "f2": Measure(label="F2", of_classes=True),
    "cross-entropy": Measure(
        label="Cross-entropy (nats)", of_classes=True, higher_is_better=False, limits=(0.0, np.inf)
    ),
    "rmse": Measure(label="RMSE", of_classes=False, higher_is_better=False, limits=(0.0, np.inf)),
    "r": Measure(label="Pearson r", of_classes=False, limits=(-1.0, 1.0)),
}
_BY_RANK = ("auroc", "r")


def check_measures(names: Sequence[str], *, classes: Sequence[str] | None) -> None:
    """Raise ValueError for a measure that there is not, or that is not one of such labels."""
    for name in names:
        if name not in MEASURES:
            raise ValueError(f"There is no measure {name!r}: choose from {', '.join(MEASURES)}.")
        if MEASURES[name].of_classes != (classes is not None):
            raise ValueError(f"{name} is no measure of {'values' if classes is None else 'classes'}: leave it out.")
        if name in ("f1", "f2") and len(classes or ()) != 2:
            raise ValueError(f"{name} is of two classes and there are {len(classes or ())}: leave it out.")


def judge_measure(name: str, scores: Scores, epochs: Epochs, split: Split, *, draws: int, seed: int) -> Judged:
    """Return what the scores (1, windows, outputs) of each seed of a system are worth by this measure.

    Equal draws and seeds take equal units for every system and measure, so that differences are paired.
    """
    if name in _BY_RANK:
        return judge(scores, epochs, split, draws=draws, seed=seed)
    units = len(tested_units(split))
    weights = unit_weights(units, draws=draws, seed=seed)
    sums = [_unit_sums(name, each, epochs, split) for each in scores]
    observed = [_value(name, [term.sum() for term in of_seed]) for of_seed in sums]
    sampled = [_value(name, [weights @ term for term in of_seed]) for of_seed in sums]
    return Judged(
        seeds=[float(value) for value in observed],
        units=units,
        observed=mean_defined([np.asarray(value)[None] for value in observed]),
        sampled=mean_defined([np.asarray(value)[:, None] for value in sampled]),
    )


def null_measure(
    name: str, scores: NDArray[np.float64], epochs: Epochs, split: Split, *, draws: int, seed: int
) -> NDArray[np.float64]:
    """Return (draws,), the measure of scores (1, windows, outputs) whose labels were moved (`moved_labels`).

    Of RMSE, cross-entropy, accuracy and F1 it is what these very scores would be worth if they knew nothing.
    """
    if name in _BY_RANK:
        return null_scores(epochs, split, scores, draws=draws, seed=seed)[:, 0]
    tested, outputs = _tested(split, scores)
    found = [
        _value(name, [term.sum(axis=-1) for term in _terms(name, outputs, epochs.target[source[:, tested]])])
        for source in moved_labels(epochs, split, draws=draws, seed=seed)
    ]
    return widened(np.concatenate(found)[:, None], split)[:, 0]


def by_unit(name: str, scores: NDArray[np.float64], epochs: Epochs, split: Split) -> NDArray[np.float64]:
    """Return (units,), the measure of each tested unit alone, in the order of `tested_units`.

    NaN where it is not defined: AUROC of a unit with windows of one class, or of more than two classes.
    """
    if name not in _BY_RANK:
        return np.asarray(_value(name, _unit_sums(name, scores, epochs, split)))
    tested, outputs = _tested(split, scores)
    found = []
    for unit in tested_units(split):
        rows = split.unit[tested] == unit
        target, values = epochs.target[tested[rows]], outputs[rows, 0]
        defined = len(np.unique(target)) > 1 and outputs.shape[1] == 1
        if name == "auroc":
            found.append(roc_auc_score(target, values) if defined else np.nan)
        else:
            found.append(np.corrcoef(target, values)[0, 1] if defined and np.ptp(values) > 0 else np.nan)
    return np.array(found, dtype=np.float64)


def tested_units(split: Split) -> NDArray[np.int64]:
    """Return the numbers of the units that are tested, ascending."""
    return np.unique(split.unit[np.concatenate([fold.test for fold in split.folds])])


def constant_scores(epochs: Epochs, split: Split) -> NDArray[np.float64]:
    """Return the scores (1, windows, outputs) of a decoder that knows the training labels and nothing of the signal.

    Of classes their shares of the training windows, of values their mean. A class without such a window counts as if
    it had half of one.
    """
    scores = np.full((1, len(epochs), epochs.num_outputs), np.nan)
    for fold in split.folds:
        target = epochs.target[fold.train]
        if epochs.classes is None:
            scores[0, fold.test] = target.mean()
            continue
        counts = np.maximum(np.bincount(target, minlength=len(epochs.classes)), 0.5)
        share = np.log(counts / counts.sum())
        scores[0, fold.test] = share[1] - share[0] if len(share) == 2 else share
    return scores


def _tested(split: Split, scores: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the windows that were tested and have scores, and these scores (rows, outputs)."""
    tested = np.sort(np.concatenate([fold.test for fold in split.folds]))
    tested = tested[np.isfinite(scores[0, tested]).all(axis=1)]
    return tested, scores[0, tested]


def _unit_sums(name: str, scores: NDArray[np.float64], epochs: Epochs, split: Split) -> list[NDArray[np.float64]]:
    """Return each term of the measure summed over the windows of every tested unit, (units,)."""
    tested, outputs = _tested(split, scores)
    units = tested_units(split)
    place = np.searchsorted(units, split.unit[tested])
    terms = _terms(name, outputs, epochs.target[tested])
    return [np.bincount(place, weights=term, minlength=len(units)).astype(np.float64) for term in terms]


def _terms(name: str, outputs: NDArray[np.float64], target: NDArray) -> list[NDArray[np.float64]]:
    """Return the terms of the measure, each (…, windows), of scores (windows, outputs) and targets (…, windows)."""
    ones = np.ones(target.shape)
    if name == "rmse":
        return [np.square(outputs[:, 0] - target), ones]
    if name == "cross-entropy":
        return [-_log_probability(outputs)[np.arange(len(outputs)), target], ones]
    predicted = (outputs[:, 0] > 0).astype(np.int64) if outputs.shape[1] == 1 else outputs.argmax(axis=1)
    right = predicted == target
    if name == "accuracy":
        return [right.astype(np.float64), ones]
    if name == "balanced-accuracy":
        classes = max(2, outputs.shape[1])
        of_class = [target == code for code in range(classes)]
        return [term.astype(np.float64) for each in of_class for term in (right & each, each)]
    found, wanted = predicted == 1, target == 1
    return [term.astype(np.float64) for term in (found & wanted, found & ~wanted, ~found & wanted)]


def _log_probability(outputs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (windows, classes) of scores (windows, outputs)."""
    if outputs.shape[1] > 1:
        return log_softmax(outputs, axis=1)
    return np.concatenate([log_expit(-outputs), log_expit(outputs)], axis=1)


def _value(name: str, sums: Sums) -> NDArray[np.float64]:
    """Return the measure from the sums of its terms, each of one shape; NaN where it is not defined."""
    return _VALUES[name]([np.asarray(term, dtype=np.float64) for term in sums])


def _mean(sums: Sums) -> NDArray[np.float64]:
    return ratio(sums[0], sums[1])


def _f_score(sums: Sums, *, beta: float) -> NDArray[np.float64]:
    found, false, missed = sums
    return ratio((1 + beta**2) * found, (1 + beta**2) * found + false + beta**2 * missed)


_VALUES: dict[str, Callable[[Sums], NDArray[np.float64]]] = {
    "accuracy": _mean,
    "cross-entropy": _mean,
    "rmse": lambda sums: np.sqrt(_mean(sums)),
    "balanced-accuracy": lambda sums: np.mean([_mean(sums[at : at + 2]) for at in range(0, len(sums), 2)], axis=0),
    "f1": lambda sums: _f_score(sums, beta=1.0),
    "f2": lambda sums: _f_score(sums, beta=2.0),
}
