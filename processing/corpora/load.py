"""Open a corpus, decode its signal, and split it without leaking."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import datasets
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def load_corpus(folder: Path | str) -> datasets.Dataset:
    """Open the corpus that `build_corpus` wrote to `folder`: a data set with one row per clip and contact.

    Raises ValueError when the folder is not a corpus, its build was interrupted, or a file is cut off or unreadable.
    """
    folder = Path(folder)
    if not (folder / "build.json").exists() and (folder / "data").is_dir():
        raise ValueError(f"{folder} holds Parquet shards: stream them, or name the corpus they come from.")
    if not (folder / "build.json").exists():
        raise ValueError(f"{folder} is not a corpus: build one with build_corpus or examples/build_corpus.py.")
    if not (folder / "state.json").exists():
        raise ValueError(f"The build of {folder} was interrupted: run it again with the same arguments to complete it.")
    for part in json.loads((folder / "state.json").read_text())["_data_files"]:
        if Path(part["filename"]).name != part["filename"]:
            raise ValueError(
                f"{folder}/state.json names a file outside the corpus: it was not written by build_corpus."
            )
        if not (folder / part["filename"]).exists():
            raise ValueError(f"{folder} lacks its file {part['filename']}: copy the folder again, or build it again.")
        _refuse_damage(folder / part["filename"])
    return datasets.load_from_disk(str(folder))


def _refuse_damage(shard: Path) -> None:
    """Read a shard's structure and all but its signals: what is unreadable is found, a wrong number is not."""
    report = shard.with_suffix(".json")
    expected = json.loads(report.read_text())["bytes"] if report.exists() else shard.stat().st_size
    try:
        if shard.stat().st_size != expected:
            raise ValueError(f"{shard.stat().st_size} bytes instead of {expected}")
        with pa.memory_map(str(shard)) as file:
            table = pa.ipc.open_stream(file).read_all()
            datasets.Features.from_arrow_schema(table.schema)
            table.drop_columns(["signal"]).validate(full=True)  # indices out of bounds, text that is none
    except Exception as error:  # whatever a reader stumbles over: it is the file that is wrong
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ValueError(
            f"{shard} is damaged ({reason}): call build_corpus or examples/build_corpus.py again, after deleting this "
            "file; or copy it again."
        ) from error


def decode_signal(batch: Mapping[str, Any]) -> NDArray[np.float32]:
    """Return the clips of a batch of rows (of a data set with format "numpy") in µV: (clips, samples)."""
    stored_in_microvolts = np.asarray(batch["signal"]).dtype.kind == "f"
    signal = np.asarray(batch["signal"], np.float32)  # `datasets` hands out int16 as int64
    if stored_in_microvolts:
        return signal
    scale, offset = (np.asarray(batch[name], np.float32)[..., None] for name in ("scale", "offset"))
    return signal * scale + offset


def split_corpus(
    corpus: datasets.Dataset,
    *,
    by: Literal["time", "recording"] = "time",
    validation: float = 0.1,
    embargo_s: float = 5.0,
    seed: int = 0,
) -> tuple[datasets.Dataset, datasets.Dataset]:
    """Return the training and the validation part of a corpus; neighbouring clips are never torn apart at random.

    by: "time": the last `validation` of each recording's time, for all contacts at once, after `embargo_s` seconds that
        belong to neither part; "recording": whole recordings, drawn with `seed`.
    validation: share of the time or of the recordings, between 0 and 1; at least one clip or recording.
    Raises ValueError when one of the parts would be empty.
    """
    if not 0 < validation < 1:
        raise ValueError(f"validation is {validation}: give a share between 0 and 1, such as 0.1.")
    recording = _column(corpus, "recording")
    names, recording = np.unique(recording, return_inverse=True)
    if by == "recording":
        held_out = np.random.default_rng(seed).permutation(len(names))[: max(1, round(validation * len(names)))]
        in_validation = np.isin(recording, held_out)
        in_training = ~in_validation
    elif by == "time":
        samples = corpus.features["signal"].length
        start, rate = _column(corpus, "start"), _column(corpus, "sampling_rate")
        in_training, in_validation = np.zeros(len(corpus), bool), np.zeros(len(corpus), bool)
        for number in range(len(names)):
            inside = recording == number
            first, last = start[inside].min(), start[inside].max()
            # Not after the start of the last clip, so that this one at least is held out.
            cut = min(last, first + (1 - validation) * (last + samples - first))
            in_validation |= inside & (start >= cut)
            in_training |= inside & (start + samples + embargo_s * rate <= cut)
    else:
        raise ValueError(f'by is {by!r}: choose "time" or "recording".')
    if not in_training.any() or not in_validation.any():
        raise ValueError(
            f"Split by {by}, {len(corpus)} clips of {len(names)} recordings leave nothing to "
            f"{'train' if not in_training.any() else 'validate'} on: use more data, or a smaller embargo_s."
        )
    return corpus.select(np.flatnonzero(in_training)), corpus.select(np.flatnonzero(in_validation))


def split_corpora(
    folders: Sequence[Path | str],
    *,
    by: Sequence[Literal["time", "recording"]] = ("time",),
    validation: float = 0.1,
    embargo_s: float = 5.0,
    seed: int = 0,
) -> tuple[datasets.Dataset, datasets.Dataset]:
    """Return the training and the validation parts of several corpora, one corpus after the other.

    by: as of `split_corpus`, one for all corpora or one for each. validation, embargo_s, seed: as there.
    Raises ValueError when corpora have other clips (length, rate, storage), or a recording in common, and as
    `load_corpus` and `split_corpus` do.
    """
    if len(by) not in (1, len(folders)):
        raise ValueError(f"There are {len(by)} splits for {len(folders)} corpora: give one for all or one for each.")
    corpora = [load_corpus(folder) for folder in folders]
    seen: dict[str, Path | str] = {}
    for folder, corpus in zip(folders, corpora, strict=True):
        if corpus.features != corpora[0].features or corpus[0]["sampling_rate"] != corpora[0][0]["sampling_rate"]:
            raise ValueError(
                f"{folder} and {folders[0]} have clips of another length, rate or storage: build both alike."
            )
        for name in corpus.unique("recording"):
            if name in seen:
                raise ValueError(f"Recording {name} is in {seen[name]} and in {folder}: build it into one of them.")
            seen[name] = folder
    each = list(by) * (len(folders) // len(by))
    parts = [
        split_corpus(corpus, by=kind, validation=validation, embargo_s=embargo_s, seed=seed)
        for corpus, kind in zip(corpora, each, strict=True)
    ]
    train, held_out = (datasets.concatenate_datasets(list(part)) for part in zip(*parts, strict=True))
    return train, held_out


def _column(corpus: datasets.Dataset, name: str) -> NDArray[Any]:
    return np.asarray(corpus.with_format("numpy", columns=[name])[:][name])
