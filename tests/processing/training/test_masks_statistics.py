"""Statistics of both masks against a plain implementation of their definition, one clip and one interval at a time.

Every cell of an image is a number of its own, so that the masked image tells where each value came from. 36 statistics
are compared, at fixed seeds, two-sided at .01 / 36 each: means over clips by Welch's test, counts by χ².
"""

import numpy as np
import torch
from scipy import stats

from brainbert.processing.training import mask_adaptive, mask_seeds, mask_static

CLIPS, FRAMES, BINS = 2000, 195, 40
IMAGE = 1 + np.arange(FRAMES * BINS, dtype=np.float32).reshape(FRAMES, BINS)  # whole numbers are exact to 2^24
STATISTICS = 2 * 18
SEEDS = mask_seeds(torch.arange(CLIPS), seed=0, epoch=0)


def plain_static(image, rng):
    masked, mask = image.copy(), np.zeros(image.shape, bool)
    for axis, low, high in ((0, 1, 5), (1, 1, 2)):
        length = image.shape[axis]
        end = -1
        for start in range(length - high):
            if rng.random() < 0.05 and start > end:
                width = rng.integers(low, high + 1)
                end, other, fate = start + width, rng.integers(length - high), rng.random()
                here, there = [slice(None), slice(None)], [slice(None), slice(None)]
                here[axis], there[axis] = slice(start, end), slice(other, other + width)
                mask[tuple(here)] = True
                if 0.1 <= fate < 0.2:
                    masked[tuple(here)] = image[tuple(there)]
                elif fate >= 0.2:
                    masked[tuple(here)] = 0
    return masked, mask


def plain_adaptive(image, rng):
    masked, mask = image.copy(), np.zeros(image.shape, bool)
    least = rng.integers(1, 3)
    frequencies = np.linspace(0.01, 250, BINS)
    half = [int(max(least, 200 / (25 + f))) for f in frequencies]
    centres, last = range(max(half), FRAMES - max(half)), -1000
    for centre in centres:
        if rng.random() < 0.1 and centre - last > 2 * max(half) + 1:
            last, other, fate = centre, rng.choice(centres), rng.random()
            for bin, reach in enumerate(half):
                mask[centre - reach : centre + reach, bin] = True
                if 0.1 <= fate < 0.2:
                    masked[centre - reach : centre + reach, bin] = image[other - reach : other + reach, bin]
                elif fate >= 0.2:
                    masked[centre - reach : centre + reach, bin] = 0
    width = [max(1, int(4.9 * f / 250)) for f in frequencies]
    starts = BINS - max(width)
    for start in range(starts):
        if rng.random() < 0.1:
            bins, other, fate = slice(start, start + width[start]), rng.integers(starts), rng.random()
            mask[:, bins] = True
            if 0.1 <= fate < 0.2:
                masked[:, bins] = image[:, other : other + width[start]]
            elif fate >= 0.2:
                masked[:, bins] = 0
    return masked, mask


def along(line, hidden, source, widths_per_clip):
    """Return statistics along one axis: numbers per clip, and for every interval a category."""
    found = {"share": hidden.mean(1), "number": [], "widths": [], "starts": [], "steps": [], "fates": [], "origins": []}
    for row, origin in zip(hidden, source, strict=True):
        edges = np.flatnonzero(np.diff(np.concatenate(([0], row.astype(int), [0]))))
        starts, stops = edges[::2], edges[1::2]
        found["number"].append(float(len(starts)))
        found["widths"].extend((stops - starts)[:widths_per_clip])
        found["starts"].extend(starts * 20 // len(row))
        found["steps"].extend(np.minimum(np.diff(starts) // 2, 20))
        # A swap for the very same place counts as kept, here and in the plain implementation.
        fates = np.where(origin[starts] < 0, "zero", np.where(origin[starts] == starts, "kept", "swapped"))
        found["fates"].extend(fates)
        found["origins"].extend(origin[starts][fates == "swapped"] * 10 // len(row))
    return {f"{line}, {name}": np.asarray(values) for name, values in found.items()}


def measure(masked, mask, widths_per_clip=None):
    # No band reaches the last bin, no interval over time the last frame: there, each axis is seen alone.
    last_bin, last_frame = masked[:, :, -1].astype(int) - 1, masked[:, -1].astype(int) - 1
    found = along("time", mask[:, :, -1], last_bin // BINS, widths_per_clip)
    found |= along("bins", mask[:, -1], np.where(last_frame < 0, -1, last_frame % BINS), None)
    moved = masked != IMAGE
    found["cells masked"] = mask.mean((1, 2))
    found["cells zero"] = (masked == 0).mean((1, 2))
    found["cells from elsewhere"] = (moved & (masked != 0)).mean((1, 2))
    found["cells kept"] = (mask & ~moved).mean((1, 2))
    return found


def compare(masking, plain, **options):
    """Return the p-value of each statistic."""
    image = torch.from_numpy(IMAGE).expand(CLIPS, FRAMES, BINS)
    pairs = [masking(image[i : i + 250], seeds=SEEDS[i : i + 250]) for i in range(0, CLIPS, 250)]
    ours = measure(*(torch.cat(parts).numpy() for parts in zip(*pairs, strict=True)), **options)
    rng = np.random.default_rng(4)
    theirs = measure(*map(np.stack, zip(*(plain(IMAGE, rng) for _ in range(CLIPS)), strict=True)), **options)
    return {name: p_value(ours[name], theirs[name]) for name in ours}


def p_value(ours, theirs):
    if ours.dtype.kind == "f":
        return stats.ttest_ind(ours, theirs, equal_var=False).pvalue
    counts = np.array([[np.sum(each == category) for category in np.union1d(ours, theirs)] for each in (ours, theirs)])
    return stats.chi2_contingency(counts[:, counts.sum(0) >= 20]).pvalue


def test_static_masks_have_the_statistics_of_the_plain_walk():
    found = compare(mask_static, plain_static)
    assert len(found) == 18
    assert min(found.values()) > 0.01 / STATISTICS, found


def test_adaptive_masks_have_the_statistics_of_the_plain_loop():
    # One width per clip: the least half-width is the clip's.
    found = compare(mask_adaptive, plain_adaptive, widths_per_clip=1)
    assert len(found) == 18
    assert min(found.values()) > 0.01 / STATISTICS, found
