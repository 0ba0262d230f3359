"""Mean and deviation of each electrode over the training windows of a fold: for normalization="recording".

The moments of every window are computed once; the statistics of a fold are then a matter of adding up. What a fold
costs is its embeddings, which depend on its statistics.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..recordings.clips import REASONS
from .epochs import Epochs
from .features import compute_features, problems_of
from .hashes import sha256 as hash_of
from .signals import AnyRecording, Contacts, Signals
from .units import apart


@dataclass(frozen=True, kw_only=True, eq=False)
class ElectrodeStatistics:
    """What the extractor takes as `statistics=`, for every electrode: a (recording, contact), recording by recording.

    mean, std: (electrodes, bins), NaN for an electrode without any usable window. seconds: (electrodes,) of signal.
    source: "training windows" or "whole recording". without_training: recordings that have no training window at all,
        as when whole recordings are held out: their statistics are of all their own windows, labels unseen.
    """

    fingerprint: str
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    seconds: NDArray[np.float64]
    source: str
    without_training: tuple[str, ...] = ()

    def of(self, electrodes: NDArray[np.int64]) -> dict[str, Any]:
        """Return what the extractor takes for rows of these electrodes."""
        return {"fingerprint": self.fingerprint, "mean": self.mean[electrodes], "std": self.std[electrodes]}

    @property
    def known(self) -> NDArray[np.int64]:
        """Electrodes that have statistics."""
        return np.flatnonzero(np.isfinite(self.mean).all(1))

    @property
    def sha256(self) -> str:
        """Hash of all values."""
        return hash_of([self.fingerprint, self.mean.tolist(), self.std.tolist()])


def window_moments(
    recordings: Sequence[AnyRecording],
    epochs: Epochs,
    contacts: Contacts,
    extractor: Any,
    *,
    problems: NDArray[np.str_] | None = None,
    cache: Path | str | None = None,
    progress: bool = True,
) -> NDArray[np.float32]:
    """Return (2, contacts, windows, bins): mean and variance over the frames of each window's scaled magnitude.

    The arguments are those of `embedding_features`. NaN where a contact has no usable signal.
    """
    return _moments(Signals(recordings, epochs, contacts), extractor, problems, cache, progress)


def training_statistics(
    recordings: Sequence[AnyRecording],
    epochs: Epochs,
    contacts: Contacts,
    extractor: Any,
    *,
    moments: NDArray[np.float32],
    train: NDArray[np.int64],
) -> ElectrodeStatistics:
    """Return the statistics of the training windows of one fold.

    moments: of `window_moments`, for the same windows and contacts. train: windows of the fold; rows of pooled ones.
    Of training windows that overlap only the first is used, so that no sample counts twice. A recording without any
    training window (other recordings are trained on) has the statistics of all its own windows, without their labels:
    there are no others; `without_training` names it.
    Raises ValueError for an electrode with less good signal than statistics need (60 s).
    """
    signals = Signals(recordings, epochs, contacts)
    chosen = np.zeros(signals.shape, dtype=bool)
    chosen[:, train] = True
    chosen = signals.by_row(chosen)
    recording = epochs.recording[signals.window]
    trained = np.unique(recording[chosen])
    others = np.setdiff1d(np.unique(recording), trained)
    chosen |= np.isin(recording, others)
    return _statistics(
        signals,
        extractor,
        moments,
        chosen,
        source="training windows",
        without_training=tuple(epochs.recordings[index] for index in others),
        remedy='use statistics="whole recording", or a model with another normalization',
    )


def whole_recording_statistics(
    recordings: Sequence[AnyRecording],
    epochs: Epochs,
    contacts: Contacts,
    extractor: Any,
    *,
    leave_out: Sequence[str] = REASONS,
    cache: Path | str | None = None,
    progress: bool = True,
) -> ElectrodeStatistics:
    """Return the statistics of all good signal of each recording: windows side by side from its beginning to its end.

    epochs: windows whose length and recordings are meant. leave_out: problems of `find_problems` that a window must not
        have; "not finite" and "flat" always belong to them. Raises ValueError as `training_statistics` does.
    """
    signals = Signals(recordings, _side_by_side(recordings, epochs), contacts)
    problems = problems_of(signals, cache=cache, progress=progress)
    problems[~np.isin(problems, leave_out)] = ""
    moments = _moments(signals, extractor, problems, cache, progress)
    return _statistics(
        signals,
        extractor,
        moments,
        np.ones(len(signals.window), dtype=bool),
        source="whole recording",
        without_training=(),
        remedy="use a longer recording, or a model with another normalization",
    )


def _side_by_side(recordings: Sequence[AnyRecording], epochs: Epochs) -> Epochs:
    """Return windows of the same length that fill the recordings; their labels mean nothing."""
    samples = {recording.id: recording.num_samples for recording in recordings}
    starts = [np.arange(samples[name] // epochs.length) * epochs.length for name in epochs.recordings]
    recording = np.repeat(np.arange(len(starts)), [len(each) for each in starts])
    nothing = np.zeros_like(recording)
    start = np.concatenate(starts)
    return replace(epochs, recording=recording, subject=nothing, start=start, target=nothing, group=None)


def _moments(
    signals: Signals, extractor: Any, problems: NDArray[np.str_] | None, cache: Path | str | None, progress: bool
) -> NDArray[np.float32]:
    @torch.inference_mode()
    def make(voltage: NDArray[np.float32], electrode: NDArray[np.int64]) -> NDArray[np.floating]:
        image = extractor.spectrogram(torch.from_numpy(voltage), sampling_rate=signals.epochs.sampling_rate)
        mean = image.mean(1, keepdim=True)
        return torch.cat([mean, (image - mean).square().mean(1, keepdim=True)], dim=1).numpy()

    return compute_features(
        signals,
        make,
        what="moments",
        shape=(2, extractor.feature_size),
        # An offset is removed before some transforms, and which depends on the normalisation.
        about={"front_end": extractor.fingerprint, "normalization": extractor.normalization},
        problems=problems,
        cache=cache,
        progress=progress,
    )


def _statistics(
    signals: Signals,
    extractor: Any,
    moments: NDArray[np.float32],
    chosen: NDArray[np.bool_],
    *,
    source: str,
    without_training: tuple[str, ...],
    remedy: str,
) -> ElectrodeStatistics:
    """Return the statistics of the chosen rows (rows,), by electrode."""
    if moments.shape != (2, *signals.shape, extractor.feature_size):
        raise ValueError(
            f"moments are {moments.shape} and {(2, *signals.shape, extractor.feature_size)} is needed: compute them "
            "with window_moments for the same windows, contacts and extractor."
        )
    means, variances = (signals.by_row(np.asarray(values)) for values in moments)
    usable = np.isfinite(means[:, 0])
    electrodes = int(signals.first_electrode[-1])
    mean, std = np.full((2, electrodes, extractor.feature_size), np.nan)
    seconds = np.zeros(electrodes)
    order = np.argsort(signals.electrode, kind="stable")
    for electrode, rows in enumerate(np.split(order, np.cumsum(np.bincount(signals.electrode, minlength=electrodes)))):
        if not usable[rows].any():
            continue
        rows = rows[usable[rows] & chosen[rows]]
        rows = rows[apart(signals.epochs.start[signals.window[rows]], signals.epochs.length)]
        seconds[electrode] = len(rows) * signals.epochs.length / signals.epochs.sampling_rate
        if seconds[electrode] < extractor.minimum_recording_s:
            place = int(np.searchsorted(signals.first_electrode, electrode, side="right")) - 1
            name = signals.contacts[place][electrode - signals.first_electrode[place]]
            raise ValueError(
                f"Contact {name} of recording {signals.recordings[place].id} has {seconds[electrode]:g} s of good "
                f"signal for statistics of its {source}, and they need {extractor.minimum_recording_s:g} s: {remedy}."
            )
        # All windows have as many frames, so that moments of the whole follow from those of windows.
        own = means[rows].astype(np.float64)
        mean[electrode] = own.mean(0)
        std[electrode] = np.sqrt(own.var(0) + variances[rows].mean(0, dtype=np.float64))
    return ElectrodeStatistics(
        fingerprint=extractor.fingerprint,
        mean=mean,
        std=std,
        seconds=seconds,
        source=source,
        without_training=without_training,
    )
