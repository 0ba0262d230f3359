"""Contacts are chosen by name and order, and the Laplacian is that of the leaderboard's examples."""

import numpy as np
import pytest

from brainbert.processing.decoding.neuroprobe_signal import alone, choose_contacts
from brainbert.processing.recordings import Recording
from brainbert.processing.recordings.filters import remove_line_noise

NAMES = ("A1", "A2", "A3", "B1", "C1", "C2", "X1")


@pytest.fixture
def stream():
    data = np.random.default_rng(0).standard_normal((7, 20 * 2048)).astype(np.float32)
    recording = Recording(
        data=data,
        sampling_rate=2048.0,
        contacts=NAMES,
        types=("seeg",) * 7,
        bad={"X1": "corrupted (corrupted_elec.json)"},
        id="btbank4_0",
        subject="btbank4",
    )
    return recording, recording.with_source(recording.read)


def test_contacts_come_in_the_order_asked_for(stream):
    recording, source = stream
    chosen = choose_contacts(source, ("C1", "A1"))
    assert chosen.contacts == ("C1", "A1")
    np.testing.assert_array_equal(chosen.read(5, 9), recording.data[[4, 0], 5:9])


def test_one_neighbour_is_enough_and_a_contact_without_any_stays_in_its_own_row(stream):
    recording, source = stream
    a1, a2, a3, b1, c1, c2, _ = recording.data[:, 100:200]
    found = choose_contacts(source, NAMES[:6], laplacian=True).read(100, 200)
    expected = [a1 - a2, a2 - (a1 + a3) / 2, a3 - a2, b1, c1 - c2, c2 - c1]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert alone(NAMES[:6]) == ["B1"]


def test_neighbours_that_were_not_chosen_do_not_count(stream):
    recording, source = stream
    found = choose_contacts(source, ("A1", "A3", "C2"), laplacian=True).read(0, 50)
    np.testing.assert_array_equal(found, recording.data[[0, 2, 5], :50])


def test_a_stretch_is_notched_as_in_the_whole(stream):
    recording, source = stream
    chosen = choose_contacts(source, ("A1", "B1"), notch=True, laplacian=True)
    whole = remove_line_noise(recording, 60)
    np.testing.assert_allclose(chosen.read(30_000, 31_000), whole.data[[0, 3], 30_000:31_000], atol=1e-4)


def test_a_bad_contact_and_one_that_is_not_there_are_refused(stream):
    for name, why in (("X1", r"corrupted \(corrupted_elec.json\)"), ("Z9", "not there")):
        with pytest.raises(ValueError, match=f"Contact {name} of btbank4_0 cannot be decoded \\({why}"):
            choose_contacts(stream[1], ("A1", name))
