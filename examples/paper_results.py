"""What the parts of the paper's table say together: tasks, their average, differences, over subjects."""

import argparse
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from paper_models import model_folder, models_of, pairs_of, session_id, variant
from paper_plan import Sessions
from paper_stages import parts_of

from brainbert.processing.decoding.across_subjects import across_subjects
from brainbert.processing.decoding.evaluation import LABELS
from brainbert.processing.decoding.word_labels import PAPER_TASKS

AVERAGE = "all tasks"
LINEAR = ("spectrogram", "band-power", "waveform")
# Figures of others, with what they are; only those of the first are of the same split as `--split paper`.
PUBLISHED = (
    {
        "what": "Fine-tuned, mean over the four tasks",
        "value": ".83",
        "source": "Wang et al. 2023, random split; stated by a second source",
        "systems": ["fine-tuned"],
        "task": AVERAGE,
    },
    {
        "what": "Best linear baseline, mean over the four tasks",
        "value": "about .63",
        "source": "Wang et al. 2023, random split; stated by a second source",
        "systems": list(LINEAR),
        "task": AVERAGE,
    },
    {
        "what": "Untrained, mean over the four tasks",
        "value": "about .60",
        "source": "Wang et al. 2023, random split; stated by a second source. Here frozen, and trained from scratch",
        "systems": ["untrained", "fine-tuned-untrained"],
        "task": AVERAGE,
    },
    {
        "what": "Frozen, STFT, sentence onset",
        "value": ".66 ± .03",
        "source": "over ten contacts; stated by a second source",
        "systems": ["pretrained"],
        "task": "sentence-onset",
    },
    {
        "what": "Re-test by others without leakage",
        "value": ".55 to .60",
        "source": "causal folds with an embargo; below linear high gamma there",
        "systems": ["pretrained", "fine-tuned"],
        "task": AVERAGE,
    },
)


def gather(args: argparse.Namespace, sessions: Sessions) -> dict[str, Any]:
    """Return the content of the page: all of it strings, numbers, lists and dicts."""
    found = [
        (part, split, json.loads(file.read_text(encoding="utf-8")))
        for session in sessions.decoding
        for task in args.tasks
        for file, (part, split) in parts_of(args, session, task).items()
    ]
    missing = [entry for _, _, entry in found if "not decoded" in entry]
    reasons = {(entry["session"], entry["task"], entry["split"]): entry["not decoded"] for entry in missing}
    found = [each for each in found if "not decoded" not in each[2]]

    def of(part: str, split: str = args.split[0]) -> list[dict[str, Any]]:
        return [entry for name, of_split, entry in found if (name, of_split) == (part, split)]

    if not of("main"):
        raise ValueError(
            f"No task of any session could be decoded: {next(iter(reasons.values()), 'none was asked for')}"
        )
    model = "pretrained" if "fine-tuned" in args.without else "fine-tuned"
    tables = {split: main_table(args, of("main", split), model=model) for split in args.split if of("main", split)}
    first = tables[args.split[0]]
    return {
        "title": "Brain Treebank: the paper's table",
        "verdict": sentence(first[AVERAGE], args.split[0]),
        "model": model,
        "tasks": [task for task in args.tasks if task in first] + [AVERAGE],
        "tables": tables,
        "published": [published_row(row, tables) for row in PUBLISHED],
        "comparisons": comparisons(args, sessions, of("main"), of("models")),
        "few_shot": few_shot_curves(of("few-shot")),
        "dimension": [
            row | {"contact": f"{entry['session']} {row['contact']}"}
            for entry in of("dimension")
            for row in entry["rows"]
        ],
        "contacts": contact_rows(of("main"), model=model),
        "parts": [
            {
                "session": entry["session"],
                "subject": entry["subject"],
                "task": entry["task"],
                "split": split,
                "windows": entry["task_windows"],
                "contacts": len(entry["systems"][0]["contacts"]),
                "overlapping": entry["overlapping"],
                "warnings": entry["warnings"],
            }
            for name, split, entry in found
            if name == "main"
        ],
        "not_decoded": [
            {"session": key[0], "task": key[1], "split": key[2], "reason": text} for key, text in reasons.items()
        ],
        "models": [model_row(args, name) for name in models_of(args)],
        "pretraining_sessions": [session_id(session) for session in sessions.pretraining],
        "settings": {
            name: getattr(args, name)
            for name in (
                "preset",
                "steps",
                "batch_size",
                "contacts",
                "windows",
                "folds",
                "fine_tune_steps",
                "draws",
                "seed",
            )
        },
    }


