"""Short-time Fourier transform as plain torch code: batched, on any device, differentiable.

Voltage is (..., samples), magnitude is (..., frames, bins). Nothing here normalises.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import wraps
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

Made = TypeVar("Made")

CACHE_BYTES = 2**20  # of one step's result on a CPU: what a core's second-level cache holds


def stft(
    voltage: torch.Tensor,
    *,
    window_length: int = 400,
    hop_length: int = 50,
    num_bins: int = 40,
    zero_boundary: bool = True,
    remove_offset: bool = False,
) -> torch.Tensor:
    """Return the magnitude of the short-time Fourier transform of `voltage`, in the unit of the voltage.

    voltage: (..., samples), float32 or float64; at least one sample, at least `window_length` without `zero_boundary`.
    window_length, hop_length: samples in a Hann window, and from one window to the next.
    num_bins: the lowest bins that are kept; bin k lies at k · sampling rate / window_length hertz.
    zero_boundary: half a window of zeros is put on both sides, so that the first frame is centred on the first sample.
    Zeros at the end complete the last window. A sine of amplitude A in the middle of a bin has magnitude A / 2.
    remove_offset: take the voltage's offset out and put its exact response in. The result is the same, but in float32
        an offset of 1000 µV then costs no digits outside its own two bins (z-scores: 3e-4), for a sixth more time.

    Returns (..., num_stft_frames(samples), num_bins), in the dtype and on the device of `voltage`; it may be a
    transposed view. When the window is a power of two hops long, as by default, hops are transformed once and summed to
    windows by doubling, in an eighth of the operations; any other hop costs one matrix product per window.
    TF32 and autocast are off inside, except that a graph of torch.compile has the precision it was compiled with.
    Raises ValueError for another dtype, more bins than there are, and a signal that fills no window.
    Source: the definition of scipy.signal.stft (scaling "spectrum", padded), which the original's front end calls.
    """
    samples = voltage.shape[-1]
    frames = num_stft_frames(samples, window_length, hop_length, zero_boundary=zero_boundary)
    if voltage.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"The voltage is {voltage.dtype}: pass float32 or float64.")
    if not 1 <= num_bins <= window_length // 2 + 1:
        raise ValueError(
            f"num_bins is {num_bins}: a window of {window_length} samples has 1 to {window_length // 2 + 1} bins."
        )
    if frames < 1:
        raise ValueError(f"{samples} samples do not fill one window of {window_length}: give a longer signal.")
    left = window_length // 2 if zero_boundary else 0
    right = (frames - 1) * hop_length + window_length - left - samples
    settings = _Settings(window_length, hop_length, num_bins)
    clips = voltage.reshape(-1, samples)
    at_once = len(clips)
    if torch.compiler.is_compiling():  # a fixed number, as lengths may be symbols
        at_once = 14 if clips.device.type == "cpu" else at_once
    elif clips.device.type == "cpu":
        step_bytes = 2 * (num_bins + 2) * (frames + window_length // hop_length) * voltage.element_size()
        at_once = max(1, CACHE_BYTES // step_bytes)
    with full_precision(voltage.device):
        parts = [
            _magnitude(part, (left, right), settings, remove_offset=remove_offset)
            for part in ([clips] if len(clips) <= at_once else clips.split(at_once))
        ]
    magnitude = parts[0] if len(parts) == 1 else torch.cat(parts)
    return magnitude.reshape(*voltage.shape[:-1], frames, num_bins)


def num_stft_frames(samples: int, window_length: int = 400, hop_length: int = 50, *, zero_boundary: bool = True) -> int:
    """Return how many frames `stft` makes of `samples` samples."""
    excess = samples if zero_boundary else samples - window_length
    return -(-excess // hop_length) + 1 if samples > 0 and excess >= 0 else 0


def kept(build: Callable[..., Made]) -> Callable[..., Made]:
    """Keep what `build` returned for its last eight sets of arguments.

    As lru_cache does, except that a kernel built inside inference mode can take part in a gradient outside of it, and
    that the stand-ins for tensors which a tracer such as torch.export makes are not kept.
    """
    made: dict[tuple, Made] = {}

    @wraps(build)
    def get(*arguments: Any) -> Made:
        if torch.compiler.is_compiling():  # a constant of its own for each call: sharing one, parts of a batch would be
            return build(*arguments)  # fused into one pass, which does not fit in the cache
        if arguments in made:
            return made[arguments]
        with torch.inference_mode(False):
            built = build(*arguments)
        if type(torch.empty(0)) is torch.Tensor:
            if len(made) >= 8:
                made.pop(next(iter(made)), None)
            made[arguments] = built
        return built

    return get


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Compute matrix products in the precision of their operands: no TF32, no bfloat16, no autocast."""
    precision = None if torch.compiler.is_compiling() else torch.get_float32_matmul_precision()
    if precision not in (None, "highest"):
        torch.set_float32_matmul_precision("highest")
    autocast = torch.is_autocast_enabled(device.type)
    try:
        with torch.autocast(device.type, enabled=False) if autocast else nullcontext():
            yield
    finally:
        if precision not in (None, "highest"):
            torch.set_float32_matmul_precision(precision)


class _Settings(NamedTuple):
    window_length: int
    hop_length: int
    num_bins: int


