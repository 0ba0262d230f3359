"""Decode what a person hears, does or suffers from, with a frozen encoder and everything that it must beat.

    python examples/decode.py night1.edf --labels words.csv --model run/model --out report --line-frequency 50
    python examples/decode.py BIDS_ROOT --subject 01 --task rest --events trial_type --classes rest move ...
    python examples/decode.py *.edf --labels pairs.csv --split grouped --group-name pair --pool-contacts ...

The report opens with one sentence that says whether the pretrained encoder beat its controls: its untrained twins,
linear decoders of spectrogram, band power and waveform, and the paper's network on the waveform.
Stopped, it keeps what is done in OUT/cache; the same command goes on from there and ends with the same report.
"""

import argparse
import json
from collections.abc import Collection
from itertools import count
from math import ceil
from pathlib import Path
from typing import Any

from conditioning import conditioning_of
from decoding_data import add_computing_arguments, decoding_parser, describe_labels, load_task
from model_folder import check_model, warn_about_other_conditioning
from transformers import AutoFeatureExtractor, AutoModel

import brainbert.modeling_brainbert  # noqa: F401 (registers BrainBERT with the Auto classes)
from brainbert.processing.corpora import seen_recordings
from brainbert.processing.decoding import CONTROLS, Encoder, Plan, decode, write_report
from brainbert.processing.decoding.labels import read_table
from brainbert.processing.program import run


def main() -> None:
    args = parse_arguments()
    check_model(args.model)
    warn_about_other_conditioning(args.model, args)
    regions = args.regions and read_regions(args.regions)
    encoder = make_encoder(args)
    refuse_statistics(args, {encoder.extractor.normalization})
    task = load_task(args, encoder.extractor, cache=args.cache or args.out / "cache")
    result = decode(task, encoder, make_plan(args), regions=regions)
    path = write_report(result | about(args, result), args.out)
    print(result["verdict"])
    print(f"{path} and {path.with_suffix('.json')}")


def make_encoder(args: argparse.Namespace) -> Encoder:
    """Return the model and how its embeddings are taken, as the arguments say, else as the model itself does."""
    model = AutoModel.from_pretrained(args.model).to(args.device)
    if model.config.model_type != "brainbert":
        raise ValueError(f"{args.model} is a model of the type {model.config.model_type}: give one of BrainBERT.")
    return as_encoder(args, model, AutoFeatureExtractor.from_pretrained(args.model))


def as_encoder(args: argparse.Namespace, model: Any, extractor: Any) -> Encoder:
    """Return the same of a model that is loaded; raises ValueError for a layer or window that it does not have."""
    if args.minimum_recording_s is not None:
        extractor.minimum_recording_s = args.minimum_recording_s
    layers = model.config.num_hidden_layers
    if not -layers - 1 <= args.layer <= layers:
        raise ValueError(
            f"--layer is {args.layer} and the last layer of this model is {layers}: choose 0 to {layers}, or -1 for "
            "the last."
        )
    refuse_window(args.window_s, extractor, most=model.config.max_position_embeddings)
    return Encoder(
        model=model,
        extractor=extractor,
        pooling=args.pooling or model.config.pooling,
        layer=args.layer % (layers + 1),
        statistics=args.statistics.replace("-", " "),
    )


def refuse_statistics(args: argparse.Namespace, normalizations: Collection[str]) -> None:
    """Raise ValueError for flags about statistics of the recording where no input of a model has them."""
    given = ["--statistics"] * (args.statistics != "training-windows")
    given += ["--minimum-recording-s"] * (args.minimum_recording_s is not None)
    if given and "recording" not in normalizations:
        raise ValueError(
            f"{given[0]} belongs to models with the normalization recording, and this has "
            f"{' and '.join(sorted(normalizations))}: leave it out."
        )


def refuse_window(window_s: float, extractor: Any, *, most: int) -> None:
    """Raise ValueError for windows that are too short for the front end, or longer than the model takes."""
    found = extractor.num_frames(round(window_s * extractor.sampling_rate))
    if found > most:
        raise ValueError(
            f"--window-s {window_s:g} is too long for this model, which takes {most} time steps and gets {found}: give "
            f"{int(window_s * most / found)} s or less."
        )
    if found < extractor.minimum_frames:
        needed = next(samples for samples in count(1) if extractor.num_frames(samples) >= extractor.minimum_frames)
        raise ValueError(
            f"--window-s {window_s:g} is too short for this model, which needs {extractor.minimum_frames} time steps "
            f"and gets {found}: give {ceil(100 * needed / extractor.sampling_rate) / 100:g} s or more."
        )


