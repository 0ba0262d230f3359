"""What the electrodes table of an NWB file says about contacts: names, types, which are bad, where they are.

The schema fixes few columns of that table, and data sets fill it in their own ways: AJILE12 has `good` and no names,
others have `bad` and `label`. Columns are mappings of column name -> one value for each electrode of the table, `rows`
the electrodes asked about. Free text is only searched for known words and never handed on. Nothing here reads files.
"""

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

NAME_COLUMNS = ("label", "electrode_label", "electrode_name", "contact_name", "channel_name", "name", "channel")
TYPE_COLUMNS = ("type", "electrode_type", "contact_type", "spec")
_GOOD_COLUMNS = ("good", "is_good", "good_channel", "good_electrode")
BAD_COLUMNS = (
    *("bad", "is_bad", "bad_channel", "bad_electrode", "noisy", "status"),
    *("null", "is_null"),  # an input without an electrode
    *_GOOD_COLUMNS,
)
_BAD_WORDS = {"bad": True, "noisy": True, "good": False, "ok": False}
_YES_WORDS = {"true": True, "yes": True, "1": True, "1.0": True, "false": False, "no": False, "0": False, "0.0": False}
_TYPE_WORDS = {
    "seeg": re.compile(r"(?i)s-?eeg|stereo-?(?:eeg|electro)|depth"),
    "ecog": re.compile(r"(?i)ecog|electrocorticogra|subdural|grid|strip(?!p)"),
    "dbs": re.compile(r"(?i)\bdbs\b|deep[ -]brain"),
}
MILLIMETRES = {"m": 1000.0, "cm": 10.0, "mm": 1.0, "µm": 1e-3, "um": 1e-3}
_UNIT_WORDS = {
    "mm": re.compile(r"(?i)\bmm\b|millimet(?:er|re)s?\b"),
    "µm": re.compile(r"(?i)\b[uµμ]m\b|\bmicrons?\b|micromet(?:er|re)s?\b"),
    "cm": re.compile(r"(?i)\bcm\b|centimet(?:er|re)s?\b"),
    "m": re.compile(r"(?i)[(\[]m[)\]]|\bin m\b|\bmet(?:er|re)s?\b"),
}
# PyNWB writes this wish of the schema into every file, whatever the file holds.
_SCHEMA_WISH = re.compile(r"(?i)units should be specified in \w+")
_FRAMES = re.compile(r"(?i)cvs_avg35\w*|MNI[-_ ]?(?:152|305)?\w*|fsaverage\w*|Talairach|ACPC|ScanRAS")


def contact_names(columns: Mapping[str, Sequence[object]], groups: Sequence[str], *, rows: Sequence[int]) -> list[str]:
    """Return a name for each of `rows`: of the first column that names them all differently, or group and number.

    groups: the name of each electrode's group, for the whole table.
    A column of bare numbers is put behind the groups' names. Without a column the number is the electrode's place in
    its group, from 1 on, also counting those that were not recorded. Where a group's name ends in a digit, a `c` keeps
    it apart from the number.
    """
    for column in NAME_COLUMNS:
        names = [str(columns[column][row]).strip() for row in rows] if column in columns else []
        if names and all(name.isdigit() for name in names):
            names = [_numbered(groups[row], int(name)) for row, name in zip(rows, names, strict=True)]
        if names and all(names) and len(set(names)) == len(names):
            return names
    counts: dict[str, int] = {}
    places = []
    for group in groups:
        counts[group] = counts.get(group, 0) + 1
        places.append(_numbered(group, counts[group]))
    return [places[row] for row in rows]


def _numbered(group: str, number: int) -> str:
    return f"{group}{'c' if group[-1:].isdigit() else ''}{number}"


def contact_type(texts: Iterable[str]) -> str | None:
    """Return "seeg", "ecog" or "dbs" by the first text that speaks of just one of them; None when none does.

    texts: what is said about one electrode, the most particular first: its type, its group, its device.
    """
    for text in texts:
        found = [kind for kind, words in _TYPE_WORDS.items() if words.search(text)]
        if len(found) == 1:
            return found[0]
    return None


def bad_electrodes(columns: Mapping[str, Sequence[object]], *, rows: Sequence[int]) -> set[int]:
    """Return those of `rows` that a column called bad, noisy, null or status marks, or one called good does not.

    Warns when such a column holds something else than yes and no (`n/a`, NaN, a score), which marks nobody.
    """
    bad: set[int] = set()
    for column in BAD_COLUMNS:
        if column not in columns:
            continue
        said = [_is_bad(columns[column][row], yes_is_bad=column not in _GOOD_COLUMNS) for row in rows]
        if None in said:
            warnings.warn(
                f"The electrodes' column {column!r} holds something else than yes and no for {said.count(None)} of "
                f"{len(said)} electrodes, which it does not mark; mark those that are bad with mark_bad.",
                stacklevel=5,
            )
        bad |= {row for row, is_bad in zip(rows, said, strict=True) if is_bad}
    return bad


