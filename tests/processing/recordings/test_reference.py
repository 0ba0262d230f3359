"""References along shafts, against numbers worked out by hand."""

import numpy as np
import pytest

from brainbert.processing.recordings import MontageError, Recording, bipolar, common_average, laplacian, mark_bad

NAMES = ("A1", "A2", "A3", "B'1", "A4", "B'2", "A6", "B'4", "X")


def steps(names: tuple[str, ...] = NAMES, **fields) -> Recording:
    """Row k is (10 · k, 10 · k + k²): different for each contact, and exact in float32. Positions (k, 0, 0)."""
    rows = np.arange(len(names), dtype=np.float32)
    data = np.stack([10 * rows, 10 * rows + rows**2], axis=1)
    positions = np.stack([rows, 0 * rows, 0 * rows], axis=1).astype(np.float64)
    given = {"data": data, "types": ("seeg",) * len(names), "positions": positions, "coordinate_frame": "mri", **fields}
    return Recording(sampling_rate=512.0, contacts=names, id="r", subject="s", **given)


def test_laplacian_by_hand_on_shafts_with_gaps():
    # Rows: A1 0, A2 1, A3 2, B'1 3, A4 4, B'2 5, A6 6, B'4 7, X 8. Both neighbours: A2 (A1, A3) and A3 (A2, A4).
    result = laplacian(steps())
    assert result.contacts == ("A2", "A3")
    np.testing.assert_array_equal(
        result.data,
        [
            [10 - (0 + 20) / 2, 11 - (0 + 24) / 2],
            [20 - (10 + 40) / 2, 24 - (11 + 56) / 2],
        ],
    )
    np.testing.assert_array_equal(result.positions, [[1, 0, 0], [2, 0, 0]])
    assert result.coordinate_frame == "mri"
    assert result.history[-1] == {
        "step": "laplacian",
        "ends": "drop",
        "dropped": dict.fromkeys(("A1", "B'1", "A4", "B'2", "A6", "B'4", "X"), "no neighbour on both sides"),
    }


def test_one_sided_laplacian_by_hand():
    # A1 - A2, A2, A3 as before, B'1 - B'2, A4 - A3, B'2 - B'1; A6, B'4 and X have nobody.
    result = laplacian(steps(), ends="one-sided")
    assert result.contacts == ("A1", "A2", "A3", "B'1", "A4", "B'2")
    np.testing.assert_array_equal(result.data[:, 0], [0 - 10, 0, 20 - 25, 30 - 50, 40 - 20, 50 - 30])


def test_laplacian_does_not_shift_rows_after_a_contact_without_neighbours():
    result = laplacian(steps(("A9", "B1", "B2", "B3")))
    assert result.contacts == ("B2",)
    np.testing.assert_array_equal(result.data, [[20 - (10 + 30) / 2, 24 - (11 + 39) / 2]])


def test_a_bad_neighbour_is_a_missing_one_and_a_bad_contact_is_dropped():
    recording = mark_bad(steps(), {"A3": "flat"})
    result = laplacian(recording, ends="one-sided")
    assert result.contacts == ("A1", "A2", "B'1", "B'2")  # A4 lost its only neighbour
    np.testing.assert_array_equal(result.data[1], [10 - 0, 11 - 0])
    assert result.bad == {}
    with pytest.raises(MontageError, match="No contact of A1, A2, B'1"):
        laplacian(recording)


def test_a_bad_contact_with_nan_does_not_reach_its_neighbours():
    data = steps(("A1", "A2", "A3", "A4")).data.copy()
    data[3] = np.nan
    recording = steps(("A1", "A2", "A3", "A4"), data=data)
    assert np.isfinite(laplacian(mark_bad(recording, ["A4"])).data).all()
    with pytest.raises(ValueError, match=r"\['A4'\] hold NaN .* mark or fill them first"):
        laplacian(recording)


def test_artefacts_of_the_neighbours_come_along():
    recording = steps(("A1", "A2", "A3"), artefacts={"A1": ((1.0, 2.0),), "A2": ((5.0, 6.0),)})
    assert laplacian(recording).artefacts == {"A2": ((1.0, 2.0), (5.0, 6.0))}
    assert bipolar(recording).artefacts == {"A1-A2": ((1.0, 2.0), (5.0, 6.0)), "A2-A3": ((5.0, 6.0),)}


def test_bipolar_by_hand():
    result = bipolar(steps())
    assert result.contacts == ("A1-A2", "A2-A3", "A3-A4", "B'1-B'2")
    np.testing.assert_array_equal(result.data[:, 0], [-10, -10, -20, -20])
    np.testing.assert_array_equal(result.positions[:, 0], [0.5, 1.5, 3.0, 4.0])


