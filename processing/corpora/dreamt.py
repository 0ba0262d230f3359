"""DREAMT: nights with a wristband, sleep staged by technicians in epochs of 30 s.

Signals are (contacts, samples) at 64 Hz, in the units of the files, which take the place of µV: pulse (BVP) in the
arbitrary unit of the wristband, acceleration in 1/64 g. Temperatures are in °C.

The grid of epochs begins with the first row that is not preparation (P): technicians score from there, which is seldom
a multiple of 30 s into the file.

Source: Wang et al., DREAMT: Dataset for Real-time sleep stage EstimAtion using Multisensor wearable Technology
(PhysioNet, 10.13026/0vrv-nn81), folder data_64Hz; code that reads it agrees about columns and grid.
"""

import csv
import re
import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from ..recordings import RecordingHeader, resample
from .labelled import LabelledRecording

RATE = 64.0  # Hz
EPOCH_S = 30
CONTACTS = ("BVP", "ACC_X", "ACC_Y", "ACC_Z")
CLASSES = {"N1": "sleep", "N2": "sleep", "N3": "sleep", "R": "sleep", "W": "wake"}
STAGES = ("P", *CLASSES, "Missing")
PLAUSIBLE_C = (20.0, 45.0)  # outside, the band was not on a wrist
TASKS = ("sleep-wake", "skin-temperature")

_FOLDER, _PEOPLE, _ENDING = "data_64Hz", "participant_info.csv", "_whole_df.csv"
_NUMBERS = ("TIMESTAMP", *CONTACTS, "TEMP")
_CODE = re.compile(r"[A-Za-z0-9_-]+")
_BAND = 0.94  # of half the rate, where the resampler's pass band ends
_RATE_TOLERANCE = 0.01
_RATE_OVER = 64  # rows: over one step, the rounding of timestamps shows
_KEPT_NIGHTS = 16  # of 8 h, 29 MB each


