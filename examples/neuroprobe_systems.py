"""What examples/neuroprobe.py is told: its arguments, and the settings and systems that they name."""

import argparse
import json
import re
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from model_folder import check_model
from program import HelpFormatter
from transformers import AutoFeatureExtractor, AutoModel

from brainbert.modeling_brainbert import PRESETS, BrainBertConfig, BrainBertFeatureExtractor, BrainBertModel
from brainbert.processing.decoding.encoder_features import untrained_twin
from brainbert.processing.decoding.neuroprobe_run import ENTRIES, LINEAR, Settings, System
from brainbert.processing.decoding.neuroprobe_windows import SPLITS, Session
from brainbert.processing.decoding.submission import RELEASED, sessions_in_record

LINES = {
    "spectrogram": "Linear decoder of Laplacian spectrograms",
    "band-power": "Linear decoder of log band power",
    "waveform": "Linear decoder of the voltage",
}


def settings_of(args: argparse.Namespace) -> Settings:
    """Return the settings of --entry, with the flags that were given instead."""
    given = {
        "normalization": args.normalization,
        "reference": args.reference,
        "variant": args.variant,
        "scale": args.scale,
        "context_s": args.context_s,
        "features": args.features,
        "notch": None if args.line_noise is None else args.line_noise == "notch",
    }
    settings = ENTRIES[args.entry] if args.entry else Settings()
    return replace(settings, **{name: value for name, value in given.items() if value is not None})


def make_systems(args: argparse.Namespace) -> list[System]:
    """Return a system for each --model, encoders read and checked."""
    names = [model.partition("=")[0] if "=" in model else model for model in args.model]
    folders = [model.partition("=")[2] or model for model in args.model]
    encoders = {folder: load(folder, args.device) for folder in folders if folder not in (*LINEAR, "untrained")}
    systems = []
    for name, folder in zip(names, folders, strict=True):
        if folder in LINEAR:
            systems.append(System(name=folder, description=f"{LINES[folder]}, logistic regression"))
        elif folder == "untrained":
            model, extractor = next(iter(encoders.values()), None) or from_preset(args.preset, args.device)
            description = f"BrainBERT untrained: {sum(each.numel() for each in model.parameters()):,} random weights"
            twin = untrained_twin(model, args.seed)
            systems.append(System(name="untrained", description=description, model=twin, extractor=extractor))
        else:
            model, extractor = encoders[folder]
            systems.append(
                System(
                    name=label_of(name, folder),
                    description=args.description or "BrainBERT, frozen, with the head of Neuroprobe's examples",
                    model=model,
                    extractor=extractor,
                    seen=_seen(args.seen) if args.seen else sessions_of(folder),
                )
            )
    labels = [system.name for system in systems]
    if repeated := [label for label in labels if labels.count(label) > 1]:
        raise ValueError(f"Two rows are called {repeated[0]}: name them, --model a=FOLDER b=FOLDER.")
    return systems


def load(folder: str, device: str) -> tuple[Any, Any]:
    check_model(folder)
    model = AutoModel.from_pretrained(folder).to(device).eval()
    if model.config.model_type != "brainbert":
        raise ValueError(f"{folder} is a model of the type {model.config.model_type}: give one of BrainBERT.")
    return model, AutoFeatureExtractor.from_pretrained(folder)


def from_preset(preset: str | None, device: str) -> tuple[Any, Any]:
    if preset is None:
        raise ValueError("untrained needs to know of what: give a model's folder too, or --preset large.")
    model = BrainBertModel(BrainBertConfig.from_preset(preset)).to(device).eval()
    return model, BrainBertFeatureExtractor()


def label_of(name: str, folder: str) -> str:
    """Return the name that was given, or the folder's; of run/model, run."""
    if name != folder:
        return name
    parts = Path(folder).resolve().parts if Path(folder).is_dir() else (folder.replace("/", "-"),)
    return parts[-2] if parts[-1] == "model" and len(parts) > 2 else parts[-1]


