"""What examples/neuroprobe.py is told: its arguments, and the settings and systems that they name."""

import argparse
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from model_folder import check_model
from transformers import AutoFeatureExtractor, AutoModel

from brainbert.modeling_brainbert import PRESETS, BrainBertConfig, BrainBertFeatureExtractor, BrainBertModel
from brainbert.processing.corpora.brain_treebank import SESSIONS, Session
from brainbert.processing.decoding.encoder_features import untrained_twin
from brainbert.processing.decoding.neuroprobe_run import ENTRIES, LINEAR, Settings, System
from brainbert.processing.decoding.neuroprobe_windows import SPLITS, session_name
from brainbert.processing.decoding.submission import RELEASED, sessions_among, sessions_in_record
from brainbert.processing.program import DescriptionHelpFormatter

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


def make_systems(
    models: Sequence[str],
    *,
    preset: str | None,
    seed: int = 0,
    device: str = "cpu",
    description: str | None = None,
    seen: Sequence[str] | None = None,
) -> list[System]:
    """Return a system for each of --model, encoders read and checked; arguments are the flags of these names.

    Raises ValueError for flags that would do nothing, and for `seen` that contradicts a model's record.
    """
    rows = [row_of(model) for model in models]
    labels = [label for label, _ in rows]
    if repeated := [label for label in labels if labels.count(label) > 1]:
        raise ValueError(f"Two rows are called {repeated[0]}: name them, --model a=FOLDER b=FOLDER.")
    folders = {label: folder for label, folder in rows if folder not in (*LINEAR, "untrained")}
    if preset and (folders or "untrained" not in labels):
        raise ValueError("--preset is of untrained where --model names no folder: leave it out.")
    if description and not folders:
        raise ValueError("--description is of model folders, and --model names none: leave it out.")
    told = seen_by_name(seen, folders) if seen else {}
    encoders = {label: load(folder, device) for label, folder in folders.items()}
    systems = []
    for label, folder in rows:
        if folder in LINEAR:
            systems.append(System(name=folder, description=f"{LINES[folder]}, logistic regression"))
        elif folder == "untrained":
            model, extractor = next(iter(encoders.values()), None) or from_preset(preset, device)
            about = f"BrainBERT untrained: {sum(each.numel() for each in model.parameters()):,} random weights"
            twin = untrained_twin(model, seed)
            systems.append(System(name="untrained", description=about, model=twin, extractor=extractor))
        else:
            model, extractor = encoders[label]
            systems.append(
                System(
                    name=label,
                    description=description or "BrainBERT, frozen, with the head of Neuroprobe's examples",
                    model=model,
                    extractor=extractor,
                    seen=told[label] if label in told else sessions_in_record(record_of(folder)),
                )
            )
    return systems


def row_of(model: str) -> tuple[str, str]:
    """Return what a row is called and what it is of: a folder, untrained or one of LINEAR."""
    name, sign, folder = model.partition("=")
    folder = folder if sign else model
    return (folder if folder in (*LINEAR, "untrained") else label_of(name if sign else folder, folder)), folder


def seen_by_name(given: Sequence[str], folders: Mapping[str, str]) -> dict[str, tuple[Session, ...]]:
    """Return name → sessions of --seen, such as 1_0 2_1, or ours=1_0 theirs=released. folders: name → folder."""
    if not folders:
        raise ValueError("--seen is of the weights of model folders, and --model names none: leave it out.")
    if len(folders) > 1 and not all("=" in each for each in given):
        example = " ".join(f"{name}={what}" for name, what in zip(folders, ("1_0", "released"), strict=False))
        raise ValueError(
            f"--seen does not say of which of the {len(folders)} models: name it each time, as in --seen {example}."
        )
    texts: dict[str, list[str]] = defaultdict(list)
    for each in given:
        name, _, text = each.rpartition("=")
        name = name or next(iter(folders))
        if name not in folders:
            raise ValueError(f"--seen names {name}, and the models are called {', '.join(folders)}.")
        texts[name].append(text)
    found = {name: _seen(of) for name, of in texts.items()}
    for name, sessions in found.items():
        if untold := [each for each in sessions_among(record_of(folders[name])) if each not in sessions]:
            raise ValueError(
                f"--seen leaves out {', '.join(map(session_name, untold))}, which {name} was trained on by its "
                "training_record.json: name that too, or leave --seen out."
            )
    return found


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


