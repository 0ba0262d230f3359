"""What was going on when: labelled stretches of a recording, from a table, annotations, or a signal.

Times are seconds from the first sample of the recording as `processing.recordings` reads it. A label is a class (text)
or a value (a number). Only the columns and the annotations that the caller names are looked at: others may be free text
about a patient, and are neither kept nor shown.
"""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ..recordings.beside import find_events_of, read_annotations, read_channel
from ..recordings.read import find_files

Kind = Literal["classification", "regression"]
Threshold = float | tuple[float, float]
_NOT_AVAILABLE = ("", "n/a")


@dataclass(frozen=True, kw_only=True, eq=False)
class Labels:
    """Labelled stretches of one recording.

    onset_s, duration_s: (events,), seconds from the first sample; 0 lasts an instant, NaN to the end of the recording.
    values: (events,), text = the name of a class, or float64 = the value of a regression.
    groups: (events,), names of the independent units that events belong to (pair, seizure, trial), where they are
        known; the same name in two recordings is the same unit.
    subject: whose recording it is, where the table says so; the recording's own by default.
    left_out: reason -> number of rows or windows that gave no label.
    Raises ValueError when the parts contradict each other.
    """

    onset_s: NDArray[np.float64]
    duration_s: NDArray[np.float64]
    values: NDArray[Any]
    groups: NDArray[np.str_] | None = None
    subject: str | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        onset, duration = (np.asarray(times, dtype=np.float64) for times in (self.onset_s, self.duration_s))
        values = np.asarray(self.values)
        values = values.astype(np.str_) if values.dtype.kind in "OUT" else values.astype(np.float64)
        groups = None if self.groups is None else np.asarray(self.groups).astype(np.str_)
        for name, array in (("duration_s", duration), ("values", values), ("groups", groups)):
            if array is not None and array.shape != (len(onset),):
                raise ValueError(f"{name} is {array.shape} for {len(onset)} events; give one entry for each event.")
        if not np.isfinite(onset).all():
            raise ValueError(f"{int((~np.isfinite(onset)).sum())} onsets are not finite; give seconds.")
        if (duration < 0).any() or np.isinf(duration).any():
            raise ValueError("Some durations are negative or infinite; give seconds, 0 for an instant, NaN to the end.")
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ValueError(f"{int((~np.isfinite(values)).sum())} values are not finite; leave those events out.")
        object.__setattr__(self, "onset_s", onset)
        object.__setattr__(self, "duration_s", duration)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "groups", groups)
        object.__setattr__(self, "left_out", dict(self.left_out))

    def __len__(self) -> int:
        return len(self.onset_s)

    @property
    def kind(self) -> Kind:
        """Classes or values."""
        return "regression" if self.values.dtype.kind == "f" else "classification"


def labels_from_csv(
    path: str | Path, *, label: str | None = None, recording: str | None = None, kind: Kind | None = None
) -> Labels:
    """Read the labels of one recording from a table with a head line, its columns apart by commas, tabs or semicolons.

    The columns are onset and duration (s; without both, a label holds for the whole recording), the label, and where
    wanted: recording (its name, for a table of several), group (the independent unit), subject. Rows without a label
    ("n/a" or nothing) are left out and counted.
    label: the column with the labels; by default "label", else "value".
    recording: whose rows to take; None for a table of one recording.
    kind: "regression" takes the labels as numbers; by default so in a column called "value".
    Raises ValueError for a column that is missing, rows of several recordings or none, and cells that are no numbers.
    """
    rows = read_table(Path(path))
    columns = rows[0].keys()
    if label is None:
        label = "label" if "label" in columns else "value"
    _require_column(path, columns, label)
    if recording is not None:
        _require_column(path, columns, "recording")
        rows = [row for row in rows if row["recording"] == recording]
        if not rows:
            raise ValueError(
                f"{Path(path).name!r} has no row whose recording is {recording!r}; give the names as the column has "
                "them."
            )
    elif (several := len({row.get("recording") for row in rows})) > 1:
        raise ValueError(f"{Path(path).name!r} has labels of {several} recordings; give recording='...', one of them.")
    if ("onset" in columns) != ("duration" in columns):
        raise ValueError(
            f"{Path(path).name!r} has only one of onset and duration; give both (duration 0 for an instant), or "
            "neither when a label holds for its whole recording."
        )
    return _labels_of_rows(Path(path).name, rows, label=label, kind=kind)


