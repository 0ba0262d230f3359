"""What is decoded: arguments of the programs that decode, and the recordings, labels and split that they name."""

import argparse
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from conditioning import ENTITIES, add_conditioning_arguments, open_conditioned

from brainbert.processing.decoding import (
    LEFT_OUT,
    Epochs,
    Labels,
    Split,
    Task,
    blocked,
    by_recording,
    grouped,
    labels_from_annotations,
    labels_from_array,
    labels_from_bids,
    labels_from_channel,
    labels_from_csv,
    leave_subject_out,
    make_epochs,
    make_task,
    paper,
)
from brainbert.processing.decoding.labels import read_table
from brainbert.processing.program import HelpFormatter
from brainbert.processing.recordings import Recording, RecordingStream
from brainbert.processing.recordings.clips import REASONS

SPLITS = ("blocked", "grouped", "by_recording", "leave_subject_out", "paper")
# What only some splits read: its default, and which.
OF_SPLITS = {
    "folds": (5, ("blocked", "grouped", "by_recording")),
    "embargo_s": (None, ("blocked",)),
    "blocks_per_fold": (4, ("blocked",)),
    "group_name": ("group", ("grouped",)),
}
IN_MEMORY = 2**31  # bytes of conditioned samples: each system reads them, so that they are conditioned once
SOURCES = ("labels", "events", "annotations", "channel")


def decoding_parser(doc: str) -> argparse.ArgumentParser:
    """Return a parser with the arguments that say what is decoded, for a program with this docstring."""
    parser = argparse.ArgumentParser(
        description=doc.splitlines()[0],
        epilog="Stopped, it keeps what is done in OUT/cache: the same command goes on from there.",
        formatter_class=HelpFormatter,
    )
    parser.add_argument(
        "recordings", nargs="+", type=Path, help="EDF, BDF, BrainVision, FIF or NWB files, or one BIDS root"
    )
    parser.add_argument("--title", help="of the report; what is decoded, if not given")
    group = parser.add_argument_group("labels (one of the first four)")
    group.add_argument(
        "--labels",
        type=Path,
        help="CSV or TSV with the columns onset and duration in s (without both, a label holds for the whole "
        "recording), label or value, and where wanted recording (the file's name without suffix), group (the "
        "independent unit: pair, seizure), subject (a code: the report shows it); or a .npy signal with one number a "
        "sample, see --labels-rate",
    )
    group.add_argument("--events", metavar="COLUMN", help="of the events.tsv of a BIDS recording, such as trial_type")
    group.add_argument("--annotations", nargs="+", metavar="TEXT", help="annotations of the file; each is a class")
    group.add_argument("--channel", help="of the recording itself, such as force, EMG or sound")
    group.add_argument("--column", help="of --labels that holds them; label, else value, if not given")
    group.add_argument("--labels-rate", type=float, help="Hz, of the signal in a .npy file")
    group.add_argument("--classes", nargs="+", help="those to decode, in order; the last is what AUROC finds; all")
    group.add_argument("--regression", action="store_true", help="take labels as numbers; so in a column called value")
    group.add_argument(
        "--threshold",
        type=float,
        nargs="+",
        help="of a channel or signal: classes low and high about one number, or outside of two; without, regression",
    )
    group.add_argument(
        "--label-s", type=float, help="seconds of a channel or signal that make one label; --window-s if not given"
    )
    group = parser.add_argument_group("windows")
    group.add_argument("--window-s", type=float, default=5.0, help="seconds of signal that are embedded")
    group.add_argument(
        "--stride-s", type=float, help="seconds from window to window where a label lasts; --window-s if not given"
    )
    group.add_argument(
        "--anchor",
        default="center",
        choices=("center", "onset", "cover"),
        help="a window about the middle of a label that is shorter, or about every onset; or labels that fill a window",
    )
    group.add_argument(
        "--leave-out",
        nargs="*",
        default=list(LEFT_OUT),
        choices=REASONS,
        help="problems for which a contact does without a window; one that is flat or not finite is never used",
    )
    group.add_argument("--pool-contacts", action="store_true", help="decode all contacts as one, of all recordings")
    group = parser.add_argument_group("split")
    group.add_argument(
        "--split",
        default="blocked",
        choices=SPLITS,
        help="blocks of time; groups of the labels; or the paper's random one, for comparison",
    )
    group.add_argument("--folds", type=int, default=OF_SPLITS["folds"][0], help="0: one group or recording at a time")
    group.add_argument(
        "--embargo-s", type=float, help="seconds between blocks that are in no part; --window-s if not given"
    )
    group.add_argument(
        "--blocks-per-fold",
        type=int,
        default=OF_SPLITS["blocks_per_fold"][0],
        help="stretches of time that a fold tests; 1 for short recordings",
    )
    group.add_argument(
        "--group-name", default=OF_SPLITS["group_name"][0], help="what a group is, for the report: pair, seizure, trial"
    )
    group.add_argument("--seed", type=int, default=0, help="of untrained twins, draws, and random splits")
    add_conditioning_arguments(parser)
    return parser


def add_computing_arguments(
    parser: argparse.ArgumentParser, *, without: Sequence[str], page: str = "report", untrained_seeds: int = 3
) -> argparse._ArgumentGroup:
    """Add what is computed and where it is kept; without: what can be left out."""
    group = parser.add_argument_group("what is computed")
    group.add_argument("--out", type=Path, required=True, help=f"folder of {page}.html and {page}.json")
    group.add_argument("--cache", type=Path, help="folder in which features and scores are kept; OUT/cache")
    group.add_argument(
        "--untrained-seeds", type=int, default=untrained_seeds, help="untrained twins of every frozen encoder"
    )
    longest = "; waveform-network takes longest" * ("waveform-network" in without)
    group.add_argument("--without", nargs="*", default=[], choices=without, help=f"what to leave out{longest}")
    group.add_argument("--draws", type=int, default=2000, help="of bootstrap, and of chance where it is computed")
    group.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes for the probes")
    return group


