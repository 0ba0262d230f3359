"""What electrodes tables say, in the words that data sets use."""

import numpy as np
import pytest

from brainbert.processing.recordings.nwb_electrodes import (
    bad_electrodes,
    contact_names,
    contact_type,
    pass_band,
    positions_mm,
)


def test_the_schemas_wish_for_microns_is_no_unit_and_a_placeholder_no_position():
    wish = dict.fromkeys("xyz", "x coordinate in the brain (+x is posterior). Units should be specified in microns.")
    columns = {"x": [0, 0, 30, np.nan], "y": [0, 0, 5, 5], "z": [0, 0, 7, 7]}
    with pytest.warns(UserWarning, match="Positions are left out"):
        assert positions_mm(columns, wish, rows=range(4)) == (None, None)
    places, frame = positions_mm(columns, wish, rows=range(4), unit="µm")
    np.testing.assert_allclose(places, [[np.nan] * 3, [np.nan] * 3, [0.03, 0.005, 0.007], [np.nan] * 3])
    assert frame == "unknown"
    assert positions_mm(columns, wish, rows=[0, 1]) == (None, None)  # two contacts at one place
    assert positions_mm({"x": [1.0]}, {}, rows=[0]) == (None, None)


def test_positions_that_are_no_numbers_are_left_out_with_a_warning():
    columns = {"x": ["n/a", "1.5"], "y": ["2", "3"], "z": ["4", "5"]}
    with pytest.warns(UserWarning, match="left out: the electrodes' columns x, y and z hold something else than numb"):
        assert positions_mm(columns, {}, rows=[0, 1], unit="mm") == (None, None)


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        ({"label": ["A1", "A2", "B1"]}, ["A1", "A2", "B1"]),
        ({"label": ["", "A2", "B1"], "channel_name": ["a", "b", "c"]}, ["a", "b", "c"]),
        ({"label": ["1", "2", "1"]}, ["LA1", "LA2", "P0c1"]),
        ({"label": ["same", "same", "B1"]}, ["LA1", "LA2", "P0c1"]),
        ({}, ["LA1", "LA2", "P0c1"]),
    ],
)
def test_the_first_column_that_tells_the_contacts_apart_names_them(columns, names):
    assert contact_names(columns, ["LA", "LA", "P0"], rows=[0, 1, 2]) == names


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["left insular depth"], "seeg"),
        (["sEEG", "ECoG grid"], "seeg"),
        (["", "64 channel Grid"], "ecog"),
        (["grids and depths", "RATD", "STGStrip"], "ecog"),
        (["DBS lead"], "dbs"),
        (["left anterior temporal", "LAT", "stripped of its name"], None),
    ],
)
def test_the_first_text_that_speaks_of_one_kind_of_contact_decides(texts, kind):
    assert contact_type(texts) == kind


def test_bad_contacts_come_from_columns_in_either_sense_and_other_content_is_warned_about():
    columns = {"bad": [True, False, False, False], "good": [1, 1, 0, 1], "status": ["good", "good", "good", "bad"]}
    assert bad_electrodes(columns, rows=range(4)) == {0, 2, 3}
    assert bad_electrodes({"is_null": [0.0, 1.0]}, rows=[0, 1]) == {1}
    with pytest.warns(UserWarning, match="column 'noisy' holds something else than yes and no for 2 of 2 electrodes"):
        assert bad_electrodes({"noisy": [0.2, 0.9]}, rows=[0, 1]) == set()


@pytest.mark.parametrize(
    "columns",
    [{"status": ["good", "bad", "n/a", "good"]}, {"good": [1.0, 0.0, np.nan, 1.0]}, {"bad": ["no", "yes", "", "no"]}],
)
def test_a_bad_contact_stays_bad_where_another_is_not_said_to_be_either(columns):
    with pytest.warns(UserWarning, match="for 1 of 4 electrodes, which it does not mark; mark those that are bad with"):
        assert bad_electrodes(columns, rows=range(4)) == {1}


@pytest.mark.parametrize(
    ("text", "band"),
    [
        ("250 Hz lowpass", (0, 250)),
        ("Low-pass filter at 300 Hz", (0, 300)),
        ("High-pass 4-pole Bessel filter at 0.5 Hz", (0.5, 1000)),
        ("HP:0.1Hz LP:75Hz", (0.1, 75)),
        ("0.1 Hz high-pass and 0.5 kHz low-pass", (0.1, 500)),
        ("bandpass 0.1-200 Hz", (0.1, 200)),
        ("notch at 60 Hz, low-pass 400 Hz", (0, 400)),
        ("notch at 60, 120 and 180 Hz and low-pass below 400 Hz", (0, 400)),
        ("low-pass 100 or 200 Hz high-pass 5 Hz 6 Hz", None),
        ("none", None),
        ("Low-pass filter at 3000 Hz", None),  # above the Nyquist frequency
    ],
)
def test_filters_are_read_where_they_are_clear(text, band):
    assert pass_band([text], nyquist=1000) == band


def test_the_narrowest_of_several_filters_counts():
    assert pass_band(["", "250 Hz lowpass", "lowpass 200 Hz", "HP:0.5Hz"], nyquist=1000) == (0.5, 200)
