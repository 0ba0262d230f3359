"""MAYO and FNUSA: clips as recordings, pairs of clips, groups of patients, and files that are not as they should be."""

import csv
import importlib
import pickle
import re
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from scipy.stats import rankdata

from brainbert.processing.corpora.mayo_fnusa import GROUPS, SHARES, find_dataset, joins, open_clips

EXAMPLES = Path(__file__).parents[3] / "examples"
TIME_S = np.arange(15000) / 5000


@pytest.fixture(scope="module")
def generator():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        yield importlib.import_module("generated_mayo_fnusa")


@pytest.fixture(scope="module")
def fnusa(generator, tmp_path_factory):
    root = tmp_path_factory.mktemp("generated")
    generator.generate(root, names=("FNUSA",), pairs=1)
    return root


@pytest.fixture
def write_set(tmp_path):
    """Write clips (patient, category, samples) and perhaps a channel; all of them on B1 otherwise."""

    def write(*clips, name="FNUSA", columns=("segment_id", "patient_id", "category_id", "channel")):
        folder = tmp_path / f"DATASET_{name}"
        folder.mkdir()
        rows = []
        for number, (patient, category, samples, *channel) in enumerate(clips):
            savemat(folder / f"s{number}.mat", {"data": np.reshape(samples, (1, -1))})
            rows.append((f"s{number}", patient, category, *(channel or ["B1"])))
        with (folder / "segments.csv").open("w", newline="") as file:
            csv.writer(file).writerows([columns, *rows])
        return tmp_path

    return write


def opened(root, **settings):
    with warnings.catch_warnings(action="ignore"):  # of patients that these sets do not have
        return open_clips(root, **({"sampling_rate": 1000.0} | settings))


# ---- groups ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "patients", "groups"), [("MAYO", 18, 6), ("FNUSA", 13, 5)])
def test_published_groups_share_no_patient_and_are_all_used(name, patients, groups):
    everybody = [patient for group in GROUPS[name] for patient in group]
    assert (len(everybody), len(set(everybody))) == (patients, patients)
    assert sum(SHARES[name]) == len(GROUPS[name]) == groups


def test_a_generated_set_has_every_patient_of_the_groups_with_both_classes(fnusa):
    people = open_clips(fnusa, sampling_rate=2048.0)
    everybody = sorted(patient for group in GROUPS["FNUSA"] for patient in group)
    assert [person.recording.subject for person in people] == [f"FNUSA-{patient}" for patient in everybody]
    assert {person.recording.id for person in people} == {person.recording.subject for person in people}
    assert all((np.sum(person.values == "pathological"), len(person.values)) == (3, 7) for person in people)
    assert all(person.left_out == {"power line": 1} for person in people)


# ---- clips ----------------------------------------------------------------------------------------------------------


def test_a_clip_is_its_own_sine_at_the_new_rate_whatever_lies_beside_it(write_set):
    sine = 100 * np.sin(2 * np.pi * 10 * TIME_S)
    (person,) = opened(write_set((1, 2, sine), (1, 1, -3 * sine), (1, 3, sine)))
    assert person.values.tolist() == ["pathological", "rest", "rest"]
    assert person.onset_s.tolist() == [0.0, 3.0, 6.0]
    data = person.recording.load().data
    expected = 100 * np.sin(2 * np.pi * 10 * np.arange(3000) / 1000)
    assert data.shape == (1, 9000)
    assert person.recording.sampling_rate == 1000
    for clip, factor in enumerate((1, -3, 1)):
        middle = slice(3000 * clip + 100, 3000 * clip + 2900)
        np.testing.assert_allclose(data[0, middle], factor * expected[100:2900], atol=0.5)
    np.testing.assert_array_equal(data[0, :3000], data[0, 6000:])


