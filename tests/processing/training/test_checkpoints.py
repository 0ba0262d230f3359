"""A checkpoint is there as a whole or not at all, and brings everything back."""

import math
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from safetensors import SafetensorError

from brainbert.processing import atomic
from brainbert.processing.training import Checkpoints


class Run:
    """A model of six numbers and its optimiser, and their checkpoints."""

    def __init__(self, folder, *, keep=2):
        self.accelerator = Accelerator(cpu=True)
        model = torch.nn.Linear(5, 1)
        optimizer = torch.optim.AdamW(model.parameters(), 0.1)
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        self.schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
        self.accelerator.register_for_checkpointing(self.schedule)
        self.checkpoints = Checkpoints(folder, self.accelerator, keep=keep)

    def step(self):
        self.model(torch.randn(3, 5)).square().sum().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.schedule.step()
        return [parameter.detach().clone() for parameter in self.model.parameters()]


@pytest.fixture
def run(tmp_path):
    torch.manual_seed(0)
    return Run(tmp_path / "checkpoints")


def names(run):
    return sorted(path.name for path in run.checkpoints.folder.iterdir())


def fail_with(error):
    """Write something, then fail."""

    def save_state(folder):
        Path(folder).mkdir()
        (Path(folder) / "model.safetensors").write_bytes(b"half")
        raise error

    return save_state


def test_the_last_so_many_stay(run):
    for step in (5, 10, 9_999, 10_000):
        run.checkpoints.save(step, {})
    assert names(run) == ["step-000009999", "step-000010000"]
    assert run.checkpoints.latest().name == "step-000010000"


def test_there_is_none_at_first(run):
    assert run.checkpoints.latest() is None


@pytest.mark.parametrize(
    "error",
    [OSError(28, "No space left on device"), RuntimeError("unexpected pos\nmore"), SafetensorError("I/O error")],
)
def test_one_that_cannot_be_written_leaves_the_older_one_and_no_rubbish(run, monkeypatch, error):
    run.checkpoints.save(1, {"a": 1})
    monkeypatch.setattr(run.accelerator, "save_state", fail_with(error))
    with pytest.raises(OSError, match=r"No space left on device|^unexpected pos$|I/O error"):
        run.checkpoints.save(2, {"a": 2})
    assert names(run) == ["step-000000001"]
    assert run.checkpoints.load(run.checkpoints.latest()) == {"a": 1}


def test_one_that_does_not_reach_the_disk_leaves_the_older_one(run, monkeypatch):
    run.checkpoints.save(1, {})
    monkeypatch.setattr(atomic.os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    with pytest.raises(OSError, match="Input/output error"):
        run.checkpoints.save(2, {})
    assert names(run) == ["step-000000001"]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match="file"):
        Run(tmp_path / "file" / "checkpoints").checkpoints.save(1, {})
    assert (tmp_path / "file").read_text() == "mine"


def test_what_a_killed_process_left_is_ignored_and_then_cleared(run):
    run.checkpoints.save(1, {})
    half = run.checkpoints.folder / ".step-000000002.0a1b2c3d.part"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    assert run.checkpoints.latest().name == "step-000000001"
    run.checkpoints.save(2, {})
    assert names(run) == ["step-000000001", "step-000000002"]


def test_progress_comes_back_bit_for_bit(run):
    progress = {"losses": [0.1 + 0.2, 1 / 3, 5e-324, 1.7976931348623157e308, -0.0], "text": "µV", "none": None}
    run.checkpoints.save(1, progress)
    loaded = run.checkpoints.load(run.checkpoints.latest())
    assert loaded == progress
    assert [value.hex() for value in loaded["losses"]] == [value.hex() for value in progress["losses"]]


def test_numbers_that_are_not_finite_come_back(run):
    run.checkpoints.save(1, {"loss": math.nan, "most": math.inf})
    loaded = run.checkpoints.load(run.checkpoints.latest())
    assert math.isnan(loaded["loss"])
    assert loaded["most"] == math.inf


def test_after_loading_the_next_step_is_the_one_that_followed(run):
    run.step()
    run.checkpoints.save(1, {})
    expected = run.step()  # of weights, moments, learning rate and random numbers
    run.step()
    run.checkpoints.load(run.checkpoints.latest())
    for weights, there in zip(run.step(), expected, strict=True):
        assert torch.equal(weights, there)
