"""Bring a recording to the model's sampling rate by a rational factor.

Signals are (contacts, samples) in microvolts, rates in hertz. Nothing here reads files.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.signal import firwin, upfirdn

from .artefacts import widened
from .recording import Recording, RecordingHeader, require_finite

MAX_DRIFT_SAMPLES = 0.5  # of the new rate, over the whole recording
MAX_RATE_ERROR = 1e-6  # a hundredth of what the feature extractor tolerates
# A Kaiser window with beta 5.65 stops 60 dB; with 32 samples of the lower rate on either side the transition reaches
# 6 % of the lower Nyquist frequency to both sides of it (SciPy's default, 10 samples: 16 %, which at 400 Hz is felt in
# the bins from 168 Hz).
_HALF_LENGTH = 32
_KAISER_BETA = 5.65
_TRANSITION = 0.06
_LARGEST_TABLE = 2**12  # of up and down: 2 MiB of taps
_PHASES = 1024
_FORMULA_OUTPUTS = 2**12  # at a time: 2 MiB of weights
_BLOCK_SAMPLES = 2**16


@dataclass(frozen=True, kw_only=True, eq=False)
class Resampling:
    """A resampler for one recording: how it gives a stretch, and the header afterwards.

    fraction: new rate / old rate, up / down. num_samples: of the recording before.
    """

    header: RecordingHeader
    fraction: Fraction
    num_samples: int

    def needed(self, start: int, stop: int) -> tuple[int, int]:
        """Return which samples of the old rate the samples start to stop (exclusive) of the new rate come from."""
        if self.fraction == 1:
            return start, stop
        up, down = self.fraction.numerator, self.fraction.denominator
        half = _HALF_LENGTH * max(up, down)
        first = max(-((half - start * down) // up), 0)
        last = min(((stop - 1) * down + half) // up + 1, self.num_samples)
        return first, last

    def apply(
        self, signal: NDArray[np.floating], start: int, stop: int, *, ends: Sequence[NDArray[np.floating]]
    ) -> NDArray[np.float64]:
        """Return samples start to stop (exclusive) of the new rate, (contacts, samples).

        signal: (contacts, samples) of the old rate, those of `needed(start, stop)`. ends: first and last sample of each
            contact in the whole recording. The line between them is taken out before and put back after: beyond both
            ends the filter then meets zeros without a step; and an offset of 20 mV, usual in DC amplifiers, leaves no
            60 dB image of itself.
        """
        up, down = self.fraction.numerator, self.fraction.denominator
        first, last = self.needed(start, stop)
        convolve = _by_table if max(up, down) <= _LARGEST_TABLE else _by_formula
        samples, outputs = np.arange(first, last), np.arange(start, stop) * down / up
        level = np.empty((len(signal), last - first))
        begins, lasts = (np.asarray(values, dtype=np.float64) for values in ends)
        slopes = (lasts - begins) / max(self.num_samples - 1, 1)
        for row, of_contact, begin, slope in zip(level, signal, begins, slopes, strict=True):
            row[:] = of_contact - (begin + slope * samples)
        resampled = convolve(level, first, up=up, down=down, start=start, stop=stop)
        for row, begin, slope in zip(resampled, begins, slopes, strict=True):
            row += begin + slope * outputs
        return resampled


def resample(recording: Recording, sampling_rate: float = 2048.0) -> Recording:
    """Resample with a polyphase filter, by the smallest fraction whose drift stays under half a sample.

    1000 to 2048 Hz is 256/125 exactly; from 399.61 Hz the fraction depends on the length of the recording. The history
    holds the fraction, the rate it really gives and the drift at the end of the recording.
    Upsampling adds no content: the pass band never grows, and ends 6 % below the lower of both Nyquist frequencies.
    Artefacts are widened by half the filter, 32 samples of the lower rate, both ways ("reach_s" in the history).
    Bad contacts with NaN become NaN throughout.
    Raises ValueError for a rate that is not positive and for NaN in good contacts.
    """
    resampling = plan_resampling(recording.header, sampling_rate)
    require_finite(recording, step="resampling")
    if resampling.fraction == 1:
        return resampling.header.with_data(recording.data)
    samples = resampling.header.num_samples
    data = np.full((len(recording.contacts), samples), np.nan, dtype=np.float32)
    finite = [row for row, signal in enumerate(recording.data) if np.isfinite(signal.sum(dtype=np.float64))]
    ends = recording.data[finite, 0], recording.data[finite, -1]
    for start in range(0, samples, _BLOCK_SAMPLES):  # so that float64 costs a block
        stop = min(start + _BLOCK_SAMPLES, samples)
        first, last = resampling.needed(start, stop)
        data[finite, start:stop] = resampling.apply(recording.data[finite, first:last], start, stop, ends=ends)
    return resampling.header.with_data(data)


def plan_resampling(header: RecordingHeader, sampling_rate: float = 2048.0) -> Resampling:
    """Return the resampler of `resample` for a recording, without running it; raises ValueError as it does."""
    if not np.isfinite(sampling_rate) or sampling_rate <= 0:
        raise ValueError(f"sampling_rate is {sampling_rate}; give a positive number of hertz, 2048 for BrainBERT.")
    old_rate = header.sampling_rate
    fraction, drift = choose_fraction(old_rate, sampling_rate, num_samples=header.num_samples)
    up, down = fraction.numerator, fraction.denominator
    parameters: dict[str, object] = {
        "from_hz": old_rate,
        "to_hz": float(sampling_rate),
        "up": up,
        "down": down,
        "real_rate_hz": float(Fraction(old_rate) * fraction),
        "drift_samples": drift,
    }
    if fraction == 1:
        after = header.with_step("resample", parameters, sampling_rate=float(sampling_rate))
        return Resampling(header=after, fraction=fraction, num_samples=header.num_samples)
    reach_s = _HALF_LENGTH / min(old_rate, float(sampling_rate))
    parameters["reach_s"] = [reach_s, reach_s]
    low, high = header.band_hz or (0.0, old_rate / 2)
    high = min(high, (1 - _TRANSITION) * min(old_rate, sampling_rate) / 2)
    after = header.with_step(
        "resample",
        parameters,
        num_samples=-(-header.num_samples * up // down),
        sampling_rate=float(sampling_rate),
        band_hz=(min(low, high / 2), high),
        artefacts=widened(header, before_s=reach_s, after_s=reach_s),
    )
    return Resampling(header=after, fraction=fraction, num_samples=header.num_samples)


def choose_fraction(old_rate: float, new_rate: float, *, num_samples: int) -> tuple[Fraction, float]:
    """Return up/down with a small denominator and its drift over the recording, in samples of the new rate.

    The drift is at most half a sample and the rate is wrong by at most one part in a million.
    """
    exact = Fraction(new_rate) / Fraction(old_rate)
    new_samples = num_samples * exact
    largest = 1
    while True:
        fraction = exact.limit_denominator(largest)
        error = abs(fraction / exact - 1)
        if fraction and error <= MAX_RATE_ERROR and error * new_samples <= MAX_DRIFT_SAMPLES:
            return fraction, float(error * new_samples)
        largest *= 2


def _by_table(
    level: NDArray[np.float64], first: int, *, up: int, down: int, start: int, stop: int
) -> NDArray[np.float64]:
    """Return samples start to stop of the new rate as `scipy.signal.resample_poly` does; level starts at `first`."""
    # Output k is at k · down of the samples · up, half the filter later in the convolution; zeros before the filter put
    # the first output on a multiple of `down`, and zeros after it make the convolution long enough.
    taps = _anti_alias_filter(max(up, down)) * up
    place = start * down + (len(taps) - 1) // 2 - first * up
    before = -place % down
    skipped = (place + before) // down
    after = max((skipped + stop - start) * down - (level.shape[1] - 1) * up - len(taps) - before, 0)
    taps = np.concatenate([np.zeros(before), taps, np.zeros(after)])
    return np.stack([upfirdn(taps, row, up, down)[skipped : skipped + stop - start] for row in level])


def _by_formula(
    level: NDArray[np.float64], first: int, *, up: int, down: int, start: int, stop: int
) -> NDArray[np.float64]:
    """Return what `_by_table` does, without all taps: an hour at 399.61 Hz has 204800/39961, which is 13 million."""
    rate = max(up, down)
    half = _HALF_LENGTH * rate
    table = _taps_by_phase(up, rate)
    length = table.shape[1]
    windows = sliding_window_view(np.pad(level, ((0, 0), (length, length))), length, axis=-1)
    resampled = np.empty((len(level), stop - start))
    for begin in range(start, stop, _FORMULA_OUTPUTS):
        end = min(begin + _FORMULA_OUTPUTS, stop)
        place = np.arange(begin, end) * down
        earliest = -((half - place) // up)  # sample under the filter
        late = half - place + earliest * up  # how far inside it is, of `up`
        phase = late * _PHASES // up
        rest = (late * _PHASES - phase * up)[:, None] / up
        weights = (
            table[phase] * (-rest * (rest - 1) * (rest - 2) / 6)
            + table[phase + 1] * ((rest + 1) * (rest - 1) * (rest - 2) / 2)
            + table[phase + 2] * (-(rest + 1) * rest * (rest - 2) / 2)
            + table[phase + 3] * ((rest + 1) * rest * (rest - 1) / 6)
        )
        weights[late + (length - 1) * up > 2 * half, -1] = 0.0  # not under the filter any more
        for row, of_contact in zip(resampled, windows, strict=True):
            row[begin - start : end - start] = np.einsum("ol,ol->o", weights, of_contact[earliest - first + length])
    return resampled


@lru_cache(maxsize=2)
def _taps_by_phase(up: int, rate: int) -> NDArray[np.float64]:
    """Return the taps under which 1024 outputs in one old sample find the old ones, and of one before and two after.

    Between them, cubic interpolation is wrong by 2e-12 of the highest tap.
    """
    length = 2 * _HALF_LENGTH * rate // up + 1
    phases = np.arange(-1, _PHASES + 3)[:, None] / _PHASES
    taps = _kernel(_HALF_LENGTH - (phases + np.arange(length)) * up / rate)
    # They sum to `up` when there are `rate` in a sample of the lower rate; a fine sum is the same as a finer one.
    fine = _kernel(np.arange(-_HALF_LENGTH * _PHASES, _HALF_LENGTH * _PHASES + 1) / _PHASES)
    scaled: NDArray[np.float64] = taps * (up / rate / (fine.sum() / _PHASES))
    return scaled


def _kernel(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the anti-aliasing filter at distances in samples of the lower rate, at any height, continued outside."""
    # The Kaiser window as the power series of its Bessel function, which has no edge at the end of the filter.
    inside = 1 - (distance / _HALF_LENGTH) ** 2
    series = [(_KAISER_BETA**2 / 4) ** k / math.factorial(k) ** 2 for k in range(25)]
    values: NDArray[np.float64] = np.sinc(distance) * np.polynomial.polynomial.polyval(inside, series)
    return values


@lru_cache(maxsize=2)
def _anti_alias_filter(rate_ratio: int) -> NDArray[np.float64]:
    taps: NDArray[np.float64] = firwin(
        2 * _HALF_LENGTH * rate_ratio + 1, 1 / rate_ratio, window=("kaiser", _KAISER_BETA)
    )
    return taps
