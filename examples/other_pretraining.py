"""Ways to pretrain to measure ours against: clip by clip in workers of a DataLoader, and the original's own code."""

import importlib
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from other_front_ends import BINS, HOP, WINDOW, scipy_stft
from torch.utils.data import DataLoader, Dataset

from brainbert.modeling_brainbert import BrainBertConfig

Masked = tuple[NDArray, NDArray]  # image and mask, (frames, bins) both

# What the original's modules import by these names, some of it installed under the same name by others.
ORIGINAL_PACKAGES = ("datasets", "preprocessors", "util", "models", "criterions", "tasks", "omegaconf")


class Settings(SimpleNamespace):
    """Attributes that `in` finds, too."""

    def __contains__(self, name: str) -> bool:
        return hasattr(self, name)


# The paper's probability; the original's settings say twice that for static masks.
STATIC = Settings(
    mask_type="fixed",
    time_mask_p=0.05,
    time_mask_consecutive_min=1,
    time_mask_consecutive_max=5,
    freq_mask_p=0.05,
    freq_mask_consecutive_min=1,
    freq_mask_consecutive_max=2,
)
ADAPTIVE = Settings(mask_type="variable", mask_p=0.1, min_f=0.01, max_f=250, n_freq_steps=BINS)


def static_by_loop(image: NDArray, rng: random.Random) -> Masked:
    """Return what mask_static defines, for one clip, interval by interval."""
    masked, mask = image.copy(), np.zeros(image.shape, bool)
    for axis, widest in ((0, 5), (1, 2)):
        here = [np.moveaxis(array, axis, 0) for array in (image, masked, mask)]
        starts = image.shape[axis] - widest
        free_from = 0
        for start in range(starts):
            if rng.random() < 0.05 and start >= free_from:
                width = rng.randint(1, widest)
                free_from = start + width + 1
                _hide(*here, start, width, rng.randrange(starts), rng.random())
    return masked, mask


def adaptive_by_loop(image: NDArray, rng: random.Random) -> Masked:
    """Return what mask_adaptive defines, for one clip, interval by interval."""
    masked, mask = image.copy(), np.zeros(image.shape, bool)
    frames, bins = image.shape
    hertz = np.linspace(0.01, 250, bins)
    half_widths = np.maximum(200 / (25 + hertz), rng.randint(1, 2)).astype(int)
    widest = int(half_widths.max())
    free_from = widest
    for centre in range(widest, frames - widest):
        if rng.random() < 0.1 and centre >= free_from:
            free_from = centre + 2 * widest + 2
            origin, fate = rng.randrange(widest, frames - widest), rng.random()
            for bin, half in enumerate(half_widths):
                here = (array[:, bin] for array in (image, masked, mask))
                _hide(*here, centre - half, 2 * half, origin - half, fate)
    widths = np.maximum(4.9 * hertz / 250, 1).astype(int)
    starts = bins - int(widths.max())
    for start in range(starts):
        if rng.random() < 0.1:
            _hide(image.T, masked.T, mask.T, start, widths[start], rng.randrange(starts), rng.random())
    return masked, mask


def _hide(image: NDArray, masked: NDArray, mask: NDArray, start: int, width: int, origin: int, fate: float) -> None:
    """Put into `masked` what takes the place of an interval of the first axis: itself, a stretch of `image`, or 0."""
    if fate >= 0.2:
        masked[start : start + width] = 0
    elif fate >= 0.1:
        masked[start : start + width] = image[origin : origin + width]
    mask[start : start + width] = True


class NpyClips(Dataset):
    """Clips in files of their own, (samples,) in µV at 2048 Hz, each transformed and masked when it is asked for."""

    def __init__(self, files: Sequence[Path]):
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        image = scipy_stft(np.load(self.files[index])).astype(np.float32)
        masked, mask = static_by_loop(image, random.Random(index))
        values = {"input_values": masked, "labels": image, "mask": mask}
        return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in values.items()}


def in_workers(dataset: Dataset, *, batch_size: int, workers: int, **how: Any) -> DataLoader:
    """Return a loader whose worker processes stay from one epoch to the next."""
    # Forked: the original's classes are under no name that another process could import.
    fork = {"num_workers": workers, "persistent_workers": True, "multiprocessing_context": "fork"} if workers else {}
    return DataLoader(dataset, batch_size=batch_size, **fork, **how)


