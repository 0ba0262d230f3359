"""Look at a model folder before anything is computed with it."""

import argparse
import json
import warnings
from pathlib import Path

from conditioning import CONDITIONING


def check_model(model: str) -> None:
    """Refuse a path that is no model folder; what is no path here is left to the Hub."""
    folder = Path(model)
    if folder.is_dir() and not (folder / "config.json").exists():
        inside = " (there is one inside it: model)" if (folder / "model" / "config.json").exists() else ""
        raise ValueError(
            f"{model} holds no config.json and is no model folder{inside}: give a folder such as run/model."
        )
    if folder.is_dir() and not (folder / "preprocessor_config.json").exists():
        raise ValueError(
            f"{model} holds no preprocessor_config.json, without which nobody knows what the model reads: give the "
            "whole folder that pretraining wrote, such as run/model."
        )
    if not folder.exists() and (folder.is_absolute() or model.startswith(".") or model.count("/") > 1):
        raise ValueError(
            f"There is no folder {model}: give a folder such as run/model, or the id of a model on the Hub."
        )


def warn_about_other_conditioning(model: str, args: argparse.Namespace) -> None:
    """Warn when a recording is conditioned in another way than the corpus that the model was trained on."""
    path = Path(model) / "training_record.json"
    trained = json.loads(path.read_text()).get("conditioning", {}) if path.exists() else {}
    given = {name: getattr(args, name) for name in CONDITIONING}
    other = [f"{name} {given[name]} (trained with {trained[name]})" for name in trained if trained[name] != given[name]]
    if other:
        warnings.warn(
            f"The recording is conditioned in another way than the model was trained on: {', '.join(other)}; "
            "embeddings of unfamiliar input mean little, so use the same settings unless you know why not.",
            stacklevel=2,
        )
