"""Answer requests of an Inference Endpoint: voltage in, embeddings or class scores out.

    {"inputs": {"voltage": [[…], …], "sampling_rate": 2048}, "parameters": {"pooling": "mean"}}

or the bytes of an .npy, .npz, EDF or BDF file, with `sampling_rate` among the parameters for arrays. This file lies
beside the model in its repository and needs nothing but torch, numpy and transformers; EDF and BDF also need
brainbert.processing. Sizes are checked before anything is unpacked. Nothing that a request says is opened as a path,
followed as a reference, imported or unpickled.
"""

import base64
import binascii
import io
import json
import logging
import math
import tempfile
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
BATCH = 32  # contacts that the model sees at a time
VOLTAGE, RATE, CONTACTS = "voltage", "sampling_rate", "contacts"
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
            embeddings; statistics, for an extractor whose normalization is "recording"; line_frequency_hz (50, 60 or 0)
            and window_s (5.0) for EDF and BDF.
        Returns {"embeddings": (contacts, hidden), or (hidden,) for one contact, or (windows, contacts, hidden) of a
        recording, "contacts", "start_s", "pooling", "front_end", "warnings"}, or "scores" in place of embeddings: for
        each contact {"label", "score"}, the best first.
        Raises RefusedInput, in one sentence.
        """
        if not isinstance(data, Mapping) or "inputs" not in data:
            raise RefusedInput('The request has no "inputs": give voltage, or the bytes of a file.')
        if other := set(data) - {"inputs", "parameters", "options"}:
            raise RefusedInput(f"The request holds {_some(other)} besides inputs and parameters: leave it out.")
        given = _parameters(data.get("parameters"))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                result = self._answer(data["inputs"], given)
            except (ValueError, TypeError) as error:  # those of the extractor are one sentence, too
                if isinstance(error, RefusedInput):
                    raise
                # A remedy that callers of the extractor have, and a request has not.
                raise RefusedInput(str(error).replace(', or pass on_invalid="mask"', "")) from None
        said = {" ".join(str(each.message).split()) for each in caught if issubclass(each.category, UserWarning)}
        return result | {"front_end": self.extractor.fingerprint, "warnings": sorted(said)}

    def _answer(self, inputs: Any, given: dict[str, Any]) -> dict[str, Any]:
        if isinstance(inputs, Mapping) and "file" in inputs:
            _refuse_keys(inputs, {"file", RATE})
            given = {RATE: inputs[RATE], **given} if RATE in inputs else given
            inputs = _decoded(inputs["file"])
        if isinstance(inputs, bytes | bytearray | memoryview):
            content = bytes(inputs)
            if (kind := _recording_kind(content)) is not None:
                return self._recording(content, kind, given)
            inputs = read_array(content)
        voltage, rate, contacts = _voltage(inputs, given)
        if used := {"line_frequency_hz", "window_s"} & given.keys():
            raise RefusedInput(f"{_some(used)} is for recordings, and this is an array: condition it before.")
        single = voltage.ndim == 1
        values = self._run(np.atleast_2d(voltage), rate, given)
        return self._shown(values[0] if single else values, given) | {"contacts": contacts}

    def _run(self, voltage: NDArray, rate: float, given: Mapping[str, Any]) -> NDArray:
        """Return embeddings (contacts, …), or logits (contacts, classes)."""
        parts = []
        for first in range(0, len(voltage), BATCH):
            rows = slice(first, first + BATCH)
            batch = self.extractor(
                voltage[rows], sampling_rate=rate, statistics=_statistics(given.get("statistics"), rows, len(voltage))
            ).to(self.model.device)
            with torch.inference_mode():
                if self.is_classifier:
                    found = self.model(**batch).logits
                else:
                    how = {"pooling": given.get("pooling"), "layer": given.get("layer", -1)}
                    found = self.model.embed(batch["input_values"], batch["attention_mask"], **how)
            parts.append(found.float().cpu().numpy())
        return np.concatenate(parts)

    def _shown(self, values: NDArray, given: Mapping[str, Any]) -> dict[str, Any]:
        if not np.isfinite(values).all():
            raise RefusedInput("The result is not finite: the voltage holds values beyond any amplifier's.")
        if not self.is_classifier:
            return {"embeddings": values.tolist(), "pooling": given.get("pooling") or self.model.config.pooling}
        if used := {"pooling", "layer"} & given.keys():
            raise RefusedInput(f"{_some(used)} is for embeddings, and this model gives class scores: leave it out.")
        labels = self.model.config.id2label

        def ranked(scores: NDArray) -> Any:
            if scores.ndim > 1:
                return [ranked(each) for each in scores]
            return [{"label": labels[n], "score": float(scores[n])} for n in np.argsort(-scores)]

        return {"scores": ranked(torch.from_numpy(values).softmax(-1).numpy())}

    def _recording(self, content: bytes, kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Read, condition and cut an EDF or BDF, and embed window by window."""
        try:
            from brainbert.processing.recordings import condition, open_recording, read_recording
        except ImportError:
            raise RefusedInput(
                f"Reading {kind} needs brainbert.processing, which this endpoint lacks: send arrays in µV, conditioned "
                f"and at {self.extractor.sampling_rate:g} Hz."
            ) from None
        line = given.get("line_frequency_hz", self.conditioning.get("line_frequency"))
        if line is None:
            raise RefusedInput("line_frequency_hz is missing: give 50 or 60, that of the mains, or 0 for no notch.")
        usual = {"notch": "causal-notch", "reference": "laplacian", "ends": "drop"}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"recording.{kind.lower()}"  # a name of ours
            path.write_bytes(content)
            opened = open_recording(path)
            rate, duration = self.extractor.sampling_rate, opened.num_samples / opened.sampling_rate
            said = given.get(RATE)
            if said is not None and not math.isclose(said, opened.sampling_rate, rel_tol=1e-4):
                raise RefusedInput(
                    f"The request says {said:g} Hz and the file {opened.sampling_rate:g} Hz: leave sampling_rate out."
                )
            _refuse_size(len(opened.contacts), math.ceil(duration * max(rate, opened.sampling_rate)))
            kept = {name: self.conditioning.get(name, value) for name, value in usual.items()}
            recording = condition(read_recording(path), line_frequency_hz=line or None, sampling_rate=rate, **kept)
        samples = round(given.get("window_s", 5.0) * rate)
        starts = range(0, recording.data.shape[1] - samples + 1, samples)
        if not starts:
            raise RefusedInput(
                f"The recording has {duration:.3g} s and a window {samples / rate:.3g} s: give a shorter window_s."
            )
        values = np.stack([self._run(recording.data[:, start : start + samples], rate, given) for start in starts])
        about = {"contacts": list(recording.contacts), "start_s": [start / rate for start in starts]}
        return self._shown(values, given) | about


