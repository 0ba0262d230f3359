"""Where the runs of Du-IN lie, in pickles or BIDS, and what is in them: words, contacts, epochs in microvolts."""

import csv
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..recordings import RecordingStream, open_recording
from ..recordings.formats import MICROVOLTS, refuse_links_out_of
from ..recordings.selection import clean_names
from .du_in_pickles import EPOCH_SAMPLES, is_plain_name, read_contacts, read_epochs

RATE = 1000  # Hz
Layout = Literal["pickle", "bids"]
_FOLDERS = ("data/seeg.he2023xuanwu", "seeg.he2023xuanwu", ".")
_TASK, _DATASET = "word-recitation", "dataset.bipolar.default.unaligned"
_BIDS_TASK = "wordreading"
_BIDS_RUN = re.compile(rf"sub-\d+_task-{_BIDS_TASK}(?:_run-(\d+))?_ieeg\.vhdr")
_EVENT_COLUMNS = ("onset", "sample", "value")


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """A run whose samples are not read yet.

    contacts: of the file, with clean names. files: those that its samples and words depend on.
    read: returns the words and the epochs, each (contacts, 3000) in µV. header: what a BIDS data set says besides.
    """

    name: str
    contacts: tuple[str, ...]
    files: tuple[Path, ...]
    read: Callable[[], tuple[list[str], Iterable[NDArray[Any]]]]
    header: RecordingStream | None = None


def find_layout(root: str | Path) -> tuple[Layout, Path]:
    """Return "pickle" or "bids", and the folder that holds the subjects' folders (001, or sub-001).

    root: of the data as published (it holds data/seeg.he2023xuanwu), or of a BIDS data set.
    Raises FileNotFoundError when it is neither.
    """
    root = Path(root)
    for folder in (root / place for place in _FOLDERS):
        if any((subject / _TASK).is_dir() for subject in _folders(folder, r"\d+")):
            return "pickle", folder
    if _folders(root, r"sub-\d+"):
        return "bids", root
    raise FileNotFoundError(
        f"{root.name!r} holds neither data/seeg.he2023xuanwu/001/{_TASK} nor sub-001: give the root of Du-IN as "
        "published, or of its BIDS packaging."
    )


def find_subjects(root: str | Path) -> list[str]:
    """Return the numbers of the subjects that have words, such as "001", in order.

    Warns of those without, which are left out. root, and what is raised: as for `find_layout`.
    """
    layout, folder = find_layout(root)
    pattern = r"\d+" if layout == "pickle" else r"sub-\d+"
    subjects = [found.name.removeprefix("sub-") for found in _folders(folder, pattern)]
    labelled = [subject for subject in subjects if labelled_runs(layout, folder, subject)[0]]
    without = [subject for subject in subjects if subject not in labelled]
    if without:
        warnings.warn(f"Subjects without words are left out: {', '.join(without)}.", stacklevel=2)
    return labelled


def _folders(folder: Path, pattern: str) -> list[Path]:
    """Return the folders with these names, in order of their numbers."""
    if not folder.is_dir():
        return []
    found = [each for each in folder.iterdir() if re.fullmatch(pattern, each.name) and each.is_dir()]
    return sorted(found, key=lambda each: (int(re.sub(r"\D", "", each.name)), each.name))


def subject_folder(layout: Layout, folder: Path, subject: str) -> Path:
    """Return where a subject's files lie, in the folder of `find_layout`."""
    return folder / (subject if layout == "pickle" else f"sub-{subject}")


def labelled_runs(layout: Layout, folder: Path, subject: str) -> tuple[list[Path], int]:
    """Return the runs that have words, a folder of pickles or a header each, and how many have none.

    Raises ValueError for links that lead out of the folder.
    """
    home = subject_folder(layout, folder, subject)
    if layout == "pickle":
        runs = _folders(home / _TASK, r"run\d+")
        labelled = [run for run in runs if all((run / _DATASET / name).is_file() for name in ("data", "info"))]
    else:
        runs = [file for file in home.glob("ieeg/*.vhdr") if _BIDS_RUN.fullmatch(file.name)]
        runs.sort(key=lambda file: int(_run_of(file) or 0))
        labelled = [run for run in runs if _events_of(run).is_file()]
    for file in labelled:
        for part in (file / _DATASET / "data", file / _DATASET / "info") if layout == "pickle" else (file,):
            refuse_links_out_of(folder, part)
    return labelled, len(runs) - len(labelled)


