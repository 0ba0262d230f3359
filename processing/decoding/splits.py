"""Which windows a decoder is trained on and which it is tested on, and the proof that they share no sample.

A split names its independent unit (block of time, group, recording, subject): what was recorded together varies
together, so that units, not windows, are what is counted in intervals and permutations.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .epochs import Epochs
from .units import constant_within, shared_out, strata, time_blocks

_UNITS_PER_FOLD = 4
_INNER_BLOCKS = 10  # where a cross-validation inside one unit needs smaller ones


class LeakageError(ValueError):
    """Windows that a decoder is tested on share samples with windows that it is trained on."""


@dataclass(frozen=True, eq=False)
class Fold:
    """Indices of windows, ascending, that a decoder is trained and tested on.

    validation: windows in neither that tell training when to stop; None takes them from the training windows.
    """

    train: NDArray[np.int64]
    test: NDArray[np.int64]
    name: str
    validation: NDArray[np.int64] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Folds of windows, no window tested twice.

    unit: (windows,), number of the independent unit of each window; unit_name: what such a unit is.
    embargo_s: at least so long is no training window from a test window of its recording.
    overlapping: test windows that share samples with a training window, over all folds; 0 but for "paper".
    """

    name: str
    folds: tuple[Fold, ...]
    unit: NDArray[np.int64]
    unit_name: str
    embargo_s: float = 0.0
    overlapping: int = 0


def blocked(epochs: Epochs, *, folds: int = 5, embargo_s: float | None = None, blocks_per_fold: int = 4) -> Split:
    """Split by contiguous blocks of time, with an embargo around what is tested.

    Each recording is cut into blocks, the units, folds · blocks_per_fold in all and at least four for each fold, each
    two windows long at least where that leaves a block for each fold; gaps between windows do not count. Blocks go to
    folds so that each has its share of windows and classes.
    blocks_per_fold: stretches of time that a fold tests, each with an embargo on both sides. 1 spares most windows for
        training, which short recordings need; each fold then tests one part of the time, with the classes that it has.
    embargo_s: training windows closer than this to a test window of the fold are left out; one window by default.
    Warns when labels are constant in each recording, or groups are given: blocks then tell what others hold.
    Raises ValueError when there are fewer blocks than folds, or a fold is left without a class to train on.
    Source: Roberts et al. 2017, Ecography 40:913 (block cross-validation).
    """
    _require_folds(folds)
    if blocks_per_fold < 1:
        raise ValueError(f"blocks_per_fold is {blocks_per_fold}; give 1 or more.")
    embargo_s = epochs.window_s if embargo_s is None else embargo_s
    if not embargo_s >= 0:
        raise ValueError(f"embargo_s is {embargo_s}; give 0 or more seconds.")
    unit = time_blocks(epochs, folds * max(blocks_per_fold, _UNITS_PER_FOLD), at_least=folds)
    units = int(unit.max()) + 1
    if units < folds:
        raise ValueError(
            f"The windows make {units} blocks of time, too few for {folds} folds; use fewer folds or shorter windows."
        )
    stretch = unit * min(folds * blocks_per_fold, units) // units  # neighbouring units go together
    tested = shared_out(stretch, epochs, folds)[stretch]
    if epochs.group is not None and not constant_within(epochs.group, tested):
        warnings.warn(
            "The labels name groups, and split='blocked' tests on groups that it also trains on; use split='grouped'.",
            stacklevel=2,
        )
    elif (
        epochs.classes is not None
        and constant_within(epochs.recording, epochs.target)
        and not constant_within(epochs.recording, tested)
    ):
        warnings.warn(
            "Labels are constant in each recording, and split='blocked' tests on recordings that it also trains on: "
            "scores may tell recordings apart and not classes; use split='by_recording' or 'grouped'.",
            stacklevel=2,
        )
    embargo = int(np.ceil(embargo_s * epochs.sampling_rate - 1e-6))
    parts = [_fold(epochs, tested == fold, embargo=embargo, name=str(fold + 1)) for fold in range(folds)]
    return _proven(epochs, "blocked", parts, unit=unit, unit_name="block of time", embargo_s=embargo_s)


def paper(epochs: Epochs, *, seed: int) -> Split:
    """Split windows at random: 80 % to train on, 10 % to test on, and 10 % for validation, whatever they share.

    Windows that overlap are on both sides, so that scores are too good; it is here to compare with published numbers.
    `validation_rows` gives the tenth for validation. Units are blocks of time, as in `blocked`.
    Warns with how many test windows share samples with a training window.
    Source: Wang et al. 2023, section 4: 80/10/10.
    """
    order = np.random.default_rng(seed).permutation(len(epochs))
    first, second = round(0.8 * len(epochs)), round(0.9 * len(epochs))
    fold = Fold(np.sort(order[:first]), np.sort(order[second:]), "1")
    require_classes(epochs, "paper", [fold], remedy="use another seed, or more windows")
    overlapping = count_overlaps(epochs, [fold])
    if overlapping:
        warnings.warn(
            f"{overlapping} of {len(fold.test)} test windows share samples with a training window, so that scores are "
            "too good; use split='blocked' for any claim.",
            stacklevel=2,
        )
    unit = time_blocks(epochs, 20, at_least=1)
    return Split(name="paper", folds=(fold,), unit=unit, unit_name="block of time", overlapping=overlapping)


