"""The wavelets of superlets, as matrices for torch: built in float64 when first needed, kept per dtype and device.

A wavelet is what each sample around a frame counts, (samples,), complex; of n samples, n // 2 lie before the frame's.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from .spectrogram_brainbert import kept

LONG_WAVELET_S = 0.5
MOST_AT_ONCE = 4096  # hops that one Fourier transform takes of a long signal, more only for still longer wavelets
CLASSES = 7  # of wavelets by length: more waste less on zeros, fewer make larger products
RANK_TOLERANCE = {torch.float32: 1e-7, torch.float64: 1e-14}  # of the largest singular value


class SuperletSettings(NamedTuple):
    sampling_rate: float
    frequencies: tuple[float, ...]
    order_min: float
    order_max: float
    base_cycles: float
    hop_length: int
    definition: str


class WaveletClass(NamedTuple):
    """Wavelets of about one length."""

    first: int  # of the window's samples
    stop: int
    kernel: torch.Tensor  # (stop - first, 2 · wavelets): real, then imaginary parts
    gain: torch.Tensor  # (2 · wavelets,): the response to a constant
    weight: torch.Tensor  # (wavelets, bins): of the logarithm of the squared response


class ShortWavelets(NamedTuple):
    before: int  # samples of a window before its frame's sample
    after: int
    classes: tuple[WaveletClass, ...]


class LongWavelets(NamedTuple):
    reach: int  # hops before and after a frame
    shapes: torch.Tensor  # (rank · wavelets, hop_length): what they do within a hop
    course: torch.Tensor  # (2, rank, wavelets, length // 2 + 1), complex: how much of it from hop to hop, transformed
    weight: torch.Tensor  # (wavelets, bins)


def _combination(settings: SuperletSettings) -> list[tuple[int, float, float]]:
    """Return (bin, cycles, weight) of each wavelet; the weights are exponents of its magnitude, 1 in all for a bin."""
    low, high = settings.order_min, settings.order_max
    if settings.definition == "moca":
        first = 1
        orders = np.linspace(low, high, len(settings.frequencies))
    else:
        first = int(low)
        frequencies = np.asarray(settings.frequencies)
        span = max(frequencies[-1] - frequencies[0], np.finfo(np.float64).tiny)
        orders = low + (high - low) * (frequencies - frequencies[0]) / span
    return [
        (bin, wavelet * settings.base_cycles, min(1.0, order - wavelet + 1) / (order - first + 1))
        for bin, order in enumerate(orders.tolist())
        for wavelet in range(first, math.ceil(order) + 1)
    ]


def _wavelet(frequency: float, cycles: float, settings: SuperletSettings) -> NDArray[np.complex128]:
    """Return what each sample around a frame counts, earliest first; of n samples, n // 2 lie before the frame's."""
    rate = settings.sampling_rate
    deviation = cycles / (5 * frequency) * rate  # samples
    if settings.definition == "moca":
        half = int(np.round(6 * deviation)) // 2
        time = np.arange(-half, half + 1, dtype=np.float64)
        # Three standard deviations are stretched to end on a sample.
        envelope = np.exp(-0.5 * (3 * time / max(half, 1)) ** 2)
        return np.asarray(envelope / envelope.sum() * np.exp(-2j * np.pi * frequency / rate * time))
    length = 10 * cycles / (2 * np.pi * frequency) * rate
    time = np.arange((1 - length) / 2, (1 + length) / 2)
    peak = np.sqrt(rate) / (4 * np.pi) / (np.sqrt(2 * np.pi) * deviation)
    # A convolution runs through the wavelet backward.
    return np.asarray(peak * np.exp(-0.5 * (time / deviation) ** 2 + 2j * np.pi * frequency / rate * time))[::-1]


@lru_cache(maxsize=8)
def _all_wavelets(settings: SuperletSettings) -> tuple[list[NDArray[np.complex128]], NDArray[np.float64]]:
    """Return all wavelets, shortest first, and their weights (wavelets, bins) of the logarithm of squared responses."""
    combined = _combination(settings)
    found = [_wavelet(settings.frequencies[bin], cycles, settings) for bin, cycles, _ in combined]
    order = sorted(range(len(found)), key=lambda index: len(found[index]))
    weight = np.zeros((len(found), len(settings.frequencies)))
    for row, index in enumerate(order):
        bin, _, exponent = combined[index]
        weight[row, bin] = exponent / 2
    return [found[index] for index in order], weight


def _num_short(wavelets: list[NDArray[np.complex128]], settings: SuperletSettings) -> int:
    return sum(len(wavelet) <= LONG_WAVELET_S * settings.sampling_rate for wavelet in wavelets)


