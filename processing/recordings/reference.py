"""Re-reference intracranial recordings along their shafts, and on their grids.

Signals are (contacts, samples) in microvolts, positions in millimetres. Nothing here reads files. Every reference drops
the bad contacts, keeps the order of the others, refuses a recording that is referenced already, and says in the history
whom it dropped and why: "dropped": {name: reason}.
"""

import warnings
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .artefacts import Gaps, Stretches, bridged, gaps_between, marked_runs, merged
from .contacts import MontageError, neighbours, parse_contact, split_bipolar
from .grids import Grids, grid_neighbours, grids_in_space
from .recording import Recording, RecordingHeader, require_finite

# Few strips have more than 12 contacts; 16 and more are mostly a grid, whose numbers wrap at the end of each row.
_SMALLEST_GRID = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """A reference for one recording: what is taken off each contact that stays, and the header afterwards.

    kept: rows of the recording that stay, in the order of the result. subtracted: for each, the rows whose mean is
        taken off.
    marked: row -> the first samples of its artefacts and those one past their last, where a mean has the line between
        their ends instead; only for rows that have some, and empty for references that do not do so.
    """

    header: RecordingHeader
    kept: tuple[int, ...]
    subtracted: tuple[tuple[int, ...], ...]
    marked: Mapping[int, tuple[NDArray[np.int64], NDArray[np.int64]]] = field(default_factory=dict)

    @property
    def rows(self) -> tuple[int, ...]:
        """Rows of the recording that the reference needs, in order."""
        return tuple(sorted({*self.kept, *(row for rows in self.subtracted for row in rows)}))

    def apply(
        self, data: NDArray[np.float32], *, first: int = 0, gaps: Mapping[int, Gaps] | None = None
    ) -> NDArray[np.float32]:
        """Reference a stretch, (contacts, samples) of the recording, that starts at sample `first`.

        gaps: row -> its marked artefacts with the values at their ends. By default those in `data`, which must then be
            the whole recording.
        """
        if gaps is None:
            gaps = {row: gaps_between(data[row], *runs) for row, runs in self.marked.items()}
        result = np.empty((len(self.kept), data.shape[1]), dtype=np.float32)
        for group in dict.fromkeys(self.subtracted):
            total = np.zeros(data.shape[1])
            for row in group:
                total += bridged(data[row], gaps[row], first=first) if row in gaps else data[row]
            total /= len(group)
            for place, row in enumerate(self.kept):
                if self.subtracted[place] == group:
                    result[place] = data[row] - total
        return result


def laplacian(
    recording: Recording,
    *,
    ends: Literal["drop", "one-sided"] = "drop",
    grids: Grids | None = None,
    edges: Literal["all", "interior"] = "all",
) -> Recording:
    """Subtract from each contact the mean of its neighbours on the same shaft or grid.

    On a shaft a neighbour is the contact with number n - 1 or n + 1; on a grid the two to four contacts next to it, see
    `grid_neighbours`. A bad neighbour is a missing one.
    ends: a contact of a shaft with a single neighbour is dropped ("drop"), or referenced to that one ("one-sided").
    grids: name -> (rows, columns) of grids that are numbered along their rows, {"G": (8, 8)}, or "positions" to find
        grids and neighbours by where surface contacts are. All other contacts are on shafts.
    edges: of grids: "all" keeps contacts with two neighbours or more, "interior" those with all four.
    Returns a new recording with the contacts that could be referenced, in their old order.
    Raises MontageError when no contact has the neighbours it needs, a grid is not as given, or the recording is
    referenced already; ValueError when a good contact holds NaN.
    Source: Wang et al. 2023, section 3; Li et al. 2018, NeuroImage 183; for grids Hjorth 1975, Electroencephalogr Clin
    Neurophysiol 39:526.
    """
    plan = plan_laplacian(recording.header, ends=ends, grids=grids, edges=edges)
    return _referenced(recording, plan, step="a Laplacian")


