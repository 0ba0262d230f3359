"""Remove line noise.

Signals are (contacts, samples) in microvolts, frequencies in hertz. Nothing here reads files.
"""

from typing import Literal

import mne
import numpy as np
from numpy.typing import NDArray
from scipy.signal import iirnotch, lfilter

from .artefacts import widened
from .recording import Recording, require_finite

QUALITY_FACTOR = 30.0  # the paper's, at every harmonic: the notch at 60 Hz is 2 Hz wide, at 360 Hz 12 Hz
PAPER_HARMONICS = 6  # 60, 120 ... 360 Hz
RINGING_TIME_CONSTANTS = 5.0  # of Q / (pi f): then e^-5 = 0.7 % of a notch's ringing is left
FIR_TRANSITION_HZ = 1.0  # MNE-Python's default for notches; half of it on each side, 6.6 s of filter
FIR_LENGTH_S = 6.6  # 3.3 / (FIR_TRANSITION_HZ / 2): a Hamming window's transition width


def remove_line_noise(
    recording: Recording,
    frequency_hz: float,
    *,
    method: Literal["causal-notch", "zero-phase-fir"] = "causal-notch",
    max_harmonics: int | None = PAPER_HARMONICS,
) -> Recording:
    """Filter out the line frequency and as many of its harmonics as fit under the Nyquist frequency.

    frequency_hz: 50 or 60, the line frequency where the recording was made.
    method: "causal-notch" is the paper's (second-order notches, quality factor 30, forward only: it shifts phases near
        the line and rings for up to a second after a step); it starts from the first sample, not from zero as the
        paper's does, whose start rings by 3 % of the offset of a DC amplifier at every notch. "zero-phase-fir" is a
        linear-phase filter with its delay removed (notches 1/200 of their frequency wide, transitions of 0.5 Hz), for
        analyses of timing.
    max_harmonics: at most so many notches, the line frequency included; None for all that fit.
    Bad contacts are filtered when they are finite and left as they are otherwise.
    Artefacts are widened by the filter's reach ("reach_s" in the history: backward, forward). Notches ring forward for
    five time constants of the slowest, at the line frequency: 5 · 30 / (π f), 0.95 s at 50 Hz; a step of 5 mV, which
    starts to ring with 1/30 of itself, has then left 1 µV. The linear-phase filter reaches half its length, 3.3 s, both
    ways, and nothing beyond.
    Raises ValueError for another line frequency, a sampling rate too low for it, a recording shorter than the filter,
    and NaN in good contacts.
    Source: Wang et al. 2023, section 3 and the released preprocessing (60 to 360 Hz).
    """
    if method not in ("causal-notch", "zero-phase-fir"):
        raise ValueError(f"method is {method!r}; use 'causal-notch' or 'zero-phase-fir'.")
    if frequency_hz not in (50, 60):
        raise ValueError(f"The line frequency is given as {frequency_hz} Hz; use 50 or 60, as in the country's mains.")
    if max_harmonics is not None and max_harmonics < 1:
        raise ValueError(f"max_harmonics is {max_harmonics}; use at least 1, or None for all that fit.")
    harmonics = fitting_harmonics(frequency_hz, recording.sampling_rate, max_harmonics=max_harmonics)
    if not harmonics:
        raise ValueError(
            f"Line noise at {frequency_hz:g} Hz does not fit under the Nyquist frequency "
            f"({recording.sampling_rate / 2:g} Hz); skip the filter: at this rate it cannot be told from other signal."
        )
    if method == "zero-phase-fir":
        before_s, after_s = FIR_LENGTH_S / 2, FIR_LENGTH_S / 2
    else:
        before_s, after_s = 0.0, RINGING_TIME_CONSTANTS * QUALITY_FACTOR / (np.pi * frequency_hz)
    needed_s = before_s + after_s
    if recording.duration_s <= needed_s:
        raise ValueError(
            f"The recording lasts {recording.duration_s:.2f} s and the {method} filter {needed_s:.2f} s; "
            "filter the whole recording before cutting it"
            + (", or use method='causal-notch'." if method == "zero-phase-fir" else ".")
        )
    require_finite(recording, step="a line-noise filter")

    data = recording.data.copy()
    for row in data:  # one contact at a time, so that float64 costs one row
        if not np.isfinite(row.sum(dtype=np.float64)):
            continue
        signal = row.astype(np.float64)
        if method == "causal-notch":
            row[:] = causal_notch(signal, recording.sampling_rate, frequencies=harmonics)
        else:
            row[:] = zero_phase_notch(signal, recording.sampling_rate, frequencies=harmonics)
    parameters: dict[str, object] = {"frequency_hz": float(frequency_hz), "method": method, "notches_hz": harmonics}
    if method == "causal-notch":
        parameters |= {"quality_factor": QUALITY_FACTOR, "starts_from": "first sample"}
    parameters["reach_s"] = [before_s, after_s]
    artefacts = widened(recording, before_s=before_s, after_s=after_s)
    return recording.with_step("remove_line_noise", parameters, data=data, artefacts=artefacts)


def fitting_harmonics(frequency_hz: float, sampling_rate: float, *, max_harmonics: int | None) -> list[float]:
    """Return the line frequency and its multiples whose notches end below the Nyquist frequency, in hertz."""
    highest = sampling_rate / 2 / (1 + 0.5 / QUALITY_FACTOR)
    count = int(np.ceil(highest / frequency_hz)) - 1
    return [float(frequency_hz * k) for k in range(1, min(count, max_harmonics or count) + 1)]


def causal_notch(signal: NDArray[np.float64], sampling_rate: float, *, frequencies: list[float]) -> NDArray[np.float64]:
    """Run second-order notches one after the other over (..., samples), forward only, from rest at the first sample.

    A notch passes a constant as it is, so the first sample is taken out before and put back after: the filters behave
    as if the signal had had that value for ever. A signal that starts at zero is filtered as by plain `lfilter`.
    """
    level = signal[..., :1]
    signal = signal - level
    for frequency in frequencies:
        numerator, denominator = iirnotch(frequency, QUALITY_FACTOR, fs=sampling_rate)
        signal = lfilter(numerator, denominator, signal, axis=-1)
    return signal + level


def zero_phase_notch(
    signal: NDArray[np.float64], sampling_rate: float, *, frequencies: list[float]
) -> NDArray[np.float64]:
    """Run one linear-phase band-stop filter over (..., samples) and take its delay out again."""
    taps = int(FIR_LENGTH_S * sampling_rate) // 2 * 2 + 1  # odd: the delay is a whole number of samples
    filtered: NDArray[np.float64] = mne.filter.notch_filter(
        signal,
        sampling_rate,
        np.asarray(frequencies),
        filter_length=taps,
        trans_bandwidth=FIR_TRANSITION_HZ,
        method="fir",
        phase="zero",
        verbose="ERROR",
    )
    return filtered
