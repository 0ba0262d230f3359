"""Neighbours on surface grids: from a given shape, or from positions.

On a grid the contacts n and n + 1 are not neighbours at the end of a row, so a grid's numbers say nothing without its
shape. Positions are (contacts, 3) in millimetres. Nothing here reads files.
"""

import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .contacts import MontageError, parse_contact

# In units of the pitch: a neighbour is at 1, a diagonal one at 1.41, the next but one at 2.
_REACH = 1.3
# How near the place opposite a neighbour a contact is taken for the one that belongs there.
_OPPOSITE = 0.6

_REMEDY = "give the grids' shapes: grids={'G': (8, 8)} (--grid G=8x8)"

Grids = Mapping[str, tuple[int, int]] | Literal["positions"]


def grid_neighbours(
    contacts: Sequence[str],
    grids: Grids,
    *,
    types: Sequence[str],
    positions: NDArray[np.floating] | None = None,
    bad: Collection[str] = (),
    edges: Literal["all", "interior"] = "all",
) -> dict[str, tuple[str, ...]]:
    """Map each good contact of a grid to its good neighbours, in the order of `contacts`; to () where they do not do.

    grids: shaft name -> (rows, columns) of a grid whose contacts are numbered from 1 along its rows; or "positions":
        every shaft of "ecog" contacts that lie in two dimensions is a grid. Two contacts are neighbours when no third
        one is nearer to both than they are to each other, and they are at most 1.3 times the grid's pitch apart: this
        leaves out diagonals (1.41) also where a grid is bent or a contact is missing. Positions may be off by 0.05 of
        the pitch (standard deviation along each axis): with 0.1, which is 1 mm on most grids, one contact in seven
        loses a neighbour, with 0.15 two in three.
    types: "seeg", "ecog" or "dbs" of each contact. positions: (contacts, 3) in mm, NaN where unknown.
    bad: names of bad contacts. A bad neighbour is a missing one, but its place counts.
    edges: "all" keeps contacts with two neighbours or more: four inside, three at an edge, two at a corner. "interior"
        keeps those with all four. Inside, contact minus mean of neighbours is the second spatial derivative in both
        directions; at an edge the difference across it is missing and a part of the gradient along it stays in, as with
        an end of a shaft that is referenced to one neighbour.
    Contacts that are on no grid are not in the result.
    Warns when neighbours by positions contradict each other: the positions are off by more than that.
    Raises MontageError for a grid that the contacts do not have, numbers beyond its shape, two contacts at one place,
    or no grid among the positions; ValueError for another rule or shape.
    Source: Hjorth 1975, Electroencephalogr Clin Neurophysiol 39:526 (four neighbours); Toussaint 1980, Pattern
    Recognition 12:261 (the relative neighbourhood graph).
    """
    if edges not in ("all", "interior"):
        raise ValueError(f"edges is {edges!r}; use 'all' or 'interior'.")
    found: dict[int, list[int]] = {}
    if grids == "positions":
        if positions is None:
            raise MontageError(f"The recording has no positions; {_REMEDY}.")
        in_space = grids_in_space(contacts, types=types, positions=positions)
        for linked in in_space.values():
            found |= linked
        doubtful = [shaft for shaft, linked in in_space.items() if _contradictory(linked, positions)]
        if doubtful:
            warnings.warn(
                f"The positions of {doubtful} are too far off to tell all neighbours, and some contacts lose one; "
                f"{_REMEDY}.",
                stacklevel=4,
            )
        if not found:
            raise MontageError(f"No shaft of 'ecog' contacts lies in two dimensions by its positions; {_REMEDY}.")
    elif isinstance(grids, str):
        raise ValueError(f"grids is {grids!r}; use 'positions' or shapes: {{'G': (8, 8)}}.")
    else:
        rows_of = _rows_of_shafts(contacts)
        for shaft, shape in grids.items():
            if shaft not in rows_of:
                raise MontageError(
                    f"No contacts are called {shaft!r} and a number; give the shapes of {', '.join(sorted(rows_of))}."
                )
            found |= _linked_by_shape(shaft, shape, {row: contacts[row] for row in rows_of[shaft]})
    needed = 4 if edges == "interior" else 2
    result = {}
    for row in sorted(found):
        good = tuple(contacts[other] for other in sorted(found[row]) if contacts[other] not in bad)
        if contacts[row] not in bad:
            result[contacts[row]] = good if len(good) >= needed else ()
    return result


def grids_in_space(
    contacts: Sequence[str], *, types: Sequence[str], positions: NDArray[np.floating]
) -> dict[str, dict[int, list[int]]]:
    """Return shaft -> row of a contact -> rows of its neighbours, for "ecog" contacts that lie in two dimensions."""
    found = {}
    for shaft, rows in _rows_of_shafts(contacts).items():
        surface = [row for row in rows if types[row] == "ecog"]
        linked = _linked_by_distance(surface, np.asarray(positions, dtype=np.float64))
        # On a strip nobody has three neighbours; its numbers say who they are.
        if any(len(others) > 2 for others in linked.values()):
            found[shaft] = linked
    return found


