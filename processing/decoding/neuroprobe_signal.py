"""The voltage of Neuroprobe's contacts: a choice of contacts, with or without a notch and the leaderboard's Laplacian.

Signals are (contacts, samples) in microvolts. Nothing is dropped here: contacts that are chosen are contacts that are
decoded, whatever a quality check would say, because every entry has the same ones.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..recordings import RecordingStream, neighbours
from ..recordings.filters import LineFilter, plan_line_filter

LINE_HZ = 60.0  # Brain Treebank was recorded in Boston


def choose_contacts(
    recording: RecordingStream, contacts: Sequence[str], *, notch: bool = False, laplacian: bool = False
) -> RecordingStream:
    """Return a stream of these contacts only, in this order.

    notch: remove 60 Hz and its harmonics to 360 Hz with the paper's causal notches, before the Laplacian.
    laplacian: as the leaderboard's examples mean it: take off each contact the mean of those of its two neighbours on
        the shaft that are among `contacts`; one is enough, and a contact without any stays as it is.
    Raises ValueError for a contact that the recording does not have, or that is bad.
    """
    if missing := [name for name in contacts if name not in recording.good]:
        why = recording.bad.get(missing[0], "not there")
        raise ValueError(f"Contact {missing[0]} of {recording.id} cannot be decoded ({why}): choose other contacts.")
    rows = [recording.contacts.index(name) for name in contacts]
    line_filter = plan_line_filter(recording.header, LINE_HZ) if notch else None
    beside = _places_beside(contacts) if laplacian else None

    def read(start: int, stop: int) -> NDArray[np.float32]:
        voltage = _filtered(recording, rows, line_filter, start, stop)
        return voltage if beside is None else _laplacian(voltage, beside)

    header = recording if line_filter is None else line_filter.header
    header = header.with_step(
        "choose_contacts",
        {"laplacian": "neighbours among these contacts" if laplacian else None},
        contacts=tuple(contacts),
        types=tuple(recording.types[row] for row in rows),
        positions=None if recording.positions is None else recording.positions[rows],
        bad={},
        artefacts={},  # windows are not left out for what is in them
    )
    return header.with_source(read)


def alone(contacts: Sequence[str]) -> list[str]:
    """Return the contacts that have no neighbour among these, which a Laplacian leaves as they are."""
    return [name for name, beside in zip(contacts, _places_beside(contacts), strict=True) if not beside]


def _places_beside(contacts: Sequence[str]) -> list[list[int]]:
    places = {name: place for place, name in enumerate(contacts)}
    found = neighbours(contacts)
    return [[places[other] for other in found[name] if other is not None] for name in contacts]


def _laplacian(voltage: NDArray[np.float32], beside: Sequence[Sequence[int]]) -> NDArray[np.float32]:
    result = voltage.copy()
    for row, others in enumerate(beside):
        if others:
            result[row] -= voltage[list(others)].mean(axis=0)
    return result


def _filtered(
    recording: RecordingStream, rows: list[int], line_filter: LineFilter | None, start: int, stop: int
) -> NDArray[np.float32]:
    if line_filter is None:
        return recording.read(start, stop)[rows]
    first = max(start - math.ceil(line_filter.before), 0)
    last = min(stop + math.ceil(line_filter.after), recording.num_samples)
    voltage = recording.read(first, last)[rows]
    result = np.empty((len(rows), stop - start), dtype=np.float32)
    for row, signal in enumerate(voltage):  # one at a time, so that float64 costs one row
        finite = np.isfinite(signal.sum(dtype=np.float64))
        filtered = line_filter.apply(signal.astype(np.float64)) if finite else signal
        result[row] = filtered[start - first : stop - first]
    return result
