"""Superlets: a time–frequency transform that is sharp in both, as plain torch code: batched, on any device.

Voltage is (..., samples), magnitude is (..., frames, bins). Nothing here normalises.

Only every hop-th sample of each wavelet's response is wanted, so responses are matrix products: windows of voltage, one
per frame, with wavelets sorted by length into classes. The few wavelets longer than half a second would make windows
too wide; they are products of two small matrices over hops (a slow wave looks simple within a hop), joined by a
Fourier transform over hops.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch

from .spectrogram_brainbert import full_precision
from .wavelets_brainbert import (
    LongWavelets,
    ShortWavelets,
    SuperletSettings,
    long_wavelets,
    short_wavelets,
    transform_length,
)

FREQUENCIES = tuple(np.linspace(0.1, 200, 40).tolist())  # Hz, the original's
DEFINITIONS = ("original", "moca")

FRAMES_AT_ONCE = {"cpu": 256, "other": 65536}  # windows of half a second: 1 MB for each core, and 260 MB on a device


def superlet(
    voltage: torch.Tensor,
    *,
    sampling_rate: float = 2048.0,
    frequencies: Sequence[float] = FREQUENCIES,
    order_min: float = 3,
    order_max: float = 30,
    base_cycles: float = 1,
    hop_length: int = 50,
    definition: Literal["original", "moca"] = "original",
    frames_at_once: int | None = None,
) -> torch.Tensor:
    """Return the fractional adaptive superlet transform of `voltage`: magnitude, before trimming and normalising.

    voltage: (..., samples), float32 or float64, µV. sampling_rate: Hz.
    frequencies: Hz, ascending, above 0 and up to half the sampling rate.
    order_min, order_max: how many wavelets the lowest and the highest frequency combine, linear in frequency between.
    base_cycles: cycles of a wavelet per order (c1).
    hop_length: samples from one frame to the next; frame k is centred on sample k · hop_length.
    frames_at_once: bounds the memory; the default suits the device. Numbers depend on it, and on what else is in the
        batch, by rounding at most.
    Returns (..., num_superlet_frames(samples), len(frequencies)), in the dtype and on the device of `voltage`.

    Definition. The wavelet of frequency f and c cycles is a Gaussian of standard deviation c / (5 f) seconds times
    exp(2πi f t), cut at ±5 c / (2π f) seconds (3.98 standard deviations), scaled so that a sine of amplitude A gives
    A · √sampling_rate / (8π). A superlet of order o combines the wavelets of c1 · order_min, …, c1 · ⌊o⌋ cycles and,
    with the weight o - ⌊o⌋, the next one: the weighted geometric mean of their magnitudes.
    Edges. Beyond both ends the voltage is zero. The mean of the signal around a frame is subtracted first and the
    wavelet's exact response to it added back, so that an offset costs no accuracy.
    With order_min equal to order_max (o) this is a plain Morlet transform of c1 · o cycles; in MNE-Python's convention
    n_cycles = 2π c1 o / 5 (which cuts at 5 standard deviations, and subtracts the wavelet's mean).
    Exact zeros. Where all samples under a wavelet are exactly zero its magnitude is zero, a geometric mean of zeros and
    rounding noise means nothing, and the original disagrees with itself run in double precision by up to 8.8 z units.
    BrainBertFeatureExtractor therefore refuses or flags such clips.

    definition="original" is the above, the code that BrainBERT's weights were trained with (Gregor Mönke's). For a list
    of frequencies that skips orders, or a highest order that is not whole, that code drops wavelets but not their
    exponents, which is not reproduced.
    definition="moca" is what the publication's authors distribute: energy 2 |w|² instead of magnitude; all orders from
    1, with order_min and order_max the superlets' orders at both ends of the list, spread evenly over it; wavelets of
    an odd number of samples, cut at ±3 standard deviations, normalised so that a sine of amplitude A gives A² / 2.
    Both agree on the Gaussian's width, the geometric mean, the weight of the fraction, and zeros beyond the ends.

    Memory is bounded by working on few frames at once. TF32 and autocast are off inside.
    Raises ValueError for frequencies, orders, cycles or a hop out of range, and a voltage that is empty or of another
    type.
    Source: Moca et al. 2021, Nature Communications 12:337, equations 1 to 7; Wang et al. 2023, section 3.
    """
    if voltage.dtype not in (torch.float32, torch.float64) or voltage.shape[-1] == 0:
        raise ValueError(
            f"The voltage is {voltage.dtype} of shape {tuple(voltage.shape)}: pass float32 or float64, (..., samples)."
        )
    whole = definition == "original"
    check_superlet(frequencies, order_min, order_max, base_cycles, sampling_rate=sampling_rate, whole=whole)
    if hop_length < 1:
        raise ValueError(f"hop_length is {hop_length}: give a number of samples, 1 or more.")
    if frames_at_once is not None and frames_at_once < 1:
        raise ValueError(f"frames_at_once is {frames_at_once}: give a number of frames, 1 or more.")
    if definition not in DEFINITIONS:
        raise ValueError(f"definition is {definition!r}: choose one of {', '.join(DEFINITIONS)}.")
    samples = voltage.shape[-1]
    frames = num_superlet_frames(samples, hop_length)
    settings = SuperletSettings(
        float(sampling_rate), tuple(map(float, frequencies)), order_min, order_max, base_cycles, hop_length, definition
    )
    clips = voltage.reshape(-1, samples)
    short = short_wavelets(settings, clips.dtype, clips.device)
    long = long_wavelets(settings, transform_length(settings, frames), clips.dtype, clips.device)
    if not len(clips):
        return voltage.new_zeros(*voltage.shape[:-1], frames, len(frequencies))
    if frames_at_once is None:
        on_cpu = clips.device.type == "cpu"
        frames_at_once = FRAMES_AT_ONCE["cpu"] * torch.get_num_threads() if on_cpu else FRAMES_AT_ONCE["other"]
    with full_precision(clips.device):
        log_magnitude = torch.cat(
            [
                _log_magnitude(part, short, long, settings, frames, frames_at_once)
                for part in clips.split(max(1, frames_at_once // frames))
            ]
        )
    if definition == "moca":  # energy
        log_magnitude = 2 * log_magnitude + math.log(2)
    return log_magnitude.exp().reshape(*voltage.shape[:-1], frames, len(frequencies))


def num_superlet_frames(samples: int, hop_length: int = 50) -> int:
    """Return how many frames `superlet` makes of `samples` samples."""
    return -(-samples // hop_length)


def check_superlet(
    frequencies: Sequence[float],
    order_min: float,
    order_max: float,
    base_cycles: float,
    *,
    sampling_rate: float,
    whole: bool = True,
) -> None:
    """Raise ValueError for settings that `superlet` refuses. whole: order_min must be a whole number."""
    values = np.asarray(frequencies, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not (values > 0).all() or not (np.diff(values) > 0).all():
        raise ValueError("Superlet frequencies must be a list of ascending hertz above 0: sort them, leave 0 Hz out.")
    if len(values) == 1 and order_min != order_max:
        raise ValueError(
            f"A single superlet frequency cannot have orders from {order_min:g} to {order_max:g}: give both the same."
        )
    if values[-1] > sampling_rate / 2:
        raise ValueError(
            f"The highest superlet frequency, {values[-1]:g} Hz, is above half the sampling rate of {sampling_rate:g} "
            "Hz: leave out what was not recorded."
        )
    if not 1 <= order_min <= order_max or (whole and order_min != int(order_min)):
        raise ValueError(
            f"Superlet orders go from {order_min:g} to {order_max:g}: the lowest is "
            f"{'a whole number ' if whole else ''}from 1 on, and the highest not below it."
        )
    if not base_cycles > 0:
        raise ValueError(f"Superlets have {base_cycles:g} cycles per order: give a number above 0.")


def shortest_wavelet(frequencies: Sequence[float], cycles: float, *, sampling_rate: float) -> int:
    """Return the samples of the shortest wavelet: over as many exact zeros, superlets mean nothing.

    cycles: of the lowest order (order_min · base_cycles).
    """
    return math.ceil(10 * cycles / (2 * math.pi * frequencies[-1]) * sampling_rate)


def _log_magnitude(
    clips: torch.Tensor,
    short: ShortWavelets,
    long: LongWavelets | None,
    settings: SuperletSettings,
    frames: int,
    frames_at_once: int,
) -> torch.Tensor:
    """Return (clips, frames, bins) of (clips, samples)."""
    hop, samples = settings.hop_length, clips.shape[-1]
    total = clips.new_zeros(len(clips), frames, len(settings.frequencies))
    if long is not None:
        response = _respond_long(clips, long, frames, hop)
        total = _log_power(response[:, 0], response[:, 1], clips.dtype).transpose(-1, -2) @ long.weight
    if not short.classes:
        return total
    window = short.before + 1 + short.after
    last = (frames - 1) * hop + short.after + 1 - samples
    windows = torch.nn.functional.pad(clips, (short.before, max(last, 0))).unfold(-1, window, hop)
    # Around each frame, over whole hops. Any level would do, as what is subtracted here is added back: no gradient.
    level = _level(clips.detach(), frames, hop, reach=window // hop // 2).unsqueeze(-1)
    pieces = -(-frames * len(clips) // frames_at_once)
    size = -(-frames // pieces)  # pieces of one size: products of very few rows are summed in another order
    parts = []
    for first in range(0, frames, size):
        piece = slice(first, first + size)
        rows = (windows[:, piece] - level[:, piece]).view(-1, window)
        levels = level[:, piece].reshape(-1, 1)
        log_magnitude = total[:, piece].reshape(-1, total.shape[-1])
        for group in short.classes:
            response = (rows[:, group.first : group.stop] @ group.kernel).addcmul_(levels, group.gain)
            real, imaginary = response.chunk(2, dim=-1)
            log_power = _log_power(real, imaginary, clips.dtype)
            log_magnitude = torch.addmm(log_magnitude, log_power, group.weight)
        parts.append(log_magnitude.view(len(clips), -1, total.shape[-1]))
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _log_power(real: torch.Tensor, imaginary: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return the logarithm of the squared magnitude, finite where there is no signal."""
    tiny = torch.finfo(dtype).tiny
    return torch.addcmul(real.square().add_(tiny), imaginary, imaginary).log().to(dtype)


