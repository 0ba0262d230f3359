"""Answer requests of an Inference Endpoint: voltage in, embeddings or class scores out.

    {"inputs": {"voltage": [[…], …], "sampling_rate": 2048}, "parameters": {"pooling": "mean"}}

or the bytes of an .npy, .npz, EDF or BDF file, with `sampling_rate` among the parameters for arrays. This file lies
beside the model in its repository and needs nothing but torch, numpy and transformers; EDF and BDF also need
brainbert.processing. Sizes are checked before anything is unpacked. Nothing that a request says is opened as a path,
followed as a reference, imported or unpickled.
"""

import base64
import contextlib
import io
import json
import logging
import math
import re
import tempfile
import threading
import time
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoModelForSequenceClassification

MAX_BYTES = 64 * 2**20  # of a file, as it arrives
MAX_VALUES = 20_000_000  # samples of all contacts together: 10 minutes of 16 contacts at 2048 Hz
MAX_CONTACTS = 512
MAX_MEMBERS = 16  # arrays in an .npz
MAX_RESULT = 5_000_000  # numbers in an answer, 100 MB of JSON
MAX_COMPUTING_S = 120.0  # looked at between batches, each of which takes seconds
FRAMES_AT_ONCE = 6400  # that the model sees: 32 contacts of 5 s
VOLTAGE, RATE, CONTACTS = "voltage", "sampling_rate", "contacts"
_OF_RECORDINGS = {"line_frequency_hz", CONTACTS}
_NO_REFERENCE = "give arrays, an .npy, .npz, EDF or BDF file; nothing is opened or fetched by its name here"
# How files begin that are no arrays of numbers, and what to say of them.
_BEGINNINGS = {
    b"\x89HDF\r\n\x1a\n": "HDF5 (NWB), which may lead to other files",
    b"Brain Vision": "a BrainVision header, which names other files",
    b"\x80": "a pickle, which could run anything",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"\x1f\x8b": "a gzip archive",
    b"%PDF": "a PDF",
    b"\x7fELF": "a program",
    b"{": "JSON, which belongs into a request of type application/json",
    b"<": "a page",
}

logger = logging.getLogger(__name__)


class RefusedInput(ValueError):
    """What a request asks cannot be done; the sentence is the answer."""


