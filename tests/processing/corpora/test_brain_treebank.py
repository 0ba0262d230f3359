"""Brain Treebank: sessions, their recordings, and what is known without opening them."""

import json
import os
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest

from brainbert.processing.corpora.brain_treebank import (
    HELD_OUT,
    NEUROPROBE,
    PRETRAINING,
    SESSIONS,
    WITHOUT_NEUROPROBE,
    find_sessions,
    open_session,
    pretraining_sessions,
    regions,
    session_facts,
)


def every_second(rate, *, seconds=20):
    return [(float(second), round(rate * second)) for second in range(seconds)]


# ---- which sessions there are ---------------------------------------------------------------------------------------


def test_the_paper_pretrains_on_19_of_26_sessions_and_7_of_these_are_tested_on_by_neuroprobe():
    assert (len(SESSIONS), len(HELD_OUT), len(PRETRAINING), len(NEUROPROBE)) == (26, 7, 19, 12)
    assert set(PRETRAINING) & set(NEUROPROBE) == {(1, 2), (2, 0), (2, 4), (3, 1), (4, 1), (7, 1), (10, 1)}
    assert set(WITHOUT_NEUROPROBE) | set(NEUROPROBE) == set(SESSIONS)


def test_sessions_are_found_in_the_root_and_in_all_subject_data(write_session):
    write_session(10, 1, place="all_subject_data")
    root = write_session(4, 0)
    (root / "sub_4_trial001.h5.part").touch()
    assert find_sessions(root) == [(4, 0), (10, 1)]


def test_a_folder_without_sessions_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no sub_N_trialNNN\.h5 in the folder .*; give the root"):
        find_sessions(tmp_path)


def test_sessions_that_neuroprobe_tests_on_are_refused_for_pretraining_by_name(write_session):
    write_session(2, 4)
    root = write_session(2, 5)
    with pytest.raises(ValueError, match=r"^Sessions 2_4 are those .*among=WITHOUT_NEUROPROBE .*allow_neuroprobe=True"):
        pretraining_sessions(root)


def test_pretraining_takes_what_is_there_of_the_sessions_named(write_session):
    write_session(1, 1)
    write_session(2, 4)
    root = write_session(2, 5)
    assert pretraining_sessions(root, allow_neuroprobe=True) == [(2, 4), (2, 5)]
    assert pretraining_sessions(root, among=WITHOUT_NEUROPROBE) == [(2, 5)]
    with pytest.raises(ValueError, match="None of the sessions 8_0 is there"):
        pretraining_sessions(root, among=[(8, 0)])


# ---- contacts -------------------------------------------------------------------------------------------------------


def test_a_contact_is_the_dataset_at_its_place_among_all_labels(write_session):
    recording = open_session(write_session(), 4, 0)
    assert recording.contacts == ("T1a1", "T1a2", "T1a3")  # DC4 is electrode_2
    assert recording.read(0, 2).tolist() == [[0, 0.0625], [1, 1.0625], [3, 3.0625]]
    assert (recording.id, recording.subject, recording.session) == ("btbank4_0", "btbank4", "0")


def test_a_mark_within_a_name_is_taken_out_too(write_session):
    root = write_session(labels=("RF2I*14", "F1*0Fa5"), corrupted=("F1*0Fa5",))
    recording = open_session(root, 4, 0)
    assert recording.contacts == ("RF2I14", "F10Fa5")
    assert list(recording.bad) == ["F10Fa5"]


def test_corrupted_contacts_are_bad_and_stay_in_the_signal(write_session):
    recording = open_session(write_session(corrupted=("T1a_2", "DC4")), 4, 0)
    assert recording.bad == {"T1a2": "corrupted (corrupted_elec.json)"}
    assert recording.read(0, 1).shape == (3, 1)


def test_positions_are_those_of_the_subject_in_mni_and_unknown_for_the_others(write_session):
    recording = open_session(write_session(), 4, 0)
    np.testing.assert_array_equal(recording.positions[0], [-40.5, 1, 2])
    assert np.isnan(recording.positions[1:]).all()
    assert recording.coordinate_frame == "MNI"


