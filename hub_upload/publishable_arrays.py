"""Say what is wrong with files of numbers that are to be published: safetensors, Parquet shards, npy and npz."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import SafetensorError, safe_open

from .private_traces import Forbidden, is_pseudonym, traces_in_name, traces_in_text, traces_in_values

# The columns of a corpus, processing/corpora/shard.py, with what they hold.
_COLUMNS: dict[str, str] = {
    **dict.fromkeys(("recording", "subject", "session", "contact"), "string"),
    "start": "int64",
    **dict.fromkeys(("sampling_rate", "original_sampling_rate"), "double"),
    "band_hz": "list",
    "signal": "list",
    **dict.fromkeys(("scale", "offset"), "float"),
}
_NAMES = ("recording", "subject", "session")
_MOST_HEADER = 100 * 2**20  # bytes, the limit of safetensors


def safetensors_problems(path: Path, name: str, *, forbidden: Forbidden) -> Iterator[str]:
    """Yield what is wrong with a safetensors file: header, values that are no numbers, what its metadata gives away."""
    try:
        # Opening it checks that the header is JSON, within its limit, and that it covers the file without gaps.
        with safe_open(path, framework="pt") as weights:
            traces = [*traces_in_values(dict(weights.metadata() or {}), forbidden=forbidden)]
            traces += traces_in_text("\n".join(weights.keys()), form="code", forbidden=forbidden)
            keys = list(weights.keys())
            if not keys:
                yield f"{name} holds no weights: save the model again."
            broken = [key for key in keys if not torch.isfinite(weights.get_tensor(key)).all()]
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        yield f"{name} is not safetensors ({str(error).splitlines()[0]}): save the model again."
        return
    if broken:
        yield f"{name} holds NaN or infinity in {broken[0]}{_and_more(broken)}: publish another checkpoint."
    yield from (f"{name} gives away {trace} in its metadata: save the model again without." for trace in traces)


def dtypes_of(path: Path) -> set[str]:
    """Return the types of the tensors in a safetensors file in its own words, such as F32; none when it is damaged."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > _MOST_HEADER:
            return set()
        try:
            header = json.loads(file.read(length))
            return {str(entry["dtype"]) for key, entry in header.items() if key != "__metadata__"}
        except (ValueError, AttributeError, TypeError, KeyError):
            return set()


def shard_problems(path: Path, name: str, *, forbidden: Forbidden) -> Iterator[str]:
    """Yield what is wrong with a Parquet shard of a corpus: columns, and what its names and metadata give away."""
    try:
        with pq.ParquetFile(path) as file:
            columns = {field.name: _kind(field.type) for field in file.schema_arrow}
            metadata = [
                value.decode("utf-8", "replace")
                for key, value in (file.metadata.metadata or {}).items()
                if key != b"ARROW:schema"  # base64 of the schema, whose own metadata are among the others
            ]
            rows = file.metadata.num_rows
        names = names_in_shard(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        yield f"{name} is not Parquet ({str(error).splitlines()[0]}): export the corpus again."
        return
    if not rows:
        yield f"{name} has no rows: export the corpus again with fewer shards."
    if missing := sorted(set(_COLUMNS) - set(columns)):
        yield f"{name} lacks the columns {', '.join(missing)} of a corpus: export it with examples/export_corpus.py."
    if other := sorted(set(columns) - set(_COLUMNS)):
        yield f"{name} has columns that no corpus has ({', '.join(other)}): export it with examples/export_corpus.py."
    if wrong := [column for column, kind in _COLUMNS.items() if columns.get(column, kind) != kind]:
        yield f"The column {wrong[0]} of {name} holds {columns[wrong[0]]}, not {_COLUMNS[wrong[0]]}: export it again."
    traces = [trace for text in metadata for trace in traces_in_text(text, form="data", forbidden=forbidden)]
    for column, values in names.items():
        for value in values:
            traces += traces_in_text(value, form="data", forbidden=forbidden)
            traces += traces_in_name(value) if column in _NAMES else []
    for trace in dict.fromkeys(traces):
        yield f"{name} gives away {trace}: build the corpus again without it, with pseudonyms."


def names_in_shard(path: Path) -> dict[str, list[str]]:
    """Return column → distinct texts, sorted, of all columns of a Parquet file that hold text."""
    with pq.ParquetFile(path) as file:
        found: dict[str, set[str]] = {f.name: set() for f in file.schema_arrow if _kind(f.type) == "string"}
        if found:
            for batch in file.iter_batches(columns=list(found)):
                for column in found:
                    found[column].update(filter(None, batch[column].unique().to_pylist()))
    return {column: sorted(values) for column, values in found.items()}


def chosen_names(folder: Path) -> dict[str, list[str]]:
    """Return column → names of recordings, subjects and sessions in the shards that are not our readers' pseudonyms."""
    found: dict[str, set[str]] = {column: set() for column in _NAMES}
    for path in sorted(folder.rglob("*.parquet")):
        for column, values in names_in_shard(path).items():
            if column in found:
                found[column].update(value for value in values if not is_pseudonym(value))
    return {column: sorted(values) for column, values in found.items() if values}


def array_file_problems(path: Path, name: str, *, forbidden: Forbidden) -> Iterator[str]:
    """Yield what is wrong with an npy or npz file: objects, which are pickles, and what its texts give away."""
    try:
        content: Any = np.load(path, allow_pickle=False)
        arrays = {"": content} if isinstance(content, np.ndarray) else {key: content[key] for key in content.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        if "allow_pickle" in str(error):
            yield f"{name} holds Python objects, which are pickles: save plain arrays."
        else:
            yield f"{name} cannot be read ({(str(error).splitlines() or ['no content'])[0]}): save it again."
        return
    for key, array in arrays.items():
        texts = [key, *map(str, array.ravel())] if array.dtype.kind in "US" else [key]
        for trace in dict.fromkeys(traces_in_text("\n".join(texts), form="data", forbidden=forbidden)):
            yield f"{name} gives away {trace}: save it again without."


def _kind(type: pa.DataType) -> str:
    if pa.types.is_string(type) or pa.types.is_large_string(type):
        return "string"
    if pa.types.is_dictionary(type):
        return _kind(type.value_type)
    is_list = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return "list" if any(test(type) for test in is_list) else str(type)


def _and_more(found: list[str]) -> str:
    return f" and {len(found) - 1} more" if len(found) > 1 else ""
