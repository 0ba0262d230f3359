"""Embed a recording of any length into a Parquet file: in flat memory, by one or several processes, resumable."""

import glob
import json
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..atomic import only_writer, remove_parts, written_whole
from ..recordings import Recording, RecordingStream
from .embed import Embedder, Pooling, Statistics, progress_bar
from .windows import Windows, made_ahead

# Names repeat, numbers never do: a dictionary of embeddings would be as large as they are.
_FORMAT: dict[str, Any] = {"compression": "zstd", "use_dictionary": ["recording", "contact", "problem"]}


class Processes(Protocol):
    """What divides the work; accelerate.PartialState is one."""

    process_index: int
    num_processes: int

    def wait_for_everyone(self) -> None:
        """Return when all processes have called this."""


class _Alone:
    process_index = 0
    num_processes = 1

    def wait_for_everyone(self) -> None:
        """Nobody else is there."""


def embed_to_parquet(
    recording: Recording | RecordingStream,
    model: Any,
    extractor: Any,
    path: Path | str,
    *,
    window_s: float = 5.0,
    stride_s: float | None = None,
    pooling: Pooling | None = None,
    layer: int = -1,
    statistics: Statistics | None = None,
    batch_size: int = 64,
    progress: bool = True,
    state: Processes | None = None,
) -> None:
    """Write the table of `embed_recording` to a Parquet file, a row group per block of about a minute.

    The arguments are those of `embed_recording`, and:
    path: of the file, which must not exist. Blocks that are done wait in the folder `parts_folder(path)`; whoever calls
        again with the same arguments goes on from there, and gets the file that one run would have written.
    state: an accelerate.PartialState when several processes share the work: each calls this function, block k belongs
        to process k modulo their number, and the first joins the blocks. All must see one file system. Only reading,
        conditioning and embedding of blocks are divided: whoever opens a recording in each process goes through the
        file once in each, for its hash and its inspection.
    The file is the same byte for byte, stopped or not and on any number of processes, on equal machines with as many
    torch threads in each process; other machines or threads round sums differently, which nothing here can see.
    Parquet, because labels stand in typed columns beside the vectors, the metadata travels along, and pandas, polars,
    duckdb and datasets read it in pieces; zarr would suit bare arrays, and has no labels beside rows.
    Raises ValueError when path exists, when the folder holds blocks that were made with other settings, when another
    run is writing there, and what `embed_recording` raises.
    """
    path, state = Path(path), state or _Alone()
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
    parts, first = parts_folder(path), state.process_index == 0
    progress = progress and first
    if path.exists() and not (parts.exists() and _says(path) == embedder.about):
        raise ValueError(f"{path} exists: choose another path, so that no embeddings are lost.")
    joined = path.exists()  # by a run that was killed before all parts were removed
    with only_writer(parts) if first else nullcontext():
        if first and not joined:
            _begin(path, embedder.about)
        state.wait_for_everyone()  # until all have seen what is there, nothing is removed
        if not joined:
            _refuse_other_settings(parts, embedder.about)
            if embedder.needs_statistics:
                _fit(embedder, parts, state, progress=progress)
            _embed(embedder, parts, state, progress=progress)
            state.wait_for_everyone()
            if first:
                _join(embedder, parts, path)
    if first:
        shutil.rmtree(parts)
    state.wait_for_everyone()


def parts_folder(path: Path | str) -> Path:
    """Return the folder where `embed_to_parquet` keeps the blocks of a file until all are done."""
    path = Path(path)
    return path.with_name(f"{path.name}.parts")


def _begin(path: Path, about: dict[str, Any]) -> None:
    """Clear what a killed process left half-written or half-removed, and write the settings unless there are blocks."""
    parts = parts_folder(path)
    settings = parts / "settings.json"
    remove_parts(parts)
    for half_joined in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        half_joined.unlink()
    blocks = [*parts.glob("block-*.parquet"), *parts.glob("statistics-*.npz")]
    if not settings.exists():  # killed while all was removed: nothing says what these blocks were made from
        for block in blocks:
            block.unlink()
        blocks = []
    if not blocks:
        with written_whole(settings) as temporary:
            temporary.write_text(json.dumps(about, indent=2), encoding="utf-8")