class UnlabelledError(ValueError):
    """A participant has nothing to decode: no file, or no label in it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Night:
    """One participant's epochs, from the first that was scored; those that are not complete are not here.

    signals: (contacts, epochs · samples) float32 at 64 Hz, contacts as `CONTACTS`, epochs back to back; NaN where the
        file has no number.
    stage: (epochs,) of `STAGES`, "mixed" where one epoch has several. temperature_c: (epochs,) median, NaN without any.
    left_out: reason → number of epochs.
    """

    participant: str
    signals: NDArray[np.float32]
    stage: NDArray[np.str_]
    temperature_c: NDArray[np.float64]
    left_out: Mapping[str, int]


def find_participants(root: Path) -> list[str]:
    """Return the codes of all participants, sorted: those with a file, and those that participant_info.csv names.

    Raises ValueError when there is nobody, and for a code that is no plain name.
    """
    codes = {path.name.removesuffix(_ENDING) for path in (root / _FOLDER).glob(f"*{_ENDING}")}
    if (root / _PEOPLE).is_file():
        with (root / _PEOPLE).open(encoding="utf-8-sig", newline="", errors="replace") as file:
            rows = csv.DictReader(file)
            if "SID" not in (rows.fieldnames or ()):
                raise ValueError(f"{_PEOPLE} has no column SID: give the table as it was published.")
            codes |= {(row["SID"] or "").strip() for row in rows}
    for code in codes:
        if not _CODE.fullmatch(code):
            raise ValueError(
                f"{_PEOPLE} or {_FOLDER} names a participant {code!r}, and codes are letters, digits, - and _, such as "
                "S002: correct it."
            )
    if not codes:
        raise ValueError(
            f"There is no {_FOLDER}/S002{_ENDING} or the like: give the folder that holds {_FOLDER} and {_PEOPLE}."
        )
    return sorted(codes)


def read_participant(path: Path, *, epoch_s: float = EPOCH_S) -> Night:
    """Read one file of data_64Hz, such as S002_whole_df.csv; a night of 8 h in about a second.

    Acceleration comes in whole 1/64 g at 32 Hz, so that a sleeping arm's is one value for seconds on end, like that of
    a broken sensor. A uniform dither of ±1/128 g, the same at each reading, makes the rounding noise; an axis that
    never changes in the night stays as it is.
    Raises ValueError for an empty file, a missing column, lines that are cut short, text among numbers, rows that are
    not in order of time or not at 64 Hz, a stage that is not one of `STAGES`, and no scored stage at all.
    """
    samples = _samples(epoch_s, RATE)
    table = _read_table(path)
    time = _column(table, "TIMESTAMP")
    _check_rate(path.name, time)
    stage = _stage_codes(path.name, table)
    scored = np.flatnonzero(stage != STAGES.index("P"))
    if not len(scored) or (stage[scored] == STAGES.index("Missing")).all():
        raise UnlabelledError(
            f"{path.name} has no stage of sleep: column Sleep_Stage needs one of {', '.join(CLASSES)} somewhere."
        )
    first = scored[0]
    place = np.rint((time[first:] - time[first]) * RATE).astype(np.int64)
    if (np.diff(place) <= 0).any():
        line = int(first) + int(np.argmax(np.diff(place) <= 0)) + 3  # the header is line 1
        raise ValueError(f"{path.name} goes back in time in line {line}: give the rows in order of TIMESTAMP.")
    _, start, count = np.unique(place // samples, return_index=True, return_counts=True)
    start = first + start[count == samples]
    shape, rows = (len(start), samples), (start[:, None] + np.arange(samples)).ravel()
    signals = np.array([_column(table, name)[rows] for name in CONTACTS], dtype=np.float32)
    signals[~np.isfinite(signals)] = np.nan
    code = path.name.removesuffix(_ENDING)
    of_epoch = stage[rows].reshape(shape)
    names = np.where((of_epoch == of_epoch[:, :1]).all(1), np.array(STAGES)[of_epoch[:, 0]], "mixed")
    warm = _column(table, "TEMP")[rows].reshape(shape)
    temperature = np.full(len(start), np.nan)
    known = np.isfinite(warm).any(1)
    temperature[known] = np.nanmedian(np.where(np.isfinite(warm[known]), warm[known], np.nan), axis=1)
    left_out = {"preparation": -(-int(first) // samples), "gap, or cut short": int((count != samples).sum())}
    return Night(
        participant=code,
        signals=_dithered(signals, seed=zlib.crc32(code.encode())),
        stage=names,
        temperature_c=temperature,
        left_out={reason: number for reason, number in left_out.items() if number},
    )


def open_dreamt(
    root: Path,
    *,
    sampling_rate: float = RATE,
    task: str = "sleep-wake",
    epoch_s: float = EPOCH_S,
    participants: Sequence[str] | None = None,
) -> list[LabelledRecording]:
    """Return a recording for each participant, its epochs back to back, with what is decoded in each.

    root: with data_64Hz and participant_info.csv. sampling_rate: Hz; each epoch is resampled alone.
    task: "sleep-wake" (N1, N2, N3 and R are sleep; P, Missing and epochs of several stages are left out), or
        "skin-temperature": °C, the median of TEMP in the epoch, which is no input; values outside 20 to 45 °C are left
        out; the stage of an epoch does not matter.
    participants: codes, such as "S002"; by default all. Who has no file, no stages, or no epoch left is left out with a
        warning.
    Contacts are BVP and the three axes, of the type "ecog", because recordings know no other sensor at the surface.
    Samples that the file lacks are NaN.
    Raises ValueError for what `read_participant` refuses, an unknown task or participant, and when nobody is left.
    """
    if task not in TASKS:
        raise ValueError(f"task is {task!r}: choose one of {', '.join(TASKS)}.")
    known = find_participants(root)
    if unknown := sorted(set(participants or ()) - set(known)):
        raise ValueError(f"There is no participant {unknown[0]!r}: choose from {', '.join(known)}.")
    found = []
    for code in known if participants is None else dict.fromkeys(participants):
        try:
            found.append(_open_one(root, code, sampling_rate=float(sampling_rate), task=task, epoch_s=epoch_s))
        except UnlabelledError as error:
            warnings.warn(f"Participant {code} is left out: {error}", stacklevel=2)
    if not found:
        raise ValueError(f"Nobody of {len(known)} participants has a file with labels for {task}: give one who has.")
    return found


def _open_one(root: Path, code: str, *, sampling_rate: float, task: str, epoch_s: float) -> LabelledRecording:
    raw, new = _samples(epoch_s, RATE), _samples(epoch_s, sampling_rate)
    path = root / _FOLDER / f"{code}{_ENDING}"
    if not path.is_file():
        raise UnlabelledError(f"{_FOLDER} has no {path.name}.")
    if not path.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"{path.name} is a link that leads out of the data set: put the file itself there.")
    values, kept, left_out = _labels(_kept(path, epoch_s), task)
    if not len(kept):
        raise UnlabelledError(f"no epoch of {path.name} has a label for {task}.")
    read = {"step": "read", "format": "DREAMT", "task": task, "epoch_s": float(epoch_s), "from_hz": RATE}
    header = RecordingHeader(
        num_samples=len(kept) * new,
        sampling_rate=sampling_rate,
        contacts=CONTACTS,
        types=("ecog",) * len(CONTACTS),
        band_hz=(0.0, _BAND * min(RATE, sampling_rate) / 2),
        history=(read,),
        id=f"DREAMT-{code}",
        subject=f"DREAMT-{code}",
    )

    def source(start: int, stop: int) -> NDArray[np.float32]:
        signals = _kept(path, epoch_s).signals
        pieces = np.arange(start // new, (stop - 1) // new + 1)
        parts = [_at_rate(signals[:, first : first + raw], header, new) for first in kept[pieces] * raw]
        return np.concatenate(parts, axis=1)[:, start - pieces[0] * new : stop - pieces[0] * new]

    onset_s = np.arange(len(kept), dtype=np.float64) * new / sampling_rate
    return LabelledRecording(recording=header.with_source(source), onset_s=onset_s, values=values, left_out=left_out)


def _labels(night: Night, task: str) -> tuple[NDArray[Any], NDArray[np.int64], dict[str, int]]:
    """Return the values of the epochs that are kept, which these are, and why how many others are not."""
    if task == "skin-temperature":
        use = (night.temperature_c >= PLAUSIBLE_C[0]) & (night.temperature_c <= PLAUSIBLE_C[1])
        dropped = {"temperature missing or not of a wrist": int((~use).sum())}
        values: NDArray[Any] = night.temperature_c[use]
    else:
        use = np.isin(night.stage, list(CLASSES))
        why = {"preparation": "P", "stage missing": "Missing", "several stages": "mixed"}
        dropped = {reason: int((night.stage == name).sum()) for reason, name in why.items()}
        values = np.array([CLASSES[name] for name in night.stage[use]], dtype=np.str_)
    total = {name: night.left_out.get(name, 0) + dropped.get(name, 0) for name in {**night.left_out, **dropped}}
    return values, np.flatnonzero(use), {reason: number for reason, number in total.items() if number}


def _at_rate(piece: NDArray[np.float32], header: RecordingHeader, samples: int) -> NDArray[np.float32]:
    """Return (contacts, samples) of one epoch at the header's rate; a contact with NaN becomes NaN throughout."""
    if header.sampling_rate == RATE:
        return piece
    missing = {name: "NaN" for name, row in zip(CONTACTS, piece, strict=True) if not np.isfinite(row).all()}
    alone = replace(header, num_samples=piece.shape[1], sampling_rate=RATE, bad=missing).with_data(piece)
    return resample(alone, header.sampling_rate).data[:, :samples]


