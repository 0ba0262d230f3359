"""The voltage of labelled windows, read a block at a time, and which contacts they are of.

Contacts of several recordings may be *pooled*: every (window, contact) then counts as a window of one contact, so that
recordings with different contacts can be decoded together.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..recordings import Recording, RecordingStream
from .epochs import Epochs
from .hashes import sha256
from .windows import BLOCK_S

Contacts = Sequence[str] | Mapping[str, Sequence[str]]
AnyRecording = Recording | RecordingStream

POOLED = "all contacts"  # what the one contact of pooled features is called
BLOCK_ROWS = 2048  # windows × contacts in a block, at most: 44 MiB of embeddings of seven layers of 768
BLOCK_VALUES = 2**24  # samples of voltage in a block, about: 64 MiB
# Windows this far apart are read one by one: conditioning starts 7.6 s before each stretch that is read.
GAP_S = 10.0
RATE_TOLERANCE = 1e-4  # relative, as the feature extractor has it


def contacts_of(recordings: Sequence[AnyRecording], *, pool: bool = False) -> Contacts:
    """Return the contacts to decode: names that are good in all recordings, in the order of the first.

    pool: instead recording id → its good contacts, whatever they are called elsewhere. Features of these contacts are
        (1, windows × contacts, features), and `pool_epochs` says what window each of them is.
    Raises ValueError when there is none.
    """
    if pool:
        every = {recording.id: recording.good for recording in recordings}
        if not any(every.values()):
            raise ValueError("No recording has a good contact: left_out(recording) says what is wrong with each.")
        return every
    shared = tuple(name for name in recordings[0].good if all(name in recording.good for recording in recordings[1:]))
    if not shared:
        raise ValueError(
            f"No contact is good in each of the {len(recordings)} recordings: pool the contacts, or decode the "
            "recordings one by one."
        )
    return shared


def pool_epochs(epochs: Epochs, contacts: Contacts) -> Epochs:
    """Return the epochs that features of these contacts have: pooled, each window stands once for every contact.

    contacts: of `contacts_of`. Rows of pooled epochs are in the order (window, contact); epochs of contacts that are
    not pooled are returned as they are. Features are computed from the epochs that were *not* pooled.
    """
    if not isinstance(contacts, Mapping):
        return epochs
    counts = np.array([len(contacts.get(name, ())) for name in epochs.recordings], dtype=np.int64)
    return epochs.take(np.repeat(np.arange(len(epochs)), counts[epochs.recording]))


def contact_names(contacts: Contacts) -> tuple[str, ...]:
    """Return the names of the contacts that features have: of pooled ones, one that stands for all."""
    return (POOLED,) if isinstance(contacts, Mapping) else tuple(contacts)


class Signals:
    """The voltage of some contacts in labelled windows, in blocks that are the same in every run.

    A row is a (window, contact); rows are in this order. An electrode is a (recording, contact): `electrode` (rows,)
    numbers them, recording by recording. blocks: (first, last) window of each, last exclusive.
    Raises ValueError for recordings, contacts or a rate that do not fit the windows, and windows out of order.
    """

    def __init__(self, recordings: Sequence[AnyRecording], epochs: Epochs, contacts: Contacts) -> None:
        by_id = {recording.id: recording for recording in recordings}
        if len(by_id) < len(recordings):
            raise ValueError(f"The {len(recordings)} recordings have {len(by_id)} ids: give each recording once.")
        if missing := [name for name in epochs.recordings if name not in by_id]:
            raise ValueError(f"There are windows of recording {missing[0]} and it was not given: give all recordings.")
        self.recordings = [by_id[name] for name in epochs.recordings]
        self.epochs, self.pooled = epochs, isinstance(contacts, Mapping)
        self.contacts = [
            tuple(contacts.get(name, ())) if isinstance(contacts, Mapping) else tuple(contacts)
            for name in epochs.recordings
        ]
        for recording, names in zip(self.recordings, self.contacts, strict=True):
            if unknown := sorted(set(names) - set(recording.good)):
                raise ValueError(
                    f"Recording {recording.id} has no good contact {unknown[0]}: choose contacts with contacts_of."
                )
            if abs(recording.sampling_rate - epochs.sampling_rate) > RATE_TOLERANCE * epochs.sampling_rate:
                raise ValueError(
                    f"Recording {recording.id} is sampled at {recording.sampling_rate:g} Hz and its windows were made "
                    f"for {epochs.sampling_rate:g} Hz: make them from the conditioned recording."
                )
        # Each stretch is read from its first window's start to its last one's end.
        if (np.diff(epochs.recording) < 0).any() or (np.diff(epochs.start)[np.diff(epochs.recording) == 0] < 0).any():
            raise ValueError("The windows are not sorted by recording and start: sort the rows given to Epochs.take.")
        counts = np.array([len(names) for names in self.contacts], dtype=np.int64)
        if not counts[epochs.recording].any():
            raise ValueError("There is no window of any contact: give contacts, and windows.")
        self.first_row = np.concatenate([[0], np.cumsum(counts[epochs.recording])])
        self.first_electrode = np.concatenate([[0], np.cumsum(counts)])
        self.window = np.repeat(np.arange(len(epochs)), counts[epochs.recording])
        self.contact = np.arange(len(self.window)) - self.first_row[self.window]
        self.electrode = self.first_electrode[epochs.recording[self.window]] + self.contact
        self.blocks = list(_blocks(self._stretches(), counts[epochs.recording], epochs))

    @property
    def shape(self) -> tuple[int, int]:
        """(contacts, windows) of features; pooled, (1, rows)."""
        return (1, len(self.window)) if self.pooled else (len(self.contacts[0]), len(self.epochs))

    def by_contact(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return values (parts, contacts, windows, …) of values (rows of whole windows, parts, …)."""
        rows = values[:, None] if self.pooled else values.reshape(-1, self.shape[0], *values.shape[1:])
        return np.moveaxis(rows, (0, 1), (2, 1))

    def by_row(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return values (rows, …) of values (contacts, windows, …)."""
        return np.swapaxes(values, 0, 1).reshape(-1, *values.shape[2:])

    def read(self, number: int) -> "VoltageBlock":
        """Read block `number`, each stretch of windows that are close to each other at once."""
        first, last = self.blocks[number]
        voltage: list[NDArray[np.float32]] = []
        place = np.empty(last - first, dtype=np.int64)
        offset = np.empty(last - first, dtype=np.int64)
        for begin, end in self._stretches(first, last):
            recording = self.recordings[self.epochs.recording[begin]]
            start = int(self.epochs.start[begin])
            signal = recording.read(start, int(self.epochs.start[end - 1]) + self.epochs.length)
            names = self.contacts[self.epochs.recording[begin]]
            voltage.append(signal[[recording.contacts.index(name) for name in names]])
            place[begin - first : end - first] = len(voltage) - 1
            offset[begin - first : end - first] = self.epochs.start[begin:end] - start
        return VoltageBlock(
            number=number,
            rows=np.arange(self.first_row[first], self.first_row[last]),
            first=first,
            voltage=voltage,
            place=place,
            offset=offset,
        )

    def windows(self, block: "VoltageBlock", rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the voltage of some rows of a block, (rows, samples) in µV."""
        window = self.window[rows] - block.first
        return np.stack(
            [
                block.voltage[place][contact, offset : offset + self.epochs.length]
                for place, offset, contact in zip(
                    block.place[window], block.offset[window], self.contact[rows], strict=True
                )
            ]
        )

    @cached_property
    def about(self) -> dict[str, Any]:
        """What features of these signals depend on, JSON-able. A recording's id and its first window stand for it."""
        epochs = self.epochs
        used, first = np.unique(epochs.recording, return_index=True)
        voltage = {}
        for index, window in zip(used.tolist(), first.tolist(), strict=True):
            start = int(epochs.start[window])
            signal = self.recordings[index].read(start, start + epochs.length)
            voltage[index] = hashlib.sha256(signal.tobytes()).hexdigest()
        return {
            "recordings": [
                {
                    "id": recording.id,
                    "samples": recording.num_samples,
                    "sampling_rate": recording.sampling_rate,
                    "header_sha256": sha256([recording.contacts, recording.history, recording.artefacts]),
                    "voltage_sha256": voltage.get(index),
                    "contacts": names,
                }
                for index, (recording, names) in enumerate(zip(self.recordings, self.contacts, strict=True))
            ],
            "pooled": self.pooled,
            "length": epochs.length,
            "windows": len(epochs),
            "windows_sha256": sha256([epochs.recording.tolist(), epochs.start.tolist()]),
        }

    def _stretches(self, first: int = 0, last: int | None = None) -> Iterator[tuple[int, int]]:
        """Yield (first, last) window of stretches that are read at once."""
        epochs, begin = self.epochs, first
        last = len(epochs) if last is None else last
        for window in range(first + 1, last + 1):
            if window < last and epochs.recording[window] == epochs.recording[begin]:
                span = epochs.start[window] + epochs.length - epochs.start[begin]
                gap = epochs.start[window] - epochs.start[window - 1] - epochs.length
                rows = self.first_row[window + 1] - self.first_row[begin]
                if max(span / BLOCK_S, gap / GAP_S) <= epochs.sampling_rate and rows <= BLOCK_ROWS:
                    continue
            yield begin, window
            begin = window


@dataclass(frozen=True, kw_only=True, eq=False)
class VoltageBlock:
    """Consecutive windows from `first` on; see Signals.windows.

    rows: of all contacts in these windows. voltage: (contacts, samples) of each stretch, µV. place, offset: (windows,),
    the stretch that holds a window, and the sample of it where the window begins.
    """

    number: int
    rows: NDArray[np.int64]
    first: int
    voltage: list[NDArray[np.float32]]
    place: NDArray[np.int64]
    offset: NDArray[np.int64]


def _blocks(
    stretches: Iterator[tuple[int, int]], counts: NDArray[np.int64], epochs: Epochs
) -> Iterator[tuple[int, int]]:
    """Yield (first, last) window of blocks: stretches together, as many as fit. counts: contacts of each window."""
    begin = end = rows = values = 0
    for first, last in stretches:
        more = int(counts[first:last].sum())
        read = int(epochs.start[last - 1] + epochs.length - epochs.start[first]) * int(counts[first])
        if end > begin and (rows + more > BLOCK_ROWS or values + read > BLOCK_VALUES):
            yield begin, end
            begin, rows, values = end, 0, 0
        end, rows, values = last, rows + more, values + read
    yield begin, end