@kept
def short_wavelets(settings: SuperletSettings, dtype: torch.dtype, device: torch.device) -> ShortWavelets:
    """Sort the wavelets up to half a second into classes of about one length."""
    wavelets, weight = _all_wavelets(settings)
    wavelets = wavelets[: _num_short(wavelets, settings)]
    if not wavelets:
        return ShortWavelets(0, 0, ())
    longest = len(wavelets[-1])
    classes = []
    for start, stop in _length_classes([len(wavelet) for wavelet in wavelets]):
        window = len(wavelets[stop - 1])
        kernel = np.zeros((window, stop - start), dtype=np.complex128)
        for column, wavelet in enumerate(wavelets[start:stop]):
            offset = window // 2 - len(wavelet) // 2
            kernel[offset : offset + len(wavelet), column] = wavelet
        parts = np.concatenate((kernel.real, kernel.imag), axis=1)
        matrices = (
            torch.from_numpy(array).to(dtype=dtype, device=device)
            for array in (parts, parts.sum(0), weight[start:stop])
        )
        first = longest // 2 - window // 2
        classes.append(WaveletClass(first, first + window, *matrices))
    return ShortWavelets(longest // 2, (longest - 1) // 2, tuple(classes))


def _length_classes(lengths: list[int]) -> list[tuple[int, int]]:
    """Return (first, one past last) of at most CLASSES runs of sorted lengths, with the least padding in all."""
    count = len(lengths)
    sizes = np.asarray(lengths, dtype=np.float64)
    cost, cuts = np.concatenate(([0.0], np.full(count, np.inf))), []
    for _ in range(CLASSES):
        # One class more: it runs from `start` to `end` and is as wide as its last.
        start, end = np.arange(count), np.arange(1, count + 1)
        totals = np.where(start[None] < end[:, None], cost[None, :-1] + sizes[:, None] * (end[:, None] - start), np.inf)
        best = totals.argmin(1)
        cuts.append(np.concatenate(([0], best)))
        cost = np.concatenate(([0.0], totals[np.arange(count), best]))
    bounds, end_of = [], count
    for cut in reversed(cuts):
        if end_of:
            bounds.append((int(cut[end_of]), end_of))
            end_of = int(cut[end_of])
    return bounds[::-1]


def transform_length(settings: SuperletSettings, frames: int) -> int:
    """Return the hops in one Fourier transform: twice the frames, but no more than four times the longest reach."""
    wavelets, _ = _all_wavelets(settings)
    reach = _reach(wavelets[-1], settings.hop_length)
    return 2 ** math.ceil(math.log2(max(2, min(2 * frames, max(4 * reach, MOST_AT_ONCE)))))


def _reach(wavelet: NDArray[np.complex128], hop: int) -> int:
    return -(-len(wavelet) // 2 // hop) + 1


@kept
def long_wavelets(
    settings: SuperletSettings, length: int, dtype: torch.dtype, device: torch.device
) -> LongWavelets | None:
    """Factor each long wavelet into a few shapes within a hop, and how much of each it has from hop to hop.

    length: hops in the Fourier transform; of a wavelet, no more than half of it on either side of the frame is kept.
    """
    wavelets, weight = _all_wavelets(settings)
    first = _num_short(wavelets, settings)
    if first == len(wavelets):
        return None
    hop = settings.hop_length
    reach = min(length // 2, _reach(wavelets[-1], hop))
    factored = [_factors(wavelet, reach, hop, RANK_TOLERANCE[dtype]) for wavelet in wavelets[first:]]
    rank = max(basis.shape[1] for basis, _ in factored)
    shapes = np.zeros((rank, len(factored), hop))
    course = np.zeros((2, rank, len(factored), length))  # real, imaginary
    for index, (basis, amount) in enumerate(factored):
        shapes[: basis.shape[1], index] = basis.T
        for part, values in enumerate((amount.real, amount.imag)):
            course[part, : basis.shape[1], index, np.arange(-reach, reach) % length] = values
    # In float64: a slow wavelet averages over a lot of faster, stronger signal, and it costs a twentieth of the whole.
    real, complex = (torch.float64, torch.complex128) if device.type != "mps" else (torch.float32, torch.complex64)
    return LongWavelets(
        reach,
        torch.from_numpy(shapes.reshape(-1, hop)).to(dtype=real, device=device),
        # A correlation over hops is a product with the conjugate.
        torch.from_numpy(np.fft.rfft(course).conj()).to(dtype=complex, device=device),
        torch.from_numpy(weight[first:]).to(dtype=dtype, device=device),
    )


def _factors(
    wavelet: NDArray[np.complex128], reach: int, hop: int, tolerance: float
) -> tuple[NDArray[np.float64], NDArray[np.complex128]]:
    """Return a basis (hop, rank) of what the wavelet does within hops, and how much of it, (2 · reach, rank)."""
    laid_out = np.zeros(2 * reach * hop, dtype=np.complex128)
    offset = reach * hop - len(wavelet) // 2  # the frame's sample is the first of hop `reach`
    inside = wavelet[max(-offset, 0) :][: len(laid_out) - max(offset, 0)]
    laid_out[max(offset, 0) : max(offset, 0) + len(inside)] = inside
    by_hop = laid_out.reshape(2 * reach, hop)
    _, size, basis = np.linalg.svd(np.concatenate((by_hop.real, by_hop.imag)), full_matrices=False)
    basis = basis[size > tolerance * size[0]].T
    return basis, by_hop @ basis
