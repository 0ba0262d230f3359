"""The package's own sessions, splits and windows, for any root, whatever else is called neuroprobe."""

import importlib
import json
import os
import sys
import types
from importlib import metadata

import numpy as np
import pytest

from brainbert.processing.decoding import neuroprobe_windows
from brainbert.processing.decoding.neuroprobe_windows import Neuroprobe, load_neuroprobe, session_name


def installed():
    try:
        return metadata.version("neuroprobe") == neuroprobe_windows.VERSION
    except metadata.PackageNotFoundError:
        return False


needs_package = pytest.mark.skipif(not installed(), reason=neuroprobe_windows.INSTALL)


def generated_movie(words):
    """features.csv of as many rows as the package's table of words has, which holds what its tasks read of it."""
    columns = ["Unnamed: 0", "mean_pixel_brightness", "max_global_magnitude", "max_vector_magnitude", "delta_rms"]
    lines = [",".join(columns)]
    lines += [f"{index},{index % 97},{index % 89},{index % 83},{index % 79}" for index in words]
    return "\n".join(lines) + "\n"


@pytest.fixture
def root(tmp_path):
    """What the package reads of subject 4 besides voltage, which is not there."""
    import csv

    package = load_neuroprobe(tmp_path)
    contacts = package.config.NEUROPROBE_NANO_ELECTRODES["btbank4"][:3]
    labels = [*contacts[:2], f"*{contacts[2]}", "DC1", "strange1"]
    files = {
        "electrode_labels/sub_4/electrode_labels.json": json.dumps(labels),
        "corrupted_elec.json": json.dumps({"sub_4": [contacts[1]]}),
        "localization/sub_4/depth-wm.csv": "Electrode,L,I,P,DesikanKilliany\n",
        "localization/elec_coords_full.csv": "Subject,Electrode,X,Y,Z\n",
    }
    table = f"{package.config.SAVE_SUBJECT_TRIAL_DF_DIR}/subject4_trial0_words_df.csv"
    with open(table, encoding="utf-8") as file:  # noqa: PTH123 (the package names its folder as text)
        rows = [row["original_index"] for row in csv.DictReader(file)]
    files["transcripts/shrek-the-third/features.csv"] = generated_movie(map(int, map(float, rows)))
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path, contacts


@needs_package
def test_windows_are_the_packages_own_and_need_no_voltage(root):
    folder, contacts = root
    benchmark = Neuroprobe(folder, nano=True)
    assert benchmark.contacts((4, 0)) == (contacts[0], contacts[2])  # neither the corrupted one nor what is not listed
    first, second = benchmark.folds("Within-Session", "speech", (4, 0))
    package = load_neuroprobe(folder)

    class Silent(package.BrainTreebankSubject):
        def load_neural_data(self, *_, **__):
            pass

    every = package.BrainTreebankSubjectTrialBenchmarkDataset(
        Silent(4), 0, None, "speech", output_indices=True, lite=True, nano=True
    )
    items = [every[place] for place in range(len(every))]
    start, label = [item["data"][0] for item in items], [item["label"] for item in items]
    half = len(items) // 2  # the first fold tests on the second half of the first, and trains on the rest
    assert len(items) == 3500  # lite=True goes before nano=True
    np.testing.assert_array_equal(first.test.start, start[half // 2 : half])
    np.testing.assert_array_equal(first.train.label, label[half:])
    np.testing.assert_array_equal(second.train.start, start[:half])
    np.testing.assert_array_equal(second.test.label, label[half + half // 2 :])
    assert (first.test.length, first.test.session) == (2048, (4, 0))
    union = benchmark.every_window((4, 0), ["speech"])
    np.testing.assert_array_equal(union.start, np.unique(start))


@needs_package
def test_a_program_of_the_same_name_and_the_environment_are_left_alone(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "neuroprobe", types.ModuleType("neuroprobe"))
    monkeypatch.setenv("ROOT_DIR_BRAINTREEBANK", "elsewhere")
    first, second = load_neuroprobe(tmp_path), load_neuroprobe(tmp_path / "other")
    assert (str(tmp_path), str(tmp_path / "other")) == (first.config.ROOT_DIR, second.config.ROOT_DIR)
    assert load_neuroprobe(tmp_path) is first
    assert os.environ["ROOT_DIR_BRAINTREEBANK"] == "elsewhere"
    assert not hasattr(sys.modules["neuroprobe"], "config")


@needs_package
def test_sessions_that_train_and_are_tested_are_those_of_the_package(tmp_path):
    lite, nano = Neuroprobe(tmp_path), Neuroprobe(tmp_path, nano=True)
    assert [len(lite.tested(split)) for split in lite.splits] == [12, 12, 10]
    assert [len(nano.tested(split)) for split in nano.splits] == [6, 5]
    assert nano.splits == ("Within-Session", "Cross-Subject")
    assert lite.trained("Cross-Session", (4, 0)) == (4, 1)
    assert lite.trained("Cross-Subject", (4, 0)) == (2, 4)
    assert lite.trained("Within-Session", (4, 0)) == (4, 0)
    assert len(lite.tasks) == 15
    assert session_name((10, 1)) == "btbank10_1"
    with pytest.raises(ValueError, match="Nano has no split 'Cross-Session'"):
        nano.tested("Cross-Session")
    with pytest.raises(ValueError, match="does not test on btbank2_4"):
        lite.folds("Cross-Subject", "speech", (2, 4))
    with pytest.raises(ValueError, match="no task 'rms'"):
        lite.folds("Within-Session", "rms", (4, 0))


def test_without_the_package_the_command_that_installs_it_is_said(tmp_path, monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    with pytest.raises(ValueError, match=r"pip install --no-deps neuroprobe==0\.1\.8 h5py pandas scikit-learn"):
        load_neuroprobe(tmp_path)
