"""Static and adaptive masks: what is hidden, what it is replaced by, and what that depends on."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from brainbert.processing.training import cells, mask_adaptive, mask_seeds, mask_static

both = pytest.mark.parametrize("masking", [mask_static, mask_adaptive])


def seeds(rows, seed=0, epoch=0):
    return mask_seeds(torch.arange(rows), seed=seed, epoch=epoch)


def runs(row):
    """Lengths of the runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], row.astype(int), [0]))))
    return edges[1::2] - edges[::2]


def image_of(batch, frames=186, bins=40):
    return 1 + torch.rand(batch, frames, bins, generator=torch.Generator().manual_seed(1))  # nothing is 0 by itself


def padded(batch, least=20):
    """An image whose padding is −7, and its attention mask."""
    image = image_of(batch)
    lengths = torch.randint(least, 186, (batch, 1), generator=torch.Generator().manual_seed(5))
    attention_mask = torch.arange(186) < lengths
    return torch.where(attention_mask.unsqueeze(2), image, -7), attention_mask.long()


def equal(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@both
def test_one_seed_gives_one_mask(masking):
    image = image_of(4)
    first, second, other = (masking(image, seeds=seeds(4, seed)) for seed in (3, 3, 4))
    assert equal(first, second)
    assert not torch.equal(first[1], other[1])


@both
def test_cells_outside_the_mask_are_untouched(masking):
    image = image_of(64)
    masked, mask = masking(image, seeds=seeds(64))
    assert torch.equal(masked[~mask], image[~mask])


@both
def test_the_image_itself_is_untouched(masking):
    image = image_of(8)
    masking(image, seeds=seeds(8))
    assert torch.equal(image, image_of(8))


@both
def test_kept_cells_are_in_the_mask(masking):
    image = image_of(8)
    masked, mask = masking(image, seeds=seeds(8), keep=1, swap=0)
    assert torch.equal(masked, image)
    assert mask.any()


@both
def test_zeroed_cells_are_zero_where_the_mask_is(masking):
    masked, mask = masking(image_of(8), seeds=seeds(8), keep=0, swap=0)
    assert torch.equal(masked == 0, mask)


def test_static_masks_are_whole_frames_and_whole_bins():
    _, mask = mask_static(image_of(16), seeds=seeds(16))
    frames, bins = mask.all(2), mask.all(1)
    assert torch.equal(mask, frames.unsqueeze(2) | bins.unsqueeze(1))


def test_static_widths_are_in_their_ranges_and_intervals_are_apart():
    # A gap of at least one between intervals: each run is one interval.
    _, mask = mask_static(image_of(400), seeds=seeds(400))
    assert set(np.concatenate([runs(row) for row in mask.all(2).numpy()])) == {1, 2, 3, 4, 5}
    assert set(np.concatenate([runs(row) for row in mask.all(1).numpy()])) == {1, 2}


def test_intervals_that_always_begin_are_as_dense_as_they_can_be():
    # Twelve frames, width 2, gap 1: start positions 0 … 9, of which 0, 3, 6, 9; ten bins, width 1: 0, 2, 4, 6, 8.
    _, mask = mask_static(
        image_of(1, 12, 10), seeds=seeds(1), start_probability=1, frame_widths=(2, 2), bin_widths=(1, 1)
    )
    assert mask[0, :, 9].tolist() == [True, True, False] * 4
    assert mask[0, 2].tolist() == [True, False] * 5


def test_adaptive_intervals_are_as_wide_as_two_hundred_by_frequency_and_25():
    # The grid from .01 to 250 Hz has steps of 6.41 Hz: 200 / 25.01 is 7 frames, 200 / 31.42 is 6, … 200 / 275 is none.
    half_widths = [7, 6, 5, 4, 3, 3, 3, 2, 2, 2, 2, 2, *[1] * 28]
    assert half_widths == [max(1, int(200 / (25 + 0.01 + bin * 249.99 / 39))) for bin in range(40)]
    never = {"band_width": (1e-9, 250.0), "start_probability": 1, "keep": 0, "swap": 0}
    image = image_of(200, 36)
    _, mask = mask_adaptive(image, seeds=seeds(200), **never)
    # Each centre is taken that can be: 7, and 16 later 23; the next would reach beyond the end. Bins 0 … 38 are bands.
    seen = set()
    for least in (1, 2):
        _, mask = mask_adaptive(image, seeds=seeds(200), least_half_widths=(least, least), **never)
        widths = {tuple(np.flatnonzero(row)) for row in mask[:, :, 39].numpy()}
        assert widths == {tuple(t for c in (7, 23) for t in range(c - least, c + least))}
        seen |= widths
    _, mask = mask_adaptive(image, seeds=seeds(200), **never)
    assert {tuple(np.flatnonzero(row)) for row in mask[:, :, 39].numpy()} == seen


def test_adaptive_intervals_have_their_width_in_every_bin():
    # Seen in clips without bands: one in e^3.6 at this probability, so thousands of them.
    _, mask = mask_adaptive(image_of(3000, 36), seeds=seeds(3000), least_half_widths=(1, 1))
    mask = mask[~mask[:, -1].any(1) & mask.any(2).any(1)]
    assert len(mask) > 30
    half_widths = [max(1, int(200 / (25 + 0.01 + bin * 249.99 / 39))) for bin in range(40)]
    for clip in mask.numpy():
        centres = np.flatnonzero(clip[:, 39])[1::2]
        expected = np.zeros_like(clip)
        for centre in centres:
            for bin, half in enumerate(half_widths):
                expected[centre - half : centre + half, bin] = True
        assert (clip == expected).all()


def test_adaptive_bands_are_as_wide_as_their_frequency():
    # 4.9 f / 250 is 2 from bin 16 (102.6 Hz), 3 from bin 24 (153.8 Hz), 4 from bin 32 (205.1 Hz) on; starts 0 … 35.
    expected = {start: 1 + (start >= 16) + (start >= 24) + (start >= 32) for start in range(36)}
    _, mask = mask_adaptive(image_of(4000, 20), seeds=seeds(4000), start_probability=0.02)
    last = mask[:, -1].numpy()  # no interval over time reaches it
    lone = [np.flatnonzero(row) for row in last if row.any() and len(runs(row)) == 1]
    narrowest = {}
    for found in lone:
        narrowest[found[0]] = min(len(found), narrowest.get(found[0], 40))
    assert narrowest == expected


def test_swapped_adaptive_intervals_show_the_same_shape_elsewhere():
    frames = torch.arange(195.0).view(1, 195, 1).expand(50, 195, 40).contiguous()
    masked, mask = mask_adaptive(frames, seeds=seeds(50), keep=0, swap=1)
    moved = torch.where(mask, masked - frames, 0)
    # Bands show frames at their own time; over time, all bins of an interval have moved by one number of frames.
    assert all(len(set(row[row != 0].tolist())) <= 1 for clip in moved for row in clip)
    assert (moved[:, :, 39] != 0).any()


@both
def test_padding_is_never_masked_and_never_copied(masking):
    image, attention_mask = padded(64)
    masked, mask = masking(image, attention_mask, seeds=seeds(64), swap=0.9)
    assert not mask[attention_mask == 0].any()
    assert (masked[attention_mask == 1] >= 0).all()
    assert (masked[attention_mask == 0] == -7).all()


@both
def test_a_padded_clip_has_the_mask_of_the_clip_alone(masking):
    image, attention_mask = padded(16)
    masked, mask = masking(image, attention_mask, seeds=seeds(16))
    for row, length in enumerate(attention_mask.sum(1)):
        alone = masking(image[row : row + 1, :length].contiguous(), seeds=seeds(16)[row : row + 1])
        assert equal((masked[row : row + 1, :length], mask[row : row + 1, :length]), alone)


@both
def test_a_row_without_signal_is_left_alone(masking):
    image = image_of(2)
    masked, mask = masking(image, torch.tensor([[1], [0]]).expand(2, 186), seeds=seeds(2))
    assert mask[0].any()
    assert not mask[1].any()
    assert torch.equal(masked[1], image[1])


@both
@pytest.mark.parametrize(("frames", "bins"), [(1, 1), (1, 40), (5, 2), (14, 4)])
def test_clips_with_no_room_for_an_interval_are_unmasked(masking, frames, bins):
    # Static intervals need six frames and three bins, adaptive ones fifteen frames and five bins.
    image = image_of(4, frames, bins)
    masked, mask = masking(image, seeds=seeds(4), start_probability=1)
    roomy = bins == 40 or (masking is mask_static and frames == 14)
    assert mask.any() == roomy
    assert roomy or torch.equal(masked, image)


@both
def test_masks_are_the_same_in_any_batch_in_any_order_on_any_rank(masking):
    image = image_of(12)
    together = masking(image, seeds=seeds(12))
    order = torch.randperm(12, generator=torch.Generator().manual_seed(3))
    shuffled = masking(image[order], seeds=seeds(12)[order])
    assert equal(shuffled, [each[order] for each in together])
    for rank in range(2):
        assert equal(masking(image[rank::2], seeds=seeds(12)[rank::2]), [each[rank::2] for each in together])
    assert equal(masking(image[5:6], seeds=seeds(12)[5:6]), [each[5:6] for each in together])


@both
def test_any_type_of_number_and_any_layout_in_memory_gives_the_same_mask(masking):
    image, attention_mask = padded(8)
    masked, mask = masking(image, attention_mask, seeds=seeds(8))
    for other in (image.double(), image.bfloat16(), image.transpose(1, 2).contiguous().transpose(1, 2)):
        again, same = masking(other, attention_mask, seeds=seeds(8))
        assert torch.equal(mask, same)
        assert torch.equal(again.float(), masked.to(other.dtype).float())


@both
def test_a_cell_that_is_not_finite_stays_where_it_is(masking):
    image = image_of(8)
    expected, mask = masking(image, seeds=seeds(8), swap=0)
    image[~mask] = torch.inf
    masked, _ = masking(image, seeds=seeds(8), swap=0)
    assert torch.equal(masked, torch.where(mask, expected, torch.inf))


class Asked(TorchDispatchMode):
    """Note the operations whose result the host has to wait for."""

    def __init__(self):
        super().__init__()
        self.operations = set()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        if any(word in str(operation) for word in ("nonzero", "local_scalar", "masked_select", "lift_fresh")):
            self.operations.add(str(operation))
        if "aten.index" in str(operation) and any(getattr(i, "dtype", None) == torch.bool for i in args[1:2]):
            self.operations.add(str(operation))
        return result


@both
def test_the_way_for_other_devices_gives_the_same_and_waits_for_nothing(masking, monkeypatch):
    image, attention_mask = padded(32)
    expected = masking(image, attention_mask, seeds=seeds(32), swap=0.5)
    monkeypatch.setattr(cells, "_answers_at_once", lambda image: False)
    with Asked() as asked:
        result = masking(image, attention_mask, seeds=seeds(32), swap=0.5)
    assert equal(result, expected)
    assert asked.operations == set()


@both
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_masks_and_is_not_waited_for(masking):
    image, attention_mask = padded(256)
    expected = masking(image, attention_mask, seeds=seeds(256), swap=0.5)
    arguments = image.cuda(), attention_mask.cuda()
    device_seeds = seeds(256).cuda()
    masking(*arguments, seeds=device_seeds)  # the first use of a probability waits
    torch.cuda.set_sync_debug_mode("error")
    try:
        result = masking(*arguments, seeds=device_seeds, swap=0.5)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert equal([each.cpu() for each in result], expected)


def test_rows_epochs_and_seeds_have_masks_of_their_own():
    every = torch.cat([seeds(1000, seed, epoch) for seed in (0, 1) for epoch in (-1, 0, 1)])
    assert len(every.unique()) == len(every)


@both
@pytest.mark.parametrize(
    "meaningless", [{"start_probability": 0}, {"start_probability": 1.1}, {"keep": -0.1}, {"keep": 0.6, "swap": 0.5}]
)
def test_shares_that_mean_nothing_are_refused(masking, meaningless):
    with pytest.raises(ValueError, match=r"give a start_probability from 0\.0001 to 1, and shares from 0 on"):
        masking(image_of(1), seeds=seeds(1), **meaningless)


@pytest.mark.parametrize("widths", [{"frame_widths": (0, 2)}, {"bin_widths": (3, 2)}])
def test_widths_that_mean_nothing_are_refused(widths):
    with pytest.raises(ValueError, match=f"{next(iter(widths))}=.*: give the least and the greatest"):
        mask_static(image_of(1), seeds=seeds(1), **widths)


@pytest.mark.parametrize("numbers", [{"frequencies_hz": (-1, 250)}, {"half_width": (200, 0)}, {"band_width": (0, 250)}])
def test_frequencies_and_widths_that_mean_nothing_are_refused(numbers):
    with pytest.raises(ValueError, match="give positive numbers"):
        mask_adaptive(image_of(1), seeds=seeds(1), **numbers)
