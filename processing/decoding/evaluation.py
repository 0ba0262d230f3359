"""What out-of-fold scores say: each system with its interval and chance, and the encoder against each control.

A system is nothing but its scores (contacts, windows, outputs), a list of them where it was trained from several seeds:
what it is worth is then the mean over seeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bootstrap import ENOUGH_UNITS, Judged, Scores, interval, judge
from .chance import chance_interval, false_discovery, null_method, null_scores, p_value
from .curves import confusion, roc_curve
from .epochs import Epochs
from .metrics import mean_defined, r_squared
from .splits import Split

# In the order in which they are reported.
LABELS = {
    "pretrained": "BrainBERT, pretrained",
    "untrained": "BrainBERT, untrained",
    "fine-tuned": "BrainBERT, fine-tuned",
    "fine-tuned-untrained": "BrainBERT, trained from scratch",
    "spectrogram": "Linear, spectrogram",
    "spectrogram-time": "Linear, spectrogram in time",
    "band-power": "Linear, band power",
    "waveform": "Linear, waveform",
    "waveform-network": "Network, waveform",
    "constant": "Constant: the training labels alone",
}
# In the sentence that a report opens with.
SAID = {
    "pretrained": "the frozen encoder",
    "untrained": "its untrained twin",
    "fine-tuned-untrained": "the same model trained from scratch",
    "spectrogram": "the linear spectrogram",
    "spectrogram-time": "the linear spectrogram in time",
    "band-power": "linear band power",
    "waveform": "the linear waveform",
    "waveform-network": "the network on the waveform",
    "constant": "a constant that knows the training labels alone",
}
FALSE_DISCOVERY = 0.05
MOST_POINTS = 500


def evaluate(
    systems: Mapping[str, Scores],
    epochs: Epochs,
    split: Split,
    *,
    contacts: Sequence[str],
    model: str = "pretrained",
    draws: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the parts of a result that follow from scores: systems, differences, verdict, curves, warnings.

    systems: name (of LABELS) → scores of each of its seeds. epochs: those of the scores (pooled where they are).
    model: the system that the others are controls of. draws: of bootstrap and chance each.
    A system's score is its mean over contacts; its interval is of a bootstrap over the units of the split, the same
    units for all systems, and chance is of labels that were moved (`null_scores`). Contacts are corrected for how many
    they are, within a system (Benjamini and Hochberg).
    """
    judged = {name: judge(systems[name], epochs, split, draws=draws, seed=seed) for name in LABELS if name in systems}
    own = judged[model]
    unscored = [name for name, each in judged.items() if not np.isfinite(own.observed + each.observed).any()]
    if model in unscored:
        raise ValueError("No window that was tested has a score: too little signal is left, or too few labels.")
    judged = {name: each for name, each in judged.items() if name not in unscored}
    differences = [
        {"control": name, "label": LABELS[name], **asdict(own.minus(other))}
        for name, other in judged.items()
        if name != model
    ]
    null = {
        name: mean_defined([null_scores(epochs, split, values, draws=draws, seed=seed) for values in systems[name]])
        for name in judged
    }
    regression = epochs.classes is None
    entries = []
    for name, each in judged.items():
        entry = _entry(each, null[name], name=name, contacts=contacts, model=model, least=-1.0 if regression else 0.0)
        if regression:
            r2 = mean_defined([mean_defined(list(r_squared(epochs, split, values))) for values in systems[name]])
            entry["r2"] = float(r2)
        entries.append(entry)
    first = {name: values[0] for name, values in systems.items() if name in judged}
    return {
        "systems": entries,
        "differences": differences,
        "verdict": verdict(entries, differences, model=model, metric="Pearson r" if regression else "AUROC"),
        "null": {"method": null_method(epochs, split), "draws": draws},
        "bootstrap": {"draws": draws, "unit": split.unit_name, "units": own.units},
        "false_discovery": FALSE_DISCOVERY,
        "roc": None if regression or len(epochs.classes or ()) > 2 else {
            name: _roc(epochs, split, values) for name, values in first.items()
        },
        "confusion": None if regression else {
            "classes": epochs.classes, "counts": confusion(epochs, first[model]).tolist()
        },
        "scatter": _scatter(epochs, first[model]) if regression else None,
        "warnings": [
            *split_warnings(split, own.units),
            *_null_warnings(null[model]),
            *(f"{LABELS[name]} has no score: no fold could be fitted with it." for name in unscored),
        ],
    }  # fmt: skip


