"""Scores of windows by probes that never saw them, contact by contact: kept when done, so that a stop loses little."""

import hashlib
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from ..atomic import written_whole
from .epochs import Epochs
from .probes import Probe
from .splits import Split, inner_groups

Features = NDArray[np.float32] | Sequence[NDArray[np.float32]]


def out_of_fold(
    features: Features,
    epochs: Epochs,
    split: Split,
    probe: Probe,
    *,
    seed: int = 0,
    folder: Path | None = None,
    progress: bool = True,
    jobs: int = 1,
) -> NDArray[np.float64]:
    """Return the scores (contacts, windows, outputs) of the windows of each fold by a probe fitted on its training.

    features: (contacts, windows, features), NaN where a contact has no usable signal; or one such array for each fold.
    outputs: 1, or the number of classes where there are more than two. NaN where a window was never tested, has no
        signal, or where the contact's training windows lack a class.
    folder: scores of each contact are kept there under a hash of all that they depend on (of the probe, its name), and
        found again.
    jobs: processes; each computes with one thread, so that their number changes nothing.
    Raises ValueError for features that are not of these windows.
    """
    check_features(features, epochs, split)
    contacts = len(fold_features(features, 0))
    scores = np.empty((contacts, len(epochs), epochs.num_outputs))
    files = [
        folder and folder / f"{_key(features, contact, epochs, split, probe, seed)}.npy" for contact in range(contacts)
    ]
    missing = [contact for contact, file in enumerate(files) if file is None or not file.is_file()]
    groups = [inner_groups(epochs, split, fold.train) for fold in split.folds]
    found = Parallel(n_jobs=jobs, return_as="generator")(
        delayed(_contact_scores)(contact_features(features, contact), epochs, split, groups, probe, seed)
        for contact in missing
    )
    bar = tqdm(
        total=contacts,
        initial=contacts - len(missing),
        desc="probe",
        unit=" contacts",
        disable=not progress,
        file=sys.stderr,
    )
    with bar:
        for contact, of_contact in zip(missing, found, strict=True):
            scores[contact] = of_contact
            file = files[contact]
            if file is not None:
                with written_whole(file) as temporary, temporary.open("wb") as stream:
                    np.save(stream, of_contact)
            bar.update()
    for contact, file in enumerate(files):
        if file is not None and contact not in missing:
            scores[contact] = np.load(file, allow_pickle=False)
    return scores


def fit_and_score(
    features: NDArray[np.float32],
    targets: NDArray,
    train: NDArray[np.int64],
    test: NDArray[np.int64],
    groups: NDArray[np.int64],
    probe: Probe,
    seed: int,
) -> NDArray[np.float64] | None:
    """Return the scores (test windows, outputs) of one contact's features (windows, features); None without a fit.

    groups: units of the training windows. Windows without signal are left out, NaN in the scores.
    """
    train_x, test_x = features[train], features[test]
    usable, asked = np.isfinite(train_x).all(axis=1), np.isfinite(test_x).all(axis=1)
    wanted = len(np.unique(targets)) if np.issubdtype(targets.dtype, np.integer) else 2
    if len(np.unique(targets[train][usable])) < wanted or not asked.any():
        return None
    with threadpool_limits(1):
        found = probe(train_x[usable], targets[train][usable], test_x[asked], groups[usable], seed)
    scores = np.full((len(test), found.shape[1]), np.nan)
    scores[asked] = found
    return scores


def fold_features(features: Features, number: int) -> NDArray[np.float32]:
    """Return the features that belong to fold `number`."""
    return features if isinstance(features, np.ndarray) else features[number]


def check_features(features: Features, epochs: Epochs, split: Split) -> None:
    """Raise ValueError for features that are not of these windows, or not one array for each fold."""
    if not isinstance(features, np.ndarray) and len(features) != len(split.folds):
        raise ValueError(
            f"There are {len(features)} arrays of features for {len(split.folds)} folds; give one for each."
        )
    for number in range(1 if isinstance(features, np.ndarray) else len(features)):
        shape = fold_features(features, number).shape
        if len(shape) != 3 or shape[1] != len(epochs):
            raise ValueError(f"Features have the shape {shape}; give (contacts, {len(epochs)} windows, features).")


def contact_features(features: Features, contact: int | NDArray[np.integer]) -> Features:
    """Return the features (windows, features) of one contact, or those of some; a list where folds have their own."""
    return features[contact] if isinstance(features, np.ndarray) else [of_fold[contact] for of_fold in features]


def _contact_scores(
    features: Features, epochs: Epochs, split: Split, groups: list[NDArray[np.int64]], probe: Probe, seed: int
) -> NDArray[np.float64]:
    """Return (windows, outputs) of one contact, whose features are (windows, features)."""
    scores = np.full((len(epochs), epochs.num_outputs), np.nan)
    for number, fold in enumerate(split.folds):
        of_fold = fold_features(features, number)
        found = fit_and_score(of_fold, epochs.target, fold.train, fold.test, groups[number], probe, seed)
        if found is not None:
            scores[fold.test] = found
    return scores


def _key(features: Features, contact: int, epochs: Epochs, split: Split, probe: Probe, seed: int) -> str:
    names = (
        probe.__module__,
        probe.__qualname__,
        *map(version, ("brainbert", "scikit-learn", "scipy", "numpy")),
        epochs.classes,
        seed,
    )
    digest = hashlib.sha256(repr(names).encode())
    of_contact = contact_features(features, contact)
    arrays = [of_contact] if isinstance(of_contact, np.ndarray) else list(of_contact)
    arrays += [epochs.target, epochs.recording, epochs.start, split.unit] + [
        rows for fold in split.folds for rows in (fold.train, fold.test)
    ]
    for array in arrays:
        digest.update(repr((array.shape, array.dtype)).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
