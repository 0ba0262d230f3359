"""What scores would be worth if they knew nothing: labels moved against out-of-fold scores, without fitting again.

Neighbouring windows are alike, and so are their labels: a free permutation would call that alikeness a finding. So
labels are moved in ways that keep their order: round a recording, or as whole units where units have one label.

Labels that move against scores which stay do not vary as much as the score of a decoder that knows nothing. Near chance
a probe is linear in its training labels, and then window i scores with label j what j scores with i: across folds each
pair of windows counts twice in the score of a cross-validation, but once in that of moved labels. Without `widening`,
by the root of two, 8 to 15 % of silent contacts had p below .05 in simulations, also of independent windows; with it
2 to 5 % (the fewer features, the fewer).

What moving labels cannot see is a decoder that knows the noise next to its test: where noise and labels both last
longer than the embargo, the mean over contacts has p below .05 in 12 % of simulations (noise of 2 windows' memory,
embargo of 1), and in 5 % with an embargo of 3.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control, rankdata

from .epochs import Epochs
from .metrics import class_outputs, mean_correlation, mean_defined, ratio
from .splits import Fold, Split
from .units import constant_within

Method = Literal["shift", "blocks"]
_CHUNK = 2**24  # numbers in a piece of work


def null_method(epochs: Epochs, split: Split) -> Method:
    """Return which way of moving labels suits: "blocks" where the split's units, or recordings, have one label each.

    Blocks of time are never permuted, even where they have one label: they are neighbours, not independent.
    """
    by_unit = split.unit_name != "block of time" and constant_within(split.unit, epochs.target)
    return "blocks" if by_unit or constant_within(epochs.recording, epochs.target) else "shift"


def null_scores(
    epochs: Epochs,
    split: Split,
    scores: NDArray[np.float64],
    *,
    method: Method | Literal["auto"] = "auto",
    draws: int = 2000,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Return the `score` (draws, contacts) of scores (contacts, windows, outputs) with labels that were moved.

    method: "shift" turns the labels of each recording round by a random number of windows in time order, all folds
        together, and never by so few that a window meets one that it overlaps with, where the recording is long enough.
        "blocks" permutes the labels of whole units among those tested in the same fold (of whole recordings where they,
        and not the units, have one label each). "auto": see `null_method`.
    The spread of the draws about their mean is multiplied by `widening`; a draw may so lie below 0 or above 1.
    All contacts meet the same labels, so that the mean over contacts has its null distribution as well. The labels as
    they are belong to those drawn from, and are drawn as often as they should: a recording of 100 windows gives no p
    below about 1/100.
    Raises ValueError for "blocks" where labels vary in units and in recordings, and for one label a recording with
    "shift", which would not move anything.
    Source: Harris 2020, arXiv 2012.06862 (session permutation, shifts); Phipson and Smyth 2010 (the observed counts).
    """
    moved = moved_labels(epochs, split, method=method, draws=draws, seed=seed)
    null = np.empty((draws, len(scores)))
    first = 0
    for source in moved:
        stop = first + len(source)
        null[first:stop] = _scores_of(epochs, split, scores, epochs.target[source])
        first = stop
    return widened(null, split)


def moved_labels(
    epochs: Epochs, split: Split, *, method: Method | Literal["auto"] = "auto", draws: int = 2000, seed: int = 0
) -> Iterator[NDArray[np.int64]]:
    """Yield (some draws, windows), until there are all draws: the window whose label each one gets.

    method, and what is raised: see `null_scores`.
    """
    generator = np.random.default_rng(seed)
    if (null_method(epochs, split) if method == "auto" else method) == "blocks":
        return _permutations(epochs, split, draws, generator)
    if constant_within(epochs.recording, epochs.target):
        raise ValueError(
            "Every recording has one label, so shifting labels within recordings changes nothing; use blocks."
        )
    return _shifts(epochs, draws, generator)


def widened(null: NDArray[np.float64], split: Split) -> NDArray[np.float64]:
    """Return draws (draws, contacts) of moved labels whose spread about their mean is multiplied by `widening`."""
    centre = mean_defined(list(null))
    return centre + widening(split) * (null - centre)


def widening(split: Split) -> float:
    """Return how much wider chance is than labels moved against fixed scores: from 1, for one fold, to the root of 2.

    The variance grows by the share of pairs (tested, trained on) whose windows also meet the other way round.
    """
    both = sum(
        int(np.isin(one.test, other.train).sum()) * int(np.isin(other.test, one.train).sum())
        for one in split.folds
        for other in split.folds
    )
    return float(np.sqrt(1 + both / sum(len(fold.test) * len(fold.train) for fold in split.folds)))


