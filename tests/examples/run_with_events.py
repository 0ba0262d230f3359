"""Runs a program of examples/ to which something happens at a given step; test_pretrain.py forks it.

`order`, given with run_path: arguments, folder and environment of the program, the file for what it prints, and what
happens after which step: {step, or "finish": (name of a function here, its arguments)}.
"""

import multiprocessing
import os
import resource
import signal
import sys
from pathlib import Path

import pretrain
import pretraining_run
import torch

model_at_hand: list = []


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def fill_disk() -> None:
    """From now on no file can grow beyond 50 kB: weights and pictures cannot be written, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))


def free_disk() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def damage(path: str) -> None:
    """Overwrite the second half of a file."""
    content = Path(path).read_bytes()
    half = len(content) // 2
    Path(path).write_bytes(content[:half] + bytes(len(content) - half))


def kill_after_file_operations(count: int) -> None:
    """End without warning when so many more files have been opened, renamed or removed."""
    left = [count]

    def notice(event: str, arguments: tuple) -> None:
        if event in ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir"):
            left[0] -= 1
            if left[0] == 0:
                send(signal.SIGKILL)

    sys.addaudithook(notice)


def spoil_loss() -> None:
    """Let the loss of the next step be NaN."""
    original = pretrain.accumulate_gradients

    def spoilt(*arguments: object, **settings: object) -> torch.Tensor:
        pretrain.accumulate_gradients = original
        return original(*arguments, **settings) * torch.nan

    pretrain.accumulate_gradients = spoilt


def spoil_weights() -> None:
    """Let a weight be NaN."""
    next(model_at_hand[0].parameters()).data.fill_(torch.nan)


def main(order: dict) -> None:
    output = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.chdir(order["folder"])
    os.environ |= order["environment"]
    sys.argv = order["arguments"]
    # Several threads that wait for one another are slow where other programs run.
    torch.set_num_threads(1)
    torch.set_num_threads = lambda number: None
    multiprocessing.set_start_method("fork", force=True)  # as where it has not been forked itself
    original, finish = pretraining_run.Run.note, pretraining_run.Run.finish

    def happen(moment: int | str) -> None:
        if event := order["events"].get(moment):
            name, *details = event
            globals()[name](*details)

    def note(run: pretraining_run.Run, *arguments: object) -> None:
        original(run, *arguments)
        model_at_hand[:] = [run.model]
        happen(run.progress.step)

    def finish_then(run: pretraining_run.Run, *arguments: object) -> None:
        happen("finish")
        finish(run, *arguments)

    pretraining_run.Run.note, pretraining_run.Run.finish = note, finish_then
    pretrain.run_program(pretrain.main)


if __name__ == "__main__":
    main(globals()["order"])