def _level(clips: torch.Tensor, frames: int, hop: int, *, reach: int) -> torch.Tensor:
    """Return the mean of the samples within `reach` hops of each frame, (clips, frames)."""
    inside = torch.ones_like(clips[:1])
    sums = [
        torch.nn.functional.pad(
            torch.nn.functional.pad(signal, (0, frames * hop - clips.shape[-1])).unflatten(-1, (frames, hop)).sum(-1),
            (reach, reach),
        )
        .unfold(-1, 2 * reach + 1, 1)
        .sum(-1)
        for signal in (clips, inside)
    ]
    return sums[0] / sums[1]


def _respond_long(clips: torch.Tensor, long: LongWavelets, frames: int, hop: int) -> torch.Tensor:
    """Return the responses (clips, 2, wavelets, frames), real and imaginary, by circular correlation over hops."""
    length = 2 * (long.course.shape[-1] - 1)
    one = frames <= length // 2  # then nothing that is not zero comes round the circle
    before, step = (0, frames) if one else (long.reach, length - 2 * long.reach)
    blocks = -(-frames // step)
    end = ((blocks - 1) * step + length - before) * hop if not one else frames * hop
    hops = torch.nn.functional.pad(clips, (before * hop, end - clips.shape[-1])).unflatten(-1, (-1, hop))
    parts = []
    for first in range(0, frames, step):
        block = hops[:, first : first + length].to(long.shapes.dtype)
        amount = long.shapes @ block.transpose(-1, -2)  # (clips, rank · wavelets, hops)
        spectrum = torch.fft.rfft(amount, n=length).unflatten(1, (1, *long.course.shape[1:3]))
        response = torch.fft.irfft((spectrum * long.course).sum(2), n=length)
        parts.append(response[..., before : before + min(step, frames - first)])
    return parts[0] if one else torch.cat(parts, dim=-1)


__all__ = ["num_superlet_frames", "superlet"]
