"""Random numbers that are a function of seed and position: the same on any device, in any batch, in any order.

Whole numbers decide everywhere, so that devices agree to the last bit.
"""

import math
from functools import lru_cache

import torch

# Increment and multipliers of SplitMix64 (Steele et al. 2014) as signed 64-bit numbers, and its shifts.
_INCREMENT = 0x9E3779B97F4A7C15 - 2**64
_MIXING = ((30, 0xBF58476D1CE4E5B9 - 2**64), (27, 0x94D049BB133111EB - 2**64))
_BITS = 24
_COLUMNS = 2**20  # more than one row ever needs, so that the streams of a row do not meet


def mix(number: torch.Tensor) -> torch.Tensor:
    """Mix the bits of int64 numbers; products wrap around, and shifts bring in zeros."""
    for shift, multiplier in _MIXING:
        number = _fold(number, shift).mul_(multiplier)
    return _fold(number, 31)


def _fold(number: torch.Tensor, shift: int) -> torch.Tensor:
    return (number >> shift).bitwise_and_(2 ** (64 - shift) - 1).bitwise_xor_(number)


def draw(seeds: torch.Tensor, columns: int, *, streams: int) -> tuple[torch.Tensor, ...]:
    """Return two draws per stream, each (rows, columns) int64 in [0, 2²⁴), from the upper and middle bits of one hash.

    seeds: (rows,) int64. A draw depends on seed, stream and column alone.
    """
    column = torch.arange(1, columns + 1, device=seeds.device)
    counter = column + _COLUMNS * torch.arange(streams, device=seeds.device).unsqueeze(1)
    mixed = mix((counter * _INCREMENT).unsqueeze(1) + seeds.unsqueeze(1))  # (streams, rows, columns)
    upper, middle = ((mixed >> shift) & (2**_BITS - 1) for shift in (64 - _BITS, 64 - 2 * _BITS))
    return tuple(each for pair in zip(upper.unbind(), middle.unbind(), strict=True) for each in pair)


def chance(drawn: torch.Tensor, probability: float) -> torch.Tensor:
    """Return True with the given probability (to 2⁻²⁴)."""
    return drawn < round(probability * 2**_BITS)


def below(drawn: torch.Tensor, count: torch.Tensor | int) -> torch.Tensor:
    """Return integers that are uniform from 0 to count − 1."""
    return (drawn * count) >> _BITS


def failures(drawn: torch.Tensor, probability: float, *, most: int) -> torch.Tensor:
    """Return how often a chance of at least 1e-4 fails before it first holds, cut at `most`: geometric.

    The logarithm is but a guess, half a failure low, so that its last digits do not matter: the table decides. (A
    search in the table takes three times as long.)
    """
    per_log = 1 / math.log1p(-min(probability, 1 - 2**-_BITS))
    guess = drawn.float().add_(0.5).log_().sub_(_BITS * math.log(2)).mul_(per_log).sub_(0.5)
    guess = guess.clamp_(0, most - 1).long()
    return guess + (drawn < _survival(probability, most, drawn.device)[guess])


@lru_cache(maxsize=16)
def _survival(probability: float, most: int, device: torch.device) -> torch.Tensor:
    """Return the chances of 1, 2, … `most` failures in 2⁻²⁴. Kept, as a copy to the device waits for it."""
    return torch.tensor([round((1 - probability) ** count * 2**_BITS) for count in range(1, most + 1)], device=device)