class EndpointHandler:
    """A model folder that answers requests.

    path: of the folder. Its own code is run; a request's never.
    """

    def __init__(self, path: str = ""):
        folder = path or "."
        config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
        self.is_classifier = any(name.endswith("ForSequenceClassification") for name in config.architectures or ())
        model_class = AutoModelForSequenceClassification if self.is_classifier else AutoModel
        self.extractor = AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=True)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = model_class.from_pretrained(folder, trust_remote_code=True).to(device).eval()
        record = Path(folder) / "training_record.json"
        found = json.loads(record.read_text(encoding="utf-8")).get("conditioning") if record.is_file() else None
        self.conditioning: dict[str, Any] = found or {}
        self._one_at_a_time = threading.Lock()  # warnings and what is printed are caught for the whole process

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to a request, or {"error": one sentence}."""
        try:
            return self.answer(data)
        except RefusedInput as error:
            return {"error": str(error)}
        except Exception:
            logger.exception("A request failed.")
            return {"error": "The request failed for a reason of ours: the endpoint's log has it."}

    def answer(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return embeddings, or class scores of a model with a classifier.

        data: {"inputs", "parameters"}. inputs: numbers (samples,) or (contacts, samples) in µV; {"voltage",
            "sampling_rate", "contacts"}; {"file": base64}; or the bytes of a file.
        parameters: sampling_rate (Hz, of arrays: required); pooling ("center", "mean", "frames") and layer, of
            embeddings; window_s, to cut into windows (of recordings 5.0); statistics, for an extractor whose
            normalization is "recording"; of EDF and BDF line_frequency_hz (50, 60 or 0) and contacts, names to read.
        Returns {"embeddings": (contacts, hidden), or (hidden,) for (samples,), or with windows (windows, contacts,
        hidden), null where there is no signal; "contacts", "start_s" of windows, "pooling", "front_end", "warnings"};
        of recordings also "left_out", contact -> reason, and "conditioning". A classifier gives "scores" in place of
        embeddings: for each contact {"label", "score"}, the best first.
        Raises RefusedInput, in one sentence.
        """
        if not isinstance(data, Mapping) or "inputs" not in data:
            raise RefusedInput('The request has no "inputs": give voltage, or the bytes of a file.')
        _refuse_keys(data, {"inputs", "parameters", "options"}, "request")
        given = _parameters(data.get("parameters"))
        if self.is_classifier and (used := {"pooling", "layer"} & given.keys()):
            raise RefusedInput(f"{_some(used)} is for embeddings, and this model gives class scores: leave it out.")
        with self._one_at_a_time, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = self._answer(data["inputs"], given)
        said = {" ".join(str(each.message).split()) for each in caught if issubclass(each.category, UserWarning)}
        return result | {"front_end": self.extractor.fingerprint, "warnings": sorted(said)}

    def _answer(self, inputs: Any, given: dict[str, Any]) -> dict[str, Any]:
        if isinstance(inputs, Mapping) and "file" in inputs:
            _refuse_keys(inputs, {"file", RATE})
            given = {RATE: _number(inputs[RATE], RATE), **given} if RATE in inputs else given
            inputs = _decoded(inputs["file"])
        about: dict[str, Any] = {}
        if isinstance(inputs, bytes | bytearray | memoryview):
            content = bytes(inputs)
            _refuse_bytes(len(content))
            if (kind := _recording_kind(content)) is not None:
                voltage, about = self._recording(content, kind, given)
                rate, contacts, given = self.extractor.sampling_rate, about[CONTACTS], {"window_s": 5.0, **given}
            else:
                inputs = read_array(content)
        if not about:
            if used := _OF_RECORDINGS & given.keys():
                raise RefusedInput(f"{_some(used)} is for recordings, and this is an array: leave it out.")
            voltage, rate, contacts = _voltage(inputs, given)
            about = {CONTACTS: contacts}
        rows = np.atleast_2d(voltage)
        statistics = _statistics(given.get("statistics"), contacts=len(rows))
        if "window_s" not in given:
            values = self._run(rows, rate, given, statistics=statistics, names=contacts)
            depth = voltage.ndim - 1
            return self._shown(values if depth else values[0], given, depth=depth) | about
        samples = round(given["window_s"] * self.extractor.sampling_rate)
        count = rows.shape[1] // max(1, samples)
        if not count or not samples:
            raise RefusedInput(
                f"The voltage has {rows.shape[1] / rate:.3g} s and a window {given['window_s']:g} s: give another "
                "window_s."
            )
        if statistics is None and self.extractor.normalization == "recording":
            statistics = self._own_statistics(rows, rate)
        windows = rows[:, : count * samples].reshape(len(rows), count, samples).swapaxes(0, 1).reshape(-1, samples)
        values = self._run(windows, rate, given, statistics=statistics, names=None)
        shown = self._shown(values.reshape(count, len(rows), *values.shape[1:]), given, depth=2)
        return shown | about | {"start_s": [index * samples / rate for index in range(count)]}

    def _run(
        self,
        voltage: NDArray,
        rate: float,
        given: Mapping[str, Any],
        *,
        statistics: Mapping[str, Any] | None,
        names: list[str] | None,
    ) -> NDArray:
        """Return embeddings or logits (rows, …) of voltage (rows, samples); NaN for windows without signal."""
        config, deadline = self.model.config, time.monotonic() + MAX_COMPUTING_S
        frames = self.extractor.num_frames(voltage.shape[1])
        if frames > config.max_position_embeddings:
            raise RefusedInput(
                f"{voltage.shape[1]:,} samples are {frames:,} frames and the model reads "
                f"{config.max_position_embeddings:,} at once: give window_s, such as 5, to cut them into windows."
            )
        numbers = len(voltage) * (frames if given.get("pooling") == "frames" else 1) * config.hidden_size
        if not self.is_classifier and numbers > MAX_RESULT:
            raise RefusedInput(f"The answer would have {numbers:,} numbers and {MAX_RESULT:,} are the limit: ask less.")
        on_invalid = "mask" if "window_s" in given else "raise"
        parts, step = [], max(1, FRAMES_AT_ONCE // max(1, frames))
        for first in range(0, len(voltage), step):
            if time.monotonic() > deadline:
                raise RefusedInput(f"Computing takes longer than {MAX_COMPUTING_S:g} s: send less at a time.")
            rows = np.arange(first, min(first + step, len(voltage)))
            with warnings.catch_warnings(record=True) as caught, torch.inference_mode():
                warnings.simplefilter("always")
                try:
                    batch = self.extractor(
                        voltage[rows], sampling_rate=rate, statistics=_of_rows(statistics, rows), on_invalid=on_invalid
                    ).to(self.model.device)
                    if self.is_classifier:
                        found = self.model(**batch).logits
                    else:
                        how = {"pooling": given.get("pooling"), "layer": given.get("layer", -1)}
                        found = self.model.embed(batch["input_values"], batch["attention_mask"], **how)
                except ValueError as error:  # of the extractor or the model: one sentence
                    raise RefusedInput(_with_names(error, rows, names)) from None
            for warning in caught:
                warnings.warn(_with_names(warning.message, rows, names), warning.category, stacklevel=2)
            valid = batch["attention_mask"].any(-1).cpu().numpy()
            values = found.float().cpu().numpy()
            if not np.isfinite(values[valid]).all():
                raise RefusedInput("The result is not finite: the voltage holds values beyond any amplifier's.")
            values[~valid] = np.nan
            parts.append(values)
        return np.concatenate(parts)

    def _own_statistics(self, voltage: NDArray, rate: float) -> dict[str, Any] | None:
        """Return the statistics of (contacts, samples), as of a recording; None for one that is too short."""
        if voltage.shape[1] < self.extractor.minimum_recording_s * rate:
            return None
        try:
            images = [self.extractor.spectrogram(row, sampling_rate=rate)[0].double().numpy() for row in voltage]
        except ValueError as error:
            raise RefusedInput(str(error)) from None
        found = {"mean": [image.mean(0) for image in images], "std": [image.std(0) for image in images]}
        return {"fingerprint": self.extractor.fingerprint} | {name: np.stack(rows) for name, rows in found.items()}

    def _shown(self, values: NDArray, given: Mapping[str, Any], *, depth: int) -> dict[str, Any]:
        """Return what JSON can hold of values, (…) in the first `depth` dimensions; null for one that is NaN."""
        labels = self.model.config.id2label

        def shown(values: NDArray, depth: int) -> Any:
            if depth:
                return [shown(each, depth - 1) for each in values]
            if np.isnan(values).any():
                return None
            if not self.is_classifier:
                return values.tolist()
            scores = torch.from_numpy(values).softmax(-1).numpy()
            return [{"label": labels[n], "score": float(scores[n])} for n in np.argsort(-scores)]

        if self.is_classifier:
            return {"scores": shown(values, depth)}
        return {"embeddings": shown(values, depth), "pooling": given.get("pooling") or self.model.config.pooling}

    def _recording(self, content: bytes, kind: str, given: Mapping[str, Any]) -> tuple[NDArray, dict[str, Any]]:
        """Read and condition an EDF or BDF: the voltage (contacts, samples) of its good contacts, and about it."""
        try:
            from brainbert.processing.recordings import condition, left_out, open_recording, read_recording
        except ImportError:
            raise RefusedInput(
                f"Reading {kind} needs brainbert.processing, which this endpoint lacks: send arrays in µV, conditioned "
                f"and at {self.extractor.sampling_rate:g} Hz."
            ) from None
        usual = {"notch": "causal-notch", "reference": "laplacian"}
        how: dict[str, Any] = {name: self.conditioning.get(name, value) for name, value in usual.items()}
        line = given.get("line_frequency_hz", self.conditioning.get("line_frequency"))
        if line is None:
            raise RefusedInput("line_frequency_hz is missing: give 50 or 60, that of the mains, or 0 for no notch.")
        if how["reference"] == "laplacian":
            how["ends"] = self.conditioning.get("ends", "drop")
            how["edges"] = self.conditioning.get("grid_edges", "all")
        rate, said = self.extractor.sampling_rate, given.get(RATE)
        # What is printed names the request's contacts: it belongs into the answer, not into a log.
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()) as printed:
            path = Path(folder) / f"recording.{kind.lower()}"  # a name of ours
            path.write_bytes(content)
            try:
                opened = open_recording(path, contacts=given.get(CONTACTS), recording_id="request")
                if said is not None and not math.isclose(said, opened.sampling_rate, rel_tol=1e-4):
                    raise RefusedInput(
                        f"The request says {said:g} Hz and the file {opened.sampling_rate:g} Hz: leave sampling_rate "
                        "out."
                    )
                duration = opened.num_samples / opened.sampling_rate
                _refuse_size(len(opened.contacts), math.ceil(duration * max(rate, opened.sampling_rate)))
                recording = read_recording(path, contacts=given.get(CONTACTS), recording_id="request")
                conditioned = condition(recording, line_frequency_hz=line or None, sampling_rate=rate, **how)
            except (ValueError, OSError) as error:
                raise RefusedInput(" ".join(str(error).replace(f"{folder}/", "").split())) from None
        if notes := printed.getvalue().partition(" Give contacts=")[0].strip():
            warnings.warn(notes, stacklevel=2)
        good = [row for row, name in enumerate(conditioned.contacts) if name not in conditioned.bad]
        if not good:
            raise RefusedInput("No good contact is left of the recording: send arrays of those that you trust.")
        return conditioned.data[good], {
            CONTACTS: [conditioned.contacts[row] for row in good],
            "left_out": left_out(conditioned),
            "conditioning": {"line_frequency_hz": line, **how},
        }