def test_a_contact_without_a_region_has_none(write_session):
    root = write_session()
    assert regions(root, 4) == {"T1a1": "ctx-lh-insula"}
    assert regions(root, 4, atlas="Destrieux") == {"T1a1": "a", "T1a2": "b"}
    with pytest.raises(ValueError, match="no column 'Brodmann'"):
        regions(root, 4, atlas="Brodmann")


# ---- rates ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("measured", "rate"), [(2048, 2048), (2046.7, 2048), (1023.5, 1024)])
def test_the_rate_is_the_nominal_one_next_to_that_of_the_triggers(write_session, measured, rate):
    recording = open_session(write_session(9, 0, triggers=every_second(measured)), 9, 0)
    assert recording.sampling_rate == rate
    assert recording.history[0]["measured_rate"] == pytest.approx(measured, abs=0.25)


def test_pauses_do_not_move_the_rate(write_session):
    # After 7 and 13 s of the movie it stood still for 10 s.
    triggers = [(t, s + 20480 * (t > 7) + 20480 * (t > 13)) for t, s in every_second(2048, seconds=60)]
    assert open_session(write_session(triggers=triggers), 4, 0).history[0]["measured_rate"] == 2048


def test_another_rate_is_refused(write_session):
    with pytest.raises(ValueError, match=r"512 samples apart for each second .* 2048 or 1024 Hz"):
        open_session(write_session(triggers=every_second(512)), 4, 0)


def test_triggers_without_a_time_or_a_sample_are_left_out(write_session):
    triggers = [("", 0), (1.0, ""), ("nan", 7), *every_second(2048)[2:]]
    assert open_session(write_session(triggers=triggers), 4, 0).sampling_rate == 2048


@pytest.mark.parametrize(
    ("triggers", "message"),
    [
        ([(0.0, 0), (9.0, 18432), (4.0, 8192)], "goes back from 9 to 4 s"),
        ([(1.0, 2048)], "has 1 triggers"),
        ([(1.0, "x"), (2.0, 4096)], "has 'x' where a number belongs"),
    ],
)
def test_triggers_that_tell_no_rate_are_refused(write_session, triggers, message):
    with pytest.raises(ValueError, match=message):
        open_session(write_session(triggers=triggers), 4, 0)


# ---- voltage --------------------------------------------------------------------------------------------------------


def test_one_dataset_more_than_labels_is_accepted_and_said(write_session):
    recording = open_session(write_session(1, 1, channels=5), 1, 1)
    assert len(recording.contacts) == 3
    assert recording.history[0]["channels_without_label"] == 1


@pytest.mark.parametrize(
    ("channels", "message"), [(6, "has 6 channels and the labels name 4"), (3, "no electrode_3 .* 4 channels")]
)
def test_another_number_of_datasets_is_refused(write_session, channels, message):
    with pytest.raises(ValueError, match=message):
        open_session(write_session(channels=channels), 4, 0)


def test_channels_of_unequal_length_are_refused(write_session):
    root = write_session(channels=3)
    with h5py.File(root / "sub_4_trial000.h5", "a") as file:
        file["data/electrode_3"] = np.zeros(100, dtype="f4")
    with pytest.raises(ValueError, match="have 100 to 40960 samples"):
        open_session(root, 4, 0)


def test_what_is_no_row_of_numbers_is_refused(write_session):
    root = write_session(channels=3)
    with h5py.File(root / "sub_4_trial000.h5", "a") as file:
        file["data/electrode_3"] = np.zeros((100, 2), dtype="f4")
    with pytest.raises(ValueError, match=r"electrode_3 .* is no row of numbers"):
        open_session(root, 4, 0)


def test_a_channel_in_another_file_is_not_followed(write_session):
    root = write_session(channels=3)
    with h5py.File(root / "sub_4_trial000.h5", "a") as file:
        file["data/electrode_3"] = h5py.ExternalLink("sub_4_trial000.h5", "data/electrode_0")
    with pytest.raises(ValueError, match="leads to another file"):
        open_session(root, 4, 0)


def test_a_file_that_is_not_hdf5_is_refused_without_its_folder(write_session):
    root = write_session()
    (root / "sub_4_trial000.h5").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"'sub_4_trial000\.h5' cannot be read as HDF5") as refused:
        open_session(root, 4, 0)
    assert root.name not in str(refused.value)