def read_array(data: bytes) -> dict[str, NDArray]:
    """Return the arrays of an .npy ("voltage") or .npz file, by name: real numbers, or short texts.

    Sizes that the file claims are checked before anything is inflated, and while it is. No pickle is read.
    Raises RefusedInput, in one sentence.
    """
    if not data:
        raise RefusedInput("The file is empty: give an .npy or .npz file with voltage in µV.")
    if len(data) > MAX_BYTES:
        raise RefusedInput(f"The file has {len(data):,} bytes and {MAX_BYTES:,} are the limit: send a shorter stretch.")
    if data[:6] == b"\x93NUMPY":
        return {VOLTAGE: _read_npy(data, "The file")}
    if data[:4] == b"PK\x03\x04":
        return _read_npz(data)
    what = next((what for beginning, what in _BEGINNINGS.items() if data.startswith(beginning)), None)
    raise RefusedInput(f"The file is {what or 'neither .npy nor .npz'}: {_NO_REFERENCE}.")


def _read_npz(data: bytes) -> dict[str, NDArray]:
    limit = MAX_VALUES * 8
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            names = [member.filename for member in members]
            if len(members) > MAX_MEMBERS or len(set(names)) < len(names):
                raise RefusedInput(f"The .npz holds {len(names)} members, or one twice: {MAX_MEMBERS} are the limit.")
            for member in members:
                name = member.filename
                if not name.endswith(".npy") or not name[:-4].isidentifier() or member.flag_bits & 1:
                    raise RefusedInput("The .npz has a member that is no array with a plain name: save it anew.")
            if (size := sum(member.file_size for member in members)) > limit:
                raise RefusedInput(f"The .npz unpacks to {size:,} bytes and {limit:,} are the limit: send less.")
            arrays = {}
            for member in members:
                with archive.open(member) as packed:  # zipfile stops at the size that the member claims
                    content = packed.read(member.file_size + 1)
                arrays[member.filename[:-4]] = _read_npy(content, f"{member.filename[:-4]} in the .npz")
            return arrays
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise RefusedInput("The .npz is damaged or cut off: save it anew with numpy.savez.") from error
    except ValueError as error:
        raise error if isinstance(error, RefusedInput) else RefusedInput("The .npz is damaged.") from None
    except Exception as error:  # zlib.error and what else a decompressor may raise
        raise RefusedInput("The .npz is damaged or cut off: save it anew with numpy.savez.") from error


