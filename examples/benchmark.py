"""Measure the front ends, or the encoder, beside others: in turn, in one run; medians with quartiles.

    python examples/benchmark.py front-end --compile --original ../BrainBERT --json front_ends.json
    python examples/benchmark.py embed --preset large --batch 1 16

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
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from measurement import Contender, alternate, as_text, describe_machine, summarise, yardsticks
from numpy.typing import NDArray
from other_front_ends import FrontEnd, original_front_ends, scipy_stft, scipy_superlet, superlet_wavelets
from program import HelpFormatter, run

from brainbert.modeling_brainbert import PRESETS, BrainBertConfig, BrainBertFeatureExtractor, BrainBertModel, stft
from brainbert.processing.atomic import written_whole

RATE, CLIP_SAMPLES = 2048, 10240  # Hz; 5 s
# Clip by clip, twice the clips take twice the time: of a large batch these many are measured.
MOST_LOOPED = {"stft": 64, "superlet": 2}


def main() -> None:
    args = parse_arguments()
    if min(args.threads, args.rounds, *args.batch) < 1:
        raise ValueError("--threads, --rounds and --batch count from 1: give larger numbers.")
    if args.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("PyTorch finds no GPU here: leave out --device cuda.")
    torch.set_num_threads(args.threads)
    measure = measure_front_ends if args.what == "front-end" else measure_encoder
    report = {"machine": describe_machine(args.device), "rounds": args.rounds, "results": measure(args)}
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


def generate_clips(count: int, *, seed: int) -> NDArray[np.float64]:
    """Return (count, 10240) µV at 2048 Hz: 1/f noise of 50 µV with a burst of 8 to 150 Hz in each clip."""
    rng = np.random.default_rng(seed)
    hertz = np.fft.rfftfreq(CLIP_SAMPLES, 1 / RATE)
    real, imaginary = rng.standard_normal((2, count, len(hertz))) / np.maximum(hertz, 1)
    noise = np.fft.irfft(real + 1j * imaginary, n=CLIP_SAMPLES)
    time_s = np.arange(CLIP_SAMPLES) / RATE
    centre, width, frequency = (rng.uniform(*limits, (count, 1)) for limits in ((0.5, 4.5), (0.05, 0.2), (8, 150)))
    burst = np.exp(-(((time_s - centre) / width) ** 2) / 2) * np.sin(2 * np.pi * frequency * time_s)
    return 50 * noise / noise.std(1, keepdims=True) + 30 * burst


def parse_arguments() -> argparse.Namespace:
    title, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=title, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--threads", type=int, default=1, help="of torch; SciPy and the original use one")
    common.add_argument("--rounds", type=int, default=11, help="turns of each contender")
    common.add_argument("--batch", type=int, nargs="+", default=[1, 64], help="clips of 5 s at a time; several sizes")
    common.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of ours; SciPy works on the CPU")
    common.add_argument("--compile", action="store_true", help="measure torch.compile of STFT or encoder, too")
    common.add_argument("--seed", type=int, default=0, help="of the generated clips, and of the encoder's weights")
    common.add_argument("--json", type=Path, help="file for all figures")
    tasks = parser.add_subparsers(dest="what", required=True)
    front_end = tasks.add_parser(
        "front-end", parents=[common], formatter_class=HelpFormatter, help="from voltage to normalised input_values"
    )
    front_end.add_argument(
        "--transform", nargs="+", choices=("stft", "superlet"), default=["stft", "superlet"], help="which to measure"
    )
    front_end.add_argument(
        "--original",
        type=Path,
        help="a clone of github.com/czlwang/BrainBERT to compare with: its code is executed, so name one you trust",
    )
    encoder = tasks.add_parser(
        "embed", parents=[common], formatter_class=HelpFormatter, help="from input_values to embeddings"
    )
    encoder.add_argument("--preset", choices=list(PRESETS), default="large", help="size of the encoder")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