def _run_of(header: Path) -> str | None:
    match = _BIDS_RUN.fullmatch(header.name)
    return match[1] if match else None


def _events_of(header: Path) -> Path:
    return header.with_name(header.name.replace("_ieeg.vhdr", "_events.tsv"))


def open_pickled_run(place: Path, *, subject: str, unit: str) -> Run:
    """Return a run of pickles, of which only the names of contacts are read yet.

    place: of `labelled_runs`. unit: of the samples, a key of MICROVOLTS.
    Raises ValueError for what `read_contacts` refuses, and `.read` for what `read_epochs` does.
    """
    data, info = place / _DATASET / "data", place / _DATASET / "info"
    of_run = f"of {place.name} of subject {subject}"
    names = read_contacts(info, place=f"the info {of_run}")

    def read() -> tuple[list[str], Iterable[NDArray[Any]]]:
        words, epochs = read_epochs(data, contacts=len(names), place=f"the data {of_run}")
        return words, (epoch * MICROVOLTS[unit] for epoch in epochs)

    return Run(name=place.name, contacts=tuple(clean_names(names).values()), files=(data, info), read=read)


def open_bids_run(root: Path, place: Path, *, subject: str) -> Run:
    """Return a run of a BIDS data set, of which words and header are read.

    place: of `labelled_runs`.
    Raises ValueError for another rate, for words that are not one for each 3 s, and for what `open_recording` refuses.
    """
    events = _events_of(place)
    refuse_links_out_of(root, events)
    words = _read_words(events)
    run = _run_of(place)
    stream = open_recording(
        root, subject=subject, task=_BIDS_TASK, run=run, recording_id=f"DuIN-{subject}", keep_labels=True
    )
    if stream.sampling_rate != RATE:
        raise ValueError(f"{place.name!r} has {stream.sampling_rate:g} Hz; the epochs of Du-IN have {RATE} Hz.")
    if stream.num_samples != len(words) * EPOCH_SAMPLES:
        raise ValueError(
            f"{place.name!r} has {stream.num_samples} samples and {events.name!r} {len(words)} words; there are "
            f"{EPOCH_SAMPLES} samples for each: download both again."
        )

    def epochs() -> Iterator[NDArray[Any]]:
        for start in range(0, stream.num_samples, EPOCH_SAMPLES):
            yield stream.read(start, start + EPOCH_SAMPLES)

    return Run(
        name=f"run{run or ''}",
        contacts=stream.contacts,
        files=(place, place.with_suffix(".eeg"), events),
        read=lambda: (words, epochs()),
        header=stream,
    )


def _read_words(path: Path) -> list[str]:
    """Return the word of each epoch of an events.tsv, after checking that they lie back to back."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, delimiter="\t")
            missing = [column for column in _EVENT_COLUMNS if column not in (reader.fieldnames or ())]
            if missing:
                raise ValueError(
                    f"{path.name!r} has no column {missing[0]!r}; it needs {', '.join(_EVENT_COLUMNS)}: "
                    "download it again."
                )
            rows = list(reader)
    except (UnicodeDecodeError, csv.Error):
        raise ValueError(f"{path.name!r} is no table in UTF-8; download it again.") from None
    for number, row in enumerate(rows):
        try:
            found = float(row["onset"]), float(row["sample"])
        except (TypeError, ValueError):
            found = (float("nan"), float("nan"))
        expected = EPOCH_SAMPLES / RATE * number, float(EPOCH_SAMPLES * number)
        if not np.allclose(found, expected, rtol=0, atol=0.5 / RATE):
            raise ValueError(
                f"{path.name!r} has its event {number + 1} at {found[0]:g} s and sample {found[1]:g}; epochs lie back "
                f"to back, so that it is at {expected[0]:g} s and {expected[1]:g}: download it again."
            )
        if not is_plain_name(row["value"]):
            raise ValueError(
                f"{path.name!r} has the word {str(row['value'])[:60]!r} in event {number + 1}, which is no plain name; "
                "download it again."
            )
    if not rows:
        raise ValueError(f"{path.name!r} has no events; download it again.")
    return [row["value"] for row in rows]
