"""Compute features of labelled windows block by block, and keep them.

Features are (contacts, windows, features), float32, NaN where a contact has no usable signal in a window.
"""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ..atomic import only_writer, remove_parts, written_whole
from ..recordings import clip_problems
from ..recordings.clips import REASONS
from .epochs import Epochs
from .hashes import sha256
from .signals import AnyRecording, Contacts, Signals, VoltageBlock
from .windows import made_ahead

_PROBLEMS = ("", *REASONS)
Make = Callable[[NDArray[np.float32], NDArray[np.int64]], NDArray[np.floating]]


def find_problems(
    recordings: Sequence[AnyRecording],
    epochs: Epochs,
    contacts: Contacts,
    *,
    cache: Path | str | None = None,
    progress: bool = True,
) -> NDArray[np.str_]:
    """Return (contacts, windows), why the window of a contact should not be used, "" when it should.

    Reasons are those of `brainbert.processing.recordings.check_clips`, and "artefact". Given to the functions that
    compute features, it makes all of them leave out the same windows: a caller who wants windows that, say, seizures
    made "spiking" sets these to "". Windows that are flat, zeros or not finite have no features.
    """
    return problems_of(Signals(recordings, epochs, contacts), cache=cache, progress=progress)


def problems_of(signals: Signals, *, cache: Path | str | None, progress: bool) -> NDArray[np.str_]:
    """See `find_problems`."""

    def codes(block: VoltageBlock) -> NDArray[np.float32]:
        found = np.zeros((len(block.rows), 1, 1), dtype=np.float32)
        for electrode in np.unique(signals.electrode[block.rows]):
            rows = block.rows[signals.electrode[block.rows] == electrode]
            place = int(signals.epochs.recording[signals.window[rows[0]]])
            recording, name = signals.recordings[place], signals.contacts[place][signals.contact[rows[0]]]
            problems = clip_problems(
                recording,
                recording.contacts.index(name),
                signals.windows(block, rows),
                signals.epochs.start[signals.window[rows]],
            )
            found[rows - block.rows[0], 0, 0] = [_PROBLEMS.index(problem) for problem in problems]
        return found

    return np.array(_PROBLEMS)[_kept(signals, codes, "problems", (1, 1), {}, cache, progress)[0, :, :, 0].astype(int)]


def compute_features(
    signals: Signals,
    make: Make,
    *,
    what: str,
    shape: tuple[int, int],
    about: Mapping[str, Any],
    problems: NDArray[np.str_] | None,
    batch_size: int = 64,
    cache: Path | str | None,
    progress: bool,
) -> NDArray[np.float32]:
    """Return (parts, contacts, windows, features), NaN for windows with problems; from `cache` if they were computed.

    make: (rows, samples) in µV and the electrode of each row → (rows, parts, features). shape: (parts, features).
    what: names the file and the progress bar. about: all that `make` depends on, JSON-able.
    problems: of `find_problems`, which is called if they are not given.
    cache: folder of .npy files that are named after the hash of all that they depend on, with that in a .json beside
        each. The result is then a read-only memory map. Who is stopped goes on with the block where it was.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}: it must be at least 1.")
    if problems is None:
        problems = problems_of(signals, cache=cache, progress=progress)
    if problems.shape != signals.shape:
        raise ValueError(
            f"problems are {problems.shape} and there are {signals.shape} (contacts, windows): compute them with "
            "find_problems for the same windows and contacts."
        )
    good = signals.by_row(problems == "")

    def features(block: VoltageBlock) -> NDArray[np.float32]:
        values = np.full((len(block.rows), *shape), np.nan, dtype=np.float32)
        rows = block.rows[good[block.rows]]
        for batch in np.split(rows, range(batch_size, len(rows), batch_size)):
            if len(batch):
                values[batch - block.rows[0]] = make(signals.windows(block, batch), signals.electrode[batch])
        return values

    about = {
        **about,
        "batch_size": batch_size,
        "problems_sha256": hashlib.sha256(np.packbits(good).tobytes()).hexdigest(),
    }
    return _kept(signals, features, what, shape, about, cache, progress)


def _kept(
    signals: Signals,
    make: Callable[[VoltageBlock], NDArray[np.float32]],
    what: str,
    shape: tuple[int, int],
    about: Mapping[str, Any],
    cache: Path | str | None,
    progress: bool,
) -> NDArray[np.float32]:
    """Return what `make` gives for all blocks, (parts, contacts, windows, features), out of `cache` where it is."""
    whole = (shape[0], *signals.shape, shape[1])
    if cache is None:
        result = np.empty(whole, dtype=np.float32)
        with _bar(what, signals, progress=progress) as bar:
            for block in made_ahead(signals.read, range(len(signals.blocks))):
                result[:, :, _columns(signals, block.number)] = signals.by_contact(make(block))
                bar.update(len(block.rows))
        return result
    versions = {name: version(name) for name in ("brainbert", "numpy", "scipy", "torch", "transformers")}
    about = {"what": what, **signals.about, **about, "blocks": sha256(signals.blocks), "versions": versions}
    path = Path(cache) / f"{what.replace(' ', '-')}-{sha256(about)[:16]}.npy"
    parts = path.with_suffix(".parts")
    if not path.exists():
        with only_writer(parts):
            remove_parts(parts)
            files = [parts / f"block-{number:06}.npy" for number in range(len(signals.blocks))]
            missing = [number for number, file in enumerate(files) if not file.exists()]
            with _bar(what, signals, missing=missing, progress=progress) as bar:
                for block in made_ahead(signals.read, missing):
                    with written_whole(files[block.number]) as temporary, temporary.open("wb") as file:
                        np.save(file, make(block))
                    bar.update(len(block.rows))
            with written_whole(path.with_suffix(".json")) as temporary:
                temporary.write_text(json.dumps(about, indent=2), encoding="utf-8")
            with written_whole(path) as temporary:
                result = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=whole)
                for number, name in enumerate(files):
                    result[:, :, _columns(signals, number)] = signals.by_contact(np.load(name))
                result.flush()
                del result  # some systems do not rename a file that is mapped
    shutil.rmtree(parts, ignore_errors=True)
    return np.load(path, mmap_mode="r")


def _columns(signals: Signals, number: int) -> slice:
    """Return where the windows of a block stand in (contacts, windows)."""
    first, last = signals.blocks[number]
    return slice(int(signals.first_row[first]), int(signals.first_row[last])) if signals.pooled else slice(first, last)


def _bar(what: str, signals: Signals, *, missing: Sequence[int] | None = None, progress: bool) -> Any:
    rows = [int(signals.first_row[last] - signals.first_row[first]) for first, last in signals.blocks]
    done = 0 if missing is None else sum(rows) - sum(rows[number] for number in missing)
    return tqdm(total=sum(rows), initial=done, desc=what, unit=" windows", disable=not progress, file=sys.stderr)
