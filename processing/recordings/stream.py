"""Condition a recording of any length stretch by stretch, with what `condition` makes of the whole.

One pass over the signal finds what has to be known of all of it: bad contacts, artefacts, pass band, the values on both
sides of each gap. After that any stretch can be had, alone and in any order: it is computed from the samples that it
depends on, which are those of the stretch and what the filters reach around it.
"""

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from .artefacts import Gaps, bridged, gaps_between, with_gaps_filled
from .condition import plan_reference_called, refuse_request, with_quality
from .filters import LineFilter, plan_line_filter
from .grids import Grids
from .quality import inspect_contacts, quality_report
from .recording import AnyRecording, RecordingStream
from .reference import Reference
from .resample import Resampling, plan_resampling

_THREADS = min(4, os.cpu_count() or 1)
_REMEMBERED_VALUES = 2**14  # at ends of artefacts; a night with one a second has 2**15 stretches
_Part = TypeVar("_Part")


def condition_stream(
    recording: AnyRecording,
    *,
    line_frequency_hz: float | None,
    reference: Literal["laplacian", "bipolar", "common-average", "none"] = "laplacian",
    ends: Literal["drop", "one-sided"] = "drop",
    grids: Grids | None = None,
    edges: Literal["all", "interior"] = "all",
    notch: Literal["causal-notch", "zero-phase-fir"] = "causal-notch",
    sampling_rate: float = 2048.0,
    progress: bool = True,
) -> RecordingStream:
    """Return what `condition` does as a stream, in memory that does not grow with the recording.

    recording: of `open_recording`, or in memory. The other arguments are those of `condition`.
    progress: show how far the pass over the signal is, which comes first and takes as long as reading the file.
    `.read(start, stop)` of the result conditions that stretch: contacts, artefacts, history and samples are those of
    `condition(read_recording(...))`, samples up to the rounding of floats. The causal notches start 40 time constants
    before the stretch (7.6 s at 50 Hz), after which nothing is left of where they started. A stretch depends on its
    start and stop only: it has the same bits whatever was read before, in another process, on another day.
    It can be called from several threads.
    Warns as `assess_quality` does, and of amplitudes that suggest a wrong unit.
    Raises what `condition` raises.
    """
    refuse_request(recording, reference=reference, grids=grids, edges=edges)
    # What the header alone refuses is refused now, not after hours of signal.
    if line_frequency_hz is not None:
        plan_line_filter(recording.header, line_frequency_hz, method=notch)
    plan_resampling(recording.header, sampling_rate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said below
        plan_reference_called(reference, recording.header, ends=ends, grids=grids, edges=edges)

    inspections = inspect_contacts(recording, progress=progress)
    report = quality_report(recording, inspections, stacklevel=3)
    header = with_quality(recording.header, report)
    gaps = {name: inspections[name].gaps for name in header.good if len(inspections[name].gaps.start)}
    if gaps:
        header = with_gaps_filled(header, gaps)
    line_filter = None
    if line_frequency_hz is None:
        header = header.with_step("remove_line_noise", {"method": "none"})
    else:
        line_filter = plan_line_filter(header, line_frequency_hz, method=notch)
        header = line_filter.header
    plan = plan_reference_called(reference, header, ends=ends, grids=grids, edges=edges)
    header = header if plan is None else plan.header
    resampling = plan_resampling(header, sampling_rate)
    rows = {name: row for row, name in enumerate(recording.contacts)}
    samples = _ConditionedSamples(
        recording,
        gaps={rows[name]: found for name, found in gaps.items()},
        # Bad contacts with gaps: no filter runs over them.
        broken={rows[name] for name in report.bad if len(inspections[name].gaps.start)},
        line_filter=line_filter,
        reference=plan,
        resampling=resampling,
    )
    return resampling.header.with_source(samples)


class _ConditionedSamples:
    """Read stretches of a recording through gap filling, line filter, reference and resampler."""

    def __init__(
        self,
        recording: AnyRecording,
        *,
        gaps: Mapping[int, Gaps],
        broken: set[int],
        line_filter: LineFilter | None,
        reference: Reference | None,
        resampling: Resampling,
    ) -> None:
        self._recording, self._gaps, self._broken = recording, gaps, broken
        self._line_filter, self._reference, self._resampling = line_filter, reference, resampling
        self._end_value = lru_cache(maxsize=_REMEMBERED_VALUES)(self._value_at)
        self._last = recording.num_samples - 1
        self._ends = None
        if resampling.fraction != 1:
            self._ends = self._referenced(0, 1)[:, 0], self._referenced(self._last, self._last + 1)[:, 0]

    def __call__(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return samples start to stop of the conditioned recording, (contacts, samples)."""
        if self._ends is None:
            return self._referenced(start, stop)
        signal = self._referenced(*self._resampling.needed(start, stop))
        result = np.full((len(signal), stop - start), np.nan, dtype=np.float32)
        finite = [row for row in range(len(signal)) if self._reference is not None or row not in self._broken]

        def run(rows: Sequence[int]) -> None:
            ends = [samples[rows] for samples in self._ends or ()]
            result[rows] = self._resampling.apply(signal[rows], start, stop, ends=ends)

        # A few contacts together: they share the taps.
        _for_each(run, [finite[share::_THREADS] for share in range(min(_THREADS, len(finite)))])
        return result

    def _referenced(self, start: int, stop: int) -> NDArray[np.float32]:
        if self._reference is None:
            return self._filtered(range(len(self._recording.contacts)), start, stop)
        data = self._filtered(self._reference.rows, start, stop)
        gaps = {row: self._marked(row, data[row], start, stop) for row in self._reference.marked}
        return self._reference.apply(data, first=start, gaps=gaps)

    def _marked(self, row: int, filtered: NDArray[np.float32], first: int, last: int) -> Gaps:
        """Return the artefacts of a contact that touch a stretch, with the filtered values at their ends."""
        assert self._reference is not None
        starts, stops = self._reference.marked[row]
        nowhere = np.full(len(starts), np.nan)
        found = Gaps(starts, stops, nowhere, nowhere).touching(first, last)
        inside = gaps_between(filtered, found.start - first, found.stop - first)
        for values, samples in ((inside.before, found.start - 1), (inside.after, found.stop)):
            for place, sample in enumerate(samples.tolist()):
                if not first <= sample < last:
                    values[place] = self._end_value(row, sample) if 0 <= sample <= self._last else np.nan
        return Gaps(found.start, found.stop, inside.before, inside.after)

    def _value_at(self, row: int, sample: int) -> float:
        return float(self._filtered([row], sample, sample + 1)[row, 0])

    def _filtered(self, rows: Iterable[int], start: int, stop: int) -> NDArray[np.float32]:
        """Return a stretch with gaps filled and line noise removed in these rows, and anything in the others."""
        before, after = (self._line_filter.before, self._line_filter.after) if self._line_filter else (0, 0)
        first, last = max(start - before, 0), min(stop + after, self._last + 1)
        data = self._recording.read(first, last)
        result = np.empty((len(data), stop - start), dtype=np.float32)

        def run(row: int) -> None:
            signal: NDArray[np.floating] = data[row]
            if row in self._gaps:
                signal = bridged(signal, self._gaps[row], first=first).astype(np.float32)
            if self._line_filter is not None and row not in self._broken:
                signal = self._line_filter.apply(signal.astype(np.float64))
            result[row] = signal[start - first : stop - first]

        _for_each(run, rows)
        return result


def _for_each(run: Callable[[_Part], None], parts: Iterable[_Part]) -> None:
    """Run a function for each part, in a few threads: SciPy's filters let go of the interpreter."""
    with ThreadPoolExecutor(_THREADS) as threads:
        for _ in threads.map(run, parts):
            pass
