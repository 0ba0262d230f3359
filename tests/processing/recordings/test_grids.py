"""Neighbours on grids, against small grids drawn by hand."""

import warnings

import numpy as np
import pytest

from brainbert.processing.recordings import MontageError
from brainbert.processing.recordings.grids import grid_neighbours, grids_from_text

# G1 G2 G3 G4
# G5 G6 G7 G8
# G9 G10 G11 G12
NAMES = tuple(f"G{number}" for number in range(1, 13))
TYPES = ("ecog",) * 12
PLACES = np.array([[10.0 * column, 10.0 * row, 0.0] for row in range(3) for column in range(4)])
BY_HAND = {
    "G1": ("G2", "G5"),
    "G2": ("G1", "G3", "G6"),
    "G3": ("G2", "G4", "G7"),
    "G4": ("G3", "G8"),
    "G5": ("G1", "G6", "G9"),
    "G6": ("G2", "G5", "G7", "G10"),
    "G7": ("G3", "G6", "G8", "G11"),
    "G8": ("G4", "G7", "G12"),
    "G9": ("G5", "G10"),
    "G10": ("G6", "G9", "G11"),
    "G11": ("G7", "G10", "G12"),
    "G12": ("G8", "G11"),
}
INPUTS = pytest.mark.parametrize("given", [{"grids": {"G": (3, 4)}}, {"grids": "positions", "positions": PLACES}])


def curved_grid(rows: int, columns: int, *, pitch: float = 10.0, radius: float = 60.0) -> np.ndarray:
    """A grid bent over a sphere: distances along its rows and columns are `pitch` on the surface, mm."""
    angles = pitch / radius * np.array([[j - columns / 2, i - rows / 2] for i in range(rows) for j in range(columns)])
    size = np.maximum(np.linalg.norm(angles, axis=1), 1e-12)
    across = np.sin(size) / size
    return radius * np.stack([angles[:, 0] * across, angles[:, 1] * across, np.cos(size)], axis=1)


@INPUTS
def test_neighbours_of_three_by_four_by_hand(given):
    assert grid_neighbours(NAMES, **given, types=TYPES) == BY_HAND


@INPUTS
def test_the_interior_has_all_four_neighbours(given):
    kept = grid_neighbours(NAMES, **given, types=TYPES, edges="interior")
    assert kept == {name: others if name in ("G6", "G7") else () for name, others in BY_HAND.items()}


@INPUTS
def test_a_bad_neighbour_is_a_missing_one_and_no_neighbour_is_skipped_to(given):
    kept = grid_neighbours(NAMES, **given, types=TYPES, bad=["G2", "G6"])
    assert "G2" not in kept
    assert kept["G1"] == ()  # only G5 is left
    assert kept["G3"] == ("G4", "G7")  # not G1, two places away
    assert kept["G5"] == ("G1", "G9")
    assert kept["G7"] == ("G3", "G8", "G11")
    assert grid_neighbours(NAMES, **given, types=TYPES, bad=["G6"], edges="interior")["G7"] == ()


@INPUTS
def test_contacts_that_are_not_in_the_file_leave_a_hole_without_diagonals(given):
    rows = [row for row, name in enumerate(NAMES) if name not in ("G2", "G5")]
    names = [NAMES[row] for row in rows]
    given = {**given, **({"positions": PLACES[rows]} if "positions" in given else {})}
    kept = grid_neighbours(names, **given, types=TYPES[: len(names)])
    assert kept["G1"] == ()
    assert kept["G6"] == ("G7", "G10")


def test_names_in_any_order_and_other_contacts_do_not_matter():
    names = [*("LA1", "LA2", "H1"), *reversed(NAMES)]
    kept = grid_neighbours(names, {"G": (3, 4)}, types=["seeg"] * 3 + ["ecog"] * 12)
    assert {name: set(others) for name, others in kept.items()} == {n: set(o) for n, o in BY_HAND.items()}


