"""What the pretraining loop needs and no library has: masks, baselines, exact averages, figures."""

from .batches import CollateClips, clip_batch, masked_batch
from .checkpoints import Checkpoints
from .evaluation import MaskedError, count_cells, evaluate
from .figures import TimeFrequencyImage, plot_front_ends, plot_learning_curve, plot_reconstruction
from .initialization import look_at_neighbours
from .interpolation import interpolate_masked
from .interruption import StopRequest
from .lamb import Lamb
from .loading import CorpusLoader, StreamLoader, held_out_batches
from .masks import mask_adaptive, mask_seeds, mask_static
from .optimizers import make_optimizers
from .schedules import make_schedule
from .step import accumulate_gradients

__all__ = [
    "Checkpoints",
    "CollateClips",
    "CorpusLoader",
    "Lamb",
    "MaskedError",
    "StopRequest",
    "StreamLoader",
    "TimeFrequencyImage",
    "accumulate_gradients",
    "clip_batch",
    "count_cells",
    "evaluate",
    "held_out_batches",
    "interpolate_masked",
    "look_at_neighbours",
    "make_optimizers",
    "make_schedule",
    "mask_adaptive",
    "mask_seeds",
    "mask_static",
    "masked_batch",
    "plot_front_ends",
    "plot_learning_curve",
    "plot_reconstruction",
]
