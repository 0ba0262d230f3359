"""Hide stretches of time and of frequency in a spectrogram.

Images are (batch, frames, bins), normalised, so that 0 is the mean. Nothing here waits for the device, but for the
first use of a start probability.
"""

from itertools import groupby

import torch

from .cells import clear, copy_stretches, restore, spread
from .draws import below, chance, draw, failures, mix
from .intervals import KEEP, cover, displacement


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

    Intervals of frames, then of bins on top: at each start position, of which there are as many as there are frames or
    bins less the greatest width, one begins with `start_probability` if the one before it has ended with a gap of one;
    its width is uniform in `frame_widths` or `bin_widths` (both ends included). Of the intervals, `keep` stay as they
    are, `swap` are replaced by the stretch of the unmasked image from any start position, the others become 0. All of
    them are in the mask: they are what the model is asked for.

    attention_mask: (batch, frames), nonzero where there is signal, at the start of each row; nothing else is masked.
    seeds: (batch,) int64 from `mask_seeds`: a row's mask depends on its seed alone, not on batch, process or device.
    Raises ValueError for probabilities and widths that mean nothing.
    Source: Wang et al. 2023, section 3 and algorithm 1; start positions and swaps as in the authors' code.
    """
    _check(start_probability, keep, swap, frame_widths=frame_widths, bin_widths=bin_widths)
    _, frames, bins = image.shape
    valid = _valid(image, attention_mask)
    # One line, bins first, so that padding does not move them, then frames; and as many intervals as each part can
    # hold. Instead of asking at each position, as a walk does, the number of positions until one begins is drawn.
    most = [-(-length // (least + 1)) for length, (least, _) in ((bins, bin_widths), (frames, frame_widths))]
    wait, size, fate, origin = draw(seeds.to(image.device), sum(most), streams=2)
    in_bins = torch.arange(sum(most), device=image.device) < most[0]
    least, greatest = (torch.where(in_bins, bin_widths[end], frame_widths[end]) for end in (0, 1))
    width = least + below(size, greatest - least + 1)
    stop = (failures(wait, start_probability, most=max(frames, bins)) + width + 1).cumsum(1)  # with the gap
    stop[:, most[0] :].sub_(stop[:, most[0] - 1 : most[0]])  # counted from the first frame
    start = stop - width - 1
    count = torch.where(in_bins, bins, valid.sum(1, keepdim=True)) - greatest
    moved = displacement(start, fate, origin, count, keep=keep, swap=swap)
    start = torch.where(start < count, start + torch.where(in_bins, 0, bins), bins + frames)
    hidden, _, source = cover(start, width, moved, length=bins + frames)

    masked = _show_frames(image, source[:, bins:] - bins)
    masked = _lay_bands(masked, image, source[:, :bins], valid)
    return masked, spread(hidden[:, :bins], nowhere=~valid, everywhere=hidden[:, bins:])


def mask_adaptive(
    image: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    *,
    seeds: torch.Tensor,
    start_probability: float = 0.1,
    frequencies_hz: tuple[float, float] = (0.01, 250.0),
    least_half_widths: tuple[int, int] = (1, 2),
    half_width: tuple[float, float] = (200.0, 25.0),
    band_width: tuple[float, float] = (4.9, 250.0),
    keep: float = 0.1,
    swap: float = 0.1,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the masked image and the mask, as `mask_static`, with widths that follow the resolution of superlets.

    Over time: the half-width of a bin at f Hz is 200 / (25 + f) frames, cut to whole frames, but at least a number per
    clip that is uniform in `least_half_widths`. Each centre that leaves the greatest half-width on both sides is masked
    with `start_probability` if it is more than twice that width and one frame after the one before it: of each bin the
    frames from centre − half-width up to, but not with, centre + half-width.
    Then bands: each start position, of which there are as many as bins less the greatest width, begins one with
    `start_probability`, whether or not others lie there: 4.9 f / 250 bins, cut, at least 1. The higher lies on top.
    Kept, swapped and zeroed as in `mask_static`. An interval over time that is swapped shows the cells of the same
    shape around another centre: all bins are moved by the same number of frames.

    frequencies_hz: f of the first and the last bin, evenly spaced between. The original's masks have this grid of their
        own, whatever that of the superlets (0.1 to 200 Hz).
    half_width: the 200 (frames · Hz) and the 25 (Hz). band_width: the 4.9 (bins) and the 250 (Hz).
    attention_mask, seeds: as for `mask_static`.
    Raises ValueError for probabilities, widths and frequencies that mean nothing.
    Source: Wang et al. 2023, section 3; numbers of the authors' code.
    """
    _check(start_probability, keep, swap, least_half_widths=least_half_widths)
    if min(*frequencies_hz, *half_width, *band_width) <= 0:
        raise ValueError(
            f"frequencies_hz={frequencies_hz}, half_width={half_width}, band_width={band_width}: give positive numbers."
        )
    _, frames, bins = image.shape
    frequencies = torch.linspace(*frequencies_hz, bins, dtype=torch.float64).tolist()
    half_widths = [int(half_width[0] / (half_width[1] + frequency)) for frequency in frequencies]
    band_widths = [max(1, int(band_width[0] * frequency / band_width[1])) for frequency in frequencies]
    valid = _valid(image, attention_mask)
    # A column of draws per bin, where bands may begin, then one per interval over time.
    most = -(-frames // (2 * max(*half_widths, least_half_widths[0]) + 2))
    begin, size, fate, origin = draw(seeds.to(image.device), bins + most, streams=2)

    # Over time: intervals of the widest bin, which start its half-width before the centre.
    least = least_half_widths[0] + below(size[:, :1], least_half_widths[1] - least_half_widths[0] + 1)
    half = torch.maximum(_table(half_widths, image.device), least)  # (batch, bins)
    widest = half.amax(1, keepdim=True)
    count = valid.sum(1, keepdim=True) - 2 * widest
    wait = failures(begin[:, bins:], start_probability, most=frames)
    start = (wait + 2 * widest + 2).cumsum(1) - 2 * widest - 2
    moved = displacement(start, fate[:, bins:], origin[:, bins:], count, keep=keep, swap=swap)
    start = torch.where(start < count, start, frames)
    covered, first, source = cover(start, 2 * widest, moved, length=frames)
    from_centre = torch.arange(frames, device=image.device) - first - widest
    reach = torch.maximum(from_centre, -1 - from_centre).masked_fill_(~covered, KEEP)
    inside = reach.unsqueeze(2) < half.unsqueeze(1)
    masked = torch.where(inside, _show_frames(image, source), image)

    # Bands: a bin shows the one that began last, so the farthest come first.
    position = torch.arange(bins, device=image.device)
    width, starts = _table(band_widths, image.device), bins - max(band_widths)
    begins = chance(begin[:, :bins], start_probability) & (position < starts)
    moved = displacement(position, fate[:, :bins], origin[:, :bins], starts, keep=keep, swap=swap)
    hidden, source = torch.zeros_like(begins), torch.full_like(moved, KEEP)
    for distance in reversed(range(min(max(band_widths), bins))):
        here, there = slice(distance, bins), slice(bins - distance)
        covers = begins[:, there] & (width[there] > distance)
        hidden[:, here] |= covers
        changes = covers & (moved[:, there] != KEEP)
        source[:, here] = torch.where(changes, moved[:, there] + position[here], source[:, here])
    masked = _lay_bands(masked, image, source, valid)
    return masked, inside | spread(hidden, nowhere=~valid, everywhere=torch.zeros_like(valid))


def mask_seeds(rows: torch.Tensor, *, seed: int, epoch: int) -> torch.Tensor:
    """Return one int64 seed per row for the masks, from the row's id, the run's seed and the epoch."""
    return mix(mix(mix(torch.full_like(rows, seed)) + epoch) + rows)


def _check(start_probability: float, keep: float, swap: float, **widths: tuple[int, int]) -> None:
    if not (1e-4 <= start_probability <= 1 and keep >= 0 and swap >= 0 and keep + swap <= 1):
        raise ValueError(
            f"start_probability={start_probability}, keep={keep}, swap={swap}: give a start_probability from 0.0001 to "
            "1, and shares from 0 on that are at most 1 together."
        )
    for name, (low, high) in widths.items():
        if not 1 <= low <= high:
            raise ValueError(f"{name}={(low, high)}: give the least and the greatest, the least at least 1.")


def _valid(image: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
    if attention_mask is None:
        return torch.ones(image.shape[:2], dtype=torch.bool, device=image.device)
    return attention_mask.bool()


def _table(numbers: list[int], device: torch.device) -> torch.Tensor:
    """Return the numbers on the device, written there run by run: a copy of the host's would wait for the device."""
    return torch.cat([torch.full((len(list(run)),), number, device=device) for number, run in groupby(numbers)])


def _show_frames(image: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """Return a copy of the image that shows the frames of `source`, (batch, frames)."""
    masked = image.clone(memory_format=torch.contiguous_format)
    masked = copy_stretches(masked, image, source, dim=1)
    clear(masked, (source < 0).unsqueeze(2))
    return masked


def _lay_bands(masked: torch.Tensor, image: torch.Tensor, source: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Return `masked`, overwritten, with the bands of `source`, (batch, bins), on top; padding stays as it is.

    A band that is kept stays as the masks over time have left it.
    """
    clear(masked, (source < 0).unsqueeze(1))
    return restore(copy_stretches(masked, image, source, dim=2), image, valid)
