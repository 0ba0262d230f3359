"""Bring a recording to the model's sampling rate by a rational factor.

Signals are (contacts, samples) in microvolts, rates in hertz. Nothing here reads files.
"""

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import firwin, resample_poly

from .artefacts import widened
from .recording import Recording, require_finite

MAX_DRIFT_SAMPLES = 0.5  # of the new rate, over the whole recording
MAX_RATE_ERROR = 1e-6  # a hundredth of what the feature extractor tolerates
# A Kaiser window with beta 5.65 stops 60 dB; with 32 samples of the lower rate on either side the transition reaches
# 6 % of the lower Nyquist frequency to both sides of it (SciPy's default, 10 samples: 16 %, which at 400 Hz is felt in
# the bins from 168 Hz).
_HALF_LENGTH = 32
_KAISER_BETA = 5.65
_TRANSITION = 0.06


def resample(recording: Recording, sampling_rate: float = 2048.0) -> Recording:
    """Resample with a polyphase filter, by the smallest fraction whose drift stays under half a sample.

    1000 to 2048 Hz is 256/125 exactly; from 399.61 Hz the fraction depends on the length of the recording. The history
    holds the fraction, the rate it really gives and the drift at the end of the recording.
    Upsampling adds no content: the pass band never grows, and ends 6 % below the lower of both Nyquist frequencies.
    Artefacts are widened by half the filter, 32 samples of the lower rate, both ways ("reach_s" in the history).
    Bad contacts with NaN become NaN throughout.
    Raises ValueError for a rate that is not positive and for NaN in good contacts.
    """
    if not np.isfinite(sampling_rate) or sampling_rate <= 0:
        raise ValueError(f"sampling_rate is {sampling_rate}; give a positive number of hertz, 2048 for BrainBERT.")
    require_finite(recording, step="resampling")
    old_rate = recording.sampling_rate
    fraction, drift = choose_fraction(old_rate, sampling_rate, num_samples=recording.num_samples)
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
        return recording.with_step("resample", parameters, sampling_rate=float(sampling_rate))
    reach_s = _HALF_LENGTH / min(old_rate, float(sampling_rate))
    parameters["reach_s"] = [reach_s, reach_s]
    window = _anti_alias_filter(max(up, down))
    data = np.full((len(recording.contacts), -(-recording.num_samples * up // down)), np.nan, dtype=np.float32)
    for new, old in zip(data, recording.data, strict=True):
        if np.isfinite(old.sum(dtype=np.float64)):
            new[:] = resample_signal(old.astype(np.float64), fraction, window=window)
    low, high = recording.band_hz or (0.0, old_rate / 2)
    high = min(high, (1 - _TRANSITION) * min(old_rate, sampling_rate) / 2)
    return recording.with_step(
        "resample",
        parameters,
        data=data,
        sampling_rate=float(sampling_rate),
        band_hz=(min(low, high / 2), high),
        artefacts=widened(recording, before_s=reach_s, after_s=reach_s),
    )


def resample_signal(
    signal: NDArray[np.float64], fraction: Fraction, *, window: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Resample (samples,) by fraction = up/down with these filter taps.

    The line from the first to the last sample is taken out before and put back after. Beyond both ends the filter then
    meets zeros without a step; and an offset of 20 mV, usual in DC amplifiers, leaves no 60 dB image of itself.
    """
    up, down = fraction.numerator, fraction.denominator
    slope = (signal[-1] - signal[0]) / max(len(signal) - 1, 1)
    level = signal - (signal[0] + slope * np.arange(len(signal)))
    taps: Any = window  # SciPy's stubs know windows by name only, SciPy itself knows taps
    resampled: NDArray[np.float64] = resample_poly(level, up, down, window=taps)
    return resampled + (signal[0] + slope * np.arange(len(resampled)) * down / up)


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


def _anti_alias_filter(rate_ratio: int) -> NDArray[np.float64]:
    taps: NDArray[np.float64] = firwin(
        2 * _HALF_LENGTH * rate_ratio + 1, 1 / rate_ratio, window=("kaiser", _KAISER_BETA)
    )
    return taps
