"""Keep a conditioned recording on disk, where it is read from as if it were in memory.

A stream conditions a stretch each time that it is read. Who reads all of it several times, for one system and label
after the other, conditions it once and keeps the result.
"""

import json
import sys
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..atomic import written_whole
from .recording import AnyRecording, Recording, RecordingHeader

# Conditioning starts 40 time constants before each stretch that is read, 6 to 8 s: 64 MiB at a time are half a minute
# of 250 contacts, for which a fifth is read twice.
_BLOCK_VALUES = 2**24
_VERSION = 1


def keep_recording(
    recording: AnyRecording, folder: Path | str, *, contacts: Collection[str] | None = None, progress: bool = True
) -> Recording:
    """Write a recording to a new folder and return it as it lies there; memory does not grow with its length.

    recording: in memory or a stream. contacts: names of those to keep; the history says which were not. All by default.
    The samples are a NumPy file (contacts, samples), float32, µV, which is mapped and not loaded; the header is JSON.
    Written whole or not at all. Raises ValueError for contacts that the recording does not have, OSError for a folder
    that is there.
    """
    folder = Path(folder)
    unknown = sorted(set(contacts or ()) - set(recording.contacts))
    if unknown:
        raise ValueError(
            f"Recording {recording.id} has no contact {unknown[0]}: choose among {', '.join(recording.contacts)}."
        )
    if contacts is not None and not contacts:
        raise ValueError(f"No contact of recording {recording.id} is named: name one at least, or give None for all.")
    rows = [row for row, name in enumerate(recording.contacts) if contacts is None or name in contacts]
    header = recording.header if contacts is None else _with_contacts(recording.header, rows)
    block = max(1, _BLOCK_VALUES // len(recording.contacts))
    bar = tqdm(
        total=round(recording.duration_s),
        desc=f"keeping {recording.id}",
        unit=" s of signal",
        disable=not progress,
        file=sys.stderr,
    )
    with bar, written_whole(folder) as part:
        part.mkdir()
        file = part / "signal.npy"
        np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=(len(rows), recording.num_samples))
        for start in range(0, recording.num_samples, block):
            stop = min(start + block, recording.num_samples)
            # Mapped anew each time, so that what was written does not stay in memory.
            np.load(file, mmap_mode="r+")[:, start:stop] = recording.read(start, stop)[rows]
            bar.update(round(stop / recording.sampling_rate) - bar.n)
        (part / "header.json").write_text(json.dumps(_plain(header)) + "\n", encoding="utf-8")
    return open_kept(folder)


def open_kept(folder: Path | str) -> Recording:
    """Return the recording that `keep_recording` wrote to a folder; its samples stay there until they are used.

    Raises ValueError for a folder that holds none.
    """
    folder = Path(folder)
    try:
        header = json.loads((folder / "header.json").read_text(encoding="utf-8"))
        data = np.load(folder / "signal.npy", mmap_mode="r", allow_pickle=False)
        if header.pop("version") != _VERSION or data.dtype != np.float32:
            raise ValueError("another version")
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{folder} holds no recording that was kept ({error}): delete it, and keep it again."
        ) from None
    positions = None if header["positions"] is None else np.array(header.pop("positions"), dtype=np.float64)
    band_hz = None if header["band_hz"] is None else tuple(header.pop("band_hz"))
    artefacts = {
        name: tuple((start, stop) for start, stop in stretches) for name, stretches in header.pop("artefacts").items()
    }
    return Recording(data=data, **(header | {"positions": positions, "band_hz": band_hz, "artefacts": artefacts}))


def _with_contacts(header: RecordingHeader, rows: list[int]) -> RecordingHeader:
    names = [header.contacts[row] for row in rows]
    dropped = {name: header.bad.get(name, "not chosen") for name in header.contacts if name not in names}
    header = header.with_step("choose_contacts", {"dropped": dropped})
    return replace(
        header,
        contacts=tuple(names),
        types=tuple(header.types[row] for row in rows),
        bad={name: reason for name, reason in header.bad.items() if name in names},
        positions=None if header.positions is None else header.positions[rows],
        artefacts={name: found for name, found in header.artefacts.items() if name in names},
    )


def _plain(header: RecordingHeader) -> dict[str, object]:
    """Return all of a header but its length, as JSON can hold it (NaN as Python writes it)."""
    return {
        "version": _VERSION,
        "sampling_rate": header.sampling_rate,
        "contacts": header.contacts,
        "types": header.types,
        "bad": dict(header.bad),
        "positions": None if header.positions is None else header.positions.tolist(),
        "coordinate_frame": header.coordinate_frame,
        "band_hz": header.band_hz,
        "history": header.history,
        "id": header.id,
        "subject": header.subject,
        "session": header.session,
        "artefacts": dict(header.artefacts),
    }
