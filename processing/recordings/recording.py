"""What every step takes and returns: an intracranial recording with its contacts and its history.

The samples are in memory (`Recording`) or stay where they are until they are read (`RecordingStream`); everything else
about a recording is its `RecordingHeader`. Signals are (contacts, samples) in microvolts, rates in hertz, positions in
millimetres. Nothing here opens files.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

CONTACT_TYPES = ("seeg", "ecog", "dbs")
_BLOCK_VALUES = 2**22  # 16 MiB of float32 at a time


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordingHeader:
    """Everything about an intracranial recording but its samples; each step returns a new one.

    `positions` is a read-only view of the array given, which is not copied; do not change it.

    num_samples: of each contact.
    sampling_rate: Hz, a float: 399.61 exists.
    contacts: cleaned names, unique. types: "seeg", "ecog" or "dbs", one for each contact.
    bad: contact name -> reason, for some of the contacts. Bad contacts stay in the signal until a reference drops them.
    positions: (contacts, 3) in millimetres, NaN where unknown. coordinate_frame: as the file names it, never guessed.
    band_hz: lower and upper edge of the pass band, Hz, estimated from the signal and bounded by the header.
    history: one JSON-able mapping a step, with the key "step" and its parameters; never a path.
    id, subject, session: pseudonyms, unless the reader was told otherwise.
    artefacts: contact name -> (start, stop) stretches in seconds that were missing, zero, held or clipped when read,
        each widened by the reach of the filters since. In seconds, because after a filter or a resampler they can no
        longer be seen in the samples.
    Raises ValueError when the parts contradict each other.
    """

    num_samples: int
    sampling_rate: float
    contacts: tuple[str, ...]
    types: tuple[str, ...]
    bad: Mapping[str, str] = field(default_factory=dict)
    positions: NDArray[np.float64] | None = None
    coordinate_frame: str | None = None
    band_hz: tuple[float, float] | None = None
    history: tuple[Mapping[str, object], ...] = ()
    id: str
    subject: str
    session: str = ""
    artefacts: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, values in (("contacts", self.contacts), ("types", self.types)):
            if isinstance(values, str):
                raise ValueError(f"{name} is one string; give a sequence with one entry for each contact.")
        if not self.contacts or self.num_samples < 1:
            raise ValueError(
                f"The recording has {len(self.contacts)} contacts and {self.num_samples} samples; it needs one of each."
            )
        if not np.isfinite(self.sampling_rate) or self.sampling_rate <= 0:
            raise ValueError(f"sampling_rate is {self.sampling_rate}; give a positive number of hertz.")
        if len(self.types) != len(self.contacts):
            raise ValueError(
                f"types has {len(self.types)} entries for {len(self.contacts)} contacts; give one for each contact."
            )
        repeated = sorted({name for name in self.contacts if self.contacts.count(name) > 1})
        if repeated:
            raise ValueError(f"Contact names {repeated} occur more than once; give each contact a name of its own.")
        unknown_types = sorted(set(self.types) - set(CONTACT_TYPES))
        if unknown_types:
            raise ValueError(f"Contact types {unknown_types} are not brain contacts; use 'seeg', 'ecog' or 'dbs'.")
        for name, names in (("bad", self.bad), ("artefacts", self.artefacts)):
            strangers = sorted(set(names) - set(self.contacts))
            if strangers:
                raise ValueError(f"{name} names {strangers}, which are not contacts of this recording; remove them.")
        if self.positions is not None and self.positions.shape != (len(self.contacts), 3):
            raise ValueError(
                f"positions are {self.positions.shape}; give ({len(self.contacts)}, 3) in millimetres, or None."
            )
        if self.band_hz is not None and not 0 <= self.band_hz[0] < self.band_hz[1]:
            raise ValueError(f"band_hz is {self.band_hz}; give (lower, upper) in hertz with 0 <= lower < upper.")
        for entry in self.history:
            if "step" not in entry:
                raise ValueError(f"A history entry has no 'step': {dict(entry)}; name the step that was taken.")
        try:
            json.dumps([dict(entry) for entry in self.history], allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"history cannot be written as JSON ({error}); use plain numbers, text and lists."
            ) from None
        # Lists become tuples, mappings copies, and arrays read-only views: copies of signals would cost too much.
        object.__setattr__(self, "positions", None if self.positions is None else _read_only(self.positions))
        object.__setattr__(self, "sampling_rate", float(self.sampling_rate))
        object.__setattr__(self, "contacts", tuple(self.contacts))
        object.__setattr__(self, "types", tuple(self.types))
        object.__setattr__(self, "bad", dict(self.bad))
        object.__setattr__(self, "artefacts", dict(self.artefacts))
        object.__setattr__(self, "history", tuple(dict(entry) for entry in self.history))

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.id}: {len(self.contacts)} contacts, {len(self.bad)} of them bad, "
            f"{self.duration_s:.1f} s at {self.sampling_rate:g} Hz, "
            f"steps: {', '.join(str(entry['step']) for entry in self.history) or 'none'})"
        )

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.num_samples / self.sampling_rate

    @property
    def good(self) -> tuple[str, ...]:
        """Names of the contacts that are not bad, in order."""
        return tuple(name for name in self.contacts if name not in self.bad)

    @property
    def header(self) -> "RecordingHeader":
        """The same without the samples."""
        return RecordingHeader(**{entry.name: getattr(self, entry.name) for entry in fields(RecordingHeader)})

    def with_step(self, step: str, parameters: Mapping[str, object], **changes: Any) -> Self:
        """Return this recording with some fields replaced and the step at the end of its history.

        step, parameters: what goes into the history. changes: fields with their new values.
        """
        return replace(self, history=(*self.history, {"step": step, **parameters}), **changes)

    def with_data(self, data: NDArray[np.float32]) -> "Recording":
        """Return a recording of these samples, (contacts, samples) in µV, with this header."""
        return Recording(data=data, **_without_length(self))

    def with_source(self, source: Callable[[int, int], NDArray[np.float32]]) -> "RecordingStream":
        """Return a stream of the samples that `source` reads, with this header."""
        return RecordingStream(source=source, num_samples=self.num_samples, **_without_length(self))

    def _refuse_stretch_outside(self, start: int, stop: int) -> None:
        if not 0 <= start < stop <= self.num_samples:
            raise ValueError(
                f"Samples {start} to {stop} are asked for and the recording has {self.num_samples}; "
                f"give 0 <= start < stop <= {self.num_samples}."
            )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Recording(RecordingHeader):
    """An intracranial recording in memory, in microvolts; each step returns a new one and leaves the old one as it was.

    `data` and `positions` are read-only views of the arrays given, which are not copied: nobody can write through the
    recording, but who keeps the writable array can still change it under the recording; do not.

    data: (contacts, samples), float32, µV. The other fields are those of `RecordingHeader`; num_samples follows.
    Raises ValueError when the parts contradict each other.
    """

    data: NDArray[np.float32]
    num_samples: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        data = self.data
        if not isinstance(data, np.ndarray) or data.ndim != 2 or 0 in data.shape:
            shape = getattr(data, "shape", type(data).__name__)
            raise ValueError(f"data is {shape}; give a non-empty NumPy array of shape (contacts, samples).")
        if data.dtype != np.float32:
            raise ValueError(f"data is {data.dtype}; a recording is float32 in microvolts: use data.astype('float32').")
        for name, values in (("contacts", self.contacts), ("types", self.types)):
            if not isinstance(values, str) and len(values) != len(data):
                raise ValueError(
                    f"{name} has {len(values)} entries for {len(data)} rows of data; give one for each row."
                )
        object.__setattr__(self, "num_samples", int(data.shape[1]))
        super().__post_init__()
        object.__setattr__(self, "data", _read_only(data))

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return samples start to stop (exclusive) of all contacts, (contacts, samples) in µV; a read-only view.

        Raises ValueError for a stretch that is empty or not inside the recording.
        """
        self._refuse_stretch_outside(start, stop)
        return self.data[:, start:stop]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class RecordingStream(RecordingHeader):
    """An intracranial recording whose samples stay where they are, mostly in a file, until a stretch of them is read.

    source: called with (start, stop) in samples, returns (contacts, samples) float32 in µV. The same stretch always has
        the same values, in whatever order stretches are read.
    The other fields are those of `RecordingHeader`.
    """

    source: Callable[[int, int], NDArray[np.float32]]

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return samples start to stop (exclusive) of all contacts, (contacts, samples) in µV.

        Raises ValueError for a stretch that is empty or not inside the recording, and what the file raises.
        """
        self._refuse_stretch_outside(start, stop)
        return self.source(start, stop)

    def load(self) -> Recording:
        """Return the recording with all its samples in memory, read in blocks."""
        data = np.empty((len(self.contacts), self.num_samples), dtype=np.float32)
        for start, stop in blocks(self):
            data[:, start:stop] = self.read(start, stop)
        return self.with_data(data)


AnyRecording = Recording | RecordingStream
_Header = TypeVar("_Header", bound=RecordingHeader)


def blocks(recording: RecordingHeader) -> list[tuple[int, int]]:
    """Return (start, stop) in samples of the blocks in which a recording is gone through, 16 MiB of float32 each."""
    block = max(1, _BLOCK_VALUES // len(recording.contacts))
    return [(start, min(start + block, recording.num_samples)) for start in range(0, recording.num_samples, block)]


def _without_length(header: RecordingHeader) -> dict[str, Any]:
    return {entry.name: getattr(header, entry.name) for entry in fields(RecordingHeader) if entry.name != "num_samples"}


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view


def mark_bad(
    recording: _Header, contacts: Mapping[str, str] | Iterable[str], *, reason: str = "marked by the user"
) -> _Header:
    """Mark contacts as bad: no reference uses them, and they are dropped when one is made.

    contacts: names, or a mapping of name -> reason. reason: for names that come without one.
    Contacts that were bad already keep their first reason.
    Raises ValueError for a name that the recording does not have.
    """
    if isinstance(contacts, str):
        raise ValueError(f"contacts is the text {contacts!r}; give a list of names or a mapping of name to reason.")
    reasons = dict(contacts) if isinstance(contacts, Mapping) else dict.fromkeys(contacts, reason)
    unknown = sorted(set(reasons) - set(recording.contacts))
    if unknown:
        raise ValueError(f"No contacts are called {unknown}; the recording has {', '.join(recording.contacts)}.")
    added = {name: text for name, text in reasons.items() if name not in recording.bad}
    return recording.with_step("mark_bad", {"contacts": added}, bad={**recording.bad, **added})


def left_out(recording: RecordingHeader) -> dict[str, str]:
    """Return contact -> reason for all contacts that do not count: dropped by a step, or bad and still in the data.

    Every step that drops contacts has "dropped": {name: reason} in its history entry. The first reason of a name wins.
    """
    reasons: dict[str, str] = {}
    for entry in recording.history:
        dropped = entry.get("dropped", {})
        if isinstance(dropped, Mapping):
            reasons |= {name: reason for name, reason in dropped.items() if name not in reasons}
    return reasons | {name: reason for name, reason in recording.bad.items() if name not in reasons}


def require_finite(recording: Recording, *, step: str) -> None:
    """Refuse NaN and infinity in good contacts: a filter or a mean would spread them over everything after.

    Raises ValueError that names the contacts.
    """
    # One row at a time: a sum over the row is NaN or infinite exactly when a value is (float64 cannot overflow here).
    broken = [
        name
        for name, row in zip(recording.contacts, recording.data, strict=True)
        if name not in recording.bad and not np.isfinite(row.sum(dtype=np.float64))
    ]
    if broken:
        raise ValueError(
            f"Contacts {broken} hold NaN or infinite samples, which {step} would spread; "
            "mark or fill them first: mark_bad(recording, assess_quality(recording).bad), then fill_gaps(recording)."
        )
