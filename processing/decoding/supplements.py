"""What a reviewer asks next: fewer labels, other layers, the best contacts together, intrinsic dimension."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bootstrap import judge
from .dimension import dimension_table
from .epochs import Epochs
from .few_shot import MIN_PER_CLASS, few_shot
from .out_of_fold import Features, contact_features, fold_features, out_of_fold
from .ranking import best_contacts
from .signals import contact_names
from .systems import Encoder, Task, control_features, embeddings
from .units import apart

SIZES = (10, 20, 50, 100, 200, 500, 1000)
SEEDS = 3
MOST_CONTACTS = 16  # in few-shot curves, evenly spaced: each takes a fit for every size, seed and fold


def learning_from_few(task: Task, features: Mapping[str, Features], *, seed: int, jobs: int) -> dict[str, Any] | None:
    """Return the score of each system after few training windows; None where the training has hardly more than few.

    features: of the first seed of each system. At most MOST_CONTACTS contacts are used.
    """
    least = MIN_PER_CLASS * len(task.windows.classes or (0,))
    most = min(len(fold.train) for fold in task.split.folds)
    sizes = [size for size in SIZES if least <= size <= most]
    if len(sizes) < 2:
        return None
    systems = {}
    for name, values in features.items():
        count = len(fold_features(values, 0))
        some = np.unique(np.linspace(0, count - 1, min(count, MOST_CONTACTS)).round().astype(int))
        seeds, of_some = range(seed, seed + SEEDS), contact_features(values, some)
        curve = few_shot(of_some, task.epochs, task.split, task.probe, sizes=sizes, seeds=seeds, jobs=jobs)
        systems[name] = {
            "mean": curve.mean(axis=1).tolist(),
            "low": curve.min(axis=1).tolist(),
            "high": curve.max(axis=1).tolist(),
        }
    return {"sizes": sizes, "systems": systems, "seeds": SEEDS, "contacts": len(some)}


def layer_by_layer(task: Task, encoder: Encoder, *, draws: int, seed: int, jobs: int) -> dict[str, Any]:
    """Return the score of every layer, of the encoder and of its first untrained twin, with intervals."""
    layers = list(range(encoder.model.config.num_hidden_layers + 1))
    epochs, split = task.epochs, task.split
    score = partial(out_of_fold, seed=seed, folder=task.cache, progress=task.progress, jobs=jobs)
    systems = {}
    for name, each in (("pretrained", encoder), ("untrained", encoder.untrained(seed))):
        found = [
            judge([score(values, epochs, split, task.probe)], epochs, split, draws=draws, seed=seed)
            for values in embeddings(task, each, layers=layers)
        ]
        low, high = zip(*(layer.interval for layer in found), strict=True)
        systems[name] = {"mean": [layer.score for layer in found], "low": list(low), "high": list(high)}
    return {"layers": layers, "systems": systems}


def best_together(
    task: Task, features: Mapping[str, Features], count: int, *, draws: int, seed: int, jobs: int
) -> dict[str, Any]:
    """Return the score of the `count` best contacts side by side, which every system chooses in its training windows.

    Raises ValueError for more contacts than there are.
    """
    names, systems = contact_names(task.contacts), {}
    chosen: Counter[str] = Counter()
    for name, values in features.items():
        scores, choices = best_contacts(values, task.epochs, task.split, task.probe, count, seed=seed, jobs=jobs)
        judged = judge([scores], task.epochs, task.split, draws=draws, seed=seed)
        systems[name] = {"score": judged.score, "interval": judged.interval}
        if name == "pretrained":
            chosen.update(names[contact] for contact in choices.ravel())
    return {"count": count, "systems": systems, "chosen": dict(chosen.most_common())}


def dimension_by_region(
    task: Task, encoder: Encoder, regions: Mapping[str, str] | None = None, *, seed: int
) -> list[dict[str, Any]] | None:
    """Return the intrinsic dimension of every contact: of embeddings, of those of an untrained twin, of spectrograms.

    Windows that do not overlap are used, and the mean over their frames, whatever the pooling of the encoder. None
    where there are too few of them for any estimate.
    regions: contact → region.
    """
    rows = _apart(task.epochs)
    encoders = {"pretrained": encoder, "untrained": encoder.untrained(seed)}
    features = {
        name: embeddings(task, replace(each, pooling="mean"), layers=[each.layer])[0] for name, each in encoders.items()
    }
    features["spectrogram"] = control_features(task, encoder.extractor, "spectrogram")[0]
    side_by_side = {name: fold_features(values, 0)[:, rows] for name, values in features.items()}
    table = dimension_table(side_by_side, contact_names(task.contacts), regions)
    return table if any(row["pca95"] is not None for row in table) else None


def _apart(epochs: Epochs) -> NDArray[np.int64]:
    """Return windows that share no sample with each other, but for those of pooled contacts at the same time."""
    place = epochs.recording * epochs.stop.max() + epochs.start
    places = np.unique(place)
    return np.flatnonzero(np.isin(place, places[apart(places, epochs.length)]))