def main_table(args: argparse.Namespace, entries: list[dict[str, Any]], *, model: str) -> dict[str, Any]:
    """Return task → what `across_subjects` says of it, and of the average over tasks."""
    subjects = {entry["session"]: entry["subject"] for entry in entries}
    how = {"model": model, "labels": LABELS}
    by_task: dict[str, Any] = {}
    scores: dict[str, dict[str, dict[str, float]]] = {}
    chances: dict[str, dict[str, dict[str, tuple[float, float]]]] = {}
    for task in args.tasks:
        of_task = [entry for entry in entries if entry["task"] == task]
        if not of_task:
            continue
        of_systems: dict[str, dict[str, float]] = {}
        of_chance: dict[str, dict[str, tuple[float, float]]] = {}
        for entry in of_task:
            for system in entry["systems"]:
                of_systems.setdefault(system["name"], {})[entry["session"]] = number_of(system["score"])
                of_chance.setdefault(system["name"], {})[entry["session"]] = tuple(system["chance"])
        scores[task], chances[task] = of_systems, of_chance
        by_task[task] = with_own_intervals(across_subjects(of_systems, subjects, chance=of_chance, **how), of_task)
    average = {
        name: {
            session: float(np.mean([scores[task][name][session] for task in scores]))
            for session in subjects
            if all(session in scores[task].get(name, {}) for task in scores)
        }
        for name in {name for of_systems in scores.values() for name in of_systems}
    }
    average = {name: of_sessions for name, of_sessions in average.items() if of_sessions}
    if model in average:
        # Tasks share their windows: as if chance were the same in all of them, which is the widest that it can be.
        chance = {
            name: {
                session: tuple(np.mean([chances[task][name][session] for task in scores], axis=0).tolist())
                for session in of_sessions
            }
            for name, of_sessions in average.items()
        }
        by_task[AVERAGE] = across_subjects(average, subjects, chance=chance, **how)
    else:  # no session has all tasks
        by_task[AVERAGE] = {"unit": "subject", "units": 0, "systems": [], "differences": [], "verdict": None}
    return by_task


