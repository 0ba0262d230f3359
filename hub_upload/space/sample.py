"""A generated recording for those who have none at hand: noise with planted oscillations, and nobody's brain."""

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 1000.0
DURATION_S = 60.0
LINE_HZ = 50
CONTACTS = tuple(f"A{n}" for n in range(1, 9)) + tuple(f"B{n}" for n in range(1, 7))
FLAT = "B6"  # a contact that was not plugged in
# contact → (hertz, µV, seconds from one burst to the next, seconds that a burst lasts)
PLANTED = {
    "A2": (8.0, 90.0, 6.0, 3.0),
    "A4": (20.0, 50.0, 4.0, 1.5),
    "A6": (80.0, 25.0, 2.0, 0.6),
    "B3": (130.0, 15.0, 3.0, 0.4),
}
TOLD = (
    "A generated recording of 14 contacts with 50 Hz line noise: bursts of 8 Hz are planted in A2, of 20 Hz in A4, of "
    "80 Hz in A6 and of 130 Hz in B3, and B6 is not connected. It is nobody's brain."
)


def arrays() -> dict[str, NDArray]:
    """Return the recording as a file of arrays would have it: voltage in µV, sampling_rate, contacts."""
    return {"voltage": generate(), "sampling_rate": np.array(RATE_HZ), "contacts": np.array(CONTACTS)}


def generate(*, seed: int = 0) -> NDArray[np.float32]:
    """Return (contacts, samples) in µV: 1/f noise, partly shared along a shaft, line noise and the planted bursts."""
    generator = np.random.default_rng(seed)
    samples = round(DURATION_S * RATE_HZ)
    times = np.arange(samples) / RATE_HZ
    shared = {shaft: _pink(generator, samples) for shaft in "AB"}
    line = 12.0 * np.sin(2 * np.pi * LINE_HZ * times)
    voltage = np.empty((len(CONTACTS), samples), dtype=np.float32)
    for row, name in enumerate(CONTACTS):
        signal = 40.0 * shared[name[0]] + 30.0 * _pink(generator, samples) + line
        if name in PLANTED:
            hertz, microvolts, every_s, lasts_s = PLANTED[name]
            phase = (times % every_s) / lasts_s
            envelope = np.where(phase < 1, np.sin(np.pi * np.minimum(phase, 1)) ** 2, 0.0)
            signal += microvolts * envelope * np.sin(2 * np.pi * hertz * times)
        voltage[row] = 0.0 if name == FLAT else signal
    return voltage


def _pink(generator: np.random.Generator, samples: int) -> NDArray[np.float64]:
    """Return noise whose power falls with frequency, with standard deviation 1, and nothing below 0.5 Hz."""
    hertz = np.fft.rfftfreq(samples, 1 / RATE_HZ)
    spectrum = generator.standard_normal(len(hertz)) + 1j * generator.standard_normal(len(hertz))
    spectrum *= np.where(hertz < 0.5, 0.0, 1 / np.maximum(hertz, 0.5) ** 0.75)
    noise = np.fft.irfft(spectrum, samples)
    return noise / noise.std()
