"""The best contacts together: chosen in the training windows of each fold, so that the test knows nothing of it."""

from dataclasses import replace

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from .epochs import Epochs
from .metrics import score, unit_sums
from .out_of_fold import Features, check_features, fit_and_score, fold_features
from .probes import Probe, inner_folds
from .splits import Fold, Split, inner_groups


def rank_contacts(
    features: NDArray[np.float32],
    epochs: Epochs,
    split: Split,
    fold: Fold,
    probe: Probe,
    *,
    seed: int = 0,
    jobs: int = 1,
) -> NDArray[np.int64]:
    """Return the contacts, the best first, by cross-validation over whole units of the training windows of a fold.

    features: (contacts, windows, features). Contacts without a score come last.
    """
    groups = inner_groups(epochs, split, fold.train)
    inner = inner_folds(epochs.target[fold.train], groups, seed)
    folds = [
        Fold(train=fold.train[fit], test=fold.train[hold], name=str(number))
        for number, (fit, hold) in enumerate(inner, start=1)
    ]
    tasks = [(contact, number) for contact in range(len(features)) for number in range(len(folds))]
    found = Parallel(n_jobs=jobs)(
        delayed(fit_and_score)(
            features[contact],
            epochs.target,
            folds[number].train,
            folds[number].test,
            groups[inner[number][0]],
            probe,
            seed,
        )
        for contact, number in tasks
    )
    scores = np.full((len(features), len(epochs), epochs.num_outputs), np.nan)
    for (contact, number), of_fold in zip(tasks, found, strict=True):
        if of_fold is not None:
            scores[contact, folds[number].test] = of_fold
    # A score needs no units, and hundreds of contacts and trials no sums over pairs of them.
    whole = replace(split, folds=tuple(folds), unit=np.zeros_like(split.unit))
    values = score(unit_sums(epochs, whole, scores)) if folds else np.zeros(len(features))
    return np.argsort(-np.nan_to_num(values, nan=-np.inf), kind="stable")


def best_contacts(
    features: Features,
    epochs: Epochs,
    split: Split,
    probe: Probe,
    count: int,
    *,
    seed: int = 0,
    jobs: int = 1,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return scores (1, windows, outputs) of the `count` best contacts side by side, and the choice (folds, count).

    features: (contacts, windows, features), or one such array for each fold. A window needs signal at all the chosen.
    Raises ValueError for a count that is not from 1 to the number of contacts.
    """
    check_features(features, epochs, split)
    contacts = len(fold_features(features, 0))
    if not 1 <= count <= contacts:
        raise ValueError(f"count is {count}; choose from 1 to {contacts} contacts.")
    scores = np.full((1, len(epochs), epochs.num_outputs), np.nan)
    chosen = np.empty((len(split.folds), count), np.int64)
    for number, fold in enumerate(split.folds):
        of_fold = fold_features(features, number)
        chosen[number] = rank_contacts(of_fold, epochs, split, fold, probe, seed=seed, jobs=jobs)[:count]
        together = np.concatenate(list(of_fold[chosen[number]]), axis=1)
        groups = inner_groups(epochs, split, fold.train)
        found = fit_and_score(together, epochs.target, fold.train, fold.test, groups, probe, seed)
        if found is not None:
            scores[0, fold.test] = found
    return scores, chosen
