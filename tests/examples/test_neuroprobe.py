"""The program on a generated root: three splits, resumed, one table, an entry; windows are made up."""

import importlib
import importlib.util
import json
import shutil
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from brainbert.processing.corpora.brain_treebank_words import read_words, silences
from brainbert.processing.corpora.lineage import recording_mark
from brainbert.processing.decoding import neuroprobe_run
from brainbert.processing.decoding.neuroprobe_run import LINEAR
from brainbert.processing.decoding.neuroprobe_windows import ProbeFold, ProbeWindows, session_name

EXAMPLES = Path(__file__).parents[2] / "examples"
SESSIONS = ((2, 4), (4, 0), (4, 1))
FOLDERS = ["Cross-Session", "Cross-Subject", "Within-Session"]


class MadeUp:
    """What Neuroprobe has, with half as many windows of words as of silence and two tasks, one of them by chance."""

    version, source = "made up", (2, 4)
    tasks, splits = {"speech": "Speech", "pitch": "Voice Pitch"}, tuple(reversed(FOLDERS))

    def __init__(self, root, *, nano=False):
        self.root, self.nano, self.name = root, nano, "Nano" if nano else "Lite"
        self.sessions = SESSIONS[:2] if nano else SESSIONS

    def tested(self, split):
        return tuple(session for session in self.sessions if split != "Cross-Subject" or session[0] != 2)

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
    def call(*flags, models=("untrained", "spectrogram"), root=root):
        monkeypatch.chdir(tmp_path)
        preset = ["--preset", "tiny"] if "untrained" in models and set(models) <= {"untrained", *LINEAR} else []
        arguments = [str(root), "--out", "out", "--model", *models, *preset, *flags]
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


def test_results_and_features_of_other_files_are_not_taken_for_these(call, root, tmp_path):
    flags = ("--tasks", "speech", "--sessions", "4_0", "--splits", "Within-Session")
    call(*flags, models=["band-power"])
    other = shutil.copytree(root, tmp_path / "other")
    with h5py.File(next(other.rglob("sub_4_trial000.h5")), "r+") as file:
        for channel in file["data"].values():
            channel[-4096:] = 0
    with pytest.raises(ValueError, match="results of btbank4_0 that are kept are of other files"):
        call(*flags, models=["band-power"], root=other)
    shutil.rmtree(tmp_path / "out/results")
    assert "computed in" in call(*flags, models=["band-power"], root=other)
    assert "from the cache" in call(*flags, "--out", "again", "--cache", "out/cache", models=["band-power"], root=other)


def test_a_contact_without_signal_is_counted_and_stops_nothing_under_the_later_entry(call, root, tmp_path):
    flat = shutil.copytree(root, tmp_path / "flat")
    with h5py.File(next(flat.rglob("sub_4_trial000.h5")), "r+") as file:
        file["data/electrode_0"][:] = 0
    flags = ("--tasks", "speech", "--sessions", "4_0", "--splits", "Within-Session", "--reference", "none")
    call("--entry", "later", "--features", "mean", *flags, models=["untrained"], root=flat)
    (result,) = (tmp_path / "out/results").rglob("btbank*.json")
    found = json.loads(result.read_text())
    assert found["without_signal"] > 0
    assert all(np.isfinite(fold["test_roc_auc"]) for fold in found["folds"])


def test_features_of_a_session_are_dropped_when_nothing_needs_them(call, tmp_path):
    call("--drop-features", "--tasks", "speech", "--sessions", "4_0", "4_1", models=["band-power"])
    assert len(list((tmp_path / "out/results").rglob("btbank*.json"))) == 6
    assert not list((tmp_path / "out/cache").glob("*.*"))


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
    (entry,) = (tmp_path / "out").glob("run-PARTIAL_A_B_*")
    assert "EXCEPTION" in (entry / "ATTESTATION.txt").read_text()


def test_a_nano_entry_says_so_in_its_name_and_in_all_its_files(call, tmp_path):
    nano = ["--nano", "--splits", "Within-Session", "--author", "A", "B", "--date", "2026-03-07"]
    said = call(*nano, "--partial", models=["waveform"])
    assert "NOT COMPLETE" in said
    entry = tmp_path / "out/waveform-Nano-PARTIAL_A_B_07_03_2026"
    for path in entry.rglob("*.json"):
        about = json.loads(path.read_text())
        assert about["model_name"] == "waveform Nano PARTIAL"
        assert "Neuroprobe Nano. PARTIAL: 2 results are missing" in about["description"]


def marked(folder, *names):
    record = {"corpora": [{"recording_marks": [recording_mark(name) for name in names]}]}
    (folder / "training_record.json").write_text(json.dumps(record))


def test_seen_that_leaves_out_what_the_record_has_is_refused(call, save_model, tmp_path):
    save_model(tmp_path / "run")
    marked(tmp_path / "run", "btbank1_0", "btbank10_1", "not of the treebank")
    with pytest.raises(ValueError, match="--seen leaves out btbank10_1, which run was trained on by its"):
        call("--dry-run", "--seen", "1_0", "2_1", models=["run"])
    call("--dry-run", "--seen", "1_0", "10_1", models=["run"])


def test_seen_of_several_models_names_each(call, save_model, tmp_path, program):
    for name in ("ours", "theirs"):
        save_model(tmp_path / name)
    marked(tmp_path / "ours", "btbank1_0")
    with pytest.raises(ValueError, match=r"does not say of which of the 2 models: .* --seen ours=1_0 theirs=released"):
        call("--dry-run", "--seen", "released", models=["ours", "theirs"])
    with pytest.raises(ValueError, match="--seen names other, and the models are called ours, theirs"):
        call("--dry-run", "--seen", "other=none", models=["ours", "theirs"])
    said = program.make_systems(["ours", "theirs"], preset=None, seen=["theirs=1_1", "theirs=2_1"])
    assert [each.seen for each in said] == [((1, 0),), ((1, 1), (2, 1))]


def test_what_is_cached_needs_no_room_again(call, program, monkeypatch):
    flags = ["--tasks", "speech", "--sessions", "4_0", "--splits", "Within-Session"]
    call(*flags, models=["band-power"])
    (result,) = Path("out/results").rglob("btbank*.json")
    result.unlink()
    monkeypatch.setattr(program.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10}))
    assert "0.00 GiB on disk at most" in call("--dry-run", *flags, models=["band-power"])
    with pytest.raises(ValueError, match="0 GiB are free: use --drop-features"):
        call("--dry-run", *flags, "--cache", "another", models=["band-power"])


@pytest.mark.parametrize(
    ("flags", "models", "message"),
    [
        (["--partial"], ["waveform"], "--partial is of a leaderboard entry: give --author"),
        (["--organization-url", "-"], ["waveform"], "--organization-url is of a leaderboard entry"),
        (["--context-s", "0"], ["waveform", "spectrogram"], "--context-s is of encoders, and --model names none"),
        (["--seen", "none"], ["untrained"], "--seen is of the weights of model folders"),
        (["--preset", "tiny"], ["untrained", "run"], "--preset is of untrained where --model names no folder"),
    ],
)
def test_flags_that_would_do_nothing_are_refused(call, flags, models, message):
    with pytest.raises(ValueError, match=message):
        call(*flags, models=models)


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
