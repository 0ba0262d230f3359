"""Time–frequency transforms as plain torch functions: batched, on any device, differentiable.

Voltage is (..., samples), magnitude is (..., frames, bins). Nothing here normalises.
"""

import math
from functools import lru_cache

import torch


def stft(
    voltage: torch.Tensor,
    *,
    window_length: int = 400,
    hop_length: int = 50,
    num_bins: int = 40,
    zero_boundary: bool = True,
) -> torch.Tensor:
    """Return the magnitude of the short-time Fourier transform of `voltage`, in the unit of the voltage.

    voltage: (..., samples), floating point; at least one sample, at least `window_length` without `zero_boundary`.
    window_length, hop_length: samples in a Hann window, and from one window to the next.
    num_bins: the lowest bins that are kept; bin k lies at k · sampling rate / window_length hertz.
    zero_boundary: half a window of zeros is put on both sides, so that the first frame is centred on the first sample.
    Zeros at the end complete the last window. A sine of amplitude A in the middle of a bin has magnitude A / 2.

    Returns (..., num_stft_frames(samples), num_bins), in the dtype and on the device of `voltage`.
    Source: the definition of scipy.signal.stft (scaling "spectrum", padded), which the original's front end calls.
    """
    samples = voltage.shape[-1]
    frames = num_stft_frames(samples, window_length, hop_length, zero_boundary=zero_boundary)
    if frames < 1:
        raise ValueError(f"{samples} samples do not fill one window of {window_length}: give a longer signal.")
    left = window_length // 2 if zero_boundary else 0
    right = (frames - 1) * hop_length + window_length - left - samples
    windows = torch.nn.functional.pad(voltage, (left, right)).unfold(-1, window_length, hop_length)
    kernel = _fourier_kernel(window_length, num_bins, voltage.dtype, voltage.device)
    # Halves of a window are summed apart: in float32 a steep spectrum is then right to 1.2e-5 of a z unit, not 1.8e-5.
    half = window_length // 2
    real_imaginary = windows[..., :half] @ kernel[:half] + windows[..., half:] @ kernel[half:]
    return torch.hypot(real_imaginary[..., :num_bins], real_imaginary[..., num_bins:])


def num_stft_frames(samples: int, window_length: int = 400, hop_length: int = 50, *, zero_boundary: bool = True) -> int:
    """Return how many frames `stft` makes of `samples` samples."""
    excess = samples if zero_boundary else samples - window_length
    return -(-excess // hop_length) + 1 if samples > 0 and excess >= 0 else 0


@lru_cache(maxsize=8)
def _fourier_kernel(window_length: int, num_bins: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Windowed cosines, then sines: (window_length, 2 · num_bins), computed in float64, kept per dtype and device."""
    with torch.inference_mode(False):  # a kernel made inside inference mode could never take part in a gradient
        sample = torch.arange(window_length)
        window = 0.5 - 0.5 * torch.cos(sample.double() * (2 * math.pi / window_length))
        # The phase is reduced in integers: k · t in a float would lose digits for long windows.
        turns = torch.outer(sample, torch.arange(num_bins)) % window_length
        phase = turns.double() * (2 * math.pi / window_length)
        window = (window / window.sum()).unsqueeze(-1)
        return torch.cat((window * phase.cos(), window * phase.sin()), dim=-1).to(dtype=dtype, device=device)


__all__ = ["num_stft_frames", "stft"]
