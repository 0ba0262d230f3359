"""Read a recording file: microvolts of the brain contacts, and nothing that says who the patient is.

Subject information, dates, experimenter, free-text annotations and paths stay behind; ids are hashes.
"""

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .band import estimate_band, standard_deviation
from .bids import find_recording, find_sidecars, pseudonym
from .formats import MICROVOLTS, check_references, format_of
from .mne_signals import MneSignals, open_mne
from .nwb import NwbSignals, open_nwb, place_of_series
from .quality import unit_problem
from .recording import Recording, RecordingStream
from .selection import choose_contacts, clean_names


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
    series: str | None = None,
    position_unit: str | None = None,
    recording_id: str | None = None,
    keep_labels: bool = False,
) -> Recording:
    """Read the brain contacts of an EDF, BDF, BrainVision, FIF or NWB file, or of a BIDS recording, in µV.

    path: a file, or the root of a BIDS data set; then subject, session, task, acquisition and run pick the recording.
    subject, session: for a single file, the names to give it. Without them every file is a subject of its own, so name
        them when you have several files of a person, or a split by subject will not hold.
    contacts: names to keep (as in the file, or cleaned), or a mapping of name -> "seeg", "ecog" or "dbs". By default
        those the file types as such; in EDF, BDF and BrainVision files without types, and beside the types of an NWB
        file, names of a shaft and a number that cannot be scalp electrodes, and what was kept and left out is printed.
    unit: "V", "mV", "µV", "uV", "nV" or "pV", to correct a header that names another unit or none.
    series: of an NWB file with several ElectricalSeries, the name of the one to read; each has an id of its own.
    position_unit: "m", "cm", "mm", "µm" or "um", of an NWB file that does not name the unit of its positions.
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
        series=series,
        position_unit=position_unit,
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
    series: str | None = None,
    position_unit: str | None = None,
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
    root = path
    path, files, bids_path, sidecars = find_files(
        path, subject=subject, session=session, task=task, acquisition=acquisition, run=run
    )
    if bids_path is not None:
        subject, session = bids_path.subject, bids_path.session or ""
        if not keep_labels:
            subject, session = pseudonym(root, subject), pseudonym(root, session) if session else ""
    format_name = format_of(path)
    signals: MneSignals | NwbSignals
    place, asked = None, {}  # of NWB alone
    if format_name == "NWB":
        signals = open_nwb(path, series=series, unit=unit, position_unit=position_unit)
        place = signals.series
        asked = {"series": place, "position_unit_given": position_unit}
    else:
        _refuse_nwb_arguments(path, series, position_unit)
        signals = open_mne(path, files=files, unit=unit, bids_path=bids_path, sidecars=sidecars)
    kinds = dict(zip(signals.names, signals.types, strict=True))
    chosen, how = choose_contacts(kinds, contacts=contacts, guess=bids_path is None and format_name != "FIF")
    rows = [signals.names.index(name) for name in chosen]
    samples = signals.samples_of(rows)
    names = clean_names(list(chosen))
    bad = {names[name]: "bad in the file" for name in signals.bad if name in names}
    positions = None if signals.positions is None else signals.positions[rows]
    known = positions is not None and bool(np.isfinite(positions).any())
    if recording_id is None:
        recording_id = _content_hash([*files, *sidecars.values()], series=place)
    return RecordingStream(
        source=samples.read,
        num_samples=samples.num_samples,
        sampling_rate=samples.sampling_rate,
        contacts=tuple(names.values()),
        types=tuple(chosen.values()),
        bad=bad,
        positions=positions if known else None,
        coordinate_frame=signals.coordinate_frame if known else None,
        band_hz=samples.band_hz,
        history=(
            {
                "step": "read",
                "format": format_name if bids_path is None else f"BIDS, {format_name}",
                "types": how,
                "channels_left_out": len(kinds) - len(chosen),
                "bad_in_file": sorted(bad),
                "unit_given": unit,
                **asked,
                "header_band_hz": list(samples.band_hz) if samples.band_hz else None,
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
    series: str | None = None,
) -> str:
    """Return the id that `read_recording` would give this recording, without opening its signal.

    path, subject, session, task, acquisition, run, series: as for `read_recording`.
    Raises what `read_recording` raises for a file that is missing, ambiguous, or leads elsewhere.
    """
    path, files, _, sidecars = find_files(
        Path(path), subject=subject, session=session, task=task, acquisition=acquisition, run=run
    )
    if format_of(path) == "NWB":
        return _content_hash(files, series=place_of_series(path, series=series))
    _refuse_nwb_arguments(path, series)
    return _content_hash([*files, *sidecars.values()])


class RecordingFiles(NamedTuple):
    """Where a recording lies.

    path: what to open. files: those that hold its signal, itself first; nothing else may be read.
    bids_path, sidecars: of `find_recording` and `find_sidecars`; None and empty outside of a BIDS data set.
    """

    path: Path
    files: list[Path]
    bids_path: Any
    sidecars: dict[str, Path]


def find_files(
    path: Path,
    *,
    subject: str | None = None,
    session: str | None = None,
    task: str | None = None,
    acquisition: str | None = None,
    run: str | int | None = None,
) -> RecordingFiles:
    """Return the files of a recording, after looking where they lead.

    The arguments are those of `read_recording`, and so is what is raised.
    """
    if path.is_dir():
        entities = {"subject": subject, "session": session, "task": task, "acquisition": acquisition, "run": run}
        found = find_recording(
            path, entities={name: None if label is None else str(label) for name, label in entities.items()}
        )
        file = Path(found.fpath)
        return RecordingFiles(file, check_references(file, root=path), found, find_sidecars(found))
    if any(entity is not None for entity in (task, acquisition, run)):
        raise ValueError("task, acquisition and run pick a recording of a BIDS data set; give the data set's root.")
    return RecordingFiles(path, check_references(path), None, {})


def _refuse_nwb_arguments(path: Path, *given: str | None) -> None:
    if any(text is not None for text in given):
        raise ValueError(f"series and position_unit are for NWB files and {path.name!r} is none; leave them out.")


def _content_hash(files: list[Path], *, series: str | None = None) -> str:
    digest = hashlib.sha256()
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(f"The header {files[0].name!r} names {file.name!r}, which is not beside it.")
        with file.open("rb") as stream:
            while chunk := stream.read(2**20):
                digest.update(chunk)
    if series is not None:  # of several in the same file
        digest.update(series.encode())
    return digest.hexdigest()[:10]
