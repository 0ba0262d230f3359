"""What every step takes and returns: an intracranial recording with its contacts and its history.

Signals are (contacts, samples) in microvolts, rates in hertz, positions in millimetres. Nothing here reads files.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

CONTACT_TYPES = ("seeg", "ecog", "dbs")


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """An intracranial recording in microvolts; each step returns a new one and leaves the old one as it was.

    `data` and `positions` are read-only views of the arrays given, which are not copied: nobody can write through the
    recording, but who keeps the writable array can still change it under the recording; do not.

    data: (contacts, samples), float32, µV.
    sampling_rate: Hz, a float: 399.61 exists.
    contacts: cleaned names, unique. types: "seeg", "ecog" or "dbs", one for each contact.
    bad: contact name -> reason, for some of the contacts. Bad contacts stay in `data` until a reference drops them.
    positions: (contacts, 3) in millimetres, NaN where unknown. coordinate_frame: as the file names it, never guessed.
    band_hz: lower and upper edge of the pass band, Hz, estimated from the signal and bounded by the header.
    history: one JSON-able mapping a step, with the key "step" and its parameters; never a path.
    id, subject, session: pseudonyms, unless the reader was told otherwise.
    artefacts: contact name -> (start, stop) stretches in seconds that were missing, zero, held or clipped when read,
        each widened by the reach of the filters since. In seconds, because after a filter or a resampler they can no
        longer be seen in the samples.
    Raises ValueError when the parts contradict each other.
    """

    data: NDArray[np.float32]
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
        data = self.data
        if not isinstance(data, np.ndarray) or data.ndim != 2 or 0 in data.shape:
            shape = getattr(data, "shape", type(data).__name__)
            raise ValueError(f"data is {shape}; give a non-empty NumPy array of shape (contacts, samples).")
        if data.dtype != np.float32:
            raise ValueError(f"data is {data.dtype}; a recording is float32 in microvolts: use data.astype('float32').")
        if not np.isfinite(self.sampling_rate) or self.sampling_rate <= 0:
            raise ValueError(f"sampling_rate is {self.sampling_rate}; give a positive number of hertz.")
        for name, values in (("contacts", self.contacts), ("types", self.types)):
            if isinstance(values, str):
                raise ValueError(f"{name} is one string; give a sequence with one entry for each contact.")
            if len(values) != len(data):
                raise ValueError(
                    f"{name} has {len(values)} entries for {len(data)} rows of data; give one for each row."
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
        if self.positions is not None and self.positions.shape != (len(data), 3):
            raise ValueError(f"positions are {self.positions.shape}; give ({len(data)}, 3) in millimetres, or None.")
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
        object.__setattr__(self, "data", _read_only(data))
        object.__setattr__(self, "positions", None if self.positions is None else _read_only(self.positions))
        object.__setattr__(self, "sampling_rate", float(self.sampling_rate))
        object.__setattr__(self, "contacts", tuple(self.contacts))
        object.__setattr__(self, "types", tuple(self.types))
        object.__setattr__(self, "bad", dict(self.bad))
        object.__setattr__(self, "artefacts", dict(self.artefacts))
        object.__setattr__(self, "history", tuple(dict(entry) for entry in self.history))

    def __repr__(self) -> str:
        return (
            f"Recording({self.id}: {len(self.contacts)} contacts, {len(self.bad)} of them bad, "
            f"{self.duration_s:.1f} s at {self.sampling_rate:g} Hz, "
            f"steps: {', '.join(str(entry['step']) for entry in self.history) or 'none'})"
        )

    @property
    def num_samples(self) -> int:
        """Samples of each contact."""
        return int(self.data.shape[1])

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.num_samples / self.sampling_rate

    @property
    def good(self) -> tuple[str, ...]:
        """Names of the contacts that are not bad, in order."""
        return tuple(name for name in self.contacts if name not in self.bad)

    def with_step(self, step: str, parameters: Mapping[str, object], **changes: Any) -> "Recording":
        """Return this recording with some fields replaced and the step at the end of its history.

        step, parameters: what goes into the history. changes: fields of Recording with their new values.
        """
        return replace(self, history=(*self.history, {"step": step, **parameters}), **changes)


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view


def mark_bad(
    recording: Recording, contacts: Mapping[str, str] | Iterable[str], *, reason: str = "marked by the user"
) -> Recording:
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


def left_out(recording: Recording) -> dict[str, str]:
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