def _samples(epoch_s: float, sampling_rate: float) -> int:
    """Return how many samples an epoch has; it is refused where it does not begin with one."""
    samples = epoch_s * sampling_rate
    if not (np.isfinite(samples) and samples >= 1 and sampling_rate > 0 and abs(samples - round(samples)) < 1e-6):
        raise ValueError(
            f"Epochs of {epoch_s:g} s at {sampling_rate:g} Hz have {samples:g} samples; give a rate and a length with "
            "a whole number of them, such as 30 s at 64 Hz."
        )
    return round(samples)


def _kept(path: Path, epoch_s: float) -> Night:
    """Return what `read_participant` does, out of memory where the file has not changed since."""
    about = path.stat()
    return _read_once(path, epoch_s, about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=_KEPT_NIGHTS)
def _read_once(path: Path, epoch_s: float, changed_ns: int, size: int) -> Night:
    return read_participant(path, epoch_s=epoch_s)


def _dithered(signals: NDArray[np.float32], *, seed: int) -> NDArray[np.float32]:
    noise = np.random.default_rng(seed).random((len(signals) - 1, signals.shape[1]), dtype=np.float32)
    for row, of_axis in zip(signals[1:], noise, strict=True):
        if len(row) and np.nanmin(row, initial=np.inf) < np.nanmax(row, initial=-np.inf):
            row += of_axis - np.float32(0.5)
    return signals


