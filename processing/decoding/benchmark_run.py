"""Run a problem of a benchmark: every system's scores on the same windows and folds, and what they are worth."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ..recordings import Recording
from .benchmark import CONTROLS, LINEAR, Conduct, Problem
from .benchmark_rows import judge_problem
from .bootstrap import Scores
from .contact_heads import choose_contacts, classifier_maker, head_scores, stacked_inputs, take_contacts
from .description import describe
from .epochs import make_epochs
from .evaluation import left_out_warnings
from .finetuned import encoder_inputs, finetuned_scores
from .labels import Labels
from .measures import check_measures, constant_scores
from .out_of_fold import Features
from .protocol import make_task
from .signals import AnyRecording, contact_names
from .systems import Encoder, Task, control_features, embeddings

IN_MEMORY = 2**32  # bytes of samples: each system reads them, so that they are resampled once


def run_problem(
    problem: Problem,
    encoder: Encoder,
    conduct: Conduct,
    *,
    pretrained: bool = True,
    accelerator: Any = None,
    cache: Path | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Return what a problem's systems are worth: rows, differences, verdict, values of units, folds, what was left out.

    pretrained: False for an encoder with random weights, which is called untrained then.
    accelerator: of Accelerate, for fine-tuning. cache: folder in which features and scores are kept.
    Raises ValueError for measures that are not of these labels, and what `make_epochs` and `make_task` raise.
    """
    check_measures(problem.measures, classes=problem.classes)
    task = task_of(problem, cache=cache, progress=progress)
    conduct = conduct if len(contact_names(task.contacts)) > 1 else replace(conduct, heads=_of_one(conduct.heads))
    scores = frozen_scores(problem, task, encoder, conduct, pretrained=pretrained)
    model = "pretrained" if pretrained else "untrained"
    if conduct.fine_tuning is not None:
        scores |= tuned_scores(problem, task, encoder, conduct, pretrained=pretrained, accelerator=accelerator)
        model = "fine-tuned" if pretrained else "fine-tuned-untrained"
    result = judge_problem(problem, task, scores, conduct, model=model)
    result["warnings"] += left_out_warnings(CONTROLS, conduct.controls, untrained_seeds=conduct.untrained_seeds)
    about = describe(task, encoder, warnings=result["warnings"], seed=conduct.seed)
    kept = ("model", "left_out", "statistics", "warnings", "seed", "versions")
    frame = about["positions"] and about["positions"]["frame"]
    return result | {key: about[key] for key in kept} | {"folds": _folds(task), "coordinate_frame": frame}


def task_of(problem: Problem, *, cache: Path | None = None, progress: bool = True) -> Task:
    """Return the windows, contacts and folds of a problem; no window is left out but what no encoder can embed."""
    recordings = [person.recording for person in problem.people]
    labels = [
        Labels(
            onset_s=person.onset_s,
            duration_s=np.full(len(person.onset_s), problem.window_s),
            values=person.values,
            left_out=person.left_out,
        )
        for person in problem.people
    ]
    windows = make_epochs(
        labels, recordings, window_s=problem.window_s, anchor="cover", classes=problem.classes, edges="raise"
    )
    task = make_task(recordings, windows, problem.split_by, leave_out=(), cache=cache, progress=progress)
    if sum(4 * len(each.contacts) * each.num_samples for each in recordings) > IN_MEMORY:
        return task
    named = {"desc": "reading", "unit": " recordings", "disable": not progress, "file": sys.stderr}
    return replace(task, recordings=[_loaded(each) for each in tqdm(recordings, **named)])


def _loaded(recording: AnyRecording) -> Recording:
    return recording if isinstance(recording, Recording) else recording.load()


