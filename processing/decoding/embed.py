"""Embed the windows of a conditioned recording, contact by contact."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tqdm import tqdm

from ..atomic import written_whole
from ..recordings import Recording, cut_clips, recording_clip_problems


@torch.inference_mode()
def embed_recording(
    recording: Recording,
    model: Any,
    extractor: Any,
    *,
    window_s: float = 5.0,
    stride_s: float | None = None,
    batch_size: int = 64,
    progress: bool = True,
) -> pa.Table:
    """Return a table with one row per good contact and window.

    recording: conditioned, at the extractor's rate. model: a BrainBertModel; it is put in evaluation mode.
    window_s, stride_s: seconds; the stride is the window by default.
    Columns: recording, contact, start_s (of the window in the recording), problem (why the window should not be
    trusted, "" when it may be), embedding (a list of float32, the model's pooled frames; NaN where the window is flat
    or not finite). The table's metadata, key "brainbert", is JSON: model, front end, window, pooling, history.
    With normalization="recording" the statistics are those of the contact over this whole recording.
    Raises ValueError for another rate, or a recording shorter than a window.
    """
    stride_s = window_s if stride_s is None else stride_s
    cut = {"clip_s": window_s, "stride_s": stride_s}
    model.eval()
    device = next(model.parameters()).device
    parts: list[pa.Table] = []
    contacts = list(cut_clips(recording, **cut))
    for index, windows in tqdm(contacts, desc="embedding", unit="contact", disable=not progress, file=sys.stderr):
        statistics = None
        if extractor.normalization == "recording":
            image = extractor.spectrogram(recording.data[index], sampling_rate=recording.sampling_rate)[0].double()
            deviation, mean = torch.std_mean(image, dim=0, correction=0)
            statistics = {"fingerprint": extractor.fingerprint, "mean": mean, "std": deviation}
        embeddings = []
        for first in range(0, len(windows), batch_size):
            voltage = torch.tensor(windows[first : first + batch_size], device=device)
            inputs = extractor(voltage, sampling_rate=recording.sampling_rate, statistics=statistics, on_invalid="mask")
            pooled = model(**inputs).pooler_output.float()
            valid = inputs["attention_mask"].bool().any(-1, keepdim=True)
            embeddings.append(torch.where(valid, pooled, torch.nan).cpu().numpy())
        embedding = np.concatenate(embeddings)
        parts.append(
            pa.table(
                {
                    "recording": [recording.id] * len(windows),
                    "contact": [recording.contacts[index]] * len(windows),
                    "start_s": np.arange(len(windows)) * stride_s,
                    "problem": recording_clip_problems(recording, index, **cut).tolist(),
                    "embedding": pa.FixedSizeListArray.from_arrays(pa.array(embedding.reshape(-1)), embedding.shape[1]),
                }
            )
        )
    about = {
        "model": {"class": type(model).__name__, "parameters": sum(p.numel() for p in model.parameters())},
        "pooling": model.config.pooling,
        "front_end": extractor.fingerprint,
        "normalization": extractor.normalization,
        "window_s": window_s,
        "stride_s": stride_s,
        "history": [dict(step) for step in recording.history],
    }
    return pa.concat_tables(parts).replace_schema_metadata({"brainbert": json.dumps(about)})


def write_embeddings(table: pa.Table, path: Path | str) -> None:
    """Write a table of `embed_recording` as Parquet, whole or not at all."""
    with written_whole(Path(path)) as temporary:
        pq.write_table(table, temporary)
