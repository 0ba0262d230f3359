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
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import datasets
from tqdm import tqdm

from ..atomic import only_writer, remove_parts, written_whole
from ..recordings import Recording
from .card import write_card
from .lineage import MARKS, recording_mark
from .load import load_corpus
from .shard import corpus_features, plain_history, write_shard
from .statistics import recording_statistics, write_statistics


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
    conditioning: JSON-able, how the functions of a mapping condition (rate, reference, …; nothing that names a person);
        a build begun in another way is not continued.
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
        "conditioning": json.loads(json.dumps(conditioning)),
        "brainbert": version("brainbert"),
    }
    samples = round(clip_s * sampling_rate)
    if extractor is not None and extractor.num_frames(samples) < extractor.minimum_frames:
        raise ValueError(
            f"A clip of {clip_s:g} s gives {extractor.num_frames(samples)} frames and the model needs "
            f"{extractor.minimum_frames}: use a longer clip_s."
        )
    if isinstance(recordings, Mapping) and conditioning is None:
        raise ValueError("A mapping of functions needs conditioning=: what they do is compared when a build goes on.")
    features = corpus_features(samples, storage)
    visible = [path.name for path in out.iterdir() if not path.name.startswith(".")] if out.exists() else []
    if visible and "build.json" not in visible:
        raise ValueError(f"{out} exists and is not a corpus: choose a new or empty folder.")
    with only_writer(out):
        remove_parts(out)
        _begin_or_continue(out, settings)
        reports = _write_all(recordings, out, features, settings, progress=progress)
        if not any(report["clips"]["kept"] for report in reports):
            reasons = _total(report["clips"] for report in reports)
            raise ValueError(f"No clip passed the quality check ({reasons}): look at assess_quality of the recordings.")
        _finish(out, features, settings, reports)
        corpus = load_corpus(out)
        if extractor is not None:
            write_statistics(recording_statistics(corpus, extractor, progress=progress), out, extractor)
    return corpus


def _write_all(
    recordings: Iterable[Recording] | Mapping[str, Callable[[], Recording]],
    out: Path,
    features: datasets.Features,
    settings: Mapping[str, Any],
    *,
    progress: bool,
) -> list[dict[str, Any]]:
    """Write what is not there yet; return the reports of all recordings, in order."""
    if isinstance(recordings, (list, tuple)):
        _refuse_strangers(out, [recording.id for recording in recordings])
    elif isinstance(recordings, Mapping):
        _refuse_strangers(out, recordings)
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
        shard = out / f"{_shard_name(recording_id)}.arrow"
        if _is_complete(shard):
            report = json.loads(shard.with_suffix(".json").read_text())
            # The recordings of a mapping are not read again; `conditioning` says how they were.
            if not isinstance(recordings, Mapping) and report["history"] != plain_history(read().history):
                raise ValueError(
                    f"Recording {recording_id} is in {out} already and was conditioned in another way: use another "
                    "folder."
                )
        else:
            recording = read()
            if recording.id != recording_id:
                raise ValueError(f"The recording called {recording_id} says that it is {recording.id}: use one name.")
            report = write_shard(recording, shard, features, settings)
            _write_json(shard.with_suffix(".json"), report)  # says that the shard is complete
        reports[recording_id] = report
        bar.set_postfix(clips=sum(report["clips"]["kept"] for report in reports.values()))
    _refuse_strangers(out, reports)
    return list(reports.values())


def _is_complete(shard: Path) -> bool:
    """Return whether a shard and its report are there, and the shard as long as it was."""
    report = shard.with_suffix(".json")
    return report.exists() and shard.exists() and shard.stat().st_size == json.loads(report.read_text())["bytes"]


def _refuse_strangers(out: Path, names: Iterable[str]) -> None:
    """A corpus is what the call names: refuse a folder that holds other recordings."""
    strangers = {path.name for path in out.glob("recording-*.json")} - {f"{_shard_name(name)}.json" for name in names}
    if strangers:
        raise ValueError(
            f"{out} also holds {len(strangers)} recordings that were not given now: name all of them, or build into "
            "another folder."
        )


def _one_by_one(
    recordings: Iterable[Recording] | Mapping[str, Callable[[], Recording]],
) -> Iterable[tuple[str, Callable[[], Recording]]]:
    if isinstance(recordings, Mapping):
        yield from recordings.items()
    else:
        for recording in recordings:
            yield recording.id, lambda recording=recording: recording  # type: ignore[misc]


def _begin_or_continue(out: Path, settings: Mapping[str, Any]) -> None:
    """Write down the settings of a new corpus; refuse to go on with others than it was begun with."""
    marker = out / "build.json"
    if not marker.exists():
        _write_json(marker, settings)
    before = json.loads(marker.read_text())
    if before != settings:
        different = ", ".join(
            f"{name}: {before.get(name)} then, {value} now"
            for name, value in settings.items()
            if before.get(name) != value
        )
        raise ValueError(f"{out} was begun with other settings ({different}): use the same, or another folder.")


def _shard_name(recording_id: str) -> str:
    return f"recording-{hashlib.sha256(recording_id.encode()).hexdigest()[:16]}"  # an id may not be a file name


def _finish(out: Path, features: datasets.Features, settings: Mapping[str, Any], reports: list[dict[str, Any]]) -> None:
    """Write the data card and what makes the folder a data set; `state.json` last."""
    hashes = [(report["recording"], report["sha256"]) for report in reports]
    fingerprint = hashlib.sha256(json.dumps([settings, hashes], sort_keys=True).encode()).hexdigest()[:16]
    totals = {
        "recordings": len(reports),
        "subjects": len({report["subject"] for report in reports}),
        "contacts": sum(len(report["contacts"]) for report in reports),
        "contacts_left_out": sum(len(report["left_out"]) for report in reports),
        "clips": _total(report["clips"] for report in reports),
    }
    # How the recordings were conditioned is in the card.
    short = {name: value for name, value in settings.items() if name != "conditioning"}
    marks = {MARKS: sorted(recording_mark(report["recording"]) for report in reports)}
    _write_json(out / "corpus.json", {"fingerprint": fingerprint, **short, **totals, **marks})
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


def _total(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in counts:
        for reason, number in each.items():
            total[reason] = total.get(reason, 0) + number
    return total


def _write_json(path: Path, content: Any) -> None:
    _write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _write_text(path: Path, text: str) -> None:
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
