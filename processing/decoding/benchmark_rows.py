"""What the scores of a problem's systems are worth: rows of a table, differences, a sentence, and each person alone."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .benchmark import CONTROLS, Conduct, Problem
from .bootstrap import Judged, Scores
from .chance import chance_interval, p_value
from .evaluation import LABELS, split_warnings, verdict
from .measures import MEASURES, by_unit, judge_measure, null_measure, tested_units
from .metrics import mean_defined
from .signals import contact_names
from .systems import Task

HEAD_LABELS = {
    "mean": "mean over contacts, linear",
    "concatenation": "contacts side by side, linear",
    "network": "contacts side by side, network of 128 units",
    "attention": "attention over contacts",
}


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
    sign = 1 if higher else -1
    return {
        "score": found.score,
        "interval": found.interval if found.units > 1 else None,
        "chance": None if null is None else chance_interval(null).tolist(),
        "p": None if null is None else float(p_value(np.asarray(sign * found.score), sign * null)),
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


def _head_label(head: str, task: Task) -> str:
    of_one = {"concatenation": "linear", "network": "network of 128 units"}
    return of_one.get(head, HEAD_LABELS[head]) if len(contact_names(task.contacts)) == 1 else HEAD_LABELS[head]
