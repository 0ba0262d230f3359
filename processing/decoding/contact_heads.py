"""Decode from several contacts together: mean, side by side, a network, or attention over contacts.

Features are (contacts, windows, features), NaN where a contact has no usable signal in a window, or one such array for
each fold. All heads weigh classes inversely to how frequent they are in training.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from .contact_modules import (
    NETWORK_UNITS,
    AttentionOverContacts,
    EncoderWithHead,
    FrozenHead,
    MeanOfContacts,
    SideBySide,
)
from .epochs import Epochs
from .finetuned import finetuned_scores
from .finetuning import MakeModel, Recipe
from .out_of_fold import Features, check_features, fold_features, out_of_fold
from .probes import balanced_logistic, nearest_centroid, ridge
from .ranking import rank_contacts
from .splits import Split
from .systems import Encoder

LINEAR_HEADS = ("mean", "concatenation")
HEADS = (*LINEAR_HEADS, "network", "attention")
RECIPE = Recipe(steps=600, patience=100, validate_every=20)  # of network and attention on frozen embeddings


def head_scores(
    features: Features,
    epochs: Epochs,
    split: Split,
    head: str,
    *,
    positions: NDArray[np.float64] | None = None,
    seed: int = 0,
    recipe: Recipe | None = None,
    accelerator: Any = None,
    folder: Path | None = None,
    progress: bool = True,
    jobs: int = 1,
) -> NDArray[np.float64]:
    """Return the scores (1, windows, outputs) of the windows of each fold by a head trained on its training windows.

    features: (contacts, windows, features), or one such array for each fold, as `take_contacts` makes them.
    head: "mean", the mean over the contacts that are there; "concatenation", contacts side by side, where what is
        absent is the mean of the training windows and a column says so; both with logistic or ridge regression whose
        penalty is chosen inside the training windows. "network", side by side with one layer of 128 units;
        "attention", over contacts; both stop by the validation windows of the fold.
    positions: (contacts, 3) in mm, NaN where one is not known; attention alone looks at them. All must be in one
        coordinate frame: MNI152, fsaverage, or for contacts of one person that person's own.
    recipe: of network and attention. accelerator: of Accelerate, for them; by default the one that the program has
        made, else one of the CPU.
    outputs: log-odds of the second of two classes, else one log-probability a class, or the prediction. NaN where a
        window was never tested, or no contact has a signal.
    folder: where scores are kept, and found again. jobs: processes of linear heads.
    Raises ValueError for an unknown head, features that are not of these windows, positions of other contacts, and a
    recipe with LoRA.
    """
    if head not in HEADS:
        raise ValueError(f"There is no head {head!r}: choose from {', '.join(HEADS)}.")
    check_features(features, epochs, split)
    contacts = len(fold_features(features, 0))
    _check_positions(positions, contacts)
    if head in LINEAR_HEADS:
        probe = ridge if epochs.classes is None else balanced_logistic
        together = _mean(features) if head == "mean" else _side_by_side(features, split)
        return out_of_fold(together, epochs, split, probe, seed=seed, folder=folder, progress=progress, jobs=jobs)
    recipe = recipe or RECIPE
    if recipe.lora is not None:
        raise ValueError(f"lora is {recipe.lora}, and a head on frozen embeddings has no encoder: give lora=None.")
    if accelerator is None:
        from accelerate import Accelerator
        from accelerate.state import is_initialized

        accelerator = Accelerator(cpu=not is_initialized())
    outputs = 1 if epochs.classes is None else len(epochs.classes)
    width = fold_features(features, 0).shape[2]

    def make_model() -> FrozenHead:
        module = _module(head, width, outputs, contacts=contacts, positions=positions)
        return FrozenHead(module, name=head, outputs=outputs)

    with _one_thread():
        scores, _ = finetuned_scores(
            make_model,
            _standardised(features, split),
            epochs=epochs,
            split=split,
            contacts=["all"],
            accelerator=accelerator,
            recipe=recipe,
            seed=seed,
            folder=folder,
            progress=progress,
            description=head,
        )
    return scores


def classifier_maker(
    encoder: Encoder,
    outputs: int,
    head: str,
    *,
    contacts: int,
    positions: NDArray[np.float64] | None = None,
    pretrained: bool,
) -> MakeModel:
    """Return a function that makes an encoder with a fresh head over contacts, for `finetuned_scores`.

    Its inputs are those of `stacked_inputs`. outputs: number of classes, 1 for a regression. pretrained: with the
    encoder's weights, or with fresh ones.
    Raises ValueError for an unknown head, and positions of other contacts.
    """
    if head not in HEADS:
        raise ValueError(f"There is no head {head!r}: choose from {', '.join(HEADS)}.")
    _check_positions(positions, contacts)
    config = deepcopy(encoder.model.config)
    config.pooling = encoder.pooling
    weights = {name: tensor.cpu() for name, tensor in encoder.model.state_dict().items()}

    def make() -> EncoderWithHead:
        model = type(encoder.model)(deepcopy(config))
        if pretrained:
            model.load_state_dict(weights)
        module = _module(head, config.hidden_size, outputs, contacts=contacts, positions=positions)
        return EncoderWithHead(model, module, outputs=outputs)

    return make


def stacked_inputs(inputs: Features) -> Features:
    """Return inputs (1, windows, contacts, frames, bins) of `encoder_inputs`: all contacts of a window as one.

    A contact without a signal is 0; a window without any is NaN.
    """

    def stack(of_fold: NDArray[np.float32]) -> NDArray[np.float32]:
        stacked = np.swapaxes(of_fold, 0, 1)
        absent = _absent(stacked.reshape(*stacked.shape[:2], -1))  # (windows, contacts)
        absent[np.logical_and.reduce(absent, axis=1)] = False  # such a window is left NaN
        return np.where(absent[:, :, None, None], np.float32(0), stacked)[None]

    return stack(inputs) if isinstance(inputs, np.ndarray) else [stack(of_fold) for of_fold in inputs]


def choose_contacts(features: Features, epochs: Epochs, split: Split, count: int) -> list[NDArray[np.int64]]:
    """Return the best `count` contacts of each fold, ascending, chosen inside its training windows.

    Contacts are ranked by `rank_contacts` with the nearest class mean, or ridge regression: fast enough for hundreds.
    Raises ValueError for a count that is not from 1 to the number of contacts.
    """
    check_features(features, epochs, split)
    contacts = len(fold_features(features, 0))
    if not 1 <= count <= contacts:
        raise ValueError(f"count is {count}; choose from 1 to {contacts} contacts.")
    probe = ridge if epochs.classes is None else nearest_centroid
    ranks = [
        rank_contacts(fold_features(features, number), epochs, split, fold, probe)
        for number, fold in enumerate(split.folds)
    ]
    return [np.sort(rank[:count]) for rank in ranks]


def take_contacts(features: Features, chosen: Sequence[NDArray[np.int64]]) -> list[NDArray[np.float32]]:
    """Return the features of the contacts that were chosen for each fold: one array a fold."""
    return [fold_features(features, number)[contacts] for number, contacts in enumerate(chosen)]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute with one thread: products are small, and on a busy machine threads wait for each other longer."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _module(
    head: str, features: int, outputs: int, *, contacts: int, positions: NDArray[np.float64] | None
) -> nn.Module:
    if head == "mean":
        return MeanOfContacts(features, outputs)
    if head == "attention":
        return AttentionOverContacts(features, outputs, contacts=contacts, positions=positions)
    return SideBySide(features, outputs, contacts=contacts, hidden=NETWORK_UNITS if head == "network" else None)


def _check_positions(positions: NDArray[np.float64] | None, contacts: int) -> None:
    if positions is not None and np.shape(positions) != (contacts, 3):
        raise ValueError(f"positions are {np.shape(positions)}; give ({contacts} contacts, 3) in mm.")


def _mean(features: Features) -> Features:
    """Return (1, windows, features), the mean over the contacts that are there; NaN where none is."""

    def mean(of_fold: NDArray[np.float32]) -> NDArray[np.float32]:
        there = np.isfinite(of_fold).all(axis=2, keepdims=True)
        count = there.sum(axis=0)
        total = np.where(there, of_fold, 0).sum(axis=0, dtype=np.float64)
        return np.where(count, total / np.maximum(count, 1), np.nan).astype(np.float32)[None]

    return mean(features) if isinstance(features, np.ndarray) else [mean(of_fold) for of_fold in features]


def _side_by_side(features: Features, split: Split) -> Features:
    """Return (1, windows, contacts · features and marks); what is absent has the mean of a fold's training windows."""
    if isinstance(features, np.ndarray) and np.isfinite(features).all():
        return np.concatenate(list(features), axis=1)[None]
    sides = []
    for number, fold in enumerate(split.folds):
        array = fold_features(features, number)
        absent = _absent(array)
        marked = absent[:, fold.train].any(axis=1)  # of others a mark could not be learnt
        marks = absent[marked].T.astype(np.float32)
        filled = np.where(absent[:, :, None], _training_mean(array, absent, fold.train)[:, None], array)
        together = np.concatenate([*filled, marks], axis=1)
        together[absent.all(axis=0)] = np.nan
        sides.append(together[None])
    return sides