def record_of(folder: str) -> dict[str, Any]:
    """Return the training record of a model, empty where it has none."""
    path = Path(folder) / "training_record.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def refuse_idle(args: argparse.Namespace) -> None:
    """Raise ValueError for a flag that would do nothing beside the others."""
    of_entry = ("organization", "organization_url", "date", "publication", "partial", "description")
    if not args.author and (idle := [name for name in of_entry if getattr(args, name)]):
        raise ValueError(f"{_flag(idle[0])} is of a leaderboard entry: give --author FIRST LAST too, or leave it out.")
    of_encoder = ("normalization", "variant", "scale", "features", "context_s")
    idle = [name for name in of_encoder if getattr(args, name) is not None]
    if idle and all(row_of(model)[1] in LINEAR for model in args.model):
        raise ValueError(f"{_flag(idle[0])} is of encoders, and --model names none: leave it out.")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def parse_arguments(doc: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=doc, formatter_class=DescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder of Brain Treebank, as it was published")
    parser.add_argument("--out", type=Path, required=True, help="folder for table.html, results, cache and entries")
    group = parser.add_argument_group("rows of the table")
    group.add_argument(
        "--model", nargs="+", required=True, metavar="ROW", help="folders, NAME=FOLDER, untrained, " + ", ".join(LINEAR)
    )
    group.add_argument("--preset", choices=tuple(PRESETS), help="size of untrained, where there is no model folder")
    group.add_argument("--seed", type=int, default=0, help="of untrained weights")
    group.add_argument(
        "--seen",
        nargs="+",
        metavar="S_T",
        help="sessions that the weights were trained on, such as 1_0 2_1; released: those of the authors' weights; "
        "none; of several models ours=1_0 theirs=released; if not given, what training_record.json says",
    )
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
    group.add_argument("--device", default="cpu", help="torch device of encoder, front end and products")
    group.add_argument("--cache", type=Path, help="folder for features; OUT/cache if not given")
    group.add_argument(
        "--drop-features", action="store_true", help="delete those of a session when nothing needs them any more"
    )
    group.add_argument("--dry-run", action="store_true", help="say what there is to do and how large it is, and end")
    group = parser.add_argument_group("entry of the leaderboard, written and checked when --author is given")
    group.add_argument("--author", nargs=2, metavar=("FIRST", "LAST"), help="who signs the attestation")
    group.add_argument("--organization", help="short; - if not given")
    group.add_argument("--organization-url", help="its address; - if not given")
    group.add_argument("--date", type=date.fromisoformat, help="YYYY-MM-DD; today if not given")
    group.add_argument("--publication", type=Path, help="BibTeX file; BrainBERT's if not given")
    group.add_argument("--description", help="of the models, one sentence")
    group.add_argument(
        "--partial", action="store_true", help="write the folder although results are missing; its name says so"
    )
    return parser.parse_args()


def session_of(text: str) -> Session:
    found = re.fullmatch(r"(?:btbank)?(\d+)_(\d+)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no session: give subject and trial, such as 4_0")
    return int(found[1]), int(found[2])


def _seen(given: Sequence[str]) -> tuple[Session, ...]:
    if "none" in given and len(given) > 1:
        raise ValueError("--seen says none and names sessions: leave out one of them.")
    found: set[Session] = set()
    for each in given:
        if each in ("none", "released"):
            found.update(RELEASED if each == "released" else ())
            continue
        try:
            session = session_of(each)
        except argparse.ArgumentTypeError as error:
            raise ValueError(f"--seen: {error}, or released, or none.") from None
        if session not in SESSIONS:
            raise ValueError(f"--seen: Brain Treebank has no session {session_name(session)}.")
        found.add(session)
    return tuple(sorted(found))
