"""examples/export_corpus.py, on generated corpora."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from brainbert.processing.corpora import build_corpus, load_corpus, load_shards, shards_record, split_corpus
from brainbert.processing.recordings import Recording

PROGRAM = Path(__file__).parents[2] / "examples" / "export_corpus.py"


def export(*arguments, cwd):
    return subprocess.run(
        [sys.executable, str(PROGRAM), *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False
    )


def build(folder, name, *, clip_s=1.0):
    data = np.random.default_rng(ord(name)).standard_normal((2, 20 * 2048)).cumsum(1).astype(np.float32)
    recording = Recording(
        data=data, sampling_rate=2048.0, contacts=("A1", "A2"), types=("seeg",) * 2, id=name, subject=f"s{name}"
    )
    build_corpus([recording], folder, clip_s=clip_s, progress=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    build(folder / "first", "a")
    build(folder / "second", "b")
    build(folder / "short", "c", clip_s=0.5)
    return folder


pytestmark = pytest.mark.slow


def test_several_corpora_become_one_folder_of_shards(folder):
    result = export("first", "second", "--out", "shards", "--validation", 0.25, "--shards", 3, cwd=folder)
    assert result.returncode == 0, result.stderr
    # Of 20 s, the last 5 are held out and the 5 before them used by neither; 2 contacts, 2 recordings.
    assert result.stdout.startswith("40 training and 20 held-out clips in 5 shards, ")
    assert [corpus["contacts"] for corpus in shards_record(folder / "shards")["corpora"]] == [2, 2]


def test_what_is_held_out_is_what_training_on_the_corpus_holds_out(folder):
    assert export("first", "--out", "one", "--validation", 0.25, cwd=folder).returncode == 0
    _, held_out = split_corpus(load_corpus(folder / "first"), validation=0.25)
    assert sorted(load_shards(folder / "one")["start"][:]) == sorted(held_out["start"][:])


@pytest.mark.parametrize(
    ("corpora", "message"),
    [
        (["first", "short"], "error: short and first have clips of another length, rate or storage: build both alike"),
        (["first", "first"], "error: Recording a is in first and in first: build it into one of them."),
    ],
)
def test_corpora_that_do_not_go_together_are_refused(folder, corpora, message):
    result = export(*corpora, "--out", "refused", cwd=folder)
    assert result.returncode == 1
    assert result.stderr.strip().splitlines()[-1].startswith(message)
    assert not (folder / "refused").exists()


def test_help_is_given(folder):
    assert "usage:" in export("--help", cwd=folder).stdout
