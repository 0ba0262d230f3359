"""Front ends to measure ours against: the same definitions with SciPy, clip by clip, and the original's own code.

A front end here takes one clip, (samples,) at 2048 Hz, and returns its z-scores (frames, bins).
"""

import importlib
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
from numpy.typing import NDArray
from scipy import signal

FrontEnd = Callable[[NDArray], NDArray]

RATE = 2048  # Hz
WINDOW, HOP, BINS = 400, 50, 40
FREQUENCIES = np.linspace(0.1, 200, BINS)  # Hz, of superlets
LOWEST_ORDER, HIGHEST_ORDER = 3, 30


def scipy_stft(clip: NDArray) -> NDArray:
    """Return the z-scores of scipy.signal.stft, normalised over the clip before ten frames at each end are dropped."""
    _, _, image = signal.stft(clip, RATE, nperseg=WINDOW, noverlap=WINDOW - HOP)
    return _z_score(np.abs(image[:BINS]).T)[10:-10]


def scipy_superlet(clip: NDArray) -> NDArray:
    """Return the z-scores of superlets by one FFT convolution per wavelet, five frames at each end dropped first.

    It is what a careful user of SciPy would write: powers are taken as sums of logarithms, at every 50th sample only.
    Source: the definition in the docstring of brainbert.modeling_brainbert.superlet.
    """
    image = np.empty((-(-len(clip) // HOP), BINS))
    for bin, wavelets in enumerate(superlet_wavelets()):
        log_magnitude = sum(
            exponent * np.log(np.abs(signal.fftconvolve(clip, wavelet, mode="same")[::HOP]))
            for wavelet, exponent in wavelets
        )
        image[:, bin] = np.exp(log_magnitude)
    return _z_score(image[5:-5])


@lru_cache(maxsize=1)
def superlet_wavelets() -> list[list[tuple[NDArray[np.complex128], float]]]:
    """Return for each frequency its wavelets and the exponents of their magnitudes in the geometric mean."""
    orders = np.interp(FREQUENCIES, (FREQUENCIES[0], FREQUENCIES[-1]), (LOWEST_ORDER, HIGHEST_ORDER))
    superlets = []
    for frequency, order in zip(FREQUENCIES, orders, strict=True):
        total = order - LOWEST_ORDER + 1
        wavelets = [(_wavelet(frequency, cycles), 1 / total) for cycles in range(LOWEST_ORDER, int(order) + 1)]
        if order > int(order):
            wavelets.append((_wavelet(frequency, int(order) + 1), (order - int(order)) / total))
        superlets.append(wavelets)
    return superlets


def original_front_ends(path: Path) -> dict[str, FrontEnd]:
    """Return "stft" and "superlet" of a clone of the original, with its own settings. This executes the clone's code.

    Its package is not imported as a whole: that would need everything that its other models need.
    Raises ValueError when `path` holds no such clone.
    """
    folder = path.resolve() / "preprocessors"
    if not (folder / "superlet_preprocessor.py").is_file():
        raise ValueError(f"{path} is no clone of the original: it has no preprocessors/superlet_preprocessor.py.")
    package = ModuleType("original_preprocessors")
    package.__path__ = [str(folder)]
    sys.modules[package.__name__] = package
    by_stft = importlib.import_module(".stft", package.__name__).STFTPreprocessor(
        SimpleNamespace(freq_channel_cutoff=BINS, nperseg=WINDOW, noverlap=WINDOW - HOP, normalizing="zscore")
    )
    by_superlets = importlib.import_module(".superlet_preprocessor", package.__name__).SuperletPreprocessor(
        SimpleNamespace(
            c1=1,
            order_min=LOWEST_ORDER,
            order_max=HIGHEST_ORDER,
            decim=HOP,
            min_f=FREQUENCIES[0],
            max_f=FREQUENCIES[-1],
            n_f_steps=BINS,
        )
    )
    return {
        "stft": lambda clip: np.asarray(by_stft(clip)),
        "superlet": lambda clip: np.asarray(by_superlets(clip)),
    }


def _wavelet(frequency: float, cycles: int) -> NDArray[np.complex128]:
    length = 5 * cycles / (np.pi * frequency) * RATE  # samples between the cuts
    time = (np.arange(np.ceil(length)) - (length - 1) / 2) / RATE
    deviation = cycles / (5 * frequency)
    wavelet = np.exp(-((time / deviation) ** 2) / 2 + 2j * np.pi * frequency * time)
    # A Gaussian's samples sum to √(2π) · deviation · RATE, and half of a sine has the wavelet's sign of frequency.
    return wavelet * np.sqrt(RATE) / (4 * np.pi) / (np.sqrt(2 * np.pi) * deviation * RATE)


def _z_score(image: NDArray) -> NDArray:
    return (image - image.mean(0)) / image.std(0)