def p_value(observed: NDArray[np.float64], null: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (1 + draws that reach the observed) / (1 + draws), one-sided; NaN for NaN.

    observed (contacts,) and null (draws, contacts), or their means over contacts: a number and (draws,).
    Source: Phipson and Smyth 2010, doi 10.2202/1544-6115.1585.
    """
    # Sums of the same terms in another order differ in their last bits: such draws do reach the observed.
    reached = (null >= observed - 1e-12).sum(axis=0)
    return np.where(np.isfinite(observed), (1.0 + reached) / (1.0 + len(null)), np.nan)


def chance_interval(null: NDArray[np.float64], *, level: float = 0.95) -> NDArray[np.float64]:
    """Return (2, …): between which scores the middle `level` of the null distribution (draws, …) lies; NaN for NaN."""
    found = np.full((2, *null.shape[1:]), np.nan)
    some = np.isfinite(null).any(axis=0)
    found[:, some] = np.nanquantile(null[:, some], [(1 - level) / 2, (1 + level) / 2], axis=0)
    return found


def false_discovery(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return q (contacts,): the least rate of false discoveries at which each would be one; NaN is left out.

    Source: Benjamini and Hochberg 1995, by scipy.
    """
    tested = np.isfinite(p)
    q = np.full(p.shape, np.nan)
    if tested.any():
        q[tested] = false_discovery_control(p[tested])
    return q


def _shifts(epochs: Epochs, draws: int, generator: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Yield (some draws, windows): the window whose label each one gets."""
    plans = []
    for recording in np.unique(epochs.recording):
        rows = np.flatnonzero(epochs.recording == recording)
        # Pooled contacts are windows with one start: they keep together.
        starts, first, place = np.unique(epochs.start[rows], return_index=True, return_inverse=True)
        count = len(starts)
        nearest = int((np.searchsorted(starts, starts + epochs.length) - np.arange(count)).max())
        nearest = nearest if 2 * nearest <= count else 1
        allowed = np.append(0, np.arange(nearest, count - nearest + 1))
        # Each as often as any other: with more draws than shifts there is nothing left to chance.
        drawn = generator.permutation(np.resize(generator.permutation(allowed), draws))
        plans.append((rows, rows[first], place, drawn))
    size = max(1, _CHUNK // len(epochs))
    for begin in range(0, draws, size):
        source = np.empty((min(size, draws - begin), len(epochs)), np.int64)
        for rows, first, place, drawn in plans:
            shift = drawn[begin : begin + size, None]
            source[:, rows] = first[(place + shift) % len(first)]
        yield source


def _permutations(
    epochs: Epochs, split: Split, draws: int, generator: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Yield (some draws, windows): the window whose label each one gets."""
    # A recording that is tested in several folds is as many pieces as it has units: none crosses a fold.
    parts = np.unique(np.stack([split.unit, epochs.recording]), axis=1, return_inverse=True)[1].reshape(-1)
    pieces = next((each for each in (split.unit, parts) if constant_within(each, epochs.target)), None)
    if pieces is None:
        raise ValueError(
            f"Labels vary within a {split.unit_name} and within a recording, so that no whole one can be permuted; "
            "use method='shift'."
        )
    fold_of = np.full(len(epochs), len(split.folds))
    for number, fold in enumerate(split.folds):
        fold_of[fold.test] = number
    _, piece = np.unique(pieces, return_inverse=True)
    # Where a piece is tested first; pieces that never are stay out of it.
    fold_of_piece = np.full(piece.max() + 1, len(split.folds))
    np.minimum.at(fold_of_piece, piece, fold_of)
    first = np.zeros(len(fold_of_piece), np.int64)
    first[piece[::-1]] = np.arange(len(epochs))[::-1]
    size = max(1, _CHUNK // len(epochs))
    for begin in range(0, draws, size):
        order = np.tile(np.arange(len(first)), (min(size, draws - begin), 1))
        for number in range(len(split.folds)):
            members = np.flatnonzero(fold_of_piece == number)
            order[:, members] = generator.permuted(order[:, members], axis=1)
        yield first[order][:, piece]


def _scores_of(epochs: Epochs, split: Split, scores: NDArray[np.float64], targets: NDArray) -> NDArray[np.float64]:
    """Return `metrics.score` (draws, contacts) for many targets (draws, windows) of the same scores, by ranks."""
    if epochs.classes is None:
        return _correlations(split, scores[:, :, 0], targets)
    found = []
    for code, of_class in class_outputs(epochs, scores):
        right, pairs = np.zeros((2, len(targets), len(scores)))
        for fold in split.folds:
            values = of_class[:, fold.test]
            there = np.isfinite(values)
            ranks = np.nan_to_num(rankdata(values, axis=1, nan_policy="omit"))
            is_class = (targets[:, fold.test] == code).astype(np.float64)
            positives, windows = is_class @ there.T, there.sum(axis=1)
            right += is_class @ ranks.T - positives * (positives + 1) / 2
            pairs += positives * (windows - positives)
        found.append(ratio(right, pairs))
    return mean_defined(found)


def _correlations(split: Split, scores: NDArray[np.float64], targets: NDArray) -> NDArray[np.float64]:
    centre = targets[0].mean()

    def sums(fold: Fold) -> tuple[NDArray[np.float64], ...]:
        predicted, target = scores[:, fold.test], targets[:, fold.test] - centre
        there = np.isfinite(predicted).astype(np.float64)
        count = there.sum(axis=1)
        x = np.where(there > 0, predicted - ratio(np.nansum(predicted, axis=1), count)[:, None], 0.0)
        y, yy, xy = target @ there.T, target**2 @ there.T, target @ x.T
        return np.broadcast_to(count, y.shape), x.sum(axis=1), y, (x * x).sum(axis=1), yy, xy

    return mean_correlation(map(sums, split.folds))
