"""Hide cells of a spectrogram to see what the model puts in their place."""

import numpy as np
from numpy.typing import NDArray

START_PROBABILITY = 0.05
FRAMES_HIDDEN = (1, 5)
BINS_HIDDEN = (1, 2)


def mask_cells(frames: int, bins: int, *, seed: int = 0) -> NDArray[np.bool_]:
    """Return (frames, bins), True where a cell is hidden: short stretches of all bins, narrow bands of all frames.

    The intervals are those of pretraining; here all of them become 0, so that the picture shows what was hidden
    (in pretraining a tenth stays and a tenth is replaced). At least one stretch and one band are hidden.
    Source: Wang et al. 2023, algorithm 1.
    """
    generator = np.random.default_rng(seed)
    in_time = _intervals(frames, FRAMES_HIDDEN, generator)
    in_frequency = _intervals(bins, BINS_HIDDEN, generator)
    return in_time[:, None] | in_frequency[None, :]


def _intervals(length: int, widths: tuple[int, int], generator: np.random.Generator) -> NDArray[np.bool_]:
    hidden = np.zeros(length, dtype=bool)
    place = 0
    while place < length - widths[1]:
        if generator.random() < START_PROBABILITY:
            width = int(generator.integers(widths[0], widths[1] + 1))
            hidden[place : place + width] = True
            place += width + 1
        else:
            place += 1
    if not hidden.any():
        hidden[length // 3 : length // 3 + widths[1]] = True
    return hidden
