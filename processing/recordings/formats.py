"""Tell formats apart, and open a recording file with MNE-Python after looking at its header ourselves.

A file from elsewhere is not trusted: it may name another file to read in its place (a BrainVision header its data, a
FIF its continuation), by name or by a symbolic link, and a unit that MNE-Python does not know is silently taken for
volts. All are refused here.
"""

import os
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mne
import numpy as np
from numpy.typing import NDArray

# Microvolts in one of what the header calls the unit; the last spellings are a micro sign in Greek and in Shift JIS.
MICROVOLTS = {"V": 1e6, "mV": 1e3, "uV": 1.0, "nV": 1e-3, "pV": 1e-6, "µV": 1.0, "\u03bcV": 1.0, "\x83\xcaV": 1.0}
READ_VALUES = 2**22  # of a file at a time, at most: 32 MiB of float64
_EDF_KNOWN_TO_MNE = frozenset(MICROVOLTS) - {"nV", "pV"}
_BRAINVISION_KNOWN_TO_MNE = frozenset({"V", "mV", "uV", "nV", "µV"})
_FORMATS = {
    **{".edf": "EDF", ".bdf": "BDF", ".vhdr": "BrainVision", ".fif": "FIF"},
    **{".nwb": "NWB", ".h5": "NWB", ".hdf5": "NWB"},  # whether HDF5 is NWB, its content says
}
_FIFF_REFERENCE_NAME = 118
_FIFF_UNIT_VOLT = 107


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """Samples of some channels of an open file.

    read: called with (start, stop) in samples, returns (channels, samples) float32 in µV.
    sampling_rate: Hz. band_hz: the filters that the file states, None when it states none.
    """

    read: Callable[[int, int], NDArray[np.float32]]
    num_samples: int
    sampling_rate: float
    band_hz: tuple[float, float] | None


@dataclass(frozen=True)
class Channel:
    """What a header says about one channel: unit as written, rate and filters in Hz (None: those of the file)."""

    label: str
    unit: str
    sampling_rate: float | None = None
    filters_hz: tuple[float, float] | None = None

    def microvolts(self, *, format_name: str) -> float | None:
        """Return the microvolts that MNE-Python took one unit for, None for a unit that is no voltage."""
        known = _EDF_KNOWN_TO_MNE if format_name in ("EDF", "BDF") else _BRAINVISION_KNOWN_TO_MNE
        return MICROVOLTS[self.unit] if self.unit in known else None


