"""How well scores tell the targets of windows, counted within folds only.

Scores are (contacts, windows, outputs), float64, NaN where a contact was not tested in a window. The scores of two
folds come from two fits and have no common zero: where the balance of classes differs between folds, comparing their
windows biases the AUROC below .5 when there is nothing to find. So only windows tested in the same fold are compared.

Everything is kept as sums over *units*, the independent pieces of the data (a block of time, a pair, a seizure): a
bootstrap sample is a weight for each unit, and costs a product of matrices.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .epochs import Epochs
from .splits import Split


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """One class against the others in one fold.

    output: the class it counts for. positive, negative: the units that have such windows, as rows of the weights.
    positives, negatives (contacts, units): windows of each. concordant (contacts, positive, negative): pairs of windows
    whose scores are in the right order; ties count half.
    """

    output: int
    positive: NDArray[np.int64]
    negative: NDArray[np.int64]
    positives: NDArray[np.float64]
    negatives: NDArray[np.float64]
    concordant: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """Predictions x and targets y of one fold: (contacts, units, 6), sums of 1, x, y, xx, yy, xy; both are centred."""

    unit: NDArray[np.int64]
    sums: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class UnitSums:
    """What `score` and `bootstrap` need of scores: sums over the windows of each of `units` units, fold by fold."""

    units: int
    contacts: int
    parts: tuple[Pairs, ...] | tuple[Moments, ...]


def unit_sums(epochs: Epochs, split: Split, scores: NDArray[np.float64]) -> UnitSums:
    """Return the sums over units of scores (contacts, windows, outputs).

    Raises ValueError for scores of another shape.
    """
    outputs = epochs.num_outputs
    if scores.ndim != 3 or scores.shape[1:] != (len(epochs), outputs):
        raise ValueError(
            f"scores have the shape {scores.shape}; give (contacts, {len(epochs)} windows, {outputs} outputs)."
        )
    tested = np.concatenate([fold.test for fold in split.folds])
    names = np.unique(split.unit[tested])
    unit = np.searchsorted(names, split.unit)  # of tested windows: 0 … units - 1
    regression = epochs.classes is None
    parts: tuple[Pairs, ...] | tuple[Moments, ...] = (
        tuple(_moments(epochs, split, scores, unit)) if regression else tuple(_pairs(epochs, split, scores, unit))
    )
    return UnitSums(units=len(names), contacts=len(scores), parts=parts)


def score(sums: UnitSums) -> NDArray[np.float64]:
    """Return the AUROC, or for a regression Pearson's r, of each contact: (contacts,), NaN where it is not defined.

    AUROC: pairs of windows in the right order, summed over folds, over all pairs; for more than two classes, the mean
    of each class against the others. A fold whose test has one class adds nothing.
    r: the mean over folds, weighted by windows; constant predictions count 0.
    """
    return weighted_score(sums, np.ones((1, sums.units)))[0]


def weighted_score(sums: UnitSums, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `score` (draws, contacts) as if each unit were there as often as weights (draws, units) say."""
    if sums.parts and isinstance(sums.parts[0], Moments):
        return mean_correlation(_weighted_sums(part, weights) for part in sums.parts if isinstance(part, Moments))
    right: dict[int, NDArray[np.float64]] = {}
    pairs: dict[int, NDArray[np.float64]] = {}
    for part in sums.parts:
        assert isinstance(part, Pairs)
        positive, negative = weights[:, part.positive], weights[:, part.negative]
        found = [((positive @ of_contact) * negative).sum(axis=1) for of_contact in part.concordant]
        right[part.output] = right.get(part.output, 0.0) + np.stack(found, axis=1)
        count = (positive @ part.positives.T) * (negative @ part.negatives.T)
        pairs[part.output] = pairs.get(part.output, 0.0) + count
    nothing = np.full((len(weights), sums.contacts), np.nan)
    return mean_defined([ratio(right[output], pairs[output]) for output in right] or [nothing])