def _standardised(features: Features, split: Split) -> list[NDArray[np.float32]]:
    """Return (1, windows, contacts, features + 1) of each fold, with mean 0 and deviation 1 in its training windows.

    A contact that is absent is 0 with the mark 0, others have the mark 1; windows without any contact are NaN.
    """
    found = []
    for number, fold in enumerate(split.folds):
        array = fold_features(features, number)
        absent = _absent(array)
        mean = _training_mean(array, absent, fold.train)
        distance = np.where(absent[:, :, None], 0, array - mean[:, None])
        count = np.maximum((~absent[:, fold.train]).sum(axis=1), 1)[:, None]
        deviation = np.sqrt(np.square(distance[:, fold.train], dtype=np.float64).sum(axis=1) / count)
        scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 1e-6 * np.abs(mean))
        scale = scale.astype(np.float32)
        images = np.concatenate([distance * scale[:, None], ~absent[:, :, None]], axis=2, dtype=np.float32)
        images = np.swapaxes(images, 0, 1)
        images[absent.all(axis=0)] = np.nan
        found.append(images[None])
    return found


def _absent(array: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return where (contacts, windows) there is no signal."""
    return np.logical_or.reduce(~np.isfinite(array), axis=2)


def _training_mean(
    array: NDArray[np.float32], absent: NDArray[np.bool_], train: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return (contacts, features), the mean over training windows where a contact is there; 0 where it never is."""
    there = ~absent[:, train]
    total = np.where(there[:, :, None], array[:, train], 0).sum(axis=1, dtype=np.float64)
    return (total / np.maximum(there.sum(axis=1), 1)[:, None]).astype(np.float32)
