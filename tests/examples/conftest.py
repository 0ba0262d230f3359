"""What tests share that call the programs within their own process."""

import importlib
import sys
from pathlib import Path

import mne
import numpy as np
import pytest
import torch

from brainbert.modeling_brainbert import BrainBertConfig, BrainBertFeatureExtractor, BrainBertModel

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def as_a_program(monkeypatch):
    """Programs import what lies beside them, and set the number of threads."""
    monkeypatch.syspath_prepend(EXAMPLES)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def run_in(as_a_program, monkeypatch):
    """Call the `main` of a program in a folder, with these arguments."""

    def run(folder, program, *arguments):
        main = importlib.import_module(program).main
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", [f"{program}.py", *arguments])
        main()

    return run


@pytest.fixture(scope="session")
def save_model():
    """Save a model of one layer and its front end in a folder."""

    def save(folder, *, seed=0, **front_end):
        config = BrainBertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
        torch.manual_seed(seed)
        BrainBertModel(config).save_pretrained(folder)
        BrainBertFeatureExtractor(**front_end).save_pretrained(folder)

    return save


@pytest.fixture
def bursts(tmp_path):
    """120 s of noise from two contacts; in LA2 a 40 Hz burst in half of 60 windows; tables of which, and how large."""
    generator = np.random.default_rng(0)
    volts = 1e-6 * generator.standard_normal((2, 60, 1024)).reshape(2, -1).cumsum(1)
    volts -= volts.mean(1, keepdims=True)
    size = generator.permutation(60) % 2 * generator.uniform(0.8, 1.2, 60)
    burst = 2e-5 * np.sin(2 * np.pi * 40 * np.arange(512) / 512) * np.hanning(512)
    volts[1].reshape(60, 1024)[:, :512] += np.outer(size, burst)
    raw = mne.io.RawArray(volts, mne.create_info(["LA1", "LA2"], 512.0, "seeg"), verbose="ERROR")
    raw.save(tmp_path / "recording_raw.fif", verbose="ERROR")
    for column, labels in (("label", np.where(size > 0, "burst", "none")), ("value", size.round(3))):
        rows = [f"{2 * number},1,{label}" for number, label in enumerate(labels)]
        (tmp_path / f"{column}s.csv").write_text("\n".join([f"onset,duration,{column}", *rows]) + "\n")
    return tmp_path
