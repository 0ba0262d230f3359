"""The head that Neuroprobe's leaderboard has: logistic regression on the standardised features of all contacts.

All frames of 120 contacts are three million features, too many for memory. Logistic regression with an L2 penalty sees
features only through their inner products, and so does the solver, L-BFGS: turned into the windows' own basis, as many
columns as there are windows, it takes the same steps. So features are gone through once, a block at a time, and what is
kept is a matrix of windows by windows. The leaderboard's regression stops early, after some ten steps, when no entry
of the gradient exceeds 1e-3; that entry is one of a feature, so a sample of the features is kept to know when that may
be. Then all features are gone through once more; those that exceed it join the sample, and the solver goes on.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.linalg.lapack import dpstrf
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

BLOCK_FEATURES = 4096  # of 5250 windows: 82 MiB, and sums of products that float32 still holds to six digits
SAMPLE = 8192  # features whose gradients say when it may be time to stop
TOLERANCE = 1e-3  # and the inverse penalty is 1, as in the package's examples
MOST_STEPS = 10_000
MOST_OF_BLOCK = 8
NOISE = 1e-6  # of a window's squared length: below this a direction is what float32 rounds
Block = tuple[NDArray[np.float32], NDArray[np.float32]]  # (training windows, features), (test windows, features)


@dataclass(frozen=True, kw_only=True, eq=False)
class SessionFeatures:
    """Features of the windows of a session, mostly a memory map.

    values: (contacts, windows, features), NaN where a contact has no signal. start: (windows,), sorted first samples.
    """

    contacts: tuple[str, ...]
    start: NDArray[np.int64]
    values: NDArray[np.float32]

    @property
    def width(self) -> int:
        """Features of a contact in a window."""
        return self.values.shape[2]

    def rows(self, start: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where windows that begin at these samples stand; -1 for windows that have no features."""
        place = np.searchsorted(self.start, start).clip(max=max(len(self.start) - 1, 0))
        found = self.start[place] == start if len(self.start) else np.zeros(len(start), dtype=bool)
        return np.where(found, place, -1)

    def of(self, contacts: Sequence[int], rows: NDArray[np.int64], part: slice) -> NDArray[np.float32]:
        """Return some features (rows, features), their mean over these contacts, NaN where none of them has any."""
        total = np.zeros((len(rows), len(range(*part.indices(self.width)))), dtype=np.float32)
        count = np.zeros_like(total)
        for contact in contacts:
            values = np.asarray(self.values[contact, rows, part])
            values[rows < 0] = np.nan
            if len(contacts) == 1:
                return values
            finite = np.isfinite(values)
            count += finite
            total += np.where(finite, values, 0)
        with np.errstate(invalid="ignore"):
            return total / count


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What a fold of a submission holds."""

    train_accuracy: float
    train_roc_auc: float
    test_accuracy: float
    test_roc_auc: float


def flattened(
    train: tuple[SessionFeatures, NDArray[np.int64]],
    test: tuple[SessionFeatures, NDArray[np.int64]],
    groups: Sequence[tuple[Sequence[int], Sequence[int]]],
) -> Iterator[Block]:
    """Yield the features of training and test windows, contacts × features of each, in blocks of columns.

    train, test: features and their rows. groups: for each contact, or region, which contacts of the training session
    and which of the test session are averaged.
    """
    for of_train, of_test in groups:
        for first in range(0, train[0].width, BLOCK_FEATURES):
            part = slice(first, first + BLOCK_FEATURES)
            yield train[0].of(of_train, train[1], part), test[0].of(of_test, test[1], part)


def same_contacts(train: SessionFeatures, test: SessionFeatures) -> list[tuple[list[int], list[int]]]:
    """Return the groups of `flattened` that are single contacts, of which both sessions have the same.

    Raises ValueError when they do not.
    """
    if train.contacts != test.contacts:
        raise ValueError(
            f"The sessions have other contacts ({len(train.contacts)}, {len(test.contacts)}): average them by region."
        )
    return [([place], [place]) for place in range(len(train.contacts))]


def common_regions(
    train: SessionFeatures, test: SessionFeatures, train_regions: Mapping[str, str], test_regions: Mapping[str, str]
) -> dict[str, tuple[list[int], list[int]]]:
    """Return region → contacts of the training and of the test session, for regions in which both have contacts.

    train_regions, test_regions: contact → region. Regions are sorted by name; contacts without one take no part.
    Raises ValueError when there is no such region.
    """

    def places(features: SessionFeatures, regions: Mapping[str, str]) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for place, name in enumerate(features.contacts):
            if name in regions:
                found.setdefault(regions[name], []).append(place)
        return found

    of_train, of_test = places(train, train_regions), places(test, test_regions)
    if not (both := sorted(set(of_train) & set(of_test))):
        raise ValueError(
            f"The two subjects have no region in common ({', '.join(sorted(of_train))} and "
            f"{', '.join(sorted(of_test))}): Cross-Subject needs one, so choose other sessions."
        )
    return {region: (of_train[region], of_test[region]) for region in both}


def fit_head(
    blocks: Callable[[], Iterable[Block]],
    train_y: NDArray[np.int64],
    test_y: NDArray[np.int64],
    *,
    features: int,
    device: str = "cpu",
) -> tuple[Scores, NDArray[np.float64]]:
    """Return the scores of the leaderboard's head, and the probability of class 1 of each test window.

    blocks: called for the columns of the features, (training windows, some), (test windows, some), several times.
    features: how many there are in all; up to as many as training windows they are used as they are, else through
        their inner products.
    What is not finite is 0 after standardising: it neither counts for nor against a class.
    device: torch device of the products.
    Raises ValueError for training windows of one class.
    Source: Zahorodnii et al. 2025: standardised on the training windows, then scikit-learn's logistic regression.
    """
    if len(np.unique(train_y)) < 2 or len(np.unique(test_y)) < 2:
        raise ValueError("The training or test windows are all of one class: a head needs windows of both.")
    if features <= len(train_y):
        standardised = [_standardised(*block) for block in blocks()]
        train_x, test_x = (np.concatenate(parts, axis=1) for parts in zip(*standardised, strict=True))
        head = LogisticRegression(random_state=42, max_iter=MOST_STEPS, tol=TOLERANCE).fit(train_x, train_y)
        train_p, test_p = (head.predict_proba(each)[:, 1] for each in (train_x, test_x))
    else:
        basis = _own_basis(blocks(), len(train_y), len(test_y), features=features, device=device)
        weights, intercept = _solve(basis, train_y, blocks if features > SAMPLE else None)
        train_p = expit(basis.train @ weights + intercept)
        test_p = expit(basis.products @ basis.shares(weights) + intercept)
    scores = Scores(
        train_accuracy=float(((train_p > 0.5) == train_y).mean()),
        train_roc_auc=float(roc_auc_score(train_y, train_p)),
        test_accuracy=float(((test_p > 0.5) == test_y).mean()),
        test_roc_auc=float(roc_auc_score(test_y, test_p)),
    )
    return scores, test_p


@dataclass(frozen=True, kw_only=True, eq=False)
class _Basis:
    """An orthogonal basis of the training windows' features.

    train: (training windows, columns), the windows in it; of its rows `order` the first make a triangle.
    products: (test windows, training windows). sampled: (training windows, some features).
    """

    train: NDArray[np.float64]
    order: NDArray[np.int64]
    products: NDArray[np.float64]
    sampled: NDArray[np.float32]

    def shares(self, vector: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a vector in the basis as a sum of training windows: the share of each, (training windows,)."""
        found = np.zeros(len(self.train))
        found[self.order] = solve_triangular(self.triangle, vector, lower=True, trans="T")
        return found

    @cached_property
    def triangle(self) -> NDArray[np.float64]:
        """(columns, columns)."""
        return np.asfortranarray(self.train[self.order])