def test_a_file_without_the_group_data_is_refused(write_session):
    root = write_session()
    h5py.File(root / "sub_4_trial000.h5", "w").close()
    with pytest.raises(ValueError, match="has no group 'data'"):
        open_session(root, 4, 0)


def test_integers_are_read_as_float32_of_the_same_values(write_session):
    data = open_session(write_session(dtype="i2"), 4, 0).read(160, 162)
    assert (data.dtype, data.tolist()) == (np.float32, [[10, 10], [11, 11], [13, 13]])


def test_stretches_read_in_several_threads_are_those_of_the_whole(write_session):
    recording = open_session(write_session(place="all_subject_data"), 4, 0)
    whole = recording.read(0, recording.num_samples)
    with ThreadPoolExecutor(4) as threads:
        parts = list(threads.map(lambda start: recording.read(start, start + 1024), range(0, 40960, 1024)))
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


def test_a_session_that_is_not_there_is_refused(write_session):
    with pytest.raises(FileNotFoundError, match=r"no 'sub_4_trial001\.h5' in the root"):
        open_session(write_session(), 4, 1)


# ---- small files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "corrupted_elec.json",
        "electrode_labels/sub_4/electrode_labels.json",
        "localization/elec_coords_full.csv",
        "subject_timings/sub_4_trial000_timings.csv",
    ],
)
def test_a_small_file_that_is_missing_is_named(write_session, name):
    root = write_session()
    (root / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"There is no '{name.rpartition('/')[2]}' in .*; give the root"):
        open_session(root, 4, 0)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("corrupted_elec.json", '{"sub_5": []}', "has no list for sub_4"),
        ("corrupted_elec.json", "{", "is not JSON"),
        ("electrode_labels/sub_4/electrode_labels.json", "{}", "is no list of names"),
        ("localization/elec_coords_full.csv", "Subject,Electrode\n", "has no column 'X'; its columns are Subject"),
        ("localization/elec_coords_full.csv", "Subject,Electrode,X,Y,Z\na,b\n", "Row 1 .* has 2 cells"),
        ("localization/elec_coords_full.csv", "", "its columns are none"),
    ],
)
def test_a_small_file_that_is_broken_is_refused(write_session, name, text, message):
    root = write_session()
    (root / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        open_session(root, 4, 0)


# ---- without opening ------------------------------------------------------------------------------------------------


def test_facts_need_no_voltage(write_session):
    root = write_session(triggers=every_second(1024))
    (root / "sub_4_trial000.h5").write_bytes(b"")
    os.truncate(root / "sub_4_trial000.h5", 10**9)
    facts = session_facts(root, 4, 0)
    assert (facts.movie, facts.sampling_rate, facts.num_samples) == ("a-film", 1024, 19 * 1024)
    assert (facts.contacts, facts.bad, facts.names) == (3, 1, ("T1a1", "T1a2", "T1a3"))
    assert (facts.bytes, facts.estimated) == (10**9, ())


def test_facts_estimate_the_length_from_the_size_where_there_are_no_triggers(write_session):
    root = write_session()
    (root / "subject_timings" / "sub_4_trial000_timings.csv").unlink()
    os.truncate(root / "sub_4_trial000.h5", 4 * 4 * 2048 * 100)  # 4 channels of 100 s
    facts = session_facts(root, 4, 0)
    assert facts.duration_s == 100
    assert facts.estimated == ("sampling_rate", "num_samples")


def test_facts_of_a_file_alone_are_estimates(tmp_path):
    path = tmp_path / "all_subject_data" / "sub_9_trial000.h5"
    path.parent.mkdir()
    path.touch()
    os.truncate(path, round(4 * 150 * 1024 * 1.7 * 3600))
    facts = session_facts(tmp_path, 9, 0)
    assert (facts.contacts, facts.duration_s, facts.sampling_rate) == (150, 1.7 * 3600, 1024)
    assert facts.estimated == ("movie", "sampling_rate", "num_samples", "contacts", "bad")


@pytest.mark.parametrize("movie", ["../a-film", "", "..", None])
def test_a_movie_whose_name_leads_elsewhere_is_refused(write_session, movie):
    root = write_session()
    (root / "subject_metadata" / "sub_4_trial000_metadata.json").write_text(json.dumps({"filename": movie}))
    with pytest.raises(ValueError, match="names no movie"):
        session_facts(root, 4, 0)