def by_recording(epochs: Epochs, *, folds: int | None = 5) -> Split:
    """Split by recording; classes have their share in each fold where they can.

    folds: None tests on one recording at a time.
    Raises ValueError for fewer recordings than folds, and a fold without a class to train on.
    """
    return _by_unit(epochs, "by_recording", epochs.recording, epochs.recordings, "recording", folds=folds)


def leave_subject_out(epochs: Epochs) -> Split:
    """Test on one subject at a time, trained on all others.

    Raises ValueError for fewer than two subjects, recordings whose subject nobody named, and a fold without a class to
    train on.
    """
    if unnamed := len(set(epochs.subjects) & set(epochs.recordings)):
        raise ValueError(
            f"Of {unnamed} recordings nobody said whose they are, so that one person could be on both sides; give a "
            "column 'subject', or BIDS recordings."
        )
    return _by_unit(epochs, "leave_subject_out", epochs.subject, epochs.subjects, "subject", folds=None)


def grouped(epochs: Epochs, *, folds: int | None = 5, unit_name: str = "group") -> Split:
    """Split by the groups that the labels name (pairs, seizures, trials), also where one spans several recordings.

    folds: classes have their share in each where they can; None tests on one group at a time.
    unit_name: what a group is.
    Raises ValueError without groups, for fewer groups than folds, and a fold without a class to train on; LeakageError
    when windows of different groups overlap.
    """
    if epochs.group is None:
        raise ValueError("The labels name no groups; give a column 'group', or use split='blocked'.")
    return _by_unit(epochs, "grouped", epochs.group, epochs.groups, unit_name, folds=folds)


def prove_disjoint(epochs: Epochs, folds: Sequence[Fold], *, embargo_s: float = 0.0) -> None:
    """Prove from sample ranges that no test window shares a sample with a training window of its fold.

    embargo_s: nor lies closer to one than this.
    Raises LeakageError that names the first such pair of windows.
    """
    embargo = int(np.ceil(embargo_s * epochs.sampling_rate - 1e-6))
    for fold in folds:
        nearest, distance = _nearest(epochs, fold.test, fold.train)
        leaking = np.flatnonzero(distance < epochs.length + embargo)
        if len(leaking):
            test, train = fold.test[leaking[0]], nearest[leaking[0]]
            gap = int(distance[leaking[0]]) - epochs.length
            raise LeakageError(
                f"Fold {fold.name} trains on {_seconds(epochs, train)} and tests on {_seconds(epochs, test)} of "
                f"recording {epochs.recordings[epochs.recording[test]]}: "
                + (f"they share {-gap} samples" if gap < 0 else f"only {gap} samples lie between")
                + "; keep them on one side, or use split='blocked'."
            )


def count_overlaps(epochs: Epochs, folds: Sequence[Fold]) -> int:
    """Return how many test windows share a sample with a training window of their fold, over all folds."""
    return sum(int((_nearest(epochs, fold.test, fold.train)[1] < epochs.length).sum()) for fold in folds)


