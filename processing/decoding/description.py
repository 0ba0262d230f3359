"""What was decoded, with what, and what was left out: all that somebody needs to do it again."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..recordings import left_out
from .hashes import sha256, weights_sha256
from .signals import Signals, contact_names
from .systems import Encoder, Task
from .units import constant_within

VERSIONS = ("brainbert", "torch", "transformers", "numpy", "scipy", "scikit-learn", "mne")


def describe(task: Task, encoder: Encoder, *, warnings: Sequence[str], seed: int) -> dict[str, Any]:
    """Return the parts of a result that tell what was done: task, model, recordings, split, what was left out."""
    windows, epochs, extractor = task.windows, task.epochs, encoder.extractor
    regression = windows.classes is None
    by_recording = extractor.normalization == "recording"
    return {
        "task": {
            "kind": "regression" if regression else "classification",
            "classes": windows.classes,
            "metric": "Pearson r" if regression else "AUROC",
            "chance": 0.0 if regression else 0.5,
            "windows": windows.counts(),
            "window_s": windows.window_s,
        },
        "model": {
            "sha256": weights_sha256(encoder.model),
            "parameters": sum(parameter.numel() for parameter in encoder.model.parameters()),
            "pooling": encoder.pooling,
            "layer": encoder.layer,
            "normalization": extractor.normalization,
            "scale": extractor.scale,
            "front_end": extractor.fingerprint,
        },
        "recordings": _recordings(task),
        "left_out": {**windows.left_out, **_problems(task)},
        "split": {
            "name": task.split.name,
            "unit": task.split.unit_name,
            "units": len(np.unique(task.split.unit)),
            "embargo_s": task.split.embargo_s,
            "overlapping": task.split.overlapping,
            "folds": [
                {
                    # Names of groups are the user's own, and may say too much.
                    "name": str(number) if task.split.name == "grouped" else fold.name,
                    "train": epochs.take(fold.train).counts(),
                    "test": epochs.take(fold.test).counts(),
                }
                for number, fold in enumerate(task.split.folds, start=1)
            ],
        },
        "statistics": encoder.statistics if by_recording else None,
        "positions": _positions(task),
        "warnings": [*warnings, *_warnings(task, encoder)],
        "seed": seed,
        "versions": {name: version(name) for name in VERSIONS},
    }


def _recordings(task: Task) -> list[dict[str, Any]]:
    signals = Signals(task.recordings, task.windows, task.contacts)
    fingerprints = {about["id"]: sha256(about) for about in signals.about["recordings"]}
    found = []
    for index, recording in enumerate(signals.recordings):
        own, used = task.windows.recording == index, signals.contacts[index]
        not_shared = {name: "not in every recording" for name in recording.good if name not in used}
        found.append(
            {
                "id": recording.id,
                "subject": task.windows.subjects[task.windows.subject[own][0]] if own.any() else recording.subject,
                "duration_s": recording.duration_s,
                "windows": task.windows.take(own).counts(),
                "contacts": len(used),
                "left_out": {**left_out(recording), **not_shared},
                "fingerprint": fingerprints[recording.id],
            }
        )
    return found


def _problems(task: Task) -> dict[str, int]:
    """Return problem → windows of a contact that were left out for it."""
    reasons, counts = np.unique(task.problems[task.problems != ""], return_counts=True)
    return {f"of a contact: {reason}": int(count) for reason, count in zip(reasons, counts, strict=True)}


def _positions(task: Task) -> dict[str, Any] | None:
    """Return where the contacts are, where one recording says so."""
    recording = task.recordings[0]
    if len(task.recordings) > 1 or recording.positions is None:
        return None
    known = {
        name: position.tolist()
        for name, position in zip(recording.contacts, recording.positions, strict=True)
        if np.isfinite(position).all() and name in contact_names(task.contacts)
    }
    return {"frame": recording.coordinate_frame or "unknown", "contacts": known} if known else None


def _warnings(task: Task, encoder: Encoder) -> list[str]:
    found = []
    constant = constant_within(task.windows.recording, task.windows.target)
    if task.epochs.group is not None and _on_both_sides(task, task.epochs.group):
        found.append(
            "The labels name groups, and some folds train and test on windows of the same group: scores may tell "
            "groups apart and not what was to be decoded; the split 'grouped' keeps them together."
        )
    elif constant and _on_both_sides(task, task.epochs.recording):
        found.append(
            "Labels are constant within each recording, and some folds train and test on the same recording: scores "
            "may tell recordings apart and not what was to be decoded; the split 'by_recording' keeps them together."
        )
    if encoder.extractor.normalization == "recording":
        if constant:
            found.append(
                "Labels are constant within each recording, and statistics of the recording take such a level out of "
                "the encoder's input: this normalisation cannot show what it erases."
            )
        if encoder.statistics == "whole recording":
            found.append("The encoder's input has statistics of whole recordings, test windows among them.")
        elif alone := _tested_alone(task):
            found.append(
                f"{alone} of {len(task.recordings)} recordings have no training window in some fold: there the "
                "encoder's input has statistics of all windows of the recording, labels unseen."
            )
    return found


def _on_both_sides(task: Task, piece: NDArray[np.int64]) -> bool:
    """Whether a fold trains and tests on windows of the same piece."""
    return any(len(np.intersect1d(piece[fold.train], piece[fold.test])) for fold in task.split.folds)


def _tested_alone(task: Task) -> int:
    """Return how many recordings are tested in a fold that trains on none of their windows."""
    recording, alone = task.epochs.recording, set()
    for fold in task.split.folds:
        alone |= set(recording[fold.test].tolist()) - set(recording[fold.train].tolist())
    return len(alone)