def test_a_clip_at_2048_hz_has_6144_samples_and_a_stretch_is_part_of_the_whole(fnusa):
    person = open_clips(fnusa, sampling_rate=2048.0)[0]
    whole = person.recording.load().data
    assert whole.shape == (1, 6144 * len(person.values))
    again = pickle.loads(pickle.dumps(person.recording.source))  # as another process reads it
    for start, stop in ((0, 1), (6143, 6145), (7000, 20000), (6144, 12288)):
        np.testing.assert_array_equal(again(start, stop), whole[:, start:stop])


def test_decimation_takes_every_fifth_sample_and_folds_1200_hz_to_200_hz_where_the_filter_removes_it(write_set):
    sine = 100 * np.sin(2 * np.pi * 1200 * TIME_S)
    root = write_set((1, 2, sine))
    (decimated,), (filtered,) = opened(root, resampling="decimated"), opened(root)
    np.testing.assert_allclose(decimated.recording.load().data[0], sine[::5], atol=1e-3)
    power = np.abs(np.fft.rfft(decimated.recording.load().data[0])) ** 2
    assert power.argmax() / 3 == 200
    assert np.abs(filtered.recording.load().data[0, 100:-100]).max() < 0.2
    assert decimated.recording.history[0]["resampling"] == "decimated"


