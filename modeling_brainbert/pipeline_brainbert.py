"""The transformers pipeline `feature-extraction` of a saved BrainBERT: voltage → embeddings.

    pipe = pipeline("feature-extraction", model=FOLDER, trust_remote_code=True)
    embeddings = pipe(voltage, sampling_rate=2048)

This file is saved with every model and named in its config.json. It is not registered with transformers: that would
replace everybody's `feature-extraction` of text. Where this package is imported, `pipeline(model=FOLDER,
pipeline_class=BrainBertFeatureExtractionPipeline)` needs no trust, and takes a model with its feature_extractor, too.
"""

import importlib
import json
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers.pipelines.base import ChunkPipeline

_OF_A_FILE = {
    *("line_frequency_hz", "window_s", "stride_s", "reference", "notch", "ends", "grids", "edges", "contacts", "unit"),
}
URL = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  # two letters at least: C:/ is a drive
CONTACTS_AT_ONCE = 32  # that the model sees, unless batch_size says otherwise


class BrainBertFeatureExtractionPipeline(ChunkPipeline):
    """Embed voltage: every contact is a sequence of its own, and the model sees batch_size contacts at a time."""

    _load_feature_extractor = True
    _load_tokenizer = False
    _load_image_processor = False
    _load_video_processor = False
    _load_processor = False

    def __init__(self, *args: Any, batch_size: int = CONTACTS_AT_ONCE, **kwargs: Any):
        super().__init__(*args, batch_size=batch_size, **kwargs)
        # transformers puts classes where config.json has their names, and the configuration cannot be printed any more.
        for task in (getattr(self.model.config, "custom_pipelines", None) or {}).values():
            task["pt"] = [getattr(name, "__name__", name) for name in task["pt"]]

    def __call__(
        self,
        inputs: Any,
        *,
        sampling_rate: float | None = None,
        pooling: str | None = None,
        layer: int | None = None,
        return_tensors: bool | None = None,
        batch_size: int | None = None,
        num_workers: int | None = None,
        **recording: Any,
    ) -> Any:
        """Return embeddings as nested lists, as transformers' own feature extraction does, or as tensors.

        inputs: µV; numpy, torch (the front end computes on its device) or lists. (samples,), one contact, gives
            (hidden,), and (contacts, samples) gives (contacts, hidden). Or {"voltage", "sampling_rate"}, with
            "statistics" where the extractor's normalization is "recording"; or a row of a corpus, {"signal", "scale",
            "offset", "sampling_rate"}. A list of these gives a list, a generator or a data set an iterator. Or the path
            of a recording file: see below.
        sampling_rate: of the voltage in hertz; required where the input does not say it.
        pooling: "center", "mean" or "frames" (…, frames, hidden), by default the model's. layer: by default the last.
            Both as in BrainBertModel.embed.
        return_tensors: a torch tensor (float32, on the CPU) instead of nested lists.
        batch_size: contacts that the model sees at a time, of one input or of several; results do not depend on it.

        A path (no URL) is read, conditioned and cut into windows by brainbert.processing, which must be installed, as
        examples/embed.py does with its own arguments: line_frequency_hz (50 or 60, of the mains; 0 for no notch;
        required), window_s (5.0), stride_s (window_s), reference, notch, ends, grids, edges, contacts, unit. It gives
        {"contacts", "start_s", "problems" (windows, contacts; "" where there is none), "embeddings" (windows, contacts,
        …; NaN where there is no signal)}.

        Raises ValueError without a rate, for voltage that the feature extractor refuses, and for another pooling or
        layer; ModuleNotFoundError for a path without brainbert.processing. The model is put in evaluation mode.
        """
        self.model.eval()
        given: dict[str, Any] = {"pooling": pooling, "layer": layer}
        given |= {"return_tensors": return_tensors, "batch_size": batch_size}
        given = {name: value for name, value in given.items() if value is not None}
        if isinstance(inputs, str | os.PathLike):
            if unknown := recording.keys() - _OF_A_FILE:
                raise TypeError(f"{', '.join(unknown)}: there is no such argument for a path.")
            return self._embed_file(inputs, sampling_rate=sampling_rate, **given, **recording)
        if recording:
            raise TypeError(f"{', '.join(recording)}: there is no such argument for voltage; some belong to a path.")
        if isinstance(inputs, list | tuple):
            if not len(inputs):
                raise ValueError("The list is empty: pass voltage, (samples,) or (contacts, samples).")
            inputs = np.asarray(inputs) if isinstance(inputs[0], Real) else list(inputs)
        elif isinstance(inputs, Iterable) and not isinstance(inputs, np.ndarray | torch.Tensor | Mapping | bytes):
            inputs = (each for each in inputs)  # data sets of `datasets` are no data sets to torch
        return super().__call__(inputs, sampling_rate=sampling_rate, num_workers=num_workers, **given)

    def _sanitize_parameters(
        self,
        sampling_rate: float | None = None,
        pooling: str | None = None,
        layer: int | None = None,
        return_tensors: bool | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        forward = {"pooling": pooling, "layer": layer}
        return (
            {} if sampling_rate is None else {"sampling_rate": sampling_rate},
            {name: value for name, value in forward.items() if value is not None},
            {} if return_tensors is None else {"return_tensors": return_tensors},
        )

    def preprocess(self, voltage: Any, sampling_rate: float | None = None) -> Iterator[dict[str, Any]]:
        """Yield the spectrogram of each contact of one input."""
        statistics = None
        if isinstance(voltage, str | os.PathLike):
            raise ValueError(f"{voltage}: pass the path of a recording by itself, not among other inputs.")
        if isinstance(voltage, Mapping):
            row: Mapping[str, Any] = voltage
            said = row.get("sampling_rate", sampling_rate)
            if sampling_rate is not None and said is not None and abs(said - sampling_rate) > 1e-4 * sampling_rate:
                raise ValueError(f"The input says {said:g} Hz and the call {sampling_rate:g} Hz: give one of them.")
            sampling_rate = said
            if "voltage" in row:
                voltage, statistics = row["voltage"], row.get("statistics")
            elif {"signal", "scale", "offset"} <= row.keys():
                voltage = np.asarray(row["signal"], dtype=np.float32) * float(row["scale"]) + float(row["offset"])
            else:
                raise ValueError(
                    f"The input holds {', '.join(map(str, row))}: pass voltage and sampling_rate, or a row of a corpus "
                    "with signal, scale, offset and sampling_rate."
                )
        if sampling_rate is None:
            raise ValueError(
                "sampling_rate is missing: pass the rate of the voltage in hertz, as in pipe(voltage, "
                f"sampling_rate={self.feature_extractor.sampling_rate:g}); at another rate, embeddings mean nothing."
            )
        if not isinstance(voltage, torch.Tensor):
            try:
                voltage = np.asarray(voltage)
            except ValueError:
                raise ValueError(
                    "The contacts of one input differ in length: pass a list of arrays, one for each contact."
                ) from None
        features = self.feature_extractor(voltage, sampling_rate=sampling_rate, statistics=statistics)
        features = {name: values.cpu() for name, values in features.items()}  # where transformers makes batches
        count = len(features["input_values"])
        for contact in range(count):
            one = {name: values[contact : contact + 1] for name, values in features.items()}
            yield one | {"is_single": voltage.ndim == 1, "is_last": contact == count - 1}

    def _forward(self, batch: dict[str, Any], pooling: str | None = None, layer: int = -1) -> dict[str, Any]:
        mask = batch["attention_mask"]
        embedding = self._encoder.embed(batch["input_values"], mask, pooling=pooling, layer=layer).float()
        return {"embedding": embedding, "frames": mask.sum(-1)} | {
            name: batch[name] for name in ("is_single", "is_last")
        }

    def postprocess(self, contacts: list[dict[str, Any]], return_tensors: bool = False) -> Any:
        """Return the embeddings of one input, from those of its contacts."""
        parts = [contact["embedding"] for contact in contacts]
        if parts[0].ndim == 3:  # (1, frames, hidden), with the padding of its batch at the end
            parts = [part[:, : int(contact["frames"])] for part, contact in zip(parts, contacts, strict=True)]
        embedding = parts[0][0] if contacts[0]["is_single"] else torch.cat(parts)
        return embedding if return_tensors else embedding.tolist()

    @property
    def _encoder(self) -> Any:
        """The BrainBertModel within a model with a head, with adapters (PEFT), or compiled."""
        model = self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
        return model.base_model

    def _embed_file(
        self,
        path: str | os.PathLike,
        *,
        sampling_rate: float | None,
        line_frequency_hz: float | None = None,
        window_s: float = 5.0,
        stride_s: float | None = None,
        reference: str = "laplacian",
        notch: str = "causal-notch",
        ends: str = "drop",
        grids: Any = None,
        edges: str = "all",
        contacts: Any = None,
        unit: str | None = None,
        pooling: str | None = None,
        layer: int | None = None,
        return_tensors: bool | None = None,
        batch_size: int | None = None,
    ) -> dict[str, Any]:
        """Return the embeddings of a recording file, window by window, as `__call__` says."""
        if URL.match(os.fspath(path)):
            raise ValueError(f"{path} is a URL, and only files on this machine are read: download it first.")
        if line_frequency_hz is None:
            raise ValueError(
                "line_frequency_hz is missing: pass 50 or 60, the frequency of the mains where the recording was made, "
                "or 0 for no notch."
            )
        if sampling_rate is not None:
            raise ValueError(f"{path}: a recording says its own rate: leave sampling_rate out.")
        try:
            recordings = importlib.import_module("brainbert.processing.recordings")
            decoding = importlib.import_module("brainbert.processing.decoding")
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"{path}: recordings are read by brainbert.processing, and there is no {error.name} here: in a clone "
                "of the project, pip install '.[decoding]', or pass voltage with its sampling_rate.",
                name=error.name,
            ) from None
        encoder, extractor = self._encoder, self.feature_extractor
        conditioning = {"notch": notch, "reference": reference, "ends": ends}
        given = {"line_frequency": line_frequency_hz, "grid_edges": edges} | conditioning
        if encoder.name_or_path:
            warn_about_other_conditioning(given, encoder.name_or_path, stacklevel=3)
        opened = recordings.open_recording(Path(path), contacts=contacts, unit=unit)
        conditioned = recordings.condition_stream(
            opened,
            line_frequency_hz=line_frequency_hz or None,
            **conditioning,
            grids=grids,
            edges=edges,
            sampling_rate=extractor.sampling_rate,
            progress=False,
        )
        table = decoding.embed_recording(
            conditioned,
            encoder,
            extractor,
            window_s=window_s,
            stride_s=stride_s,
            pooling=pooling or self._forward_params.get("pooling"),
            layer=self._forward_params.get("layer", -1) if layer is None else layer,
            statistics="whole recording" if extractor.normalization == "recording" else None,
            batch_size=batch_size or self._batch_size,
            progress=False,
        )
        names = json.loads(table.schema.metadata[b"brainbert"])["contacts"]
        column = table["embedding"].combine_chunks()
        shape = []
        while hasattr(column.type, "list_size"):
            shape.append(column.type.list_size)
            column = column.flatten()
        embeddings = torch.tensor(np.asarray(column)).reshape(-1, len(names), *shape)
        as_tensors = self._postprocess_params.get("return_tensors", False) if return_tensors is None else return_tensors
        return {
            "contacts": names,
            "start_s": table["start_s"].to_pylist()[:: len(names)],
            "problems": np.asarray(table["problem"].to_pylist(), dtype=object).reshape(-1, len(names)).tolist(),
            "embeddings": embeddings if as_tensors else embeddings.tolist(),
        }


def warn_about_other_conditioning(given: Mapping[str, Any], folder: str | os.PathLike, *, stacklevel: int = 2) -> None:
    """Warn when a recording is conditioned in another way than the corpus that the model in `folder` was trained on.

    given: settings by their names in training_record.json; a folder without such a record says nothing.
    """
    path = Path(folder) / "training_record.json"
    trained = json.loads(path.read_text(encoding="utf-8")).get("conditioning", {}) if path.is_file() else {}
    other = [
        f"{name} {given[name]} (trained with {trained[name]})"
        for name in trained
        if name in given and trained[name] != given[name]
    ]
    if other:
        warnings.warn(
            f"The recording is conditioned in another way than the model was trained on: {', '.join(other)}; "
            "embeddings of unfamiliar input mean little, so use the same settings unless you know why not.",
            stacklevel=stacklevel + 1,
        )


__all__ = ["BrainBertFeatureExtractionPipeline", "warn_about_other_conditioning"]
