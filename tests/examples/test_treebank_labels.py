"""On a generated root, our words, samples and labels are those that the neuroprobe package makes of the same files."""

import importlib
import json
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from brainbert.processing.corpora.brain_treebank_words import read_words
from brainbert.processing.decoding import NEUROPROBE_TASKS, word_labels
from brainbert.processing.decoding.neuroprobe_windows import Neuroprobe

EXAMPLES = Path(__file__).parents[2] / "examples"
PACKAGE = next((found.locate_file("neuroprobe") for found in metadata.distributions(name="neuroprobe")), None)
SESSION = (4, 0)

pytestmark = pytest.mark.skipif(PACKAGE is None, reason="the neuroprobe package is not installed")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A session of real length, of which only the voltage is not there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        generate = importlib.import_module("generated_treebank").generate
        return generate(tmp_path_factory.mktemp("treebank") / "root", sessions=[SESSION], with_voltage=False)


@pytest.fixture(scope="module")
def words(root):
    path = Path(PACKAGE) / "pitch_volume_features" / "shrek-the-third_pitch_volume_features.json"
    pitches = {f"{float(time):.5f}": of["enhanced_pitch"] for time, of in json.loads(path.read_text()).items()}
    found = read_words(root, *SESSION, trigger="next")
    return found.with_column("enhanced_pitch", [pitches[f"{time:.5f}"] for time in found.start_s])


@pytest.fixture(scope="module")
def benchmark(root):
    return Neuroprobe(root)


@pytest.mark.parametrize("task", NEUROPROBE_TASKS)
def test_every_window_of_the_package_is_ours_with_its_label(words, benchmark, task):
    asked = NEUROPROBE_TASKS[task]
    labels = word_labels(words, asked, before_s=0, after_s=1)
    onset, values = np.round(labels.onset_s * 2048).astype(int).tolist(), labels.values.tolist()
    ours = {(start, asked.classes.index(value)) for start, value in zip(onset, values, strict=True)}
    # The two folds train on a half each: together on all that the package drew.
    folds = benchmark.folds("Within-Session", task, SESSION)
    theirs = [pair for fold in folds for pair in zip(fold.train.start.tolist(), fold.train.label.tolist(), strict=True)]
    assert len(theirs) == len(set(theirs)) > 1000
    assert set(theirs) <= ours
    smaller = min(sum(label == which for _, label in ours) for which in (0, 1))
    assert len(theirs) == 2 * min(smaller, 3500 // 2)
