"""Re-reference intracranial recordings along their shafts.

Signals are (contacts, samples) in microvolts, positions in millimetres. Nothing here reads files. Every reference drops
the bad contacts, keeps the order of the others, refuses a recording that is referenced already, and says in the history
whom it dropped and why: "dropped": {name: reason}.
"""

import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .artefacts import Stretches, bridged, marked_samples, merged
from .contacts import MontageError, neighbours, parse_contact, split_bipolar
from .recording import Recording, require_finite

# Strips have up to 16 contacts; a longer row of surface contacts is a grid, whose numbers wrap at the end of each row.
_LONGEST_STRIP = 16


def laplacian(recording: Recording, *, ends: Literal["drop", "one-sided"] = "drop") -> Recording:
    """Subtract from each contact the mean of its neighbours on the same shaft.

    A neighbour is the contact with number n - 1 or n + 1; a bad neighbour is a missing one.
    ends: a contact with a single neighbour is dropped ("drop"), or referenced to that one ("one-sided").
    Returns a new recording with the contacts that could be referenced, in their old order.
    Raises MontageError when no contact has the neighbours it needs, or the recording is referenced already; ValueError
    when a good contact holds NaN.
    Source: Wang et al. 2023, section 3; Li et al. 2018, NeuroImage 183.
    """
    if ends not in ("drop", "one-sided"):
        raise ValueError(f"ends is {ends!r}; use 'drop' or 'one-sided'.")
    _refuse_second_reference(recording, "laplacian")
    require_finite(recording, step="a Laplacian")
    _warn_about_grids(recording)
    rows = {name: row for row, name in enumerate(recording.contacts)}
    chosen: list[tuple[str, list[str]]] = []
    for name, pair in neighbours(recording.good).items():
        present = [other for other in pair if other is not None]
        if len(present) == 2 or (present and ends == "one-sided"):
            chosen.append((name, present))
    if not chosen:
        raise MontageError(
            f"No contact of {_few(recording.good)} has "
            f"{'neighbours n - 1 and n + 1' if ends == 'drop' else 'a neighbour n - 1 or n + 1'} on its shaft"
            f"{f' (bad: {_few(list(recording.bad))})' if recording.bad else ''}; use "
            f"{'ends=' + repr('one-sided') + ' for pairs, ' if ends == 'drop' else ''}a common average, or rename the "
            "contacts as shaft and number."
        )
    kept = [name for name, _ in chosen]
    data = np.empty((len(kept), recording.num_samples), dtype=np.float32)
    for row, (name, present) in enumerate(chosen):
        surround = np.mean([recording.data[rows[other]] for other in present], axis=0, dtype=np.float64)
        data[row] = recording.data[rows[name]] - surround
    index = [rows[name] for name in kept]
    return recording.with_step(
        "laplacian",
        {
            "ends": ends,
            "dropped": _dropped(
                recording, kept, because="no neighbour on both sides" if ends == "drop" else "no neighbour"
            ),
        },
        data=data,
        contacts=tuple(kept),
        types=tuple(recording.types[row] for row in index),
        positions=None if recording.positions is None else recording.positions[index],
        bad={},
        artefacts=_joined_artefacts(recording, {name: (name, *present) for name, present in chosen}),
    )


def bipolar(recording: Recording) -> Recording:
    """Subtract from each contact n its neighbour n + 1 on the same shaft.

    Returns a new recording with contacts named `A1-A2`, placed half way between the two, of the type of the first.
    Raises MontageError when no contact has a neighbour, or the recording is referenced already; ValueError when a good
    contact holds NaN.
    """
    _refuse_second_reference(recording, "bipolar")
    require_finite(recording, step="a bipolar reference")
    _warn_about_grids(recording)
    rows = {name: row for row, name in enumerate(recording.contacts)}
    pairs = [(name, above) for name, (_, above) in neighbours(recording.good).items() if above is not None]
    if not pairs:
        raise MontageError(
            f"No contact of {_few(recording.good)} has a neighbour numbered n + 1 on its shaft; "
            "use common_average, or rename the contacts as shaft and number."
        )
    first, second = [rows[a] for a, _ in pairs], [rows[b] for _, b in pairs]
    names = tuple(f"{a}-{b}" for a, b in pairs)
    used = [name for pair in pairs for name in pair]
    positions = recording.positions
    return recording.with_step(
        "bipolar",
        {"dropped": _dropped(recording, used, because="no neighbour")},
        data=recording.data[first] - recording.data[second],
        contacts=names,
        types=tuple(recording.types[row] for row in first),
        positions=None if positions is None else (positions[first] + positions[second]) / 2,
        bad={},
        artefacts=_joined_artefacts(recording, dict(zip(names, pairs, strict=True))),
    )