def verdict(
    systems: Sequence[Mapping[str, Any]],
    differences: Sequence[Mapping[str, Any]],
    *,
    model: str,
    metric: str,
    higher_is_better: bool = True,
) -> str:
    """Return one sentence: whether the model beat all of its controls, and which it did not.

    differences: above zero where the model is better, whatever the metric.
    """
    own = next(entry for entry in systems if entry["name"] == model)
    which = "encoder trained from scratch" if model == "fine-tuned-untrained" else f"{model} encoder"
    name = f"The {which} ({metric} {own['score']:.3f})"
    if not differences:
        return f"{name} was compared with no control, so this number says nothing about pretraining."
    beaten = [entry for entry in differences if entry["interval"][0] > 0]
    worse = [entry for entry in differences if entry["interval"][1] < 0]
    even = [entry for entry in differences if entry not in beaten and entry not in worse]
    if len(beaten) == len(differences):
        low, high = (least := min(beaten, key=lambda entry: entry["difference"]))["interval"]
        by = f"{least['difference']:+.3f} ({low:+.3f} to {high:+.3f})"
        if len(beaten) == 1:
            return f"{name} beat its only control, {SAID[least['control']]}, by {by}: the 95 % interval is above zero."
        return (
            f"{name} beat all {len(beaten)} of its controls: every paired difference has a 95 % interval above zero, "
            f"the smallest is {by}, over {SAID[least['control']]}."
        )
    parts = []
    if worse:
        parts.append(f"it is {'below' if higher_is_better else 'worse than'} {_listed(worse)}")
    if even:
        parts.append(f"it cannot be told from {_listed(even)}")
    if beaten:
        parts.append(f"it is {'above' if higher_is_better else 'better than'} {_listed(beaten)}")
    of = "all of its controls" if len(differences) > 1 else "its only control"
    return f"{name} did not beat {of}: {'; '.join(parts)}."


def _listed(entries: Sequence[Mapping[str, Any]]) -> str:
    names = [SAID[entry["control"]] for entry in entries]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _entry(
    each: Judged, null: NDArray[np.float64], *, name: str, contacts: Sequence[str], model: str, least: float
) -> dict[str, Any]:
    """Return what is reported of a system; least: that a score can be, which bounds what is said of chance."""
    of_mean = mean_defined(list(null.T))
    p = p_value(each.observed, null)
    q = false_discovery(p)
    intervals, chances = interval(each.sampled, each.units), chance_interval(null).clip(least, 1.0)
    return {
        "name": name,
        "label": LABELS[name],
        "role": "model" if name == model else "control",
        "score": each.score,
        "interval": each.interval,
        "chance": chance_interval(of_mean).clip(least, 1.0).tolist(),
        "p": float(p_value(np.asarray(each.score), of_mean)),
        "seeds": each.seeds if len(each.seeds) > 1 else None,
        "contacts": [
            {
                "contact": contact,
                "score": float(each.observed[row]),
                "interval": intervals[:, row].tolist(),
                "chance": chances[:, row].tolist(),
                "p": float(p[row]),
                "q": float(q[row]),
            }
            for row, contact in enumerate(contacts)
        ],
    }


def _roc(epochs: Epochs, split: Split, scores: NDArray[np.float64]) -> dict[str, list[float]]:
    false_positive, true_positive = roc_curve(epochs, split, scores)
    return {"false_positive": false_positive.tolist(), "true_positive": true_positive.tolist()}


def _scatter(epochs: Epochs, scores: NDArray[np.float64]) -> dict[str, Any]:
    """Return targets and predictions of windows of all contacts, at most MOST_POINTS of them, evenly spaced."""
    contact, window = np.nonzero(np.isfinite(scores[:, :, 0]))
    some = np.unique(np.linspace(0, len(window) - 1, min(MOST_POINTS, len(window))).astype(int))
    contact, window = contact[some], window[some]
    return {"target": epochs.target[window].tolist(), "prediction": scores[contact, window, 0].tolist()}


def _null_warnings(null: NDArray[np.float64]) -> list[str]:
    """Return a warning where labels can be moved in so few ways that p cannot become small."""
    contacts, ways = null.shape[1], len(np.unique(mean_defined(list(null.T)).round(12)))
    if contacts / ways <= FALSE_DISCOVERY:
        return []
    alone = f", and a single one of {contacts} contacts cannot pass false-discovery control" if contacts > 1 else ""
    return [f"Labels can be moved in {ways} different ways only: no p falls below about {1 / ways:.2g}{alone}."]


def left_out_warnings(known: Sequence[str], used: Sequence[str], *, untrained_seeds: int) -> list[str]:
    """Return what a reader has to be told of controls that were not asked for, of those that are known."""
    missing = [name for name in known if name not in used] + ([] if untrained_seeds else ["untrained"])
    return [f"Left out on request: {', '.join(LABELS[name] for name in missing)}."] if missing else []


def split_warnings(split: Split, units: int) -> list[str]:
    """Return what a reader of any score of this split has to be told."""
    found = []
    if split.overlapping:
        found.append(
            f"{split.overlapping} test windows share samples with training windows, which the split {split.name!r} "
            "allows: these scores are too high, and are for comparison with work that used the same split."
        )
    if units < ENOUGH_UNITS:
        found.append(
            f"There are only {units} independent units ({split.unit_name}): intervals from so few cannot be relied on."
        )
    return found