def _is_bad(value: object, *, yes_is_bad: bool) -> bool | None:
    word = str(value).strip().lower()
    if word in _BAD_WORDS:
        return _BAD_WORDS[word]
    return _YES_WORDS[word] == yes_is_bad if word in _YES_WORDS else None


def positions_mm(
    columns: Mapping[str, Sequence[object]],
    descriptions: Mapping[str, str],
    *,
    rows: Sequence[int],
    unit: str | None = None,
) -> tuple[NDArray[np.float64] | None, str | None]:
    """Return positions (rows, 3) in millimetres, NaN where unknown, and their frame; or (None, None).

    descriptions: of the columns x, y and z, which may name unit and space (`x in mm, MNI152`). The frame is "unknown"
    when they name no single space.
    unit: one of MILLIMETRES, where you know it. The schema asks for micrometres, iEEG data sets hold millimetres:
    without a unit in the descriptions or from you there are no positions.
    Two contacts cannot be at one place: such positions are placeholders, and unknown.
    Warns when positions are left out for want of a unit, or because they are no numbers.
    """
    if not all(axis in columns for axis in "xyz"):
        return None, None
    try:
        places = np.array([[columns[axis][row] for axis in "xyz"] for row in rows], dtype=np.float64)
    except (TypeError, ValueError):
        warnings.warn(
            "Positions are left out: the electrodes' columns x, y and z hold something else than numbers; correct them "
            "in the file.",
            stacklevel=5,
        )
        return None, None
    _, which, counts = np.unique(places, axis=0, return_inverse=True, return_counts=True)
    places[(counts[which.reshape(-1)] > 1) | ~np.isfinite(places).all(axis=1)] = np.nan
    if not np.isfinite(places).any():
        return None, None
    texts = [_SCHEMA_WISH.sub("", descriptions.get(axis, "")) for axis in "xyz"]
    if unit is None:
        units = {tuple(name for name, words in _UNIT_WORDS.items() if words.search(text)) for text in texts}
        if len(units) != 1 or len(next(iter(units))) != 1:
            warnings.warn(
                "Positions are left out: the file does not name their unit (NWB asks for micrometres, human data sets "
                "mostly hold millimetres); if you know it, give position_unit='mm' (or 'm', 'cm', 'µm').",
                stacklevel=5,
            )
            return None, None
        unit = next(iter(units))[0]
    frames = {frame for text in texts for frame in _FRAMES.findall(text)}
    return places * MILLIMETRES[unit], frames.pop() if len(frames) == 1 else "unknown"


def pass_band(texts: Iterable[str], *, nyquist: float) -> tuple[float, float] | None:
    """Return the pass band (Hz) that all these descriptions of filters leave, None when they say nothing clear.

    Understood are `250 Hz lowpass`, `High-pass 4-pole filter at 0.5 Hz`, `HP:0.1Hz LP:75Hz` and `bandpass 0.1-200 Hz`.
    What is not understood is taken for nothing said: the band is estimated from the signal in any case.
    """
    bands = [_edges(text) for text in set(texts)]
    low, high = max((edge for edge, _ in bands), default=0.0), min((edge for _, edge in bands), default=np.inf)
    if not 1 < high < nyquist:
        high = nyquist
    if not 0 <= low < high:
        low = 0.0
    return None if (low, high) == (0.0, nyquist) else (float(low), float(high))


def _edges(text: str) -> tuple[float, float]:
    number = r"(\d+(?:\.\d+)?)"
    text = re.sub(r"(?i)\bhi(?:gh)?[ -]?pass", "HP", re.sub(r"(?i)\blow?[ -]?pass", "LP", text))
    band = re.search(rf"(?i)band[ -]?pass\D*{number}\s*(?:Hz)?\s*(?:-|–|to|and)\s*{number}\s*(k?)Hz", text)
    if band:
        return float(band[1]), float(band[2]) * (1000.0 if band[3] else 1.0)
    # Filters and frequencies take turns, in either order; anything else is not understood.
    parts = re.findall(rf"\b(HP|LP|[Nn]otch)|{number}\s*(k?)Hz", text)
    filters = [name for name, _, _ in parts if name]
    values = [float(value) * (1000.0 if kilo else 1.0) for _, value, kilo in parts if value]
    turns = [bool(name) for name, _, _ in parts]
    if len(filters) != len(values) or any(a == b for a, b in pairwise(turns)):
        return 0.0, float("inf")
    edges = dict(zip(filters, values, strict=True))
    return edges.get("HP", 0.0), edges.get("LP", float("inf"))
