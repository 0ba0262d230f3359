"""Embed the windows of a conditioned recording, block by block, and say what the embeddings depend on."""

import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from ..recordings import Recording, RecordingStream
from .hashes import sha256, weights_sha256
from .statistics import block_statistics, check_statistics, merged_statistics
from .windows import Block, Windows, made_ahead

Statistics = Mapping[str, Mapping[str, Any]] | Literal["whole recording"]
Pooling = Literal["center", "mean", "frames"]


def embed_recording(
    recording: Recording | RecordingStream,
    model: Any,
    extractor: Any,
    *,
    window_s: float = 5.0,
    stride_s: float | None = None,
    pooling: Pooling | None = None,
    layer: int = -1,
    statistics: Statistics | None = None,
    batch_size: int = 64,
    progress: bool = True,
) -> pa.Table:
    """Return a table with one row per window and good contact, in this order; `embed_to_parquet` writes it in pieces.

    recording: conditioned, at the extractor's rate. model: a BrainBertModel; it is put in evaluation mode.
    window_s, stride_s: seconds; the stride is the window by default.
    pooling, layer: see BrainBertModel.embed; by default the model's own pooling of its last layer.
    statistics: for normalization="recording": contact → statistics (fitted on a part of the recording that may be
        looked at), or "whole recording": over its good windows, at least 60 s of each contact, in a pass of its own.
    batch_size: windows that the model sees at a time.
    Columns: recording, contact, start (sample), start_s, problem (why the window should not be trusted, "" when it may
    be), embedding (a list of float32, for pooling="frames" a list of one per frame; NaN where the window is flat or not
    finite). The metadata of the table, key "brainbert", is JSON: all that the embeddings depend on.
    Raises ValueError for another rate, a recording shorter than a window, statistics that are missing or too short.
    """
    embedder = Embedder(
        recording,
        model,
        extractor,
        window_s=window_s,
        stride_s=stride_s,
        pooling=pooling,
        layer=layer,
        statistics=statistics,
        batch_size=batch_size,
    )
    if embedder.needs_statistics:
        grid = embedder.grid
        with progress_bar("statistics", grid, range(len(grid)), progress=progress) as bar:
            found = []
            for block in made_ahead(grid.read, range(len(grid))):
                found.append(embedder.statistics_of(block))
                bar.update(grid.rows(block.number))
        embedder.fit(found)
    windows = embedder.windows
    with progress_bar("embedding", windows, range(len(windows)), progress=progress) as bar:
        tables = [embedder.embed(block, bar.update) for block in made_ahead(windows.read, range(len(windows)))]
    return pa.concat_tables(tables).replace_schema_metadata(embedder.metadata)


