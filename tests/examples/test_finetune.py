"""The program that fine-tunes, on a generated recording: one report of all systems, the same when it is run again."""

import json

import pytest

from brainbert.processing.decoding import finetuned


@pytest.fixture
def finetune(run_in, bursts, save_model):
    save_model(bursts / "model")

    def finetune(out, *flags):
        data = ["recording_raw.fif", "--labels", "labels.csv", "--classes", "none", "burst", "--window-s", "1"]
        data += ["--folds", "2", "--reference", "none", "--line-frequency", "50"]
        quick = ["--steps", "80", "--validate-every", "10", "--batch-size", "16", "--encoder-learning-rate", "3e-3"]
        quick += ["--draws", "50", "--jobs", "1", "--untrained-seeds", "1"]
        quick += ["--without", "waveform", "waveform-network", "band-power", "spectrogram-time"]
        run_in(bursts, "finetune", *data, "--model", "model", "--out", out, *quick, *flags)
        return (bursts / out / "report.json").read_text(encoding="utf-8")

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
    assert "Left out on request: Linear, spectrogram in time, Linear, band power, " in " ".join(result["warnings"])
    assert (result["settings"]["fine_tuning_steps"], result["settings"]["fine_tuning_lora"]) == (80, None)
    assert len(result["fine_tuning"]) == 2 * 2 * 2  # from pretrained and fresh weights, contacts, folds

    def fail(*_, **__):
        raise AssertionError("trained again what was kept")

    monkeypatch.setattr(finetuned, "finetune", fail)
    assert finetune("again", "--cache", "kept") == first


def test_statistics_of_the_recording_are_refused_where_the_model_has_none(finetune):
    with pytest.raises(ValueError, match="--statistics belongs to models with the normalization recording, and this"):
        finetune("refused", "--statistics", "whole-recording")
