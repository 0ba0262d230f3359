"""The program that compares settings, on a generated recording: one table of all, the same when it is run again."""

import importlib
import json
import shutil
import sys

import mne
import numpy as np
import pytest
import torch

from brainbert.modeling_brainbert import BrainBertConfig, BrainBertFeatureExtractor, BrainBertModel
from brainbert.processing.decoding import encoder_features


@pytest.fixture
def folder(tmp_path):
    """80 s of noise from two contacts; in LA2 a 40 Hz burst of known size in 40 windows. And two encoders."""
    generator = np.random.default_rng(0)
    volts = 1e-6 * generator.standard_normal((2, 80 * 512)).cumsum(1)
    volts -= volts.mean(1, keepdims=True)
    size = generator.random(40)
    seconds = np.arange(512) / 512
    rows = ["onset,duration,value"]
    for number in range(40):
        start = number * 1024
        volts[1, start : start + 512] += size[number] * 2e-5 * np.sin(2 * np.pi * 40 * seconds) * np.hanning(512)
        rows.append(f"{2 * number},1,{size[number]:.3f}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    raw = mne.io.RawArray(volts, mne.create_info(["LA1", "LA2"], 512.0, "seeg"), verbose="ERROR")
    raw.save(tmp_path / "recording_raw.fif", verbose="ERROR")
    config = BrainBertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    for name, scale in (("run-a", "linear"), ("run-b", "log")):
        torch.manual_seed(len(scale))
        BrainBertModel(config).save_pretrained(tmp_path / name / "model")
        BrainBertFeatureExtractor(scale=scale).save_pretrained(tmp_path / name / "model")
    return tmp_path


@pytest.fixture
def compare(as_a_program, folder, monkeypatch):
    def compare(out, *flags):
        program = importlib.import_module("compare_settings")
        data = ["recording_raw.fif", "--labels", "labels.csv", "--window-s", "1"]
        data += ["--folds", "2", "--reference", "none", "--line-frequency", "50"]
        quick = ["--draws", "50", "--jobs", "1", "--without", "spectrogram-time"]
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["compare_settings.py", *data, "--out", out, *quick, *flags])
        program.main()
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
