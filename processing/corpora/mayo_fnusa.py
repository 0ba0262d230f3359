"""MAYO and FNUSA: pathological intracranial activity against the rest, in clips of 3 s.

Two data sets of one kind, from two hospitals. A clip is one contact; nothing says which clips are from one time. Power
line clips are left out, noise and physiological clips are "rest", as where the published figures are from.
Source: Nejedly et al. 2020, Sci Data 7:179; patients, groups and their shares: ZJU-BrainNet/Benchmark4BFMs.
"""

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..recordings import Recording, RecordingStream, resample
from .labelled import LabelledRecording
from .mayo_fnusa_files import CLIP_S, RATE, TABLE, ClipRow, ClipSet, find_dataset, read_clip, read_table

__all__ = ["CLASSES", "GROUPS", "SHARES", "UNITS_UV", "find_dataset", "open_clips"]

# Patients that are tested, or trained on, together.
GROUPS: dict[str, tuple[tuple[int, ...], ...]] = {
    "MAYO": ((0, 18, 21), (1, 9, 19), (2, 5, 16), (3, 4, 23), (6, 7, 8), (14, 17, 20)),
    "FNUSA": ((1, 5), (3, 4, 12), (2, 6, 7), (8, 10), (9, 11, 13)),
}
SHARES: dict[str, tuple[int, int, int]] = {"MAYO": (3, 1, 2), "FNUSA": (3, 1, 1)}  # groups to train, validate, test
CLASSES = ("rest", "pathological")
UNITS_UV = {"uV": 1.0, "mV": 1e3, "V": 1e6}
_CLASS_OF = {1: "rest", 2: "pathological", 3: "rest"}  # category_id
_LARGEST_STEP = 5.0  # across a join, of the 99th percentile of the steps within the two clips
_DECIMATION = 5  # of the published harness, to 1000 Hz
_WITHOUT_LABEL = "without a patient or a category"
_NO_GROUP = "of a patient in no published group"
_POWER_LINE = "power line"
_NO_PARTNER = "without a clip that continues it"