def test_millivolts_become_microvolts(write_set):
    (person,) = opened(write_set((1, 2, np.full(15000, 0.25))), unit="mV")
    np.testing.assert_allclose(person.recording.load().data, 250)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"resampling": "none"}, "resampling is 'none'; choose filtered or decimated"),
        ({"clip_s": 4}, "clip_s is 4; clips have 3 s, pairs of them 6 s"),
        ({"unit": "nV"}, "unit is 'nV'; choose uV, mV, V"),
        ({"sampling_rate": 0.0}, "sampling_rate is 0.0; give a positive number"),
        ({"name": "BRNO"}, "There is no set 'BRNO': choose MAYO or FNUSA"),
    ],
)
def test_settings_that_are_not_there_are_refused(fnusa, settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        opened(fnusa, **settings)


# ---- pairs ----------------------------------------------------------------------------------------------------------


def test_a_clip_goes_on_in_another_up_to_five_of_its_own_steps():
    ramp = np.arange(15000.0)
    assert joins(ramp, ramp + 14999 + 5)
    assert not joins(ramp, ramp + 14999 + 5.1)
    assert not joins(ramp, ramp + 14999 - 5.1)


def test_pairs_are_of_one_category_and_channel_without_a_jump_and_no_clip_is_in_two(write_set):
    def ramp(number):
        return np.arange(15000.0) + 15000 * number

    root = write_set(
        (1, 2, ramp(0)),
        (1, 2, ramp(0), "B2"),  # between rows of B1
        (1, 2, ramp(1)),  # goes on from the first row
        (1, 2, ramp(2)),  # so does this, from a clip that has its partner
        (1, 3, ramp(3)),  # another category
        (1, 3, ramp(5)),  # a jump
        (1, 1, ramp(6)),
        (1, 3, ramp(6)),  # row before is between
        (1, 0, ramp(7)),
        (1, 3, ramp(8)),
        (1, 3, ramp(9)),
    )
    (person,) = opened(root, clip_s=6)
    assert person.values.tolist() == ["pathological", "rest"]
    assert person.onset_s.tolist() == [0.0, 6.0]
    assert person.left_out == {"power line": 1, "without a clip that continues it": 6}
    data = person.recording.load().data[0]
    assert data.shape == (12000,)
    np.testing.assert_allclose(data[[0, 3000, 5999]], [0, 15000, 29995], atol=1)
    np.testing.assert_allclose(data[[6000, 9000]], [15000 * 8, 15000 * 9], atol=1)


def test_all_generated_pairs_are_found_and_nothing_else_is(fnusa):
    people = open_clips(fnusa, sampling_rate=2048.0, clip_s=6)
    assert len(people) == 13
    assert all(sorted(person.values) == ["pathological", "rest"] for person in people)
    assert all(person.left_out["without a clip that continues it"] == 3 for person in people)


def test_a_set_without_pairs_is_refused_for_6_s(write_set):
    with pytest.raises(ValueError, match=r"^No clips of FNUSA are left for windows of 6 s; .*, or take 3 s\.$"):
        opened(write_set((1, 2, TIME_S), (2, 2, TIME_S)), clip_s=6)


# ---- planted --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("planted", [True, False])
def test_power_from_12_to_26_hz_tells_clips_apart_only_where_that_is_planted(generator, tmp_path, planted):
    generator.generate(tmp_path, names=("FNUSA",), pairs=1, planted=planted)
    power, pathological = [], []
    for person in open_clips(tmp_path, sampling_rate=500.0):
        spectrum = np.abs(np.fft.rfft(person.recording.load().data.reshape(-1, 1500)))
        power += list(spectrum[:, 36:79].sum(1) / spectrum[:, 6:24].sum(1))
        pathological += list(person.values == "pathological")
    is_pathological = np.array(pathological)
    ranks, positives = rankdata(power)[is_pathological].sum(), is_pathological.sum()
    auroc = (ranks - positives * (positives + 1) / 2) / (positives * (~is_pathological).sum())
    assert auroc > 0.9 if planted else 0.35 < auroc < 0.65


def test_a_seed_gives_the_same_bytes(generator, fnusa, tmp_path):
    generator.generate(tmp_path, names=("FNUSA",), pairs=1)
    files = [path.relative_to(tmp_path) for path in sorted(tmp_path.rglob("*.*"))]
    assert len(files) == 13 * 8 + 1
    assert all((tmp_path / file).read_bytes() == (fnusa / file).read_bytes() for file in files)


# ---- what is wrong with files ---------------------------------------------------------------------------------------

SENTENCES = {
    "missing-column": "'segments.csv' has 0 columns 'category_id'; it needs one of each of segment_id, patient_id, ",
    "truncated-clip": ".mat' is damaged or ends too early; copy it again.",
    "wrong-rate": ".mat' holds data of shape (1, 12288); a clip is (1, 15000), 3 s at 5000 Hz: copy it again.",
    "unknown-category": "'segments.csv' has the category_id 7 in line ",
    "path-in-name": "'segments.csv' has the segment_id '../DATASET_FNUSA/",
    "hdf5-clip": ".mat' is a MATLAB 7.3 file, which is not read; save it with the option -v7.",
    "missing-clip": "'segments.csv' is missing, and 0 more of 104; copy the clips again.",
    "empty-table": "'segments.csv' is empty; copy the table again.",
}


@pytest.mark.parametrize("fault", SENTENCES)
def test_each_fault_is_one_sentence_when_the_set_is_opened(generator, fnusa, tmp_path, fault):
    shutil.copytree(fnusa, tmp_path / "spoilt")
    generator.spoil(tmp_path / "spoilt", fault)
    with pytest.raises(ValueError, match=re.escape(SENTENCES[fault])) as refused:
        open_clips(tmp_path / "spoilt", sampling_rate=2048.0)
    message = str(refused.value)
    assert message.endswith(".")
    assert ". " not in message
    assert str(tmp_path) not in message


def test_rows_without_a_patient_are_left_out_with_a_warning(generator, fnusa, tmp_path):
    shutil.copytree(fnusa, tmp_path / "spoilt")
    generator.spoil(tmp_path / "spoilt", "extra-patient")
    with pytest.warns(UserWarning, match=r"^Rows of 'segments.csv' without a patient or a category are left out: 1\.$"):
        people = open_clips(tmp_path / "spoilt", sampling_rate=2048.0)
    assert [person.left_out.get("without a patient or a category") for person in people] == [1] + 12 * [None]
    assert set(generator.FAULTS) == set(SENTENCES) | set(generator.SURVIVABLE)


def test_patients_of_no_group_are_left_out_and_those_that_are_absent_are_named(write_set):
    clips = [(patient, 2, TIME_S) for patient in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 99, "99.0")]
    with pytest.warns(UserWarning, match="FNUSA") as warned:
        people = open_clips(write_set(*clips), sampling_rate=1000.0)
    assert [str(warning.message) for warning in warned] == [
        "Clips of FNUSA are left out, 2, of patients in no published group: 99.",
        "'segments.csv' has no clips of the patients 12, 13 of FNUSA; its groups are smaller.",
    ]
    assert len(people) == 11
    assert people[0].left_out == {"of a patient in no published group": 2}


