"""Embed a recording: a table with one row per contact and window, as Parquet.

    python examples/embed.py night.edf --model run/model --out embeddings.parquet --line-frequency 50

The table's metadata holds the recording's history: pyarrow.parquet.read_schema(path).metadata[b"brainbert"].
"""

import argparse
from pathlib import Path

import torch
from conditioning import add_conditioning_arguments, read_conditioned
from model_folder import check_model, warn_about_other_conditioning
from program import HelpFormatter, run
from transformers import AutoFeatureExtractor, AutoModel

import brainbert.modeling_brainbert  # noqa: F401 (registers BrainBERT with the Auto classes)
from brainbert.processing.decoding import embed_recording, write_embeddings


def main() -> None:
    args = parse_arguments()
    if args.out.exists():
        raise ValueError(f"{args.out} exists: choose another --out, so that no embeddings are lost.")
    check_model(args.model)
    warn_about_other_conditioning(args.model, args)
    model = AutoModel.from_pretrained(args.model).to(args.device)
    if args.pooling:
        model.config.pooling = args.pooling
    extractor = AutoFeatureExtractor.from_pretrained(args.model)
    recording = read_conditioned(args.recording, args, sampling_rate=extractor.sampling_rate)
    table = embed_recording(
        recording,
        model,
        extractor,
        window_s=args.window_s,
        stride_s=args.stride_s,
        statistics="whole recording" if extractor.normalization == "recording" else None,
        batch_size=args.batch_size,
    )
    write_embeddings(table, args.out)
    flagged = sum(problem != "" for problem in table["problem"].to_pylist())
    print(
        f"{table.num_rows:,} embeddings of {model.config.hidden_size} numbers, {len(recording.good)} contacts × "
        f"{table.num_rows // len(recording.good)} windows, {flagged} flagged as a problem: {args.out}"
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=HelpFormatter)
    parser.add_argument("recording", type=Path, help="EDF, BDF, BrainVision or FIF file, or a BIDS root")
    parser.add_argument("--model", required=True, help="folder or Hub id of a BrainBERT model")
    parser.add_argument("--out", type=Path, required=True, help="Parquet file")
    parser.add_argument("--window-s", type=float, default=5.0, help="length of a window in seconds")
    parser.add_argument("--stride-s", type=float, help="seconds from window to window; --window-s if not given")
    parser.add_argument("--pooling", choices=("center", "mean"), help="of frames; the model's own if not given")
    parser.add_argument("--batch-size", type=int, default=64, help="windows at a time")
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", help="torch device of model and front end"
    )
    add_conditioning_arguments(parser)
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
