"""Labels from tables, annotations and signals, on the axis of the recording's own samples."""

import json
import shutil
import warnings
from pathlib import Path

import mne
import mne_bids
import numpy as np
import pytest

from brainbert.processing.decoding.labels import (
    Labels,
    labels_from_annotations,
    labels_from_array,
    labels_from_bids,
    labels_from_channel,
    labels_from_csv,
)
from brainbert.processing.recordings import read_recording

RATE = 256.0
BIDS = {"subject": "01", "task": "grip"}
SECRET = "Mrs Smith takes valproate"


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """10 s of LA1, LA2 and a force that is the second it is in, 0 to 9; two moves, a rest, a note about a patient.

    The FIF is what is left from 2 s on: its first sample is not the first of the measurement.
    """
    folder = tmp_path_factory.mktemp("labels")
    time = np.arange(2560) / RATE
    data = np.vstack([np.random.default_rng(0).standard_normal((2, 2560)) * 5e-5, np.floor(time)])
    raw = mne.io.RawArray(
        data, mne.create_info(["LA1", "LA2", "FORCE"], RATE, ["seeg", "seeg", "misc"]), verbose="ERROR"
    )
    raw.info["line_freq"] = 50
    raw.set_meas_date(1_500_000_000)
    raw.set_annotations(mne.Annotations([3.0, 7.5, 5.0, 6.0], [1.0, 1.0, 0.5, 0.0], ["move", "move", "rest", SECRET]))
    paths = {"EDF": folder / "a.edf", "FIF": folder / "b_raw.fif", "BIDS": folder / "bids"}
    mne.export.export_raw(paths["EDF"], raw.copy().pick(["LA1", "LA2"]), physical_range=(-400, 400), verbose="ERROR")
    raw.copy().crop(tmin=2.0).save(paths["FIF"], verbose="ERROR")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the force has no unit
        mne_bids.write_raw_bids(
            raw,
            mne_bids.BIDSPath(root=paths["BIDS"], datatype="ieeg", **BIDS),
            format="BrainVision",
            allow_preload=True,
            verbose="ERROR",
        )
    return paths


