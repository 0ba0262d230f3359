"""Embed a recording of any length: a Parquet file with one row per window and contact, in flat memory.

    python examples/embed.py night.edf --model run/model --out embeddings.parquet --line-frequency 50
    accelerate launch --num_processes 2 examples/embed.py night.edf ...   (the same on two GPUs)
    torchrun --nproc_per_node 2 examples/embed.py night.edf ...           (the same in two processes without GPUs)

Stopped, it keeps what is done in OUT.parts; the same command goes on from there and ends with the same file.
The table's metadata holds the recording's history: pyarrow.parquet.read_schema(path).metadata[b"brainbert"].
"""

import argparse
import os
import warnings
from pathlib import Path

import pyarrow.parquet as pq
import torch
from accelerate import PartialState
from conditioning import add_conditioning_arguments, open_conditioned
from model_folder import check_model, warn_about_other_conditioning
from transformers import AutoFeatureExtractor, AutoModel

import brainbert.modeling_brainbert  # noqa: F401 (registers BrainBERT with the Auto classes)
from brainbert.processing.decoding import embed_to_parquet, parts_folder
from brainbert.processing.program import HelpFormatter, run


def main() -> None:
    args = parse_arguments()
    if args.out.exists() and not parts_folder(args.out).exists():
        raise ValueError(f"{args.out} exists: choose another --out, so that no embeddings are lost.")
    check_model(args.model)
    state = PartialState(cpu=args.device == "cpu")  # without cpu=True, processes on CPUs would not know each other
    if not state.is_main_process:
        warnings.simplefilter("ignore")  # the first process says it
    warn_about_other_conditioning(args.model, args)
    if state.device.type == "cpu":  # accelerate launch leaves each process a single thread
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // state.num_processes))
    model = AutoModel.from_pretrained(args.model).to(state.device if args.device in ("cpu", "cuda") else args.device)
    extractor = AutoFeatureExtractor.from_pretrained(args.model)
    recording = open_conditioned(
        args.recording, args, sampling_rate=extractor.sampling_rate, progress=state.is_main_process
    )
    embed_to_parquet(
        recording,
        model,
        extractor,
        args.out,
        window_s=args.window_s,
        stride_s=args.stride_s,
        pooling=args.pooling,
        layer=args.layer,
        statistics="whole recording" if extractor.normalization == "recording" else None,
        batch_size=args.batch_size,
        state=state,
    )
    if state.is_main_process:
        report(args.out, hidden_size=model.config.hidden_size)
    state.destroy_process_group()


def report(path: Path, *, hidden_size: int) -> None:
    file = pq.ParquetFile(path)
    contacts, flagged = set(), 0
    for batch in file.iter_batches(columns=["contact", "problem"]):
        contacts |= set(batch["contact"].to_pylist())
        flagged += sum(problem != "" for problem in batch["problem"].to_pylist())
    rows = file.metadata.num_rows
    print(
        f"{rows:,} embeddings of {hidden_size} numbers, {len(contacts)} contacts × {rows // len(contacts):,} windows, "
        f"{flagged:,} flagged as a problem: {path}"
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog="Stopped, it keeps what is done in OUT.parts: the same command goes on from there.",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("recording", type=Path, help="EDF, BDF, BrainVision, FIF or NWB file, or a BIDS root")
    parser.add_argument("--model", required=True, help="folder or Hub id of a BrainBERT model")
    parser.add_argument("--out", type=Path, required=True, help="Parquet file, where all processes see it")
    parser.add_argument("--window-s", type=float, default=5.0, help="length of a window in seconds")
    parser.add_argument("--stride-s", type=float, help="seconds from window to window; --window-s if not given")
    parser.add_argument(
        "--pooling",
        choices=("center", "mean", "frames"),
        help="of frames: the ten in the centre, all, or none pooled; the model's own if not given",
    )
    parser.add_argument(
        "--layer", type=int, default=-1, help="0 is what enters the first; negative numbers count from the last"
    )
    parser.add_argument("--batch-size", type=int, default=64, help="windows at a time")
    parser.add_argument(
        "--device",
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="torch device of model and front end; with cuda, each process takes a GPU",
    )
    add_conditioning_arguments(parser)
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