class Embedder:
    """A recording cut into blocks of windows, a model and its front end, and what is asked of them.

    The arguments are those of `embed_recording`. windows: what is embedded; grid: windows side by side, of which the
    statistics of the whole recording are taken where it needs_statistics. about: all that the embeddings depend on.
    """

    def __init__(
        self,
        recording: Recording | RecordingStream,
        model: Any,
        extractor: Any,
        *,
        window_s: float,
        stride_s: float | None,
        pooling: Pooling | None,
        layer: int,
        statistics: Statistics | None,
        batch_size: int,
    ) -> None:
        choices = 'statistics="whole recording", or those of each contact over a part of the recording'
        check_statistics(extractor, statistics, choices=choices)
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}: it must be at least 1.")
        self.recording, self.model, self.extractor = recording, model.eval(), extractor
        self.window_s, self.stride_s = window_s, window_s if stride_s is None else stride_s
        self.batch_size = batch_size
        self.pooling: Pooling = pooling or model.config.pooling
        layers = model.config.num_hidden_layers + 1
        self.layer = layer % layers if -layers <= layer < layers else layer  # which the model refuses
        self.device: torch.device = next(model.parameters()).device
        self.needs_statistics = isinstance(statistics, str)
        self._statistics: dict[str, Any] | None = None
        if statistics is not None and not isinstance(statistics, str):
            self._statistics = _statistics_of_contacts(statistics, recording.good, extractor)
        self.grid = Windows(recording, window_s=window_s)
        self._shape = self._shape_of_embedding()
        values = math.prod(self._shape)
        self.windows = Windows(recording, window_s=window_s, stride_s=stride_s, values_per_window=values)
        self.about: dict[str, Any] = json.loads(json.dumps(self._dependencies()))  # as it is read: lists for tuples

    @property
    def metadata(self) -> dict[str, str]:
        """What a table of embeddings says about itself."""
        return {"brainbert": json.dumps(self.about)}

    def statistics_of(self, block: Block) -> dict[str, NDArray[np.float64]]:
        """Return what a block of the grid adds to the statistics of the contacts."""
        return block_statistics(block, self.grid, self.extractor, device=self.device)

    def fit(self, blocks: Iterable[Mapping[str, NDArray[np.float64]]]) -> None:
        """Take the statistics of the whole recording from what `statistics_of` gave for each block, in order."""
        self._statistics = merged_statistics(blocks, self.grid, self.extractor, window_s=self.window_s)

    def embed(self, block: Block, advance: Callable[[int], object]) -> pa.Table:
        """Return the rows of a block; `advance` is told after each batch how many windows it held."""
        contacts = len(self.windows.contacts)
        voltage = torch.from_numpy(block.voltage).to(self.device)
        voltage = voltage.unfold(1, self.windows.window, self.windows.stride)  # (contacts, windows, samples), a view
        count = len(block.starts) * contacts
        # In one piece: what batches leave between larger arrays that come and go would split the memory into holes.
        embeddings = torch.empty((count, *self._shape), device=self.device)
        for rows in torch.arange(count).split(self.batch_size):
            start, contact = rows // contacts, rows % contacts
            embeddings[rows] = self._embed_windows(voltage[contact, start], self._statistics_of(contact.numpy()))
            advance(len(rows))
        values = embeddings.cpu().numpy()
        column = pa.array(values.reshape(-1))
        for size in reversed(values.shape[1:]):
            column = pa.FixedSizeListArray.from_arrays(column, size)
        start_of_row = np.repeat(block.starts, contacts)
        return pa.table(
            {
                "recording": [self.recording.id] * len(values),
                "contact": list(self.windows.contacts) * len(block.starts),
                "start": start_of_row,
                "start_s": start_of_row / self.recording.sampling_rate,
                "problem": block.problems.reshape(-1).tolist(),
                "embedding": column,
            }
        )

    @torch.inference_mode()
    def _embed_windows(self, voltage: torch.Tensor, statistics: dict[str, Any] | None) -> torch.Tensor:
        """Return (windows, …) float32, NaN for windows of (windows, samples) without signal."""
        inputs = self.extractor(
            voltage, sampling_rate=self.recording.sampling_rate, statistics=statistics, on_invalid="mask"
        )
        # Windows have one length, so a row is signal from end to end or not at all: attention needs no mask.
        embedding = self.model.embed(inputs["input_values"], pooling=self.pooling, layer=self.layer).float()
        valid = inputs["attention_mask"][:, 0].bool().reshape(-1, *[1] * (embedding.ndim - 1))
        return torch.where(valid, embedding, torch.nan)

    def _statistics_of(self, contacts: NDArray[np.integer]) -> dict[str, Any] | None:
        if self._statistics is None:
            return None
        return self._statistics | {name: self._statistics[name][contacts] for name in ("mean", "std")}

    def _shape_of_embedding(self) -> torch.Size:
        """Embed a made-up window: what extractor or model refuses is refused before minutes of reading."""
        bins = self.extractor.feature_size
        statistics = {"fingerprint": self.extractor.fingerprint, "mean": np.zeros(bins), "std": np.ones(bins)}
        ramp = torch.linspace(-1, 1, self.grid.window, device=self.device)
        by_recording = self.extractor.normalization == "recording"
        return self._embed_windows(ramp[None], statistics if by_recording else None).shape[1:]

    def _dependencies(self) -> dict[str, Any]:
        recording, model, extractor, given = self.recording, self.model, self.extractor, self._statistics
        return {
            "recording": recording.id,
            "contacts": self.windows.contacts,
            "samples": recording.num_samples,
            "sampling_rate": recording.sampling_rate,
            "history": recording.history,
            "artefacts_sha256": sha256(recording.artefacts),
            "model": {
                "class": type(model).__name__,
                "parameters": sum(parameter.numel() for parameter in model.parameters()),
                "weights_sha256": weights_sha256(model),
                "dtype": str(model.dtype).removeprefix("torch."),
                "heads": model.config.num_attention_heads,
                "attention": model.config._attn_implementation,
            },
            "layer": self.layer,
            "pooling": self.pooling,
            "front_end": extractor.fingerprint,
            "normalization": extractor.normalization,
            "corpus_statistics_sha256": (
                sha256([extractor.mean, extractor.std]) if extractor.normalization == "corpus" else None
            ),
            "statistics": "whole recording" if self.needs_statistics else given and "given for each contact",
            "statistics_sha256": given and sha256([given["mean"].tolist(), given["std"].tolist()]),
            "window_s": self.window_s,
            "stride_s": self.stride_s,
            "block_windows": self.windows.per_block,
            "batch_size": self.batch_size,
            "device": self.device.type,
            "versions": {name: version(name) for name in ("brainbert", "torch", "transformers", "numpy", "scipy")},
        }


def progress_bar(what: str, windows: Windows, blocks: range, *, done: int = 0, progress: bool) -> Any:
    """Return a bar over the windows of these blocks, with the time left."""
    return tqdm(
        total=sum(windows.rows(number) for number in blocks),
        initial=done,
        desc=what,
        unit=" windows",
        disable=not progress,
        file=sys.stderr,
    )


def _statistics_of_contacts(
    statistics: Mapping[str, Mapping[str, Any]], contacts: tuple[str, ...], extractor: Any
) -> dict[str, Any]:
    """Return {"fingerprint", "mean", "std"} with one row per contact; the extractor looks at the numbers."""
    for name in contacts:
        if name not in statistics:
            raise ValueError(f"There are no statistics of contact {name}: give them, or leave the contact out.")
        if statistics[name]["fingerprint"] != extractor.fingerprint:
            raise ValueError(
                f"The statistics of contact {name} were computed with the front end {statistics[name]['fingerprint']} "
                f"and this one is {extractor.fingerprint}: compute them again with this extractor."
            )
    rows = {which: [np.asarray(statistics[name][which], np.float64) for name in contacts] for which in ("mean", "std")}
    if {row.shape for row in rows["mean"] + rows["std"]} != {(extractor.feature_size,)}:
        raise ValueError(
            f"Statistics hold {extractor.feature_size} means and deviations, one a bin: compute them again."
        )
    return {"fingerprint": extractor.fingerprint} | {which: np.stack(values) for which, values in rows.items()}
