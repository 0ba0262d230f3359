"""Mean and standard deviation of each frequency bin: per contact and recording, and over a corpus.

They are computed by whatever front end is given as `extractor`, from un-normalised magnitudes, and carry its
fingerprint: another front end refuses them.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tqdm import tqdm

from ..atomic import written_whole
from .load import decode_signal

_ROWS_AT_ONCE = 64


class RunningStatistics:
    """Mean and standard deviation per bin of images that come in pieces (Chan et al. 1979), in float64."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: NDArray[np.float64] | Any = 0.0
        self.squares: NDArray[np.float64] | Any = 0.0

    def add(self, image: NDArray[np.floating]) -> None:
        """Add an image (..., bins)."""
        frames = np.asarray(image, np.float64).reshape(-1, image.shape[-1])
        mean = frames.mean(axis=0)
        self.merge(len(frames), mean, ((frames - mean) ** 2).sum(axis=0))

    def merge(self, count: int, mean: NDArray[np.float64], squares: NDArray[np.float64]) -> None:
        """Add the count, mean and squares (summed squared distances from the mean) of other frames."""
        if count == 0:
            return
        total = self.count + count
        difference = mean - self.mean
        self.squares = self.squares + squares + difference**2 * (self.count * count / total)
        self.mean = self.mean + difference * (count / total)
        self.count = total

    @property
    def std(self) -> NDArray[np.float64]:
        """Standard deviation per bin (divided by the count, as the front end does)."""
        return np.sqrt(self.squares / self.count)


def recording_statistics(corpus: datasets.Dataset, extractor: Any, *, progress: bool = True) -> pa.Table:
    """Return a table with one row per recording and contact: what normalization="recording" needs.

    corpus: a data set as build_corpus makes, or a part of it: give the training part to keep test data out. Of clips
        that overlap, only the first is used.
    extractor: with `spectrogram(voltage, sampling_rate=)` and `fingerprint`.
    Columns: recording, contact, fingerprint, mean and std (lists, one number per bin), seconds (of signal used).
    """
    running: dict[tuple[str, str], RunningStatistics] = {}
    seconds: dict[tuple[str, str], float] = {}
    corpus = _without_overlap(corpus)
    for batch, voltage in _batches(corpus, progress=progress, description="statistics per contact"):
        rate = float(batch["sampling_rate"][0])
        images = extractor.spectrogram(voltage, sampling_rate=rate).numpy()
        for name, contact, image in zip(batch["recording"], batch["contact"], images, strict=True):
            key = (str(name), str(contact))
            running.setdefault(key, RunningStatistics()).add(image)
            seconds[key] = seconds.get(key, 0.0) + voltage.shape[1] / rate
    return pa.table(
        {
            "recording": [name for name, _ in running],
            "contact": [contact for _, contact in running],
            "fingerprint": [extractor.fingerprint] * len(running),
            "mean": [each.mean.tolist() for each in running.values()],
            "std": [each.std.tolist() for each in running.values()],
            "seconds": list(seconds.values()),
        }
    )


def corpus_statistics(
    corpus: datasets.Dataset, extractor: Any, *, progress: bool = True
) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation per bin over all clips: what normalization="corpus" needs.

    Give the training part; of clips that overlap, only the first is used.
    extractor: any normalization; only its magnitudes are used.
    """
    running = RunningStatistics()
    corpus = _without_overlap(corpus)
    for batch, voltage in _batches(corpus, progress=progress, description="statistics of the corpus"):
        running.add(extractor.spectrogram(voltage, sampling_rate=float(batch["sampling_rate"][0])).numpy())
    return running.mean.tolist(), running.std.tolist()


def write_statistics(table: pa.Table, folder: Path, extractor: Any) -> Path:
    """Write a table of `recording_statistics` beside the corpus in `folder`; return its path."""
    path = folder / f"statistics-{extractor.fingerprint}.parquet"
    with written_whole(path) as temporary:
        pq.write_table(table, temporary)
    return path


def load_statistics(folder: Path | str, extractor: Any) -> dict[tuple[str, str], dict[str, Any]]:
    """Return (recording, contact) → {"fingerprint", "mean", "std"} for this extractor.

    folder: of the corpus, or of the run that fitted them.
    Raises ValueError when they were not computed with this front end.
    """
    path = Path(folder) / f"statistics-{extractor.fingerprint}.parquet"
    if not path.exists():
        raise ValueError(
            f"{folder} has no statistics of the front end {extractor.fingerprint}: compute them with "
            "recording_statistics, or build the corpus with this extractor."
        )
    return statistics_lookup(pq.read_table(path))


def statistics_lookup(table: pa.Table) -> dict[tuple[str, str], dict[str, Any]]:
    """Return (recording, contact) → {"fingerprint", "mean", "std"} for a table of `recording_statistics`."""
    return {
        (row["recording"], row["contact"]): {name: row[name] for name in ("fingerprint", "mean", "std")}
        for row in table.to_pylist()
    }


def statistics_of_rows(
    statistics: Mapping[tuple[str, str], Mapping[str, Any]], recordings: Iterable[str], contacts: Iterable[str]
) -> dict[str, Any]:
    """Return what the extractor takes as `statistics=` for a batch of rows.

    Raises ValueError for a contact without statistics.
    """
    keys = [(str(name), str(contact)) for name, contact in zip(recordings, contacts, strict=True)]
    for recording, contact in keys:
        if (recording, contact) not in statistics:
            raise ValueError(f"There are no statistics of contact {contact} of recording {recording}: compute them.")
    rows = [statistics[key] for key in keys]
    return {
        "fingerprint": rows[0]["fingerprint"],
        "mean": np.array([row["mean"] for row in rows]),
        "std": np.array([row["std"] for row in rows]),
    }


def with_statistics(
    corpus: datasets.Dataset, statistics: Mapping[tuple[str, str], Mapping[str, Any]]
) -> datasets.Dataset:
    """Return the rows whose contact has statistics: a contact may have clips in only one part of a split."""
    known = [key in statistics for key in zip(corpus["recording"][:], corpus["contact"][:], strict=True)]
    return corpus if all(known) else corpus.select(np.flatnonzero(known))


def _without_overlap(corpus: datasets.Dataset) -> datasets.Dataset:
    """Return the rows that share no sample with an earlier one of their contact."""
    samples = corpus.features["signal"].length
    keys = list(zip(corpus["recording"][:], corpus["contact"][:], corpus["start"][:], strict=True))
    chosen: list[int] = []
    covered: dict[tuple[str, str], int] = {}
    for row in sorted(range(len(keys)), key=keys.__getitem__):
        recording, contact, start = keys[row]
        if start >= covered.get((recording, contact), start):
            chosen.append(row)
            covered[recording, contact] = start + samples
    return corpus if len(chosen) == len(keys) else corpus.select(sorted(chosen))


def _batches(
    corpus: datasets.Dataset, *, progress: bool, description: str
) -> Iterator[tuple[Mapping[str, Any], NDArray[np.float32]]]:
    corpus = corpus.with_format("numpy", columns=["recording", "contact", "sampling_rate", "signal", "scale", "offset"])
    batches = corpus.iter(batch_size=_ROWS_AT_ONCE)
    total = -(-len(corpus) // _ROWS_AT_ONCE)
    for batch in tqdm(batches, total=total, desc=description, unit="batch", disable=not progress, file=sys.stderr):
        yield batch, decode_signal(batch)
