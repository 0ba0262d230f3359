"""What the pretraining loop needs and no library has: masks, baselines, exact averages, figures."""

from .batches import CollateClips, masked_batch
from .evaluation import MaskedError, evaluate
from .figures import TimeFrequencyImage, plot_front_ends, plot_reconstruction
from .interpolation import interpolate_masked
from .masks import mask_seeds, mask_static

__all__ = [
    "CollateClips",
    "MaskedError",
    "TimeFrequencyImage",
    "evaluate",
    "interpolate_masked",
    "mask_seeds",
    "mask_static",
    "masked_batch",
    "plot_front_ends",
    "plot_reconstruction",
]
