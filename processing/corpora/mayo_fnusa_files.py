"""The files of MAYO and FNUSA: a table of clips, and one MATLAB file for each clip. Nothing in them is believed.

A clip is 3 s of one contact at 5000 Hz.
Source: Nejedly et al. 2020, Sci Data 7:179, and how its harnesses read it.
"""

import csv
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .matlab5 import read_matlab

NAMES = ("MAYO", "FNUSA")
RATE, CLIP_S = 5000, 3  # Hz, s
CLIP_SAMPLES = RATE * CLIP_S
TABLE = "segments.csv"
COLUMNS = ("segment_id", "patient_id", "category_id", "channel")  # those used; category_name is not
CATEGORIES = {0: "power line", 1: "noise", 2: "pathological", 3: "physiological"}
_MOST_VALUES = 2**17  # of a clip at 32 kHz, which is refused by its length


class ClipSet(NamedTuple):
    """Where one of the two sets lies. name: MAYO or FNUSA. table: segments.csv. folder: with the clips."""

    name: str
    table: Path
    folder: Path


@dataclass(frozen=True, kw_only=True)
class ClipRow:
    """A row of the table. line: of the file, from 1. clip: name of the file. patient, category: None where empty."""

    line: int
    clip: str
    patient: int | None
    category: int | None
    channel: str


def find_dataset(root: str | Path, *, name: str | None = None) -> ClipSet:
    """Return which of the two sets lies under a folder, and where.

    root: has DATASET_MAYO or DATASET_FNUSA with segments.csv in it or beside it, or is one of them; or has a folder
        MAYO or FNUSA of which this is true. name: which, where both are there.
    Raises FileNotFoundError when there is none, ValueError when there are two and none is named.
    """
    if name is not None and name not in NAMES:
        raise ValueError(f"There is no set {name!r}: choose {' or '.join(NAMES)}.")
    root = Path(root)
    found: dict[str, ClipSet] = {}
    for each in NAMES if name is None else (name,):
        inner = f"DATASET_{each}"
        places = [(root / inner, root / inner), (root, root / inner), (root / each, root / each / inner)]
        places += [(root / each / inner, root / each / inner), *([(root, root)] if root.name == inner else [])]
        for place, folder in places:
            if folder.is_dir() and (place / TABLE).is_file():
                found.setdefault(each, ClipSet(name=each, table=place / TABLE, folder=folder))
    if not found:
        wanted = " or ".join(f"DATASET_{each}" for each in NAMES if name in (None, each))
        raise FileNotFoundError(
            f"There is no {wanted} with a {TABLE} in the folder {root.name!r}; give the root of it."
        )
    if len(found) > 1:
        raise ValueError(f"Both {' and '.join(found)} are in the folder {root.name!r}; name one of them.")
    return next(iter(found.values()))


def read_table(clips: ClipSet) -> list[ClipRow]:
    """Return the rows of segments.csv, in their order, after looking at each: names are plain, and their files there.

    Raises ValueError for a table that cannot be read or is empty, a missing column, numbers that are none, an unknown
    category, a segment_id that is no plain name or comes twice, and clips that are missing.
    """
    if not clips.table.resolve().is_relative_to(clips.table.parent.resolve()):
        raise ValueError(f"{TABLE!r} is a link that leads to another folder; put the table itself there.")
    there = {entry.name for entry in clips.folder.iterdir()}
    rows: list[ClipRow] = []
    seen: set[str] = set()
    missing: list[ClipRow] = []
    for line, cells in _cells(clips.table):
        segment = cells["segment_id"].removesuffix(".mat")
        if not re.fullmatch(r"\w[\w.+-]*", segment):
            raise ValueError(
                f"{TABLE!r} has the segment_id {segment[:80]!r} in line {line}, which is no plain name; "
                "copy the table again."
            )
        if segment in seen:
            raise ValueError(f"{TABLE!r} has the segment_id {segment!r} twice, again in line {line}; remove one row.")
        seen.add(segment)
        patient, category = (_whole(cells[column], column, line) for column in ("patient_id", "category_id"))
        if category is not None and category not in CATEGORIES:
            known = ", ".join(f"{number} ({words})" for number, words in CATEGORIES.items())
            raise ValueError(f"{TABLE!r} has the category_id {category} in line {line}; there are {known}.")
        row = ClipRow(line=line, clip=f"{segment}.mat", patient=patient, category=category, channel=cells["channel"])
        rows.append(row)
        if row.category and row.clip not in there:  # power line clips are not read
            missing.append(row)
    if missing:
        first, others = missing[0], len(missing) - 1
        raise ValueError(
            f"The file {first.clip!r} of line {first.line} of {TABLE!r} is missing, and {others} more of {len(rows)}; "
            "copy the clips again."
        )
    if not rows:
        raise ValueError(f"{TABLE!r} has no rows; copy the table again.")
    return rows


def read_clip(folder: Path, name: str) -> NDArray[np.float64]:
    """Return the samples of a clip, (15000,) at 5000 Hz, in the unit of the file.

    Raises ValueError for a file that is missing, lies elsewhere or holds no 3 s of finite numbers, and for what
    `read_matlab` refuses.
    """
    path = folder / name
    if not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{name!r} is missing, or a link that leads to another folder; copy the file itself there.")
    data = read_matlab(path, variable="data", most_values=_MOST_VALUES)
    if data.size != CLIP_SAMPLES or max(data.shape) != CLIP_SAMPLES:
        raise ValueError(
            f"{name!r} holds data of shape {data.shape}; a clip is (1, {CLIP_SAMPLES}), {CLIP_S} s at {RATE} Hz: "
            "copy it again."
        )
    if not np.isfinite(data).all():
        raise ValueError(f"{name!r} holds infinite values or NaN; copy it again.")
    return data.reshape(-1).astype(np.float64)


def _cells(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Return the line in the file and the used cells of each row."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = [name.strip() for name in next(reader, [])]
            lacking = [name for name in COLUMNS if header.count(name) != 1]
            if not any(header):
                raise ValueError(f"{TABLE!r} is empty; copy the table again.")
            if lacking:
                count = header.count(lacking[0])
                raise ValueError(
                    f"{TABLE!r} has {count} columns {lacking[0]!r}; it needs one of each of {', '.join(COLUMNS)}."
                )
            places = {name: header.index(name) for name in COLUMNS}
            found = []
            for row in reader:
                if row and len(row) != len(header):
                    raise ValueError(
                        f"{TABLE!r} has {len(row)} cells in line {reader.line_num} and {len(header)} columns; "
                        "copy the table again."
                    )
                if row:
                    found.append((reader.line_num, {name: row[place].strip() for name, place in places.items()}))
            return found
    except (csv.Error, UnicodeDecodeError):
        raise ValueError(f"{TABLE!r} is no table of text with commas; copy it again.") from None


def _whole(cell: str, column: str, line: int) -> int | None:
    """Return a whole number, or None where the cell is empty; a table that pandas wrote may have 3.0 and nan."""
    if cell.lower() in ("", "nan", "na", "none"):
        return None
    if not re.fullmatch(r"\d{1,9}(\.0*)?", cell):
        raise ValueError(f"{TABLE!r} has the {column} {cell[:80]!r} in line {line}; it is a whole number, or empty.")
    return int(cell.split(".")[0])
