"""Look at a model folder before anything is computed with it."""

import argparse
from pathlib import Path

from conditioning import CONDITIONING

from brainbert.modeling_brainbert.pipeline_brainbert import warn_about_other_conditioning as warn


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
    warn({name: getattr(args, name) for name in CONDITIONING}, model, stacklevel=2)
