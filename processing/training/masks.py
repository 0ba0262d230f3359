"""Hide stretches of time and of frequency in a spectrogram.

Images are (batch, frames, bins), normalised, so that 0 is the mean.
"""

from functools import partial

import torch


def mask_static(
    image: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    *,
    generator: torch.Generator,
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
    generator: on the CPU, so that a seed gives the same masks on any device.
    Source: Wang et al. 2023, section 3 and algorithm 1.
    """
    batch, frames, bins = image.shape
    lengths = torch.full((batch,), frames) if attention_mask is None else attention_mask.bool().sum(-1).cpu()
    draw = partial(_draw_intervals, start_probability=start_probability, keep=keep, swap=swap, generator=generator)
    frame_source, in_time = draw(lengths, frames, frame_widths)
    bin_source, in_frequency = draw(torch.full((batch,), bins), bins, bin_widths)
    frame_source, in_time, bin_source, in_frequency = (
        drawn.to(image.device) for drawn in (frame_source, in_time, bin_source, in_frequency)
    )

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


def _draw_intervals(
    lengths: torch.Tensor,
    longest: int,
    widths: tuple[int, int],
    *,
    start_probability: float,
    keep: float,
    swap: float,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (rows, longest): where the value of each position comes from (−1: zero), and whether it is masked."""
    rows = len(lengths)
    starts = torch.rand(rows, longest, generator=generator) < start_probability
    starts &= torch.arange(longest) < (lengths - widths[1]).unsqueeze(1)
    width = torch.randint(widths[0], widths[1] + 1, (rows, longest), generator=generator)
    fate = torch.rand(rows, longest, generator=generator)
    # Where a swapped interval is copied from: any stretch of its width within the row.
    origin = torch.rand(rows, longest, generator=generator) * (lengths.unsqueeze(1) - width + 1)
    origin = origin.long().clamp(min=0)

    begins = torch.zeros_like(starts)
    free_from = torch.zeros(rows, dtype=torch.long)  # first position where the next interval may begin
    for position in range(longest):
        begins[:, position] = starts[:, position] & (free_from <= position)
        free_from = torch.where(begins[:, position], position + width[:, position] + 1, free_from)

    source = torch.arange(longest).repeat(rows, 1)
    masked = torch.zeros_like(starts)
    for step in range(widths[1]):
        row, start = (begins & (width > step)).nonzero(as_tuple=True)
        drawn = fate[row, start]
        copied = torch.where(drawn < keep + swap, origin[row, start] + step, -1)
        source[row, start + step] = torch.where(drawn < keep, start + step, copied)
        masked[row, start + step] = True
    return source, masked
