"""The windows of a recording in blocks: a unit of work that is the same whoever does it, and after any restart.

A block holds a fixed number of consecutive window starts of all good contacts, its rows in the order (start, contact).
Batches are cut from blocks, so that they have the same rows in every run, and embeddings the same bits on equal
machines with as many threads.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ..recordings import Recording, RecordingStream, clip_problems
from ..recordings.clips import clip_and_stride

# Of window starts in a block. Shorter blocks would cost time: each is read, and conditioned, with a margin around it.
BLOCK_S = 60.0
BLOCK_VALUES = 2**25  # numbers in the embeddings of a block, at most: 128 MiB, which all frames of a window soon fill

Made = TypeVar("Made")


@dataclass(frozen=True, kw_only=True, eq=False)
class Block:
    """Consecutive windows of all good contacts.

    starts: (windows,), first sample of each window. voltage: (contacts, samples) in µV, from starts[0] on.
    problems: (windows, contacts), why a window should not be trusted, "" when it may be.
    """

    number: int
    starts: NDArray[np.int64]
    voltage: NDArray[np.float32]
    problems: NDArray[np.str_]


class Windows:
    """All windows of the good contacts of a recording, block by block.

    window_s, stride_s: seconds; the stride is the window by default.
    values_per_window: numbers that a window's embedding holds.
    Raises ValueError for a recording shorter than a window, and one without a good contact.
    """

    def __init__(
        self,
        recording: Recording | RecordingStream,
        *,
        window_s: float,
        stride_s: float | None = None,
        values_per_window: int = 1,
    ) -> None:
        self.recording = recording
        self.contacts = recording.good
        if not self.contacts:
            raise ValueError(
                "The recording has no good contact to embed: left_out(recording) says what is wrong with each."
            )
        self.window, self.stride = clip_and_stride(recording, clip_s=window_s, stride_s=stride_s)
        self.count = (recording.num_samples - self.window) // self.stride + 1
        fit = BLOCK_VALUES // (values_per_window * len(self.contacts))
        self.per_block = max(1, min(round(BLOCK_S * recording.sampling_rate / self.stride), fit))

    def __len__(self) -> int:
        return -(-self.count // self.per_block)

    def rows(self, number: int) -> int:
        """Return how many windows of all contacts block `number` holds."""
        return len(self._starts(number)) * len(self.contacts)

    def read(self, number: int) -> Block:
        """Read block `number` and look for what is wrong with its windows."""
        starts = self._starts(number)
        voltage = self.recording.read(int(starts[0]), int(starts[-1]) + self.window)[self._contact_rows]
        clips = sliding_window_view(voltage, self.window, axis=1)[:, :: self.stride]
        problems = [
            clip_problems(self.recording, row, of_contact, starts)
            for row, of_contact in zip(self._contact_rows, clips, strict=True)
        ]
        return Block(number=number, starts=starts, voltage=voltage, problems=np.stack(problems, axis=1))

    def _starts(self, number: int) -> NDArray[np.int64]:
        first = number * self.per_block
        return np.arange(first, min(first + self.per_block, self.count)) * self.stride

    @cached_property
    def _contact_rows(self) -> list[int]:
        return [row for row, name in enumerate(self.recording.contacts) if name not in self.recording.bad]


def made_ahead(make: Callable[[int], Made], numbers: Iterable[int]) -> Iterator[Made]:
    """Yield make(number) for each number; a background thread makes the next while the last is in use."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        ahead: Future[Made] | None = None
        for number in numbers:
            made, ahead = ahead, thread.submit(make, number)
            if made is not None:
                yield made.result()
        if ahead is not None:
            yield ahead.result()