def test_common_average_by_shaft_by_hand():
    result = common_average(mark_bad(steps(), ["A6"]))
    # Shaft A without A6: rows 0, 1, 2, 4, mean 17.5; shaft B': rows 3, 5, 7, mean 50; X has no shaft.
    assert result.contacts == ("A1", "A2", "A3", "B'1", "A4", "B'2", "B'4")
    np.testing.assert_array_equal(result.data[:, 0], [-17.5, -7.5, 2.5, -20, 22.5, 0, 20])


def test_a_marked_stretch_is_a_line_in_the_common_average_by_hand():
    data = np.array([[0, 3, 900, 900, 12], [2, 2, 2, 2, 2], [4, 4, 4, 4, 4]], np.float32)
    # At 512 Hz samples 2 and 3 of A1 are marked: in the mean they are 6 and 9.
    recording = steps(("A1", "A2", "A3"), data=data, artefacts={"A1": ((2 / 512, 4 / 512),)})
    result = common_average(recording)
    np.testing.assert_array_equal(result.data[1], [0, -1, -2, -3, -4])
    np.testing.assert_array_equal(result.data[0], [-2, 0, 896, 895, 6])
    assert result.artefacts == {"A1": ((2 / 512, 4 / 512),)}
    # Where nothing of a contact is unmarked there is no line, and where all are marked nothing is used anyway.
    everywhere = steps(("A1", "A2", "A3"), data=data, artefacts=dict.fromkeys(("A1", "A2", "A3"), ((0.0, 1.0),)))
    np.testing.assert_array_equal(common_average(everywhere).data[1], 2 - data.mean(axis=0))


def test_each_reference_says_whom_it_dropped_and_why():
    recording = mark_bad(steps(), {"A3": "flat", "B'4": "noisy"})
    dropped = {
        "one-sided": laplacian(recording, ends="one-sided").history[-1]["dropped"],
        "bipolar": bipolar(recording).history[-1]["dropped"],
        "shaft": common_average(recording).history[-1]["dropped"],
        "all": common_average(steps(types=("seeg",) * 8 + ("dbs",)), by="all").history[-1]["dropped"],
    }
    assert dropped["one-sided"] == dropped["bipolar"]
    assert dropped["bipolar"] == {
        "A3": "flat",
        "A4": "no neighbour",
        "A6": "no neighbour",
        "B'4": "noisy",
        "X": "no neighbour",
    }
    assert dropped["shaft"] == {"A3": "flat", "B'4": "noisy", "X": "no other good contact on its shaft"}
    assert dropped["all"] == {"X": "no other good contact of its type"}


def test_common_average_of_all_keeps_deep_and_surface_contacts_apart():
    result = common_average(steps(("A1", "A2", "S1", "S2"), types=("dbs", "dbs", "ecog", "ecog")), by="all")
    np.testing.assert_array_equal(result.data[:, 0], [-5, 5, -5, 5])


@pytest.mark.parametrize("reference", [laplacian, bipolar, common_average])
def test_a_second_reference_is_refused(reference):
    with pytest.raises(MontageError, match="already went through laplacian; apply"):
        reference(laplacian(steps()))


@pytest.mark.parametrize("reference", [laplacian, bipolar, common_average])
def test_a_bipolar_recording_is_refused(reference):
    with pytest.raises(MontageError, match=r"A1-A2, A2-A3 are already bipolar; use them as they are"):
        reference(steps(("A1-A2", "A2-A3")))


@pytest.mark.parametrize("reference", [laplacian, bipolar, common_average])
def test_names_without_shafts_are_refused(reference):
    with pytest.raises(MontageError, match="rename the contacts as shaft and number"):
        reference(steps(("hippocampus", "amygdala")))


def test_an_unknown_choice_is_refused():
    with pytest.raises(ValueError, match="ends is 'keep'; use 'drop' or 'one-sided'"):
        laplacian(steps(), ends="keep")
    with pytest.raises(ValueError, match="by is 'hemisphere'; use 'shaft' or 'all'"):
        common_average(steps(), by="hemisphere")


def test_a_grid_is_warned_about():
    names = tuple(f"G{number}" for number in range(1, 65))
    for count in (16, 64):
        with pytest.warns(
            UserWarning, match=r"\['G'\] look like grids by the number .* \(--grid G=8x8\), or use common"
        ):
            laplacian(steps(names[:count], types=("ecog",) * count))
