"""The program on a generated root: three splits, resumed, one table, an entry; windows are made up."""

import importlib
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from brainbert.processing.corpora.brain_treebank_words import read_words, silences
from brainbert.processing.decoding import neuroprobe_run
from brainbert.processing.decoding.neuroprobe_windows import ProbeFold, ProbeWindows, session_name

EXAMPLES = Path(__file__).parents[2] / "examples"
SESSIONS = ((2, 4), (4, 0), (4, 1))
FOLDERS = ["Cross-Session", "Cross-Subject", "Within-Session"]


class MadeUp:
    """What Neuroprobe has, with half as many windows of words as of silence and two tasks, one of them by chance."""

    nano, name, version, source = False, "Lite", "made up", (2, 4)
    tasks, sessions, splits = {"speech": "Speech", "pitch": "Voice Pitch"}, SESSIONS, tuple(reversed(FOLDERS))

    def __init__(self, root, *, nano=False):
        self.root = root

    def tested(self, split):
        return tuple(session for session in SESSIONS if split != "Cross-Subject" or session[0] != 2)

    def trained(self, split, session):
        other = {(4, 0): (4, 1), (4, 1): (4, 0)}
        return {"Cross-Session": other.get(session, (2, 4)), "Cross-Subject": (2, 4)}.get(split, session)

    def listed(self, session):
        return (*self.contacts(session), "Q1")

    def contacts(self, session):
        return tuple(json.loads((self.root / "planted.json").read_text())["subjects"][f"sub_{session[0]}"]["contacts"])

    def every_window(self, session, tasks):
        every = self.windows(session, "speech")
        order = np.argsort(every.start)
        return self.take(every, order)

    def folds(self, split, task, session):
        test = self.windows(session, task)
        if split != "Within-Session":
            return [ProbeFold(train=self.windows(self.trained(split, session), task), test=test)]
        half = np.arange(len(test.start)) < len(test.start) // 2
        return [ProbeFold(train=self.take(test, half), test=self.take(test, ~half)) for half in (half, ~half)]

    def take(self, windows, rows):
        start, label = windows.start[rows], windows.label[rows]
        return ProbeWindows(session=windows.session, start=start, label=label, length=2048, contacts=windows.contacts)

    def windows(self, session, task):
        words = read_words(self.root, *session)
        quiet = silences(words, window_s=1.0, padding_s=0.5, stride_s=0.5, num_samples=116 * 2048)
        count = min(30, len(quiet))
        spoken = np.unique(words.sample[words.sample < 116 * 2048])[:: max(1, len(words.sample) // 40)][:count]
        start = np.concatenate([quiet[: len(spoken)], spoken])
        order = np.random.default_rng(0).permutation(len(start))
        label = (np.arange(len(start)) >= len(spoken)).astype(np.int64)
        label = label if task == "speech" else label[np.random.default_rng(1).permutation(len(start))]
        return ProbeWindows(
            session=session, start=start[order], label=label[order], length=2048, contacts=self.contacts(session)
        )


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two minutes of three sessions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        generate = importlib.import_module("generated_treebank").generate
        return generate(tmp_path_factory.mktemp("treebank") / "root", words="made-up", minutes=2, sessions=SESSIONS)


@pytest.fixture
def program(as_a_program, monkeypatch):
    """The program as a module: by its path, since the package has its name."""
    spec = importlib.util.spec_from_file_location("neuroprobe_program", EXAMPLES / "neuroprobe.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "Neuroprobe", MadeUp)
    return module


@pytest.fixture
def call(program, root, tmp_path, monkeypatch, capsys):
    def call(*flags, models=("untrained", "spectrogram")):
        monkeypatch.chdir(tmp_path)
        arguments = [str(root), "--out", "out", "--model", *models, "--preset", "tiny", *flags]
        monkeypatch.setattr(sys, "argv", ["neuroprobe.py", *arguments])
        program.main()
        return capsys.readouterr().out

    return call


def test_all_splits_are_one_table_that_a_second_call_does_not_compute_again(call, tmp_path, monkeypatch):
    said = call("--author", "Ada", "Lovelace", "--date", "2026-03-07")
    assert "untrained: features of btbank4_0" in said
    table = json.loads((tmp_path / "out/table.json").read_text())
    assert [(row["name"], sorted(row["splits"])) for row in table["rows"]] == [
        ("untrained", FOLDERS),
        ("spectrogram", FOLDERS),
    ]
    linear = table["rows"][1]["splits"]
    assert linear["Within-Session"]["by_task"]["speech"] > 0.75  # planted
    assert [linear[split]["sessions"] for split in FOLDERS] == [3, 2, 3]
    assert len(list((tmp_path / "out/results").rglob("btbank*.json"))) == 2 * 2 * 8
    entry = tmp_path / "out/untrained_Ada_Lovelace_07_03_2026"
    assert sorted(path.name for path in entry.iterdir() if path.is_dir()) == FOLDERS
    assert "the weights have seen: none" in (entry / "ATTESTATION.txt").read_text()
    assert any("13 of the package's 14 contacts" in note for note in table["notes"])
    page = (tmp_path / "out/table.html").read_text(encoding="utf-8")

    def fail(*_, **__):
        raise AssertionError("computed again what was kept")

    monkeypatch.setattr(neuroprobe_run, "fit_head", fail)
    monkeypatch.setattr(neuroprobe_run, "open_session", fail)
    assert "(kept)" in call()
    assert (tmp_path / "out/table.html").read_text(encoding="utf-8") == page
    with pytest.raises(AssertionError, match="computed again"):
        call("--features", "frames")


def test_features_of_a_session_are_dropped_when_nothing_needs_them(call, tmp_path):
    call("--drop-features", "--tasks", "speech", "--sessions", "4_0", "4_1", models=["band-power"])
    assert len(list((tmp_path / "out/results").rglob("btbank*.json"))) == 6
    assert not list((tmp_path / "out/cache").glob("*.npy"))


def test_a_dry_run_says_what_there_is_to_do_and_writes_nothing(call, tmp_path, monkeypatch, program):
    said = call("--dry-run", "--features", "frames")
    assert "untrained: 8 of 8 split × session to compute, 2 tasks each, features of 3 sessions" in said
    assert "× 13 contacts × 2816 features" in said  # 22 frames of 128
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(program.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(ValueError, match="use --drop-features, --features mean"):
        call("--dry-run")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--sessions", "3_0"], "has no session btbank3_0: choose from btbank2_4"),
        (["--tasks", "rms"], "has no task rms"),
        (["--splits", "Between"], "has no split Between"),
        (["--author", "A", "B", "--context-s", "1"], "An entry has 1 s of signal"),
        (["--seen", "one"], "--seen: 'one' is no session"),
    ],
)
def test_what_is_not_there_is_refused_in_a_sentence(call, save_model, tmp_path, flags, message):
    save_model(tmp_path / "run")
    with pytest.raises(ValueError, match=message):
        call(*flags, models=["run"])


def test_sessions_that_are_not_in_root_are_named(call, root):
    moved = root / "sub_2_trial004.h5"
    moved.rename(root / "away")
    try:
        with pytest.raises(ValueError, match=r"no recording of btbank2_4: .* \(ROOT has btbank4_0, btbank4_1\)"):
            call("--dry-run")
        call("--dry-run", "--sessions", "4_0", "4_1", "--splits", "Cross-Session")
    finally:
        (root / "away").rename(moved)


def test_an_entry_needs_to_know_what_the_weights_have_seen(call, save_model, tmp_path):
    save_model(tmp_path / "run" / "model")
    flags = ["--tasks", "speech", "--sessions", "4_0", "--splits", "Within-Session", "--author", "A", "B"]
    with pytest.raises(ValueError, match=r"run does not: give --seen .* --seen released"):
        call(*flags, models=["run/model"])
    with pytest.raises(ValueError, match=r"and 5 are not computed here \(the first: Within-Session speech btbank2_4"):
        call(*flags, "--seen", "released", models=["run/model"])
    said = call(*flags, "--seen", "released", "--partial", models=["run/model"])
    assert "NOT COMPLETE" in said
    assert f"warning: the weights have seen {session_name((2, 4))}, btbank4_1" in said
    (entry,) = (tmp_path / "out").glob("run_A_B_*")
    assert "EXCEPTION" in (entry / "ATTESTATION.txt").read_text()


def test_an_entry_of_the_leaderboard_is_one_flag_and_others_go_before_it(program, monkeypatch):
    def settings(*flags):
        monkeypatch.setattr(sys, "argv", ["neuroprobe.py", "root", "--out", "out", "--model", "spectrogram", *flags])
        return program.settings_of(program.parse_arguments(""))

    first, later = settings("--entry", "first"), settings("--entry", "later", "--features", "mean")
    assert (first.normalization, first.reference, first.variant) == ("clip", "none", "no_boundary")
    assert (first.features, first.context_s, first.scale, first.notch) == ("frames", 0.0, "linear", False)
    assert (later.normalization, later.reference, later.features) == ("recording", "laplacian", "mean")
    assert settings("--entry", "first", "--reference", "laplacian").reference == "laplacian"
    assert settings().normalization is None


def test_untrained_without_an_architecture_is_refused(program, root, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["neuroprobe.py", str(root), "--out", "out", "--model", "untrained"])
    with pytest.raises(ValueError, match="give a model's folder too, or --preset"):
        program.main()
