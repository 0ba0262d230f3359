"""What is compared: the encoder, its untrained twins, and what needs no encoder, all on the same windows.

Features are (contacts, windows, features), or one such array for each fold: under normalization="recording" with the
statistics of training windows, the encoder's input differs from fold to fold.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .controls import band_power_features, spectrogram_features, waveform_features
from .encoder_features import embedding_features, untrained_twin
from .epochs import Epochs
from .fold_statistics import ElectrodeStatistics, training_statistics, whole_recording_statistics, window_moments
from .out_of_fold import Features
from .probes import Probe, logistic, network, ridge
from .signals import AnyRecording, Contacts, pool_epochs
from .splits import Split

SEGMENTS = 10  # of a window, in "spectrogram-time"
CONTROLS = ("spectrogram", "spectrogram-time", "band-power", "waveform", "waveform-network")


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """What is to be decoded: labelled windows of recordings, the contacts, and how windows are split.

    windows: as they were cut, not pooled. contacts: of `contacts_of`. split: of `epochs`.
    problems: (contacts, windows), of `find_problems`; windows that have one are left out.
    cache: folder in which features are kept.
    """

    recordings: Sequence[AnyRecording]
    windows: Epochs
    contacts: Contacts
    split: Split
    problems: NDArray[np.str_]
    cache: Path | None = None
    progress: bool = True

    @property
    def epochs(self) -> Epochs:
        """The windows that features and scores have: where contacts are pooled, each stands once for every contact."""
        return pool_epochs(self.windows, self.contacts)

    @property
    def which(self) -> tuple[Sequence[AnyRecording], Epochs, Contacts]:
        """The first arguments of functions that compute features."""
        return self.recordings, self.windows, self.contacts

    @property
    def kept(self) -> dict[str, Any]:
        """And their last ones."""
        return {"problems": self.problems, "cache": self.cache, "progress": self.progress}

    @property
    def probe(self) -> Probe:
        """The linear probe that suits the targets."""
        return ridge if self.windows.classes is None else logistic


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoder:
    """A model, its front end, and how an embedding is taken from them.

    layer: 0 is what enters the first layer, n what leaves the n-th.
    statistics: for normalization="recording", of the training windows of each fold, or of the whole recording.
    """

    model: Any
    extractor: Any
    pooling: Literal["center", "mean"]
    layer: int
    statistics: Literal["training windows", "whole recording"] = "training windows"

    def untrained(self, seed: int) -> "Encoder":
        """Return the same with fresh weights."""
        return replace(self, model=untrained_twin(self.model, seed))


def embeddings(task: Task, encoder: Encoder, *, layers: Sequence[int]) -> list[Features]:
    """Return the embeddings of each of these layers."""
    model, extractor = encoder.model, encoder.extractor
    found = [
        embedding_features(
            *task.which, model, extractor, pooling=encoder.pooling, layers=layers, statistics=each, **task.kept
        )
        for each in input_statistics(task, encoder)
    ]
    return list(found[0]) if len(found) == 1 else [list(of_layer) for of_layer in zip(*found, strict=True)]


def input_statistics(task: Task, encoder: Encoder) -> list[ElectrodeStatistics | None]:
    """Return what normalises the encoder's input: one entry that all folds share, or one for each.

    Raises ValueError for recordings that are too short for their own statistics.
    """
    extractor = encoder.extractor
    if extractor.normalization != "recording":
        return [None]
    if encoder.statistics == "whole recording":
        return [whole_recording_statistics(*task.which, extractor, cache=task.cache, progress=task.progress)]
    moments = window_moments(*task.which, extractor, **task.kept)
    return [training_statistics(*task.which, extractor, moments=moments, train=fold.train) for fold in task.split.folds]


def control_features(task: Task, extractor: Any, name: str) -> tuple[Features, Probe]:
    """Return the features of a system without encoder, and its probe.

    "spectrogram": log magnitude of the encoder's own transform, mean over the window; "spectrogram-time": over each
    tenth of it; "band-power": log power in the classical bands; "waveform": the voltage at 500 Hz; "waveform-network":
    the same for the paper's network.
    """
    which, kept = task.which, task.kept
    if name == "spectrogram":
        return spectrogram_features(*which, extractor, **kept), task.probe
    if name == "spectrogram-time":
        return spectrogram_features(*which, extractor, segments=SEGMENTS, **kept), task.probe
    if name == "band-power":
        return band_power_features(*which, **kept), task.probe
    if name == "waveform":
        return waveform_features(*which, **kept), task.probe
    if name == "waveform-network":
        return waveform_features(*which, **kept), network
    raise ValueError(f"There is no control {name!r}: choose from {', '.join(CONTROLS)}.")
