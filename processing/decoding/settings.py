"""Which normalisation, scale, pooling and layer: every setting of some encoders on one task.

Each setting is measured with the linear probe, beside the untrained twin of its encoder in the same setting, and beside
what needs no encoder. The largest of many scores is too large, even where all are worth the same: a setting that was
chosen here is reported on other recordings.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from .bootstrap import Judged, judge
from .description import describe
from .evaluation import LABELS, split_warnings
from .fold_statistics import window_moments
from .out_of_fold import Features, out_of_fold
from .probes import Probe
from .systems import Encoder, Task, control_features, embeddings, input_statistics

Pooling = Literal["center", "mean"]
POOLINGS: tuple[Pooling, ...] = ("center", "mean")
LINEAR = ("spectrogram", "spectrogram-time", "band-power")
OF_THE_TASK = "all windows of this task, labels unseen"


@dataclass(frozen=True, kw_only=True, eq=False)
class Input:
    """A model and how its input is normalised.

    model: its name. encoder: pooling and layer mean nothing here. as_trained: whether this is what it was pretrained
    with. statistics: what mean and deviation are of.
    """

    model: str
    encoder: Encoder
    as_trained: bool
    statistics: str


def inputs_of(
    task: Task, name: str, encoder: Encoder, *, normalizations: Sequence[str] = (), scales: Sequence[str] = ()
) -> list[Input]:
    """Return the input that an encoder was pretrained with, and every other one of these normalisations and scales.

    Without normalizations, or without scales, the encoder's own is kept. normalization="corpus" that the encoder was
    not pretrained with has the mean and deviation of each bin over all windows of the task, which needs no labels.
    Raises ValueError for a normalisation or scale that the extractor does not have.
    """
    own = encoder.extractor
    found = [Input(model=name, encoder=encoder, as_trained=True, statistics=_statistics(encoder))]
    pairs = product(normalizations or (own.normalization,), scales or (own.scale,))
    for normalization, scale in dict.fromkeys(pairs):
        if (normalization, scale) == (own.normalization, own.scale):
            continue
        # Statistics are of one scale: those of the training corpus do not fit another.
        changes = {"scale": scale, "normalization": "recording", "mean": None, "std": None}
        extractor = own.from_dict(own.to_dict() | changes)
        if normalization == "corpus":
            mean, std = _over_all_windows(task, extractor)
            changes |= {"mean": mean.tolist(), "std": std.tolist()}
        other = replace(encoder, extractor=own.from_dict(own.to_dict() | changes | {"normalization": normalization}))
        statistics = OF_THE_TASK if normalization == "corpus" else _statistics(other)
        found.append(Input(model=name, encoder=other, as_trained=False, statistics=statistics))
    return found


def compare_settings(
    task: Task,
    encoders: Mapping[str, Encoder],
    *,
    normalizations: Sequence[str] = (),
    scales: Sequence[str] = (),
    poolings: Sequence[Pooling] = POOLINGS,
    controls: Sequence[str] = LINEAR,
    untrained_seeds: int = 1,
    draws: int = 2000,
    seed: int = 0,
    jobs: int = 1,
) -> dict[str, Any]:
    """Return the score of every setting of some encoders: what `write_settings` takes, but for "title".

    encoders: name → encoder, whose pooling and layer are not used. normalizations, scales: inputs that they were not
        pretrained with, see `inputs_of`. controls: of systems.CONTROLS; each setting has its difference to the one with
        the largest score. untrained_seeds: untrained twins, whose mean score counts. draws: of the bootstrap.
    Features and scores are kept in task.cache: the settings of a second call that were in the first cost nothing.
    Raises ValueError for encoders with different front ends, and for recordings that are too short for their own
    statistics, before any embedding is computed.
    """
    _refuse(encoders, poolings=poolings, controls=controls, untrained_seeds=untrained_seeds)
    inputs = [
        each
        for name, encoder in encoders.items()
        for each in inputs_of(task, name, encoder, normalizations=normalizations, scales=scales)
    ]
    for each in inputs:
        input_statistics(task, each.encoder)  # costs little, and refuses recordings that are too short
    layers = [list(range(each.encoder.model.config.num_hidden_layers + 1)) for each in inputs]
    probes = len(controls) + sum(map(len, layers)) * len(poolings) * (1 + untrained_seeds)
    with tqdm(total=probes, desc="settings", unit=" probes", disable=not task.progress, file=sys.stderr) as bar:
        measure = partial(_measure, task, bar=bar, draws=draws, seed=seed, jobs=jobs)
        extractor = inputs[0].encoder.extractor
        without = {}
        for name in controls:
            features, probe = control_features(task, extractor, name)
            without[name] = measure([features], probe)
        entries = [{"name": name, "label": LABELS[name], **_entry(each)} for name, each in without.items()]
        best = max(entries, key=_score)
        rows: list[dict[str, Any]] = []
        for place, (each, of_input) in enumerate(zip(inputs, layers, strict=True)):
            for pooling in poolings:
                encoder = replace(each.encoder, pooling=pooling)
                twins = [encoder.untrained(seed + number) for number in range(untrained_seeds)]
                pretrained, *untrained = (embeddings(task, every, layers=of_input) for every in (encoder, *twins))
                for layer in of_input:
                    own = measure([pretrained[layer]], task.probe)
                    twin = measure([of_seed[layer] for of_seed in untrained], task.probe)
                    rows.append(
                        {
                            "input": place,
                            "pooling": pooling,
                            "layer": layer,
                            "pretrained": _entry(own),
                            "untrained": _entry(twin) | {"seeds": twin.seeds},
                            "difference": asdict(own.minus(twin)),
                            "over_control": asdict(own.minus(without[best["name"]])),
                        }
                    )
    units = next(iter(without.values())).units
    return _description(task, inputs, seed=seed, units=units) | {
        "rows": rows,
        "largest": {
            "score": max(range(len(rows)), key=lambda row: _score(rows[row]["pretrained"])),
            "difference": max(range(len(rows)), key=lambda row: _defined(rows[row]["difference"]["difference"])),
        },
        "controls": entries,
        "best_control": best["name"],
        "bootstrap": {"draws": draws, "unit": task.split.unit_name, "units": units},
        "untrained_seeds": untrained_seeds,
    }


def _measure(
    task: Task, of_seeds: Sequence[Features], probe: Probe, *, bar: tqdm, draws: int, seed: int, jobs: int
) -> Judged:
    epochs, split, scores = task.epochs, task.split, []
    for values in of_seeds:
        found = out_of_fold(values, epochs, split, probe, seed=seed, folder=task.cache, progress=False, jobs=jobs)
        scores.append(found)
        bar.update()
    return judge(scores, epochs, split, draws=draws, seed=seed)


def _entry(each: Judged) -> dict[str, Any]:
    return {"score": each.score, "interval": each.interval}


def _description(task: Task, inputs: Sequence[Input], *, seed: int, units: int) -> dict[str, Any]:
    """Return what was compared, with what: models and inputs apart, as each model has several."""
    described = [describe(task, each.encoder, warnings=[], seed=seed) for each in inputs]
    result = {key: value for key, value in described[0].items() if key not in ("model", "statistics", "positions")}
    keys = ("normalization", "scale", "front_end")
    result["warnings"] = split_warnings(task.split, units)
    result["inputs"] = [
        {"model": each.model, "as_trained": each.as_trained, "statistics": each.statistics}
        | {"warnings": about["warnings"], **{key: about["model"][key] for key in keys}}
        for each, about in zip(inputs, described, strict=True)
    ]
    result["models"] = {
        each.model: {key: about["model"][key] for key in ("sha256", "parameters", *keys)}
        for each, about in zip(inputs, described, strict=True)
        if each.as_trained
    }
    return result


def _refuse(
    encoders: Mapping[str, Encoder], *, poolings: Sequence[Pooling], controls: Sequence[str], untrained_seeds: int
) -> None:
    if not encoders or not poolings or not controls or untrained_seeds < 1:
        raise ValueError(
            f"There are {len(encoders)} encoders, {len(poolings)} poolings, {len(controls)} controls and "
            f"{untrained_seeds} untrained twins: give at least one of each."
        )
    # Their scale may differ: the controls have the logarithm whatever it is.
    front_ends = {
        name: each.extractor.fingerprint.replace(f"-{each.extractor.scale}-", "-") for name, each in encoders.items()
    }
    if len(set(front_ends.values())) > 1:
        raise ValueError(
            "The models have different front ends and would have different controls: compare those with the same "
            f"({', '.join(f'{name}: {front_end}' for name, front_end in front_ends.items())})."
        )


def _over_all_windows(task: Task, extractor: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and deviation (bins,) of the scaled magnitude over all frames of all windows and contacts."""
    moments = window_moments(*task.which, extractor, **task.kept)
    mean, variance = moments[:, np.isfinite(moments).all(axis=(0, 3))].astype(np.float64)
    # All windows have as many frames, so that moments of the whole follow from those of windows.
    std = np.sqrt(mean.var(0) + variance.mean(0))
    return mean.mean(0), np.where(std > 0, std, 1.0)  # the extractor divides a constant bin by 1 as well


def _statistics(encoder: Encoder) -> str:
    own = {"clip": "each window", "corpus": "the training corpus", "recording": f"the contact's {encoder.statistics}"}
    return own[encoder.extractor.normalization]


def _score(entry: Mapping[str, Any]) -> float:
    return _defined(entry["score"])


def _defined(value: float) -> float:
    """Return a number by which what is not defined comes last."""
    return value if np.isfinite(value) else -np.inf
