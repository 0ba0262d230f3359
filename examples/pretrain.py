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
from importlib.metadata import version
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from program import run
from torch.utils.data import DataLoader
from tqdm import tqdm
from transformers import get_cosine_schedule_with_warmup

from brainbert.modeling_brainbert import PRESETS, BrainBertConfig, BrainBertFeatureExtractor, BrainBertForPreTraining
from brainbert.processing.atomic import written_whole
from brainbert.processing.corpora import (
    corpus_statistics,
    load_corpus,
    recording_statistics,
    split_corpus,
    statistics_lookup,
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
    set_seed(args.seed)
    if accelerator.device.type == "cpu":  # accelerate launch leaves each process a single thread
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // accelerator.num_processes))

    # Data: a part held out in blocks; normalisation statistics from the training part alone.
    corpus = load_corpus(args.corpus)
    train, held_out = split_corpus(
        corpus, by=args.split, validation=args.validation, embargo_s=args.embargo_s, seed=args.seed
    )
    settings = {"sampling_rate": corpus[0]["sampling_rate"], "variant": args.variant, "scale": args.scale}
    extractor = BrainBertFeatureExtractor(**settings, normalization="clip")
    statistics = None
    if args.normalization == "corpus":
        mean, std = corpus_statistics(train, extractor, progress=accelerator.is_main_process)
        extractor = BrainBertFeatureExtractor(**settings, normalization="corpus", mean=mean, std=std)
    elif args.normalization == "recording":
        # A recording that is held out as a whole has no training part: its own statistics are all there is.
        part = train if args.split == "time" else corpus
        statistics = statistics_lookup(recording_statistics(part, extractor, progress=accelerator.is_main_process))
        extractor = BrainBertFeatureExtractor(**settings, normalization="recording")
    loaders = [
        DataLoader(
            part.with_format("numpy"),
            batch_size=args.batch_size,
            shuffle=part is train,
            drop_last=part is train and len(part) >= args.batch_size,
            collate_fn=CollateClips(statistics),
            generator=torch.Generator().manual_seed(args.seed),
        )
        for part in (train, held_out)
    ]

    # Model, optimiser, schedule.
    config = BrainBertConfig.from_preset(args.preset, pooling=args.pooling)
    model = BrainBertForPreTraining(config)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate, weight_decay=0.01)
    schedule = get_cosine_schedule_with_warmup(optimizer, round(0.1 * args.steps), args.steps)
    model, optimizer, train_loader = accelerator.prepare(model, optimizer, loaders[0])
    accelerator.init_trackers("tensorboard")

    def validate() -> dict[str, float]:
        """Every rank measures all of the held-out clips, under the same masks each time."""
        generator = torch.Generator().manual_seed(args.seed)
        batches = (
            masked_batch({k: v.to(accelerator.device) for k, v in batch.items()}, extractor, generator=generator)
            for batch in loaders[1]
        )
        errors = evaluate(model, batches, content_threshold=config.content_threshold)
        return {f"{who} {part}": getattr(error, part) for who, error in errors.items() for part in ("l1", "content")}

    # Loop.
    started, step, curve = time.perf_counter(), 0, []
    masks = torch.Generator().manual_seed(args.seed + 1 + accelerator.process_index)
    bar = tqdm(total=args.steps, desc="pretraining", unit="step", disable=not accelerator.is_main_process)
    while step < args.steps:
        for batch in train_loader:
            output = model(**masked_batch(batch, extractor, generator=masks))
            accelerator.backward(output.loss)
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            step += 1
            bar.update()
            if step % 10 == 0:
                bar.set_postfix(loss=f"{output.loss.item():.3f}")
                accelerator.log({"train/loss": output.loss.item(), "learning_rate": schedule.get_last_lr()[0]}, step)
            if step % args.validate_every == 0 or step == args.steps:
                curve.append({"step": step, "minutes": (time.perf_counter() - started) / 60, **validate()})
                accelerator.log({f"validation/{name}": value for name, value in curve[-1].items()}, step)
            if step == args.steps:
                break
    bar.close()
    accelerator.end_training()

    # Result.
    if accelerator.is_main_process:
        record = {
            "corpus": json.loads((args.corpus / "corpus.json").read_text()),
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
    change = 100 * (last["model content"] / last["mean content"] - 1)
    print(f"\nContent-aware error (cells with |z| > 1): {change:+.1f} % against the mean.")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("corpus", type=Path, help="folder made by examples/build_corpus.py")
    parser.add_argument("--out", type=Path, required=True, help="folder for the model and the TensorBoard log")
    parser.add_argument("--preset", default="tiny", choices=tuple(PRESETS), help="size of the model")
    parser.add_argument("--steps", type=int, default=1000, help="optimiser steps")
    parser.add_argument("--batch-size", type=int, default=32, help="clips per process and step")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="peak, after 10 %% of the steps; then cosine")
    parser.add_argument("--normalization", default="clip", choices=("clip", "recording", "corpus"), help="of each bin")
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
