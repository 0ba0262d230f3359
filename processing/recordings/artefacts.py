"""Keep account of the stretches of a recording that are not signal, and bridge those that would spread.

A stretch was missing, zero, held or clipped when it was read. Filters smear it over its surroundings, so each of them
widens the stretches by its reach. Signals are (contacts, samples) in microvolts, stretches (start, stop) in seconds.
Nothing here reads files.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .recording import Recording, RecordingHeader

Stretches = tuple[tuple[float, float], ...]


@dataclass(frozen=True, eq=False)
class Gaps:
    """Stretches of one contact to be bridged by straight lines, with the values that the lines join.

    start, stop: first sample of each and one past its last, in order, without overlap.
    before, after: value of the samples start - 1 and stop; NaN where the recording starts or ends there.
    """

    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    before: NDArray[np.float64]
    after: NDArray[np.float64]

    def touching(self, first: int, last: int) -> "Gaps":
        """Return those gaps that have a sample between first and last (exclusive)."""
        chosen = slice(int(np.searchsorted(self.stop, first, "right")), int(np.searchsorted(self.start, last, "left")))
        return Gaps(self.start[chosen], self.stop[chosen], self.before[chosen], self.after[chosen])


def fill_gaps(recording: Recording) -> Recording:
    """Bridge NaN and infinite samples of good contacts by straight lines, and mark them as artefacts.

    A filter cannot run over a gap; a line across it makes the smallest step, and no clip that touches it is used.
    At the start and the end of the recording the nearest value is held. Bad contacts stay as they are.
    Returns the recording itself when nothing is missing. The history says how many seconds of which contact are filled.
    Raises ValueError when a good contact has no finite sample.
    """
    gaps: dict[str, Gaps] = {}
    for name, row in zip(recording.contacts, recording.data, strict=True):
        missing = gaps_of(row)
        if name in recording.bad or not missing.any():
            continue
        if missing.all():
            raise ValueError(
                f"Contact {name!r} has no finite sample to fill from; mark it first: "
                "mark_bad(recording, assess_quality(recording).bad)."
            )
        gaps[name] = gaps_between(row, *run_edges(missing))
    if not gaps:
        return recording
    data = recording.data.copy()
    for name, of_contact in gaps.items():
        row = data[recording.contacts.index(name)]
        row[:] = bridged(row, of_contact)
    return with_gaps_filled(recording.header, gaps).with_data(data)


def with_gaps_filled(header: RecordingHeader, gaps: Mapping[str, Gaps]) -> RecordingHeader:
    """Return the header of a recording whose gaps, contact -> those it has, were filled."""
    rate = header.sampling_rate
    artefacts = dict(header.artefacts)
    for name, found in gaps.items():
        artefacts[name] = merged([*artefacts.get(name, ()), *in_seconds(found.start, found.stop, sampling_rate=rate)])
    filled_s = {name: float((found.stop - found.start).sum() / rate) for name, found in gaps.items()}
    return header.with_step("fill_gaps", {"method": "linear", "filled_s": filled_s}, artefacts=artefacts)


def gaps_of(signal: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return which samples of (samples,) are NaN or infinite."""
    # A sum is finite exactly when all values are (float64 cannot overflow here), and much cheaper than flags.
    if np.isfinite(signal.sum(dtype=np.float64)):
        return np.zeros(signal.shape, dtype=bool)
    return ~np.isfinite(signal)


def gaps_between(signal: NDArray[np.floating], start: NDArray[np.int64], stop: NDArray[np.int64]) -> Gaps:
    """Return these stretches of (samples,), in order and without overlap, with the values beside them."""
    before, after = np.full(len(start), np.nan), np.full(len(start), np.nan)
    inside = start > 0
    before[inside] = signal[start[inside] - 1]
    inside = stop < len(signal)
    after[inside] = signal[stop[inside]]
    return Gaps(start, stop, before, after)


def bridged(signal: NDArray[np.floating], gaps: Gaps, *, first: int = 0) -> NDArray[np.float64]:
    """Return (samples,) with a straight line across each gap; a gap without a value on either side stays as it is.

    first: the sample of the recording that `signal` starts with; the ends of a gap may lie outside.
    """
    values = signal.astype(np.float64)
    last = first + len(values)
    found = gaps.touching(first, last)
    knots = np.stack([found.start - 1, found.stop], axis=1).reshape(-1)
    heights = np.stack([found.before, found.after], axis=1).reshape(-1)
    known = np.isfinite(heights)
    if known.any():
        start, stop = np.maximum(found.start, first), np.minimum(found.stop, last)
        lengths = stop - start
        samples = np.arange(lengths.sum()) + np.repeat(start - (np.cumsum(lengths) - lengths), lengths)
        values[samples - first] = np.interp(samples, knots[known], heights[known])
    return values


def widened(recording: RecordingHeader, *, before_s: float, after_s: float) -> dict[str, Stretches]:
    """Return the artefacts of a recording with each stretch longer by the reach of a filter, within the recording.

    before_s, after_s: how far the filter carries a sample backward and forward, in seconds.
    """
    end = recording.duration_s
    return {
        name: merged((max(start - before_s, 0.0), min(stop + after_s, end)) for start, stop in stretches)
        for name, stretches in recording.artefacts.items()
    }


def merged(stretches: Iterable[tuple[float, float]]) -> Stretches:
    """Return stretches in order, those that overlap or touch as one."""
    joined: list[tuple[float, float]] = []
    for start, stop in sorted(stretches):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        else:
            joined.append((start, stop))
    return tuple(joined)


def marked_samples(stretches: Stretches, *, sampling_rate: float, num_samples: int) -> NDArray[np.bool_]:
    """Return which samples lie in the stretches, (samples,)."""
    marked = np.zeros(num_samples, dtype=bool)
    for start, stop in stretches:
        marked[round(start * sampling_rate) : round(stop * sampling_rate)] = True
    return marked


def marked_runs(
    stretches: Stretches, *, sampling_rate: float, num_samples: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first samples of the stretches and those one past their last; stretches that touch are one."""
    start = np.array([round(start * sampling_rate) for start, _ in stretches], dtype=np.int64)
    stop = np.minimum(np.array([round(stop * sampling_rate) for _, stop in stretches], dtype=np.int64), num_samples)
    return joined_runs(start[start < stop], stop[start < stop])


def joined_runs(start: NDArray[np.int64], stop: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return runs in order, those that overlap or touch as one."""
    if not len(start):
        return start, stop
    order = np.argsort(start, kind="stable")
    start, stop = start[order], np.maximum.accumulate(stop[order])
    opens = np.flatnonzero(start[1:] > stop[:-1]) + 1
    return start[np.concatenate([[0], opens])], stop[np.concatenate([opens - 1, [len(stop) - 1]])]


def run_edges(flags: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first samples of the runs of True in (samples,) and those one past their last."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return edges[::2], edges[1::2]


def in_seconds(start: NDArray[np.int64], stop: NDArray[np.int64], *, sampling_rate: float) -> Stretches:
    """Return runs of samples as stretches in seconds."""
    return tuple(zip((start / sampling_rate).tolist(), (stop / sampling_rate).tolist(), strict=True))
