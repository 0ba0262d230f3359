"""Batches of clips, in an order that seed and epoch alone decide, from any batch on.

A run that is resumed, in more workers or in fewer, goes on with the very clips that it would have seen. Nothing here
draws from torch's or numpy's global random numbers.
"""

import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from ..corpora.streamed_shards import CLIP_COLUMNS, StreamedShards
from .batches import Statistics, clip_batch

Prepare = Callable[[dict[str, Any], int], Any]


class CorpusLoader:
    """Batches of a corpus on this machine's disk, shuffled over all of it.

    corpus: a data set of load_corpus or split_corpus. batch_size: clips of this process; its batch b is its share of
        clips [b · all, (b + 1) · all) of the epoch's order, where all = batch_size · num_processes. So two processes
        with batches of 32 see in a step what one sees with 64.
    seed: of the order, not negative. statistics: as for `clip_batch`.
    num_workers: processes that read, and prepare; 0 reads in this one. prepare: (batch, epoch) → what to return
        instead of the batch of `clip_batch`; it must not use the device when there are workers.
    batches_per_epoch: the same on every process; the clips that are left over have their turn in another epoch.
    Raises ValueError when the corpus does not fill a batch of every process.
    """

    def __init__(
        self,
        corpus: datasets.Dataset,
        *,
        batch_size: int,
        seed: int,
        process_index: int = 0,
        num_processes: int = 1,
        statistics: Statistics | None = None,
        num_workers: int = 0,
        prepare: Prepare | None = None,
    ):
        self.corpus = corpus.with_format("arrow", columns=list(CLIP_COLUMNS))
        self.batch_size, self.seed = batch_size, seed
        self.process_index, self.num_processes = process_index, num_processes
        self.statistics, self.num_workers, self.prepare = statistics, num_workers, prepare
        self.batches_per_epoch = _full_batches(len(corpus), batch_size, num_processes)

    def batches(self, epoch: int, *, start: int = 0) -> Iterator[Any]:
        """Yield this process's batches of an epoch (0, 1, …) from number `start` on; what is skipped is not read."""
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.corpus))
        # Number b · num_processes + process_index of equal pieces is this process's share of batch b.
        pieces = order[: self.batches_per_epoch * self.num_processes * self.batch_size].reshape(-1, self.batch_size)
        mine = pieces[self.process_index :: self.num_processes][start:]
        return _load(self._read, mine, epoch, self)

    def _read(self, rows: NDArray[np.int64]) -> Iterator[dict[str, Any]]:
        yield clip_batch(self.corpus[rows], self.statistics)