def plan_laplacian(
    header: RecordingHeader,
    *,
    ends: Literal["drop", "one-sided"] = "drop",
    grids: Grids | None = None,
    edges: Literal["all", "interior"] = "all",
) -> Reference:
    """Return the reference of `laplacian` for a recording; raises MontageError as it does."""
    if ends not in ("drop", "one-sided"):
        raise ValueError(f"ends is {ends!r}; use 'drop' or 'one-sided'.")
    if grids is None and edges != "all":
        raise ValueError(f"edges is {edges!r} and no grids are given; give grids={{'G': (8, 8)}} or leave edges out.")
    _refuse_second_reference(header, "laplacian")
    parameters: dict[str, object] = {"ends": ends}
    on_grid: dict[str, tuple[str, ...]] = {}
    if grids is not None:
        on_grid = grid_neighbours(
            header.contacts, grids, types=header.types, positions=header.positions, bad=header.bad, edges=edges
        )
        shapes = grids if isinstance(grids, str) else {name: list(shape) for name, shape in grids.items()}
        parameters |= {"grids": shapes, "edges": edges}
    on_shafts = [name for name in header.good if name not in on_grid]
    _warn_about_grids(
        header, on_shafts, remedy="give their shapes, grids={'G': (8, 8)} (--grid G=8x8), or use common_average"
    )
    chosen = {name: list(others) for name, others in on_grid.items() if others}
    for name, pair in neighbours(on_shafts).items():
        present = [other for other in pair if other is not None]
        if len(present) == 2 or (present and ends == "one-sided"):
            chosen[name] = present
    needed = "four" if edges == "interior" else "two"
    if not chosen:
        wanted = "neighbours n - 1 and n + 1" if ends == "drop" else "a neighbour n - 1 or n + 1"
        raise MontageError(
            f"No contact of {_few(header.good)} has {wanted} on its shaft"
            f"{f', or {needed} neighbours on its grid' if grids is not None else ''}"
            f"{f' (bad: {_few(list(header.bad))})' if header.bad else ''}; use "
            f"{'ends=' + repr('one-sided') + ' for pairs, ' if ends == 'drop' else ''}a common average, or rename the "
            "contacts as shaft and number."
        )
    because = dict.fromkeys(on_shafts, "no neighbour on both sides" if ends == "drop" else "no neighbour")
    because |= dict.fromkeys(on_grid, f"fewer than {needed} neighbours on its grid")
    return plan_reference(header, "laplacian", parameters, subtracted=chosen, because=because)


def bipolar(recording: Recording) -> Recording:
    """Subtract from each contact n its neighbour n + 1 on the same shaft.

    Returns a new recording with contacts named `A1-A2`, placed half way between the two, of the type of the first.
    Raises MontageError when no contact has a neighbour, or the recording is referenced already; ValueError when a good
    contact holds NaN.
    """
    return _referenced(recording, plan_bipolar(recording.header), step="a bipolar reference")


def plan_bipolar(header: RecordingHeader) -> Reference:
    """Return the reference of `bipolar` for a recording; raises MontageError as it does."""
    _refuse_second_reference(header, "bipolar")
    _warn_about_grids(header, header.contacts, remedy="use a Laplacian with grids, or common_average")
    rows = {name: row for row, name in enumerate(header.contacts)}
    pairs = [(name, above) for name, (_, above) in neighbours(header.good).items() if above is not None]
    if not pairs:
        raise MontageError(
            f"No contact of {_few(header.good)} has a neighbour numbered n + 1 on its shaft; "
            "use common_average, or rename the contacts as shaft and number."
        )
    first, second = [rows[a] for a, _ in pairs], [rows[b] for _, b in pairs]
    names = tuple(f"{a}-{b}" for a, b in pairs)
    used = [name for pair in pairs for name in pair]
    positions = header.positions
    after = header.with_step(
        "bipolar",
        {"dropped": _dropped(header, used, because=dict.fromkeys(header.contacts, "no neighbour"))},
        contacts=names,
        types=tuple(header.types[row] for row in first),
        positions=None if positions is None else (positions[first] + positions[second]) / 2,
        bad={},
        artefacts=_joined_artefacts(header, dict(zip(names, pairs, strict=True))),
    )
    return Reference(header=after, kept=tuple(first), subtracted=tuple((row,) for row in second))


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
    return _referenced(recording, plan_common_average(recording.header, by=by), step="a common average")


