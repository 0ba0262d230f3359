"""Static masks: what is hidden, what it is replaced by, and how much of it there is."""

import numpy as np
import pytest
import torch

from brainbert.processing.training import mask_seeds, mask_static
from brainbert.processing.training.masks import uniform


def seeds(rows, seed=0, epoch=0):
    return mask_seeds(torch.arange(rows), seed=seed, epoch=epoch)


def runs(row):
    """Lengths of the runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], row.astype(int), [0]))))
    return edges[1::2] - edges[::2]


def image_of(batch, frames=186, bins=40):
    return 1 + torch.rand(batch, frames, bins, generator=torch.Generator().manual_seed(1))  # nothing is 0 by itself


def test_one_seed_gives_one_mask():
    image = image_of(4)
    first, second, other = (mask_static(image, seeds=seeds(4, seed)) for seed in (3, 3, 4))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[1], other[1])


def test_cells_outside_the_mask_are_untouched():
    image = image_of(16)
    masked, mask = mask_static(image, seeds=seeds(16))
    assert torch.equal(masked[~mask], image[~mask])


def test_the_mask_is_made_of_whole_frames_and_whole_bins():
    _, mask = mask_static(image_of(16), seeds=seeds(16))
    frames, bins = mask.all(2), mask.all(1)
    assert torch.equal(mask, frames.unsqueeze(2) | bins.unsqueeze(1))


def test_widths_are_in_their_ranges_and_intervals_are_apart():
    # A gap of at least one between intervals: each run is one interval.
    _, mask = mask_static(image_of(400), seeds=seeds(400))
    widths = np.concatenate([runs(row) for row in mask.all(2).numpy()])
    assert set(widths) == {1, 2, 3, 4, 5}
    assert set(np.concatenate([runs(row) for row in mask.all(1).numpy()])) == {1, 2}
    # Uniform over five widths: a share of .2 each.
    shares = np.bincount(widths)[1:] / len(widths)
    np.testing.assert_allclose(shares, 0.2, atol=4 * (0.16 / len(widths)) ** 0.5)


def test_share_of_masked_frames_agrees_with_a_plain_walk():
    def walk(rng, length=186, p=0.05, low=1, high=5):
        hidden, position = np.zeros(length, bool), 0
        while position < length - high:
            if rng.random() < p:
                width = rng.integers(low, high + 1)
                hidden[position : position + width] = True
                position += width + 1
            else:
                position += 1
        return hidden.mean()

    rng = np.random.default_rng(0)
    expected = np.array([walk(rng) for _ in range(4000)])
    _, mask = mask_static(image_of(4000, bins=4), seeds=seeds(4000), bin_widths=(1, 1), start_probability=0.05)
    ours = mask[:, :, 3].float().mean(1).numpy()  # the last bin is beyond the last start of a band
    difference = ours.mean() - expected.mean()
    assert abs(difference) < 4 * (ours.var() / 4000 + expected.var() / 4000) ** 0.5


def test_of_the_intervals_a_tenth_stay_a_tenth_are_swapped_the_rest_are_zero():
    image = image_of(600, bins=2)
    masked, mask = mask_static(image, seeds=seeds(600), bin_widths=(1, 1), start_probability=0.05)
    fates = {"kept": 0, "zero": 0, "swapped": 0}
    for before, after, hidden in zip(image[:, :, 1], masked[:, :, 1], mask[:, :, 1].numpy(), strict=True):
        edges = np.flatnonzero(np.diff(np.concatenate(([0], hidden.astype(int), [0]))))
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            if torch.equal(after[start:stop], before[start:stop]):
                fates["kept"] += 1
            elif not after[start:stop].any():
                fates["zero"] += 1
            else:
                fates["swapped"] += 1
                # The very stretch stands somewhere in the image.
                windows = before.unfold(0, stop - start, 1)
                assert (windows == after[start:stop]).all(1).any()
    total = sum(fates.values())
    for fate, share in (("kept", 0.1), ("swapped", 0.1), ("zero", 0.8)):
        # A swap may hit its own place (one in 186): within four standard errors all the same.
        assert fates[fate] / total == pytest.approx(share, abs=4 * (share * (1 - share) / total) ** 0.5)


def test_padding_is_never_masked_and_never_copied():
    image = image_of(64)
    attention_mask = torch.arange(186) < torch.randint(20, 186, (64, 1), generator=torch.Generator().manual_seed(5))
    image[~attention_mask] = -7
    masked, mask = mask_static(image, attention_mask.long(), seeds=seeds(64))
    assert not mask[~attention_mask].any()
    assert (masked[attention_mask] >= 0).all()
    assert (masked[~attention_mask] == -7).all()


def test_a_row_without_signal_is_left_alone():
    image = image_of(2)
    masked, mask = mask_static(image, torch.tensor([[1], [0]]).expand(2, 186), seeds=seeds(2))
    assert mask[0].any()
    assert not mask[1].any()
    assert torch.equal(masked[1], image[1])


def test_a_row_s_mask_depends_on_its_seed_alone():
    image = image_of(8)
    _, together = mask_static(image, seeds=seeds(8))
    _, alone = mask_static(image[5:6], seeds=seeds(8)[5:6])
    assert torch.equal(alone[0], together[5])


def test_rows_epochs_and_seeds_have_masks_of_their_own():
    every = torch.cat([seeds(1000, seed, epoch) for seed in (0, 1) for epoch in (-1, 0, 1)])
    assert len(every.unique()) == len(every)


def test_uniform_numbers_are_uniform_and_independent():
    drawn = torch.stack([uniform(seeds(2000), 100, stream=stream) for stream in (0, 1)]).double()
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert drawn.mean().item() == pytest.approx(0.5, abs=4 * (1 / 12 / drawn.numel()) ** 0.5)
    counts = torch.histc(drawn.float(), 20, 0, 1)
    expected = drawn.numel() / 20
    assert ((counts - expected) ** 2 / expected).sum() < 44  # χ² with 19 degrees of freedom, p = .001
    for first, second in ((drawn[0], drawn[1]), (drawn[:, :, :-1], drawn[:, :, 1:]), (drawn[:, :-1], drawn[:, 1:])):
        correlation = np.corrcoef(first.flatten(), second.flatten())[0, 1]
        assert abs(correlation) < 4 / first.numel() ** 0.5


def test_numbers_are_those_of_splitmix64():
    # The first outputs of the published generator for the state 1234567, from its reference implementation.
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    ours = uniform(torch.tensor([1234567]), 3, stream=0)
    assert ours.tolist() == [[(number >> 40) / 2**24 for number in published]]