def frozen_scores(
    problem: Problem, task: Task, encoder: Encoder, conduct: Conduct, *, pretrained: bool
) -> dict[str, Scores]:
    """Return system:head → scores (1, windows, outputs) of each of its seeds."""
    every = len(contact_names(task.contacts))
    most = every if problem.most_contacts is None else problem.most_contacts
    positions = _positions(task) if most >= every else None  # where they are chosen, folds have different contacts

    def chosen(features: Features) -> Features:
        if most >= every:
            return features
        return take_contacts(features, choose_contacts(features, task.epochs, task.split, most))

    def scored(features: Features, head: str, seed: int) -> Any:
        return head_scores(
            features,
            task.epochs,
            task.split,
            head,
            positions=positions,
            seed=seed,
            recipe=conduct.head_recipe,
            folder=task.cache,
            progress=task.progress,
            jobs=conduct.jobs,
        )

    def seeds_of(head: str) -> range:
        return range(conduct.seed, conduct.seed + (conduct.seeds if head in ("network", "attention") else 1))

    found: dict[str, Scores] = {}
    if pretrained:
        features = chosen(embeddings(task, encoder, layers=[encoder.layer])[0])
        found |= {
            f"pretrained:{head}": [scored(features, head, seed) for seed in seeds_of(head)] for head in conduct.heads
        }
    twins = [encoder.untrained(conduct.seed + number) for number in range(conduct.untrained_seeds)]
    of_twins = [chosen(embeddings(task, twin, layers=[twin.layer])[0]) for twin in twins]
    if twins:
        for head in conduct.heads:
            found[f"untrained:{head}"] = [
                scored(features, head, conduct.seed + number) for number, features in enumerate(of_twins)
            ]
    for name in conduct.controls:
        features = chosen(control_features(task, encoder.extractor, name)[0])
        found[f"{name}:{LINEAR}"] = [scored(features, LINEAR, conduct.seed)]
    return found | {"constant:": [constant_scores(task.epochs, task.split)]}


def tuned_scores(
    problem: Problem, task: Task, encoder: Encoder, conduct: Conduct, *, pretrained: bool, accelerator: Any
) -> dict[str, Scores]:
    """Return the same of the encoder fine-tuned with the first head, and trained from scratch.

    Where contacts are chosen, both have those that the frozen encoder does best with in the training windows.
    """
    assert conduct.fine_tuning is not None
    head, outputs = conduct.heads[0], 1 if problem.classes is None else len(problem.classes)
    inputs, contacts, positions = encoder_inputs(task, encoder), len(contact_names(task.contacts)), _positions(task)
    if problem.most_contacts is not None and problem.most_contacts < contacts:
        features = embeddings(task, encoder, layers=[encoder.layer])[0]
        inputs = take_contacts(inputs, choose_contacts(features, task.epochs, task.split, problem.most_contacts))
        contacts, positions = problem.most_contacts, None
    inputs = stacked_inputs(inputs)
    found: dict[str, Scores] = {}
    for name, weights in (("fine-tuned", True), ("fine-tuned-untrained", False)):
        if weights and not pretrained:
            continue
        make_model = classifier_maker(
            encoder, outputs, head, contacts=contacts, positions=positions, pretrained=weights
        )
        found[f"{name}:{head}"] = [
            finetuned_scores(
                make_model,
                inputs,
                epochs=task.epochs,
                split=task.split,
                contacts=["all"],
                accelerator=accelerator,
                recipe=conduct.fine_tuning,
                seed=seed,
                folder=task.cache,
                progress=task.progress,
            )[0]
            for seed in range(conduct.seed, conduct.seed + conduct.seeds)
        ]
    return found


def _folds(task: Task) -> list[dict[str, Any]]:
    """Return the people, or the number of windows, in each part of every fold."""
    epochs = task.epochs

    def part(rows: Any) -> dict[str, Any]:
        people = [epochs.subjects[number] for number in np.unique(epochs.subject[rows])]
        return {"windows": len(rows), "subjects": people}

    return [
        {"name": fold.name, "train": part(fold.train), "test": part(fold.test)}
        | ({} if fold.validation is None else {"validation": part(fold.validation)})
        for fold in task.split.folds
    ]


def _positions(task: Task) -> NDArray[np.float64] | None:
    """Return where the contacts are, (contacts, 3) in mm, in the frame of the one recording that says so."""
    recording = task.recordings[0]
    if len(task.recordings) > 1 or recording.positions is None:
        return None
    place = {name: row for row, name in enumerate(recording.contacts)}
    return np.asarray(recording.positions)[[place[name] for name in contact_names(task.contacts)]]


def _of_one(heads: tuple[str, ...]) -> tuple[str, ...]:
    """Return the heads of one contact, whose mean is the contact itself."""
    return tuple(dict.fromkeys(LINEAR if head == "mean" else head for head in heads))
