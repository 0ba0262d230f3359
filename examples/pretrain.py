"""Pretrain BrainBERT on a corpus by masked reconstruction.

    python examples/build_corpus.py RECORDING.edf --out corpus --line-frequency 50
    accelerate launch examples/pretrain.py corpus --out run --preset tiny --steps 1000
    tensorboard --logdir run

Ends with run/model: weights, configuration, feature extractor, code and training record, for AutoModel.from_pretrained.
"""

import argparse
import json
import os
import time
from contextlib import nullcontext
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device, set_seed
from conditioning import CONDITIONING
from program import HelpFormatter, run
from torch.utils.data import DataLoader
from tqdm import tqdm
from transformers import get_cosine_schedule_with_warmup

from brainbert.modeling_brainbert import PRESETS, BrainBertConfig, BrainBertFeatureExtractor, BrainBertForPreTraining
from brainbert.processing.atomic import only_writer, written_whole
from brainbert.processing.corpora import (
    corpus_statistics,
    load_corpus,
    recording_statistics,
    split_corpus,
    statistics_lookup,
    with_statistics,
    write_statistics,
)
from brainbert.processing.training import CollateClips, evaluate, masked_batch


def main() -> None:
    args = parse_arguments()
    for name in ("steps", "batch_size", "validate_every"):
        if getattr(args, name) < 1:
            raise ValueError(f"--{name.replace('_', '-')} is {getattr(args, name)}: it must be at least 1.")
    if (args.out / "model").exists():
        raise ValueError(f"{args.out}/model exists: choose another --out, so that no trained model is lost.")
    accelerator = Accelerator(log_with="tensorboard", project_dir=args.out)
    # Nobody else trains into this folder meanwhile; the other processes of this run do not write.
    with only_writer(args.out) if accelerator.is_main_process else nullcontext():
        pretrain(args, accelerator)


def pretrain(args: argparse.Namespace, accelerator: Accelerator) -> None:
    set_seed(args.seed)
    if accelerator.device.type == "cpu":  # accelerate launch leaves each process a single thread
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // accelerator.num_processes))

    # Data: a part held out in blocks. With a split by time, statistics come from the training part alone.
    corpus = load_corpus(args.corpus)
    train, held_out = split_corpus(
        corpus, by=args.split, validation=args.validation, embargo_s=args.embargo_s, seed=args.seed
    )
    settings = {
        "sampling_rate": corpus[0]["sampling_rate"],
        "transform": args.transform,
        "variant": args.variant,
        "scale": args.scale,
    }
    extractor = BrainBertFeatureExtractor(**settings, normalization="clip")
    statistics = None
    if args.normalization == "corpus":
        mean, std = corpus_statistics(train, extractor, progress=accelerator.is_main_process)
        extractor = BrainBertFeatureExtractor(**settings, normalization="corpus", mean=mean, std=std)
    elif args.normalization == "recording":
        # A recording that is held out as a whole has no training part: its own statistics are all there is.
        part = train if args.split == "time" else corpus
        table = recording_statistics(part, extractor, progress=accelerator.is_main_process)
        if accelerator.is_main_process:
            write_statistics(table, args.out, extractor)
        statistics = statistics_lookup(table)
        extractor = BrainBertFeatureExtractor(**settings, normalization="recording")
        held_out, before = with_statistics(held_out, statistics), len(held_out)
        if len(held_out) < before:
            accelerator.print(
                f"{before - len(held_out)} held-out clips of contacts without training clips are not used."
            )
    if len(train) < accelerator.num_processes * args.batch_size:
        raise ValueError(
            f"{len(train)} training clips do not fill one batch of {args.batch_size} on each of "
            f"{accelerator.num_processes} processes: use a smaller --batch-size, or more data."
        )
    loading = {"batch_size": args.batch_size, "collate_fn": CollateClips(statistics)}
    shuffling = {"shuffle": True, "drop_last": True, "generator": torch.Generator().manual_seed(args.seed)}
    train_loader = DataLoader(train.with_format("numpy"), **loading, **shuffling)
    # Each process measures its own share of the held-out clips; the sums are added up.
    share = range(accelerator.process_index, len(held_out), accelerator.num_processes)
    held_out_loader = DataLoader(held_out.select(share).with_format("numpy"), **loading)

    # Model, optimiser, schedule.
    config = BrainBertConfig.from_preset(args.preset, pooling=args.pooling)
    model = BrainBertForPreTraining(config)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate, weight_decay=0.01)
    schedule = get_cosine_schedule_with_warmup(optimizer, round(0.1 * args.steps), args.steps)
    set_seed(args.seed, device_specific=True)  # the same weights, but other dropout on each process
    model, optimizer, train_loader = accelerator.prepare(model, optimizer, train_loader)
    accelerator.init_trackers("tensorboard")

    def validate() -> dict[str, float]:
        """Measure the held-out clips, under the same masks each time."""
        batches = (
            masked_batch(send_to_device(batch, accelerator.device), extractor, seed=args.seed, epoch=-1)
            for batch in held_out_loader
        )
        unwrapped = accelerator.unwrap_model(model)
        errors = evaluate(unwrapped, batches, content_threshold=config.content_threshold)
        errors = {
            who: error.reduced(lambda value: reduce(value.to(accelerator.device))) for who, error in errors.items()
        }
        return {f"{who} {part}": getattr(error, part) for who, error in errors.items() for part in ("l1", "content")}

    # Loop.
    reduce = partial(accelerator.reduce, reduction="sum")
    started, step, epoch, curve = time.perf_counter(), 0, 0, []
    bar = tqdm(total=args.steps, desc="pretraining", unit="step", disable=not accelerator.is_main_process)
    while step < args.steps:
        for batch in train_loader:
            output = model(**masked_batch(batch, extractor, seed=args.seed, epoch=epoch))
            # Means over the cells of all processes: their gradients are averaged, so each loss is scaled up.
            counts = reduce(torch.stack((output.l1_count, output.content_count))).clamp(min=1)
            loss = output.l1_sum / counts[0] + config.content_weight * output.content_sum / counts[1]
            accelerator.backward(loss * accelerator.num_processes)
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            step += 1
            bar.update()
            if step % 10 == 0:
                average = reduce(loss.detach()).item()
                bar.set_postfix(loss=f"{average:.3f}")
                accelerator.log({"train/loss": average, "learning_rate": schedule.get_last_lr()[0]}, step)
            if step % args.validate_every == 0 or step == args.steps:
                curve.append({"step": step, "minutes": (time.perf_counter() - started) / 60, **validate()})
                accelerator.log({f"validation/{name}": value for name, value in curve[-1].items()}, step)
            if step == args.steps:
                break
        epoch += 1
    bar.close()

    # Result.
    if accelerator.is_main_process:
        conditioning = json.loads((args.corpus / "build.json").read_text())["conditioning"] or {}
        record = {
            "corpus": json.loads((args.corpus / "corpus.json").read_text()),
            "conditioning": {name: conditioning[name] for name in CONDITIONING if name in conditioning},
            "clips": {"train": len(train), "held out": len(held_out)},
            "arguments": {name: value for name, value in vars(args).items() if name not in ("corpus", "out")},
            "parameters": parameters,
            "processes": accelerator.num_processes,
            "curve": curve,
            "versions": {name: version(name) for name in ("brainbert", "torch", "transformers", "datasets")},
        }
        with written_whole(args.out / "model") as folder:
            accelerator.unwrap_model(model).save_pretrained(folder)
            extractor.save_pretrained(folder)
            (folder / "training_record.json").write_text(json.dumps(record, indent=1) + "\n")
        report(record)
        print(f"Saved to {args.out / 'model'}.")
    # Leave together: a process that is torn down after the others have gone may wait for them for ever.
    accelerator.wait_for_everyone()
    model, optimizer, train_loader = accelerator.free_memory(model, optimizer, train_loader)
    accelerator.end_training()


