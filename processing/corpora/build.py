"""Build a corpus of clips from conditioned recordings: one Arrow shard per recording, resumable.

A corpus is a folder that `datasets.load_from_disk` opens. Its parts are written one by one under temporary names, the
file that makes it a data set (`state.json`) last, so a killed build is continued by calling it again.
"""

import hashlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import datasets
import numpy as np
import pyarrow as pa
from datasets.arrow_writer import ArrowWriter
from numpy.typing import NDArray
from tqdm import tqdm

from ..atomic import written_whole
from ..recordings import Recording, cut_clips, recording_clip_problems
from .card import write_card
from .load import load_corpus
from .statistics import recording_statistics, write_statistics

INT16_STEPS = 65534  # from −32767 to 32767


def build_corpus(
    recordings: Iterable[Recording] | Mapping[str, Callable[[], Recording]],
    out: Path | str,
    *,
    clip_s: float = 5.0,
    stride_s: float | None = None,
    sampling_rate: float = 2048.0,
    storage: Literal["float32", "int16"] = "float32",
    conditioning: Mapping[str, Any] | None = None,
    extractor: Any = None,
    progress: bool = True,
) -> datasets.Dataset:
    """Cut conditioned recordings into clips and write them to the folder `out`; return the data set.

    recordings: conditioned, one at a time; or a mapping of recording id → function that reads and conditions it, so
        that an interrupted build need not read again what it has written.
    clip_s: length of a clip in seconds. stride_s: from one clip to the next; clip_s (no overlap) by default.
    sampling_rate: Hz of the model; recordings at another rate are refused.
    storage: "float32" in µV, or "int16" with a scale and an offset per clip, half the size (error in the data card).
    conditioning: JSON-able, how the recordings of a mapping are read; a build begun in another way is not continued.
    extractor: a feature extractor; with it the statistics of every contact are computed and kept beside the clips.

    Clips that fail the quality check are left out and counted by reason. Killed and called again with the same
    arguments, the result is the same corpus, byte for byte.
    Raises ValueError for a folder that holds something else, another rate, two recordings of one id, and when no clip
    is left.
    """
    out = Path(out)
    stride_s = clip_s if stride_s is None else stride_s
    settings = {
        "clip_s": clip_s,
        "stride_s": stride_s,
        "sampling_rate": sampling_rate,
        "storage": storage,
        # Only its hash: what a user types may name a patient.
        "conditioning": hashlib.sha256(json.dumps(conditioning, sort_keys=True).encode()).hexdigest()[:16],
    }
    _open_folder(out, settings)
    samples = round(clip_s * sampling_rate)
    features = corpus_features(samples, storage)
    reports: dict[str, dict[str, Any]] = {}
    bar = tqdm(
        _one_by_one(recordings),
        total=len(recordings) if isinstance(recordings, (Mapping, list, tuple)) else None,
        desc="corpus",
        unit="recording",
        disable=not progress,
        file=sys.stderr,
    )
    for recording_id, read in bar:
        if recording_id in reports:
            raise ValueError(
                f"Two recordings have the id {recording_id}: name them apart (read_recording(…, recording_id=…))."
            )
        report = _finished_report(out, recording_id)
        if report is None:
            recording = read()
            if recording.id != recording_id:
                raise ValueError(f"The recording called {recording_id} says that it is {recording.id}: use one name.")
            report = _write_recording(recording, out, features, settings)
        elif not isinstance(recordings, Mapping) and report["history"] != _plain(read().history):
            raise ValueError(
                f"Recording {recording_id} is in {out} already and was conditioned in another way: use another folder."
            )
        reports[recording_id] = report
        bar.set_postfix(clips=sum(report["clips"]["kept"] for report in reports.values()))

    strangers = {path.name for path in out.glob("recording-*.json")} - {f"{_shard_name(name)}.json" for name in reports}
    if strangers:
        raise ValueError(
            f"{out} also holds {len(strangers)} recordings that were not given now: name all of them, or build into "
            "another folder."
        )
    kept = sum(report["clips"]["kept"] for report in reports.values())
    if not kept:
        reasons = _total(report["clips"] for report in reports.values())
        raise ValueError(f"No clip passed the quality check ({reasons}): look at assess_quality of the recordings.")
    _finish(out, features, settings, list(reports.values()))
    corpus = load_corpus(out)
    if extractor is not None:
        write_statistics(recording_statistics(corpus, extractor, progress=progress), out, extractor)
    return corpus


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


def _one_by_one(
    recordings: Iterable[Recording] | Mapping[str, Callable[[], Recording]],
) -> Iterable[tuple[str, Callable[[], Recording]]]:
    if isinstance(recordings, Mapping):
        yield from recordings.items()
    else:
        for recording in recordings:
            yield recording.id, lambda recording=recording: recording  # type: ignore[misc]


def _open_folder(out: Path, settings: Mapping[str, Any]) -> None:
    """Make `out` a corpus under construction with these settings, or refuse."""
    marker = out / "build.json"
    if out.exists() and not marker.exists() and any(out.iterdir()):
        raise ValueError(f"{out} exists and is not a corpus: choose a new or empty folder.")
    if marker.exists():
        before = json.loads(marker.read_text())
        if before != settings:
            different = {
                name: (before.get(name), value) for name, value in settings.items() if before.get(name) != value
            }
            raise ValueError(
                f"{out} was begun with other settings ({different}: then, now): use the same, or another folder."
            )
    else:
        out.mkdir(parents=True, exist_ok=True)
        _write_json(marker, settings)


def _shard_name(recording_id: str) -> str:
    return f"recording-{hashlib.sha256(recording_id.encode()).hexdigest()[:16]}"  # an id may not be a file name


