"""Clips to measure programs on, generated."""

import numpy as np
from numpy.typing import NDArray

RATE, CLIP_SAMPLES = 2048, 10240  # Hz; 5 s


def generate_clips(count: int, *, seed: int) -> NDArray[np.float64]:
    """Return (count, 10240) µV at 2048 Hz: 1/f noise of 50 µV with a burst of 8 to 150 Hz in each clip."""
    rng = np.random.default_rng(seed)
    hertz = np.fft.rfftfreq(CLIP_SAMPLES, 1 / RATE)
    real, imaginary = rng.standard_normal((2, count, len(hertz))) / np.maximum(hertz, 1)
    noise = np.fft.irfft(real + 1j * imaginary, n=CLIP_SAMPLES)
    time_s = np.arange(CLIP_SAMPLES) / RATE
    centre, width, frequency = (rng.uniform(*limits, (count, 1)) for limits in ((0.5, 4.5), (0.05, 0.2), (8, 150)))
    burst = np.exp(-(((time_s - centre) / width) ** 2) / 2) * np.sin(2 * np.pi * frequency * time_s)
    return 50 * noise / noise.std(1, keepdims=True) + 30 * burst