def common_average(recording: Recording, *, by: Literal["shaft", "all"] = "shaft") -> Recording:
    """Subtract from each contact the mean of the good contacts of its group, itself included.

    by: "shaft", or "all" the contacts of the same type (surface and deep contacts have no common reference).
    An artefact of one contact does not reach the others: in the mean, a marked stretch is the straight line between its
    ends. (Leaving the contact out there would step at both ends by 1/n of its offset, millivolts in a DC amplifier; the
    line costs that 1/n of what the contacts share stays in meanwhile.) The contact itself stays marked.
    Returns a new recording with the good contacts whose group has at least two, in their old order.
    Raises MontageError when no group has two, or the recording is referenced already; ValueError when a good contact
    holds NaN.
    """
    if by not in ("shaft", "all"):
        raise ValueError(f"by is {by!r}; use 'shaft' or 'all'.")
    _refuse_second_reference(recording, "common_average")
    require_finite(recording, step="a common average")
    groups: dict[str, list[int]] = {}
    for row, name in enumerate(recording.contacts):
        if name in recording.bad:
            continue
        place = parse_contact(name)
        label = recording.types[row] if by == "all" else place[0] if place else None
        if label is not None:
            groups.setdefault(label, []).append(row)
    members = {row: group for group in groups.values() if len(group) > 1 for row in group}
    if not members:
        raise MontageError(
            f"No {'shaft' if by == 'shaft' else 'contact type'} among {_few(recording.good)} has two good contacts; "
            + ("use by='all', or rename the contacts as shaft and number." if by == "shaft" else "keep the reference.")
        )
    index = sorted(members)
    data = recording.data[index]
    for group in groups.values():
        if len(group) > 1:
            data[np.searchsorted(index, group)] -= _mean_without_artefacts(recording, group)
    kept = tuple(recording.contacts[row] for row in index)
    return recording.with_step(
        "common_average",
        {
            "by": by,
            "dropped": _dropped(
                recording, kept, because=f"no other good contact {'on its shaft' if by == 'shaft' else 'of its type'}"
            ),
        },
        data=data,
        contacts=kept,
        types=tuple(recording.types[row] for row in index),
        positions=None if recording.positions is None else recording.positions[index],
        bad={},
        artefacts={name: recording.artefacts[name] for name in kept if name in recording.artefacts},
    )


def _refuse_second_reference(recording: Recording, step: str) -> None:
    for entry in recording.history:
        if entry["step"] in ("laplacian", "bipolar", "common_average"):
            raise MontageError(
                f"The recording already went through {entry['step']}; apply {step} to the recording as it was before."
            )
    pairs = [name for name in recording.contacts if split_bipolar(name)]
    if pairs:
        raise MontageError(
            f"Contacts {_few(pairs)} are already bipolar; use them as they are (reference='none'), "
            "or read a recording with its original reference."
        )


def _warn_about_grids(recording: Recording) -> None:
    surface = (
        parse_contact(name) for name, kind in zip(recording.contacts, recording.types, strict=True) if kind == "ecog"
    )
    sizes = Counter(place[0] for place in surface if place)
    grids = sorted(shaft for shaft, size in sizes.items() if size > _LONGEST_STRIP)
    if grids:
        warnings.warn(
            f"{grids} have more than {_LONGEST_STRIP} surface contacts and look like grids, where n and n + 1 are not "
            "neighbours at the end of a row; use common_average for grids.",
            stacklevel=3,
        )


def _dropped(recording: Recording, kept: Sequence[str], *, because: str) -> dict[str, str]:
    """Return contact -> why it is not in the reference: the reason why it was bad, or `because`."""
    return {name: recording.bad.get(name, because) for name in recording.contacts if name not in set(kept)}


def _mean_without_artefacts(recording: Recording, group: list[int]) -> NDArray[np.float64]:
    total = np.zeros(recording.num_samples)
    for row in group:
        marked = marked_samples(
            recording.artefacts.get(recording.contacts[row], ()),
            sampling_rate=recording.sampling_rate,
            num_samples=recording.num_samples,
        )
        total += bridged(recording.data[row], marked)
    return total / len(group)


def _joined_artefacts(recording: Recording, sources: dict[str, tuple[str, ...]]) -> dict[str, Stretches]:
    joined = {
        name: merged(stretch for part in parts for stretch in recording.artefacts.get(part, ()))
        for name, parts in sources.items()
    }
    return {name: stretches for name, stretches in joined.items() if stretches}


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "") or "no good contacts"
