"""Contact names: shafts, numbers, neighbours, and which untyped names are brain contacts."""

import pytest

from brainbert.processing.recordings import MontageError, clean_name, neighbours, parse_contact
from brainbert.processing.recordings.contacts import guess_contacts, split_bipolar


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("LT1aIb4", ("LT1aIb", 4)),
        ("A'12", ("A'", 12)),
        ("POL G3-Ref", ("G", 3)),
        ("POL A'12", ("A'", 12)),
        ("EEG LA1-REF", ("LA", 1)),
        ("LA01", ("LA", 1)),
        ("*LT1aIb4", ("LT1aIb", 4)),
        ("LA 7", ("LA", 7)),
        ("LA-7", ("LA", 7)),
        ("GRID_64", ("GRID", 64)),
        ("LFP_RIGHT_0", ("LFP_RIGHT", 0)),
        ("ECOG_L_1_SMC_AT", ("ECOG_L", 1)),
        ("LFP_R_8_STN_MT", ("LFP_R", 8)),
        ("12", None),
        ("Cz", None),
        ("LA1-LA2", None),
        ("A'1-2", None),
        ("POL LA1-LA2", None),
    ],
)
def test_names_are_read_as_shaft_and_number(name, place):
    assert parse_contact(name) == place


def test_clean_names_keep_the_contact_alone():
    assert [clean_name(name) for name in ("POL G3-Ref", " EEG LA1-REF ", "A'12#", "LT1aIb4")] == [
        "G3",
        "LA1",
        "A'12",
        "LT1aIb4",
    ]


def test_bipolar_names_are_split():
    assert split_bipolar("LA1-LA2") == ("LA1", "LA2")
    assert split_bipolar("A'3-4") == ("A'3", "A'4")
    assert split_bipolar("LA-7") is None


def test_a_neighbour_has_the_next_number_and_not_the_next_name():
    assert neighbours(["A1", "A2", "A4", "B5", "A10", "A9"]) == {
        "A1": (None, "A2"),
        "A2": ("A1", None),
        "A4": (None, None),
        "B5": (None, None),
        "A10": ("A9", None),
        "A9": (None, "A10"),
    }


def test_shafts_that_differ_in_a_prime_or_in_case_are_different_shafts():
    assert set(neighbours(["A1", "A'2", "a2"]).values()) == {(None, None)}


def test_two_contacts_at_one_place_are_refused():
    with pytest.raises(MontageError, match=r"'LA1' and 'LA01' are both number 1 of shaft 'LA'; rename one"):
        neighbours(["LA1", "LA01"])


def test_scalp_names_and_other_signals_are_not_guessed_to_be_contacts():
    scalp = ["Fp1", "Fp2", "F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2", "T3", "T4", "A1", "A2", "Cz"]
    other = [
        "ECG1",
        "ECG2",
        "EMG1",
        "EMG2",
        "DC01",
        "DC02",
        "EOG1",
        "EOG2",
        "TRIG1",
        "TRIG2",
        "X1",
        "X2",
        "SpO2",
        "POL $A1",
        "POL $A2",
    ]
    placeholders = [f"{letter}{number}" for letter in "CEX" for number in range(1, 129)]
    assert guess_contacts([*scalp, *other]) == []
    assert guess_contacts(placeholders) == []


def test_shafts_are_guessed_to_be_contacts():
    names = [
        "LA1",
        "LA2",
        "POL B'1",
        "POL B'2",
        "A1",
        "A2",
        "A3",
        "A12",
        "TP'1",
        "TP'2",
        "F3",
        "F4",
        "Z9",
        "H1-H2",
        "H2-H3",
    ]
    # A reaches 12, which no ear lobe does; F3 and F4 may be on the scalp; Z9 is alone.
    assert guess_contacts(names) == [
        "LA1", "LA2", "POL B'1", "POL B'2", "A1", "A2", "A3", "A12", "TP'1", "TP'2", "H1-H2", "H2-H3",
    ]  # fmt: skip
