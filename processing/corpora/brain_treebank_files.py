"""The small files of Brain Treebank: names of contacts, positions, regions, movies, triggers.

Source: Brain Treebank (Wang et al. 2024, arXiv 2411.08343, CC BY 4.0), as the code that reads it expects its files.
"""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

RATES = (2048.0, 1024.0)  # Hz; subject 9 was recorded at the second
_MAX_RATE_ERROR = 0.02  # the clock of a movie player is not that of the amplifier
_RATE_OVER_S = 5.0  # of the movie: over less, the jitter of triggers shows
_NOT_BRAIN = ("DC", "TRIG")


@dataclass(frozen=True, kw_only=True, eq=False)
class Triggers:
    """When the movie was where: movie_s (triggers,) seconds of the movie, ascending, and sample (triggers,).

    sampling_rate: Hz, one of `RATES`. measured_rate: Hz, samples per second of the movie.
    """

    movie_s: NDArray[np.float64]
    sample: NDArray[np.float64]
    sampling_rate: float
    measured_rate: float

    def sample_of(
        self,
        time_s: NDArray[np.float64],
        *,
        trigger: Literal["nearest", "next"] = "nearest",
        sampling_rate: float | None = None,
    ) -> NDArray[np.int64]:
        """Return the sample (times,) of each time of the movie: that of a trigger, and the time since it.

        trigger: "nearest", or "next" for the first at or after a time, and at the end the last. Of triggers at one
            time, between which the movie stood still, it is the first for times before and the last for times after.
        sampling_rate: Hz, to count the time since the trigger with; that of the recording by default.
        Source: Wang et al. 2023, released code; "next" is how the tables of the neuroprobe package were made.
        """
        after = np.searchsorted(self.movie_s, time_s, side="left")
        after = np.minimum(after, int(np.argmax(self.sample)) if trigger == "next" else len(self.movie_s) - 1)
        chosen = after
        if trigger == "nearest":
            before = np.maximum(np.searchsorted(self.movie_s, time_s, side="right") - 1, 0)
            is_nearer = np.abs(time_s - self.movie_s[before]) <= np.abs(self.movie_s[after] - time_s)
            chosen = np.where(is_nearer, before, after)
        rate = self.sampling_rate if sampling_rate is None else sampling_rate
        return np.round(self.sample[chosen] + (time_s - self.movie_s[chosen]) * rate).astype(np.int64)


def session_name(subject: int, trial: int) -> str:
    """Return what the files of a session are called: sub_1_trial002."""
    return f"sub_{subject}_trial{trial:03}"


def small_files(root: Path, subject: int, trial: int) -> list[Path]:
    """Return all files of a session but its voltage, whether they are there or not."""
    name, person = session_name(subject, trial), f"sub_{subject}"
    about = root / "subject_metadata" / f"{name}_metadata.json"
    return [
        root / "electrode_labels" / person / "electrode_labels.json",
        root / "corrupted_elec.json",
        root / "localization" / person / "depth-wm.csv",
        root / "localization" / "elec_coords_full.csv",
        root / "subject_timings" / f"{name}_timings.csv",
        about,
        *([root / "transcripts" / read_movie(root, subject, trial) / "features.csv"] if about.is_file() else []),
    ]


def clean_label(label: str) -> str:
    """Return the name of a contact without the marks * # _ that the files put anywhere in it."""
    return label.translate(str.maketrans("", "", "*#_")).strip()


def is_brain(name: str) -> bool:
    """Return whether a channel is a contact, neither a direct-current input nor a trigger."""
    return not name.upper().startswith(_NOT_BRAIN)


def read_labels(root: Path, subject: int) -> list[str]:
    """Return the cleaned names of all channels of a subject, those that are not brain included: i is electrode_{i}."""
    path = root / "electrode_labels" / f"sub_{subject}" / "electrode_labels.json"
    labels = _read_json(path)
    if not isinstance(labels, list) or not labels or not all(isinstance(label, str) for label in labels):
        raise ValueError(f"{path.name!r} of subject {subject} is no list of names; copy the file again.")
    return [clean_label(label) for label in labels]


def read_corrupted(root: Path, subject: int) -> set[str]:
    """Return the cleaned names of the corrupted channels of a subject."""
    listed = _read_json(root / "corrupted_elec.json")
    if not isinstance(listed, dict) or not isinstance(listed.get(f"sub_{subject}"), list):
        raise ValueError(f"'corrupted_elec.json' has no list for sub_{subject}; copy the file again.")
    return {clean_label(str(label)) for label in listed[f"sub_{subject}"]}


def read_movie(root: Path, subject: int, trial: int) -> str:
    """Return the id of the movie of a session, which is the name of its folder among the transcripts."""
    path = root / "subject_metadata" / f"{session_name(subject, trial)}_metadata.json"
    about = _read_json(path)
    movie = about.get("filename") if isinstance(about, dict) else None
    # It becomes a part of a path.
    if not isinstance(movie, str) or not movie or movie in (".", "..") or Path(movie).name != movie or "\\" in movie:
        raise ValueError(f"{path.name!r} names no movie as its 'filename'; copy the file again.")
    return movie


