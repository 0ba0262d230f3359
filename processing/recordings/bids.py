"""Find and open one recording of an iEEG-BIDS data set, through MNE-BIDS.

Positions are in millimetres, in the coordinate system that the data set names: nothing is transformed.
"""

import csv
import hashlib
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mne_bids
import numpy as np

from .formats import refuse_links_out_of, refusing_broken

ENTITIES = ("subject", "session", "task", "acquisition", "run")
_EXTENSIONS = (".edf", ".EDF", ".bdf", ".BDF", ".vhdr", ".fif")
_MILLIMETRES = {"m": 1000.0, "cm": 10.0, "mm": 1.0}


def find_recording(root: Path, *, entities: Mapping[str, str | None]) -> Any:
    """Return the BIDSPath of the one iEEG recording under `root` that has these entities.

    entities: subject, session, task, acquisition, run; None accepts any. Runs 1 and 01 are the same.
    Raises ValueError when none or several match, which the sentence lists, or when it is NWB.
    """
    subjects = sorted(folder.name.removeprefix("sub-") for folder in root.glob("sub-*") if folder.is_dir())
    if not subjects:
        raise ValueError(
            f"The folder {root.name!r} holds no sub-* folders and is not the root of a BIDS data set; "
            "give the folder that holds dataset_description.json, or a file."
        )
    subject = entities["subject"]
    if subject is None or not any(_same(subject, known) for known in subjects):
        given = "No subject is given" if subject is None else f"There is no subject {subject!r}"
        raise ValueError(f"{given}; the data set {root.name!r} has subject={_listed(subjects)}.")
    with refusing_broken(root, "a BIDS data set"):
        found = mne_bids.find_matching_paths(
            root,
            subjects=[known for known in subjects if _same(subject, known)],
            datatypes="ieeg",
            suffixes="ieeg",
            extensions=[*_EXTENSIONS, ".nwb"],
        )
    matching = [
        path
        for path in found
        if all(wanted is None or _same(wanted, path.entities[name]) for name, wanted in entities.items())
    ]
    if matching and all(path.extension == ".nwb" for path in matching):
        raise ValueError(
            f"{Path(matching[0].fpath).name!r} is NWB in a BIDS data set, whose tables MNE-BIDS does not read beside "
            "NWB; give the .nwb file itself, and mark what channels.tsv calls bad with mark_bad."
        )
    found, matching = ([path for path in paths if path.extension != ".nwb"] for paths in (found, matching))
    if not matching:
        raise ValueError(
            f"No EDF, BDF, BrainVision or FIF recording has {_entities(entities)}; there are: "
            f"{'; '.join(_entities(path.entities) for path in found[:12]) or 'none in a folder called ieeg'}."
        )
    if len(matching) > 1:
        raise ValueError(
            f"{len(matching)} recordings have {_entities(entities)}; give the entities of one of them: "
            f"{'; '.join(_entities(path.entities) for path in matching[:12])}."
        )
    return matching[0]


def _same(wanted: str, label: str | None) -> bool:
    wanted = str(wanted)
    if label is None:
        return False
    return wanted == label or (wanted.isdigit() and label.isdigit() and int(wanted) == int(label))


def _entities(entities: Mapping[str, str | None]) -> str:
    return ", ".join(f"{name}={entities[name]!r}" for name in ENTITIES if entities.get(name) is not None)


def _listed(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def open_bids(bids_path: Any) -> Any:
    """Open a recording with its channels.tsv (types, bad contacts) without reading its samples.

    Raises ValueError when MNE-BIDS cannot read it.
    """
    with refusing_broken(Path(bids_path.fpath), "iEEG-BIDS"):
        return mne_bids.read_raw_bids(bids_path, verbose="ERROR")


def find_sidecars(bids_path: Any) -> dict[str, Path]:
    """Return the sidecars that a recording is read with, those that there are: channels, electrodes, coordsystem.

    Raises ValueError when one is a symbolic link that leads out of the data set.
    """
    found = {}
    with refusing_broken(Path(bids_path.fpath), "iEEG-BIDS"):
        for suffix, extension in (("channels", ".tsv"), ("electrodes", ".tsv"), ("coordsystem", ".json")):
            path = bids_path.find_matching_sidecar(suffix=suffix, extension=extension, on_error="ignore")
            if path is not None:
                found[suffix] = Path(path)
    for path in found.values():
        refuse_links_out_of(Path(bids_path.root), path)
    return found


def find_events(bids_path: Any) -> Path | None:
    """Return the events.tsv of a recording, None when there is none.

    Raises ValueError when it is a symbolic link that leads out of the data set.
    """
    with refusing_broken(Path(bids_path.fpath), "iEEG-BIDS"):
        path = bids_path.find_matching_sidecar(suffix="events", extension=".tsv", on_error="ignore")
    if path is None:
        return None
    refuse_links_out_of(Path(bids_path.root), Path(path))
    return Path(path)


def electrode_positions(sidecars: Mapping[str, Path]) -> tuple[dict[str, np.ndarray], str | None]:
    """Return contact name -> position in millimetres, and the coordinate system as the data set names it.

    sidecars: of `find_sidecars`.

    Read from electrodes.tsv and coordsystem.json directly, since MNE-Python knows few coordinate systems and would move
    positions into its own. Without a system or a unit of length there are no positions: neither is guessed.
    Raises ValueError when a sidecar cannot be read.
    """
    electrodes, system = sidecars.get("electrodes"), sidecars.get("coordsystem")
    if electrodes is None:
        return {}, None
    described: Any = {}
    if system is not None:
        with refusing_broken(system, "JSON"):
            described = dict(json.loads(system.read_text(encoding="utf-8-sig")))
    frame, unit = described.get("iEEGCoordinateSystem"), described.get("iEEGCoordinateUnits")
    if not frame or unit not in _MILLIMETRES:
        warnings.warn(
            f"Positions are left out: coordsystem.json gives the system {frame!r} and the unit {unit!r}; "
            "it should name a system and m, cm or mm.",
            stacklevel=4,
        )
        return {}, None
    space = next((part[6:] for part in (system.name if system else "").split("_") if part.startswith("space-")), None)
    if frame == "Other" and space:
        frame = f"Other (space-{space})"
    with refusing_broken(electrodes, "a table"), electrodes.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    positions = {
        str(row.get("name")): np.array([_coordinate(row.get(axis)) for axis in "xyz"]) * _MILLIMETRES[unit]
        for row in rows
    }
    return positions, str(frame)


def _coordinate(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:  # "n/a"
        return float("nan")


def pseudonym(root: Path, label: str) -> str:
    """Return a short hash of a label, the same on every machine, and different in a data set of another name.

    Without the name, subject 01 of two data sets would be one person in a joined corpus.
    """
    description = root / "dataset_description.json"
    name = ""
    if description.is_file():
        with refusing_broken(description, "JSON"):
            name = json.loads(description.read_text(encoding="utf-8-sig")).get("Name", "")
    return hashlib.sha256(f"{name}\n{label}".encode()).hexdigest()[:10]