def with_own_intervals(table: dict[str, Any], entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the table; where one session is all there is, with the intervals over its blocks of time."""
    if table["units"] > 1 or len(entries) > 1:
        return table
    own = entries[0]
    intervals = {system["name"]: system["interval"] for system in own["systems"]}
    return table | {
        "unit": own["unit"],
        "units": own["units"],
        "systems": [system | {"interval": intervals[system["name"]]} for system in table["systems"]],
        "differences": own["differences"],
        "verdict": own["verdict"],
    }


def sentence(table: Mapping[str, Any], split: str) -> str:
    """Return the sentence that the page opens with."""
    how = "random split, whose windows overlap" if split == "paper" else "blocked split"
    if table["verdict"]:
        return (
            f"Over {table['units']} subjects and all tasks, {how}: {table['verdict'][0].lower()}{table['verdict'][1:]}"
        )
    if not table["systems"]:
        return "No session has all tasks, so that there is no average over them; see the tasks one by one."
    model = next(system for system in table["systems"] if system["role"] == "model")
    return (
        f"One subject was decoded ({how}; AUROC {model['score']:.3f} over all tasks), which says nothing about others: "
        "differences have no interval over people."
    )


def published_row(row: Mapping[str, Any], tables: Mapping[str, Any]) -> dict[str, Any]:
    """Return a published figure with ours: of each split the systems that it can be compared with, the best linear."""
    ours = {}
    for split, table in tables.items():
        # The published averages are over all four tasks, and say nothing of a few.
        comparable = row["task"] in table and (row["task"] != AVERAGE or set(PAPER_TASKS) <= set(table))
        of_task = {system["name"]: system for system in table[row["task"]]["systems"]} if comparable else {}
        have = [of_task[name] for name in row["systems"] if name in of_task]
        if tuple(row["systems"]) == LINEAR:
            have = sorted(have, key=lambda system: system["score"])[-1:]
        ours[split] = [{key: system[key] for key in ("label", "score", "interval")} for system in have]
    return {**row, "ours": ours}


def comparisons(
    args: argparse.Namespace, sessions: Sessions, mains: list[dict[str, Any]], models: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return what each change to the main model costs or gains, by task and over all tasks."""
    rows = []
    subjects = {entry["session"]: entry["subject"] for entry in (*mains, *models)}
    if mains and any(system["name"] == "untrained" for system in mains[0]["systems"]):
        scores = {
            entry["session"] + "/" + entry["task"]: {
                system["name"]: number_of(system["score"]) for system in entry["systems"]
            }
            for entry in mains
        }
        rows.append(
            comparison(args, scores, subjects, ("untrained", "pretrained"), "frozen", "Untrained", "Pretrained")
        )
    pairs = dict.fromkeys(pair for session in sessions.decoding for pair in pairs_of(args, session[0]))
    for pair in pairs:
        for how in ("frozen", *(("fine-tuned",) if args.fine_tune_ablations else ())):
            scores = {
                entry["session"] + "/" + entry["task"]: {
                    name: number_of(entry["model_scores"][f"{name}, {how}"]["score"])
                    for name in pair
                    if f"{name}, {how}" in entry["model_scores"]
                }
                for entry in models
            }
            scores = {place: both for place, both in scores.items() if len(both) == 2}
            if scores:
                labels = (variant(name).label for name in pair)
                rows.append(comparison(args, scores, subjects, pair, how, *labels))
    return rows


def comparison(
    args: argparse.Namespace,
    scores: Mapping[str, Mapping[str, float]],
    subjects: Mapping[str, str],
    pair: tuple[str, str],
    how: str,
    changed: str,
    base: str,
) -> dict[str, Any]:
    """Return the scores of both, and changed minus base, by task. scores: session/task → system → score."""
    by_task = {}
    tasks = [task for task in args.tasks if any(place.endswith("/" + task) for place in scores)]
    for task in (*tasks, AVERAGE):
        of_pair: dict[str, dict[str, float]] = {name: {} for name in pair}
        for session in dict.fromkeys(place.partition("/")[0] for place in scores):
            places = [f"{session}/{each}" for each in (tasks if task == AVERAGE else [task])]
            if all(place in scores for place in places):
                for name in pair:
                    of_pair[name][session] = float(np.mean([scores[place][name] for place in places]))
        if of_pair[pair[0]]:
            table = across_subjects(of_pair, subjects, model=pair[0])
            means = {system["name"]: system["score"] for system in table["systems"]}
            by_task[task] = {"changed": means[pair[0]], "base": means[pair[1]], "subjects": table["units"]}
            by_task[task] |= {key: table["differences"][0][key] for key in ("difference", "interval")}
    return {
        "changed": pair[0],
        "base": pair[1],
        "changed_label": changed,
        "base_label": base,
        "how": how,
        "tasks": by_task,
    }


def few_shot_curves(entries: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the mean curve of each system over sessions and tasks, with the lowest and highest of them.

    Those with too few windows for two sizes have no curve.
    """
    entries = [entry for entry in entries if len(entry["sizes"]) > 1]
    sizes = sorted(set.intersection(*(set(entry["sizes"]) for entry in entries))) if entries else []
    if len(sizes) < 2:
        return None
    systems = {}
    for name in entries[0]["curves"]:
        curves = np.array(
            [[number_of(entry["curves"][name][entry["sizes"].index(size)]) for size in sizes] for entry in entries]
        )
        systems[name] = {"mean": curves.mean(0).tolist(), "low": curves.min(0).tolist(), "high": curves.max(0).tolist()}
    return {"sizes": sizes, "systems": systems}


def contact_rows(entries: list[dict[str, Any]], *, model: str) -> list[dict[str, Any]]:
    """Return one row a session and contact: of each task the model's score, its q, and the best control."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in entries:
        systems = {
            system["name"]: {each["contact"]: each for each in system["contacts"]} for system in entry["systems"]
        }
        for contact, own in systems[model].items():
            row = rows.setdefault(
                (entry["session"], contact), {"session": entry["session"], "contact": contact, "tasks": {}}
            )
            others = [
                number_of(of[contact]["score"]) for name, of in systems.items() if name != model and contact in of
            ]
            best = max((score for score in others if math.isfinite(score)), default=None)
            row["tasks"][entry["task"]] = {"score": own["score"], "q": own["q"], "best_control": best}
    return list(rows.values())


def model_row(args: argparse.Namespace, name: str) -> dict[str, Any]:
    file = Path(model_folder(args, name)) / "training_record.json"
    trained = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
    return {
        "name": name,
        "label": variant(name).label,
        "steps": trained and trained["steps"],
        "minutes": trained and trained["minutes"],
        "clips": trained and trained["clips"]["train"],
        "masked_error": trained and trained["best"]["model l1"],
    }


def number_of(value: float | None) -> float:
    return math.nan if value is None else float(value)