def _read_npy(data: bytes, what: str) -> NDArray:
    stream = io.BytesIO(data)
    try:
        read_header: Callable[..., Any] = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[
            npy.read_magic(stream)
        ]
        shape, by_columns, dtype = read_header(stream, max_header_size=10_000)
    except (ValueError, KeyError, EOFError, TypeError, SyntaxError, RecursionError, MemoryError, OverflowError):
        raise RefusedInput(f"{what} has no header of an array that could be read: save it anew with numpy.") from None
    if dtype.kind not in "fiuU" or dtype.hasobject or dtype.itemsize == 0 or dtype.itemsize > 1024:
        raise RefusedInput(f"{what} is of {str(dtype)[:40]}: give real numbers (or short texts for contacts).")
    begin, count = stream.tell(), math.prod(shape)
    if count * dtype.itemsize != len(data) - begin:
        raise RefusedInput(
            f"{what} claims {count:,} values of {dtype.itemsize} bytes and has {max(0, len(data) - begin):,} bytes: it "
            "is cut off or made up."
        )
    array = np.frombuffer(data, dtype, count=count, offset=begin).reshape(shape, order="F" if by_columns else "C")
    return array.astype(dtype.newbyteorder("="))


def _recording_kind(content: bytes) -> str | None:
    return "BDF" if content.startswith(b"\xffBIOSEMI") else "EDF" if content.startswith(b"0       ") else None


def _decoded(text: Any) -> bytes:
    if not isinstance(text, str) or len(text) > MAX_BYTES * 4 / 3 + 4:
        raise RefusedInput(f'"file" is no text of base64, or more than {MAX_BYTES:,} bytes: send a shorter stretch.')
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise RefusedInput(f'"file" is not base64: encode the bytes of the file; {_NO_REFERENCE}.') from None


def _voltage(inputs: Any, given: Mapping[str, Any]) -> tuple[NDArray, float, list[str] | None]:
    """Return voltage as real numbers (samples,) or (contacts, samples), its rate, and names of contacts."""
    found: Mapping[str, Any] = inputs if isinstance(inputs, Mapping) else {VOLTAGE: inputs}
    if isinstance(inputs, Mapping) and VOLTAGE not in inputs:
        raise RefusedInput(f"The input holds {_some(inputs) or 'nothing'} and no {VOLTAGE}: give it by this name.")
    _refuse_keys(found, {VOLTAGE, RATE, CONTACTS})
    voltage = _numbers(found[VOLTAGE])
    rate = _number(found[RATE], RATE) if RATE in found else None
    if rate is None:
        rate = given.get(RATE)
    elif RATE in given and not math.isclose(given[RATE], rate, rel_tol=1e-4):
        raise RefusedInput(f"The parameters say {given[RATE]:g} Hz and the input {rate:g} Hz: give one of them.")
    if rate is None:
        raise RefusedInput("sampling_rate is missing: give the rate of the voltage in hertz.")
    contacts = found.get(CONTACTS)
    if contacts is not None:
        contacts = list(contacts) if isinstance(contacts, list | np.ndarray) else [contacts]
        if not all(isinstance(name, str) and len(name) <= 100 for name in contacts) or len(contacts) != len(
            np.atleast_2d(voltage)
        ):
            raise RefusedInput("contacts has to be one short text for each row of voltage: leave it out, or mend it.")
    return voltage, rate, [str(name) for name in contacts] if contacts is not None else None


