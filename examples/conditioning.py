"""Arguments that every program which reads a recording shares, and the reading itself."""

import argparse
from pathlib import Path
from typing import Any

from brainbert.processing.recordings import (
    Recording,
    RecordingStream,
    condition,
    condition_stream,
    grids_from_text,
    open_recording,
    read_recording,
)

CONDITIONING = ("line_frequency", "notch", "reference", "ends", "grid_edges")
ENTITIES = ("subject", "session", "task", "acquisition", "run")
OF_NWB = ("series", "position_unit")


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
        help="along shafts, the Laplacian also on grids (see --grid); none keeps the recording's",
    )
    group.add_argument(
        "--ends", default="drop", choices=("drop", "one-sided"), help="Laplacian: contacts with a single neighbour"
    )
    group.add_argument(
        "--grid",
        nargs="+",
        type=_grid,
        default=[],
        metavar="NAME=ROWSxCOLUMNS",
        help="Laplacian on surface grids: the shape of each, such as G=8x8, contacts numbered along rows; or the word "
        "positions, to find grids by where their contacts are",
    )
    group.add_argument(
        "--grid-edges",
        default="all",
        choices=("all", "interior"),
        help="Laplacian on grids: contacts with two neighbours or more, or only those with all four",
    )
    group.add_argument(
        "--contacts", nargs="+", help="channels to keep (if not given: those that the file types as intracranial)"
    )
    group.add_argument("--unit", help="of the file, where its header is wrong: V, mV, µV, nV, pV")
    group.add_argument("--series", help="name of the ElectricalSeries, for an NWB file with several")
    group.add_argument(
        "--position-unit", help="of contacts in an NWB file that does not name it: m, cm, mm, µm (for --grid positions)"
    )


def _grid(text: str) -> str:
    try:
        grids_from_text([text])
    except ValueError as error:  # argparse would hide what it says
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def conditioning_of(args: argparse.Namespace) -> dict[str, object]:
    """What was asked for, as the corpus remembers it; not which recordings, whose names may be those of patients."""
    return {name: getattr(args, name) for name in (*CONDITIONING, "grid", "contacts", "unit", "position_unit")}


def read_conditioned(path: Path, args: argparse.Namespace, *, sampling_rate: float) -> Recording:
    """Read the recording that the arguments name and bring it to what the model expects."""
    how = _how(args)
    return condition(read_recording(path, **_which(args)), **how, sampling_rate=sampling_rate)


def open_conditioned(
    path: Path, args: argparse.Namespace, *, sampling_rate: float, progress: bool = True
) -> RecordingStream:
    """The same as a stream: the file is gone through once, its samples are read when they are needed."""
    how, recording = _how(args), open_recording(path, **_which(args))
    return condition_stream(recording, **how, sampling_rate=sampling_rate, progress=progress)


def _which(args: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(args, name) for name in (*ENTITIES, *OF_NWB, "contacts", "unit")}


def _how(args: argparse.Namespace) -> dict[str, Any]:
    of_conditioning = {name: getattr(args, name) for name in ("reference", "ends", "notch")}
    of_grids = {"grids": grids_from_text(args.grid), "edges": args.grid_edges}
    return {"line_frequency_hz": args.line_frequency or None, **of_conditioning, **of_grids}