def report(record: dict) -> None:
    """Print the held-out masked error beside its baselines."""
    last, clips = record["curve"][-1], record["clips"]
    print(
        f"\n{record['arguments']['preset']} preset, {record['parameters']:,} parameters: {last['step']} steps in "
        f"{last['minutes']:.1f} minutes on {clips['train']} clips.\n"
        f"Masked error on {clips['held out']} held-out clips (mean absolute error, z units):\n\n"
        f"{'':15}{'all cells':>10}{'content':>10}"
    )
    for who in ("model", "mean", "interpolation"):
        print(f"{who:15}{last[f'{who} l1']:10.3f}{last[f'{who} content']:10.3f}")
    change = {who: 100 * (last["model content"] / last[f"{who} content"] - 1) for who in ("mean", "interpolation")}
    print(
        f"\nContent-aware error (cells with |z| > 1): {change['mean']:+.1f} % against the mean, "
        f"{change['interpolation']:+.1f} % against interpolation."
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=HelpFormatter)
    parser.add_argument("corpus", type=Path, help="folder made by examples/build_corpus.py")
    parser.add_argument("--out", type=Path, required=True, help="folder for the model and the TensorBoard log")
    parser.add_argument("--preset", default="tiny", choices=tuple(PRESETS), help="size of the model")
    parser.add_argument("--steps", type=int, default=1000, help="optimiser steps")
    parser.add_argument("--batch-size", type=int, default=32, help="clips per process and step")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="peak, after 10 %% of the steps; then cosine")
    parser.add_argument("--normalization", default="clip", choices=("clip", "recording", "corpus"), help="of each bin")
    parser.add_argument(
        "--transform", default="stft", choices=("stft", "superlet"), help="superlets are sharper and take longer"
    )
    parser.add_argument("--scale", default="linear", choices=("linear", "log"), help="of the magnitude")
    parser.add_argument(
        "--variant", default="training", choices=("training", "demo", "no_boundary"), help="of the STFT"
    )
    parser.add_argument("--pooling", default="center", choices=("center", "mean"), help="of frames, kept in the model")
    parser.add_argument("--split", default="time", choices=("time", "recording"), help="what is held out in blocks")
    parser.add_argument("--validation", type=float, default=0.1, help="share that is held out")
    parser.add_argument("--embargo-s", type=float, default=5.0, help="seconds between the parts, used by neither")
    parser.add_argument("--validate-every", type=int, default=200, help="steps")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order, dropout and masks")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
