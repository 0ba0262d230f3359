"""DREAMT: what its files say is what comes out, epoch by epoch, and each fault is one sentence."""

import importlib
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import RidgeCV
from sklearn.metrics import roc_auc_score

from brainbert.modeling_brainbert import BrainBertFeatureExtractor
from brainbert.processing.corpora.dreamt import CONTACTS, find_participants, open_dreamt, read_participant
from brainbert.processing.recordings import check_clips

HEADER = (
    "TIMESTAMP,BVP,ACC_X,ACC_Y,ACC_Z,TEMP,EDA,HR,IBI,Sleep_Stage,Obstructive_Apnea,Central_Apnea,Hypopnea,"
    "Multiple_Events\n"
)
EPOCH = 1920  # samples: 30 s at 64 Hz


@pytest.fixture(scope="module")
def generated():
    sys.path.insert(0, str(Path(__file__).parents[3] / "examples"))
    yield importlib.import_module("generated_dreamt")
    sys.path.pop(0)


@pytest.fixture(scope="module")
def small(generated, tmp_path_factory):
    root = tmp_path_factory.mktemp("dreamt")
    generated.generate(root, participants=2, epochs=5)
    return root


@pytest.fixture
def write(tmp_path):
    """Write the night of S002: (stage, seconds) one after the other; BVP is the number of the row, TEMP 33."""

    def write(*stages, start=0.0, skipped=(), temperature=lambda row: 33, bvp=lambda row: row, zips=lambda row: 64):
        rows, row = [], 0
        for stage, seconds in stages:
            for _ in range(round(64 * seconds)):
                if row not in skipped:
                    values = (start + row / 64, bvp(row), row % 7, 5, zips(row), temperature(row))
                    rows.append(",".join(map(str, values)) + f",0.2,60,,{stage},,,,\n")
                row += 1
        path = tmp_path / "data_64Hz" / "S002_whole_df.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_text(HEADER + "".join(rows))
        return tmp_path

    return write


# ---- epochs ---------------------------------------------------------------------------------------------------------


def test_the_grid_of_epochs_begins_where_scoring_does_and_leaves_out_are_counted(write):
    root = write(("P", 24), ("W", 30), ("N3", 30), ("Missing", 30), ("R", 30), ("N1", 10), ("N2", 20), ("N2", 6))
    (person,) = open_dreamt(root)
    assert person.values.tolist() == ["wake", "sleep", "sleep"]
    assert person.onset_s.tolist() == [0, 30, 60]
    assert person.left_out == {"preparation": 1, "gap, or cut short": 1, "stage missing": 1, "several stages": 1}
    assert (person.recording.id, person.recording.subject) == ("DREAMT-S002", "DREAMT-S002")
    assert person.recording.contacts == CONTACTS == ("BVP", "ACC_X", "ACC_Y", "ACC_Z")
    # BVP counts rows: the first epoch begins after 24 s, the last (R) after 24 + 90.
    bvp = person.recording.read(0, 3 * EPOCH)[0]
    assert bvp[[0, EPOCH - 1, EPOCH, 2 * EPOCH]].tolist() == [24 * 64, 54 * 64 - 1, 54 * 64, 114 * 64]
    np.testing.assert_array_equal(person.recording.read(EPOCH - 3, EPOCH + 5)[0], bvp[EPOCH - 3 : EPOCH + 5])


def test_an_epoch_that_lacks_one_row_is_left_out_and_the_next_begins_on_the_grid(write):
    root = write(("W", 90), start=3.5, skipped=(EPOCH + 100,))
    (person,) = open_dreamt(root)
    assert person.left_out == {"gap, or cut short": 1}
    assert person.recording.read(0, 2 * EPOCH)[0, [0, EPOCH]].tolist() == [0, 2 * EPOCH]


