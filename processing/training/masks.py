"""Hide stretches of time and of frequency in a spectrogram.

Images are (batch, frames, bins), normalised, so that 0 is the mean. Nothing here waits for the device.
"""

from functools import partial

import torch

# Increment and multipliers of SplitMix64 (Steele et al. 2014) as signed 64-bit numbers, and its shifts.
_INCREMENT = 0x9E3779B97F4A7C15 - 2**64
_MIXING = ((30, 0xBF58476D1CE4E5B9 - 2**64), (27, 0x94D049BB133111EB - 2**64))
_DRAWS = 2**20  # more than one clip ever needs, so that the streams of a clip do not meet


def mask_static(
    image: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    *,
    seeds: torch.Tensor,
    start_probability: float = 0.05,
    frame_widths: tuple[int, int] = (1, 5),
    bin_widths: tuple[int, int] = (1, 2),
    keep: float = 0.1,
    swap: float = 0.1,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the masked image and the mask, (batch, frames, bins) both, the mask boolean.

    Intervals of frames, then of bins on top: at each start position an interval begins with `start_probability` if the
    one before it has ended with a gap of one; its width is uniform in `frame_widths` or `bin_widths` (both ends
    included). Of the intervals, `keep` stay as they are, `swap` are replaced by another stretch of the unmasked image,
    the others become 0. All of them are in the mask: they are what the model is asked for.

    attention_mask: (batch, frames), nonzero where there is signal, at the start of each row; nothing else is masked.
    seeds: (batch,) int64 from `mask_seeds`: a row's mask depends on its seed alone, not on batch, process or device.
    Source: Wang et al. 2023, section 3 and algorithm 1.
    """
    batch, frames, bins = image.shape
    seeds = seeds.to(image.device)
    every_bin = torch.full((batch,), bins, device=image.device)
    lengths = torch.full_like(every_bin, frames) if attention_mask is None else attention_mask.bool().sum(-1)
    draw = partial(_draw_intervals, seeds=seeds, start_probability=start_probability, keep=keep, swap=swap)
    frame_source, in_time = draw(lengths, frames, frame_widths, stream=0)
    bin_source, in_frequency = draw(every_bin, bins, bin_widths, stream=4)

    def take(source: torch.Tensor, dim: int) -> torch.Tensor:  # the image with frames or bins exchanged; −1 gives 0
        index = source.clamp(min=0).unsqueeze(3 - dim).expand_as(image)
        return torch.where(source.unsqueeze(3 - dim) >= 0, image.gather(dim, index), 0)

    masked = torch.where(in_time.unsqueeze(2), take(frame_source, 1), image)
    # A band that is kept stays as the masks over time have left it, so only bands that change are written.
    bin_changes = in_frequency & (bin_source != torch.arange(bins, device=image.device))
    masked = torch.where(bin_changes.unsqueeze(1), take(bin_source, 2), masked)
    mask = in_time.unsqueeze(2) | in_frequency.unsqueeze(1)
    if attention_mask is not None:
        valid = attention_mask.bool().unsqueeze(2)
        mask, masked = mask & valid, torch.where(valid, masked, image)
    return masked, mask


def mask_seeds(rows: torch.Tensor, *, seed: int, epoch: int) -> torch.Tensor:
    """Return one int64 seed per row for `mask_static`, from the row's id, the run's seed and the epoch."""
    return _mix(_mix(_mix(torch.full_like(rows, seed)) + epoch) + rows)


def uniform(seeds: torch.Tensor, count: int, *, stream: int) -> torch.Tensor:
    """Return (rows, count) numbers in [0, 1) that depend on seed, stream and column alone (SplitMix64, 24 bits)."""
    column = torch.arange(count, device=seeds.device) + (1 + stream * _DRAWS)
    mixed = _mix(seeds.unsqueeze(1) + column * _INCREMENT)
    return ((mixed >> 40) & 0xFFFFFF).to(torch.float32) / 2**24


def _mix(number: torch.Tensor) -> torch.Tensor:
    """Mix the bits of int64 numbers; products wrap around, and shifts bring in zeros."""
    for shift, multiplier in _MIXING:
        number = (number ^ ((number >> shift) & (2 ** (64 - shift) - 1))) * multiplier
    return number ^ ((number >> 31) & (2**33 - 1))


def _draw_intervals(
    lengths: torch.Tensor,
    longest: int,
    widths: tuple[int, int],
    *,
    seeds: torch.Tensor,
    stream: int,
    start_probability: float,
    keep: float,
    swap: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (rows, longest): where the value of each position comes from (−1: zero), and whether it is masked."""
    position = torch.arange(longest, device=seeds.device)
    begin, size, fate, origin = (uniform(seeds, longest, stream=stream + number) for number in range(4))
    starts = (begin < start_probability) & (position < (lengths - widths[1]).unsqueeze(1))
    width = widths[0] + (size * (widths[1] - widths[0] + 1)).long()
    # Where a swapped interval is copied from: any stretch of its width within the row.
    origin = (origin * (lengths.unsqueeze(1) - width + 1)).long().clamp(min=0)

    # Walk: the first position of the interval that covers each position, −1 where there is none.
    covering = torch.full_like(width, -1)
    first = torch.full_like(lengths, -1)
    free_from = torch.zeros_like(lengths)  # first position where the next interval may begin
    for now in range(longest):
        begins = starts[:, now] & (free_from <= now)
        first = torch.where(begins, now, first)
        free_from = torch.where(begins, now + width[:, now] + 1, free_from)
        covering[:, now] = torch.where(now < free_from - 1, first, -1)

    masked = covering >= 0
    chosen = covering.clamp(min=0)
    fate, origin = fate.gather(1, chosen), origin.gather(1, chosen)
    copied = torch.where(fate < keep + swap, origin + position - chosen, -1)
    source = torch.where(masked & (fate >= keep), copied, position)
    return source, masked