def r_squared(epochs: Epochs, split: Split, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return R² (contacts,): 1 - squared errors / squared distances from the mean of the test, summed over folds.

    scores: predictions (contacts, windows, 1). Below 0 where the mean of the test would have been the better guess.
    """
    error, spread = np.zeros(len(scores)), np.zeros(len(scores))
    for fold in split.folds:
        predicted = scores[:, fold.test, 0]
        there = np.isfinite(predicted)
        target = np.where(there, epochs.target[fold.test], np.nan)
        mean = ratio(np.nansum(target, axis=1), there.sum(axis=1).astype(float))
        error += np.nansum((target - predicted) ** 2, axis=1)
        spread += np.nansum((target - mean[:, None]) ** 2, axis=1)
    return 1.0 - ratio(error, spread)


def class_outputs(epochs: Epochs, scores: NDArray[np.float64]) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yield each class that has scores of its own, and these (contacts, windows): of two classes the second only."""
    assert epochs.classes is not None
    for output in range(scores.shape[2]):
        yield (1 if scores.shape[2] == 1 else output), scores[:, :, output]


def ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return above / below, NaN where below is not positive."""
    return np.divide(above, below, out=np.full(np.broadcast(above, below).shape, np.nan), where=below > 0)


def mean_defined(values: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the mean of arrays of one shape over those that are not NaN; NaN where all are."""
    stack = np.stack(values)
    defined = np.isfinite(stack)
    return ratio(np.where(defined, stack, 0.0).sum(axis=0), defined.sum(axis=0).astype(float))


def _pairs(epochs: Epochs, split: Split, scores: NDArray[np.float64], unit: NDArray[np.int64]) -> Iterator[Pairs]:
    for code, of_class in class_outputs(epochs, scores):
        for fold in split.folds:
            test = fold.test[np.argsort(unit[fold.test], kind="stable")]
            rows, others = test[epochs.target[test] == code], test[epochs.target[test] != code]
            if not len(rows) or not len(others):
                continue
            positive, row_starts = np.unique(unit[rows], return_index=True)
            negative, other_starts = np.unique(unit[others], return_index=True)

            def over_units(values: NDArray, starts: NDArray[np.intp]) -> NDArray[np.float64]:
                return np.add.reduceat(values, starts, axis=1, dtype=np.float64)

            concordant = np.empty((len(scores), len(positive), len(negative)))
            for contact, values in enumerate(of_class):
                high, low = values[rows, None], values[others]
                for order, weight in ((high > low, 1.0), (high == low, 0.5)):  # NaN is in neither
                    sums = np.add.reduceat(over_units(order, other_starts), row_starts, axis=0)
                    concordant[contact] = weight * sums if weight == 1.0 else concordant[contact] + weight * sums
            yield Pairs(
                output=code,
                positive=positive,
                negative=negative,
                positives=over_units(np.isfinite(of_class[:, rows]), row_starts),
                negatives=over_units(np.isfinite(of_class[:, others]), other_starts),
                concordant=concordant,
            )


def _moments(epochs: Epochs, split: Split, scores: NDArray[np.float64], unit: NDArray[np.int64]) -> Iterator[Moments]:
    for fold in split.folds:
        test = fold.test[np.argsort(unit[fold.test], kind="stable")]
        names, starts = np.unique(unit[test], return_index=True)
        predicted = scores[:, test, 0]
        there = np.isfinite(predicted)
        count = there.sum(axis=1, keepdims=True).astype(float)
        # Centred, so that variances are not small differences of large sums.
        x = np.where(there, predicted - ratio(np.nansum(predicted, axis=1, keepdims=True), count), 0.0)
        y = np.where(there, epochs.target[test] - epochs.target[test].mean(), 0.0)
        values = np.stack([there.astype(float), x, y, x * x, y * y, x * y], axis=2)
        yield Moments(unit=names, sums=np.add.reduceat(values, starts, axis=1))


def mean_correlation(folds: Iterable[Iterable[NDArray[np.float64]]]) -> NDArray[np.float64]:
    """Return Pearson's r as `score` has it, from six arrays for each fold: the sums of 1, x, y, xx, yy and xy."""
    total, windows = np.zeros(()), np.zeros(())
    for count, x, y, xx, yy, xy in folds:
        some = np.maximum(count, 1.0)
        spread_x, spread_y = xx - x * x / some, yy - y * y / some
        usable = spread_y > 1e-12 * np.maximum(yy, np.finfo(float).tiny)
        both = np.where(usable & (spread_x > 1e-12 * np.maximum(xx, np.finfo(float).tiny)), spread_x * spread_y, 0.0)
        r = np.divide(xy - x * y / some, np.sqrt(both), out=np.zeros_like(both), where=both > 0)
        counts = np.where(usable, count, 0.0)
        total = total + r * counts
        windows = windows + counts
    return ratio(total, windows)


def _weighted_sums(part: Moments, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (6, draws, contacts)."""
    return np.moveaxis(np.einsum("du,cum->dcm", weights[:, part.unit], part.sums), 2, 0)