def _magnitude(
    clips: torch.Tensor, zeros: tuple[int, int], settings: _Settings, *, remove_offset: bool
) -> torch.Tensor:
    """Return (clips, frames, bins) of (clips, samples) with so many zeros before and after."""
    window_length, hop_length, num_bins = settings
    voltage = torch.nn.functional.pad(clips, zeros)
    if remove_offset:
        offset = clips[:, ::64].mean(dim=-1, keepdim=True)  # of some samples: any level near it will do
        voltage = voltage - offset
    hops, rest = divmod(window_length, hop_length)
    doubling = rest == 0 and hops & (hops - 1) == 0
    # (clips, rows, frames): the first rows are the bins' real parts, the last their imaginary parts.
    spectrum = _by_doubling(voltage, settings) if doubling else _by_window(voltage, settings)
    if remove_offset:
        constant = _response_to_one(spectrum.shape[1], num_bins, clips.dtype, clips.device)
        spectrum = torch.addcmul(spectrum, offset.unsqueeze(-1), constant)
    real, imaginary = spectrum[:, :num_bins], spectrum[:, -num_bins:]
    power = torch.addcmul(real.square(), imaginary, imaginary)
    # Never quite zero, so that its gradient is finite where there is no signal.
    return power.clamp_min(torch.finfo(power.dtype).tiny).sqrt().transpose(-1, -2)


@kept
@torch.compiler.assume_constant_result
def _response_to_one(rows: int, num_bins: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return (rows, 1): a constant 1 under a Hann window is 1 at bin 0, -½ at bin 1, and 0 at the others."""
    response = np.zeros((rows, 1))
    response[: min(2, num_bins), 0] = (1.0, -0.5)[: min(2, num_bins)]
    return torch.from_numpy(response).to(dtype=dtype, device=device)


def _by_doubling(padded: torch.Tensor, settings: _Settings) -> torch.Tensor:
    """Transform each hop once, join neighbours to 2, 4, … hops, then apply the Hann window to the bins: -½, 1, -½."""
    kernel, joins = _hop_kernel(*settings, padded.dtype, padded.device)
    half = settings.num_bins + 2  # rows of real parts, followed by as many of imaginary parts; time runs last
    spectrum = kernel @ padded.unfold(-1, settings.hop_length, settings.hop_length).transpose(-1, -2)
    for shift, cosine, sine in joins:
        later = spectrum[..., shift:]
        spectrum = torch.addcmul(spectrum[..., :-shift], later, cosine)
        if sine is not None:
            spectrum[..., :half, :].addcmul_(later[..., half:, :], sine)
            spectrum[..., half:, :].addcmul_(later[..., :half, :], sine, value=-1)
    # Over all rows at once: the two between real and imaginary parts come out as nonsense, and are not used.
    return torch.add(spectrum[..., 1:-1, :], spectrum[..., :-2, :] + spectrum[..., 2:, :], alpha=-0.5)


class _Join(NamedTuple):
    shift: int  # hops from the earlier to the later half
    cosine: torch.Tensor  # (2 · (bins + 2), 1): the later half's phase, for real and for imaginary parts
    sine: torch.Tensor | None  # (bins + 2, 1), None in the last join, where it is zero


@kept
@torch.compiler.assume_constant_result
def _hop_kernel(
    window_length: int, hop_length: int, num_bins: int, dtype: torch.dtype, device: torch.device
) -> tuple[torch.Tensor, tuple[_Join, ...]]:
    """Cosines, then negative sines of bins -1 to num_bins over one hop, (2 · (num_bins + 2), hop_length), and joins."""
    bins = np.arange(-1, num_bins + 1)
    phase = _phase(np.outer(bins, np.arange(hop_length)), window_length)
    kernel = np.concatenate((np.cos(phase), -np.sin(phase))) / window_length
    joins = []
    shift = 1
    while shift * hop_length < window_length:
        phase = _phase(bins * shift * hop_length, window_length)[:, None]
        last = 2 * shift * hop_length == window_length
        cosine, sine = (
            torch.from_numpy(part).to(dtype=dtype, device=device)
            for part in (np.cos(np.concatenate((phase, phase))), np.sin(phase))
        )
        joins.append(_Join(shift, cosine, None if last else sine))
        shift *= 2
    return torch.from_numpy(kernel).to(dtype=dtype, device=device), tuple(joins)


def _by_window(padded: torch.Tensor, settings: _Settings) -> torch.Tensor:
    kernel = _window_kernel(settings.window_length, settings.num_bins, padded.dtype, padded.device)
    windows = padded.unfold(-1, settings.window_length, settings.hop_length)
    # Halves of a window are summed apart: in float32 a steep spectrum is then right to 1.2e-5 of a z unit, not 1.8e-5.
    half = settings.window_length // 2
    return (windows[..., :half] @ kernel[:half] + windows[..., half:] @ kernel[half:]).transpose(-1, -2)


@kept
@torch.compiler.assume_constant_result
def _window_kernel(window_length: int, num_bins: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Windowed cosines, then sines: (window_length, 2 · num_bins), computed in float64, kept per dtype and device."""
    sample = np.arange(window_length)
    window = 0.5 - 0.5 * np.cos(_phase(sample, window_length))
    phase = _phase(np.outer(sample, np.arange(num_bins)), window_length)
    window = (window / window.sum())[:, None]
    kernel = np.concatenate((window * np.cos(phase), window * np.sin(phase)), axis=1)
    return torch.from_numpy(kernel).to(dtype=dtype, device=device)


def _phase(turns: NDArray[np.integer], window_length: int) -> NDArray[np.float64]:
    """Return the angle of turns / window_length turns, reduced in integers: a float would lose digits."""
    return np.asarray((turns % window_length) * (2 * math.pi / window_length), dtype=np.float64)


__all__ = ["num_stft_frames", "stft"]
