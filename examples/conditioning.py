"""Arguments that every program which reads a recording shares, and the reading itself."""

import argparse
from pathlib import Path
from typing import Any

from brainbert.processing.recordings import (
    Recording,
    RecordingStream,
    condition,
    condition_stream,
    open_recording,
    read_recording,
)

CONDITIONING = ("line_frequency", "notch", "reference", "ends")
ENTITIES = ("subject", "session", "task", "acquisition", "run")


def add_conditioning_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("which recording of a BIDS data set; --subject and --session also name a file's")
    for entity in ENTITIES:
        group.add_argument(f"--{entity}", help=f"{entity} label")
    group = parser.add_argument_group("conditioning (the weights expect it as it was in training)")
    group.add_argument(
        "--line-frequency", type=int, required=True, choices=(50, 60, 0), help="Hz of the mains; 0 for no notch"
    )
    group.add_argument(
        "--notch", default="causal-notch", choices=("causal-notch", "zero-phase-fir"), help="the paper's, or zero-phase"
    )
    group.add_argument(
        "--reference",
        default="laplacian",
        choices=("laplacian", "bipolar", "common-average", "none"),
        help="along shafts; none keeps the recording's",
    )
    group.add_argument(
        "--ends", default="drop", choices=("drop", "one-sided"), help="Laplacian: contacts with a single neighbour"
    )
    group.add_argument(
        "--contacts", nargs="+", help="channels to keep (if not given: those that the file types as intracranial)"
    )
    group.add_argument("--unit", help="of the file, where its header is wrong: V, mV, µV, nV, pV")


def conditioning_of(args: argparse.Namespace) -> dict[str, object]:
    """What was asked for, as the corpus remembers it; not which recordings, whose names may be those of patients."""
    return {name: getattr(args, name) for name in (*CONDITIONING, "contacts", "unit")}


def read_conditioned(path: Path, args: argparse.Namespace, *, sampling_rate: float) -> Recording:
    """Read the recording that the arguments name and bring it to what the model expects."""
    return condition(read_recording(path, **_which(args)), **_how(args), sampling_rate=sampling_rate)


def open_conditioned(
    path: Path, args: argparse.Namespace, *, sampling_rate: float, progress: bool = True
) -> RecordingStream:
    """The same as a stream: the file is gone through once, its samples are read when they are needed."""
    recording = open_recording(path, **_which(args))
    return condition_stream(recording, **_how(args), sampling_rate=sampling_rate, progress=progress)


def _which(args: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(args, name) for name in (*ENTITIES, "contacts", "unit")}


def _how(args: argparse.Namespace) -> dict[str, Any]:
    of_conditioning = {name: getattr(args, name) for name in ("reference", "ends", "notch")}
    return {"line_frequency_hz": args.line_frequency or None, **of_conditioning}