def table(folder: Path, text: str, name: str = "labels.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_a_table_gives_onset_duration_class_group_and_subject(tmp_path):
    path = table(tmp_path, "onset,duration,label,group,subject,remark\n1.5,2,move,trial 1,p7,x\n4,0,rest,trial 2,p7,\n")
    labels = labels_from_csv(path)
    assert labels.onset_s.tolist() == [1.5, 4.0]
    assert labels.duration_s.tolist() == [2.0, 0.0]
    assert labels.values.tolist() == ["move", "rest"]
    assert labels.groups is not None
    assert labels.groups.tolist() == ["trial 1", "trial 2"]
    assert (labels.subject, labels.kind, labels.left_out) == ("p7", "classification", {})


def test_a_column_called_value_is_a_regression_and_label_holds_names_even_of_digits(tmp_path):
    values = labels_from_csv(table(tmp_path, "onset\tduration\tvalue\n0\t1\t0.5\n1\t1\t-2e1\n", "v.tsv"))
    assert (values.kind, values.values.tolist()) == ("regression", [0.5, -20.0])
    codes = labels_from_csv(table(tmp_path, "onset;duration;label\n0;1;0\n1;1;1\n"))
    assert (codes.kind, codes.values.tolist()) == ("classification", ["0", "1"])
    assert labels_from_csv(tmp_path / "labels.csv", kind="regression").values.tolist() == [0.0, 1.0]
    assert labels_from_csv(tmp_path / "v.tsv", label="value", kind="classification").values.tolist() == ["0.5", "-2e1"]


def test_without_onset_and_duration_a_label_holds_for_the_whole_recording(tmp_path):
    path = table(tmp_path, "recording,label,group\np1x,focal,1\np1y,non-focal,1\n")
    labels = labels_from_csv(path, recording="p1y")
    assert labels.onset_s.tolist() == [0.0]
    assert np.isnan(labels.duration_s).tolist() == [True]
    assert labels.values.tolist() == ["non-focal"]


def test_rows_without_a_label_are_left_out_and_counted(tmp_path):
    labels = labels_from_csv(table(tmp_path, "onset,duration,label\n0,1,a\n1,1,n/a\n2,1,\n"))
    assert (len(labels), labels.left_out) == (1, {"without a label": 2})


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("onset,duration,other\n0,1,a\n", {}, r"no column 'value'; its columns are onset, duration, other"),
        ("onset,duration,label\n0,1,a\n", {"recording": "x"}, "no column 'recording'"),
        ("recording,label\nx,a\ny,b\n", {}, r"labels of 2 recordings; give recording='...'"),
        ("recording,label\nx,a\ny,b\n", {"recording": "z"}, "no row whose recording is 'z'"),
        ("onset,label\n0,a\n", {}, "only one of onset and duration"),
        ("onset,duration,label\n0,1,a\nnoon,1,b\n", {}, "Row 2 of 'labels.csv' has no number as its onset; correct it"),
        ("onset,duration,value\n0,1,strong\n", {}, "Row 1 of 'labels.csv' has no number as its value; correct it"),
        ("onset,duration,label\n0,1\n", {}, "Row 1 of 'labels.csv' has 2 cells and the head line 3"),
        ("onset,duration,label\n", {}, "has no rows"),
        ("label,label\na,b\n", {}, "two columns of the same name"),
        ("label,group\na,1\nb,\n", {}, "Some rows of 'labels.csv' have no group"),
        ("label,subject\na,1\nb,2\n", {}, "One recording has several subjects"),
        ("onset,duration,label\n0,-1,a\n", {}, "Some durations are negative or infinite"),
        ("onset,duration,label\nnan,1,a\n", {}, "1 onsets are not finite; give seconds"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused_in_one_sentence(tmp_path, text, arguments, message):
    with pytest.raises(ValueError, match=message) as refusal:
        labels_from_csv(table(tmp_path, text), **arguments)
    assert "\n" not in str(refusal.value)


def test_a_table_that_is_not_there_or_not_text_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no table 'absent\.csv'"):
        labels_from_csv(tmp_path / "absent.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x9c")
    with pytest.raises(ValueError, match=r"'binary\.csv' is not a table in UTF-8"):
        labels_from_csv(tmp_path / "binary.csv")


def test_parts_of_labels_that_contradict_each_other_are_refused():
    one = np.ones(1)
    with pytest.raises(ValueError, match=r"values is \(2,\) for 1 events"):
        Labels(onset_s=one, duration_s=one, values=np.array(["a", "b"]))
    with pytest.raises(ValueError, match="1 values are not finite"):
        Labels(onset_s=one, duration_s=one, values=np.array([np.nan]))


def test_events_of_bids_may_have_no_duration_and_no_value(tmp_path):
    path = table(tmp_path, "onset\tduration\ttrial_type\tvalue\n1\tn/a\tgo\t3\n2\t0.5\tstop\tn/a\n", "events.tsv")
    labels = labels_from_bids(path)
    assert (labels.duration_s.tolist(), labels.values.tolist()) == ([0.0, 0.5], ["go", "stop"])
    numbers = labels_from_bids(path, column="value")
    assert (numbers.kind, numbers.values.tolist(), numbers.left_out) == ("regression", [3.0], {"without a label": 1})


def test_the_events_of_a_data_set_are_found_by_its_entities(files):
    labels = labels_from_bids(files["BIDS"], **BIDS)
    assert labels.onset_s[labels.values == "move"].tolist() == [3.0, 7.5]


@pytest.mark.filterwarnings("ignore:Positions are left out")
@pytest.mark.parametrize(("name", "before_s"), [("EDF", 0.0), ("FIF", 2.0), ("BIDS", 0.0)])
def test_annotations_count_from_the_first_sample_that_is_read(files, name, before_s):
    entities = BIDS if name == "BIDS" else {}
    labels = labels_from_annotations(files[name], descriptions=["move", "rest"], **entities)
    assert labels.onset_s + before_s == pytest.approx([3.0, 5.0, 7.5], abs=1 / RATE)
    assert labels.duration_s == pytest.approx([1.0, 0.5, 1.0], abs=1 / RATE)
    assert labels.values.tolist() == ["move", "rest", "move"]
    assert read_recording(files[name], **entities).duration_s == pytest.approx(10.0 - before_s)


@pytest.mark.parametrize("name", ["EDF", "FIF", "BIDS"])
def test_annotations_that_were_not_named_are_neither_kept_nor_shown(files, name):
    entities = BIDS if name == "BIDS" else {}
    with pytest.raises(ValueError, match=r"None of the 4 annotations of .* is called 'seizure'") as refusal:
        labels_from_annotations(files[name], descriptions=["seizure"], **entities)
    for word in ("Smith", "valproate", "move"):
        assert word not in str(refusal.value)
    kept = labels_from_annotations(files[name], descriptions=["rest"], **entities)
    assert SECRET not in json.dumps(kept.values.tolist())


def test_a_text_for_a_list_of_descriptions_and_a_file_without_annotations_are_refused(files, tmp_path):
    with pytest.raises(ValueError, match="descriptions is 'move'; give a list"):
        labels_from_annotations(files["EDF"], descriptions="move")
    raw = mne.io.read_raw_fif(files["FIF"], verbose="ERROR").set_annotations(None)
    raw.save(tmp_path / "bare_raw.fif", verbose="ERROR")
    with pytest.raises(ValueError, match=r"'bare_raw\.fif' has no annotations"):
        labels_from_annotations(tmp_path / "bare_raw.fif", descriptions=["move"])


def test_a_table_of_events_outside_of_its_data_set_is_not_followed(files, tmp_path):
    shutil.copytree(files["BIDS"], tmp_path / "set")
    (events,) = (tmp_path / "set").rglob("*_events.tsv")
    shutil.move(events, tmp_path / "elsewhere.tsv")
    events.symlink_to(tmp_path / "elsewhere.tsv")
    for read in (
        lambda root: labels_from_bids(root, **BIDS),
        lambda root: labels_from_annotations(root, descriptions=["move"], **BIDS),
    ):
        with pytest.raises(ValueError, match="symbolic link that leads out of its folder or data set"):
            read(tmp_path / "set")
    events.unlink()
    with pytest.raises(ValueError, match=r"has no events\.tsv beside it"):
        labels_from_bids(tmp_path / "set", **BIDS)


def test_a_brainvision_header_that_points_elsewhere_is_refused(files, tmp_path):
    shutil.copytree(files["BIDS"], tmp_path / "set")
    (header,) = (tmp_path / "set").rglob("*.vhdr")
    text = header.read_text(encoding="utf-8")
    header.write_text(text.replace("DataFile=", "DataFile=../"), encoding="utf-8")
    for read in (
        lambda path: labels_from_annotations(path, descriptions=["move"]),
        lambda path: labels_from_channel(path, "FORCE", window_s=1.0),
    ):
        with pytest.raises(ValueError, match="only a bare file name beside the header is followed"):
            read(header)


def test_the_mean_of_each_window_of_an_array_is_its_value():
    labels = labels_from_array(np.arange(10.0), sampling_rate=2.0, window_s=2.0, stride_s=1.5)
    assert labels.onset_s.tolist() == [0.0, 1.5, 3.0]
    assert labels.duration_s.tolist() == [2.0, 2.0, 2.0]
    assert labels.values.tolist() == [1.5, 4.5, 7.5]


def test_a_threshold_makes_two_classes_and_two_leave_out_what_is_between():
    signal = np.array([0.0, 1.0, 2.0, 3.0, np.nan])
    one = labels_from_array(signal, sampling_rate=1.0, window_s=1.0, threshold=2.0)
    assert (one.values.tolist(), one.left_out) == (["low", "low", "high", "high"], {"not finite": 1})
    two = labels_from_array(signal, sampling_rate=1.0, window_s=1.0, threshold=(1.0, 3.0))
    assert (two.onset_s.tolist(), two.values.tolist()) == ([0.0, 3.0], ["low", "high"])
    assert two.left_out == {"not finite": 1, "between the thresholds": 2}


@pytest.mark.parametrize(
    ("signal", "arguments", "message"),
    [
        (np.zeros((2, 9)), {}, r"values are \(2, 9\); give one signal"),
        (np.zeros(9), {"window_s": 10.0}, "9 samples, a window 10"),
        (np.zeros(9), {"sampling_rate": 0.0}, "sampling_rate is 0.0"),
        (np.arange(9.0), {"threshold": 9.0}, "leaves one class empty: .* between 0 and 8"),
        (np.arange(9.0), {"threshold": (5.0, 3.0)}, "low <= high"),
        (np.full(9, np.nan), {}, "No window of the signal is finite"),
    ],
)
def test_a_signal_that_gives_no_labels_is_refused(signal, arguments, message):
    with pytest.raises(ValueError, match=message):
        labels_from_array(signal, **{"sampling_rate": 1.0, "window_s": 1.0, **arguments})


@pytest.mark.parametrize(("name", "before_s"), [("FIF", 2), ("BIDS", 0)])
def test_a_channel_of_the_recording_has_the_time_of_its_contacts(files, name, before_s):
    entities = BIDS if name == "BIDS" else {}
    labels = labels_from_channel(files[name], "FORCE", window_s=1.0, **entities)
    assert labels.onset_s.tolist() == list(range(10 - before_s))
    assert labels.values == pytest.approx(np.arange(before_s, 10), abs=1e-3)


def test_a_channel_that_is_not_there_is_refused_with_names_that_are_near(files):
    with pytest.raises(ValueError, match=r"0 channels of 'b_raw\.fif' are called 'FORCES'; .* near: FORCE\."):
        labels_from_channel(files["FIF"], "FORCES", window_s=1.0)