def test_temperature_is_the_median_of_an_epoch_and_an_implausible_one_is_left_out(write):
    # The second epoch has 35 °C in a third of its rows, the third is off the wrist, the fourth has no temperature.
    def temperature(row):
        return ("33.25", "35" if row % 3 == 0 else "31.5", "19.9", "")[row // EPOCH]

    root = write(("W", 60), ("Missing", 60), temperature=temperature)
    (person,) = open_dreamt(root, task="skin-temperature")
    assert person.values.dtype == np.float64
    assert person.values.tolist() == [33.25, 31.5]
    assert person.left_out == {"temperature missing or not of a wrist": 2}


def test_a_sample_without_a_number_is_not_a_number_and_its_epoch_stays(write):
    (person,) = open_dreamt(write(("W", 60), bvp=lambda row: "" if row == 10 else row))
    signals = person.recording.read(0, 2 * EPOCH)
    assert np.flatnonzero(~np.isfinite(signals[0])).tolist() == [10]
    (doubled,) = open_dreamt(write(("W", 60), bvp=lambda row: "" if row == 10 else row), sampling_rate=128)
    signals = doubled.recording.read(0, 4 * EPOCH)
    assert np.isnan(signals[0, : 2 * EPOCH]).all()
    assert np.isfinite(signals[0, 2 * EPOCH :]).all()
    assert np.isfinite(signals[1:]).all()


def test_each_epoch_is_resampled_alone(write):
    root = write(("W", 30), ("N2", 30), bvp=lambda row: 0 if row < EPOCH else 1000)
    (person,) = open_dreamt(root, sampling_rate=2048)
    assert person.recording.num_samples == 2 * 30 * 2048
    bvp = person.recording.read(30 * 2048 - 5, 30 * 2048 + 5)[0]
    np.testing.assert_allclose(bvp, [0] * 5 + [1000] * 5, atol=1e-3)  # a filter across the edge would ring by 90


def test_acceleration_is_dithered_by_half_a_step_alike_at_each_reading_unless_it_never_changes(write):
    path = write(("W", 60)) / "data_64Hz" / "S002_whole_df.csv"
    _, x, y, z = read_participant(path).signals
    assert np.abs(x - np.arange(2 * EPOCH) % 7).max() <= 0.5
    assert (x - np.arange(2 * EPOCH) % 7).std() == pytest.approx(12**-0.5, rel=0.03)  # uniform of width 1
    assert set(y) == {5}
    assert set(z) == {64}
    np.testing.assert_array_equal(read_participant(path).signals[1], x)


def test_an_arm_that_lies_still_is_no_broken_sensor(write):
    root = write(("N2", 60), zips=lambda row: 64 if row < EPOCH else 63)  # one value a whole epoch long
    (person,) = open_dreamt(root)
    assert check_clips(person.recording.read(0, 2 * EPOCH)[3].reshape(2, -1), sampling_rate=64).tolist() == ["", ""]


def test_a_file_that_has_changed_is_read_again(write):
    assert open_dreamt(write(("W", 30)))[0].values.tolist() == ["wake"]
    assert open_dreamt(write(("N2", 60)))[0].values.tolist() == ["sleep", "sleep"]


# ---- faults ---------------------------------------------------------------------------------------------------------

REFUSED = {
    "missing-column": r"^S002_whole_df.csv has no column BVP .* give one of these\.$",
    "truncated-line": r"^S002_whole_df.csv has 6 fields in line 13057 and 14 columns: .* download it again\.$",
    "wrong-rate": r"^S002_whole_df.csv has 100 rows a second of TIMESTAMP, and 64 Hz is read: .*\.$",
    "unknown-stage": r"^S002_whole_df.csv has the stage 'N4' in column Sleep_Stage, and P, N1, N2, N3, R, W, .*\.$",
    "text-in-a-number": r"^S002_whole_df.csv has 'loose' in column BVP, line 1001, where a number must be: .*\.$",
    "path-as-code": r"^participant_info.csv or data_64Hz names a participant '../../S666', .*: correct it\.$",
    "empty-file": r"^S002_whole_df.csv is empty: download it again\.$",
}
SURVIVED = {
    "without-labels": r"^Participant S901 is left out: S901_whole_df.csv has no stage of sleep: .*\.$",
    "without-file": r"^Participant S900 is left out: data_64Hz has no S900_whole_df.csv\.$",
}


@pytest.fixture
def spoiled(generated, small, tmp_path):
    def spoil(fault):
        for file in small.rglob("*.csv"):
            copy = tmp_path / file.relative_to(small)
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(file.read_bytes())
        generated.spoil(tmp_path, fault)
        return tmp_path

    return spoil


def test_the_generator_has_the_faults_that_are_tested(generated):
    assert set(generated.FAULTS) == {*REFUSED, *SURVIVED}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_fault_is_refused_in_a_sentence(spoiled, fault):
    root = spoiled(fault)
    with pytest.raises(ValueError, match=REFUSED[fault]) as caught:
        open_dreamt(root)
    assert str(root) not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fault", SURVIVED)
def test_a_participant_without_labels_or_file_is_left_out_with_one_warning(spoiled, fault):
    root = spoiled(fault)
    with pytest.warns(UserWarning, match=SURVIVED[fault]) as caught:
        people = open_dreamt(root)
    assert len(caught) == 1
    assert [person.recording.subject for person in people] == ["DREAMT-S002", "DREAMT-S003"]


def test_rows_that_go_back_in_time_and_timestamps_that_lead_astray_are_refused(write):
    root = write(("W", 60))
    path = root / "data_64Hz" / "S002_whole_df.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:200], *lines[150:]]))  # line 200 is followed by what was line 151
    with pytest.raises(ValueError, match="goes back in time in line 201"):
        open_dreamt(root)
    path.write_text("".join([*lines[:-1], "1e15" + lines[-1][lines[-1].index(",") :]]))  # no array of that length
    assert open_dreamt(root)[0].left_out == {"gap, or cut short": 2}


def test_a_link_out_of_the_root_an_unknown_task_and_an_unknown_participant_are_refused(small, tmp_path):
    with pytest.raises(ValueError, match="choose one of sleep-wake, skin-temperature"):
        open_dreamt(small, task="naps")
    with pytest.raises(ValueError, match="no participant 'S004': choose from S002, S003"):
        open_dreamt(small, participants=["S003", "S004"])
    with pytest.raises(ValueError, match="30 s at 64 Hz"):
        open_dreamt(small, sampling_rate=64.01)
    with pytest.raises(ValueError, match="give the folder that holds data_64Hz"):
        find_participants(tmp_path)
    (tmp_path / "data_64Hz").mkdir()
    (tmp_path / "data_64Hz" / "S002_whole_df.csv").symlink_to(small / "data_64Hz" / "S002_whole_df.csv")
    with pytest.raises(ValueError, match="link that leads out"):
        open_dreamt(tmp_path)


# ---- what is planted ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[True, False], ids=["planted", "not planted"])
def decoded(request, generated, tmp_path_factory):
    """Return what two linear decoders of the log spectrogram say of participants that they were not trained on."""
    root = tmp_path_factory.mktemp("nights")
    generated.generate(root, planted=request.param)
    size = sum(file.stat().st_size for file in root.rglob("*.csv"))
    extractor = BrainBertFeatureExtractor.named("wearable")
    found = {}
    for task in ("sleep-wake", "skin-temperature"):
        features, values, person = [], [], []
        for number, each in enumerate(open_dreamt(root, task=task)):
            clips = each.recording.read(0, len(each.values) * EPOCH).reshape(4, -1, EPOCH).reshape(-1, EPOCH)
            with warnings.catch_warnings():  # more rows than frames of a spectrogram, and 1/64 g is no µV
                warnings.simplefilter("ignore")
                image = extractor.spectrogram(clips, sampling_rate=64).numpy().mean(1)
            image = image.reshape(4, -1, 40).swapaxes(0, 1).reshape(len(each.values), -1)
            features.append((image - image.mean(0)) / image.std(0))
            values.append(each.values == "wake" if task == "sleep-wake" else each.values)
            person.extend([number] * len(each.values))
        x, y, fold = np.concatenate(features), np.concatenate(values).astype(float), np.array(person) % 5
        scores = np.empty(len(y))
        for number in range(5):
            probe = RidgeCV(10.0 ** np.arange(0, 5)).fit(x[fold != number], y[fold != number])
            scores[fold == number] = probe.predict(x[fold == number])
        found[task] = y, scores
    return request.param, size, found


def test_four_of_five_epochs_are_sleep_and_ten_nights_are_small(decoded):
    _, size, found = decoded
    truth, _ = found["sleep-wake"]
    assert (len(truth), truth.mean()) == (250, 0.2)
    assert size < 30e6


def test_sleep_is_found_where_it_is_planted_and_only_there(decoded):
    planted, _, found = decoded
    area = roc_auc_score(*found["sleep-wake"])
    assert area > 0.95 if planted else 0.3 < area < 0.7  # 50 of 250: a chance area has a deviation of .046


def test_temperature_is_predicted_to_the_noise_where_it_is_planted_and_not_at_all_elsewhere(generated, decoded):
    planted, _, found = decoded
    truth, predicted = found["skin-temperature"]
    error = np.sqrt(np.mean((truth - predicted) ** 2))
    assert (generated.TEMPERATURE_NOISE_C, generated.TEMPERATURE_SPREAD_C) == (0.2, 0.6)
    assert truth.std() == pytest.approx((0.2**2 + 0.6**2) ** 0.5, rel=0.1)
    # The noise of 260 epochs is known to 4 %; 160 weights fitted to 200 epochs cost some more.
    assert 0.17 < error < 0.24 if planted else error > 0.95 * truth.std()
