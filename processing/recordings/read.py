"""Read a recording file: microvolts of the brain contacts, and nothing that says who the patient is.

Subject information, dates, experimenter, free-text annotations and paths stay behind; ids are hashes.
"""

import difflib
import hashlib
import sys
import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .band import estimate_band, standard_deviation
from .bids import electrode_positions, find_recording, find_sidecars, open_bids, pseudonym
from .contacts import clean_name, guess_contacts
from .formats import MICROVOLTS, Channel, check_references, format_of, open_raw, read_channels, refusing_broken
from .quality import unit_problem
from .recording import CONTACT_TYPES, Recording, RecordingStream

_BLOCK_VALUES = 2**22  # 32 MiB of float64 at a time


def read_recording(
    path: str | Path,
    *,
    subject: str | None = None,
    session: str | None = None,
    task: str | None = None,
    acquisition: str | None = None,
    run: str | int | None = None,
    contacts: Sequence[str] | Mapping[str, str] | None = None,
    unit: str | None = None,
    recording_id: str | None = None,
    keep_labels: bool = False,
) -> Recording:
    """Read the brain contacts of an EDF, BDF, BrainVision or FIF file, or of one recording of a BIDS data set, in µV.

    path: a file, or the root of a BIDS data set; then subject, session, task, acquisition and run pick the recording.
    subject, session: for a single file, the names to give it. Without them every file is a subject of its own, so name
        them when you have several files of a person, or a split by subject will not hold.
    contacts: names to keep (as in the file, or cleaned), or a mapping of name -> "seeg", "ecog" or "dbs". By default
        those the file types as such; in EDF, BDF and BrainVision files without types, names of a shaft and a number
        that cannot be scalp electrodes, and what was kept and left out is printed.
    unit: "V", "mV", "µV", "uV", "nV" or "pV", to correct a header that names another unit or none.
    recording_id: a name for the recording. By default the first ten hexadecimal digits of the SHA-256 of its files: of
        a BIDS recording also channels.tsv, electrodes.tsv and coordsystem.json, which say what is bad and where it is.
    keep_labels: keep the subject and session labels of a BIDS data set instead of hashing them with its name.
    Ids are deterministic: the same file has the same id on every machine.
    Returns a Recording with bad contacts of the file marked, positions in millimetres in the frame that the file names,
    and the pass band estimated from the signal within what the header says.
    Warns when amplitudes suggest a wrong unit; what else is wrong with the signal, `assess_quality` says.
    Raises FileNotFoundError, and ValueError for a format that is not read here, a header that names files elsewhere,
    several matching recordings, no brain contact, or a unit that is no voltage.
    """
    recording = open_recording(
        path,
        subject=subject,
        session=session,
        task=task,
        acquisition=acquisition,
        run=run,
        contacts=contacts,
        unit=unit,
        recording_id=recording_id,
        keep_labels=keep_labels,
    ).load()
    spread = [
        deviation
        for name, row in zip(recording.contacts, recording.data, strict=True)
        if name not in recording.bad and (deviation := standard_deviation(row)) > 0
    ]
    if not spread:  # nothing to estimate from; assess_quality will say why
        return recording
    message = unit_problem(float(np.median(spread)))
    if message:
        warnings.warn(message, stacklevel=2)
    return replace(recording, band_hz=estimate_band(recording, warn=False))


