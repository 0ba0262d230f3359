"""How much a decoder knows after few labelled windows."""

from collections.abc import Sequence

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from .epochs import Epochs
from .metrics import score, unit_sums
from .out_of_fold import Features, check_features, contact_features, fit_and_score, fold_features
from .probes import Probe
from .splits import Split, inner_groups

MIN_PER_CLASS = 2


def few_shot(
    features: Features,
    epochs: Epochs,
    split: Split,
    probe: Probe,
    *,
    sizes: Sequence[int],
    seeds: Sequence[int],
    jobs: int = 1,
) -> NDArray[np.float64]:
    """Return the score, mean over contacts, after `size` training windows of each fold: (sizes, seeds).

    features: (contacts, windows, features), or one such array for each fold. Windows are drawn with the classes in the
    proportion that they have in the training, at least two of each; the same for every system. Of one seed, the fewer
    are among the more. The windows of the test are those of the fold, whatever the size.
    Raises ValueError for a size that is too small for two windows a class or larger than the training of a fold.
    Source: Wang et al. 2023, section 4 (figure on the amount of data).
    """
    check_features(features, epochs, split)
    drawn = [[_nested(epochs, fold.train, sizes, seed) for seed in seeds] for fold in split.folds]

    contacts = range(len(fold_features(features, 0)))
    scores = np.stack(
        Parallel(n_jobs=jobs)(
            delayed(_contact_scores)(contact_features(features, contact), epochs, split, drawn, probe, seeds)
            for contact in contacts
        )
    )
    curve = np.empty((len(sizes), len(seeds)))
    for size, place in np.ndindex(curve.shape):
        values = score(unit_sums(epochs, split, scores[:, size, place]))
        curve[size, place] = values[np.isfinite(values)].mean() if np.isfinite(values).any() else np.nan
    return curve


def _contact_scores(
    features: Features,
    epochs: Epochs,
    split: Split,
    drawn: list[list[list[NDArray[np.int64]]]],
    probe: Probe,
    seeds: Sequence[int],
) -> NDArray[np.float64]:
    """Return (sizes, seeds, windows, outputs) of one contact; drawn: the training rows of each fold, seed and size."""
    scores = np.full((len(drawn[0][0]), len(seeds), len(epochs), epochs.num_outputs), np.nan)
    for number, fold in enumerate(split.folds):
        of_fold = fold_features(features, number)
        for place, size in np.ndindex(len(seeds), len(scores)):
            rows = drawn[number][place][size]
            groups = inner_groups(epochs, split, rows)
            found = fit_and_score(of_fold, epochs.target, rows, fold.test, groups, probe, seeds[place])
            if found is not None:
                scores[size, place, fold.test] = found
    return scores


def _nested(epochs: Epochs, train: NDArray[np.int64], sizes: Sequence[int], seed: int) -> list[NDArray[np.int64]]:
    """Return rows of the training windows for each size."""
    classes = np.zeros(len(train), np.int64) if epochs.classes is None else epochs.target[train]
    members = [np.flatnonzero(classes == code) for code in np.unique(classes)]
    least = MIN_PER_CLASS * len(members)
    if min(sizes) < least or max(sizes) > len(train):
        raise ValueError(
            f"sizes go from {min(sizes)} to {max(sizes)}; they must be from {least}, two windows a class, to "
            f"{len(train)}, the training windows of the smallest fold."
        )
    generator = np.random.default_rng(seed)
    orders = [generator.permutation(rows) for rows in members]
    chosen = []
    for size in sizes:
        counts = np.array([len(rows) for rows in members])
        take = np.maximum(np.minimum(MIN_PER_CLASS, counts), (size * counts) // len(train))
        # What rounding left goes to the classes that are furthest below their share, and is taken where it is most.
        while take.sum() != size:
            short = np.where(take < counts, size * counts / len(train) - take, -np.inf)
            take[np.argmax(short)] += take.sum() < size
            over = np.where(take > MIN_PER_CLASS, take - size * counts / len(train), -np.inf)
            take[np.argmax(over)] -= take.sum() > size
        rows = np.concatenate([order[:number] for order, number in zip(orders, take, strict=True)])
        chosen.append(np.sort(train[rows]))
    return chosen
