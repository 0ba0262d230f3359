"""Planted dimensions are found, and what has none has no number."""

import math

import numpy as np
import pytest
from sklearn.decomposition import PCA

from brainbert.processing.decoding.dimension import dimension_table, participation_ratio, pca_components, two_nn


def planted(dimensions, *, windows=500, features=64, seed=0):
    """Points of a linear subspace, uniform in a cube of it."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((features, dimensions)))[0]
    return (rng.uniform(-1, 1, (windows, dimensions)) @ basis.T).astype(np.float32)


def test_planted_dimensions_are_found():
    points = planted(5)
    assert pca_components(points) == 5
    assert participation_ratio(points) == pytest.approx(5, abs=0.1)
    assert two_nn(points) == pytest.approx(5, abs=0.7)


def test_a_curved_surface_has_few_dimensions_and_many_components():
    angle, height = np.random.default_rng(1).uniform(0, 1, (2, 500))
    waves = np.arange(1, 11) * 2 * np.pi * angle[:, None]
    points = np.concatenate([np.sin(waves), np.cos(waves), height[:, None]], axis=1)
    assert two_nn(points) == pytest.approx(2, abs=0.3)
    assert pca_components(points) >= 18


@pytest.mark.parametrize("shape", [(100, 30), (30, 100), (40, 40)])
@pytest.mark.parametrize("variance", [0.5, 0.95, 0.999])
def test_components_are_counted_as_scikit_learn_does(shape, variance):
    rng = np.random.default_rng(2)
    points = rng.standard_normal(shape) * np.exp(-np.arange(shape[1]) / 7) + 100
    assert pca_components(points, variance=variance) == PCA(variance, svd_solver="full").fit(points).n_components_


def test_the_participation_ratio_of_known_variances():
    # Orthogonal columns with variances in the ratio 3 : 1, hence (3 + 1)² / (9 + 1).
    wave = np.arange(20) * 2 * np.pi / 20
    points = np.stack([math.sqrt(3) * np.sin(wave), np.cos(wave), 0 * wave], axis=1)
    assert participation_ratio(points) == pytest.approx(1.6)
    assert participation_ratio(points[:, :1]) == pytest.approx(1)


@pytest.mark.parametrize(
    "points",
    [
        np.full((50, 8), 3.7, dtype=np.float32),
        np.zeros((50, 8)),
        planted(3, windows=19),
        np.full((50, 8), np.nan),
        np.zeros((0, 8)),
    ],
    ids=["constant", "zero", "few windows", "no signal", "no windows"],
)
def test_what_is_degenerate_has_no_dimension(points):
    assert all(math.isnan(estimate(points)) for estimate in (pca_components, participation_ratio, two_nn))


def test_windows_that_are_equal_count_once():
    points = planted(4, windows=100)
    assert two_nn(np.repeat(points, 3, axis=0)) == pytest.approx(two_nn(points))
    assert math.isnan(two_nn(np.repeat(points[:19], 3, axis=0)))


def test_windows_without_signal_are_left_out():
    points = planted(4, windows=100)
    with_gaps = np.concatenate([points[:50], np.full((7, 64), np.nan), points[50:]])
    for estimate in (pca_components, participation_ratio, two_nn):
        assert estimate(with_gaps) == pytest.approx(estimate(points))


def test_the_table_has_a_row_for_each_contact_and_system_over_windows_that_all_systems_have():
    encoder = np.stack([planted(3, windows=600), planted(6, windows=600)])
    spectrogram = encoder[:, :, :40].copy()
    spectrogram[1, :590] = np.nan
    rows = dimension_table({"pretrained": encoder, "spectrogram": spectrogram}, ["A1", "A2"], {"A1": "hippocampus"})
    assert [(row["contact"], row["region"], row["system"], row["windows"]) for row in rows] == [
        ("A1", "hippocampus", "pretrained", 500),
        ("A1", "hippocampus", "spectrogram", 500),
        ("A2", None, "pretrained", 10),
        ("A2", None, "spectrogram", 10),
    ]
    assert rows[0]["pca95"] == 3
    assert rows[2] == rows[2] | {"pca95": None, "participation_ratio": None, "two_nn": None}


def test_systems_of_other_windows_are_refused():
    with pytest.raises(ValueError, match=r"pretrained \(1, 30\), spectrogram \(1, 31\)"):
        dimension_table({"pretrained": np.zeros((1, 30, 4)), "spectrogram": np.zeros((1, 31, 4))}, ["A1"])