class StreamLoader:
    """Batches of Parquet shards in a folder or on the Hub, of which little is held at a time.

    An epoch is a permutation of all row groups; each process has an equal stretch of it, exact to the row, so shards
    may be uneven and processes never wait for one another. Within a stretch, rows are permuted in windows of about
    `window` rows, gathered from a dozen row groups. What is before batch `start` is not read, but for its own window.
    A worker reads whole windows: 42 MB of shared memory each, with 5 s at 2048 Hz and windows of 1024 rows.

    source: a folder that export_shards wrote, or the id of a data set on the Hub. split: "train" or "validation".
    revision: of the data set on the Hub: a commit, so that a resumed run finds the same rows.
    The other arguments, batches_per_epoch and errors: as of CorpusLoader; and ValueError for shards that are missing,
    damaged, or cannot be reached after the attempts of `datasets`.
    """

    def __init__(
        self,
        source: Path | str,
        *,
        batch_size: int,
        seed: int,
        split: str = "train",
        revision: str | None = None,
        window: int = 1024,
        process_index: int = 0,
        num_processes: int = 1,
        statistics: Statistics | None = None,
        num_workers: int = 0,
        prepare: Prepare | None = None,
    ):
        self.shards = StreamedShards(source, split=split, revision=revision)
        self.batch_size, self.seed = batch_size, seed
        self.process_index, self.num_processes = process_index, num_processes
        self.statistics, self.num_workers, self.prepare = statistics, num_workers, prepare
        self.batches_per_epoch = _full_batches(len(self.shards), batch_size, num_processes)
        self.batches_per_window = max(1, window // batch_size)

    def batches(self, epoch: int, *, start: int = 0) -> Iterator[Any]:
        """Yield this process's batches of an epoch (0, 1, …) from number `start` on."""
        each = self.batches_per_window
        # A window is (epoch, its first batch, the first that is wanted, the batch after its last).
        windows = [
            (epoch, first, max(first, start), min(first + each, self.batches_per_epoch))
            for first in range(start - start % each, self.batches_per_epoch, each)
        ]
        return _load(self._read, windows, epoch, self)

    def _read(self, window: tuple[int, int, int, int]) -> Iterator[dict[str, Any]]:
        epoch, first, wanted, end = window
        groups = np.random.default_rng([self.seed, epoch]).permutation(len(self.shards.group_rows))
        rows = self.shards.group_rows[groups]
        ends = np.cumsum(rows)
        # In rows of the epoch's order, where each process begins after the last row of the one before.
        low, high = ((self.process_index * self.batches_per_epoch + batch) * self.batch_size for batch in (first, end))
        tables = []
        for place in range(int(np.searchsorted(ends, low, side="right")), int(np.searchsorted(ends, high)) + 1):
            begins = ends[place] - rows[place]
            inside = slice(max(low - begins, 0), min(high - begins, rows[place]))
            table = self.shards.read(int(groups[place]), CLIP_COLUMNS)
            tables.append(table.slice(inside.start, inside.stop - inside.start))
        table = pa.concat_tables(tables).combine_chunks()
        order = np.random.default_rng([self.seed, epoch, low]).permutation(high - low)
        for batch in order.reshape(-1, self.batch_size)[wanted - first :]:
            yield clip_batch(table.take(batch), self.statistics)


def held_out_batches(
    dataset: datasets.Dataset,
    *,
    batch_size: int,
    process_index: int = 0,
    num_processes: int = 1,
    statistics: Statistics | None = None,
    most: int | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield this process's batches of held-out clips: every clip once, in order, shared out as CorpusLoader does.

    dataset: of split_corpus or load_shards. most: no more clips than this, evenly spaced.
    All processes get the same number of batches of the same shape. Where clips run out, voltage is 0, which an
    extractor with on_invalid="mask" leaves out, and the name is "".
    """
    corpus = dataset.with_format("arrow", columns=list(CLIP_COLUMNS))
    count = len(corpus) if most is None else min(len(corpus), most)
    chosen = np.linspace(0, len(corpus) - 1, count).round().astype(np.int64)
    everyone = batch_size * num_processes
    for first in range(process_index * batch_size, -(-len(chosen) // everyone) * everyone, everyone):
        places = np.arange(first, first + batch_size)
        missing = torch.from_numpy(places >= len(chosen))
        # The last clip stands in for those that are missing, so that there is something of the right shape.
        batch = clip_batch(corpus[chosen[places.clip(max=len(chosen) - 1)]], statistics)
        batch["voltage"][missing] = 0
        batch["row"][missing] = 0
        batch["name"] = [name if there else "" for name, there in zip(batch["name"], ~missing, strict=True)]
        yield batch


class _Refused:
    """What a worker had to refuse: an exception would arrive wrapped in the worker's traceback."""

    def __init__(self, message: str):
        self.message = message


class _Pieces:
    """What DataLoader reads from: the batches of a piece of the epoch."""

    def __init__(self, read: Callable[[Any], Iterator[dict[str, Any]]], prepare: Prepare | None, epoch: int):
        self.read, self.prepare, self.epoch = read, prepare, epoch

    def __getitem__(self, piece: Any) -> list[Any] | _Refused:
        try:
            batches = self.read(piece)
            return [batch if self.prepare is None else self.prepare(batch, self.epoch) for batch in batches]
        except ValueError as error:
            return _Refused(str(error))


def _load(
    read: Callable[[Any], Iterator[dict[str, Any]]],
    pieces: Iterable[Any],
    epoch: int,
    loader: CorpusLoader | StreamLoader,
) -> Iterator[Any]:
    """Yield the batches of all pieces in order, read ahead by the loader's workers, each with one thread of torch."""
    here, there = (loader.prepare, None) if loader.num_workers == 0 else (None, loader.prepare)
    found: DataLoader[Any] = DataLoader(
        _Pieces(read, there, epoch),  # type: ignore[arg-type]  # DataLoader asks for no more than __getitem__
        sampler=pieces,
        batch_size=None,
        num_workers=loader.num_workers,
        collate_fn=_unchanged,
        worker_init_fn=_leave_signals,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator().manual_seed(loader.seed),  # or else it draws a seed from the global numbers
    )
    for batches in found:
        if isinstance(batches, _Refused):
            raise ValueError(batches.message)
        for batch in batches:
            yield batch if here is None else here(batch, epoch)


def _leave_signals(worker: int) -> None:
    """Leave SIGTERM and Ctrl-C, which a scheduler or a terminal sends to all processes, to the one that trains."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def _unchanged(batches: Any) -> Any:
    return batches


def _full_batches(rows: int, batch_size: int, num_processes: int) -> int:
    if rows < batch_size * num_processes:
        raise ValueError(
            f"{rows} training clips do not fill one batch of {batch_size} on each of {num_processes} processes: use a "
            "smaller --batch-size, or more data."
        )
    return rows // (batch_size * num_processes)