class Original(NamedTuple):
    mask: Callable[[torch.Tensor, Settings], tuple[torch.Tensor, torch.Tensor]]  # (image, STATIC or ADAPTIVE)
    dataset: Callable[[Path], Dataset]  # of the clips that `write_manifest` listed in a folder
    collate: Callable[[list[dict]], dict[str, Any]]
    model: Callable[[BrainBertConfig], torch.nn.Module]
    loss: Callable[[torch.nn.Module, dict[str, Any], str], torch.Tensor]  # (model, batch, device)
    optimizer: Callable[[torch.nn.Module, float], torch.optim.Optimizer]  # (model, learning rate)


def load_original(path: Path) -> Original:
    """Return what a clone of the original pretrains with. This executes the clone's code.

    Its packages are not imported as wholes: that would need everything that its other models need.
    Raises ValueError when `path` holds no such clone, or torch_optimizer, which has its LAMB, is not installed.
    """
    folder = path.resolve()
    if not (folder / "models" / "masked_tf_model.py").is_file():
        raise ValueError(f"{path} is no clone of the original: it has no models/masked_tf_model.py.")
    try:
        lamb = importlib.import_module("torch_optimizer").Lamb
    except ImportError:
        raise ValueError("The original's LAMB is in the package torch_optimizer: install it (pip).") from None
    with _packages_of(folder) as packages:
        for package, registers in (
            ("datasets", "register_dataset"),
            ("models", "register_model"),
            ("criterions", "register_criterion"),
        ):
            setattr(packages[package], registers, lambda name: lambda registered: registered)
        packages["omegaconf"].OmegaConf = None  # for caches, which are not used here
        packages["preprocessors"].STFTPreprocessor = importlib.import_module("preprocessors.stft").STFTPreprocessor
        mask = importlib.import_module("util.mask_utils").mask_inputs
        dataset = importlib.import_module("datasets.masked_tf_dataset").MaskedTFDataset
        collate = importlib.import_module("tasks.batch_utils").spec_collator
        model = importlib.import_module("models.masked_tf_model").MaskedTFModel
        criterion = importlib.import_module("criterions.pretrain_masked_criterion").PretrainMaskedCriterion()
    stft = Settings(name="stft", freq_channel_cutoff=BINS, nperseg=WINDOW, noverlap=WINDOW - HOP, normalizing="zscore")

    def build_model(config: BrainBertConfig) -> torch.nn.Module:
        built = model()
        built.build_model(
            Settings(
                input_dim=config.num_frequency_bins,
                hidden_dim=config.hidden_size,
                layer_dim_feedforward=config.intermediate_size,
                layer_activation=config.hidden_act,
                nhead=config.num_attention_heads,
                encoder_num_layers=config.num_hidden_layers,
            )
        )
        return built

    def loss(model: torch.nn.Module, batch: dict[str, Any], device: str) -> torch.Tensor:
        criterion.build_criterion(Settings(alpha=2))
        return criterion(model, batch, device)[0]

    return Original(
        mask=mask,
        dataset=lambda clips: dataset(Settings(data=str(clips)), STATIC, stft),
        collate=collate,
        model=build_model,
        loss=loss,
        optimizer=lambda model, learning_rate: lamb(model.parameters(), lr=learning_rate),
    )


def write_manifest(folder: Path, files: Sequence[Path], *, samples: int) -> None:
    """List the clips in `folder` as the original's data set wants it."""
    lines = [str(folder), *(f"{file.name}\t{samples}" for file in files)]
    (folder / "manifest.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


@contextmanager
def _packages_of(folder: Path) -> Iterator[dict[str, ModuleType]]:
    """Let imports of ORIGINAL_PACKAGES find the clone's, as bare folders; afterwards what was there is back."""

    def theirs() -> dict[str, ModuleType]:
        return {name: module for name, module in sys.modules.items() if name.partition(".")[0] in ORIGINAL_PACKAGES}

    before = theirs()
    packages = {name: ModuleType(name) for name in ORIGINAL_PACKAGES}
    for name, package in packages.items():
        package.__path__ = [str(folder / name)]
    for name in before:
        del sys.modules[name]
    sys.modules.update(packages)
    try:
        yield packages
    finally:
        for name in theirs():
            del sys.modules[name]
        sys.modules.update(before)
