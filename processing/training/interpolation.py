"""The baseline that masked reconstruction has to beat: interpolation from the cells that can be seen."""

import torch


def interpolate_masked(
    image: torch.Tensor, mask: torch.Tensor, attention_mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Return `image` (batch, frames, bins) with the masked cells filled in from the unmasked ones.

    attention_mask: (batch, frames), nonzero where there is signal; padding is neither used nor meaningful afterwards.
    Linear between the nearest unmasked cells in time and in frequency, weighted by the inverse of the distance between
    those two cells; beyond the last unmasked cell its value is held. Cells that see no unmasked one along either axis
    are filled in a second pass from what the first one filled. What remains (a row masked altogether) is 0, the mean.
    """
    known = ~mask.bool()
    if attention_mask is not None:
        known = known & attention_mask.bool().unsqueeze(-1)
    filled = torch.where(known, image, 0)
    for _ in range(2):
        in_time, time_weight = _interpolate_last(filled.transpose(1, 2), known.transpose(1, 2))
        in_frequency, frequency_weight = _interpolate_last(filled, known)
        in_time, time_weight = in_time.transpose(1, 2), time_weight.transpose(1, 2)
        weight = time_weight + frequency_weight
        estimate = (in_time * time_weight + in_frequency * frequency_weight) / weight.clamp(min=1e-12)
        filled = torch.where(known, filled, estimate)
        known = known | (weight > 0)
    return filled


def _interpolate_last(values: torch.Tensor, known: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Interpolate along the last axis; the weight is 1 / distance of the two cells used, and 0 where none is known."""
    length = values.shape[-1]
    position = torch.arange(length, device=values.device).expand_as(values)
    before = torch.where(known, position, -1).cummax(-1).values
    after = torch.where(known, position, length).flip(-1).cummin(-1).values.flip(-1)
    has_before, has_after = before >= 0, after < length
    left = values.gather(-1, before.clamp(min=0))
    right = values.gather(-1, after.clamp(max=length - 1))
    gap = (after - before).clamp(min=1)
    between = left + (right - left) * ((position - before) / gap)
    result = torch.where(has_before & has_after, between, torch.where(has_before, left, right))
    # One-sided: as uncertain as an interval that reaches twice as far.
    reach = torch.where(has_before & has_after, gap, 2 * torch.where(has_before, position - before, after - position))
    return result, torch.where(has_before | has_after, 1 / reach.clamp(min=1), 0)