def labels_from_bids(
    path: str | Path,
    *,
    column: str = "trial_type",
    kind: Kind | None = None,
    subject: str | None = None,
    session: str | None = None,
    task: str | None = None,
    acquisition: str | None = None,
    run: str | int | None = None,
) -> Labels:
    """Read labels from an events.tsv of BIDS.

    path: the table, or the root of a data set; then subject to run pick the recording whose table it is.
    column: with the labels; rows with "n/a" there are left out and counted. A duration of "n/a" is an instant.
    kind: "regression" takes them as numbers; by default so in the column "value".
    Raises ValueError for a column that is missing, cells that are no numbers, and a recording without events.tsv.
    Source: BIDS specification, Task events.
    """
    path = Path(path)
    if path.is_dir():
        found = find_files(path, subject=subject, session=session, task=task, acquisition=acquisition, run=run)
        path = find_events_of(found)
    rows = read_table(path)
    for name in ("onset", "duration", column):
        _require_column(path, rows[0].keys(), name)
    for row in rows:
        row["duration"] = "0" if row["duration"] in _NOT_AVAILABLE else row["duration"]
    return _labels_of_rows(path.name, rows, label=column, kind=kind)


def labels_from_annotations(
    path: str | Path,
    *,
    descriptions: Sequence[str],
    subject: str | None = None,
    session: str | None = None,
    task: str | None = None,
    acquisition: str | None = None,
    run: str | int | None = None,
) -> Labels:
    """Read annotations of an EDF, BDF, BrainVision or FIF file, or of a BIDS recording, as classes.

    path, subject, session, task, acquisition, run: as for `read_recording`.
    descriptions: those to take, word for word; each is a class. What others say is not read out.
    Raises ValueError when there is none of these, and what `read_recording` raises for a file it refuses.
    """
    files = find_files(Path(path), subject=subject, session=session, task=task, acquisition=acquisition, run=run)
    onset_s, duration_s, found = read_annotations(files, descriptions=descriptions)
    return Labels(onset_s=onset_s, duration_s=duration_s, values=found)


