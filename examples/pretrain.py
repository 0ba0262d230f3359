"""Pretrain BrainBERT by masked reconstruction.

    python examples/build_corpus.py RECORDING.edf --out corpus --line-frequency 50
    accelerate launch examples/pretrain.py corpus --out run --recipe examples/recipes/small.yaml
    accelerate launch examples/pretrain.py corpus --out run --recipe examples/recipes/small.yaml --resume
    tensorboard --logdir run

Ends with run/model: the best weights, configuration, feature extractor, code, training record and learning curve, for
AutoModel.from_pretrained. SIGTERM and Ctrl-C save and leave; --resume goes on as if nothing had happened.
"""

import argparse
import math
import os
import time
from contextlib import nullcontext
from itertools import islice

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from acceleration import make_accelerator
from pretraining_data import open_data
from pretraining_report import report_estimate
from pretraining_run import Run, check_run
from recipe import parse_arguments
from tqdm import tqdm

from brainbert.modeling_brainbert import BrainBertConfig, BrainBertForPreTraining
from brainbert.processing.program import run as run_program
from brainbert.processing.training import (
    StopRequest,
    accumulate_gradients,
    evaluate,
    look_at_neighbours,
    make_optimizers,
    make_schedule,
)

DROPOUT = ("hidden_dropout_prob", "attention_probs_dropout_prob")


def main() -> None:
    args = parse_arguments(__doc__)
    accelerator = make_accelerator(args)
    check_run(args)
    with Run(args, accelerator) if not args.dry_run else nullcontext() as run:
        pretrain(args, accelerator, run)
    # Leave together: a process that is torn down after the others have gone may wait for them for ever.
    accelerator.wait_for_everyone()
    accelerator.end_training()


def pretrain(args: argparse.Namespace, accelerator: Accelerator, run: Run | None) -> None:
    set_seed(args.seed)
    if accelerator.device.type == "cpu":  # accelerate launch leaves each process a single thread
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        torch.set_num_threads(max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", accelerator.num_processes))))
    data = open_data(args, accelerator)

    # Model, optimiser, schedule.
    dropout = {} if args.dropout is None else dict.fromkeys(DROPOUT, args.dropout)
    loss = {"content_weight": args.content_weight, "content_threshold": args.content_threshold}
    config = BrainBertConfig.from_preset(args.preset, pooling=args.pooling, **loss, **dropout)
    model = BrainBertForPreTraining(config)
    if args.activation_checkpointing:
        model.gradient_checkpointing_enable()
    if args.attention == "neighbours":
        look_at_neighbours(layer.attention for layer in model.brainbert.layers)
    optimizers = make_optimizers(
        args.optimizer,
        model,
        learning_rate=args.learning_rate,
        muon_learning_rate=args.muon_learning_rate,
        weight_decay=args.weight_decay,
        betas=tuple(args.betas),
    )
    steps = {"warmup_steps": round(args.warmup * args.steps), "total_steps": args.steps}
    schedules = [make_schedule(args.schedule, optimizer, **steps) for optimizer in optimizers]
    model, *optimizers = accelerator.prepare(model, *optimizers)
    accelerator.register_for_checkpointing(*schedules)
    stop = StopRequest()

    def train_on(batches: list[dict], step: int, epoch: int) -> tuple[dict[str, float], bool]:
        """Make one step, if what it measured is finite; return that, and whether a process was asked to stop."""
        # Dropout depends on the step alone, so that a resumed run goes on with the same.
        torch.manual_seed((args.seed * args.steps + step) * accelerator.num_processes + accelerator.process_index)
        sums = accumulate_gradients(accelerator, model, [data.mask(batch, epoch) for batch in batches], **loss)
        norm = accelerator.clip_grad_norm_(model.parameters(), args.clip_gradient)
        norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm  # where FSDP has sharded it
        asked = accelerator.reduce(torch.tensor(float(stop.requested), device=accelerator.device), reduction="sum")
        # From here on the device is waited for, once a step.
        l1_sum, l1_count, content_sum, content_count, norm, asked = torch.stack((*sums, norm, asked)).tolist()
        l1, content = l1_sum / max(l1_count, 1), content_sum / max(content_count, 1)
        measured = {"loss": l1 + config.content_weight * content, "l1": l1, "content": content, "gradient_norm": norm}
        measured["learning_rate"] = schedules[0].get_last_lr()[0]
        finite = all(map(math.isfinite, measured.values()))
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            if finite:
                optimizer.step()
            optimizer.zero_grad()
            schedule.step()
        return measured, asked > 0

    def reduce(sums: torch.Tensor) -> torch.Tensor:
        return accelerator.reduce(sums.to(accelerator.device), reduction="sum")

    def validate() -> dict[str, float]:
        """Measure the held-out clips, under the same masks each time."""
        errors = evaluate(model, map(data.mask_held_out, data.held_out()), content_threshold=config.content_threshold)
        parts = {}
        for who, error in errors.items():
            total = error.reduced(reduce) if accelerator.num_processes > 1 else error
            parts |= {f"{who} l1": total.l1, f"{who} content": total.content}
        return {"loss": parts["model l1"] + config.content_weight * parts["model content"], **parts}

    if run is None:
        report_estimate(args, accelerator, data, model, train_on, validate)
        return

    # Start, or go on where the last checkpoint was.
    run.start(data, model)
    progress = run.progress
    started = time.perf_counter() - progress.seconds
    hidden = not accelerator.is_main_process
    bar = tqdm(total=args.steps, initial=progress.step, desc="pretraining", unit="step", disable=hidden)
    with stop, bar:
        while progress.step < args.steps:
            epoch, done = divmod(progress.step, data.steps_per_epoch)
            loaded = data.train.batches(epoch, start=done * data.accumulate)
            for _ in range(min(data.steps_per_epoch - done, args.steps - progress.step)):
                batches = run.load(islice(loaded, data.accumulate))
                measured, asked = train_on(batches, progress.step, epoch)
                progress.step += 1
                progress.seconds = time.perf_counter() - started
                bar.update()
                run.note(measured, batches)
                last = progress.step == args.steps
                if last or progress.step % args.log_every == 0:
                    bar.set_postfix(loss=f"{run.log():.3f}")
                if last or progress.step % args.validate_every == 0:
                    run.log_validation(validate(), data, last=last)
                leave = asked or run.skipped_too_many
                if last or leave or progress.step % args.checkpoint_every == 0:
                    run.save(needed=last or leave)
                if leave and not last:
                    run.leave()
                    return
    if run.skipped_too_many:
        run.leave()
    run.finish(config, data)


if __name__ == "__main__":
    run_program(main)