def open_recording(
    path: str | Path,
    *,
    subject: str | None = None,
    session: str | None = None,
    task: str | None = None,
    acquisition: str | None = None,
    run: str | int | None = None,
    contacts: Sequence[str] | Mapping[str, str] | None = None,
    unit: str | None = None,
    recording_id: str | None = None,
    keep_labels: bool = False,
) -> RecordingStream:
    """Open a recording as `read_recording` reads it, and leave its samples in the file until they are asked for.

    The arguments are those of `read_recording`. Without recording_id the file is read once, from end to end, for its
    hash.
    The pass band is what the header says, None when it says none, and the amplitudes are not looked at:
    `condition_stream` does both in its first pass over the file.
    Returns a RecordingStream; `.read(start, stop)` takes samples, `.load()` takes all.
    Raises what `read_recording` raises; `.read` raises ValueError when the file is broken further on.
    """
    path = Path(path)
    if unit is not None and unit not in MICROVOLTS:
        raise ValueError(f"unit is {unit!r}; use 'V', 'mV', 'µV', 'uV', 'nV' or 'pV'.")
    if path.is_dir():
        bids_path = _find_bids(path, subject=subject, session=session, task=task, acquisition=acquisition, run=run)
        root, path = path, Path(bids_path.fpath)
        files, sidecars = check_references(path, root=root), find_sidecars(bids_path)
        raw = open_bids(bids_path)
        positions, frame = electrode_positions(sidecars)
        subject, session = bids_path.subject, bids_path.session or ""
        if not keep_labels:
            subject, session = pseudonym(root, subject), pseudonym(root, session) if session else ""
    else:
        _refuse_entities(task, acquisition, run)
        bids_path = None
        files, sidecars = check_references(path), {}
        raw = open_raw(path)
        positions, frame = _montage_positions(raw)
    format_name = format_of(path)
    channels = read_channels(path, raw)
    kinds, how = _choose(raw, contacts=contacts, guess=bids_path is None and format_name != "FIF")
    rows = [raw.ch_names.index(name) for name in kinds]
    scales = _scales([channels[row] for row in rows], format_name=format_name, unit=unit)
    names = _clean_names(list(kinds))
    bad = {names[name]: "bad in the file" for name in raw.info["bads"] if name in names}
    raw, picks = _same_rate(path, raw, channels, rows)
    # What MNE-Python really opened, in case it reads a header differently than we do.
    if not {Path(name).resolve() for name in raw.filenames} <= {file.resolve() for file in files}:
        raise ValueError(
            f"{path.name!r} leads to a file other than its own data, which is not followed; export it anew."
        )
    if recording_id is None:
        recording_id = _content_hash([*files, *sidecars.values()])
    located = np.array([positions.get(name, np.full(3, np.nan)) for name in kinds], dtype=np.float64)
    known = bool(np.isfinite(located).any())
    header_band = _header_band(raw, [channels[row] for row in rows])
    return RecordingStream(
        source=_FileSamples(path, raw, picks=picks, scales=scales),
        num_samples=int(raw.n_times),
        sampling_rate=float(raw.info["sfreq"]),
        contacts=tuple(names.values()),
        types=tuple(kinds.values()),
        bad=bad,
        positions=located if known else None,
        coordinate_frame=frame if known else None,
        band_hz=header_band,
        history=(
            {
                "step": "read",
                "format": format_name if bids_path is None else f"BIDS, {format_name}",
                "types": how,
                "channels_left_out": len(channels) - len(kinds),
                "bad_in_file": sorted(bad),
                "unit_given": unit,
                "header_band_hz": list(header_band) if header_band else None,
            },
        ),
        id=recording_id,
        subject=recording_id if subject is None else subject,
        session=session or "",
    )


def identify_recording(
    path: str | Path,
    *,
    subject: str | None = None,
    session: str | None = None,
    task: str | None = None,
    acquisition: str | None = None,
    run: str | int | None = None,
) -> str:
    """Return the id that `read_recording` would give this recording, without opening its signal.

    path, subject, session, task, acquisition, run: as for `read_recording`.
    Raises what `read_recording` raises for a file that is missing, ambiguous, or leads elsewhere.
    """
    path = Path(path)
    if path.is_dir():
        found = _find_bids(path, subject=subject, session=session, task=task, acquisition=acquisition, run=run)
        files = check_references(Path(found.fpath), root=path)
        return _content_hash([*files, *find_sidecars(found).values()])
    _refuse_entities(task, acquisition, run)
    return _content_hash(check_references(path))


def _find_bids(root: Path, **entities: str | int | None) -> Any:
    return find_recording(
        root, entities={name: None if label is None else str(label) for name, label in entities.items()}
    )


def _refuse_entities(*entities: str | int | None) -> None:
    if any(entity is not None for entity in entities):
        raise ValueError("task, acquisition and run pick a recording of a BIDS data set; give the data set's root.")


def _choose(raw: Any, *, contacts: Sequence[str] | Mapping[str, str] | None, guess: bool) -> tuple[dict[str, str], str]:
    """Return name in the file -> contact type, in the file's order, and where the types come from."""
    kinds = dict(zip(raw.ch_names, raw.get_channel_types(), strict=True))
    if contacts is not None:
        if isinstance(contacts, str) or not contacts:
            raise ValueError(f"contacts is {contacts!r}; give a list of names, or a mapping of name to type.")
        chosen = {}
        for wanted in contacts:
            found = [name for name in kinds if wanted == name] or [name for name in kinds if wanted == clean_name(name)]
            if len(found) != 1:
                near = difflib.get_close_matches(wanted, kinds, n=3) or list(kinds)[:6]
                raise ValueError(
                    f"{len(found)} channels are called {wanted!r}; names in the file that are near: {', '.join(near)}."
                )
            own = kinds[found[0]] if kinds[found[0]] in CONTACT_TYPES else "seeg"
            chosen[found[0]] = contacts[wanted] if isinstance(contacts, Mapping) else own
        wrong = sorted(set(chosen.values()) - set(CONTACT_TYPES))
        if wrong:
            raise ValueError(f"Contact types {wrong} are given; use 'seeg', 'ecog' or 'dbs'.")
        return {name: chosen[name] for name in kinds if name in chosen}, "given"
    typed = {name: kind for name, kind in kinds.items() if kind in CONTACT_TYPES}
    if typed:
        return typed, "file"
    guessed = guess_contacts(name for name, kind in kinds.items() if kind == "eeg") if guess else []
    if not guessed:
        raise ValueError(
            f"None of the {len(kinds)} channels is a depth, surface or stimulation contact by type"
            f"{' or by name' if guess else ''} ({', '.join(list(kinds)[:8])}{' ...' if len(kinds) > 8 else ''}); "
            "name them: contacts=[...] or contacts={name: 'seeg'}."
        )
    left_out = [name for name in kinds if name not in set(guessed)]
    print(
        f"The file types no channel as intracranial. Kept by name as sEEG ({len(guessed)}): {', '.join(guessed)}. "
        f"Left out ({len(left_out)}): {', '.join(left_out) or 'none'}. Give contacts=[...] to choose yourself.",
        file=sys.stderr,
    )
    return dict.fromkeys(guessed, "seeg"), "guessed from names"


