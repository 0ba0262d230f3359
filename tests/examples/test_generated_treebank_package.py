"""A root with the words of the neuroprobe package: its own rule finds its tables, and it takes the root."""

import importlib
import importlib.metadata
import subprocess
import sys

import numpy as np
import pytest

installed = bool(list(importlib.metadata.distributions(name="neuroprobe")))
needs_package = pytest.mark.skipif(not installed, reason="the neuroprobe package is not installed")


@pytest.fixture
def package(as_a_program):
    return importlib.import_module("generated_treebank_package")


@pytest.fixture
def generate(as_a_program):
    return importlib.import_module("generated_treebank").generate


@needs_package
@pytest.mark.parametrize(("subject", "trial"), [(4, 0), (3, 0), (10, 0)])
def test_the_rule_of_the_package_finds_its_table(subject, trial, package):
    film = package.package_transcript(package.package_movie(subject, trial), np.random.default_rng(0))
    session = package.package_session(subject, trial, film, minutes=None)
    table = package.package_table(subject, trial)
    rows = np.flatnonzero(film.complete & (film.start < session.trigger_s[-1]))
    assert rows.tolist() == [int(row) for row in table["original_index"]]
    for times, name in ((film.start, "est_idx"), (film.end, "est_end_idx")):
        trigger = np.searchsorted(session.trigger_s, times[rows])
        found = np.round(session.trigger_sample[trigger] + (times[rows] - session.trigger_s[trigger]) * 2048)
        assert found.tolist() == [float(sample) for sample in table[name]]
    # Words whose second after the end is not recorded have no place in its tables; five that nobody heard follow.
    assert session.end_sample.max() <= session.trigger_sample[-1] - 2048
    assert film.complete[-5:].all()


LABELS = """
import sys
import torch
from neuroprobe import BrainTreebankSubject, BrainTreebankSubjectTrialBenchmarkDataset

class WithoutVoltage(BrainTreebankSubject):
    def load_neural_data(self, *args, **kwargs):
        pass

subject = WithoutVoltage(4, cache=True)
for task in sys.argv[1:]:
    found = BrainTreebankSubjectTrialBenchmarkDataset(subject, 0, torch.float32, task, output_indices=True)
    print(task, len(found), found[0]["data"][0] == int(found.all_words_df["est_idx"][found.label_indices[1][0]]))
print(len(found.electrode_labels), bool(found.electrode_coordinates.isfinite().all()))
"""


@needs_package
def test_the_package_takes_a_root(tmp_path, generate):
    root = generate(tmp_path / "root", sessions=[(4, 0)], with_voltage=False)
    tasks = ["speech", "onset", "volume", "pitch", "word_part_speech", "face_num"]
    result = subprocess.run(
        [sys.executable, "-c", LABELS, *tasks],
        env={"ROOT_DIR_BRAINTREEBANK": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    sizes = {line.split()[0]: int(line.split()[1]) for line in result.stdout.splitlines()[:-1]}
    # At most 3,500; 1,043 of 6,719 words begin a sentence; 1,679 are above the third quartile and below the first.
    assert {**sizes, "word_part_speech": 0, "face_num": 0} == {
        **{"speech": 3500, "onset": 2 * 1043, "volume": 2 * 1679, "pitch": 2 * 1679},
        **{"word_part_speech": 0, "face_num": 0},
    }
    assert sizes["word_part_speech"] > 3000
    assert sizes["face_num"] > 3000
    assert "False" not in result.stdout
    assert result.stdout.splitlines()[-1].startswith("12 ")


def test_without_the_package_its_words_are_refused(tmp_path, monkeypatch, generate, package):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.distribution", missing)
    package.package_constant.cache_clear()
    package.package_sessions.cache_clear()
    with pytest.raises(ValueError, match=r"pip install --no-deps neuroprobe==0\.1\.8, or take made-up words\."):
        generate(tmp_path / "root", sessions=[(4, 0)])
