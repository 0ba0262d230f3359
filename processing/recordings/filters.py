"""Remove line noise.

Signals are (contacts, samples) in microvolts, frequencies in hertz. Nothing here reads files.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import mne
import numpy as np
from numpy.typing import NDArray
from scipy.signal import iirnotch, oaconvolve, sosfilt

from .artefacts import widened
from .recording import Recording, RecordingHeader, require_finite

QUALITY_FACTOR = 30.0  # the paper's, at every harmonic: the notch at 60 Hz is 2 Hz wide, at 360 Hz 12 Hz
PAPER_HARMONICS = 6  # 60, 120 ... 360 Hz
RINGING_TIME_CONSTANTS = 5.0  # of Q / (pi f): then e^-5 = 0.7 % of a notch's ringing is left
MEMORY_TIME_CONSTANTS = 40.0  # e^-40 = 4e-18
FIR_TRANSITION_HZ = 1.0  # MNE-Python's default for notches; half of it on each side, 6.6 s of filter
FIR_LENGTH_S = 6.6  # 3.3 / (FIR_TRANSITION_HZ / 2): a Hamming window's transition width
_MOST_FIR_NOTCHES = 196  # then the notches, 1/200 of their frequency wide, and their transitions leave nothing between


@dataclass(frozen=True, kw_only=True, eq=False)
class LineFilter:
    """A line-noise filter for one recording: what it does to a stretch, and the header afterwards.

    before, after: samples around a stretch that must be filtered with it, so that it comes out as it does in the whole.
    """

    header: RecordingHeader
    method: Literal["causal-notch", "zero-phase-fir"]
    frequencies: tuple[float, ...]
    before: int
    after: int

    def apply(self, signal: NDArray[np.float64]) -> NDArray[np.float64]:
        """Filter (..., samples)."""
        run = causal_notch if self.method == "causal-notch" else zero_phase_notch
        return run(signal, self.header.sampling_rate, frequencies=self.frequencies)


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
    starts to ring with 1/30 of itself, has then left 1 µV. The linear-phase filter reaches half its length, 3.3 s and
    at most half a sample, both ways, and nothing beyond.
    Raises ValueError for another line frequency, a sampling rate too low for it, a recording shorter than the filter,
    and NaN in good contacts.
    Source: Wang et al. 2023, section 3 and the released preprocessing (60 to 360 Hz).
    """
    line_filter = plan_line_filter(recording.header, frequency_hz, method=method, max_harmonics=max_harmonics)
    require_finite(recording, step="a line-noise filter")
    data = recording.data.copy()
    for row in data:  # one contact at a time, so that float64 costs one row
        if np.isfinite(row.sum(dtype=np.float64)):
            row[:] = line_filter.apply(row.astype(np.float64))
    return line_filter.header.with_data(data)


def plan_line_filter(
    header: RecordingHeader,
    frequency_hz: float,
    *,
    method: Literal["causal-notch", "zero-phase-fir"] = "causal-notch",
    max_harmonics: int | None = PAPER_HARMONICS,
) -> LineFilter:
    """Return the filter of `remove_line_noise` for a recording, without running it.

    A stretch needs half the linear-phase filter on both sides, and of the causal notches what came in the 40 time
    constants of the slowest before it (7.6 s at 50 Hz): what they still held of anything earlier has shrunk by e^-40,
    less than the rounding of float64.
    Raises what `remove_line_noise` raises for its arguments.
    """
    if method not in ("causal-notch", "zero-phase-fir"):
        raise ValueError(f"method is {method!r}; use 'causal-notch' or 'zero-phase-fir'.")
    if frequency_hz not in (50, 60):
        raise ValueError(f"The line frequency is given as {frequency_hz} Hz; use 50 or 60, as in the country's mains.")
    if max_harmonics is not None and max_harmonics < 1:
        raise ValueError(f"max_harmonics is {max_harmonics}; use at least 1, or None for all that fit.")
    rate = header.sampling_rate
    harmonics = fitting_harmonics(frequency_hz, rate, max_harmonics=max_harmonics)
    if not harmonics:
        raise ValueError(
            f"Line noise at {frequency_hz:g} Hz does not fit under the Nyquist frequency "
            f"({rate / 2:g} Hz); skip the filter: at this rate it cannot be told from other signal."
        )
    time_constant_s = QUALITY_FACTOR / (np.pi * frequency_hz)
    if method == "zero-phase-fir":
        if len(harmonics) > _MOST_FIR_NOTCHES:
            raise ValueError(
                f"{len(harmonics)} harmonics fit under the Nyquist frequency, and the zero-phase-fir filter has room "
                f"for {_MOST_FIR_NOTCHES}; give max_harmonics, at most that."
            )
        before = after = len(_fir_notches(rate, tuple(harmonics))) // 2
        before_s = after_s = before / rate
    else:
        before_s, after_s = 0.0, RINGING_TIME_CONSTANTS * time_constant_s
        before, after = math.ceil(MEMORY_TIME_CONSTANTS * time_constant_s * rate), 0
    needed_s = before_s + after_s
    if header.duration_s <= needed_s:
        raise ValueError(
            f"The recording lasts {header.duration_s:.2f} s and the {method} filter {needed_s:.2f} s; "
            "filter the whole recording before cutting it"
            + (", or use method='causal-notch'." if method == "zero-phase-fir" else ".")
        )
    parameters: dict[str, object] = {"frequency_hz": float(frequency_hz), "method": method, "notches_hz": harmonics}
    if method == "causal-notch":
        parameters |= {"quality_factor": QUALITY_FACTOR, "starts_from": "first sample"}
    parameters["reach_s"] = [before_s, after_s]
    artefacts = widened(header, before_s=before_s, after_s=after_s)
    return LineFilter(
        header=header.with_step("remove_line_noise", parameters, artefacts=artefacts),
        method=method,
        frequencies=tuple(harmonics),
        before=before,
        after=after,
    )


