"""One harness for public benchmarks: people's labelled recordings in, an encoder beside its controls out.

A data set is a `Benchmark`: problems (recordings with labels, and how they are split) and the measures and rows of its
paper. Every problem goes the same way: the same windows, folds and heads for the encoder, its untrained twins, linear
decoders of the spectrogram and of band power, and a constant that knows the training labels only.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..corpora.labelled import LabelledRecording
from .bootstrap import Judged, Scores
from .contact_heads import HEADS, choose_contacts, classifier_maker, head_scores, stacked_inputs, take_contacts
from .description import describe
from .epochs import Epochs, make_epochs
from .evaluation import LABELS, split_warnings, verdict
from .finetuned import encoder_inputs, finetuned_scores
from .finetuning import Recipe
from .labels import Labels
from .measures import MEASURES, by_unit, check_measures, constant_scores, judge_measure, null_measure, tested_units
from .metrics import mean_defined
from .out_of_fold import Features
from .protocol import make_task
from .signals import contact_names
from .splits import Split
from .systems import Encoder, Task, control_features, embeddings

CONTROLS = ("spectrogram", "spectrogram-time", "band-power")
LINEAR = "concatenation"  # the head of controls
HEAD_LABELS = {
    "mean": "mean over contacts, linear",
    "concatenation": "contacts side by side, linear",
    "network": "contacts side by side, network of 128 units",
    "attention": "attention over contacts",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """What is decoded in one go.

    people: recordings at one rate with windows of one length. classes: the second of two is what is looked for; None
        for values.
    split_by: a function of windows, with folds that have their own validation windows.
    measures: of `MEASURES`, the one that is judged first.
    most_contacts: each system has the best so many, chosen in the training windows of each fold; None for all.
    """

    name: str
    people: Sequence[LabelledRecording]
    window_s: float
    classes: tuple[str, ...] | None
    split_by: Callable[[Epochs], Split]
    measures: tuple[str, ...]
    most_contacts: int | None = None


@dataclass(frozen=True, kw_only=True)
class Published:
    """A row of a paper: measure → value, and what its spread is, in words; note: what was different there."""

    label: str
    values: Mapping[str, float]
    spread: Mapping[str, float]
    problem: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Benchmark:
    """A data set with its problems and the rows of its paper.

    subjects: whether each problem is one person, so that people are the independent unit of the whole.
    heads: those that it is decoded with by default, the judged one first.
    published, source: rows, and where they are from; spread: what their ± is. notes: sentences that a reader must know.
    """

    name: str
    problems: Sequence[Problem]
    heads: tuple[str, ...] = (LINEAR,)
    subjects: bool = False
    published: Sequence[Published] = ()
    source: str = ""
    spread: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Conduct:
    """How a benchmark is run.

    heads: of HEADS, the judged one first. seeds: from how many seeds heads and fine-tuned models are trained, whose
    mean counts; a linear head has one. untrained_seeds: twins. controls: of CONTROLS. fine_tuning: how the encoder is
    fine-tuned with the first head, None if not. head_recipe: how network and attention are trained.
    """

    heads: tuple[str, ...] = (LINEAR,)
    seeds: int = 1
    untrained_seeds: int = 3
    controls: tuple[str, ...] = CONTROLS
    fine_tuning: Recipe | None = None
    head_recipe: Recipe | None = None
    draws: int = 2000
    seed: int = 0
    jobs: int = 1

    def __post_init__(self) -> None:
        for name, given, known in (("head", self.heads, HEADS), ("control", self.controls, CONTROLS)):
            if unknown := sorted(set(given) - set(known)):
                raise ValueError(f"There is no {name} {unknown[0]!r}: choose from {', '.join(known)}.")
        if not self.heads or len(set(self.heads)) < len(self.heads):
            raise ValueError(f"heads are {list(self.heads)}; give one or more, each once.")
        if min(self.seeds, self.draws, self.jobs) < 1 or self.untrained_seeds < 0:
            raise ValueError("seeds, draws and jobs must be at least 1, untrained_seeds at least 0.")


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
    return make_task(recordings, windows, problem.split_by, leave_out=(), cache=cache, progress=progress)


def frozen_scores(
    problem: Problem, task: Task, encoder: Encoder, conduct: Conduct, *, pretrained: bool
) -> dict[str, Scores]:
    """Return system:head → scores (1, windows, outputs) of each of its seeds."""
    many, positions = len(contact_names(task.contacts)), _positions(task)

    def scored(features: Features, head: str, seed: int) -> Any:
        where = positions
        if problem.most_contacts is not None and problem.most_contacts < many:
            chosen = choose_contacts(features, task.epochs, task.split, problem.most_contacts)
            features = take_contacts(features, chosen)
            where = None  # folds have different contacts
        return head_scores(
            features,
            task.epochs,
            task.split,
            head,
            positions=where,
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
        features = embeddings(task, encoder, layers=[encoder.layer])[0]
        found |= {
            f"pretrained:{head}": [scored(features, head, seed) for seed in seeds_of(head)] for head in conduct.heads
        }
    twins = [encoder.untrained(conduct.seed + number) for number in range(conduct.untrained_seeds)]
    of_twins = [embeddings(task, twin, layers=[twin.layer])[0] for twin in twins]
    if twins:
        for head in conduct.heads:
            found[f"untrained:{head}"] = [
                scored(features, head, conduct.seed + number) for number, features in enumerate(of_twins)
            ]
    for name in conduct.controls:
        found[f"{name}:{LINEAR}"] = [scored(control_features(task, encoder.extractor, name)[0], LINEAR, conduct.seed)]
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


def judge_problem(
    problem: Problem, task: Task, scores: Mapping[str, Scores], conduct: Conduct, *, model: str
) -> dict[str, Any]:
    """Return rows, differences, verdict, values of units and warnings of scores, system:head → those of each seed.

    model: the system that is judged, with the first head. Its controls are other systems with that head, and those
        without encoder; rows with another head are "variants". Above zero, a difference says that the model is better.
    """
    epochs, split, first = task.epochs, task.split, problem.measures[0]
    judge = MEASURES[first]
    how = {"draws": conduct.draws, "seed": conduct.seed}
    judged = {
        name: {measure: judge_measure(measure, each, epochs, split, **how) for measure in problem.measures}
        for name, each in scores.items()
    }
    own = next(name for name in judged if name.startswith(f"{model}:"))
    if not np.isfinite(judged[own][first].observed).any():
        raise ValueError(f"No window of {problem.name} that was tested has a score: too little signal is left.")
    rows: list[dict[str, Any]] = []
    differences: list[dict[str, Any]] = []
    order = list(LABELS)
    for name in sorted(scores, key=lambda name: (name != own, order.index(name.partition(":")[0]))):
        system, _, head = name.partition(":")
        of_measures: dict[str, Any] = {}
        for measure in problem.measures:
            found = judged[name][measure]
            # What knows nothing but how many labels there are is chance itself.
            null = None
            if system != "constant":
                null = np.mean([null_measure(measure, each, epochs, split, **how) for each in scores[name]], axis=0)
            of_measures[measure] = _entry(found, null, higher=MEASURES[measure].higher_is_better)
        compared = head == own.partition(":")[2] or system in (*CONTROLS, "constant")
        rows.append(
            {
                "name": system if compared else name,
                "label": LABELS[system],
                "head": _head_label(head, task) if head and system not in CONTROLS else None,
                "role": "model" if name == own else "control" if compared else "variant",
                "measures": of_measures,
            }
        )
        if compared and name != own:
            pair = (judged[own][first], judged[name][first])
            better = pair[0].minus(pair[1]) if judge.higher_is_better else pair[1].minus(pair[0])
            differences.append({"control": system, "label": LABELS[system], **asdict(better)})
    judging = [{"name": row["name"], "score": row["measures"][first]["score"]} for row in rows[:1]]
    units = tested_units(split)
    return {
        "name": problem.name,
        "kind": "regression" if epochs.classes is None else "classification",
        "classes": epochs.classes,
        "windows": epochs.counts(),
        "window_s": epochs.window_s,
        "contacts": list(contact_names(task.contacts)),
        "most_contacts": problem.most_contacts,
        "measures": list(problem.measures),
        "judged": model,
        "rows": rows,
        "differences": differences,
        "verdict": verdict(
            judging, differences, model=model, metric=judge.label, higher_is_better=judge.higher_is_better
        ),
        "bootstrap": {"draws": conduct.draws, "unit": split.unit_name, "units": len(units)},
        "by_unit": _by_unit(problem, task, scores, own) if split.name in ("groups", "participants") else None,
        "warnings": split_warnings(split, len(units)),
    }


def _entry(found: Judged, null: NDArray[np.float64] | None, *, higher: bool) -> dict[str, Any]:
    reached = None
    if null is not None and np.isfinite(found.score):
        better = (null >= found.score - 1e-12) if higher else (null <= found.score + 1e-12)
        reached = float((1 + better.sum()) / (1 + len(null)))
    return {
        "score": found.score,
        "interval": found.interval if found.units > 1 else None,
        "chance": None if null is None else np.nanquantile(null, [0.025, 0.975]).tolist(),
        "p": reached,
        "seeds": found.seeds if len(found.seeds) > 1 else None,
    }


def _by_unit(problem: Problem, task: Task, scores: Mapping[str, Scores], own: str) -> dict[str, Any]:
    """Return each measure of the judged system for every person, and how many windows they have."""
    subject = task.epochs.subject
    people = np.unique(subject)
    rows = {
        measure: mean_defined([by_unit(measure, each, task.epochs, task.split) for each in scores[own]])
        for measure in problem.measures
        if measure != "r"
    }
    return {
        "names": [task.epochs.subjects[number] for number in people],
        "windows": [task.epochs.take(subject == number).counts() for number in people],
        "measures": {measure: values.tolist() for measure, values in rows.items()},
    }


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


def _head_label(head: str, task: Task) -> str:
    of_one = {"concatenation": "linear", "network": "network of 128 units"}
    return of_one.get(head, HEAD_LABELS[head]) if len(contact_names(task.contacts)) == 1 else HEAD_LABELS[head]
