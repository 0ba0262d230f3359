"""Measure the front ends, the encoder, or pretraining beside others: in turn, in one run; medians with quartiles.

    python examples/benchmark.py front-end --compile --original ../BrainBERT --json front_ends.json
    python examples/benchmark.py embed --preset large --batch 1 16
    python examples/benchmark.py pretrain --original ../BrainBERT
    python examples/benchmark.py pretrain --device cuda --bf16 --compile --step-batch 256 --clips 12800 --steps 50
        --num-workers 4

Contenders take turns, round by round; within a round each is called back to back, up to ten times or for a fifth of a
second, and the median call counts. Numbers in brackets are quartiles over rounds. "× ours" is a contender's time over
ours in the same round, "difference" the largest of its z-scores (in float64, if it works on the CPU clip by clip) from
ours in float32. Signals are generated: 1/f noise with bursts.

The floor of a front end is the larger of operations / rate and bytes / bandwidth, for a clip of n samples. Rate (a
float32 product of square matrices) and bandwidth (a copy, read and write counted) are measured in the same rounds.
    STFT        84 cosines and sines over each hop of 50 samples: 2 · 84 · 50 · hops, where hops = n / 50 + 8; joining
                hops to windows by doubling: 42 · (8 + 8 + 4) · hops; window, magnitude, z-score: 40 · 16 · frames
    superlets   2 · 2 · Σ wavelet lengths · frames, over wavelets of half a second at most: the few longer ones cost
                a hundredth of that
    bytes       4 for each sample, and 4 for each bin of each frame

Pretraining has four parts. Clips are written to a temporary folder once, and lie in the system's cache when they are
read; models have random weights, and the dropout and the LAMB of the original.
    masks       of images that are there already
    input       an epoch from stored voltage to masked batches on the device, of the largest --batch: ours from an Arrow
                file in this process, the others from one .npy file per clip in two workers. "CPU ms" is processor time
                a clip, of this process and its workers, as the system counts it ("× its CPU": over ours)
    step        forward, loss, backward, clipping, optimiser on one batch; "difference" is that of the losses, with the
                same weights and without dropout
    together    --steps steps of pretrain.py without its records and validation, each turn with a new loader, whose
                workers' start counts; "% waiting for batches" is the time this process spends on reading, transform
                and masks (on a GPU: on launching the last two). The other rows are its halves, by themselves
A step's operations on a clip of T frames: 6 · parameters · T + 12 · layers · hidden size · T² (products of weights, and
of attention, forward and twice that backward). They are compared with a product of the step's largest shape, frames of
the batch × hidden size × feed-forward size, in the same rounds and in the type that the step multiplies in.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from generated_clips import CLIP_SAMPLES, RATE, generate_clips
from measurement import Contender, alternate, as_text, describe_machine, summarise, yardsticks
from other_front_ends import FrontEnd, original_front_ends, scipy_stft, scipy_superlet, superlet_wavelets

from brainbert.modeling_brainbert import PRESETS, BrainBertConfig, BrainBertFeatureExtractor, BrainBertModel, stft
from brainbert.processing.atomic import written_whole
from brainbert.processing.program import HelpFormatter, run

# Clip by clip, twice the clips take twice the time: of a large batch these many are measured.
MOST_LOOPED = {"stft": 64, "superlet": 2}
PARTS = ["masks", "input", "step", "together"]  # of pretraining


def main() -> None:
    args = parse_arguments()
    counts = [args.threads, args.rounds, *args.batch]
    if args.what == "pretrain":
        counts += [args.step_batch, args.steps, args.clips]
    if min(counts) < 1:
        raise ValueError("Threads, rounds, clips, steps and sizes of batches count from 1: give larger numbers.")
    if args.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("PyTorch finds no GPU here: leave out --device cuda.")
    torch.set_num_threads(args.threads)
    machine = describe_machine(args.device)
    if args.what == "pretrain":
        # Here, since the other two need nothing of what it imports.
        from benchmark_pretraining import measure_pretraining as measure

        machine["dtype"] = "bfloat16 autocast" if args.bf16 else "float32"
    else:
        measure = measure_front_ends if args.what == "front-end" else measure_encoder
    report = {"machine": machine, "rounds": args.rounds, "results": measure(args)}
    print(as_text(report))
    if args.json:
        with written_whole(args.json) as temporary:
            temporary.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def measure_front_ends(args: argparse.Namespace) -> list[dict]:
    """Return the rows of each transform and batch size: ours, then SciPy's and the original's."""
    looped: dict[str, dict[str, FrontEnd]] = {"stft": {"SciPy": scipy_stft}, "superlet": {"SciPy": scipy_superlet}}
    for name, front_end in (original_front_ends(args.original) if args.original else {}).items():
        looped[name]["original"] = front_end
    results = []
    for name in args.transform:
        for batch in args.batch:
            clips = generate_clips(batch, seed=args.seed).astype(np.float32)
            contenders = our_front_ends(name, torch.from_numpy(clips).to(args.device), compile=args.compile)
            expected = contenders["ours"].call()
            contenders = {
                who: each._replace(difference=largest_difference(each.call(), expected) if who != "ours" else None)
                for who, each in contenders.items()
            }
            some = clips[: MOST_LOOPED[name]]
            for who, front_end in looped[name].items():
                exact = torch.from_numpy(np.stack([front_end(clip) for clip in some.astype(np.float64)]))
                contenders[f"{who}, clip by clip"] = Contender(
                    lambda front_end=front_end, some=some: [front_end(clip) for clip in some],
                    len(some),
                    largest_difference(exact, expected[: len(some)]),
                )
            sticks, rates = yardsticks(args.device)
            calls = {who: each.call for who, each in contenders.items()}
            seconds = alternate({**calls, **sticks}, rounds=args.rounds, device=args.device)
            operations, moved = count_work(name, CLIP_SAMPLES)
            floor = {"operations": operations, "bytes": moved, **rates(seconds)}
            floor_s = max(operations / floor["operations/s"], moved / floor["bytes/s"])
            results += [
                {
                    "task": f"{name}, a clip of 5 s",
                    "batch": batch,
                    **row,
                    "percent_of_the_floor": 100 * floor_s / row["median_s"],
                    "floor": floor,
                }
                for row in summarise(contenders, seconds)
            ]
    return results


def our_front_ends(name: str, voltage: torch.Tensor, *, compile: bool) -> dict[str, Contender]:
    """Return the feature extractor, and for the STFT what it computes without its checks, compiled too if asked for."""
    extractor = BrainBertFeatureExtractor(transform=name)
    calls: dict[str, Callable[[], torch.Tensor]] = {
        "ours": lambda: extractor(voltage, sampling_rate=RATE)["input_values"]
    }
    if name == "stft":
        calls["ours, without checks"] = lambda: normalised_stft(voltage)
    if name == "stft" and compile:
        compiled = torch.compile(normalised_stft, dynamic=False)
        calls["ours, compiled, without checks"] = lambda: compiled(voltage)
    return {who: Contender(call, len(voltage)) for who, call in calls.items()}


def measure_encoder(args: argparse.Namespace) -> list[dict]:
    """Return the rows of each batch size: the encoder for ten centre frames and for all, and the front end before it.

    Weights are random; the front end is the STFT.
    """
    torch.manual_seed(args.seed)
    model = BrainBertModel(BrainBertConfig.from_preset(args.preset)).to(args.device).eval()
    extractor = BrainBertFeatureExtractor()
    results = []
    for batch in args.batch:
        voltage = torch.from_numpy(generate_clips(batch, seed=args.seed).astype(np.float32)).to(args.device)
        values = extractor(voltage, sampling_rate=RATE)["input_values"]
        calls: dict[str, Callable[[], torch.Tensor]] = {
            "embed, ten centre frames": lambda values=values: model.embed(values, pooling="center"),
            "forward": lambda values=values: model(values).pooler_output,
        }
        if args.compile:
            compiled = torch.compile(model, dynamic=False)
            calls["forward, compiled"] = lambda values=values, compiled=compiled: compiled(values).pooler_output
        with torch.inference_mode():
            expected = next(iter(calls.values()))()
            contenders = {
                who: Contender(call, batch, largest_difference(call(), expected) if who.startswith("forward") else None)
                for who, call in calls.items()
            }
            contenders["front end (STFT)"] = Contender(
                lambda voltage=voltage: extractor(voltage, sampling_rate=RATE), batch
            )
            timed = {who: each.call for who, each in contenders.items()}
            seconds = alternate(timed, rounds=args.rounds, device=args.device)
        task = {"task": f"{args.preset}, a window of 5 s", "batch": batch}
        results += [{**task, **row} for row in summarise(contenders, seconds)]
    return results


def count_work(name: str, samples: int) -> tuple[int, int]:
    """Return operations and bytes that a clip of `samples` samples needs: the formula above."""
    if name == "stft":
        frames = -(-samples // 50) + 1
        hops = frames + 7
        return 2 * 84 * 50 * hops + 42 * 20 * hops + 40 * 16 * frames, 4 * samples + 4 * 40 * (frames - 20)
    frames = -(-samples // 50)
    lengths = [len(wavelet) for superlet in superlet_wavelets() for wavelet, _ in superlet]
    short = sum(length for length in lengths if length <= RATE / 2)
    return 2 * 2 * short * frames, 4 * samples + 4 * 40 * (frames - 10)


def normalised_stft(voltage: torch.Tensor) -> torch.Tensor:
    """Return the extractor's input_values (batch, frames, bins) of (batch, samples), without its checks."""
    magnitude = stft(voltage)
    centred = magnitude - magnitude.mean(1, keepdim=True)
    return (centred / centred.square().mean(1, keepdim=True).sqrt())[:, 10:-10]


