"""Estimate which frequencies of a recording hold signal: its pass band.

A file header seldom says how the signal was filtered before it was written, and a spectrogram bin above the filter's
edge holds skirt and quantisation noise, which per-bin normalisation blows up to the size of signal.

Signals are (contacts, samples), frequencies in hertz. Nothing here reads files.
"""

import warnings
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.signal import welch

from .artefacts import bridged, gaps_between, gaps_of, joined_runs, run_edges
from .recording import AnyRecording, Recording

FRONT_END_HZ = 200.0  # the model's top bin
# Brain signal falls by up to 12 dB an octave (1/f to the fourth in amplitude squared); with a quarter of an octave of
# slack, a drop by 10 dB over a third of an octave (30 dB an octave) is a filter of fourth order or more.
_CLIFF_OCTAVES = 1 / 3
_CLIFF_DB = 10.0
# Filters run forward and backward, as archives do, are 6 dB down at their nominal edge.
_EDGE_DB = 6.0
_FLOOR_DB = 3.0
_NYQUIST_SHARE = 0.9  # anti-aliasing filters end about there, and nothing above can be checked for a cliff
_LOWEST_CLIFF_HZ = 20.0
_HIGH_PASS_DB = 6.0
_SECONDS_LOOKED_AT = 120.0
_CONTACTS_LOOKED_AT = 16
_PIECE_SAMPLES = 2**15


def estimate_band(recording: Recording, *, warn: bool = True) -> tuple[float, float]:
    """Return the lower and upper edge (Hz) of the frequencies that hold signal in the good contacts.

    Where the recording has a `band_hz` already (from the header, or kept by a step), the estimate stays within it.
    Contacts with gaps are looked at when all have some, around the longest stretch without any.
    warn: warn when the upper edge is under 200 Hz, the front end's top bin.
    Raises ValueError when no good contact has a changing signal.
    """
    changing = {
        name: run_edges(gaps_of(row))
        for name, row in zip(recording.contacts, recording.data, strict=True)
        if name not in recording.bad and standard_deviation(row) > 0
    }
    low, high = band_beside_gaps(recording, changing)
    if warn and narrow_band_problem(high):
        warnings.warn(narrow_band_problem(high), stacklevel=2)
    return low, high


