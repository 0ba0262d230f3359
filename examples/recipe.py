"""The settings of a pretraining run: flags, or the lines of a recipe, a YAML file with the same names."""

import argparse
import difflib
import sys
from pathlib import Path
from typing import Any, NoReturn

import yaml
from splitting import add_split_arguments

from brainbert.modeling_brainbert import PRESETS
from brainbert.processing.program import HelpFormatter

# A resumed run may change these: where things lie and how the work is shared out, not what is computed.
PLACES = ("corpora", "out", "recipe", "resume", "dry_run")
SHARING = (
    "micro_batch",
    "num_workers",
    "prepare_in_workers",
    "tracker",
    "checkpoint_every",
    "keep_checkpoints",
    "skip_limit",
    "compile",
    "activation_checkpointing",
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message[0].upper()}{message[1:]} (--help shows all flags).")


def parse_arguments(description: str, words: list[str] | None = None) -> argparse.Namespace:
    """Return the settings: what the command line says, else the recipe, else the defaults.

    Raises ValueError for unknown flags and keys, values of the wrong type, and numbers out of range.
    """
    parser = make_parser(description)
    words = sys.argv[1:] if words is None else words
    recipe = parser.parse_known_args(words)[0].recipe
    if recipe:
        parser.set_defaults(**read_recipe(recipe, parser))
    args = parser.parse_args(words)
    at_least_one = ("steps", "batch_size", "log_every", "validate_every", "checkpoint_every", "keep_checkpoints")
    for name in (*at_least_one, "validation_clips"):
        if getattr(args, name) < 1:
            raise ValueError(f"--{name.replace('_', '-')} is {getattr(args, name)}: it must be at least 1.")
    if args.micro_batch is not None and args.micro_batch < 1:
        raise ValueError(f"--micro-batch is {args.micro_batch}: it must be at least 1.")
    if not 0 <= args.warmup < 1:
        raise ValueError(f"--warmup is {args.warmup}: give a share of the steps, from 0 to less than 1.")
    return args