def read_array(data: bytes) -> dict[str, NDArray]:
    """Return the arrays of an .npy ("voltage") or .npz file, by name: real numbers, or short texts.

    Sizes that the file claims are checked before anything is inflated, and while it is. No pickle is read.
    Raises RefusedInput, in one sentence.
    """
    if not data:
        raise RefusedInput("The file is empty: give an .npy or .npz file with voltage in µV.")
    _refuse_bytes(len(data))
    if data[:6] == b"\x93NUMPY":
        return {VOLTAGE: _read_npy(data, "The file")}
    if data[:4] == b"PK\x03\x04":
        return _read_npz(data)
    what = next((what for beginning, what in _BEGINNINGS.items() if data.startswith(beginning)), None)
    raise RefusedInput(f"The file is {what or 'neither .npy nor .npz'}: {_NO_REFERENCE}.")


def _read_npz(data: bytes) -> dict[str, NDArray]:
    limit, end, damaged = MAX_VALUES * 8, data[-22:], "The .npz is damaged or cut off: save it anew with numpy.savez."
    # zipfile makes a kilobyte of each entry of the directory: look at its size first. numpy writes no comment behind.
    if end[:4] != b"PK\x05\x06" or end[20:] != b"\0\0" or data[-42:-38] == b"PK\x06\x07":
        raise RefusedInput(damaged)
    if (members := int.from_bytes(end[10:12], "little")) > MAX_MEMBERS or int.from_bytes(end[12:16], "little") > 2**16:
        raise RefusedInput(f"The .npz holds {members:,} members with long names, and {MAX_MEMBERS} are the limit.")
    arrays: dict[str, NDArray] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            found = archive.infolist()
            if len(found) > MAX_MEMBERS:
                raise RefusedInput(f"The .npz holds {len(found):,} members, and {MAX_MEMBERS} are the limit.")
            if (size := sum(member.file_size for member in found)) > limit:
                raise RefusedInput(f"The .npz unpacks to {size:,} bytes and {limit:,} are the limit: send less.")
            for member in found:
                name, ending = member.filename[:-4], member.filename[-4:]
                is_read = member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
                is_plain = is_read and ending == ".npy" and name.isidentifier() and not member.flag_bits & 1
                if not is_plain or name in arrays:
                    raise RefusedInput("The .npz has a member that is no array with a plain name: save it anew.")
                with archive.open(member) as packed:  # zipfile stops at the size that the member claims
                    arrays[name] = _read_npy(packed.read(member.file_size + 1), f"{name[:40]} in the .npz")
    except RefusedInput:
        raise
    except Exception as error:  # whatever zipfile and zlib may raise
        raise RefusedInput(damaged) from error
    return arrays


