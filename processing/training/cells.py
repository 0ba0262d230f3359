"""What the cells of a masked image show.

Images are (batch, frames, bins). Where a value comes from is written as in intervals.py: a position, or KEEP or ZERO.
"""

import torch

_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes


def copy_stretches(masked: torch.Tensor, image: torch.Tensor, source: torch.Tensor, *, dim: int) -> torch.Tensor:
    """Return `masked`, overwritten, with frames (dim 1) or bins (dim 2) of the image where their source is a position.

    source: (batch, frames) or (batch, bins).
    """
    copied = (source >= 0) & (source < image.shape[dim])
    if _answers_at_once(image):  # few cells are copied
        clip, target = copied.nonzero(as_tuple=True)
        masked.transpose(1, dim)[clip, target] = image.transpose(1, dim)[clip, source[clip, target]]
        return masked
    origin = torch.where(copied, source, 0).unsqueeze(3 - dim).expand_as(image)
    return torch.where(copied.unsqueeze(3 - dim), image.gather(dim, origin), masked)


def restore(masked: torch.Tensor, image: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Return `masked`, overwritten, with the frames of the image that are not valid, (batch, frames)."""
    if _answers_at_once(image):
        clip, frame = (~valid).nonzero(as_tuple=True)
        masked[clip, frame] = image[clip, frame]
        return masked
    return torch.where(valid.unsqueeze(2), masked, image)


def clear(masked: torch.Tensor, zero: torch.Tensor) -> None:
    """Set cells to 0 in place where a condition holds that is 1 wide in frames or bins.

    As bits: masked_fill_ takes ten times as long on a processor, and a product would make not-a-number of infinity.
    """
    integer = _INTEGERS[masked.element_size()]
    masked.view(integer).bitwise_and_(zero.to(integer) - 1)


def spread(bands: torch.Tensor, *, nowhere: torch.Tensor, everywhere: torch.Tensor) -> torch.Tensor:
    """Return conditions on bins, (batch, bins), for every frame, but False in some frames and True in others.

    nowhere, everywhere: (batch, frames). Rows are copied: a tenth of the time of combining the three conditions.
    """
    batch, bins = bands.shape
    table = torch.cat([bands, bands.new_zeros(1, bins), bands.new_ones(1, bins)])
    row = torch.arange(batch, device=bands.device).unsqueeze(1)
    row = row.masked_fill(nowhere, batch).masked_fill_(everywhere, batch + 1)
    return table.index_select(0, row.flatten()).view(*row.shape, bins)


def _answers_at_once(image: torch.Tensor) -> bool:
    """Return whether the cells where a condition holds can be listed without waiting for a device."""
    return image.device.type == "cpu"
