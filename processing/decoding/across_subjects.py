"""From scores of several recordings to what they say of people: subjects are the independent unit.

A subject's score is the mean over their recordings, and the score of a system the mean over subjects. Subjects are few:
a bootstrap over two or seven of them cannot reach beyond the best and the worst, so intervals are Student's.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from .evaluation import LABELS, SAID, verdict


def across_subjects(
    scores: Mapping[str, Mapping[str, float]],
    subjects: Mapping[str, str],
    *,
    model: str,
    labels: Mapping[str, str] = LABELS,
    chance: Mapping[str, Mapping[str, tuple[float, float]]] | None = None,
    metric: str = "AUROC",
    limits: tuple[float, float] = (0.0, 1.0),
    higher_is_better: bool = True,
) -> dict[str, Any]:
    """Return each system with its 95 % interval over subjects, and how far the model is above each other one.

    scores: system → recording → score (AUROC, mean over contacts), NaN or nothing where there is none. subjects:
        recording → subject. labels: system → how it is called.
    metric: what the scores are called. limits: between which they lie, as then intervals do.
    chance: system → recording → interval of chance. Recordings are independent, so that the mean of n of them has half
        their width over the root of n.
    Differences are of the subjects that both systems have, paired, above zero where the model is better, with the
    two-sided p of no difference. One subject says nothing of others: intervals are None then. "verdict" is that of
    `evaluate`, None where an interval is missing or a system is none of those.
    Raises ValueError for a model without scores.
    """
    people = sorted({subjects[recording] for of_system in scores.values() for recording in of_system})
    found = {name: _of_people(of_system, subjects, people) for name, of_system in scores.items()}
    found = {name: values for name, values in found.items() if np.isfinite(values).any()}
    if model not in found:
        raise ValueError(f"There is no score of {model}: there are {', '.join(found) or 'none'}.")
    order = sorted(found, key=[*labels, *found].index)
    systems: list[dict[str, Any]] = []
    differences: list[dict[str, Any]] = []
    for name in order:
        label = labels.get(name, name)
        score, interval, _ = _mean(found[name])
        systems.append(
            {
                "name": name,
                "label": label,
                "role": "model" if name == model else "control",
                "score": score,
                "interval": interval and np.clip(interval, *limits).tolist(),
                "chance": _chance((chance or {}).get(name, {})),
                "subjects": dict(zip(people, found[name].tolist(), strict=True)),
            }
        )
        above = (found[model] - found[name]) * (1 if higher_is_better else -1)
        if name != model and np.isfinite(above).any():
            difference, interval, p = _mean(above)
            differences.append(
                {"control": name, "label": label, "difference": difference, "interval": interval, "p": p}
            )
    said = bool(differences) and all(entry["control"] in SAID and entry["interval"] for entry in differences)
    return {
        "unit": "subject",
        "units": len(people),
        "systems": systems,
        "differences": differences,
        "verdict": verdict(systems, differences, model=model, metric=metric, higher_is_better=higher_is_better)
        if said
        else None,
    }


def _of_people(of_system: Mapping[str, float], subjects: Mapping[str, str], people: list[str]) -> NDArray[np.float64]:
    """Return (people,), the mean over the recordings of each, NaN where there is none."""
    found = np.full(len(people), np.nan)
    for place, person in enumerate(people):
        values = np.array([score for recording, score in of_system.items() if subjects[recording] == person], float)
        if np.isfinite(values).any():
            found[place] = np.nanmean(values)
    return found


def _mean(of_people: NDArray[np.float64]) -> tuple[float, list[float] | None, float | None]:
    """Return the mean of those that have a number, its 95 % interval, and the p of a mean of 0."""
    values = of_people[np.isfinite(of_people)]
    mean, freedom = float(values.mean()), len(values) - 1
    if freedom < 1:
        return mean, None, None
    error = float(values.std(ddof=1) / np.sqrt(len(values)))
    reach = float(student.ppf(0.975, freedom)) * error
    p = float(2 * student.sf(abs(mean) / error, freedom)) if error > 0 else float(mean == 0)
    return mean, [mean - reach, mean + reach], p


def _chance(of_recordings: Mapping[str, tuple[float, float]]) -> list[float] | None:
    if not of_recordings:
        return None
    ends = np.array(list(of_recordings.values()), dtype=float)
    middle, half = ends.mean(axis=1), np.diff(ends, axis=1)[:, 0] / 2
    reach = np.sqrt((half**2).sum()) / len(half)
    return [float(middle.mean() - reach), float(middle.mean() + reach)]