@dataclass(frozen=True, kw_only=True)
class _Clips:
    """Reads pieces that lie back to back. pieces: the names of the one or two clips of each. samples: of a piece."""

    folder: Path
    pieces: tuple[tuple[str, ...], ...]
    samples: int
    sampling_rate: float
    decimated: bool
    scale: float

    def __call__(self, start: int, stop: int) -> NDArray[np.float32]:
        data = np.empty((1, stop - start), dtype=np.float32)
        for number in range(start // self.samples, -(-stop // self.samples)):
            begins = number * self.samples
            first, last = max(start, begins), min(stop, begins + self.samples)
            data[0, first - start : last - start] = self.piece(number)[first - begins : last - begins]
        return data

    def piece(self, number: int) -> NDArray[np.float32]:
        return _piece(self.folder, self.pieces[number], self.samples, self.sampling_rate, self.decimated, self.scale)


def open_clips(
    root: str | Path,
    *,
    sampling_rate: float,
    name: str | None = None,
    clip_s: Literal[3, 6] = 3,
    resampling: Literal["filtered", "decimated"] = "filtered",
    unit: str = "uV",
) -> list[LabelledRecording]:
    """Return a recording for each patient, with all clips back to back, each resampled by itself when it is read.

    A recording has one contact, in which each clip is from whatever contact it was. Its labels are "rest" and
    "pathological". One clip of each patient is read at once, so that files of another kind are refused before hours.
    root: as `find_dataset` takes it. name: "MAYO" or "FNUSA", where both are there. sampling_rate: Hz, of the model.
    clip_s: 3 s as published; 6 s for clips that follow each other among the rows of one patient and channel, have one
        category, and join without a jump: the step across the join is at most 5 times the 99th percentile of the steps
        within the two. No clip is in two pairs. To find them, clips are read when the set is opened.
    resampling: "filtered", or "decimated", every fifth sample without a filter before the same: it folds all above
        500 Hz onto what is below, and is only to compare with figures that were made so.
    unit: of the files: uV, mV or V. They do not say; the front end of the model, which normalises, cannot tell.
    Raises FileNotFoundError and ValueError; clips that cannot be read raise ValueError when they are read.
    """
    if clip_s not in (3, 6):
        raise ValueError(f"clip_s is {clip_s}; clips have 3 s, pairs of them 6 s.")
    if unit not in UNITS_UV:
        raise ValueError(f"unit is {unit!r}; choose {', '.join(UNITS_UV)}.")
    if not np.isfinite(sampling_rate) or sampling_rate <= 0:
        raise ValueError(f"sampling_rate is {sampling_rate}; give a positive number of hertz, 2048 for BrainBERT.")
    if resampling not in ("filtered", "decimated"):
        raise ValueError(f"resampling is {resampling!r}; choose filtered or decimated.")
    clips = find_dataset(root, name=name)
    kept, elsewhere = _of_published_patients(read_table(clips), clips)
    opened = []
    for patient in sorted(kept):
        rows = [row for row in kept[patient] if row.category]
        if rows:
            read_clip(clips.folder, rows[0].clip)
        pieces = [(row,) for row in rows] if clip_s == CLIP_S else _pairs(kept[patient], clips)
        left_out = Counter({_POWER_LINE: len(kept[patient]) - len(rows)})
        left_out[_NO_PARTNER] = len(rows) - clip_s // CLIP_S * len(pieces)
        if not pieces:
            elsewhere += left_out
            continue
        source = _Clips(
            folder=clips.folder,
            pieces=tuple(tuple(row.clip for row in piece) for piece in pieces),
            samples=round(clip_s * sampling_rate),
            sampling_rate=float(sampling_rate),
            decimated=resampling == "decimated",
            scale=UNITS_UV[unit],
        )
        opened.append(
            LabelledRecording(
                recording=_stream(source, f"{clips.name}-{patient}", clip_s, resampling, unit),
                onset_s=np.arange(len(pieces)) * source.samples / sampling_rate,
                values=np.array([_CLASS_OF[piece[0].category or 0] for piece in pieces]),
                left_out=+left_out,
            )
        )
    if not opened:
        raise ValueError(
            f"No clips of {clips.name} are left for windows of {clip_s} s; copy the set again, or take 3 s."
        )
    opened[0] = replace(opened[0], left_out=dict(Counter(opened[0].left_out) + elsewhere))
    return opened


def _stream(source: _Clips, patient: str, clip_s: int, resampling: str, unit: str) -> RecordingStream:
    settings = {"data_set": patient.split("-")[0], "clip_s": clip_s, "resampling": resampling, "unit": unit}
    return RecordingStream(
        source=source,
        num_samples=source.samples * len(source.pieces),
        sampling_rate=source.sampling_rate,
        contacts=("clips",),
        types=("seeg",),  # or "ecog", from clip to clip
        history=({"step": "read", "format": "mayo-fnusa", **settings, "sampling_rate": source.sampling_rate},),
        id=patient,
        subject=patient,
    )


def _of_published_patients(rows: Sequence[ClipRow], clips: ClipSet) -> tuple[dict[int, list[ClipRow]], Counter[str]]:
    """Return patient → rows, power line ones included, and reason → rows that are of nobody in a published group."""
    published = {patient for group in GROUPS[clips.name] for patient in group}
    kept: dict[int, list[ClipRow]] = {}
    left_out: Counter[str] = Counter()
    strangers = set()
    for row in rows:
        if row.patient is None or row.category is None:
            left_out[_WITHOUT_LABEL] += 1
        elif row.patient not in published:
            left_out[_NO_GROUP] += 1
            strangers.add(row.patient)
        else:
            kept.setdefault(row.patient, []).append(row)
    name, say = clips.name, partial(warnings.warn, stacklevel=3)
    if left_out[_WITHOUT_LABEL]:
        say(f"Rows of {TABLE!r} without a patient or a category are left out: {left_out[_WITHOUT_LABEL]}.")
    if strangers:
        named = ", ".join(map(str, sorted(strangers)))
        say(f"Clips of {name} are left out, {left_out[_NO_GROUP]}, of patients in no published group: {named}.")
    if absent := sorted(published - set(kept)):
        say(f"{TABLE!r} has no clips of the patients {', '.join(map(str, absent))} of {name}; its groups are smaller.")
    return kept, left_out


def _pairs(rows: Sequence[ClipRow], clips: ClipSet) -> list[tuple[ClipRow, ClipRow]]:
    """Return pairs of clips of a patient that follow each other, in the order of the table."""
    found: list[tuple[ClipRow, ClipRow]] = []
    for _, of_channel in groupby(sorted(rows, key=lambda row: row.channel), key=lambda row: row.channel):
        before: ClipRow | None = None
        for row in of_channel:  # sorted() keeps the order of the table
            if (
                before
                and row.category
                and row.category == before.category
                and joins(read_clip(clips.folder, before.clip), read_clip(clips.folder, row.clip))
            ):
                found.append((before, row))
                before = None
            else:
                before = row
    return sorted(found, key=lambda pair: pair[0].line)


def joins(first: NDArray[np.float64], second: NDArray[np.float64]) -> bool:
    """Return whether a clip goes on in another: the step between them is as those within them, or up to 5 times that.

    first, second: (samples,). As those: the 99th percentile of the steps of both.
    """
    steps = np.abs(np.concatenate([np.diff(first), np.diff(second)]))
    return bool(abs(second[0] - first[-1]) <= _LARGEST_STEP * np.percentile(steps, 99))


@lru_cache(maxsize=64)  # windows may be read in parts; a clip is 24 kB at 2048 Hz
def _piece(
    folder: Path, names: tuple[str, ...], samples: int, sampling_rate: float, decimated: bool, scale: float
) -> NDArray[np.float32]:
    """Return the samples of a piece at the new rate: (samples,) µV, read-only."""
    voltage = np.concatenate([read_clip(folder, name) for name in names]) * scale
    every = _DECIMATION if decimated else 1
    recording = Recording(
        data=voltage[None, ::every].astype(np.float32),
        sampling_rate=RATE / every,
        contacts=("clips",),
        types=("seeg",),
        id="",
        subject="",
    )
    piece = resample(recording, sampling_rate).data[0]
    piece = piece[:samples].copy()
    piece.flags.writeable = False
    return piece
