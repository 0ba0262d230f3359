"""How many dimensions embeddings of a contact fill: principal components, participation ratio, two nearest neighbours.

Embeddings are (windows, features). Estimates of fewer than 20 different windows would be noise, and are NaN.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MINIMUM_WINDOWS = 20
MOST_WINDOWS = 500  # of a contact, as in the paper; more windows give more components


def pca_components(embeddings: NDArray[np.floating], *, variance: float = 0.95) -> float:
    """Return the number of principal components that hold more than this share of the variance; NaN where degenerate.

    embeddings: (windows, features). Source: Wang et al. 2023, section 4 (intrinsic dimension).
    """
    spectrum = _spectrum(embeddings)
    if spectrum is None:
        return math.nan
    enough = np.cumsum(spectrum) / spectrum.sum() > variance  # more than, as scikit-learn counts
    return float(enough.argmax() + 1 if enough.any() else len(spectrum))


def participation_ratio(embeddings: NDArray[np.floating]) -> float:
    """Return (Σ λ)² / Σ λ² of the eigenvalues λ of the covariance of (windows, features); NaN where degenerate.

    It is n for n equal eigenvalues, and 1 for a single one. Source: Gao et al. 2017, bioRxiv 214262.
    """
    spectrum = _spectrum(embeddings)
    return math.nan if spectrum is None else float(spectrum.sum() ** 2 / (spectrum**2).sum())


def two_nn(embeddings: NDArray[np.floating]) -> float:
    """Return the dimension of the manifold that (windows, features) lie on, from the two nearest neighbours of each.

    Windows that are equal count once. NaN where degenerate. Windows that overlap are neighbours because they share
    samples, which makes the estimate one of time: take windows side by side.
    Source: Facco et al. 2017, Sci Rep 7:12140, as scikit-dimension has it. Raises ImportError without that package.
    """
    if _spectrum(embeddings) is None or embeddings.shape[1] < 2:
        return math.nan
    different = np.unique(_finite(embeddings), axis=0)
    if len(different) < MINIMUM_WINDOWS:
        return math.nan
    try:
        from skdim.id import TwoNN
    except ImportError:
        raise ImportError(
            "The dimension from nearest neighbours needs scikit-dimension: pip install 'brainbert[decoding]'."
        ) from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of windows that differ by less than rounding: they are dropped
        try:
            return float(TwoNN().fit(different).dimension_)
        except ValueError:  # fewer than two are left
            return math.nan


def dimension_table(
    features: Mapping[str, NDArray[np.floating]],
    contacts: Sequence[str],
    regions: Mapping[str, str] | None = None,
    *,
    most: int = MOST_WINDOWS,
) -> list[dict[str, Any]]:
    """Return one row per contact and system: contact, region, system, windows, pca95, participation_ratio, two_nn.

    features: system → (contacts, windows, features), mean-pooled embeddings or spectrograms of the same windows; NaN
        where a contact has no usable signal. regions: contact → region, for those that are known.
    most: windows that are used of a contact, evenly spaced over those that all systems have; so that estimates, which
        grow with the number of windows, can be compared. None stands for NaN.
    Raises ValueError when systems differ in contacts or windows.
    """
    if len({values.shape[:2] for values in features.values()}) > 1 or any(
        len(values) != len(contacts) for values in features.values()
    ):
        shapes = ", ".join(f"{name} {values.shape[:2]}" for name, values in features.items())
        raise ValueError(
            f"Systems differ in (contacts, windows), or there are not {len(contacts)} contacts: {shapes}; compute them "
            "for the same windows and contacts."
        )
    table = []
    for index, contact in enumerate(contacts):
        usable = np.logical_and.reduce([np.isfinite(values[index]).all(-1) for values in features.values()])
        rows = np.flatnonzero(usable)
        if len(rows) > most:
            rows = rows[np.linspace(0, len(rows) - 1, most).round().astype(int)]
        for system, values in features.items():
            chosen = values[index][rows]
            found = pca_components(chosen), participation_ratio(chosen), two_nn(chosen)
            pca, ratio, nearest = (value if math.isfinite(value) else None for value in found)
            table.append(
                {
                    "contact": contact,
                    "region": (regions or {}).get(contact),
                    "system": system,
                    "windows": len(rows),
                    "pca95": None if pca is None else int(pca),
                    "participation_ratio": ratio,
                    "two_nn": nearest,
                }
            )
    return table


def _finite(embeddings: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the windows without NaN, (windows, features)."""
    return embeddings[np.isfinite(embeddings).all(-1)].astype(np.float64)


def _spectrum(embeddings: NDArray[np.floating]) -> NDArray[np.float64] | None:
    """Return the eigenvalues of the covariance up to a factor, descending; None for few windows or constant ones."""
    values = _finite(embeddings)
    if len(values) < MINIMUM_WINDOWS:
        return None
    centred = values - values.mean(0)
    scale = np.abs(centred).max()
    # float32 rounds a constant to within 6e-8 of it: what is left then is rounding, which has no dimension.
    if not scale > 1e-6 * np.abs(values).max():
        return None
    centred /= scale
    product = centred @ centred.T if len(centred) < centred.shape[1] else centred.T @ centred
    return np.linalg.eigvalsh(product)[::-1].clip(min=0)