def inner_groups(epochs: Epochs, split: Split, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a number for each of these (training) rows that a cross-validation inside them keeps together: (rows,).

    They are the units of the split; where all rows are of one unit, such as one subject, blocks of time within it.
    """
    unit = np.unique(split.unit[rows], return_inverse=True)[1].astype(np.int64)
    return unit if unit.max() > 0 else time_blocks(epochs.take(rows), _INNER_BLOCKS, at_least=2)


def validation_rows(epochs: Epochs, split: Split, fold: Fold) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (training rows, validation rows) of the training windows of a fold, for early stopping.

    Whole units, about a tenth of the windows, more where a tenth would not hold every class; the embargo is kept
    between the two. For "paper" the tenth that is in neither part of the fold; those of the fold where it has them.
    Raises ValueError when no unit can be spared.
    """
    if fold.validation is not None:
        return fold.train, fold.validation
    if split.name == "paper":
        return fold.train, np.setdiff1d(np.arange(len(epochs)), np.concatenate([fold.train, fold.test]))
    groups = inner_groups(epochs, split, fold.train)
    inside = epochs.take(fold.train)
    embargo = int(np.ceil(split.embargo_s * epochs.sampling_rate - 1e-6))
    units = int(groups.max()) + 1
    wanted = len(np.unique(strata(inside)))
    best: tuple[int, Fold] | None = None
    for parts in sorted({min(count, units) for count in (10, 8, 6, 5, 4, 3, 2)}, reverse=True):
        if parts < 2:
            break
        held = shared_out(groups, inside, parts)[groups]
        for part in range(parts):
            found = _fold(inside, held == part, embargo=embargo, name=f"validation of fold {fold.name}")
            have = [len(np.unique(strata(inside)[rows])) for rows in (found.train, found.test)]
            if have[0] == wanted and (best is None or have[1] > best[0]):
                best = have[1], found
        if best is not None and best[0] == wanted:
            break
    if best is None:
        raise ValueError(
            f"Fold {fold.name} trains on {units} {split.unit_name}s, of which none can be spared for validation; use "
            "fewer folds, a shorter embargo_s, or train for a fixed number of steps."
        )
    prove_disjoint(inside, [best[1]], embargo_s=split.embargo_s)
    return fold.train[best[1].train], fold.train[best[1].test]


def _by_unit(
    epochs: Epochs, name: str, unit: NDArray[np.int64], names: Sequence[str], unit_name: str, *, folds: int | None
) -> Split:
    used, unit = np.unique(unit, return_inverse=True)
    unit = unit.astype(np.int64)
    if len(used) < 2:
        raise ValueError(f"There is one {unit_name}, {names[used[0]]}, and split={name!r} needs two or more.")
    if folds is None:
        parts = [_fold(epochs, unit == number, embargo=None, name=names[used[number]]) for number in range(len(used))]
    else:
        _require_folds(folds)
        if len(used) < folds:
            raise ValueError(f"There are {len(used)} {unit_name}s for {folds} folds; use folds={len(used)} or fewer.")
        tested = shared_out(unit, epochs, folds)[unit]
        parts = [_fold(epochs, tested == fold, embargo=None, name=str(fold + 1)) for fold in range(folds)]
    return _proven(epochs, name, parts, unit=unit, unit_name=unit_name, embargo_s=0.0)


def _proven(
    epochs: Epochs, name: str, folds: list[Fold], *, unit: NDArray[np.int64], unit_name: str, embargo_s: float
) -> Split:
    prove_disjoint(epochs, folds, embargo_s=embargo_s)
    remedy = "use fewer folds, more windows" + (", or a shorter embargo_s" if embargo_s else ", or another split")
    require_classes(epochs, name, folds, remedy=remedy)
    return Split(name=name, folds=tuple(folds), unit=unit, unit_name=unit_name, embargo_s=embargo_s)


def _require_folds(folds: int) -> None:
    if folds < 2:
        raise ValueError(f"folds is {folds}; give 2 or more.")


def require_classes(epochs: Epochs, name: str, folds: Sequence[Fold], *, remedy: str) -> None:
    """Refuse a fold that cannot be trained on, and a split of which no fold can be scored."""
    for fold in folds:
        if epochs.classes is None:
            missing = [] if len(np.unique(epochs.target[fold.train])) > 1 else ["two different values"]
        else:
            codes = set(epochs.target[fold.train].tolist())
            missing = [label for code, label in enumerate(epochs.classes) if code not in codes]
        if missing:
            raise ValueError(
                f"Fold {fold.name} of split={name!r} has no {' and no '.join(missing)} among its {len(fold.train)} "
                f"training windows; {remedy}."
            )
    if all(len(np.unique(epochs.target[fold.test])) < 2 for fold in folds):
        raise ValueError(
            f"No fold of split={name!r} tests on two classes or values, so that none can be scored; {remedy}."
        )


def _fold(epochs: Epochs, tested: NDArray[np.bool_], *, embargo: int | None, name: str) -> Fold:
    """Return the fold that tests on these windows.

    embargo: samples that must lie between a training window and a test window; None trains on all others.
    """
    train, test = np.flatnonzero(~tested), np.flatnonzero(tested)
    if embargo is not None:
        train = train[_nearest(epochs, train, test)[1] >= epochs.length + embargo]
    return Fold(train, test, name)


def _nearest(
    epochs: Epochs, rows: NDArray[np.int64], others: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for each row the other window nearest to it in its recording, and the samples from start to start.

    All windows are of one length, so that these decide whether they overlap. With none in its recording the distance
    is larger than any recording.
    """
    if not len(others):
        return np.full(len(rows), -1, dtype=np.int64), np.full(len(rows), np.iinfo(np.int64).max)
    # One axis for all recordings, each further from the next than two windows of one can be from each other.
    apart = 4 * (int(np.ptp(epochs.start)) + epochs.length) + 1
    place = epochs.recording * apart + epochs.start
    others = others[np.argsort(place[others], kind="stable")]
    right = np.searchsorted(place[others], place[rows]).clip(0, len(others) - 1)
    left = (right - 1).clip(0)
    distances = np.abs(place[others[[left, right]]] - place[rows])
    nearer = distances.argmin(axis=0)
    nearest = np.where(nearer == 0, others[left], others[right])
    distance = distances.min(axis=0)
    distance[epochs.recording[nearest] != epochs.recording[rows]] = np.iinfo(np.int64).max
    return nearest, distance


def _seconds(epochs: Epochs, row: np.int64) -> str:
    first, last = epochs.start[row] / epochs.sampling_rate, epochs.stop[row] / epochs.sampling_rate
    return f"{first:.4f}–{last:.4f} s"