def _read_npy(data: bytes, what: str) -> NDArray:
    stream = io.BytesIO(data)
    readers: dict[Any, Callable[..., Any]] = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    try:
        shape, by_columns, dtype = readers[npy.read_magic(stream)](stream, max_header_size=10_000)
    except Exception:  # whatever a made-up header may raise in numpy
        raise RefusedInput(f"{what} has no header of an array that could be read: save it anew with numpy.") from None
    if dtype.kind not in "fiuU" or dtype.hasobject or not 0 < dtype.itemsize <= 1024:
        raise RefusedInput(f"{what} is of {str(dtype)[:40]}: give real numbers (or short texts for contacts).")
    begin, count = stream.tell(), math.prod(shape)
    if (
        len(shape) > 8
        or not all(0 <= each <= len(data) for each in shape)
        or count * dtype.itemsize != len(data) - begin
    ):
        raise RefusedInput(
            f"{what} claims {count:,} values of {dtype.itemsize} bytes and has {max(0, len(data) - begin):,} bytes: it "
            "is cut off or made up."
        )
    array = np.frombuffer(data, dtype, count=count, offset=begin).reshape(shape, order="F" if by_columns else "C")
    return array.astype(dtype.newbyteorder("="))


def _recording_kind(content: bytes) -> str | None:
    return "BDF" if content.startswith(b"\xffBIOSEMI") else "EDF" if content.startswith(b"0       ") else None


