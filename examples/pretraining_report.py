"""What a pretraining run reports: before it, what it would take; after it, what it reached."""

import argparse
import json
import math
import platform
import resource
import statistics
import time
from collections.abc import Callable
from itertools import islice

import torch
from accelerate import Accelerator
from pretraining_data import Data
from recipe import settings_of

ESTIMATE_STEPS = 4
WHO = ("model", "mean", "interpolation")


def report(record: dict) -> None:
    """Print the held-out masked error beside its baselines."""
    best, clips = record["best"], record["clips"]
    print(
        f"\n{record['settings']['preset']} preset, {record['parameters']:,} parameters: {record['steps']:,} steps in "
        f"{record['minutes']:.1f} minutes on {clips['train']:,} clips; best after step {best['step']:,}.\n"
        f"Masked error on {clips['held out']:,} held-out clips (mean absolute error, z units):\n\n"
        f"{'':15}{'all cells':>10}{'content':>10}"
    )
    for who in WHO:
        print(f"{who:15}{best[f'{who} l1']:10.3f}{best[f'{who} content']:10.3f}")
    change = {who: 100 * (best["model content"] / best[f"{who} content"] - 1) for who in WHO[1:]}
    print(
        f"\nContent-aware error (cells with |z| > 1): {change['mean']:+.1f} % against the mean, "
        f"{change['interpolation']:+.1f} % against interpolation."
    )


def report_estimate(
    args: argparse.Namespace,
    accelerator: Accelerator,
    data: Data,
    model: torch.nn.Module,
    train_on: Callable[[list[dict], int, int], tuple[dict[str, float], bool]],
    validate: Callable[[], dict[str, float]],
) -> None:
    """Make a few steps and a validation, of which nothing is kept, and print what the run would take."""
    seconds: list[float] = []
    for epoch in range(ESTIMATE_STEPS):
        loaded = data.train.batches(epoch)
        for _ in range(min(data.steps_per_epoch, ESTIMATE_STEPS - len(seconds))):
            started = time.perf_counter()
            train_on(list(islice(loaded, data.accumulate)), len(seconds), epoch)
            seconds.append(time.perf_counter() - started)
    started = time.perf_counter()
    validate()
    validation_s = time.perf_counter() - started
    step_s = statistics.median(seconds[1:])  # the first compiles and makes kernels
    hours = (step_s * args.steps + validation_s * math.ceil(args.steps / args.validate_every)) / 3600
    if accelerator.device.type == "cuda":
        memory, where = torch.cuda.max_memory_allocated(), "on each GPU"
    else:
        unit = 1 if platform.system() == "Darwin" else 1024
        memory, where = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, "in each process"
    parameters = sum(parameter.numel() for parameter in model.parameters())
    epochs = args.steps / data.steps_per_epoch
    accelerator.print(
        f"{args.preset} preset: {parameters:,} parameters\n"
        f"clips: {data.clips['train']:,} to learn from, {data.clips['held out']:,} held out\n"
        f"steps: {args.steps:,} of {args.batch_size} clips, {epochs:,.1f} epochs, on {accelerator.num_processes} "
        f"processes, {data.accumulate} batches of {data.micro_batch} each\n"
        f"time: {step_s:.3g} s a step, {validation_s:.3g} s a validation: {hours:.3g} hours in all\n"
        f"memory: {memory / 2**30:.3g} GiB at most {where}\n"
        f"settings: {json.dumps(settings_of(args))}"
    )
