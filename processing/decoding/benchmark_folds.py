"""Folds of published benchmarks, with their windows for validation, and the proof that no person is on two sides."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .epochs import Epochs
from .splits import Fold, LeakageError, Split, prove_disjoint, require_classes
from .units import shared_out


def rotated_groups(
    epochs: Epochs,
    groups: Sequence[Sequence[str]],
    shares: tuple[int, int, int],
    *,
    unit_name: str = "patient",
) -> Split:
    """Train on some groups of people, stop by others and test on the rest, in turn, so that each is tested once.

    groups: names of subjects. shares: groups for training, validation and test, all of them together.
    Raises ValueError when shares are not all groups or groups cannot be tested once each, for a subject in no group or
    in two, a group without windows, and what a decoder needs that a fold has not.
    """
    if sum(shares) != len(groups) or min(shares) < 1 or len(groups) % shares[2]:
        raise ValueError(
            f"Shares of {shares} groups do not rotate over {len(groups)}: give as many in all, of which those for the "
            "test divide the number."
        )
    number_of = {name: number for number, names in enumerate(groups) for name in names}
    if sum(map(len, groups)) > len(number_of):
        raise ValueError("A subject is in two groups, so that it would be on two sides: leave it in one.")
    if strange := sorted(set(epochs.subjects) - set(number_of)):
        raise ValueError(f"{strange[0]} is in none of the {len(groups)} groups: add it, or leave its recording out.")
    group = np.array([number_of[name] for name in epochs.subjects], np.int64)[epochs.subject]
    if empty := sorted(set(range(len(groups))) - set(group.tolist())):
        raise ValueError(
            f"Nobody of group {empty[0] + 1} ({', '.join(groups[empty[0]])}) has windows, and the folds need each "
            "group: add their recordings."
        )
    folds = []
    for first in range(0, len(groups), shares[2]):
        turn = (group - first) % len(groups)
        tested, watched = turn < shares[2], (turn >= shares[2]) & (turn < shares[2] + shares[1])
        folds.append(_three_parts(tested, watched, name=str(first // shares[2] + 1)))
    return _by_subject(epochs, "groups", folds, unit_name=unit_name)


def participant_folds(epochs: Epochs, *, folds: int = 5, unit_name: str = "participant") -> Split:
    """Share subjects out over folds; what the next fold tests tells training when to stop.

    Raises ValueError for fewer than three folds or subjects, and what a decoder needs that a fold has not.
    """
    people = len(np.unique(epochs.subject))
    if folds < 3 or people < folds:
        raise ValueError(
            f"There are {people} {unit_name}s for {folds} folds; three folds are the least (training, validation, "
            f"test), and each needs one {unit_name}."
        )
    unit = np.unique(epochs.subject, return_inverse=True)[1].astype(np.int64)
    part = shared_out(unit, epochs, folds)[unit]
    parts = [
        _three_parts(part == number, part == (number + 1) % folds, name=str(number + 1)) for number in range(folds)
    ]
    return _by_subject(epochs, "participants", parts, unit_name=unit_name)


def shares_of_classes(
    epochs: Epochs,
    *,
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1),
    order: Literal["time", "random"] = "time",
    seed: int = 0,
    unit_name: str = "trial",
) -> Split:
    """Train, stop and test on shares of the windows of every class: those that come first, next and last, or any.

    order: "time" is blocked in time; "random" mixes early and late windows, for comparison with work that does.
    seed: of a random order.
    Each window is a unit of its own. A class has one window at least for validation and for the test.
    Raises ValueError for classes of fewer than three windows, and windows that overlap.
    """
    if epochs.classes is None:
        raise ValueError("The labels are values, and this split takes shares of classes: use participant_folds.")
    generator = np.random.default_rng(seed)
    part = np.zeros(len(epochs), np.int64)
    for code, name in enumerate(epochs.classes):
        rows = np.flatnonzero(epochs.target == code)
        if len(rows) < 3:
            raise ValueError(
                f"Class {name!r} has {len(rows)} windows and needs one in each of three parts: leave it out."
            )
        rows = generator.permutation(rows) if order == "random" else rows
        watched, tested = (max(1, round(share * len(rows))) for share in shares[1:])
        part[rows[len(rows) - tested - watched :]] = 1
        part[rows[len(rows) - tested :]] = 2
    fold = _three_parts(part == 2, part == 1, name="1")
    prove_three_parts(epochs, [fold], np.arange(len(epochs)), unit_name=unit_name)
    remedy = "give more windows of it"
    require_classes(epochs, f"{order} shares", [fold], remedy=remedy)
    return Split(name=f"{order} shares", folds=(fold,), unit=np.arange(len(epochs)), unit_name=unit_name)


def prove_three_parts(epochs: Epochs, folds: Sequence[Fold], unit: NDArray[np.int64], *, unit_name: str) -> None:
    """Prove that no unit is in two of training, validation and test of a fold, or tested twice, and no sample either.

    unit: (windows,). Raises LeakageError that names the first fold where it is not so.
    """
    seen: set[int] = set()
    for fold in folds:
        watched = fold.train[:0] if fold.validation is None else fold.validation
        parts = {"trains on": fold.train, "stops by": watched, "tests on": fold.test}
        members = [(does, set(unit[rows].tolist())) for does, rows in parts.items()]
        for number, (does, those) in enumerate(members):
            for other, others in members[number + 1 :]:
                if both := those & others:
                    raise LeakageError(
                        f"Fold {fold.name} {does} and {other} the same {unit_name} ({len(both)} in all): give each "
                        "one side."
                    )
        tested = members[2][1]
        if tested & seen:
            raise LeakageError(f"Fold {fold.name} tests a {unit_name} that another fold tests: give each one fold.")
        seen |= tested
        rest = [Fold(np.sort(np.concatenate([fold.train, watched])), fold.test, fold.name)]
        prove_disjoint(epochs, [*rest, Fold(fold.train, watched, fold.name)])


def _three_parts(tested: NDArray[np.bool_], watched: NDArray[np.bool_], *, name: str) -> Fold:
    return Fold(np.flatnonzero(~tested & ~watched), np.flatnonzero(tested), name, validation=np.flatnonzero(watched))


def _by_subject(epochs: Epochs, name: str, folds: list[Fold], *, unit_name: str) -> Split:
    unit = np.unique(epochs.subject, return_inverse=True)[1].astype(np.int64)
    prove_three_parts(epochs, folds, unit, unit_name=unit_name)
    require_classes(epochs, name, folds, remedy="use other folds, or more windows")
    return Split(name=name, folds=tuple(folds), unit=unit, unit_name=unit_name)
