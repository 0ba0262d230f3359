"""Start the attention of an encoder with sinusoidal positions where masked reconstruction soon takes it."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch

# Frames that a head looks at, relative to its own: both sides, near ones first. Masks are a few frames wide.
OFFSETS = (-1, 1, -2, 2, -3, 3, -4, 4, -6, 6, -8, 8)
# Positions that turn more slowly (radians a frame) do not tell neighbouring frames apart.
SLOWEST = 0.05


@torch.no_grad()
def look_at_neighbours(
    attentions: Iterable[Any], *, offsets: Sequence[int] = OFFSETS, slowest: float = SLOWEST, gain: float = 1.5
) -> None:
    """Set query and key weights so that each head looks at the frame that lies one of `offsets` from its own.

    attentions: modules with q_proj and k_proj, linear layers of (width, width), and head_dim; their input holds
        sinusoids of the frame's number, base 10000, sines in even columns and cosines in odd ones.
    offsets: frames, one per head, from the first again when there are more heads.
    slowest: radians a frame; slower sinusoids get no weight. gain: of orthonormal rows, for both; how sharp it looks.
    Draws from torch's random numbers. Nothing is fixed: training goes on from there.

    A head's key weights are random; its query weights are the same after a rotation of each pair of sine and cosine by
    offset · frequency, which makes a query at frame t equal to the key at frame t + offset.
    """
    for attention in attentions:
        width, head_dim = attention.k_proj.weight.shape[1], attention.head_dim
        frequency = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
        fast = torch.nonzero(frequency >= slowest).flatten()
        if 2 * len(fast) < head_dim:
            raise ValueError(
                f"slowest={slowest} leaves {2 * len(fast)} of {width} columns, fewer than the {head_dim} of a head: "
                "give a lower one."
            )
        columns = torch.stack((2 * fast, 2 * fast + 1), dim=1).flatten()
        for head in range(width // head_dim):
            rows = torch.linalg.qr(torch.randn(len(columns), head_dim))[0].T  # (head_dim, columns), orthonormal
            angle = frequency[fast] * offsets[head % len(offsets)]
            sine, cosine = rows[:, 0::2], rows[:, 1::2]
            turned = (sine * angle.cos() - cosine * angle.sin(), sine * angle.sin() + cosine * angle.cos())
            for projection, weights in (
                (attention.k_proj, rows),
                (attention.q_proj, torch.stack(turned, dim=2).flatten(1)),
            ):
                mine = torch.zeros(head_dim, width)
                mine[:, columns] = gain * weights
                projection.weight[head * head_dim : (head + 1) * head_dim] = mine