def plan_common_average(header: RecordingHeader, *, by: Literal["shaft", "all"] = "shaft") -> Reference:
    """Return the reference of `common_average` for a recording; raises MontageError as it does."""
    if by not in ("shaft", "all"):
        raise ValueError(f"by is {by!r}; use 'shaft' or 'all'.")
    _refuse_second_reference(header, "common_average")
    groups: dict[str, list[str]] = {}
    for name, kind in zip(header.contacts, header.types, strict=True):
        if name in header.bad:
            continue
        place = parse_contact(name)
        label = kind if by == "all" else place[0] if place else None
        if label is not None:
            groups.setdefault(label, []).append(name)
    members = {name: group for group in groups.values() if len(group) > 1 for name in group}
    if not members:
        raise MontageError(
            f"No {'shaft' if by == 'shaft' else 'contact type'} among {_few(header.good)} has two good contacts; "
            + ("use by='all', or rename the contacts as shaft and number." if by == "shaft" else "keep the reference.")
        )
    why = f"no other good contact {'on its shaft' if by == 'shaft' else 'of its type'}"
    because = dict.fromkeys(header.contacts, why)
    reference = plan_reference(header, "common_average", {"by": by}, subtracted=members, because=because)
    rows = {header.contacts[row]: row for row in reference.kept}
    marked = {
        rows[name]: marked_runs(stretches, sampling_rate=header.sampling_rate, num_samples=header.num_samples)
        for name, stretches in header.artefacts.items()
        if name in rows
    }
    return replace(
        reference,
        marked=marked,
        header=replace(
            reference.header,
            artefacts={name: header.artefacts[name] for name in rows if name in header.artefacts},
        ),
    )


def plan_reference(
    header: RecordingHeader,
    step: str,
    parameters: Mapping[str, object],
    *,
    subtracted: Mapping[str, Sequence[str]],
    because: Mapping[str, str],
) -> Reference:
    """Return a reference that takes off each contact the mean of some others, and drops the contacts not named.

    subtracted: contact -> those whose mean is taken off; their artefacts become its own. The old order is kept.
    step, parameters: for the history. because: good contact -> why it is dropped if it is not named.
    """
    rows = {name: row for row, name in enumerate(header.contacts)}
    kept = [name for name in header.contacts if name in subtracted]
    index = [rows[name] for name in kept]
    after = header.with_step(
        step,
        {**parameters, "dropped": _dropped(header, kept, because=because)},
        contacts=tuple(kept),
        types=tuple(header.types[row] for row in index),
        positions=None if header.positions is None else header.positions[index],
        bad={},
        artefacts=_joined_artefacts(header, {name: (name, *subtracted[name]) for name in kept}),
    )
    return Reference(
        header=after,
        kept=tuple(index),
        subtracted=tuple(tuple(rows[other] for other in subtracted[name]) for name in kept),
    )


def _referenced(recording: Recording, reference: Reference, *, step: str) -> Recording:
    require_finite(recording, step=step)
    return reference.header.with_data(reference.apply(recording.data))


def _refuse_second_reference(header: RecordingHeader, step: str) -> None:
    for entry in header.history:
        if entry["step"] in ("laplacian", "bipolar", "common_average"):
            raise MontageError(
                f"The recording already went through {entry['step']}; apply {step} to the recording as it was before."
            )
    pairs = [name for name in header.contacts if split_bipolar(name)]
    if pairs:
        raise MontageError(
            f"Contacts {_few(pairs)} are already bipolar; use them as they are (reference='none'), "
            "or read a recording with its original reference."
        )


def _warn_about_grids(header: RecordingHeader, on_shafts: Collection[str], *, remedy: str) -> None:
    """Warn of grids among the contacts that are taken to be on shafts."""
    surface = [row for row, name in enumerate(header.contacts) if name in on_shafts and header.types[row] == "ecog"]
    names = [header.contacts[row] for row in surface]
    sizes = Counter(place[0] for place in map(parse_contact, names) if place)
    grids = {shaft for shaft, size in sizes.items() if size >= _SMALLEST_GRID}
    if header.positions is not None:
        grids |= set(grids_in_space(names, types=["ecog"] * len(names), positions=header.positions[surface]))
    if grids:
        warnings.warn(
            f"{sorted(grids)} look like grids by the number or the positions of their surface contacts, and on a grid "
            f"n and n + 1 are not neighbours at the end of a row; {remedy}.",
            stacklevel=4,
        )


def _dropped(header: RecordingHeader, kept: Collection[str], *, because: Mapping[str, str]) -> dict[str, str]:
    """Return contact -> why it is not in the reference: the reason why it was bad, or the one in `because`."""
    reasons = {**because, **header.bad}
    return {name: reasons[name] for name in header.contacts if name not in set(kept)}


def _joined_artefacts(header: RecordingHeader, sources: Mapping[str, tuple[str, ...]]) -> dict[str, Stretches]:
    joined = {
        name: merged(stretch for part in parts for stretch in header.artefacts.get(part, ()))
        for name, parts in sources.items()
    }
    return {name: stretches for name, stretches in joined.items() if stretches}


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "") or "no good contacts"
