"""Independent units of windows: blocks of time, which fold each unit goes to, and what a unit has in common."""

import numpy as np
from numpy.typing import NDArray

from .epochs import Epochs


def time_blocks(epochs: Epochs, count: int, *, at_least: int) -> NDArray[np.int64]:
    """Return (windows,), the number of the block of time that each window begins in.

    count: blocks to aim at in all recordings together; fewer where one would be shorter than two windows, but
    `at_least` of them where that is possible at all.
    """
    order = np.lexsort((epochs.start, epochs.recording))
    start, recording = epochs.start[order], epochs.recording[order]
    first = np.r_[True, recording[1:] != recording[:-1]]
    # Time that is covered by windows, up to the start of each; what lies between windows does not count.
    advance = np.minimum(np.diff(start, prepend=start[0]), epochs.length)
    advance[first] = 0
    number = np.cumsum(first) - 1
    covered = np.cumsum(advance)
    covered -= covered[first][number]
    last = np.bincount(number, weights=advance)
    totals = last + epochs.length
    # The last window advances as far as the others do on average: equal blocks of equal steps.
    steps = np.bincount(number, weights=advance > 0)
    last += np.where(steps > 0, last / np.maximum(steps, 1), 1)
    for shortest in (max(totals.sum() / count, 2 * epochs.length), totals.sum() / max(at_least, 1)):
        blocks = np.maximum(1, np.floor(totals / shortest + 1e-9)).astype(np.int64)
        if blocks.sum() >= at_least:
            break
    else:
        blocks = np.maximum(1, np.ceil(totals / totals.sum() * at_least)).astype(np.int64)
    block = np.floor(covered * blocks[number] / last[number] + 1e-9).astype(np.int64)
    offset = np.concatenate([[0], np.cumsum(blocks)[:-1]])
    result = np.empty(len(epochs), dtype=np.int64)
    result[order] = np.unique(offset[number] + block, return_inverse=True)[1]
    return result


def shared_out(unit: NDArray[np.int64], epochs: Epochs, folds: int) -> NDArray[np.int64]:
    """Return (units,), the fold that each unit is tested in, such that every fold has its share of every class.

    unit: (windows,), numbers from 0 on without a gap.
    The units with the rarest classes first, of these the largest: each goes where the sum over folds and classes of
    the squared share of windows grows least. A fold without a class thus comes before one that has it.
    """
    stratum = np.unique(strata(epochs), return_inverse=True)[1]
    counts = np.zeros((int(unit.max()) + 1, int(stratum.max()) + 1))
    np.add.at(counts, (unit, stratum), 1)
    shares = counts / counts.sum(axis=0)
    holders = (counts > 0).sum(axis=0)
    rarest = np.where(counts > 0, holders, len(counts) + 1).min(axis=1)
    have = np.zeros((folds, counts.shape[1]))
    result = np.empty(len(counts), dtype=np.int64)
    for number in np.lexsort((-counts.sum(axis=1), rarest)):
        growth = (shares[number] * (2 * have + shares[number])).sum(axis=1)
        tied = np.flatnonzero(growth <= growth.min() + 1e-12)
        fold = tied[np.argmin(have[tied].sum(axis=1))]
        have[fold] += shares[number]
        result[number] = fold
    return result


def constant_within(unit: NDArray[np.int64], values: NDArray) -> bool:
    """Whether all windows of each unit have the same of these values (windows,)."""
    _, first, inverse = np.unique(unit, return_index=True, return_inverse=True)
    return bool((values == values[first][inverse]).all())


def apart(start: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Return which of the windows with these ascending starts share no sample with an earlier one that was returned."""
    found, free = [], -1
    for index, first in enumerate(start.tolist()):
        if first >= free:
            found.append(index)
            free = first + length
    return np.array(found, dtype=np.int64)


def strata(epochs: Epochs) -> NDArray[np.int64]:
    """Return (windows,), the class of each; for a regression which quarter of all values its own is in."""
    if epochs.classes is not None:
        return epochs.target
    edges = np.quantile(epochs.target, [0.25, 0.5, 0.75])
    return np.searchsorted(edges, epochs.target)
