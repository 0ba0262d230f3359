"""Keep account of the stretches of a recording that are not signal, and bridge those that would spread.

A stretch was missing, zero, held or clipped when it was read. Filters smear it over its surroundings, so each of them
widens the stretches by its reach. Signals are (contacts, samples) in microvolts, stretches (start, stop) in seconds.
Nothing here reads files.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from .recording import Recording

Stretches = tuple[tuple[float, float], ...]


def fill_gaps(recording: Recording) -> Recording:
    """Bridge NaN and infinite samples of good contacts by straight lines, and mark them as artefacts.

    A filter cannot run over a gap; a line across it makes the smallest step, and no clip that touches it is used.
    At the start and the end of the recording the nearest value is held. Bad contacts stay as they are.
    Returns the recording itself when nothing is missing. The history says how many seconds of which contact are filled.
    Raises ValueError when a good contact has no finite sample.
    """
    data, artefacts, filled_s = recording.data, dict(recording.artefacts), {}
    for row, name in enumerate(recording.contacts):
        missing = gaps_of(recording.data[row])
        if name in recording.bad or not missing.any():
            continue
        if missing.all():
            raise ValueError(
                f"Contact {name!r} has no finite sample to fill from; mark it first: "
                "mark_bad(recording, assess_quality(recording).bad)."
            )
        if data is recording.data:
            data = data.copy()
        data[row] = bridged(recording.data[row], missing)
        found = [(a / recording.sampling_rate, b / recording.sampling_rate) for a, b in runs(missing)]
        artefacts[name] = merged([*artefacts.get(name, ()), *found])
        filled_s[name] = float(missing.sum() / recording.sampling_rate)
    if not filled_s:
        return recording
    return recording.with_step("fill_gaps", {"method": "linear", "filled_s": filled_s}, data=data, artefacts=artefacts)


def gaps_of(signal: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return which samples of (samples,) are NaN or infinite."""
    # A sum is finite exactly when all values are (float64 cannot overflow here), and much cheaper than flags.
    if np.isfinite(signal.sum(dtype=np.float64)):
        return np.zeros(signal.shape, dtype=bool)
    return ~np.isfinite(signal)


def bridged(signal: NDArray[np.floating], missing: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return (samples,) with a straight line across each missing stretch; unchanged when all of it is missing."""
    values = signal.astype(np.float64)
    if missing.any() and not missing.all():
        values[missing] = np.interp(np.flatnonzero(missing), np.flatnonzero(~missing), values[~missing])
    return values


def widened(recording: Recording, *, before_s: float, after_s: float) -> dict[str, Stretches]:
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


def runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return (first, one past last) of each run of True in (samples,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
