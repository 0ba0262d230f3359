"""Intervals that lie along a line: what stands in their place, and what each position shows.

Lines are (rows, positions), intervals (rows, intervals) in their order. What a position shows is written as a source:
a position of the unmasked line, ZERO or anything below 0, or KEEP or anything beyond the line for itself.
"""

import torch

from .draws import below, chance

KEEP = 2**40
ZERO = -KEEP


def displacement(
    start: torch.Tensor,
    fate: torch.Tensor,
    origin: torch.Tensor,
    count: torch.Tensor | int,
    *,
    keep: float,
    swap: float,
) -> torch.Tensor:
    """Return how far to the right of an interval its values are taken from, from two draws; or KEEP or ZERO.

    count: of the positions that the copied stretch may start from, which are the first ones.
    """
    moved = below(origin, count) - start
    return moved.masked_fill_(~chance(fate, keep + swap), ZERO).masked_fill_(chance(fate, keep), KEEP)


def cover(
    start: torch.Tensor, width: torch.Tensor, moved: torch.Tensor, *, length: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return per position of a line whether an interval covers it, where the latest one starts, and the source.

    start: `length` for intervals that do not exist; the others rise. moved: from `displacement`.
    """
    position = torch.arange(length, device=start.device)
    number = torch.arange(start.shape[1], device=start.device).expand_as(start)
    latest = start.new_zeros(len(start), length + 1).scatter_(1, start, number)[:, :length].cummax(1).values
    first = start.gather(1, latest)
    covered = (first <= position) & (position < (start + width).gather(1, latest))
    return covered, first, (moved.gather(1, latest) + position).masked_fill_(~covered, KEEP)
