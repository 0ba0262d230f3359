"""What Neuroprobe's entries are made of: every frame of the encoder in a second, and the linear decoder's spectrogram.

Features are (contacts, windows, features), float32, NaN where a contact has no signal; features of frames are in the
order (frame, feature). Every window is used: what is flat or not finite is all that has no features.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from .encoder_features import front_end
from .epochs import Epochs
from .features import compute_features
from .fold_statistics import ElectrodeStatistics
from .hashes import sha256, weights_sha256
from .signals import AnyRecording, Signals

# Of the leaderboard's linear decoder: 250 ms every 62.5 ms, bins of 4 Hz.
WINDOW, HOP, HIGHEST_HZ = 512, 128, 150.0


def session_epochs(recording: AnyRecording, start: NDArray[np.int64], *, length: int) -> Epochs:
    """Return windows of a recording without labels, those that lie inside it; start: (windows,), sorted samples."""
    inside = start[(start >= 0) & (start + length <= recording.num_samples)]
    nothing = np.zeros(len(inside), dtype=np.int64)
    return Epochs(
        recordings=(recording.id,),
        recording=nothing,
        subjects=(recording.subject,),
        subject=nothing,
        start=inside,
        length=length,
        sampling_rate=recording.sampling_rate,
        target=np.zeros(len(inside)),
        classes=None,
    )


def frames_inside(extractor: Any, *, length: int, context: int) -> NDArray[np.int64]:
    """Return the frames of `length` samples whose centres lie at least `context` samples from both ends.

    Without context all frames count, those too whose centre lies on an end.
    """
    frames = np.arange(extractor.num_frames(length))
    if not context:
        return frames
    centre = extractor.first_frame_s * extractor.sampling_rate + frames * extractor.hop_length
    return frames[(centre >= context) & (centre < length - context)]


def frame_features(
    recording: AnyRecording,
    epochs: Epochs,
    contacts: Sequence[str],
    model: Any,
    extractor: Any,
    *,
    features: Literal["frames", "mean"],
    context: int = 0,
    statistics: ElectrodeStatistics | None = None,
    batch_size: int = 64,
    cache: Path | str | None = None,
    progress: bool = True,
) -> NDArray[np.float32]:
    """Return (contacts, windows, features): the last layer's frames, one after the other, or their mean.

    epochs: windows of this recording, with their context. context: samples at both ends of each that the encoder sees,
        and whose frames are not used.
    statistics: for normalization="recording". batch_size, cache: see `compute_features`.
    """
    signals = Signals([recording], epochs, contacts)
    used = frames_inside(extractor, length=epochs.length, context=context)
    model = model.eval()
    device = next(model.parameters()).device

    width = model.config.hidden_size * (1 if features == "mean" else len(used))

    @torch.inference_mode()
    def make(voltage: NDArray[np.float32], electrode: NDArray[np.int64]) -> NDArray[np.float32]:
        result = np.full((len(voltage), 1, width), np.nan, dtype=np.float32)
        # A contact without any good signal has no statistics, and so no features.
        known = np.ones(len(voltage), dtype=bool) if statistics is None else np.isin(electrode, statistics.known)
        if not known.any():
            return result
        inputs = extractor(
            torch.from_numpy(voltage[known]).to(device),
            sampling_rate=epochs.sampling_rate,
            statistics=None if statistics is None else statistics.of(electrode[known]),
            on_invalid="mask",
        )
        hidden = model.embed(inputs["input_values"], pooling="frames")[:, used].float()
        hidden = hidden.mean(1) if features == "mean" else hidden.flatten(1)
        valid = inputs["attention_mask"][:, :1].bool()
        result[known] = torch.where(valid, hidden, torch.nan).unsqueeze(1).cpu().numpy()
        return result

    return compute_features(
        signals,
        make,
        what="frames" if features == "frames" else "mean of frames",
        shape=(1, width),
        about={
            "weights_sha256": weights_sha256(model),
            "dtype": str(model.dtype).removeprefix("torch."),
            "config_sha256": sha256(model.config.to_dict()),
            "attention": model.config._attn_implementation,
            "context": context,
            "frames": len(used),
            "device": device.type,
            **front_end(extractor, statistics),
        },
        problems=no_problems(signals),
        batch_size=batch_size,
        cache=cache,
        progress=progress,
    )[0]


def magnitude_features(
    recording: AnyRecording,
    epochs: Epochs,
    contacts: Sequence[str],
    *,
    cache: Path | str | None = None,
    progress: bool = True,
) -> NDArray[np.float32]:
    """Return (contacts, windows, frames × bins): the magnitudes that the leaderboard's linear decoder reads.

    Hann windows of 512 samples every 128, centred on the samples 0, 128 … of a window that is mirrored at its ends;
    bins up to 150 Hz: 17 × 38 for a second at 2048 Hz.
    """
    signals = Signals([recording], epochs, contacts)
    bins = int(HIGHEST_HZ * WINDOW / epochs.sampling_rate) + 1
    frames = epochs.length // HOP + 1

    def make(voltage: NDArray[np.float32], electrode: NDArray[np.int64]) -> NDArray[np.float32]:
        return magnitudes(torch.from_numpy(voltage), bins=bins).unsqueeze(1).numpy()

    return compute_features(
        signals,
        make,
        what="magnitudes",
        shape=(1, frames * bins),
        about={"window": WINDOW, "hop": HOP, "bins": bins},
        problems=no_problems(signals),
        batch_size=512,
        cache=cache,
        progress=progress,
    )[0]


def magnitudes(voltage: torch.Tensor, *, bins: int) -> torch.Tensor:
    """Return (rows, frames × bins) of voltage (rows, samples), see `magnitude_features`."""
    taper = torch.hann_window(WINDOW)
    image = torch.stft(voltage, WINDOW, hop_length=HOP, window=taper, center=True, return_complex=True)
    return image[:, :bins].abs().mT.flatten(1)


def no_problems(signals: Signals) -> NDArray[np.str_]:
    """Return that every window of every contact is to be used, (contacts, windows)."""
    return np.full(signals.shape, "", dtype="<U1")