def test_a_clip_that_is_wrong_further_on_is_refused_when_it_is_read(write_set):
    (person,) = opened(write_set((1, 2, TIME_S), (1, 2, TIME_S[:-1]), (1, 2, np.where(TIME_S < 1, np.nan, 0))))
    person.recording.read(0, 3000)
    with pytest.raises(ValueError, match=r"^'s1\.mat' holds data of shape \(1, 14999\)"):
        person.recording.read(2999, 3001)
    with pytest.raises(ValueError, match=r"^'s2\.mat' holds infinite values or NaN; copy it again\.$"):
        person.recording.read(6000, 9000)


def test_links_to_other_folders_are_not_followed(write_set, tmp_path):
    root = write_set((1, 2, TIME_S))
    clip, table = (root / "DATASET_FNUSA" / name for name in ("s0.mat", "segments.csv"))
    clip.rename(tmp_path / "elsewhere.mat")
    clip.symlink_to(tmp_path / "elsewhere.mat")
    with pytest.raises(ValueError, match=r"^'s0\.mat' is missing, or a link that leads to another folder"):
        opened(root)
    table.rename(tmp_path / "elsewhere.csv")
    table.symlink_to(tmp_path / "elsewhere.csv")
    with pytest.raises(ValueError, match=r"^'segments\.csv' is a link that leads to another folder"):
        opened(root)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (b"", "'segments.csv' has no rows; copy the table again"),
        (b"s0,1,2\n", "'segments.csv' has 3 cells in line 2 and 4 columns"),
        (b"s0,one,2,B1\n", "'segments.csv' has the patient_id 'one' in line 2; it is a whole number, or empty"),
        (b"s0,1,2,B1\ns0,2,2,B1\n", "'segments.csv' has the segment_id 's0' twice, again in line 3"),
        (b"\xff\xfe,1,2,B1\n", "'segments.csv' is no table of text with commas"),
    ],
)
def test_damaged_tables_are_refused(write_set, rows, sentence):
    root = write_set((1, 2, TIME_S))
    (root / "DATASET_FNUSA" / "segments.csv").write_bytes(b"segment_id,patient_id,category_id,channel\n" + rows)
    with pytest.raises(ValueError, match=sentence):
        opened(root)


# ---- where the sets lie ---------------------------------------------------------------------------------------------


def test_a_set_is_found_with_its_table_inside_or_beside_it(write_set):
    root = write_set((1, 2, TIME_S))
    inner = root / "DATASET_FNUSA"
    assert find_dataset(root) == find_dataset(inner) == ("FNUSA", inner / "segments.csv", inner)
    (inner / "segments.csv").rename(root / "segments.csv")
    assert find_dataset(root) == ("FNUSA", root / "segments.csv", inner)
    (root / "sets" / "FNUSA").mkdir(parents=True)
    for name in ("DATASET_FNUSA", "segments.csv"):
        (root / name).rename(root / "sets" / "FNUSA" / name)
    assert find_dataset(root / "sets").table == root / "sets" / "FNUSA" / "segments.csv"


def test_of_two_sets_one_has_to_be_named_and_no_set_is_refused(write_set, tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no DATASET_MAYO or DATASET_FNUSA with a"):
        find_dataset(tmp_path)
    write_set((0, 2, TIME_S), name="MAYO")
    root = write_set((1, 2, TIME_S))
    with pytest.raises(ValueError, match=r"Both MAYO and FNUSA are in the folder .*; name one of them"):
        find_dataset(root)
    assert [person.recording.subject for person in opened(root, name="MAYO")] == ["MAYO-0"]