@pytest.mark.parametrize("radius", [1e6, 60.0, 50.0])
@pytest.mark.parametrize("pitch", [3.0, 10.0])
def test_positions_give_the_neighbours_of_the_shape_on_bent_grids_that_are_a_little_off(radius, pitch):
    names, types = [f"G{number}" for number in range(1, 65)], ["ecog"] * 64
    places = curved_grid(8, 8, pitch=pitch, radius=radius * pitch / 10)
    places += np.random.default_rng(0).normal(0, 0.05 * pitch, places.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = grid_neighbours(names, "positions", types=types, positions=places)
    assert found == grid_neighbours(names, {"G": (8, 8)}, types=types)


@pytest.mark.parametrize("off", [0.1, 0.15])
@pytest.mark.parametrize("seed", range(5))
def test_positions_that_are_so_far_off_that_neighbours_are_lost_are_warned_about(off, seed):
    names, types = [f"G{number}" for number in range(1, 65)], ["ecog"] * 64
    places = curved_grid(8, 8)
    places += np.random.default_rng(seed).normal(0, off * 10, places.shape)
    with pytest.warns(UserWarning, match=r"positions of \['G'\] are too far off .*; give the grids' shapes: .*G=8x8"):
        found = grid_neighbours(names, "positions", types=types, positions=places)
    assert found != grid_neighbours(names, {"G": (8, 8)}, types=types)


def test_one_contact_that_misses_the_neighbour_opposite_another_is_warned_about():
    places = PLACES.copy()
    places[6, 0] += 3.5  # G7: 13.5 mm from G6, 1.35 times the pitch, and 6.5 from G8
    with pytest.warns(UserWarning, match=r"positions of \['G'\] are too far off"):
        found = grid_neighbours(NAMES, "positions", types=TYPES, positions=places)
    assert found["G6"] == ("G2", "G5", "G10")


def test_rows_that_are_twice_as_far_apart_as_columns_are_no_neighbours():
    places = PLACES * [1, 2, 1]
    with pytest.raises(MontageError, match="No shaft of 'ecog' contacts lies in two dimensions"):
        grid_neighbours(NAMES, "positions", types=TYPES, positions=places)


def test_strips_and_deep_contacts_are_no_grids():
    strip = np.array([[10.0 * i, 0, 0] for i in range(8)])
    names = [*NAMES, *(f"S{i}" for i in range(1, 9)), *(f"D{i}" for i in range(1, 13))]
    types = ["ecog"] * 20 + ["seeg"] * 12
    found = grid_neighbours(names, "positions", types=types, positions=np.vstack([PLACES, strip, PLACES]))
    assert found == BY_HAND


def test_a_contact_without_a_position_has_no_neighbours_and_is_nobodys():
    places = PLACES.copy()
    places[5] = np.nan
    found = grid_neighbours(NAMES, "positions", types=TYPES, positions=places)
    assert found["G6"] == ()
    assert found["G2"] == ("G1", "G3")


def test_two_grids_do_not_mix():
    names = [*NAMES, *(name.replace("G", "H") for name in NAMES)]
    found = grid_neighbours(
        names, "positions", types=TYPES * 2, positions=np.vstack([PLACES, PLACES + np.array([0.0, 30.0, 0.0])])
    )
    assert found["G10"] == BY_HAND["G10"]
    assert found["H2"] == ("H1", "H3", "H6")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"grids": {"H": (3, 4)}}, "No contacts are called 'H' and a number; give the shapes of G"),
        ({"grids": {"G": (3, 3)}}, "Contact 'G10' is not on a grid of 3 × 3, whose numbers are 1 to 9"),
        ({"grids": {"G": (1, 12)}}, r"Grid 'G' has the shape \(1, 12\); give \(rows, columns\), both at least 2"),
        ({"grids": "shape"}, "grids is 'shape'; use 'positions' or shapes"),
        ({"grids": "positions"}, "has no positions; give the grids' shapes"),
        ({"grids": {"G": (3, 4)}, "edges": "drop"}, "edges is 'drop'; use 'all' or 'interior'"),
    ],
)
def test_what_cannot_be_a_grid_is_refused(given, said):
    with pytest.raises(ValueError, match=said):
        grid_neighbours(NAMES, **given, types=TYPES)


def test_two_contacts_at_one_place_are_refused():
    with pytest.raises(MontageError, match="'G1' and 'G01' are both number 1 of grid 'G'"):
        grid_neighbours(["G1", "G01", "G2", "G3", "G4"], {"G": (2, 2)}, types=TYPES[:5])


def test_grids_are_read_from_a_command_line():
    assert grids_from_text([]) is None
    assert grids_from_text(["positions"]) == "positions"
    assert grids_from_text(["G=8x8", "LF_G=4x5"]) == {"G": (8, 8), "LF_G": (4, 5)}
    for wrong in (["G=8"], ["G=8x8", "positions"], ["8x8"]):
        with pytest.raises(ValueError, match="write NAME=ROWSxCOLUMNS, such as G=8x8, or positions alone"):
            grids_from_text(wrong)


def test_a_grid_that_is_given_twice_or_has_no_rows_is_refused():
    with pytest.raises(ValueError, match="Grid 'G' is given twice, the second time as 'G=4x5'; give each grid one"):
        grids_from_text(["G=8x8", "G=4x5"])
    for text in ("G=0x8", "G=8x1"):
        with pytest.raises(ValueError, match=r"Grid 'G' has the shape \(.*\); give \(rows, columns\), both at least 2"):
            grids_from_text([text])
