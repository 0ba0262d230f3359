"""Measure one contact piece by piece: what of it is missing, zero, held at one value, clipped or spiking.

Signals are (samples,) in microvolts, rates in hertz. Nothing here reads files. Memory does not grow with the signal,
only with the number of its defects.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .artefacts import Gaps, joined_runs, run_edges

# An amplifier never repeats one value for 50 ms; in quantised clean recordings (16 bit) the longest run was 5 samples.
HELD_S = 0.05
# Samples at the very maximum or minimum, in a row: clean recordings have 1, clipped ones 5 and more.
CLIPPED_RUN_SAMPLES = 5
CLIPPED_RUN_S = 0.005
SPIKING_SD = 20.0
# The median of so many samples is as good as that of all: its standard error is 0.25 % of a standard deviation.
SAMPLE = 2**18


@dataclass(frozen=True, kw_only=True, eq=False)
class Inspection:
    """What was found in one contact.

    findings: sd_uv over the finite samples; shares of time: nan_share; zero_share, held_share, clipped_share of runs of
        one value (held counts zeros too); spiking_share beyond 20 robust standard deviations (1.4826 median absolute
        deviations).
    unusable: first samples of the stretches that are NaN, infinite, zero, held or clipped, and those one past their
        last. gaps: those that are NaN or infinite.
    """

    findings: Mapping[str, float]
    unusable: tuple[NDArray[np.int64], NDArray[np.int64]]
    gaps: Gaps


def inspect_contact(signal: NDArray[np.floating], sampling_rate: float) -> Inspection:
    """Measure one contact, (samples,) in µV."""
    inspector = ContactInspector(len(signal), sampling_rate)
    inspector.add(signal)
    return inspector.finish()


class ContactInspector:
    """Take the blocks of one contact in order, and say at the end what `inspect_contact` says of the whole.

    num_samples: of the whole signal. Of signals longer than 2^18 samples, the median, the median absolute deviation and
    the share of spiking samples are those of a sample: one of each of 2^18 equal stretches, at a random place in it,
    because one at a fixed distance would follow line noise. The places are the same for each signal of that length.
    """

    def __init__(self, num_samples: int, sampling_rate: float) -> None:
        self._num_samples = num_samples
        self._held = max(HELD_S * sampling_rate, 2)
        self._clipped = max(CLIPPED_RUN_S * sampling_rate, CLIPPED_RUN_SAMPLES)
        self._places = _sample_places(num_samples) if num_samples > SAMPLE else None
        self._sample: list[NDArray[Any]] = []
        self._position = 0
        self._count, self._mean, self._squares = 0, 0.0, 0.0
        self._lowest, self._highest = np.inf, -np.inf
        # The run of equal values that the last block ended with.
        self._run_start, self._run_level = 0, np.nan
        self._held_runs: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        self._held_samples, self._zero_samples = 0, 0
        self._low_runs: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        self._high_runs: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        self._last_finite = np.nan
        self._gap_is_open = False
        self._gaps: list[tuple[NDArray[Any], ...]] = []

    def add(self, block: NDArray[np.floating]) -> None:
        """Take the next samples."""
        if not len(block):
            return
        first = self._position
        # A sum is finite exactly when all values are (float64 cannot overflow here), and much cheaper than flags.
        finite = None if np.isfinite(block.sum(dtype=np.float64)) else np.isfinite(block)
        self._add_moments(block if finite is None else block[finite])
        if finite is not None or self._gap_is_open:
            self._add_gaps(block, ~finite if finite is not None else np.zeros(len(block), dtype=bool))
        if np.isfinite(block[-1]):
            self._last_finite = float(block[-1])
        elif finite is not None and finite.any():
            self._last_finite = float(block[np.flatnonzero(finite)[-1]])
        self._add_runs(block)
        if self._places is None:
            self._sample.append(block)
        else:
            chosen = np.searchsorted(self._places, [first, first + len(block)])
            self._sample.append(block[self._places[slice(*chosen)] - first])
        self._position += len(block)

    def finish(self) -> Inspection:
        """Return what was found; all samples must have been added."""
        assert self._position == self._num_samples, "blocks are missing"
        samples = self._num_samples
        self._close_runs(np.array([self._run_start]), np.array([samples]), np.array([self._run_level]))
        clipped = [run for runs in (self._low_runs, self._high_runs) for run in runs if self._lowest < self._highest]
        clipped_samples = 0
        for level, runs in ((self._lowest, self._low_runs), (self._highest, self._high_runs)):
            if self._lowest < self._highest and level != 0:
                clipped_samples += sum(int((stop - start).sum()) for start, stop in runs)
        gaps = self._joined_gaps()
        unusable = [(gaps.start, gaps.stop), *self._held_runs, *clipped]
        findings = {
            "sd_uv": float(np.sqrt(self._squares / self._count)) if self._count else 0.0,
            "zero_share": self._zero_samples / samples,
            "held_share": self._held_samples / samples,
            "clipped_share": clipped_samples / samples,
            "spiking_share": self._spiking_share(),
            "nan_share": (samples - self._count) / samples,
        }
        start, stop = (np.concatenate([run[end] for run in unusable]) for end in (0, 1))
        return Inspection(findings=findings, unusable=joined_runs(start, stop), gaps=gaps)

    def _add_moments(self, present: NDArray[np.floating]) -> None:
        if not present.size:
            return
        # Chan, Golub & LeVeque 1983: two-pass within a block, exact between blocks.
        count, mean = present.size, float(present.mean(dtype=np.float64))
        deviation = present - np.float64(mean)
        squares = float(np.square(deviation, out=deviation).sum())
        total, apart = self._count + count, mean - self._mean
        self._squares += squares + apart**2 * self._count * count / total
        self._mean += apart * count / total
        self._count = total
        lowest, highest = float(present.min()), float(present.max())
        if lowest < self._lowest:
            self._lowest, self._low_runs = lowest, []
        if highest > self._highest:
            self._highest, self._high_runs = highest, []

    def _add_runs(self, block: NDArray[np.floating]) -> None:
        starts = np.flatnonzero(block[1:] != block[:-1]) + 1
        # NaN differs from itself: never a run.
        if block[0] != self._run_level:
            starts = np.concatenate([[0], starts])
        if not len(starts):
            return
        edges = np.concatenate([[self._run_start], starts + self._position])
        long = np.flatnonzero(np.diff(edges) >= min(self._held, self._clipped))
        if len(long):
            levels = block[np.maximum(edges[long] - self._position, 0)]
            if long[0] == 0:
                levels[0] = self._run_level
            self._close_runs(edges[long], edges[long + 1], levels)
        self._run_start, self._run_level = int(edges[-1]), float(block[-1])

    def _close_runs(self, start: NDArray[np.int64], stop: NDArray[np.int64], level: NDArray[np.floating]) -> None:
        lengths = stop - start
        held = (lengths >= self._held) & np.isfinite(level)
        if held.any():
            self._held_runs.append((start[held], stop[held]))
            self._held_samples += int(lengths[held].sum())
            self._zero_samples += int(lengths[held & (level == 0)].sum())
        # Only those at what are the extremes up to here can turn out to be clipped.
        for extreme, runs in ((self._lowest, self._low_runs), (self._highest, self._high_runs)):
            at_rail = (lengths >= self._clipped) & (level == extreme)
            if at_rail.any():
                runs.append((start[at_rail], stop[at_rail]))

    def _add_gaps(self, block: NDArray[np.floating], missing: NDArray[np.bool_]) -> None:
        start, stop = run_edges(missing)
        before, after = np.full(len(start), self._last_finite), np.full(len(start), np.nan)
        inside = start > 0
        before[inside] = block[start[inside] - 1]
        inside = stop < len(block)
        after[inside] = block[stop[inside]]
        start, stop = start + self._position, stop + self._position
        if self._gap_is_open:
            _, last_stop, _, last_after = self._gaps[-1]
            if len(start) and start[0] == self._position:
                last_stop[-1], last_after[-1] = stop[0], after[0]
                start, stop, before, after = start[1:], stop[1:], before[1:], after[1:]
            else:
                last_after[-1] = block[0]
        if len(start):
            self._gaps.append((start, stop, before, after))
        self._gap_is_open = bool(missing[-1])

    def _joined_gaps(self) -> Gaps:
        if not self._gaps:
            nowhere = np.zeros(0, dtype=np.int64)
            return Gaps(nowhere, nowhere, np.zeros(0), np.zeros(0))
        return Gaps(*(np.concatenate(column) for column in zip(*self._gaps, strict=True)))

    def _spiking_share(self) -> float:
        sample = self._sample[0] if len(self._sample) == 1 else np.concatenate(self._sample)
        present = sample[np.isfinite(sample)].astype(np.float64)
        if not present.size:
            return 0.0
        deviation = np.abs(present - np.median(present))
        robust_sd = 1.4826 * np.median(deviation)
        return float((deviation > SPIKING_SD * robust_sd).sum() / len(sample)) if robust_sd > 0 else 0.0


@lru_cache(maxsize=1)
def _sample_places(num_samples: int) -> NDArray[np.int64]:
    jitter = np.random.default_rng(0).random(SAMPLE)
    places: NDArray[np.int64] = ((np.arange(SAMPLE) + jitter) * (num_samples / SAMPLE)).astype(np.int64)
    return places