def fitting_harmonics(frequency_hz: float, sampling_rate: float, *, max_harmonics: int | None) -> list[float]:
    """Return the line frequency and its multiples whose notches end below the Nyquist frequency, in hertz."""
    highest = sampling_rate / 2 / (1 + 0.5 / QUALITY_FACTOR)
    count = int(np.ceil(highest / frequency_hz)) - 1
    return [float(frequency_hz * k) for k in range(1, min(count, max_harmonics or count) + 1)]


def causal_notch(
    signal: NDArray[np.float64], sampling_rate: float, *, frequencies: Sequence[float]
) -> NDArray[np.float64]:
    """Run second-order notches one after the other over (..., samples), forward only, from rest at the first sample.

    A notch passes a constant as it is, so the first sample is taken out before and put back after: the filters behave
    as if the signal had had that value for ever. A signal that starts at zero is filtered as by plain `lfilter`.
    """
    level = signal[..., :1]
    sections = np.array([np.concatenate(iirnotch(f, QUALITY_FACTOR, fs=sampling_rate)) for f in frequencies])
    filtered: NDArray[np.float64] = sosfilt(sections, signal - level, axis=-1)
    filtered += level
    return filtered


def zero_phase_notch(
    signal: NDArray[np.float64], sampling_rate: float, *, frequencies: Sequence[float]
) -> NDArray[np.float64]:
    """Run one linear-phase band-stop filter over (..., samples) and take its delay out again.

    Beyond both ends the signal goes on as its own mirror image through the end point, as in MNE-Python. The signal must
    be longer than half the filter.
    """
    taps = _fir_notches(sampling_rate, tuple(frequencies))
    half = len(taps) // 2
    mirrored = np.concatenate(
        [2 * signal[..., :1] - signal[..., half:0:-1], signal, 2 * signal[..., -1:] - signal[..., -2 : -half - 2 : -1]],
        axis=-1,
    )
    filtered: NDArray[np.float64] = oaconvolve(
        mirrored, taps.reshape((1,) * (signal.ndim - 1) + (-1,)), mode="valid", axes=-1
    )
    return filtered


@lru_cache(maxsize=4)
def _fir_notches(sampling_rate: float, frequencies: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the taps of `mne.filter.notch_filter` with its default widths."""
    centres = np.array(frequencies)
    # Not fewer than its window needs, and odd: the delay is a whole number of samples.
    length = math.ceil(FIR_LENGTH_S * sampling_rate) | 1
    side = centres / 400 + FIR_TRANSITION_HZ / 2
    taps: NDArray[np.float64] = mne.filter.create_filter(
        None,
        sampling_rate,
        l_freq=centres + side,
        h_freq=centres - side,
        filter_length=length,
        l_trans_bandwidth=FIR_TRANSITION_HZ / 2,
        h_trans_bandwidth=FIR_TRANSITION_HZ / 2,
        method="fir",
        phase="zero",
        verbose="ERROR",
    )
    return taps