def _numbers(values: Any) -> NDArray:
    if isinstance(values, str):
        raise RefusedInput(f"The input is a text: {_NO_REFERENCE}.")
    if isinstance(values, list):
        # Before numpy makes anything of them.
        rows = values if values and isinstance(values[0], list) else [values]
        if any(isinstance(row, list) and row and isinstance(row[0], list) for row in rows):
            raise RefusedInput("The voltage is nested three times: give (samples,) or (contacts, samples).")
        _refuse_size(len(rows), max((len(row) for row in rows if isinstance(row, list)), default=0))
        try:
            values = np.array(values)
        except (ValueError, OverflowError):
            raise RefusedInput("The voltage is ragged: give each contact as many samples.") from None
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
        raise RefusedInput(f"The voltage is no array of real numbers: {_NO_REFERENCE}.")
    if values.ndim not in (1, 2) or not values.size:
        raise RefusedInput(f"The voltage has the shape {values.shape}: give (samples,) or (contacts, samples).")
    _refuse_size(len(np.atleast_2d(values)), values.shape[-1])
    return values.astype(np.float32)


def _refuse_size(contacts: int, samples: int) -> None:
    if contacts > MAX_CONTACTS or contacts * samples > MAX_VALUES:
        raise RefusedInput(
            f"{contacts:,} contacts of {samples:,} samples are too many: {MAX_CONTACTS} contacts and {MAX_VALUES:,} "
            "samples in all are the limit; the voltage is (contacts, samples)."
        )


def _parameters(given: Any) -> dict[str, Any]:
    """Return the parameters with their types; texts, as of a query, are read as numbers."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise RefusedInput("The parameters are no mapping: give them by name.")
    known = {RATE, "pooling", "layer", "statistics", "line_frequency_hz", "window_s"}
    if unknown := given.keys() - known:
        raise RefusedInput(f"There is no parameter {_some(unknown)}: there are {', '.join(sorted(known))}.")
    found = {name: value for name, value in given.items() if value is not None}
    for name in found.keys() & {RATE, "line_frequency_hz", "window_s"}:
        found[name] = _number(found[name], name)
    if "layer" in found:
        layer = _number(found["layer"], "layer", signed=True)
        if layer != int(layer):
            raise RefusedInput(f"layer is {layer:g}: give a whole number.")
        found["layer"] = int(layer)
    if not 0.1 <= found.get("window_s", 5.0) <= 600:
        raise RefusedInput(f"window_s is {found['window_s']:g}: give seconds from 0.1 to 600.")
    if "pooling" in found and found["pooling"] not in ("center", "mean", "frames"):
        raise RefusedInput("pooling has to be center, mean or frames.")
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


def _statistics(given: Any, rows: slice, count: int) -> dict[str, Any] | None:
    if given is None:
        return None
    if not isinstance(given, Mapping) or set(given) != {"fingerprint", "mean", "std"}:
        raise RefusedInput("statistics has to hold fingerprint, mean and std: those of the recording.")
    try:
        values = {name: np.asarray(given[name], dtype=np.float64) for name in ("mean", "std")}
    except (TypeError, ValueError, OverflowError):
        raise RefusedInput("The statistics' mean and std have to be numbers, one for each bin.") from None
    per_contact = {name: each[rows] if each.ndim == 2 and len(each) == count else each for name, each in values.items()}
    return {"fingerprint": str(given["fingerprint"])[:200], **per_contact}


def _refuse_keys(found: Mapping[str, Any], known: set[str]) -> None:
    if other := found.keys() - known:
        raise RefusedInput(
            f"The input holds {_some(other)}, which is not known: it may hold {', '.join(sorted(known))}."
        )


def _some(names: Any) -> str:
    """Return names as a sentence can hold them, whatever they are made of."""
    shown = ["".join(letter if letter.isprintable() else "?" for letter in str(name)[:40]) for name in list(names)[:5]]
    return ", ".join(sorted(shown))
