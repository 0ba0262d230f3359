"""Write the clips of one recording as an Arrow file: one row per clip and contact."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import datasets
import numpy as np
import pyarrow as pa
from datasets.arrow_writer import ArrowWriter
from numpy.typing import NDArray

from ..atomic import written_whole
from ..recordings import Recording, cut_clips, left_out, recording_clip_problems

INT16_STEPS = 65000  # of 65535: some room for the rounding of scale and offset


def corpus_features(samples: int, storage: Literal["float32", "int16"]) -> datasets.Features:
    """Return the columns of a corpus row: a clip of one contact. µV = signal · scale + offset."""
    return datasets.Features(
        {
            "recording": datasets.Value("string"),
            "subject": datasets.Value("string"),
            "session": datasets.Value("string"),
            "contact": datasets.Value("string"),
            "start": datasets.Value("int64"),  # sample of the conditioned recording
            "sampling_rate": datasets.Value("float64"),
            "original_sampling_rate": datasets.Value("float64"),
            "band_hz": datasets.List(datasets.Value("float32"), length=2),  # NaN where unknown
            "signal": datasets.List(datasets.Value(storage), length=samples),
            "scale": datasets.Value("float32"),
            "offset": datasets.Value("float32"),
        }
    )


def write_shard(
    recording: Recording, shard: Path, features: datasets.Features, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Write the clips of a recording that pass the quality check to `shard`, and return what there is to say of them.

    Raises ValueError for another rate than settings["sampling_rate"], and a recording shorter than a clip.
    """
    rate = settings["sampling_rate"]
    clip_s, stride_s = settings["clip_s"], settings["stride_s"]
    if abs(recording.sampling_rate - rate) > 1e-4 * rate:
        raise ValueError(
            f"Recording {recording.id} is at {recording.sampling_rate:g} Hz and the corpus at {rate:g} Hz: "
            "condition or resample it first."
        )
    original_rate = next((step["from_hz"] for step in recording.history if step["step"] == "resample"), rate)
    recording = replace(recording, sampling_rate=rate)  # within the tolerance; the same samples in every clip
    stride = round(stride_s * rate)
    counts: dict[str, int] = {"kept": 0}
    largest_error = 0.0
    try:
        contacts = cut_clips(recording, clip_s=clip_s, stride_s=stride_s)
    except ValueError as error:
        raise ValueError(f"Recording {recording.id}: {error}") from None
    with written_whole(shard) as temporary:
        writer = ArrowWriter(path=str(temporary), features=features)
        for index, clips in contacts:
            problems = recording_clip_problems(recording, index, clip_s=clip_s, stride_s=stride_s)
            good = np.flatnonzero(problems == "")
            for reason, number in zip(*np.unique(problems[problems != ""], return_counts=True), strict=True):
                counts[str(reason)] = counts.get(str(reason), 0) + int(number)
            counts["kept"] += len(good)
            signal, scale, offset, rounding = encode_signal(clips[good], settings["storage"])
            largest_error = max(largest_error, rounding)
            constant = {
                "recording": recording.id,
                "subject": recording.subject,
                "session": recording.session,
                "contact": recording.contacts[index],
                "sampling_rate": rate,
                "original_sampling_rate": original_rate,
            }
            columns: dict[str, Any] = {name: [value] * len(good) for name, value in constant.items()}
            columns |= {"start": good * stride, "scale": scale, "offset": offset}
            columns["band_hz"] = [list(recording.band_hz or (np.nan, np.nan))] * len(good)
            columns["signal"] = pa.FixedSizeListArray.from_arrays(pa.array(signal.reshape(-1)), clips.shape[1])
            schema = features.arrow_schema
            arrays = [
                column if isinstance(column := columns[field.name], pa.Array) else pa.array(column, field.type)
                for field in schema
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
        writer.finalize()
    return {
        "recording": recording.id,
        "subject": recording.subject,
        "session": recording.session,
        "duration_s": recording.duration_s,
        "original_sampling_rate": original_rate,
        "band_hz": recording.band_hz,
        "contacts": _contact_rows(recording),
        "coordinate_frame": recording.coordinate_frame,
        "left_out": left_out(recording),
        "clips": counts,
        "storage_error": largest_error,
        "history": plain_history(recording.history),
        "sha256": _file_sha256(shard),
        "bytes": shard.stat().st_size,
    }


def encode_signal(
    clips: NDArray[np.float32], storage: Literal["float32", "int16"]
) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[np.float32], float]:
    """Return signal, scale and offset of (clips, samples) in µV, and the largest error in standard deviations."""
    if storage == "float32" or not len(clips):
        ones = np.ones(len(clips), np.float32)
        return clips.astype(storage), ones, np.zeros_like(ones), 0.0
    low, high = clips.min(axis=1).astype(np.float64), clips.max(axis=1).astype(np.float64)
    # Rounded to float32 first, as they will be read, and with room for that rounding: int16 would wrap around.
    offset, scale = ((low + high) / 2).astype(np.float32), ((high - low) / INT16_STEPS).astype(np.float32)
    exact = (clips - offset[:, None].astype(np.float64)) / scale[:, None]
    signal = np.round(exact).clip(-32768, 32767).astype(np.int16)
    error = np.abs(signal - exact).max(axis=1) * scale / clips.std(axis=1, dtype=np.float64)
    return signal, scale, offset, float(error.max())


def _contact_rows(recording: Recording) -> list[dict[str, Any]]:
    """Return name, type and position of the contacts that are in the corpus."""
    positions: list[list[float] | None] = [None] * len(recording.contacts)
    if recording.positions is not None:
        positions = [row.round(3).tolist() if np.isfinite(row).all() else None for row in recording.positions]
    return [
        {"contact": name, "type": kind, "position_mm": position}
        for name, kind, position in zip(recording.contacts, recording.types, positions, strict=True)
        if name not in recording.bad
    ]


def plain_history(history: Iterable[Mapping[str, object]]) -> list[dict[str, Any]]:
    """Return a history as it comes back from JSON."""
    plain: list[dict[str, Any]] = json.loads(json.dumps([dict(step) for step in history]))
    return plain


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