def largest_difference(image: torch.Tensor, expected: torch.Tensor) -> float:
    return float((image.double().cpu() - expected.double().cpu()).abs().max())


def parse_arguments() -> argparse.Namespace:
    title, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=title, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    tasks = parser.add_subparsers(dest="what", required=True)
    front_end = tasks.add_parser(
        "front-end",
        parents=[common_arguments(batch=[1, 64], compile="measure torch.compile of the STFT, too")],
        formatter_class=HelpFormatter,
        help="from voltage to normalised input_values",
    )
    front_end.add_argument(
        "--transform", nargs="+", choices=("stft", "superlet"), default=["stft", "superlet"], help="which to measure"
    )
    encoder = tasks.add_parser(
        "embed",
        parents=[common_arguments(batch=[1, 64], compile="measure torch.compile of the encoder, too")],
        formatter_class=HelpFormatter,
        help="from input_values to embeddings",
    )
    pretraining = tasks.add_parser(
        "pretrain",
        parents=[common_arguments(batch=[1, 64, 256], compile="compile our model in the training step")],
        formatter_class=HelpFormatter,
        help="from stored voltage to the optimiser's step",
    )
    pretraining.add_argument(
        "--part", nargs="+", choices=PARTS, default=PARTS, help="what to measure; several, in this order"
    )
    pretraining.add_argument("--step-batch", type=int, default=4, help="clips of a training step")
    pretraining.add_argument("--steps", type=int, default=1, help="in each turn of the parts together")
    pretraining.add_argument("--clips", type=int, default=1024, help="to write and read; 82 kB each")
    pretraining.add_argument("--num-workers", type=int, default=0, help="of our loader, for the parts together")
    pretraining.add_argument("--bf16", action="store_true", help="training steps in bfloat16 autocast")
    for task in (front_end, pretraining):
        task.add_argument(
            "--original",
            type=Path,
            help="a clone of github.com/czlwang/BrainBERT to compare with: its code is executed, so name one you trust",
        )
    for task in (encoder, pretraining):
        task.add_argument("--preset", choices=list(PRESETS), default="large", help="size of the encoder")
    return parser.parse_args()


def common_arguments(*, batch: list[int], compile: str) -> argparse.ArgumentParser:
    """Return the arguments of all tasks; `batch` is the default of --batch, `compile` what --compile does."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--threads", type=int, default=1, help="of torch; SciPy and the original use one")
    common.add_argument("--rounds", type=int, default=11, help="turns of each contender")
    common.add_argument("--batch", type=int, nargs="+", default=batch, help="clips of 5 s at a time; several sizes")
    common.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of ours; SciPy works on the CPU")
    common.add_argument("--compile", action="store_true", help=compile)
    common.add_argument("--seed", type=int, default=0, help="of the generated clips, and of the encoder's weights")
    common.add_argument("--json", type=Path, help="file for all figures")
    return common


if __name__ == "__main__":
    run(main)