def _decoded(text: Any) -> bytes:
    if not isinstance(text, str):
        raise RefusedInput('"file" is no text: give the bytes of the file as base64.')
    _refuse_bytes(len(text) * 3 // 4)
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise RefusedInput(f'"file" is not base64: encode the bytes of the file; {_NO_REFERENCE}.') from None


def _voltage(inputs: Any, given: Mapping[str, Any]) -> tuple[NDArray, float, list[str] | None]:
    """Return voltage as real numbers (samples,) or (contacts, samples), its rate, and names of contacts."""
    found: Mapping[str, Any] = inputs if isinstance(inputs, Mapping) else {VOLTAGE: inputs}
    if VOLTAGE not in found:
        raise RefusedInput(f"The input holds {_some(found) or 'nothing'} and no {VOLTAGE}: give it by this name.")
    _refuse_keys(found, {VOLTAGE, RATE, CONTACTS})
    voltage = _numbers(found[VOLTAGE])
    rate = _number(found[RATE], RATE) if RATE in found else given.get(RATE)
    if rate is None:
        raise RefusedInput("sampling_rate is missing: give the rate of the voltage in hertz.")
    if not math.isclose(said := given.get(RATE, rate), rate, rel_tol=1e-4):
        raise RefusedInput(f"The parameters say {said:g} Hz and the input {rate:g} Hz: give one of them.")
    names = found.get(CONTACTS)
    if names is None:
        return voltage, rate, None
    names = names.tolist() if isinstance(names, np.ndarray) else names
    if not _are_names(names) or len(names) != len(np.atleast_2d(voltage)):
        raise RefusedInput("contacts has to be one short text for each row of voltage: leave it out, or mend it.")
    return voltage, rate, names


def _numbers(values: Any) -> NDArray:
    if isinstance(values, str):
        raise RefusedInput(f"The input is a text: {_NO_REFERENCE}.")
    if isinstance(values, list):
        # Looked at before numpy makes anything of them: of one long text it makes a table of long texts.
        rows = values if values and isinstance(values[0], list) else [values]
        if any(isinstance(row, list) and row and isinstance(row[0], list) for row in rows):
            raise RefusedInput("The voltage is nested three times: give (samples,) or (contacts, samples).")
        _refuse_size(len(rows), max((len(row) for row in rows if isinstance(row, list)), default=0))
        if not all(isinstance(row, list) and set(map(type, row)) <= {int, float} for row in rows):
            raise RefusedInput(f"The voltage is no array of real numbers: {_NO_REFERENCE}.")
        if len({len(row) for row in rows}) > 1:
            raise RefusedInput("The voltage is ragged: give each contact as many samples.")
        try:
            values = np.array(values, dtype=np.float64)
        except OverflowError:
            raise RefusedInput("The voltage holds numbers beyond any amplifier's: give µV.") from None
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
        raise RefusedInput(f"The voltage is no array of real numbers: {_NO_REFERENCE}.")
    if values.ndim not in (1, 2) or not values.size:
        raise RefusedInput(f"The voltage has the shape {values.shape}: give (samples,) or (contacts, samples).")
    _refuse_size(len(np.atleast_2d(values)), values.shape[-1])
    with np.errstate(over="ignore"):  # becomes infinite, which the extractor refuses
        return values.astype(np.float32)


def _refuse_bytes(count: int) -> None:
    if count > MAX_BYTES:
        raise RefusedInput(f"The file has {count:,} bytes and {MAX_BYTES:,} are the limit: send a shorter stretch.")


def _refuse_size(contacts: int, samples: int) -> None:
    if contacts > MAX_CONTACTS or contacts * samples > MAX_VALUES:
        raise RefusedInput(
            f"{contacts:,} contacts of {min(samples, 10**15):,} samples are too many: {MAX_CONTACTS} contacts and "
            f"{MAX_VALUES:,} samples in all are the limit; the voltage is (contacts, samples)."
        )


def _parameters(given: Any) -> dict[str, Any]:
    """Return the parameters with their types; texts, as of a query, are read as numbers."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise RefusedInput("The parameters are no mapping: give them by name.")
    known = {RATE, "pooling", "layer", "statistics", "window_s"} | _OF_RECORDINGS
    if unknown := given.keys() - known:
        raise RefusedInput(f"There is no parameter {_some(unknown)}: there are {', '.join(sorted(known))}.")
    found = {name: value for name, value in given.items() if value is not None}
    for name in found.keys() & {RATE, "line_frequency_hz", "window_s"}:
        found[name] = _number(found[name], name)
    if "layer" in found:
        layer = _number(found["layer"], "layer", signed=True)
        if layer != int(layer) or abs(layer) > 1000:
            raise RefusedInput(f"layer is {layer:g}: give a whole number.")
        found["layer"] = int(layer)
    if not 0.1 <= found.get("window_s", 5.0) <= 600:
        raise RefusedInput(f"window_s is {found['window_s']:g}: give seconds from 0.1 to 600.")
    if "pooling" in found and found["pooling"] not in ("center", "mean", "frames"):
        raise RefusedInput("pooling has to be center, mean or frames.")
    if CONTACTS in found:
        names = found[CONTACTS]
        found[CONTACTS] = [name.strip() for name in names.split(",")] if isinstance(names, str) else names
        if not _are_names(found[CONTACTS]):
            raise RefusedInput("contacts has to be a list of short texts, or names with commas between them.")
    return found


def _number(value: Any, name: str, *, signed: bool = False) -> float:
    try:
        if isinstance(value, np.ndarray) and value.size == 1:
            value = value.reshape(-1)[0]
        found = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found) or (found < 0 and not signed) or (name == RATE and not found):
        raise RefusedInput(f"{name} is no number that it could be: give one such as {2048 if name == RATE else 5}.")
    return found


def _are_names(names: Any) -> bool:
    if not isinstance(names, list) or not 0 < len(names) <= MAX_CONTACTS:
        return False
    return all(isinstance(name, str) and len(name) <= 100 and name.isprintable() for name in names)


def _statistics(given: Any, *, contacts: int) -> dict[str, Any] | None:
    if given is None:
        return None
    if not isinstance(given, Mapping) or set(given) != {"fingerprint", "mean", "std"}:
        raise RefusedInput("statistics has to hold fingerprint, mean and std: those of the recording.")
    try:
        values = {name: np.asarray(given[name], dtype=np.float64) for name in ("mean", "std")}
    except (TypeError, ValueError, OverflowError):
        raise RefusedInput("The statistics' mean and std have to be numbers, one for each bin.") from None
    if any(each.ndim == 2 and len(each) != contacts for each in values.values()):
        raise RefusedInput(f"The statistics are not of {contacts} contacts: give a row for each, in their order.")
    return {"fingerprint": str(given["fingerprint"])[:200], **values}


def _of_rows(statistics: Mapping[str, Any] | None, rows: NDArray) -> dict[str, Any] | None:
    """Return the statistics of some rows: contacts, or contacts window by window."""
    if statistics is None:
        return None
    per_row = {name: each for name, each in statistics.items() if np.ndim(each) == 2 and len(each)}
    return {**statistics, **{name: each[rows % len(each)] for name, each in per_row.items()}}


def _with_names(sentence: Any, rows: NDArray, names: list[str] | None) -> str:
    """Return what the extractor says of rows of a batch with the contacts that they are; one line."""

    def named(found: re.Match[str]) -> str:
        numbers = [int(rows[int(number)]) for number in found[1].split(", ")]
        return "contact " + ", ".join(names[n] if names else f"(row) {n}" for n in numbers)

    said = str(sentence).replace(', or pass on_invalid="mask"', "")  # a remedy that a request has not
    return " ".join(re.sub(r"contact \(row\) (\d+(?:, \d+)*)", named, said).split())


def _refuse_keys(found: Mapping[str, Any], known: set[str], what: str = "input") -> None:
    if other := found.keys() - known:
        raise RefusedInput(
            f"The {what} holds {_some(other)}, which is not known: it may hold {', '.join(sorted(known))}."
        )


def _some(names: Any) -> str:
    """Return names as a sentence can hold them, whatever they are made of."""
    shown = ["".join(letter if letter.isprintable() else "?" for letter in str(name)[:40]) for name in list(names)[:5]]
    return ", ".join(sorted(shown))