def labels_from_array(
    values: NDArray[np.floating],
    *,
    sampling_rate: float,
    window_s: float,
    stride_s: float | None = None,
    threshold: Threshold | None = None,
) -> Labels:
    """Return one label for each window of a signal: its mean.

    values: (samples,), from the first sample of the recording on. sampling_rate: Hz, of this signal.
    stride_s: from one window to the next; window_s by default.
    threshold: for classes instead of values: "low" below it and "high" from it on; of two numbers, "low" below the
        first, "high" from the second on and nothing between (the paper: one deviation to both sides of the mean).
    Windows that hold NaN or infinity have no label and are counted.
    Raises ValueError for a signal that is not (samples,), shorter than a window, or a threshold with one side empty.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"values are {values.shape}; give one signal, (samples,).")
    if not np.isfinite(sampling_rate) or sampling_rate <= 0:
        raise ValueError(f"sampling_rate is {sampling_rate}; give a positive number of hertz.")
    window = round(window_s * sampling_rate)
    stride = window if stride_s is None else round(stride_s * sampling_rate)
    if window < 1 or stride < 1 or len(values) < window:
        raise ValueError(
            f"The signal has {len(values)} samples, a window {window} and a stride {stride}; give a window_s and a "
            "stride_s of one sample at least that fit into the signal."
        )
    means = np.array([part.mean() for part in sliding_window_view(values, window)[::stride]])
    starts = np.arange(len(means)) * stride
    known = np.isfinite(means)
    if not known.any():
        raise ValueError("No window of the signal is finite; give another signal.")
    left_out = {"not finite": int((~known).sum())}
    labels: NDArray[Any] = means
    if threshold is not None:
        low, high = threshold if isinstance(threshold, tuple) else (threshold, threshold)
        if not low <= high:
            raise ValueError(f"threshold is {threshold}; give one number, or (low, high) with low <= high.")
        labels = np.select([means >= high, means < low], ["high", "low"], "")
        if not {"high", "low"} <= set(labels.tolist()):
            raise ValueError(
                f"The threshold {threshold} leaves one class empty: the means of the windows lie between "
                f"{means[known].min():g} and {means[known].max():g}; give one inside that."
            )
        left_out["between the thresholds"] = int((known & (labels == "")).sum())
        known = labels != ""
    return Labels(
        onset_s=starts[known] / sampling_rate,
        duration_s=np.full(int(known.sum()), window / sampling_rate),
        values=labels[known],
        left_out={reason: number for reason, number in left_out.items() if number},
    )


def labels_from_channel(
    path: str | Path,
    channel: str,
    *,
    window_s: float,
    stride_s: float | None = None,
    threshold: Threshold | None = None,
    subject: str | None = None,
    session: str | None = None,
    task: str | None = None,
    acquisition: str | None = None,
    run: str | int | None = None,
) -> Labels:
    """Return one label for each window of a channel of the recording itself: force, EMG, sound.

    path, subject, session, task, acquisition, run: as for `read_recording`. channel: its name in the file.
    window_s, stride_s, threshold: as for `labels_from_array`; the values are what MNE-Python gives, volts where the
        header names a voltage.
    Raises ValueError for a channel that is not there, and what `labels_from_array` and `read_recording` raise.
    """
    files = find_files(Path(path), subject=subject, session=session, task=task, acquisition=acquisition, run=run)
    values, sampling_rate = read_channel(files, channel)
    return labels_from_array(
        values, sampling_rate=sampling_rate, window_s=window_s, stride_s=stride_s, threshold=threshold
    )


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table as column -> cell, without spaces around them.

    Raises FileNotFoundError, and ValueError for what is no table in UTF-8 with equal rows below a head line.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no table {path.name!r} at the path given; check the path.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            head = file.readline()
            file.seek(0)
            lines = list(csv.reader(file, delimiter=max(",\t;", key=head.count)))
    except (UnicodeDecodeError, csv.Error):
        raise ValueError(f"{path.name!r} is not a table in UTF-8; save it as CSV or TSV.") from None
    lines = [[cell.strip() for cell in line] for line in lines if any(line)]
    if len(lines) < 2:
        raise ValueError(f"{path.name!r} has no rows; give a head line and one row for each label.")
    columns = lines[0]
    if len(set(columns)) < len(columns):
        raise ValueError(f"{path.name!r} has two columns of the same name; rename one.")
    for number, line in enumerate(lines[1:], start=1):
        if len(line) != len(columns):
            raise ValueError(
                f"Row {number} of {path.name!r} has {len(line)} cells and the head line {len(columns)}; correct it."
            )
    return [dict(zip(columns, line, strict=True)) for line in lines[1:]]


def _require_column(path: str | Path, columns: Any, name: str) -> None:
    if name not in columns:
        raise ValueError(f"{Path(path).name!r} has no column {name!r}; its columns are {', '.join(columns)}.")


def _labels_of_rows(name: str, rows: list[dict[str, str]], *, label: str, kind: Kind | None) -> Labels:
    labelled = [(number, row) for number, row in enumerate(rows, start=1) if row[label] not in _NOT_AVAILABLE]

    def column(wanted: str, read: Callable[[str], Any], *, otherwise: str | None = None) -> list[Any]:
        found = []
        for number, row in labelled:
            try:
                found.append(read(row[wanted] if otherwise is None else row.get(wanted, otherwise)))
            except ValueError:  # the cell itself is not shown
                raise ValueError(f"Row {number} of {name!r} has no number as its {wanted}; correct it.") from None
        return found

    is_number = kind == "regression" or (kind is None and label == "value")
    groups = column("group", str) if "group" in rows[0] else None
    if groups is not None and not all(group not in _NOT_AVAILABLE for group in groups):
        raise ValueError(f"Some rows of {name!r} have no group; give one for each row, or leave the column out.")
    subjects = set(column("subject", str)) if "subject" in rows[0] else set()
    if subjects & set(_NOT_AVAILABLE):
        raise ValueError(f"Some rows of {name!r} have no subject; give one for each row, or leave the column out.")
    if len(subjects) > 1:
        raise ValueError(f"One recording has several subjects in {name!r}; a recording is of one subject: correct it.")
    unlabelled = len(rows) - len(labelled)
    return Labels(
        onset_s=np.array(column("onset", float, otherwise="0")),
        duration_s=np.array(column("duration", float, otherwise="nan")),
        values=np.array(column(label, float if is_number else str), dtype=np.float64 if is_number else np.str_),
        groups=None if groups is None else np.array(groups, dtype=np.str_),
        subject=next(iter(subjects), None),
        left_out={"without a label": unlabelled} if unlabelled else {},
    )