def _standardised(train: NDArray[np.float32], test: NDArray[np.float32]) -> Block:
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # of columns without any finite value
        scaler = StandardScaler().fit(train)
        train, test = scaler.transform(train), scaler.transform(test)
    return np.nan_to_num(train, nan=0, posinf=0, neginf=0), np.nan_to_num(test, nan=0, posinf=0, neginf=0)


def _own_basis(blocks: Iterable[Block], num_train: int, num_test: int, *, features: int, device: str) -> _Basis:
    products: Any = torch.zeros((num_train + num_test, num_train), dtype=torch.float64, device=device)
    sampled, every, first = [], -(-features // SAMPLE), 0
    for block in blocks:
        train, test = _standardised(*block)
        sampled.append(train[:, -first % every :: every])
        first += train.shape[1]
        values = torch.from_numpy(np.concatenate([train, test])).to(device)
        products += values @ values[:num_train].T
    gram, between = products[:num_train].cpu().numpy(), products[num_train:].cpu().numpy()
    # Pivots, since centred windows are never independent: the factor has a column for each direction that there is.
    lower, order, rank, _ = dpstrf(gram, tol=NOISE * np.trace(gram) / num_train, lower=1)
    order = order - 1
    train_x = np.empty((num_train, rank))
    train_x[order] = np.tril(lower)[:, :rank]
    return _Basis(train=train_x, order=order[:rank], products=between, sampled=np.concatenate(sampled, axis=1))


def _solve(
    basis: _Basis, train_y: NDArray[np.int64], blocks: Callable[[], Iterable[Block]] | None
) -> tuple[NDArray[np.float64], float]:
    """Return weights and intercept where scikit-learn's solver would stop on the features themselves.

    blocks: of all features, where the basis has a sample of them.
    """
    x, count, sampled = basis.train, len(train_y), [basis.sampled]

    def loss(at: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        raw = x @ at[:-1] + at[-1]
        residual = (expit(raw) - train_y) / count
        value = np.mean(np.logaddexp(0, raw) - train_y * raw) + 0.5 / count * at[:-1] @ at[:-1]
        return float(value), np.append(x.T @ residual + at[:-1] / count, residual.sum())

    def stop(intermediate_result: Any) -> None:
        gradient = loss(intermediate_result.x)[1]
        shares = basis.shares(gradient[:-1]).astype(np.float32)
        if max(*(np.abs(shares @ each).max() for each in sampled), abs(gradient[-1])) > TOLERANCE:
            return
        exceeding = [] if blocks is None else [_exceeding(train, test, shares) for train, test in blocks()]
        if not any(each.shape[1] for each in exceeding):
            raise StopIteration
        sampled.append(np.concatenate(exceeding, axis=1))

    options = {"maxiter": MOST_STEPS, "maxls": 50, "gtol": 0, "ftol": 64 * np.finfo(float).eps}
    found = minimize(loss, np.zeros(x.shape[1] + 1), method="L-BFGS-B", jac=True, callback=stop, options=options)
    return found.x[:-1], float(found.x[-1])


def _exceeding(
    train: NDArray[np.float32], test: NDArray[np.float32], shares: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return (training windows, some), the features of a block at which the solver does not stop, eight at most.

    Few are enough, since the next time they are looked at first; and there are a thousand blocks.
    """
    values = _standardised(train, test)[0]
    size = np.abs(shares @ values)
    largest = np.argsort(size)[::-1][:MOST_OF_BLOCK]
    return values[:, largest[size[largest] > TOLERANCE]]