def format_of(path: Path) -> str:
    """Return "EDF", "BDF", "BrainVision", "FIF" or "NWB" by the file's extension.

    Raises ValueError for another extension, and FileNotFoundError when there is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path.name!r} at the path given; check the path.")
    if path.name.lower().endswith((".eeg", ".vmrk")):
        raise ValueError(f"{path.name!r} is a part of a BrainVision recording; give its .vhdr file.")
    try:
        return _FORMATS[path.suffix.lower()]
    except KeyError:
        raise ValueError(
            f"{path.name!r} is not a format that is read here; use EDF, BDF, BrainVision (.vhdr), FIF, NWB, or the "
            "root of a BIDS data set, or build a Recording from arrays."
        ) from None


def check_references(path: Path, *, root: Path | None = None) -> list[Path]:
    """Return the files that hold the signal of a recording, itself first.

    root: of the BIDS data set that the recording belongs to. Its files may be symbolic links to anywhere inside the
        root, as git-annex has them; those that a header outside a data set names, to inside its folder.
    Raises ValueError when it names a file outside its own folder, or is one part of a split recording.
    """
    format_name = format_of(path)
    if root is not None:
        refuse_links_out_of(root, path)
    if format_name == "BrainVision":
        return [path, *_brainvision_data(path, folder=root or path.parent)]
    if format_name == "FIF":
        with refusing_broken(path, "FIF"):
            found = "".join(mne.io.show_fiff(path, output=list, tag=_FIFF_REFERENCE_NAME, verbose="ERROR")).strip()
        if found:
            raise ValueError(
                f"{path.name!r} is a split FIF file that continues in another file, which is not followed; "
                "join the parts with MNE-Python and save them as BrainVision (mne.export.export_raw)."
            )
    return [path]


def refuse_links_out_of(folder: Path, path: Path) -> None:
    """Raise ValueError when a file is, or lies behind, a symbolic link that leads out of the folder."""
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(
            f"{path.name!r} is a symbolic link that leads out of its folder or data set, which is not followed; "
            "put the file itself there, or give the root of the BIDS data set if its target is inside."
        )


def _brainvision_data(path: Path, *, folder: Path) -> list[Path]:
    names = []
    for key, value in re.findall(r"(?im)^[ \t]*(DataFile|MarkerFile)[ \t]*[=:](.*(?:\r?\n[ \t]+.*)*)", _text(path)):
        name = value.strip()
        if not name and key.lower() == "markerfile":
            continue
        if name in ("", ".", "..") or re.search(r"[/\\:\x00-\x1f]", name):
            raise ValueError(
                f"{path.name!r} has {key}={name!r}; only a bare file name beside the header is followed: "
                "put the file there and correct the header."
            )
        refuse_links_out_of(folder, path.parent / name)
        if key.lower() == "datafile":
            names.append(name)
    if len(names) != 1:
        raise ValueError(f"{path.name!r} names {len(names)} data files; a BrainVision header has one DataFile entry.")
    return [path.parent / names[0]]


def _text(path: Path) -> str:
    content = path.read_bytes()
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def read_channels(path: Path, raw: Any) -> list[Channel]:
    """Return what the header says about each channel of `raw`, in its order.

    Warns when an EDF+ file is marked as discontinuous.
    Raises ValueError when header and reader disagree about the number of channels.
    """
    format_name = format_of(path)
    if format_name in ("EDF", "BDF"):
        channels = _edf_channels(path)
    elif format_name == "BrainVision":
        fields = [entry.split(",") for entry in re.findall(r"(?im)^[ \t]*Ch\d+[ \t]*=(.*)$", _text(path))]
        # Channel names with a place of their own follow later in the file under the same keys (coordinates): cut off.
        fields = fields[: len(raw.ch_names)]
        units = [(entry[3].strip() if len(entry) > 3 else "") or "µV" for entry in fields]
        channels = [Channel(label, unit) for label, unit in zip(raw.ch_names, units, strict=False)]
    else:
        channels = [
            Channel(entry["ch_name"], "V" if int(entry["unit"]) == _FIFF_UNIT_VOLT else "other")
            for entry in raw.info["chs"]
        ]
    if len(channels) != len(raw.ch_names):
        raise ValueError(
            f"{path.name!r} has {len(channels)} channels by its header and {len(raw.ch_names)} by MNE-Python; "
            "export it anew."
        )
    return channels


def _edf_channels(path: Path) -> list[Channel]:
    # EDF specification (Kemp et al. 1992): 256 bytes, then each field for all signals in turn.
    with path.open("rb") as file:
        fixed = file.read(256)
        count = int(fixed[252:256])
        fields = file.read(256 * count)
    record_s = float(fixed[244:252]) or 1.0
    if fixed[192:197] in (b"EDF+D", b"BDF+D"):
        warnings.warn(
            f"{path.name!r} is marked as discontinuous: if it has gaps, clips may span them; "
            "export each stretch as a file of its own.",
            stacklevel=5,
        )

    def column(offset: int, width: int) -> list[str]:
        start = offset * count
        return [fields[start + i * width : start + (i + 1) * width].decode("latin-1").strip() for i in range(count)]

    labels, units, filters, samples = column(0, 16), column(96, 8), column(136, 80), column(216, 8)
    # MNE-Python reads what there is of a file that was cut off, and the recording would end early without a word.
    records, record_bytes = int(fixed[236:244]), sum(map(int, samples)) * (3 if format_of(path) == "BDF" else 2)
    found = (path.stat().st_size - len(fixed) - len(fields)) / record_bytes
    if records > found:
        raise ValueError(
            f"{path.name!r} is cut off: its header promises {records} data records and {int(found)} are there; copy "
            "the file again."
        )
    return [
        Channel(label, unit, int(number) / record_s, _filters_hz(filtering))
        for label, unit, filtering, number in zip(labels, units, filters, samples, strict=True)
        if label not in ("EDF Annotations", "BDF Annotations")
    ]


def _filters_hz(filtering: str) -> tuple[float, float]:
    """Read `HP:0.1Hz LP:75Hz`: (0.1, 75); 0 and infinity for what is not there (or a time constant)."""
    edges = {"HP": 0.0, "LP": float("inf")}
    for name, number, unit in re.findall(r"(?i)\b(HP|LP)\s*:?\s*(\d+(?:\.\d+)?)\s*(kHz|Hz)", filtering):
        edges[name.upper()] = float(number) * (1000.0 if unit.lower() == "khz" else 1.0)
    return edges["HP"], edges["LP"]


def open_raw(path: Path, *, labels: list[str] | None = None) -> Any:
    """Open a file with MNE-Python without reading its samples.

    labels: for EDF and BDF, only these channels, so that those with another rate or filter do not matter.
    Raises ValueError when MNE-Python cannot read it.
    """
    format_name = format_of(path)
    with refusing_broken(path, format_name):
        if format_name in ("EDF", "BDF"):
            read = mne.io.read_raw_edf if format_name == "EDF" else mne.io.read_raw_bdf
            if labels is not None:
                return read(path, include=labels, verbose="ERROR")
            return read(path, infer_types=True, verbose="ERROR")
        if format_name == "BrainVision":
            return mne.io.read_raw_brainvision(path, verbose="ERROR")
        return mne.io.read_raw_fif(path, verbose="ERROR")


@contextmanager
def refusing_broken(path: Path, format_name: str) -> Iterator[None]:
    """Turn whatever a reader raises on a broken file into one ValueError without folders, and hush its warnings.

    Its own error is not chained: the message, and so a traceback in somebody's log, may hold a patient's folder.
    The warnings hold paths and dates; what matters of them is checked by us. They come when a file is opened; stretches
    of it may be read in another thread, which must leave the filter of warnings alone: it is that of all threads.
    """
    in_main = threading.current_thread() is threading.main_thread()
    with warnings.catch_warnings() if in_main else nullcontext():
        if in_main:
            warnings.simplefilter("ignore")
        try:
            yield
        except Exception as error:
            said = str(error)
            # Folders that we know come first: their names may have spaces, which the pattern for others stops at.
            for folder in (*path.absolute().parents, *path.resolve().parents, *path.parents):
                if folder.name:
                    said = said.replace(f"{folder}{os.sep}", "").replace(str(folder), "its folder")
            said = re.sub(r"(?:[A-Za-z]:)?[/\\]?(?:[^\s'\"/\\]+[/\\])+", "", " ".join(said.split()))[:200]
            raise ValueError(
                f"{path.name!r} cannot be read as {format_name} ({type(error).__name__}: {said}); "
                "check that the file is complete, that its extension is right, and that its sidecars agree with it."
            ) from None