def settings_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return what decides the outcome of a run."""
    return {name: value for name, value in vars(args).items() if name not in (*PLACES, *SHARING)}


def read_recipe(path: Path, parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Return the settings of a recipe; raises ValueError for an unknown key or a value that does not fit."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} is no recipe: give lines such as `steps: 1000`.")
    flags = {action.dest: action for action in parser._actions if action.dest not in ("help", *PLACES)}
    words = ["corpus", "--out", "run"]
    for key, value in content.items():
        if key not in flags:
            close = difflib.get_close_matches(str(key), flags, n=1)
            raise ValueError(f"{path}: there is no setting {key!r}{f', but {close[0]!r}' if close else ''}.")
        if flags[key].nargs == 0:
            if not isinstance(value, bool):
                raise ValueError(f"{path}: {key} is {value!r}: give true or false.")
            words.append(flags[key].option_strings[0 if value else 1])
        else:
            words += [flags[key].option_strings[0], *map(str, value if isinstance(value, list) else [value])]
    try:
        settings = parser.parse_args(words)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return {key: getattr(settings, key) for key in content}


def make_parser(description: str) -> argparse.ArgumentParser:
    parser = _Parser(
        description=description.splitlines()[0],
        formatter_class=HelpFormatter,
        epilog="A recipe (examples/recipes) has a line `name: value` for each flag that it sets, with _ for -.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "corpora",
        nargs="+",
        help="folders made by build_corpus.py; or one made by export_corpus.py, or its id on the Hub, to stream from",
    )
    parser.add_argument(
        "--revision", help="commit, tag or branch of a data set on the Hub (default: main as it is when the run starts)"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for model, checkpoints and TensorBoard log")
    parser.add_argument("--recipe", type=Path, help="YAML file of settings; flags go before it")
    parser.add_argument(
        "--resume", action="store_true", help="go on from the last checkpoint in --out, if there is one"
    )
    parser.add_argument("--dry-run", action="store_true", help="show size, steps, time and memory, then leave")

    data = parser.add_argument_group("data")
    add_split_arguments(data)
    data.add_argument("--validation-clips", type=int, default=2000, help="most clips to measure, evenly spaced")
    data.add_argument("--sampling-rate", type=float, default=2048, help="Hz that the clips must have")

    image = parser.add_argument_group("spectrogram")
    image.add_argument(
        "--transform", default="stft", choices=("stft", "superlet"), help="superlets are sharper and take longer"
    )
    image.add_argument("--variant", default="training", choices=("training", "demo", "no_boundary"), help="of the STFT")
    image.add_argument("--scale", default="linear", choices=("linear", "log"), help="of the magnitude")
    image.add_argument("--normalization", default="clip", choices=("clip", "recording", "corpus"), help="of each bin")

    mask = parser.add_argument_group("masks")
    mask.add_argument(
        "--masks",
        default="static",
        choices=("static", "adaptive"),
        help="adaptive: widths follow the frequency (for superlets)",
    )
    mask.add_argument(
        "--mask-start-probability", type=float, default=0.05, help="of static masks, at each frame and bin"
    )
    mask.add_argument(
        "--mask-frames", type=int, nargs=2, default=[1, 5], metavar=("LEAST", "MOST"), help="widths of static masks"
    )
    mask.add_argument(
        "--mask-bins", type=int, nargs=2, default=[1, 2], metavar=("LEAST", "MOST"), help="widths of static masks"
    )

    model = parser.add_argument_group("model")
    model.add_argument("--preset", default="tiny", choices=tuple(PRESETS), help="size of the model")
    model.add_argument("--dropout", type=float, help="share; the preset's if not given")
    model.add_argument(
        "--attention",
        default="random",
        choices=("random", "neighbours"),
        help="where heads look at first: as the original, or each at a frame near its own",
    )
    model.add_argument("--content-weight", type=float, default=2.0, help="of the error over cells with content")
    model.add_argument("--content-threshold", type=float, default=1.0, help="|z| from which a cell has content")
    model.add_argument("--pooling", default="center", choices=("center", "mean"), help="of frames, kept in the model")

    optimiser = parser.add_argument_group("optimiser")
    optimiser.add_argument(
        "--optimizer",
        default="adamw",
        choices=("adamw", "lamb", "muon"),
        help="LAMB is the paper's; Muon for the matrices between hidden units, and AdamW for all else",
    )
    optimiser.add_argument("--learning-rate", type=float, default=1e-3, help="peak")
    optimiser.add_argument(
        "--muon-learning-rate", type=float, default=0.02, help="peak for Muon; --learning-rate is AdamW's then"
    )
    optimiser.add_argument(
        "--betas", type=float, nargs=2, default=[0.9, 0.999], metavar=("FIRST", "SECOND"), help="decay of the moments"
    )
    optimiser.add_argument(
        "--weight-decay", type=float, default=0.01, help="of matrices, not of biases and layer norms"
    )
    optimiser.add_argument(
        "--schedule",
        default="cosine",
        choices=("cosine", "hundredths", "constant"),
        help="after warm-up; hundredths: ×0.99 at each hundredth (the paper)",
    )
    optimiser.add_argument("--warmup", type=float, default=0.1, help="share of the steps, linear")
    optimiser.add_argument("--clip-gradient", type=float, default=1.0, help="largest norm of the gradient")

    run = parser.add_argument_group("run")
    run.add_argument("--steps", type=int, default=1000, help="optimiser steps")
    run.add_argument("--batch-size", type=int, default=32, help="clips per step, of all processes together")
    run.add_argument(
        "--micro-batch", type=int, help="clips at a time on each process, to save memory; all if not given"
    )
    run.add_argument("--seed", type=int, default=0, help="of weights, order, dropout and masks")
    run.add_argument("--mixed-precision", choices=("no", "bf16"), help="Accelerate's own configuration if not given")
    run.add_argument(
        "--compile", action=argparse.BooleanOptionalAction, default=False, help="the model, with torch.compile"
    )
    run.add_argument(
        "--activation-checkpointing",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="compute activations twice, to save memory",
    )
    run.add_argument("--num-workers", type=int, default=0, help="processes that read, for each process that trains")
    run.add_argument(
        "--prepare-in-workers",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="spectrograms and masks, too, not on the device",
    )
    run.add_argument("--skip-limit", type=int, default=10, help="steps with a non-finite loss or gradient to survive")

    records = parser.add_argument_group("records")
    records.add_argument("--log-every", type=int, default=10, help="steps")
    records.add_argument("--validate-every", type=int, default=200, help="steps")
    records.add_argument("--checkpoint-every", type=int, default=200, help="steps")
    records.add_argument("--keep-checkpoints", type=int, default=2, help="the last so many")
    records.add_argument(
        "--tracker", default="tensorboard", help="any of Accelerate's: tensorboard, wandb, mlflow, …, or none"
    )
    return parser
