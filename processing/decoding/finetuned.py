"""Out-of-fold scores of fine-tuned models, one for each contact and fold, which are kept as they are made."""

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ..atomic import written_whole
from .encoder_features import input_features
from .epochs import Epochs
from .finetuning import MakeModel, Recipe, finetune, mixed_seed, score_windows, seeded
from .hashes import sha256, weights_sha256
from .out_of_fold import Features, fold_features
from .splits import Split, validation_rows
from .systems import Encoder, Task, input_statistics


def encoder_inputs(task: Task, encoder: Encoder) -> Features:
    """Return what the encoder reads, (contacts, windows, frames, bins), NaN where a contact has no usable signal.

    Under normalization="recording" with the statistics of training windows, one such array for each fold.
    """
    found = [
        input_features(*task.which, encoder.extractor, statistics=each, **task.kept)
        for each in input_statistics(task, encoder)
    ]
    return found[0] if len(found) == 1 else found


def finetuned_scores(
    make_model: MakeModel,
    inputs: Features,
    *,
    epochs: Epochs,
    split: Split,
    contacts: Sequence[str],
    accelerator: Any,
    recipe: Recipe,
    seed: int = 0,
    folder: Path | str | None = None,
    progress: bool = True,
    description: str = "fine-tuning",
) -> tuple[NDArray[np.float64], list[dict[str, Any]]]:
    """Return out-of-fold scores (contacts, windows, outputs) of a model for each contact and fold, and their training.

    make_model: as in `finetune`; with a pretrained encoder, or with an untrained one for the model trained from
        scratch.
    inputs: of `encoder_inputs`.
    epochs, contacts: of pooled contacts, those of `pool_epochs` and one name.
    folder: where the scores of each model are kept once it is trained, and found again when all that they depend on
        is the same: who is stopped goes on with the model where it was. All processes must see it.
    description: of the progress bar.
    The validation windows of a fold are its own, or some of its training windows (`validation_rows`). All contacts have
    the same seed, so that the scores of one do not depend on which others there are. Scores are NaN where a window is
    in no test or has no usable signal, and where training has no usable window of some class.
    Of each model: "contact", "fold", numbers of "windows", and "best_step" and "history" of FineTuned (None untrained).
    """
    start = _start(make_model, seed, accelerator)
    scores = np.full((len(contacts), len(epochs), epochs.num_outputs), np.nan)
    records: list[dict[str, Any]] = []
    with tqdm(
        total=len(contacts) * len(split.folds) * recipe.steps,
        desc=description,
        unit=" steps",
        disable=not (progress and accelerator.is_main_process),
        file=sys.stderr,
    ) as bar:

        def train_and_score(contact: int, number: int, images: NDArray[np.float32]) -> dict[str, Any]:
            """Return the record of a contact and fold, with "rows" and their "scores"."""
            fold = split.folds[number]
            usable = np.isfinite(images.reshape(len(images), -1).sum(axis=1))
            parts = {"train": fold.train, "validation": fold.test[:0], "test": fold.test}
            if recipe.patience is not None:
                parts["train"], parts["validation"] = validation_rows(epochs, split, fold)
            rows = {name: part[usable[part]] for name, part in parts.items()}
            windows = {name: len(part) for name, part in rows.items()}
            record = {"contact": contacts[contact], "fold": fold.name, "windows": windows}
            enough = 2 if epochs.classes is None else len(epochs.classes)
            if not windows["test"] or len(np.unique(epochs.target[rows["train"]])) < enough:
                return {**record, "best_step": None, "history": None, "rows": [], "scores": []}
            about = {
                **start,
                "recipe": asdict(recipe),
                "seed": mixed_seed(seed, number),
                "data": [_digest(array) for array in (images, epochs.target, *rows.values())],
                "precision": accelerator.mixed_precision,
                "device": accelerator.device.type,
                "processes": accelerator.num_processes,
            }
            file = None if folder is None else Path(folder) / f"fine-tuned-{sha256(about)[:32]}.json"
            if file is not None and file.exists():
                return {**record, **json.loads(file.read_text(encoding="utf-8")), "rows": rows["test"]}
            tuned = finetune(
                make_model,
                images,
                targets=epochs.target,
                train=rows["train"],
                validation=rows["validation"],
                accelerator=accelerator,
                recipe=recipe,
                seed=about["seed"],
                advance=bar.update,
            )
            tested = score_windows(tuned.model, images, rows["test"], accelerator=accelerator)
            found = {"best_step": tuned.best_step, "history": tuned.history, "scores": tested.tolist()}
            if file is not None and accelerator.is_main_process:
                with written_whole(file) as temporary:
                    temporary.write_text(json.dumps(found) + "\n", encoding="utf-8")
            return {**record, **found, "rows": rows["test"]}

        for number in range(len(split.folds)):
            of_contacts = fold_features(inputs, number)
            for contact in range(len(contacts)):
                record = train_and_score(contact, number, np.array(of_contacts[contact]))
                rows, of_rows = record.pop("rows"), record.pop("scores")
                if len(rows):
                    scores[contact, rows] = of_rows
                records.append(record)
                bar.update(len(records) * recipe.steps - bar.n)  # what was kept before, and what an early end saved
    return scores, records


def _start(make_model: MakeModel, seed: int, accelerator: Any) -> dict[str, Any]:
    """Return what the scores depend on before there are any windows."""
    with seeded(seed, accelerator):
        model = make_model()
    return {
        "weights_sha256": weights_sha256(model),
        "config_sha256": sha256(model.config.to_dict()),
        "versions": {name: version(name) for name in ("brainbert", "torch", "transformers")},
    }


def _digest(array: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