def _clean_names(names: list[str]) -> dict[str, str]:
    """Map names in the file to cleaned ones; those that would collide stay as they are."""
    cleaned = [clean_name(name) for name in names]
    return {
        name: short if short and cleaned.count(short) == 1 else name for name, short in zip(names, cleaned, strict=True)
    }


def _scales(channels: list[Channel], *, format_name: str, unit: str | None) -> NDArray[np.float64]:
    """Return what each channel's volts by MNE-Python must be multiplied with to be microvolts."""
    assumed = [channel.microvolts(format_name=format_name) for channel in channels]
    if unit is not None:
        # A unit that MNE-Python does not know was read as volts.
        return np.array([1e6 * MICROVOLTS[unit] / (known or 1e6) for known in assumed])
    unknown = {channel.label: channel.unit for channel, known in zip(channels, assumed, strict=True) if known is None}
    if unknown:
        raise ValueError(
            f"{len(unknown)} contacts have a unit that is no voltage (such as {next(iter(unknown))!r}: "
            f"{next(iter(unknown.values())) or 'none'!r}); if you know it, give unit='µV' (or 'mV', 'V', 'nV', 'pV')."
        )
    return np.full(len(channels), 1e6)


def _same_rate(path: Path, raw: Any, channels: list[Channel], rows: list[int]) -> tuple[Any, list[int]]:
    """Open EDF and BDF anew with the contacts alone: MNE-Python brings all channels to the highest rate."""
    rates = sorted({channels[row].sampling_rate or raw.info["sfreq"] for row in rows})
    if len(rates) > 1:
        raise ValueError(
            f"The contacts have different sampling rates ({', '.join(f'{rate:g}' for rate in rates)} Hz); "
            "read those of one rate at a time with contacts=[...]."
        )
    if channels[rows[0]].sampling_rate is None:
        return raw, rows
    every, labels = [channel.label for channel in channels], [channels[row].label for row in rows]
    repeated = sorted({label for label in labels if every.count(label) > 1})
    if repeated:
        raise ValueError(f"{path.name!r} has several channels called {', '.join(repeated)}; rename them in the file.")
    return open_raw(path, labels=labels), list(range(len(rows)))


class _FileSamples:
    """Read stretches of an open file in µV; one at a time, whichever thread asks."""

    def __init__(self, path: Path, raw: Any, *, picks: list[int], scales: NDArray[np.float64]) -> None:
        self._path, self._raw, self._picks, self._scales = path, raw, picks, scales
        self._lock = threading.Lock()

    def __call__(self, start: int, stop: int) -> NDArray[np.float32]:
        data = np.empty((len(self._picks), stop - start), dtype=np.float32)
        block = max(1, _BLOCK_VALUES // len(self._raw.ch_names))
        with self._lock, refusing_broken(self._path, "a complete recording"):
            for first in range(start, stop, block):
                last = min(first + block, stop)
                volts = self._raw.get_data(picks=self._picks, start=first, stop=last, verbose="ERROR")
                data[:, first - start : last - start] = volts * self._scales[:, None]
        return data


def _montage_positions(raw: Any) -> tuple[dict[str, NDArray[np.float64]], str | None]:
    montage = raw.get_montage()
    if montage is None:
        return {}, None
    found = montage.get_positions()
    frame = str(found["coord_frame"])
    if frame == "head" and found["nasion"] is None:
        # FIF writers call positions of any frame "head"; a head frame is defined by its fiducials, so this is not one.
        frame = "unknown"
    return {name: np.asarray(place) * 1000.0 for name, place in found["ch_pos"].items()}, frame


def _header_band(raw: Any, channels: list[Channel]) -> tuple[float, float] | None:
    """Return the filters that the header states, None when it states none.

    MNE-Python then gives 0 and Nyquist; in EDF it mixes in the filters of the channels that are not read.
    """
    stated = [channel.filters_hz for channel in channels if channel.filters_hz is not None]
    if stated:
        low, high = max(low for low, _ in stated), min(high for _, high in stated)
    else:
        low, high = float(raw.info["highpass"] or 0.0), float(raw.info["lowpass"] or 0.0)
    nyquist = float(raw.info["sfreq"]) / 2
    if not 1 < high < nyquist:
        high = nyquist
    if not 0 <= low < high:
        low = 0.0
    return None if (low, high) == (0.0, nyquist) else (low, high)


def _content_hash(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(f"The header {files[0].name!r} names {file.name!r}, which is not beside it.")
        with file.open("rb") as stream:
            while chunk := stream.read(2**20):
                digest.update(chunk)
    return digest.hexdigest()[:10]
