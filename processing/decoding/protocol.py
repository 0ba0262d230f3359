"""Decode with an encoder and with everything that it must beat.

All systems see the same windows, folds and probe. What chose a setting must not be what reports it: choose on other
recordings.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .bootstrap import Scores
from .description import describe
from .epochs import Epochs
from .evaluation import evaluate, left_out_warnings
from .features import find_problems
from .out_of_fold import Features, out_of_fold
from .probes import Probe
from .signals import AnyRecording, contact_names, contacts_of, pool_epochs
from .splits import Split
from .supplements import best_together, dimension_by_region, layer_by_layer, learning_from_few
from .systems import CONTROLS, Encoder, Task, control_features, embeddings

# Spikes may be what is to be decoded: windows with them are left out only when asked for.
LEFT_OUT = ("not finite", "flat", "zeros", "clipped", "artefact")
NEVER_USED = ("not finite", "flat")  # the encoder has no embedding of them, and all systems see the same windows


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is computed.

    controls: of systems.CONTROLS. untrained_seeds: untrained twins, whose mean score counts. few_shot, layers,
    dimension: whether. best_contacts: how many to decode together, 0 for not at all. draws: of bootstrap and of chance.
    jobs: processes for the probes, which change no number.
    """

    controls: tuple[str, ...] = CONTROLS
    untrained_seeds: int = 3
    few_shot: bool = True
    layers: bool = True
    dimension: bool = True
    best_contacts: int = 0
    draws: int = 2000
    seed: int = 0
    jobs: int = 1

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.controls) - set(CONTROLS)):
            raise ValueError(f"There is no control {unknown[0]!r}: choose from {', '.join(CONTROLS)}.")
        if self.untrained_seeds < 0 or self.draws < 1 or self.jobs < 1:
            raise ValueError("untrained_seeds must be at least 0, draws and jobs at least 1.")


def make_task(
    recordings: Sequence[AnyRecording],
    windows: Epochs,
    split_by: Callable[[Epochs], Split],
    *,
    pool: bool = False,
    leave_out: Sequence[str] = LEFT_OUT,
    cache: Path | None = None,
    progress: bool = True,
) -> Task:
    """Return a task whose contacts and split belong to its windows.

    split_by: a function of splits with its settings. pool: decode all contacts as one, so that recordings with
    different contacts go together. leave_out: what a contact's window must not be (`check_clips`, and "artefact"),
    besides what no encoder can embed.
    cache: folder in which features and scores are kept, so that a stop loses little.
    Raises ValueError for recordings without a common contact, and a split that tests on one independent unit.
    """
    contacts = contacts_of(recordings, pool=pool)
    split = split_by(pool_epochs(windows, contacts))
    if len(np.unique(np.concatenate([split.unit[fold.test] for fold in split.folds]))) < 2:
        raise ValueError(
            f"All test windows are of one {split.unit_name}, which says nothing about others: give more labels, or "
            "another split."
        )
    problems = find_problems(recordings, windows, contacts, cache=cache, progress=progress)
    return Task(
        recordings=recordings,
        windows=windows,
        contacts=contacts,
        split=split,
        problems=np.where(np.isin(problems, [*NEVER_USED, *leave_out]), problems, ""),
        cache=cache,
        progress=progress,
    )


def decode(
    task: Task,
    encoder: Encoder,
    plan: Plan,
    *,
    fine_tuned: Mapping[str, Scores] | None = None,
    regions: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the result of an encoder beside its controls: what `write_report` takes, but for "title".

    fine_tuned: scores of `finetuned_scores`, "fine-tuned" and its own control, which the frozen encoder then is too.
    regions: contact → brain region, for the intrinsic dimension.
    Raises ValueError for an encoder that does not fit the recordings, and more best contacts than there are.
    """
    # Before hours of work, not after them.
    contacts = len(contact_names(task.contacts))
    if not 0 <= plan.best_contacts <= contacts:
        raise ValueError(f"best_contacts is {plan.best_contacts} and there are {contacts}: choose 0 to {contacts}.")
    systems = frozen_systems(task, encoder, plan)
    result = evaluate(
        frozen_scores(task, systems, plan) | dict(fine_tuned or {}),
        task.epochs,
        task.split,
        contacts=contact_names(task.contacts),
        model="fine-tuned" if fine_tuned else "pretrained",
        draws=plan.draws,
        seed=plan.seed,
    )
    result["warnings"] += left_out_warnings(CONTROLS, plan.controls, untrained_seeds=plan.untrained_seeds)
    result |= describe(task, encoder, warnings=result["warnings"], seed=plan.seed)
    first = {name: features[0] for name, (features, _) in systems.items() if name != "waveform-network"}
    if plan.few_shot:
        result["few_shot"] = learning_from_few(task, first, seed=plan.seed, jobs=plan.jobs)
    if plan.layers:
        result["layers"] = layer_by_layer(task, encoder, draws=plan.draws, seed=plan.seed, jobs=plan.jobs)
    if plan.best_contacts:
        result["best_contacts"] = best_together(
            task, first, plan.best_contacts, draws=plan.draws, seed=plan.seed, jobs=plan.jobs
        )
    if plan.dimension:
        result["dimension"] = dimension_by_region(task, encoder, regions, seed=plan.seed)
    return result


def frozen_systems(task: Task, encoder: Encoder, plan: Plan) -> dict[str, tuple[list[Features], Probe]]:
    """Return the features of each system, one for each of its seeds, and its probe."""
    encoders = {"pretrained": [encoder]}
    if plan.untrained_seeds:
        encoders["untrained"] = [encoder.untrained(plan.seed + number) for number in range(plan.untrained_seeds)]
    found: dict[str, tuple[list[Features], Probe]] = {
        name: ([embeddings(task, each, layers=[each.layer])[0] for each in of_seeds], task.probe)
        for name, of_seeds in encoders.items()
    }
    for name in plan.controls:
        features, probe = control_features(task, encoder.extractor, name)
        found[name] = [features], probe
    return found


def frozen_scores(task: Task, systems: dict[str, tuple[list[Features], Probe]], plan: Plan) -> dict[str, Scores]:
    """Return out-of-fold scores (contacts, windows, outputs) of each system, one for each of its seeds."""
    score = partial(out_of_fold, seed=plan.seed, folder=task.cache, progress=task.progress, jobs=plan.jobs)
    return {
        name: [score(values, task.epochs, task.split, probe) for values in features]
        for name, (features, probe) in systems.items()
    }
