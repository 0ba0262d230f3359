"""The program that compares settings, on a generated recording: one table of all, the same when it is run again."""

import importlib
import json
import shutil

import pytest
import torch

from brainbert.processing.decoding import encoder_features


@pytest.fixture
def folder(bursts, save_model):
    save_model(bursts / "run-a" / "model", scale="linear")
    save_model(bursts / "run-b" / "model", seed=1, scale="log")
    return bursts


@pytest.fixture
def compare(run_in, folder):
    def compare(out, *flags):
        data = ["recording_raw.fif", "--labels", "values.csv", "--window-s", "1"]
        data += ["--folds", "2", "--reference", "none", "--line-frequency", "50"]
        quick = ["--draws", "50", "--jobs", "1", "--without", "spectrogram-time"]
        run_in(folder, "compare_settings", *data, "--out", out, *quick, *flags)
        return [(folder / out / f"settings.{kind}").read_text(encoding="utf-8") for kind in ("json", "html")]

    return compare


def test_every_model_input_pooling_and_layer_is_a_row_and_the_files_are_the_same_again(compare, monkeypatch, capsys):
    flags = ["--models", "run-a/model", "run-b/model", "--scales", "log", "--cache", "kept"]
    first, page = compare("out", *flags)
    result = json.loads(first)
    inputs = [(each["model"], each["scale"], each["as_trained"]) for each in result["inputs"]]
    assert inputs == [("run-a", "linear", True), ("run-a", "log", False), ("run-b", "log", True)]
    rows = [(row["input"], row["pooling"], row["layer"]) for row in result["rows"]]
    assert rows == [(place, pooling, layer) for place in range(3) for pooling in ("center", "mean") for layer in (0, 1)]
    assert [control["name"] for control in result["controls"]] == ["spectrogram", "band-power"]
    assert result["title"] == "Decoding table, column label or value, as a number"
    assert (result["settings"]["window_s"], result["models"]["run-b"]["pretraining"]) == (1.0, None)
    said = capsys.readouterr().out
    assert "run-a (clip, log; not as trained), mean, layer 1" in said
    assert said.count("must be reported on other recordings") == page.count("must be reported on other recordings") == 1

    def fail(*_, **__):
        raise AssertionError("computed again what was kept")

    monkeypatch.setattr("brainbert.processing.decoding.out_of_fold._contact_scores", fail)
    monkeypatch.setattr(encoder_features, "_embedding", lambda *_: lambda values: torch.zeros(1, 2, 32))
    assert compare("again", *flags) == [first, page]


def test_models_are_named_by_what_tells_their_folders_apart(as_a_program, folder, monkeypatch):
    names_of = importlib.import_module("compare_settings").names_of
    monkeypatch.chdir(folder)
    shutil.copytree("run-a", "night/run-a")
    assert names_of(["run-a/model"]) == ["model"]
    assert names_of(["run-a/model", "run-b/model", "who/ever"]) == ["run-a/model", "run-b/model", "who/ever"]
    assert names_of(["run-b/model", "night/run-a/model"]) == ["run-b", "run-a"]
    with pytest.raises(ValueError, match="given twice"):
        names_of(["run-a/model", "night/../run-a/model"])


def test_statistics_are_refused_where_no_input_has_those_of_the_recording(compare):
    flags = ["--models", "run-a/model", "--minimum-recording-s", "20", "--normalizations", "corpus"]
    with pytest.raises(ValueError, match=r"--minimum-recording-s belongs to models .* has clip and corpus"):
        compare("refused", *flags)
