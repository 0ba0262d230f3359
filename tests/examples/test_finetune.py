"""The program that fine-tunes, on a generated recording: one report of all systems, the same when it is run again."""

import importlib
import json
import sys

import mne
import numpy as np
import pytest
import torch

from brainbert.modeling_brainbert import BrainBertConfig, BrainBertFeatureExtractor, BrainBertModel
from brainbert.processing.decoding import finetuned


@pytest.fixture
def folder(tmp_path):
    """120 s of noise from two contacts; in LA2 a 40 Hz burst in half of 60 windows. And an encoder."""
    generator = np.random.default_rng(0)
    volts = 1e-6 * generator.standard_normal((2, 120 * 512)).cumsum(1)
    volts -= volts.mean(1, keepdims=True)
    burst = generator.permutation(60) % 2
    seconds = np.arange(512) / 512
    rows = ["onset,duration,label"]
    for number in range(60):
        start = number * 1024
        volts[1, start : start + 512] += burst[number] * 2e-5 * np.sin(2 * np.pi * 40 * seconds) * np.hanning(512)
        rows.append(f"{2 * number},1,{'burst' if burst[number] else 'none'}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    raw = mne.io.RawArray(volts, mne.create_info(["LA1", "LA2"], 512.0, "seeg"), verbose="ERROR")
    raw.save(tmp_path / "recording_raw.fif", verbose="ERROR")
    config = BrainBertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    torch.manual_seed(0)
    BrainBertModel(config).save_pretrained(tmp_path / "model")
    BrainBertFeatureExtractor().save_pretrained(tmp_path / "model")
    return tmp_path


@pytest.fixture
def finetune(as_a_program, folder, monkeypatch):
    def finetune(out, *flags):
        program = importlib.import_module("finetune")
        data = ["recording_raw.fif", "--labels", "labels.csv", "--classes", "none", "burst", "--window-s", "1"]
        data += ["--folds", "2", "--reference", "none", "--line-frequency", "50"]
        quick = ["--steps", "80", "--validate-every", "10", "--batch-size", "16", "--encoder-learning-rate", "3e-3"]
        quick += ["--draws", "50", "--jobs", "1", "--untrained-seeds", "1"]
        quick += ["--without", "waveform", "waveform-network", "band-power", "spectrogram-time"]
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["finetune.py", *data, "--model", "model", "--out", out, *quick, *flags])
        program.main()
        return (folder / out / "report.json").read_text(encoding="utf-8")

    return finetune


def test_the_report_has_the_fine_tuned_encoder_beside_all_others_and_is_the_same_again(finetune, monkeypatch, capsys):
    first = finetune("out", "--cache", "kept")
    result = json.loads(first)
    systems = {system["name"]: system for system in result["systems"]}
    assert list(systems) == ["pretrained", "untrained", "fine-tuned", "fine-tuned-untrained", "spectrogram"]
    contacts = {each["contact"]: each["score"] for each in systems["fine-tuned"]["contacts"]}
    assert contacts["LA2"] > 0.8
    assert [each["control"] for each in result["differences"]] == [name for name in systems if name != "fine-tuned"]
    assert result["verdict"].startswith("The fine-tuned encoder")
    assert result["verdict"] in capsys.readouterr().out
    assert (result["settings"]["fine_tuning_steps"], result["settings"]["fine_tuning_lora"]) == (80, None)
    assert len(result["fine_tuning"]) == 2 * 2 * 2  # from pretrained and fresh weights, contacts, folds

    def fail(*_, **__):
        raise AssertionError("trained again what was kept")

    monkeypatch.setattr(finetuned, "finetune", fail)
    assert finetune("again", "--cache", "kept") == first
