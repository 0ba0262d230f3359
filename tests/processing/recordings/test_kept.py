"""A recording that is kept on disk is the recording that was given."""

import numpy as np
import pytest

from brainbert.processing.recordings import Recording, condition_stream, left_out
from brainbert.processing.recordings import kept as module
from brainbert.processing.recordings.kept import keep_recording, open_kept

NAMES = ("LA1", "LA2", "LA3", "LB1", "LB2", "LB3")


@pytest.fixture
def recording():
    data = np.random.default_rng(0).standard_normal((6, 3000)).cumsum(1).astype(np.float32)
    return Recording(
        data=data,
        sampling_rate=512.0,
        contacts=NAMES,
        types=("seeg",) * 6,
        bad={"LB3": "corrupted"},
        positions=np.arange(18.0).reshape(6, 3),
        coordinate_frame="MNI",
        history=({"step": "read", "format": "none"},),
        id="one",
        subject="S1",
        session="2",
        artefacts={"LA2": ((0.5, 0.75),)},
    )


def test_a_kept_recording_has_the_samples_and_the_header_of_the_one_given(recording, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK_VALUES", 6 * 700)  # five blocks
    keep_recording(recording, tmp_path / "kept", progress=False)
    found = open_kept(tmp_path / "kept")
    np.testing.assert_array_equal(found.data, recording.data)
    np.testing.assert_array_equal(found.positions, recording.positions)
    for name in ("sampling_rate", "contacts", "types", "bad", "coordinate_frame", "band_hz", "history", "id"):
        assert getattr(found, name) == getattr(recording, name), name
    assert (found.subject, found.session, found.artefacts) == ("S1", "2", recording.artefacts)


def test_only_chosen_contacts_are_kept_and_the_history_says_which_were_not(recording, tmp_path):
    found = keep_recording(recording, tmp_path / "kept", contacts=["LB1", "LA2"], progress=False)
    assert found.contacts == ("LA2", "LB1")
    np.testing.assert_array_equal(found.data, recording.data[[1, 3]])
    np.testing.assert_array_equal(found.positions, [[3, 4, 5], [9, 10, 11]])
    assert found.artefacts == {"LA2": ((0.5, 0.75),)}
    assert left_out(found) == {
        "LA1": "not chosen",
        "LA3": "not chosen",
        "LB2": "not chosen",
        "LB3": "corrupted",
    }


def test_a_kept_stream_is_mapped_and_has_what_conditioning_gives_at_once(recording, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK_VALUES", 6 * 1000)
    stream = condition_stream(recording, line_frequency_hz=60, sampling_rate=512, progress=False)
    found = keep_recording(stream, tmp_path / "kept", progress=False)
    assert isinstance(found.data.base, np.memmap)
    np.testing.assert_allclose(found.data, stream.load().data, atol=1e-4)


def test_unknown_contacts_and_folders_without_a_recording_are_refused(recording, tmp_path):
    with pytest.raises(ValueError, match="Recording one has no contact LC1"):
        keep_recording(recording, tmp_path / "kept", contacts=["LC1"], progress=False)
    with pytest.raises(ValueError, match="holds no recording that was kept"):
        open_kept(tmp_path)
    keep_recording(recording, tmp_path / "kept", progress=False)
    with pytest.raises(OSError, match=r"not empty|exists"):
        keep_recording(recording, tmp_path / "kept", progress=False)