def read_positions(root: Path, subject: int) -> dict[str, tuple[float, float, float]]:
    """Return the position of each contact that has one, in millimetres, MNI."""
    path = root / "localization" / "elec_coords_full.csv"
    found = {}
    cells = read_columns(path, columns=("Subject", "Electrode", "X", "Y", "Z"))
    for whose, label, *place in zip(*cells.values(), strict=True):
        if whose == f"sub_{subject}" and all(place):
            x, y, z = (_number(cell, path) for cell in place)
            found[clean_label(label)] = x, y, z
    return found


def read_regions(root: Path, subject: int, *, atlas: str) -> dict[str, str]:
    """Return the region of each contact that has one, in an atlas that is a column of the file."""
    path = root / "localization" / f"sub_{subject}" / "depth-wm.csv"
    cells = read_columns(path, columns=("Electrode", atlas))
    return {clean_label(label): region for label, region in zip(*cells.values(), strict=True) if region}


def read_triggers(root: Path, subject: int, trial: int) -> Triggers:
    """Return the triggers of a session; rows without a time or a sample are left out.

    The rate is the median over pairs 5 s of the movie or more apart, which pauses do not move, and is taken for the one
    of `RATES` that is within 2 % of it.
    Raises FileNotFoundError, and ValueError for fewer than two triggers, times that go back, and another rate.
    """
    path = root / "subject_timings" / f"{session_name(subject, trial)}_timings.csv"
    cells = read_columns(path, columns=("movie_time", "index"))
    movie_s, sample = (np.array([_number(cell or "nan", path) for cell in column]) for column in cells.values())
    known = np.isfinite(movie_s) & np.isfinite(sample)
    movie_s, sample = movie_s[known], sample[known]
    if len(movie_s) < 2 or movie_s[-1] <= movie_s[0]:
        raise ValueError(f"{path.name!r} has {len(movie_s)} triggers with a movie_time and an index; it needs several.")
    backwards = np.flatnonzero(np.diff(movie_s) < 0)
    if backwards.size:
        first = int(backwards[0])
        raise ValueError(
            f"The movie_time of {path.name!r} goes back from {movie_s[first]:g} to {movie_s[first + 1]:g} s, and a "
            "time can be found only where it ascends; copy the file again, or sort it."
        )
    later = np.searchsorted(movie_s, movie_s + min(_RATE_OVER_S, movie_s[-1] - movie_s[0]))
    first_of_pair = np.flatnonzero(later < len(movie_s))
    later = later[first_of_pair]
    measured = float(np.median((sample[later] - sample[first_of_pair]) / (movie_s[later] - movie_s[first_of_pair])))
    nominal = min(RATES, key=lambda rate: abs(measured / rate - 1))
    if abs(measured / nominal - 1) > _MAX_RATE_ERROR:
        raise ValueError(
            f"The triggers of {path.name!r} are {measured:g} samples apart for each second of the movie, and Brain "
            "Treebank has 2048 or 1024 Hz; copy the file again."
        )
    return Triggers(movie_s=movie_s, sample=sample, sampling_rate=nominal, measured_rate=measured)


def read_columns(path: Path, *, columns: tuple[str, ...], others: bool = False) -> dict[str, list[str]]:
    """Return columns of a table, column -> cells without spaces around them.

    columns: those that it must have. others: whether all others come with them, in the order of the table.
    Raises FileNotFoundError, and ValueError for a table that is broken or lacks one of these.
    """
    _require(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [line for line in csv.reader(file) if line]
    except (UnicodeDecodeError, csv.Error):
        raise ValueError(f"{path.name!r} is not a table in UTF-8; copy the file again.") from None
    head = lines[0] if lines else []
    missing = [name for name in columns if name not in head]
    if missing:
        raise ValueError(f"{path.name!r} has no column {missing[0]!r}; its columns are {', '.join(head) or 'none'}.")
    uneven = next((number for number, line in enumerate(lines) if len(line) != len(head)), None)
    if uneven is not None:
        raise ValueError(
            f"Row {uneven} of {path.name!r} has {len(lines[uneven])} cells and the head line {len(head)}; copy the "
            "file again."
        )
    cells = dict(zip(head, zip(*lines, strict=True), strict=True))
    return {name: [cell.strip() for cell in cells[name][1:]] for name in (head if others else columns)}


def _read_json(path: Path) -> Any:
    _require(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError):
        raise ValueError(f"{path.name!r} is not JSON; copy the file again.") from None


def _require(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no {path.name!r} in the folder {path.parent.name!r} of the root; give the root of Brain "
            "Treebank, with all of its small files unpacked."
        )


def _number(cell: str, path: Path) -> float:
    try:
        return float(cell)
    except ValueError:
        raise ValueError(f"{path.name!r} has {cell!r} where a number belongs; copy the file again.") from None
