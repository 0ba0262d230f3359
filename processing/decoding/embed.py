"""Embed the windows of a conditioned recording, contact by contact."""

import hashlib
import json
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from ..atomic import written_whole
from ..corpora import RunningStatistics
from ..recordings import Recording, cut_clips, recording_clip_problems


@torch.inference_mode()
def embed_recording(
    recording: Recording,
    model: Any,
    extractor: Any,
    *,
    window_s: float = 5.0,
    stride_s: float | None = None,
    statistics: Mapping[str, Mapping[str, Any]] | Literal["whole recording"] | None = None,
    batch_size: int = 64,
    progress: bool = True,
) -> pa.Table:
    """Return a table with one row per good contact and window.

    recording: conditioned, at the extractor's rate. model: a BrainBertModel; it is put in evaluation mode.
    window_s, stride_s: seconds; the stride is the window by default.
    statistics: for normalization="recording": contact → statistics (fitted on a part of the recording that may be
        looked at), or "whole recording": over its good windows, at least 60 s of each contact.
    Columns: recording, contact, start (sample), start_s, problem (why the window should not be trusted, "" when it may
    be), embedding (a list of float32, the model's pooled frames; NaN where the window is flat or not finite). The
    metadata of the table, key "brainbert", is JSON: model, front end, window, pooling, statistics, history.
    Raises ValueError for another rate, a recording shorter than a window, statistics that are missing or too short.
    """
    if extractor.normalization == "recording" and statistics is None:
        raise ValueError(
            'This model was trained with normalization="recording": give statistics="whole recording", or those of '
            "each contact over a part of the recording."
        )
    if isinstance(statistics, str) and statistics != "whole recording":
        raise ValueError(
            f'statistics is {statistics!r}: give "whole recording", or a mapping of contact to statistics.'
        )
    stride_s = window_s if stride_s is None else stride_s
    model.eval()
    parts: list[pa.Table] = []
    contacts = list(cut_clips(recording, clip_s=window_s, stride_s=stride_s))
    for index, windows in tqdm(contacts, desc="embedding", unit="contact", disable=not progress, file=sys.stderr):
        name = recording.contacts[index]
        of_contact: Mapping[str, Any] | None = None
        if isinstance(statistics, str):
            of_contact = _statistics_of_contact(recording, index, extractor, window_s=window_s)
        elif statistics is not None:
            if name not in statistics:
                raise ValueError(f"There are no statistics of contact {name}: give them, or leave the contact out.")
            of_contact = statistics[name]
        embedding = np.concatenate(
            [
                _embed_windows(
                    windows[first : first + batch_size],
                    model,
                    extractor,
                    of_contact,
                    sampling_rate=recording.sampling_rate,
                )
                for first in range(0, len(windows), batch_size)
            ]
        )
        start = np.arange(len(windows)) * round(stride_s * recording.sampling_rate)
        problems = recording_clip_problems(recording, index, clip_s=window_s, stride_s=stride_s)
        parts.append(
            pa.table(
                {
                    "recording": [recording.id] * len(windows),
                    "contact": [name] * len(windows),
                    "start": start,
                    "start_s": start / recording.sampling_rate,
                    "problem": problems.tolist(),
                    "embedding": pa.FixedSizeListArray.from_arrays(pa.array(embedding.reshape(-1)), embedding.shape[1]),
                }
            )
        )
    about = {
        "model": {
            "class": type(model).__name__,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "weights_sha256": weights_sha256(model),
        },
        "pooling": model.config.pooling,
        "front_end": extractor.fingerprint,
        "normalization": extractor.normalization,
        "statistics": statistics if isinstance(statistics, str) or statistics is None else "given for each contact",
        "window_s": window_s,
        "stride_s": stride_s,
        "sampling_rate": recording.sampling_rate,
        "history": [dict(step) for step in recording.history],
        "versions": {name: version(name) for name in ("brainbert", "torch", "transformers")},
    }
    return pa.concat_tables(parts).replace_schema_metadata({"brainbert": json.dumps(about)})


def write_embeddings(table: pa.Table, path: Path | str) -> None:
    """Write a table of `embed_recording` as Parquet, whole or not at all."""
    with written_whole(Path(path)) as temporary:
        pq.write_table(table, temporary)


def weights_sha256(model: torch.nn.Module) -> str:
    """Return a hash of names and values of a model's weights: what tells it from an untrained twin."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _embed_windows(
    windows: NDArray[np.float32],
    model: Any,
    extractor: Any,
    statistics: Mapping[str, Any] | None,
    *,
    sampling_rate: float,
) -> NDArray[np.float32]:
    voltage = torch.tensor(windows, device=next(model.parameters()).device)
    inputs = extractor(voltage, sampling_rate=sampling_rate, statistics=statistics, on_invalid="mask")
    pooled = model(**inputs).pooler_output.float()
    valid = inputs["attention_mask"].bool().any(-1, keepdim=True)
    embedding: NDArray[np.float32] = torch.where(valid, pooled, torch.nan).cpu().numpy()
    return embedding


def _statistics_of_contact(recording: Recording, index: int, extractor: Any, *, window_s: float) -> dict[str, Any]:
    """Return the statistics of one contact over its good windows, as a corpus of this recording would have them."""
    samples = round(window_s * recording.sampling_rate)
    good = recording_clip_problems(recording, index, clip_s=window_s) == ""
    if good.sum() * window_s < extractor.minimum_recording_s:
        raise ValueError(
            f"Contact {recording.contacts[index]} has {good.sum() * window_s:g} s of good signal and its statistics "
            f"need {extractor.minimum_recording_s:g} s: use a longer recording, or give statistics."
        )
    running = RunningStatistics()
    for number in np.flatnonzero(good):
        window = recording.data[index, number * samples : (number + 1) * samples]
        running.add(extractor.spectrogram(window, sampling_rate=recording.sampling_rate).numpy())
    return {"fingerprint": extractor.fingerprint, "mean": running.mean, "std": running.std}