def load_task(args: argparse.Namespace, extractor: Any, *, cache: Path, progress: bool = True) -> Task:
    """Read recordings and labels and cut windows; raises ValueError for what does not fit, before long work."""
    _refuse(args)
    labels = [_labels_of(path, args) for path in args.recordings]
    recordings = [_opened(path, args, extractor.sampling_rate, progress=progress) for path in args.recordings]
    windows = make_epochs(
        labels,
        recordings,
        window_s=args.window_s,
        stride_s=None if _is_of_signal(args) else args.stride_s,
        anchor=args.anchor,
        classes=args.classes or (["low", "high"] if args.threshold else None),
    )
    return make_task(
        recordings,
        windows,
        splitter(args),
        pool=args.pool_contacts,
        leave_out=args.leave_out,
        cache=cache,
        progress=progress,
    )


def splitter(args: argparse.Namespace) -> Callable[[Epochs], Split]:
    """Return the split that was asked for, as a function of windows."""
    folds = args.folds or None
    if args.split == "blocked":
        return partial(blocked, folds=args.folds, embargo_s=args.embargo_s, blocks_per_fold=args.blocks_per_fold)
    if args.split == "grouped":
        return partial(grouped, folds=folds, unit_name=args.group_name)
    if args.split == "by_recording":
        return partial(by_recording, folds=folds)
    return leave_subject_out if args.split == "leave_subject_out" else partial(paper, seed=args.seed)


def describe_labels(args: argparse.Namespace) -> str:
    """Return where labels came from, without names of files, which may be those of patients."""
    if args.labels is not None:
        return "signal in a file" if _is_signal(args) else f"table, column {args.column or 'label or value'}"
    if args.events:
        return f"events.tsv, column {args.events}"
    return f"channel {args.channel}" if args.channel else "annotations"


def _refuse(args: argparse.Namespace) -> None:
    given = [f"--{name}" for name in SOURCES if getattr(args, name)]
    if len(given) != 1:
        raise ValueError(
            f"Labels come from {' and '.join(given) or 'nowhere'}: give one of --labels, --events, --annotations and "
            "--channel."
        )
    of_signal = _is_of_signal(args)
    for name, (default, splits) in OF_SPLITS.items():
        if args.split not in splits and getattr(args, name) != default:
            raise ValueError(f"--{name.replace('_', '-')} belongs to --split {' or '.join(splits)}: leave it out.")
    if (args.threshold or args.label_s) and not of_signal:
        raise ValueError("--threshold and --label-s belong to --channel or a .npy signal: leave them out.")
    if args.column and (args.labels is None or _is_signal(args)):
        raise ValueError("--column belongs to --labels with a table: leave it out.")
    if args.labels_rate and not _is_signal(args):
        raise ValueError("--labels-rate belongs to a .npy signal: leave it out.")
    if _is_signal(args) and not args.labels_rate:
        raise ValueError("A .npy signal needs its rate: give --labels-rate in Hz.")
    if args.threshold and len(args.threshold) > 2:
        raise ValueError(f"--threshold has {len(args.threshold)} numbers: give one, or two.")
    if args.regression and (args.annotations or args.threshold):
        raise ValueError(
            f"--regression decodes numbers and {'--annotations' if args.annotations else '--threshold'} makes "
            "classes: leave one of them out."
        )
    if len(args.recordings) > 1 and (args.labels is None or _is_signal(args)):
        raise ValueError("Several recordings need one table of labels with a column recording: give --labels.")
    names = [path.stem for path in args.recordings]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(
            f"Two recordings are called {twice[0]}, and the labels tell recordings apart by name: rename one, or give "
            "it once."
        )


def _is_of_signal(args: argparse.Namespace) -> bool:
    return bool(args.channel) or _is_signal(args)


def _is_signal(args: argparse.Namespace) -> bool:
    return args.labels is not None and args.labels.suffix == ".npy"


def _labels_of(path: Path, args: argparse.Namespace) -> Labels:
    entities = {name: getattr(args, name) for name in ENTITIES}
    kind = "regression" if args.regression else None
    if args.events:
        return labels_from_bids(path, column=args.events, kind=kind, **entities)
    if args.annotations:
        return labels_from_annotations(path, descriptions=args.annotations, **entities)
    if args.labels is not None and not _is_signal(args):
        named = len(args.recordings) > 1 or (path.is_file() and "recording" in read_table(args.labels)[0])
        return labels_from_csv(args.labels, label=args.column, recording=path.stem if named else None, kind=kind)
    threshold = args.threshold and (args.threshold[0] if len(args.threshold) == 1 else tuple(args.threshold))
    how = {"window_s": args.label_s or args.window_s, "stride_s": args.stride_s, "threshold": threshold}
    if args.channel:
        return labels_from_channel(path, args.channel, **how, **entities)
    return labels_from_array(np.load(args.labels, allow_pickle=False), sampling_rate=args.labels_rate, **how)


def _opened(
    path: Path, args: argparse.Namespace, sampling_rate: float, *, progress: bool
) -> Recording | RecordingStream:
    recording = open_conditioned(path, args, sampling_rate=sampling_rate, progress=progress)
    size = recording.num_samples * len(recording.contacts) * 4
    return recording.load() if size * len(args.recordings) <= IN_MEMORY else recording