def sessions_of(folder: str) -> tuple[Session, ...] | None:
    path = Path(folder) / "training_record.json"
    return sessions_in_record(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


class _HelpFormatter(HelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Show defaults, and the description as it was written."""


def parse_arguments(doc: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=doc, formatter_class=_HelpFormatter)
    parser.add_argument("root", type=Path, help="folder of Brain Treebank, as it was published")
    parser.add_argument("--out", type=Path, required=True, help="folder for table.html, results, cache and entries")
    add_system_arguments(parser)
    group = parser.add_argument_group("what is evaluated")
    group.add_argument("--nano", action="store_true", help="Neuroprobe Nano instead of Lite; it has no Cross-Session")
    group.add_argument("--splits", nargs="+", metavar="SPLIT", help=f"{', '.join(SPLITS)}; all that there are")
    group.add_argument("--tasks", nargs="+", metavar="TASK", help="such as speech; all 15 if not given")
    group.add_argument(
        "--sessions", nargs="+", type=session_of, metavar="S_T", help="to test on, such as 4_0 4_1; all if not given"
    )
    group = parser.add_argument_group("settings; each goes before what --entry says")
    group.add_argument("--entry", choices=tuple(ENTRIES), help="of the leaderboard: first or later, see above")
    group.add_argument(
        "--normalization", choices=("clip", "recording"), help="z-score of the window, or of the whole session"
    )
    group.add_argument("--reference", choices=("none", "laplacian"), help="Laplacian: one neighbour is enough")
    group.add_argument("--variant", choices=("training", "demo", "no_boundary"), help="of the STFT")
    group.add_argument("--scale", choices=("linear", "log"), help="of the magnitude")
    group.add_argument("--features", choices=("frames", "mean"), help="all frames of the window, or their mean")
    group.add_argument(
        "--line-noise", choices=("none", "notch"), help="notch: remove 60 Hz and harmonics; none if not given"
    )
    group.add_argument(
        "--context-s", type=float, help="seconds on both sides that the encoder also sees; an entry has none"
    )
    group = parser.add_argument_group("computing")
    group.add_argument("--cache", type=Path, help="folder for features; OUT/cache if not given")
    group.add_argument(
        "--drop-features", action="store_true", help="delete those of a session when nothing needs them any more"
    )
    group.add_argument("--dry-run", action="store_true", help="say what there is to do and how large it is, and end")
    group = parser.add_argument_group("entry of the leaderboard, written and checked when --author is given")
    group.add_argument("--author", nargs=2, metavar=("FIRST", "LAST"), help="who signs the attestation")
    group.add_argument("--organization", default="-", help="short")
    group.add_argument("--organization-url", default="-", help="its address")
    group.add_argument("--date", type=date.fromisoformat, default=date.today(), help="YYYY-MM-DD")
    group.add_argument("--publication", type=Path, help="BibTeX file; BrainBERT's if not given")
    group.add_argument("--partial", action="store_true", help="write the folder although results are missing")
    return parser.parse_args()


def add_system_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `make_systems` needs."""
    group = parser.add_argument_group("rows of the table")
    group.add_argument(
        "--model", nargs="+", required=True, metavar="ROW", help="folders, NAME=FOLDER, untrained, " + ", ".join(LINEAR)
    )
    group.add_argument("--preset", choices=tuple(PRESETS), help="size of untrained, where there is no model folder")
    group.add_argument("--seed", type=int, default=0, help="of untrained weights")
    group.add_argument("--description", help="of the models, one sentence for an entry")
    group.add_argument(
        "--seen",
        nargs="+",
        metavar="S_T",
        help="sessions that the weights were trained on, such as 1_0 2_1; released: those of the authors' weights; "
        "none; if not given, what training_record.json says",
    )
    group.add_argument("--device", default="cpu", help="torch device of encoder, front end and products")


def session_of(text: str) -> Session:
    found = re.fullmatch(r"(?:btbank)?(\d+)_(\d+)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no session: give subject and trial, such as 4_0")
    return int(found[1]), int(found[2])


def _seen(given: list[str]) -> tuple[Session, ...]:
    if given == ["released"]:
        return RELEASED
    if given == ["none"]:
        return ()
    try:
        return tuple(session_of(each) for each in given)
    except argparse.ArgumentTypeError as error:
        raise ValueError(f"--seen: {error}, or released, or none.") from None
