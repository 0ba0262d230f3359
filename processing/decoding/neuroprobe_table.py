"""Results of several systems on Neuroprobe as one table, beside the published ones, and what tells systems apart."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .across_subjects import across_subjects
from .neuroprobe_windows import SPLITS

Result = Mapping[str, Any]  # of Evaluation.result

# AUROC on Neuroprobe Lite, mean over folds, sessions and tasks: within-session, cross-session, cross-subject.
# Source: the leaderboard of neuroprobe.dev.
PUBLISHED = (
    ("MAPA (ViT-MAE, session-level statistics, region embeddings)", 0.695, 0.691, 0.608),
    ("PopT, recording-level z", 0.670, 0.663, 0.575),
    ("Linear, Laplacian spectrogram", 0.660, 0.648, 0.539),
    ("BrainBERT, Laplacian, recording-level z (--entry later)", 0.626, 0.633, 0.547),
    ("BrainBERT, per-window z (--entry first)", 0.586, 0.581, 0.522),
    ("BrainBERT, untrained (--entry first)", 0.585, 0.574, 0.527),
)


def score_of(result: Result) -> float:
    """Return the test AUROC of a result, mean over its folds."""
    return float(np.mean([fold["test_roc_auc"] for fold in result["folds"]]))


def summarise(systems: Mapping[str, Iterable[Result]], *, encoders: Sequence[str]) -> dict[str, Any]:
    """Return the table of these results: JSON-able.

    systems: row → its results. encoders: the rows whose lead over every other row is judged.
    "rows": for each system and split "auroc" (mean over folds, sessions and tasks), "sessions", "tasks" and
        "by_task". "differences": for each encoder, other row and split how far it is above, over the tasks and sessions
        that both have, as `across_subjects` says it: the mean over subjects, its 95 % interval and p, None for one
        subject; "sessions": of each. "published": the leaderboard.
    """
    found = {name: list(results) for name, results in systems.items()}
    return {
        "rows": [
            {"name": name, "splits": {split: _summary(results, split) for split in SPLITS if _of(results, split)}}
            for name, results in found.items()
        ],
        "differences": [
            {"system": name, "other": other, "split": split, **difference}
            for name in encoders
            for other in found
            for split in SPLITS
            if other != name and (difference := _difference(found[name], found[other], split))
        ],
        "published": [dict(zip(("name", *SPLITS), row, strict=True)) for row in PUBLISHED],
    }


def verdicts(table: Mapping[str, Any]) -> list[str]:
    """Return one sentence for each encoder and other system: in which splits it is above it, and in which not shown."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for each in table["differences"]:
        low, high = each["interval"] or (None, None)
        where = f"{each['split']} {each['difference']:+.3f}" + (
            f" ({low:+.3f} to {high:+.3f})" if low is not None else " (one subject: no interval)"
        )
        judged = "above" if low is not None and low > 0 else "below" if high is not None and high < 0 else "not shown"
        found[each["system"], each["other"]].append(f"{where}: {judged}")
    return [f"{system} minus {other}: {'; '.join(where)}." for (system, other), where in found.items()]


def as_text(table: Mapping[str, Any]) -> list[str]:
    """Return the rows as lines of text: ours, then the published ones."""
    lines: list[tuple[str, ...]] = [("AUROC", *SPLITS)]
    for row in table["rows"]:
        of = [row["splits"].get(split) for split in SPLITS]
        lines.append((row["name"], *("" if each is None else f"{each['auroc']:.3f}" for each in of)))
    lines += [(f"published: {row['name']}", *(f"{row[split]:.3f}" for split in SPLITS)) for row in table["published"]]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _of(results: Sequence[Result], split: str) -> list[Result]:
    return [result for result in results if result["split"] == split]


def _summary(results: Sequence[Result], split: str) -> dict[str, Any]:
    by_task: dict[str, list[float]] = defaultdict(list)
    for result in _of(results, split):
        by_task[result["task"]].append(score_of(result))
    return {
        "auroc": float(np.mean([np.mean(scores) for scores in by_task.values()])),
        "tasks": len(by_task),
        "sessions": len({result["session"] for result in _of(results, split)}),
        "by_task": {task: float(np.mean(scores)) for task, scores in by_task.items()},
        "without_signal": sum({result["session"]: result["without_signal"] for result in _of(results, split)}.values()),
        "contacts": {result["session"]: result["contacts"]["test"] for result in _of(results, split)},
    }


def _difference(first: Sequence[Result], second: Sequence[Result], split: str) -> dict[str, Any] | None:
    scores = [{(each["session"], each["task"]): score_of(each) for each in _of(of, split)} for of in (first, second)]
    both = set(scores[0]) & set(scores[1])
    if not both:
        return None
    sessions = sorted({session for session, _ in both})
    ours, others = (
        {session: float(np.mean([of[key] for key in sorted(both) if key[0] == session])) for session in sessions}
        for of in scores
    )
    people = {session: session.partition("_")[0] for session in sessions}
    found = across_subjects({"ours": ours, "others": others}, people, model="ours", labels={})
    (difference,) = found["differences"]
    return {
        **{name: difference[name] for name in ("difference", "interval", "p")},
        "sessions": {session: ours[session] - others[session] for session in sessions},
        "subjects": found["units"],
    }