def _finished_report(out: Path, recording_id: str) -> dict[str, Any] | None:
    """Return what was written about a recording, or None when its shard is not complete."""
    path = out / f"{_shard_name(recording_id)}.json"
    if not path.exists():
        return None
    report: dict[str, Any] = json.loads(path.read_text())
    return report


def _write_recording(
    recording: Recording, out: Path, features: datasets.Features, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Write the shard of one recording, then its report, which says that the shard is complete."""
    rate = settings["sampling_rate"]
    if abs(recording.sampling_rate - rate) > 1e-4 * rate:
        raise ValueError(
            f"Recording {recording.id} is at {recording.sampling_rate:g} Hz and the corpus at {rate:g} Hz: "
            "condition or resample it first."
        )
    original_rate = next((step["from_hz"] for step in recording.history if step["step"] == "resample"), rate)
    clips_of = {"clip_s": settings["clip_s"], "stride_s": settings["stride_s"]}
    stride = round(settings["stride_s"] * rate)
    counts: dict[str, int] = {"kept": 0}
    largest_error = 0.0
    shard = out / f"{_shard_name(recording.id)}.arrow"
    with written_whole(shard) as temporary:
        writer = ArrowWriter(path=str(temporary), features=features)
        for index, clips in cut_clips(recording, **clips_of):
            problems = recording_clip_problems(recording, index, **clips_of)
            good = np.flatnonzero(problems == "")
            for reason, number in zip(*np.unique(problems[problems != ""], return_counts=True), strict=True):
                counts[str(reason)] = counts.get(str(reason), 0) + int(number)
            counts["kept"] += len(good)
            signal, scale, offset, error = encode_signal(clips[good], settings["storage"])
            largest_error = max(largest_error, error)
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
    report = {
        "recording": recording.id,
        "subject": recording.subject,
        "session": recording.session,
        "duration_s": recording.duration_s,
        "original_sampling_rate": original_rate,
        "band_hz": recording.band_hz,
        "contacts": _contact_rows(recording),
        "coordinate_frame": recording.coordinate_frame,
        "bad": dict(recording.bad),
        "clips": counts,
        "storage_error": largest_error,
        "history": _plain(recording.history),
        "sha256": _file_sha256(shard),
    }
    _write_json(shard.with_suffix(".json"), report)
    return report


def encode_signal(
    clips: NDArray[np.float32], storage: Literal["float32", "int16"]
) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[np.float32], float]:
    """Return signal, scale and offset of (clips, samples) in µV, and the largest error in standard deviations."""
    if storage == "float32" or not len(clips):
        ones = np.ones(len(clips), np.float32)
        return clips.astype(storage), ones, np.zeros_like(ones), 0.0
    low, high = clips.min(axis=1), clips.max(axis=1)
    offset = (low + high) / 2
    scale = (high - low) / INT16_STEPS
    signal = np.round((clips - offset[:, None]) / scale[:, None]).astype(np.int16)
    error = np.abs(signal * scale[:, None] + offset[:, None] - clips).max(axis=1) / clips.std(axis=1)
    return signal, scale, offset, float(error.max())


def _contact_rows(recording: Recording) -> list[dict[str, Any]]:
    positions: list[list[float] | None] = [None] * len(recording.contacts)
    if recording.positions is not None:
        positions = [row.round(3).tolist() if np.isfinite(row).all() else None for row in recording.positions]
    return [
        {"contact": name, "type": kind, "position_mm": position}
        for name, kind, position in zip(recording.contacts, recording.types, positions, strict=True)
    ]


def _finish(out: Path, features: datasets.Features, settings: Mapping[str, Any], reports: list[dict[str, Any]]) -> None:
    """Write the data card and what makes the folder a data set; `state.json` last."""
    hashes = [(report["recording"], report["sha256"]) for report in reports]
    fingerprint = hashlib.sha256(json.dumps([settings, hashes], sort_keys=True).encode()).hexdigest()[:16]
    totals = {
        "recordings": len(reports),
        "subjects": len({report["subject"] for report in reports}),
        "contacts": sum(len(report["contacts"]) - len(report["bad"]) for report in reports),
        "clips": _total(report["clips"] for report in reports),
    }
    _write_json(out / "corpus.json", {"fingerprint": fingerprint, **settings, **totals})
    write_card(out, fingerprint=fingerprint, settings=settings, totals=totals, reports=reports)
    # The data set's own files come from `datasets`, for an empty one; only the list of shards is ours.
    with tempfile.TemporaryDirectory() as empty, _without_progress_bars():
        datasets.Dataset.from_dict({name: [] for name in features}, features=features).save_to_disk(empty)
        state = json.loads(Path(empty, "state.json").read_text())
        information = Path(empty, "dataset_info.json").read_text()
    state["_data_files"] = [{"filename": f"{_shard_name(report['recording'])}.arrow"} for report in reports]
    state["_fingerprint"] = fingerprint
    _write_text(out / "dataset_info.json", information)
    _write_json(out / "state.json", state)


@contextmanager
def _without_progress_bars() -> Iterator[None]:
    before = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not before:
            datasets.enable_progress_bars()


def _plain(history: Iterable[Mapping[str, object]]) -> list[dict[str, Any]]:
    """Return a history as it comes back from JSON."""
    plain: list[dict[str, Any]] = json.loads(json.dumps([dict(step) for step in history]))
    return plain


def _total(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in counts:
        for reason, number in each.items():
            total[reason] = total.get(reason, 0) + number
    return total


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_json(path: Path, content: Any) -> None:
    _write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _write_text(path: Path, text: str) -> None:
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