def _read_table(path: Path) -> pa.Table:
    """Return the columns that are used; what pyarrow refuses is said in a sentence of ours."""
    name = path.name
    with path.open("rb") as file:
        header = file.readline(4096).decode("utf-8-sig", errors="replace").strip().split(",")
    if header == [""]:
        raise ValueError(f"{name} is empty: download it again.")
    wanted = (*_NUMBERS, "Sleep_Stage")
    if missing := [column for column in wanted if header.count(column) != 1]:
        raise ValueError(
            f"{name} has no column {', '.join(missing)} (or several of that name); the files of {_FOLDER} have "
            f"{', '.join(wanted)}: give one of these."
        )
    types = {column: pa.float64() for column in _NUMBERS} | {"Sleep_Stage": pa.dictionary(pa.int32(), pa.string())}
    options = pa_csv.ConvertOptions(column_types=types, include_columns=list(wanted), strings_can_be_null=False)
    for threads in (True, False):  # with one thread, pyarrow knows the row of what is wrong
        try:
            table = pa_csv.read_csv(path, pa_csv.ReadOptions(use_threads=threads), convert_options=options)
        except pa.ArrowInvalid as error:
            reason = str(error)
        else:
            break
    else:
        raise ValueError(_reason(name, header, reason))
    if table.num_rows <= _RATE_OVER:
        raise ValueError(f"{name} has {table.num_rows} rows, which is no night: download it again.")
    return table


def _reason(name: str, header: list[str], reason: str) -> str:
    row = re.search(r"Row #(\d+)", reason)
    line = f"line {row[1]}" if row else "a line"
    if fields := re.search(r"Expected (\d+) columns, got (\d+)", reason):
        return f"{name} has {fields[2]} fields in {line} and {fields[1]} columns: it is damaged, download it again."
    column = re.search(r"column #(\d+)", reason)
    value = re.search(r"invalid value '(.*?)'", reason)
    if column and value:
        where = f"column {header[int(column[1])]}"
        return f"{name} has {value[1][:40]!r} in {where}, {line}, where a number must be: correct it."
    return f"{name} cannot be read as CSV ({reason.splitlines()[0][:120]}): download it again."


def _column(table: pa.Table, name: str) -> NDArray[np.float64]:
    return np.asarray(table[name].to_numpy(), dtype=np.float64)


def _check_rate(name: str, time: NDArray[np.float64]) -> None:
    if not np.isfinite(time).all():
        row = int(np.argmin(np.isfinite(time))) + 2
        raise ValueError(f"{name} has no TIMESTAMP in line {row}: give seconds in every row.")
    spans = time[_RATE_OVER:] - time[:-_RATE_OVER]
    typical = float(np.median(spans))
    rate = _RATE_OVER / typical if typical > 0 else np.inf
    if not abs(rate - RATE) <= _RATE_TOLERANCE * RATE:
        raise ValueError(
            f"{name} has {rate:.4g} rows a second of TIMESTAMP, and {RATE:g} Hz is read: give a file of {_FOLDER}."
        )


def _stage_codes(name: str, table: pa.Table) -> NDArray[np.int8]:
    """Return (rows,) places in `STAGES`; an empty one is Missing."""
    column = table.unify_dictionaries().combine_chunks()["Sleep_Stage"].chunk(0)
    names = [(text or "").strip() or "Missing" for text in column.dictionary.to_pylist()]
    if strange := [text for text in names if text not in STAGES]:
        raise ValueError(
            f"{name} has the stage {strange[0][:40]!r} in column Sleep_Stage, and {', '.join(STAGES)} are known: "
            "correct it, or leave the file out."
        )
    return np.array([STAGES.index(text) for text in names], dtype=np.int8)[column.indices.to_numpy()]
