"""Embeddings of labelled windows: one embedding per layer, contact and window, all layers in one pass."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from .epochs import Epochs
from .features import compute_features
from .fold_statistics import ElectrodeStatistics, whole_recording_statistics
from .hashes import sha256, weights_sha256
from .signals import AnyRecording, Contacts, Signals
from .statistics import check_statistics

CENTER_FRAMES = 10  # of pooling="center", as the model has it (Wang et al. 2023, section 3)


def embedding_features(
    recordings: Sequence[AnyRecording],
    epochs: Epochs,
    contacts: Contacts,
    model: Any,
    extractor: Any,
    *,
    pooling: Literal["center", "mean"] | None = None,
    layers: Sequence[int] = (-1,),
    statistics: ElectrodeStatistics | Literal["whole recording"] | None = None,
    problems: NDArray[np.str_] | None = None,
    batch_size: int = 64,
    cache: Path | str | None = None,
    progress: bool = True,
) -> NDArray[np.float32]:
    """Return (layers, contacts, windows, hidden): what `embed_recording` gives for the same windows.

    recordings: conditioned, at the extractor's rate. contacts: of `contacts_of`; pooled contacts give
        (layers, 1, windows × contacts, hidden).
    model: a BrainBertModel; it is put in evaluation mode. pooling: the model's own by default.
    layers: 0 is what enters the first layer, n what leaves the n-th; negative numbers count from the last. One layer
        costs what `model.embed` costs, several one pass through the whole model.
    statistics: for normalization="recording": of `training_statistics`, so that every fold has embeddings of its own,
        or "whole recording".
    problems, cache: see `find_problems` and `compute_features`. batch_size: windows that the model sees at a time.
    Raises ValueError for another rate or pooling, a layer that is not there, statistics that are missing or too short.
    """
    pooling = pooling or model.config.pooling
    if pooling not in ("center", "mean"):
        raise ValueError(f"pooling is {pooling!r}: choose center or mean, which give one embedding a window.")
    count = model.config.num_hidden_layers
    if not layers or not all(-count - 1 <= layer <= count for layer in layers):
        raise ValueError(f"layers are {list(layers)} and this model has {count}: choose from 0 to {count}, or -1.")
    layers = [layer % (count + 1) for layer in layers]
    found = _checked_statistics(recordings, epochs, contacts, extractor, statistics, cache=cache, progress=progress)
    model = model.eval()
    device = next(model.parameters()).device
    embed = _embedding(model, pooling, layers)

    @torch.inference_mode()
    def make(voltage: NDArray[np.float32], electrode: NDArray[np.int64]) -> NDArray[np.float32]:
        inputs = extractor(
            torch.from_numpy(voltage).to(device),
            sampling_rate=epochs.sampling_rate,
            statistics=None if found is None else found.of(electrode),
            on_invalid="mask",
        )
        # Windows have one length, so a row is signal from end to end or not at all: attention needs no mask.
        embeddings = embed(inputs["input_values"]).float()
        return torch.where(inputs["attention_mask"][:, :1, None].bool(), embeddings, torch.nan).cpu().numpy()

    # What extractor or model refuse is refused before minutes of reading.
    ramp = np.linspace(-1, 1, epochs.length, dtype=np.float32)[None]
    shape = make(ramp, np.zeros(1, np.int64) if found is None else found.known[:1]).shape
    return compute_features(
        Signals(recordings, epochs, contacts),
        make,
        what="embeddings",
        shape=(shape[1], shape[2]),
        about={
            "weights_sha256": weights_sha256(model),
            "model": type(model).__name__,
            "dtype": str(model.dtype).removeprefix("torch."),
            "config_sha256": sha256(model.config.to_dict()),
            "attention": model.config._attn_implementation,
            "layers": layers,
            "pooling": pooling,
            "device": device.type,
            **front_end(extractor, found),
        },
        problems=problems,
        batch_size=batch_size,
        cache=cache,
        progress=progress,
    )


def input_features(
    recordings: Sequence[AnyRecording],
    epochs: Epochs,
    contacts: Contacts,
    extractor: Any,
    *,
    statistics: ElectrodeStatistics | Literal["whole recording"] | None = None,
    problems: NDArray[np.str_] | None = None,
    cache: Path | str | None = None,
    progress: bool = True,
) -> NDArray[np.float32]:
    """Return (contacts, windows, frames, bins): the normalised spectrograms that the encoder sees, for fine-tuning.

    The arguments are those of `embedding_features`, which raises the same. 30 kB a window of 5 s, with the defaults of
    the extractor: give a cache where there are many.
    """
    found = _checked_statistics(recordings, epochs, contacts, extractor, statistics, cache=cache, progress=progress)

    @torch.inference_mode()
    def make(voltage: NDArray[np.float32], electrode: NDArray[np.int64]) -> NDArray[np.float32]:
        inputs = extractor(
            torch.from_numpy(voltage),
            sampling_rate=epochs.sampling_rate,
            statistics=None if found is None else found.of(electrode),
            on_invalid="mask",
        )
        valid = inputs["attention_mask"][:, :1, None].bool()
        return torch.where(valid, inputs["input_values"], torch.nan).reshape(len(voltage), 1, -1).numpy()

    frames, bins = extractor.num_frames(epochs.length), extractor.feature_size
    values = compute_features(
        Signals(recordings, epochs, contacts),
        make,
        what="inputs",
        shape=(1, frames * bins),
        about=front_end(extractor, found),
        problems=problems,
        cache=cache,
        progress=progress,
    )[0]
    return values.reshape(*values.shape[:2], frames, bins)


def untrained_twin(model: Any, seed: int) -> Any:
    """Return a model of the same configuration with fresh weights, in evaluation mode and on the same device.

    The same seed gives the same weights; random numbers drawn elsewhere are not touched.
    """
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        twin = type(model)(deepcopy(model.config))
    return twin.to(device=next(model.parameters()).device, dtype=model.dtype).eval()


def front_end(extractor: Any, statistics: ElectrodeStatistics | None) -> dict[str, Any]:
    """Return what the inputs of the encoder depend on, besides the voltage."""
    return {
        "front_end": extractor.fingerprint,
        "normalization": extractor.normalization,
        "corpus_statistics_sha256": sha256([extractor.mean, extractor.std]),
        "statistics_sha256": None if statistics is None else statistics.sha256,
    }


def _embedding(model: Any, pooling: str, layers: list[int]) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a function of (rows, frames, bins) that returns (rows, layers, hidden)."""
    if len(layers) == 1:
        return lambda values: model.embed(values, pooling=pooling, layer=layers[0]).unsqueeze(1)

    def all_at_once(values: torch.Tensor) -> torch.Tensor:
        hidden = model(values, output_hidden_states=True).hidden_states
        if pooling == "center":
            first = values.shape[1] // 2 - CENTER_FRAMES // 2
            return torch.stack([hidden[layer][:, first : first + CENTER_FRAMES].mean(1) for layer in layers], dim=1)
        return torch.stack([hidden[layer].mean(1) for layer in layers], dim=1)

    return all_at_once


def _checked_statistics(
    recordings: Sequence[AnyRecording],
    epochs: Epochs,
    contacts: Contacts,
    extractor: Any,
    statistics: ElectrodeStatistics | str | None,
    *,
    cache: Path | str | None,
    progress: bool,
) -> ElectrodeStatistics | None:
    choices = 'the statistics of the training windows (training_statistics), or statistics="whole recording"'
    check_statistics(extractor, statistics, choices=choices)
    if isinstance(statistics, str):
        return whole_recording_statistics(recordings, epochs, contacts, extractor, cache=cache, progress=progress)
    return statistics