def band_beside_gaps(
    recording: AnyRecording, changing: Mapping[str, tuple[NDArray[np.int64], NDArray[np.int64]]]
) -> tuple[float, float]:
    """Return what `estimate_band` does, from 120 s of the signal and what is known of the rest.

    changing: good contacts whose signal changes -> first samples of their gaps, and those one past their last.
    Raises ValueError when there are none.
    """
    finite = [name for name, (start, _) in changing.items() if not len(start)] or list(changing)
    if not finite:
        raise ValueError("No good contact has a finite, changing signal; look at assess_quality(recording) first.")
    places = np.linspace(0, len(finite) - 1, min(len(finite), _CONTACTS_LOOKED_AT)).round().astype(int)
    chosen = [finite[place] for place in places]
    # The middle of the recording: amplifiers settle at the start and are unplugged at the end.
    length = min(recording.num_samples, int(_SECONDS_LOOKED_AT * recording.sampling_rate))
    first, last = _longest_between(
        *joined_runs(*(np.concatenate([changing[name][end] for name in chosen]) for end in (0, 1))),
        num_samples=recording.num_samples,
    )
    start = min(max((first + last - length) // 2, 0), recording.num_samples - length)
    rows = [recording.contacts.index(name) for name in chosen]
    # In pieces, because a stretch is read of all contacts.
    pieces = [
        recording.read(begin, min(begin + _PIECE_SAMPLES, start + length))[rows]
        for begin in range(start, start + length, _PIECE_SAMPLES)
    ]
    signals = np.concatenate(pieces, axis=1)
    low, high = band_of(
        np.stack([bridged(row, gaps_between(row, *run_edges(gaps_of(row)))) for row in signals]),
        recording.sampling_rate,
    )
    if recording.band_hz is not None:
        low, high = max(low, recording.band_hz[0]), min(high, recording.band_hz[1])
    return min(low, high / 2), high


def _longest_between(start: NDArray[np.int64], stop: NDArray[np.int64], *, num_samples: int) -> tuple[int, int]:
    """Return the first and one past the last sample of the longest stretch outside the runs; all when there is none."""
    begins, ends = np.concatenate([[0], stop]), np.concatenate([start, [num_samples]])
    longest = int(np.argmax(ends - begins))
    if ends[longest] <= begins[longest]:
        return 0, num_samples
    return int(begins[longest]), int(ends[longest])


def standard_deviation(signal: NDArray[np.floating]) -> float:
    """Return the standard deviation over the finite samples of (samples,), 0 when there are none."""
    missing = gaps_of(signal)
    present = signal[~missing] if missing.any() else signal
    return float(present.std(dtype=np.float64)) if present.size else 0.0


def narrow_band_problem(upper_hz: float) -> str:
    """Return a warning when the pass band ends below the front end's top bin, "" when it does not."""
    if upper_hz >= FRONT_END_HZ:
        return ""
    return (
        f"The pass band ends near {upper_hz:.0f} Hz: the front end's bins above {upper_hz:.0f} Hz (of "
        f"{FRONT_END_HZ:.0f} Hz) will hold filter skirt, not signal; leave them out, or read a less filtered file."
    )


def band_of(data: NDArray[np.floating], sampling_rate: float) -> tuple[float, float]:
    """Estimate the pass band (Hz) of (contacts, samples) from the shape of the median spectrum.

    Upper edge: where the spectrum first falls off a cliff (10 dB in a third of an octave) and never comes back, walked
    back to where it leaves the power law before it by 6 dB; nine tenths of the Nyquist frequency when there is none. It
    also ends where the spectrum comes within 3 dB of the noise of rounding to the file's digital steps.
    Lower edge: where, below 5 Hz, the spectrum has risen to a quarter of its maximum; 0 when it falls from the start.
    Line noise and its notches are narrower than the smoothing and do not count.
    """
    nyquist = sampling_rate / 2
    window = int(min(8 * sampling_rate, max(data.shape[1] // 4, min(data.shape[1], 64))))
    frequencies, power = welch(data, sampling_rate, nperseg=window, average="median", axis=-1)
    # Each contact counts the same, whatever its amplitude.
    level = 10 * np.log10(np.maximum(power, np.finfo(np.float64).tiny))
    middle = np.median(level, axis=-1, keepdims=True)
    floor = np.median([10 * np.log10(_rounding_power(row, nyquist)) for row in data] - middle[:, 0])
    level = np.median(level - middle, axis=0)
    return _lower_edge(frequencies, level), _upper_edge(frequencies, level, nyquist, floor=float(floor))


def _rounding_power(signal: NDArray[np.floating], nyquist: float) -> float:
    """Return the spectral density of rounding noise, step squared / 12 spread up to Nyquist; tiny without steps."""
    values = np.unique(signal)
    if values.size < 3 or values.size > signal.size / 2:  # computed numbers hardly ever repeat
        return float(np.finfo(np.float64).tiny)
    step = float(np.median(np.diff(values)))
    return max(step**2 / 12 / nyquist, float(np.finfo(np.float64).tiny))


def _upper_edge(
    frequencies: NDArray[np.floating], level: NDArray[np.floating], nyquist: float, *, floor: float
) -> float:
    # 24 points an octave, each the median of a quarter of an octave: notches of quality 30 are a fifteenth of that.
    grid = nyquist * 2.0 ** (np.arange(-24 * 8, 1) / 24)
    grid = grid[grid >= max(4.0, frequencies[1] * 4)]
    smooth = np.array([np.median(level[(frequencies >= f * 2**-0.125) & (frequencies <= f * 2**0.125)]) for f in grid])
    heard = grid[smooth > floor + _FLOOR_DB]
    top = min(_NYQUIST_SHARE * nyquist, float(heard.max()) if heard.size else nyquist)
    step = round(24 * _CLIFF_OCTAVES)
    for i in range(len(grid) - step):
        falls = smooth[i] - smooth[i + step] >= _CLIFF_DB
        if grid[i] < _LOWEST_CLIFF_HZ or not falls or smooth[i + step :].max() > smooth[i] - 0.8 * _CLIFF_DB:
            continue
        before = (grid >= grid[i] / 4) & (grid <= grid[i] / 1.5)
        if before.sum() < 6:
            return float(min(grid[i], top))
        law = np.polynomial.Polynomial.fit(np.log2(grid[before]), smooth[before], 1)
        # Unsmoothed by octaves, but by a few bins: the edge itself should not be blurred.
        fine = np.convolve(level, np.ones(5) / 5, mode="same")
        region = (frequencies >= grid[i] / 1.5) & (frequencies <= grid[i] * 2**_CLIFF_OCTAVES)
        kept = frequencies[region][fine[region] >= law(np.log2(frequencies[region])) - _EDGE_DB]
        edge = kept.max() if kept.size else grid[i] / 1.5
        return float(min(edge, top))
    return top


def _lower_edge(frequencies: NDArray[np.floating], level: NDArray[np.floating]) -> float:
    region = (frequencies > 0) & (frequencies <= 10)
    low, slow = frequencies[region], level[region]
    if low.size < 8:
        return 0.0
    first = int(np.argmax(slow >= slow.max() - _HIGH_PASS_DB))
    # The bins next to zero are lowered by the removal of the mean.
    return float(low[first]) if first > 1 and low[first] < 5 else 0.0