def make_plan(args: argparse.Namespace) -> Plan:
    return Plan(
        controls=tuple(name for name in CONTROLS if name not in args.without),
        untrained_seeds=args.untrained_seeds,
        few_shot="few-shot" not in args.without,
        layers="layers" not in args.without,
        dimension="dimension" not in args.without,
        best_contacts=args.best_contacts,
        draws=args.draws,
        seed=args.seed,
        jobs=args.jobs,
    )


def about(args: argparse.Namespace, result: dict[str, Any]) -> dict[str, Any]:
    """Return what the result does not know of itself: names, and the settings of the program; no paths."""
    classes = result["task"]["classes"]
    what = " against ".join(reversed(classes)) if classes else f"{describe_labels(args)}, as a number"
    record = Path(args.model) / "training_record.json"
    trained = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else None
    pretraining = trained and {
        "steps": trained["steps"],
        "corpora": [corpus.get("fingerprint", "unknown") for corpus in trained["corpora"]],
    }
    seen = (trained and seen_recordings(trained, [each["id"] for each in result["recordings"]])) or []
    name = Path(args.model).resolve().name if Path(args.model).is_dir() else args.model
    kept = {"leave_out", "window_s", "stride_s", "label_s", "threshold", "anchor", "pool_contacts", "blocks_per_fold"}
    kept |= {"minimum_recording_s", "untrained_seeds", "draws"}
    return {
        "title": args.title or f"Decoding {what}",
        "task": result["task"] | {"labels": describe_labels(args)},
        "model": result["model"] | {"name": name, "pretraining": pretraining},
        "settings": conditioning_of(args) | {key: value for key, value in vars(args).items() if key in kept},
        "warnings": result["warnings"] + [seen_before(len(seen), len(result["recordings"]))] * bool(seen),
    }


def seen_before(seen: int, given: int) -> str:
    """Return what a report says of recordings that pretraining used, too."""
    which = "this recording" if given == 1 else f"{seen} of these {given} recordings"
    return (
        f"The encoder was pretrained on {which}, without labels: on recordings that it has not seen it may do worse, "
        "and its untrained twins and the linear decoders had no such advantage."
    )


def read_regions(path: Path) -> dict[str, str]:
    """Return contact → region of a table with these two columns."""
    rows = read_table(path)
    if not {"contact", "region"} <= set(rows[0]):
        raise ValueError(f"{path.name} is no table with the columns contact and region: give one.")
    return {row["contact"]: row["region"] for row in rows}


def parse_arguments() -> argparse.Namespace:
    parser = decoding_parser(__doc__)
    add_encoder_arguments(parser)
    group = add_computing_arguments(parser, without=(*CONTROLS, "few-shot", "layers", "dimension"))
    group.add_argument("--best-contacts", type=int, default=0, help="decode so many side by side, 0: none")
    group.add_argument("--regions", type=Path, help="CSV or TSV: contact and region, to sort the dimension by")
    return parser.parse_args()


def add_encoder_arguments(parser: argparse.ArgumentParser, *, otherwise: str = "") -> argparse._ArgumentGroup:
    """Add how embeddings are taken, and of which model; otherwise: what --model may be besides."""
    group = parser.add_argument_group("encoder")
    group.add_argument("--model", required=True, help=f"folder or Hub id of a BrainBERT model{otherwise}")
    group.add_argument("--pooling", choices=("center", "mean"), help="of frames; the model's own if not given")
    group.add_argument("--layer", type=int, default=-1, help="0 is what enters the first; -1 the last")
    add_input_arguments(group)
    return group


def add_input_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--statistics",
        default="training-windows",
        choices=("training-windows", "whole-recording"),
        help="what normalises the input of a model that was trained with recording statistics",
    )
    group.add_argument(
        "--minimum-recording-s", type=float, help="seconds of signal that such statistics need at least; the model's"
    )
    group.add_argument("--device", default="cpu", help="torch device of model and front end")


if __name__ == "__main__":
    run(main)