def _refuse_other_settings(parts: Path, about: dict[str, Any]) -> None:
    if not (parts / "settings.json").exists():
        raise ValueError(f"{parts} is not there for this process: all must write to one file system that they share.")
    old = json.loads((parts / "settings.json").read_text(encoding="utf-8"))
    other = sorted(name for name in old.keys() | about.keys() if old.get(name) != about.get(name))
    if other:
        raise ValueError(
            f"{parts} holds blocks that were made with another {', '.join(other)}: go on with the same settings, "
            "choose another path, or remove the folder."
        )


def _fit(embedder: Embedder, parts: Path, state: Processes, *, progress: bool) -> None:
    """Let the processes take the statistics of the blocks of the grid; each reads them all then."""
    files = [parts / f"statistics-{number:06}.npz" for number in range(len(embedder.grid))]
    mine, missing = _share(files, state)
    with _bar_over("statistics", embedder.grid, mine, missing, progress=progress) as bar:
        for block in made_ahead(embedder.grid.read, missing):
            with written_whole(files[block.number]) as temporary, temporary.open("wb") as file:
                np.savez(file, **embedder.statistics_of(block))  # type: ignore[arg-type]  # its own bool: allow_pickle
            bar.update(embedder.grid.rows(block.number))
    state.wait_for_everyone()
    _refuse_missing(files)
    embedder.fit(_arrays(files))


def _embed(embedder: Embedder, parts: Path, state: Processes, *, progress: bool) -> None:
    files = _files_of_blocks(embedder, parts)
    mine, missing = _share(files, state)
    with _bar_over("embedding", embedder.windows, mine, missing, progress=progress) as bar:
        for block in made_ahead(embedder.windows.read, missing):
            table = embedder.embed(block, bar.update)
            with written_whole(files[block.number]) as temporary:
                pq.write_table(table, temporary, **_FORMAT)


def _join(embedder: Embedder, parts: Path, path: Path) -> None:
    """Copy the blocks one after the other into the file, each as a row group."""
    files = _files_of_blocks(embedder, parts)
    _refuse_missing(files)
    with written_whole(path) as temporary:
        schema = pq.read_schema(files[0]).with_metadata(embedder.metadata)
        with pq.ParquetWriter(temporary, schema, **_FORMAT) as writer:
            for file in files:
                table = pq.ParquetFile(file).read().replace_schema_metadata(embedder.metadata)
                writer.write_table(table, row_group_size=table.num_rows)


def _files_of_blocks(embedder: Embedder, parts: Path) -> list[Path]:
    return [parts / f"block-{number:06}.parquet" for number in range(len(embedder.windows))]


def _share(files: list[Path], state: Processes) -> tuple[range, list[int]]:
    """Return the blocks that belong to this process, and which of them are still to be made."""
    mine = range(state.process_index, len(files), state.num_processes)
    return mine, [number for number in mine if not files[number].exists()]


def _bar_over(what: str, windows: Windows, mine: range, missing: list[int], *, progress: bool) -> Any:
    done = sum(windows.rows(number) for number in set(mine) - set(missing))
    return progress_bar(what, windows, mine, done=done, progress=progress)


def _refuse_missing(files: list[Path]) -> None:
    missing = [file.name for file in files if not file.exists()]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(files)} blocks are missing in {files[0].parent} ({missing[0]} first) though all "
            "processes are done: all must write to one file system that they share."
        )


def _arrays(files: list[Path]) -> Iterator[dict[str, NDArray[np.float64]]]:
    for file in files:
        with np.load(file) as arrays:
            yield dict(arrays)


def _says(path: Path) -> Any:
    """Return what a file of embeddings depends on, as its metadata have it."""
    return json.loads((pq.read_schema(path).metadata or {}).get(b"brainbert", b"null"))
