"""What `verify` accepts, and that it notices what is wrong. A stand-in takes the place of the authors' code."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from brainbert.hub_upload.convert_checkpoint import convert
from brainbert.hub_upload.verify import SINGLE_TOLERANCE, TOLERANCE, main, verify
from brainbert.modeling_brainbert import BrainBertFeatureExtractor
from brainbert.processing.program import run

RECORDED = Path(__file__).parents[1] / "fixtures" / "original_tiny.npz"

# Written from the paper and notes on it: the same functions, arguments and weights as the authors' classes.
MODEL = """
import math
import torch
from torch import nn
from models import register_model


class Encoding(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.in_proj = nn.Linear(cfg.input_dim, cfg.hidden_dim)
        self.positional_encoding = nn.Module()
        self.positional_encoding.register_buffer("pe", torch.zeros(1, 5000, cfg.hidden_dim))
        self.layer_norm = nn.LayerNorm(cfg.hidden_dim)


class Head(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.hidden_layer = nn.Linear(cfg.hidden_dim, cfg.hidden_dim)
        self.layer_norm = nn.LayerNorm(cfg.hidden_dim)
        self.output = nn.Linear(cfg.hidden_dim, cfg.input_dim)


@register_model("masked_tf_model")
class MaskedTFModel(nn.Module):
    def build_model(self, cfg):
        self.input_encoding, self.spec_prediction_head = Encoding(cfg), Head(cfg)
        layer = nn.TransformerEncoderLayer(cfg.hidden_dim, cfg.nhead, cfg.layer_dim_feedforward, activation="gelu")
        self.transformer = nn.TransformerEncoder(layer, cfg.encoder_num_layers)

    def forward(self, image, mask, intermediate_rep=False):
        coding, head = self.input_encoding, self.spec_prediction_head
        hidden = coding.layer_norm(coding.in_proj(image) + coding.positional_encoding.pe[:, : image.shape[1]])
        hidden = self.transformer(hidden.transpose(0, 1), src_key_padding_mask=mask).transpose(0, 1)
        if intermediate_rep:
            return hidden
        return head.output(head.layer_norm(nn.functional.gelu(head.hidden_layer(hidden)))), None
"""
FRONT_END = """
import numpy as np
from scipy.signal import stft


class STFTPreprocessor:
    def __init__(self, cfg):
        self.cfg = cfg

    def __call__(self, clip):
        bins, overlap = self.cfg.freq_channel_cutoff, self.cfg.noverlap
        image = np.abs(stft(clip, 2048, nperseg=self.cfg.nperseg, noverlap=overlap)[2])[:bins]
        image = (image - image.mean(1, keepdims=True)) / image.std(1, keepdims=True)
        return image[:, 10:-10].T
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    with np.load(RECORDED) as arrays:
        weights = {name[7:]: torch.from_numpy(arrays[name]) for name in arrays if name.startswith("weight/")}
    path = tmp_path_factory.mktemp("checkpoint") / "stft.pth"
    torch.save(weights, path)
    return path


@pytest.fixture(scope="module")
def model(checkpoint, tmp_path_factory):
    """Folder of the converted checkpoint."""
    folder = tmp_path_factory.mktemp("converted") / "model"
    convert(checkpoint, folder, heads=4)
    return folder


@pytest.fixture
def altered(model, tmp_path):
    """Folder of the same model, but for one weight that differs by 0.01."""
    shutil.copytree(model, tmp_path / "altered")
    weights = load_file(model / "model.safetensors")
    weights["brainbert.layers.1.attention.q_proj.weight"][0, 0] += 0.01
    save_file(weights, tmp_path / "altered" / "model.safetensors", metadata={"format": "pt"})
    return tmp_path / "altered"


def clone_of(folder, model):
    for name, content in (("models/masked_tf_model.py", model), ("preprocessors/stft.py", FRONT_END)):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(content, encoding="utf-8")
    return folder


def differences(found):
    return {check["what"]: check["difference"] for check in found["checks"]}


def test_a_converted_model_agrees_with_what_was_recorded(model):
    found = verify(model, recorded=RECORDED)
    assert found["passed"]
    measured = differences(found)
    for what in ("stft in float64, recorded", "hidden, recorded", "prediction, recorded"):
        assert measured[what] <= TOLERANCE == 1e-5, what
    assert measured["stft in float32, recorded"] <= SINGLE_TOLERANCE == 1e-4
    assert measured["hidden, recorded"] > 0  # something was compared


def test_one_altered_weight_is_noticed(altered):
    found = verify(altered, recorded=RECORDED)
    assert not found["passed"]
    failed = {check["what"] for check in found["checks"] if not check["passed"]}
    assert failed == {"hidden, recorded", "prediction, recorded"}


def test_the_clone_runs_beside_and_what_it_computes_differently_is_named(model, checkpoint, tmp_path, monkeypatch):
    clone, out = clone_of(tmp_path / "clone", MODEL.replace("gelu(head", "relu(head")), tmp_path / "verification.json"
    program = ["verify", model, "--original", clone, "--checkpoint", checkpoint, "--out", out]
    monkeypatch.setattr(sys, "argv", list(map(str, program)))
    with pytest.raises(SystemExit, match="does not compute what it should: see the lines that say DIFFERS"):
        run(main)
    written = json.loads(out.read_text(encoding="utf-8"))
    passed = {check["what"]: check["passed"] for check in written["checks"]}
    assert passed["stft in float64, authors' code"]
    assert passed["hidden, authors' code"]
    assert [what for what in passed if not passed[what]] == ["prediction, authors' code"]
    assert str(tmp_path) not in out.read_text(encoding="utf-8")


def test_weights_that_did_not_load_are_noticed(model, tmp_path):
    shutil.copytree(model, tmp_path / "model")
    weights = load_file(model / "model.safetensors")
    del weights["brainbert.layers.0.output.bias"]
    save_file(weights, tmp_path / "model" / "model.safetensors", metadata={"format": "pt"})
    found = verify(tmp_path / "model")
    assert not found["passed"]
    assert differences(found)["weights missing, unexpected or of another shape"] == 1


def test_a_model_with_another_front_end_is_not_held_against_recorded_spectrograms(model, tmp_path):
    shutil.copytree(model, tmp_path / "model")
    BrainBertFeatureExtractor(variant="demo", normalization="recording").save_pretrained(tmp_path / "model")
    found = verify(tmp_path / "model", recorded=RECORDED)
    assert found["passed"]
    assert differences(found).keys() & {"stft in float64, recorded", "stft in float32, recorded"} == set()


def test_what_does_not_belong_together_is_refused(model, checkpoint, tmp_path):
    with pytest.raises(ValueError, match=r"holds no config\.json: give a folder such as convert_checkpoint writes"):
        verify(tmp_path)
    with pytest.raises(ValueError, match="--original and --checkpoint belong together"):
        verify(model, original=tmp_path)
    with pytest.raises(ValueError, match=r"is no clone of the authors' code: it has no models/masked_tf_model\.py"):
        verify(model, original=tmp_path, checkpoint=checkpoint)
    np.savez(tmp_path / "other.npz", hidden=np.zeros((2, 3, 5)))
    with pytest.raises(ValueError, match="have nothing that fits this model"):
        verify(model, recorded=tmp_path / "other.npz")
    np.savez(tmp_path / "pickled.npz", waveform=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match=r"pickled\.npz is no \.npz with arrays of numbers"):
        verify(model, recorded=tmp_path / "pickled.npz")