def _rows_of_shafts(contacts: Sequence[str]) -> dict[str, list[int]]:
    rows_of: dict[str, list[int]] = {}
    for row, name in enumerate(contacts):
        place = parse_contact(name)
        if place:
            rows_of.setdefault(place[0], []).append(row)
    return rows_of


def _refuse_shape(shaft: str, shape: tuple[int, ...]) -> None:
    if len(shape) != 2 or min(shape) < 2:
        raise ValueError(f"Grid {shaft!r} has the shape {shape}; give (rows, columns), both at least 2.")


def _linked_by_shape(shaft: str, shape: tuple[int, int], names: Mapping[int, str]) -> dict[int, list[int]]:
    _refuse_shape(shaft, shape)
    height, width = shape
    at: dict[tuple[int, int], int] = {}
    for row, name in names.items():
        place = parse_contact(name)
        number = place[1] if place else 0
        if not 1 <= number <= height * width:
            raise MontageError(
                f"Contact {name!r} is not on a grid of {height} × {width}, whose numbers are 1 to "
                f"{height * width}; correct the shape, or rename the contact."
            )
        spot = divmod(number - 1, width)
        if spot in at:
            raise MontageError(
                f"Contacts {names[at[spot]]!r} and {name!r} are both number {number} of grid {shaft!r}; "
                "rename one of them, or read without it."
            )
        at[spot] = row
    steps = ((-1, 0), (0, -1), (0, 1), (1, 0))
    return {row: [at[(i + a, j + b)] for a, b in steps if (i + a, j + b) in at] for (i, j), row in at.items()}


def _linked_by_distance(rows: Sequence[int], positions: NDArray[np.float64]) -> dict[int, list[int]]:
    """Link contacts of one shaft that lie next to each other, at most four to one; those without a place to nobody."""
    located = [row for row in rows if np.isfinite(positions[row]).all()]
    linked: dict[int, list[int]] = {row: [] for row in rows}
    if len(located) < 4:
        return linked
    places = positions[located]
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    # third[a, b]: how near the third contact that is nearest to both a and b is to the farther of the two.
    third = np.stack([np.minimum.reduce(np.maximum(row, apart), axis=1) for row in apart])
    next_to = apart <= third
    # The nearest neighbour is too near on average where positions are a little off; the neighbours' median is not.
    pitch = np.median(apart.min(axis=1))
    pitch = np.median(apart[next_to & (apart <= _REACH * pitch)])
    next_to &= apart <= _REACH * pitch
    for i, row in enumerate(located):
        others = [int(j) for j in np.argsort(apart[i], kind="stable") if next_to[i, j]]
        linked[row] = [located[j] for j in others[:4]]
    return linked


def _contradictory(linked: Mapping[int, Sequence[int]], positions: NDArray[np.floating]) -> bool:
    """Say whether some link goes one way only, or is missing where a contact lies opposite a neighbour."""
    if any(row not in linked[other] for row, others in linked.items() for other in others):
        return True
    located = [row for row in linked if np.isfinite(positions[row]).all()]
    places = np.asarray(positions, dtype=np.float64)
    pitch = np.median([np.linalg.norm(places[row] - places[other]) for row in linked for other in linked[row]])
    for row, others in linked.items():
        for other in others if len(others) < 4 else ():
            off = np.linalg.norm(places[located] - (2 * places[row] - places[other]), axis=1)
            if off.min() < _OPPOSITE * pitch and located[int(off.argmin())] not in others:
                return True
    return False


def grids_from_text(texts: Sequence[str]) -> Grids | None:
    """Read `["G=8x8", "H=4x5"]` (rows x columns) as grids, `["positions"]` as "positions", nothing as None.

    Raises ValueError for anything else, a grid that is given twice, and fewer than two rows or columns.
    """
    if list(texts) in ([], ["positions"]):
        return "positions" if texts else None
    shapes: dict[str, tuple[int, int]] = {}
    for text in texts:
        match = re.fullmatch(r"(.+)=(\d+)x(\d+)", text)
        if not match:
            raise ValueError(
                f"A grid is given as {text!r}; write NAME=ROWSxCOLUMNS, such as G=8x8, or positions alone."
            )
        shaft, shape = match[1], (int(match[2]), int(match[3]))
        _refuse_shape(shaft, shape)
        if shaft in shapes:
            raise ValueError(f"Grid {shaft!r} is given twice, the second time as {text!r}; give each grid one shape.")
        shapes[shaft] = shape
    return shapes
