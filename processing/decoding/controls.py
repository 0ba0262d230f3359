"""What an encoder has to beat: spectrogram, band power and waveform of the same windows.

Features are (contacts, windows, features), float32, not normalised: the probe standardises them on training windows.
"""

from collections.abc import Sequence
from copy import copy
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import resample_poly, welch

from ..recordings import RecordingHeader
from .epochs import Epochs
from .features import compute_features
from .signals import AnyRecording, Contacts, Signals

BANDS_HZ = {
    "delta": (1.0, 4.0),
    "theta": (4.0, 8.0),
    "alpha": (8.0, 13.0),
    "beta": (13.0, 30.0),
    "low gamma": (30.0, 70.0),
    "high gamma": (70.0, 150.0),
}
WELCH_S = 1.0  # delta needs a second, and shorter windows average more
POWER_FLOOR = 1e-12  # µV²/Hz: far under any amplifier's noise, so that log(0) cannot happen
NYQUIST_SHARE = 0.9  # anti-aliasing filters end about there


def spectrogram_features(
    recordings: Sequence[AnyRecording],
    epochs: Epochs,
    contacts: Contacts,
    extractor: Any,
    *,
    segments: int = 1,
    problems: NDArray[np.str_] | None = None,
    cache: Path | str | None = None,
    progress: bool = True,
) -> NDArray[np.float32]:
    """Return (contacts, windows, segments × bins), the log magnitude of the encoder's own transform averaged over time.

    segments: equal stretches of the window, averaged each for itself: 1 gives the mean over the window. Features are in
        the order (segment, bin).
    The transform, its variant and rate are the extractor's; scale and normalisation are not, so that encoders that
    differ in these have the same control. The other arguments are those of `embedding_features`.
    Raises ValueError for more segments than frames.
    """
    front_end = copy(extractor)
    front_end.scale, front_end.normalization = "log", "recording"  # an offset of the voltage is removed
    frames = front_end.num_frames(epochs.length)
    if not 1 <= segments <= frames:
        raise ValueError(f"segments is {segments} and a window has {frames} frames: choose 1 to {frames}.")

    @torch.inference_mode()
    def make(voltage: NDArray[np.float32], electrode: NDArray[np.int64]) -> NDArray[np.float32]:
        image = front_end.spectrogram(torch.from_numpy(voltage), sampling_rate=epochs.sampling_rate)
        return torch.cat([part.mean(1) for part in image.tensor_split(segments, dim=1)], dim=1)[:, None].numpy()

    return compute_features(
        Signals(recordings, epochs, contacts),
        make,
        what="spectrogram",
        shape=(1, segments * front_end.feature_size),
        about={"front_end": front_end.fingerprint, "segments": segments},
        problems=problems,
        cache=cache,
        progress=progress,
    )[0]


def bands_within(recordings: Sequence[RecordingHeader], *, window_s: float) -> dict[str, tuple[float, float]]:
    """Return name → (lower, upper) in Hz of the bands that `band_power_features` has, as far as all recordings have it.

    Of BANDS_HZ, cut to the pass band of every recording (where it is not known, to 0.9 of the Nyquist frequency); bands
    of which less than half is left are left out, and those that a window is too short for.
    """
    lower, upper = 0.0, np.inf
    for recording in recordings:
        low, high = recording.band_hz or (0.0, NYQUIST_SHARE * recording.sampling_rate / 2)
        lower, upper = max(lower, low), min(upper, high)
    resolution = 1 / min(WELCH_S, window_s)
    found = {}
    for name, (low, high) in BANDS_HZ.items():
        left = max(low, lower), min(high, upper)
        # A bin of the spectrum has to lie in the band: k · resolution with low ≤ it < high.
        if left[1] - left[0] >= (high - low) / 2 and np.ceil(left[0] / resolution) * resolution < left[1]:
            found[name] = (float(left[0]), float(left[1]))
    return found


def band_power_features(
    recordings: Sequence[AnyRecording],
    epochs: Epochs,
    contacts: Contacts,
    *,
    problems: NDArray[np.str_] | None = None,
    cache: Path | str | None = None,
    progress: bool = True,
) -> NDArray[np.float32]:
    """Return (contacts, windows, bands), the natural log of the mean power density in each band, µV²/Hz.

    Bands are those of `bands_within`; the spectrum is Welch's, with Hann windows of 1 s that overlap by half. The
    arguments are those of `embedding_features`.
    Raises ValueError when the recordings have no band.
    """
    signals = Signals(recordings, epochs, contacts)
    rate = epochs.sampling_rate
    bands = bands_within(signals.recordings, window_s=epochs.length / rate)
    if not bands:
        raise ValueError(
            f"No band fits windows of {epochs.length / rate:g} s and what the recordings were filtered to: leave band "
            "power out, or use longer windows."
        )

    def make(voltage: NDArray[np.float32], electrode: NDArray[np.int64]) -> NDArray[np.floating]:
        frequencies, power = welch(voltage, fs=rate, nperseg=min(round(WELCH_S * rate), epochs.length))
        inside = [(frequencies >= low) & (frequencies < high) for low, high in bands.values()]
        means = np.stack([power[:, chosen].mean(-1, dtype=np.float64) for chosen in inside], axis=1)
        return np.log(np.maximum(means, POWER_FLOOR))[:, None]

    return compute_features(
        signals,
        make,
        what="band power",
        shape=(1, len(bands)),
        about={"bands_hz": bands},
        problems=problems,
        cache=cache,
        progress=progress,
    )[0]


def waveform_features(
    recordings: Sequence[AnyRecording],
    epochs: Epochs,
    contacts: Contacts,
    *,
    rate: float = 500.0,
    problems: NDArray[np.str_] | None = None,
    cache: Path | str | None = None,
    progress: bool = True,
) -> NDArray[np.float32]:
    """Return (contacts, windows, samples), the voltage in µV at `rate` Hz, or at its own where that is lower.

    An anti-aliasing filter runs over each window alone, continued beyond its ends by a straight line. The other
    arguments are those of `embedding_features`.
    """
    ratio = min(Fraction(1), Fraction(rate / epochs.sampling_rate).limit_denominator(1000))
    samples = -(-epochs.length * ratio.numerator // ratio.denominator)

    def make(voltage: NDArray[np.float32], electrode: NDArray[np.int64]) -> NDArray[np.floating]:
        if ratio == 1:
            return voltage[:, None]
        return resample_poly(voltage, ratio.numerator, ratio.denominator, axis=-1, padtype="line")[:, None]

    return compute_features(
        Signals(recordings, epochs, contacts),
        make,
        what="waveform",
        shape=(1, samples),
        about={"ratio": [ratio.numerator, ratio.denominator]},
        problems=problems,
        cache=cache,
        progress=progress,
    )[0]
