"""From labelled stretches to windows of equal length: what a decoder is trained and tested on.

Windows are counted in samples of conditioned recordings, at the model's rate, and sorted by (recording, start).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..recordings import RecordingHeader
from .labels import Labels

MIN_WINDOWS = 10
MIN_WINDOWS_OF_CLASS = 2
_MAX_RATE_ERROR = 1e-4


@dataclass(frozen=True, kw_only=True, eq=False)
class Epochs:
    """Labelled windows of one or several recordings, sorted by (recording, start).

    recordings, subjects: names. recording, subject: (windows,), index into them.
    start: (windows,), first sample of each window. length: samples of every window. sampling_rate: Hz.
    target: (windows,), int64 = index into classes, or float64 = value.
    classes: names; with two of them the second is the one that scores speak for. None for a regression.
    group: (windows,), index into groups, the independent units that the labels named; None where they named none.
    left_out: reason -> number of events or windows that were not used.
    """

    recordings: tuple[str, ...]
    recording: NDArray[np.int64]
    subjects: tuple[str, ...]
    subject: NDArray[np.int64]
    start: NDArray[np.int64]
    length: int
    sampling_rate: float
    target: NDArray[Any]
    classes: tuple[str, ...] | None
    group: NDArray[np.int64] | None = None
    groups: tuple[str, ...] = ()
    left_out: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.start)

    @property
    def stop(self) -> NDArray[np.int64]:
        """(windows,), the sample after the last of each window."""
        return self.start + self.length

    @property
    def window_s(self) -> float:
        """Length of a window in seconds."""
        return self.length / self.sampling_rate

    @property
    def num_outputs(self) -> int:
        """How many scores a window has: one a class where there are more than two."""
        return 1 if self.classes is None or len(self.classes) == 2 else len(self.classes)

    def take(self, rows: NDArray[Any]) -> "Epochs":
        """Return the windows with these indices, or where a mask of (windows,) is true."""
        return replace(
            self,
            recording=self.recording[rows],
            subject=self.subject[rows],
            start=self.start[rows],
            target=self.target[rows],
            group=None if self.group is None else self.group[rows],
        )

    def counts(self) -> dict[str, int]:
        """Return class -> number of windows; for a regression {"windows": number}."""
        if self.classes is None:
            return {"windows": len(self)}
        return dict(zip(self.classes, np.bincount(self.target, minlength=len(self.classes)).tolist(), strict=True))


def make_epochs(
    labels: Sequence[Labels],
    recordings: Sequence[RecordingHeader],
    *,
    window_s: float = 5.0,
    stride_s: float | None = None,
    anchor: Literal["center", "onset", "cover"] = "center",
    classes: Sequence[str] | None = None,
    edges: Literal["drop", "raise"] = "drop",
) -> Epochs:
    """Cut windows of equal length where the labels are.

    labels, recordings: one each, in the same order; recordings conditioned to the model's rate, or their headers.
    window_s, stride_s: seconds; the stride is the window by default and counts only where an event is filled.
    anchor: "center" gives an event shorter than a window one window centred on its middle, with what is around it as
        context, and fills a longer one from its onset on with windows every stride_s; "onset" gives each event one
        window centred on its onset (the paper's: 5 s about the onset of a word); "cover" fills events and leaves out
        those shorter than a window.
    classes: those to use, in the order of the codes; all in alphabetical order by default.
    edges: windows that reach over an end of their recording are dropped and counted, or refused.
    An event may end up to one window after the end of its recording, and is cut off there.
    Raises ValueError for labels outside of their recording, an unknown class, only one class or value, fewer than two
    windows of a class or ten in all, and recordings of different rates.
    """
    if len(labels) != len(recordings) or not recordings:
        raise ValueError(f"There are {len(labels)} labels for {len(recordings)} recordings; give one for each.")
    names = tuple(header.id for header in recordings)
    if len(set(names)) < len(names):
        raise ValueError("Two recordings have the same id: they are the same recording, or need ids of their own.")
    rate = recordings[0].sampling_rate
    if any(abs(header.sampling_rate / rate - 1) > _MAX_RATE_ERROR for header in recordings):
        rates = ", ".join(f"{value:g}" for value in sorted({header.sampling_rate for header in recordings}))
        raise ValueError(f"The recordings have different rates ({rates} Hz); condition them to the model's.")
    length = round(window_s * rate)
    stride = length if stride_s is None else round(stride_s * rate)
    if length < 1 or stride < 1:
        raise ValueError(f"window_s is {window_s} and stride_s {stride_s}; give one sample at least of each.")
    codes = _class_codes(labels, classes)
    grouped = _has_groups(labels)

    left_out: Counter[str] = Counter()
    windows: list[tuple[int, int, int | float, str]] = []  # recording, start, target, group
    for number, (given, header) in enumerate(zip(labels, recordings, strict=True)):
        left_out.update(given.left_out)
        _refuse_outside(given, header, window_s=window_s)
        for event in range(len(given)):
            value = given.values[event]
            if codes is not None and str(value) not in codes:
                left_out["of another class"] += 1
                continue
            starts = list(_window_starts(given, event, header, length=length, stride=stride, anchor=anchor))
            if not starts:
                left_out["shorter than a window"] += 1
            inside = [start for start in starts if 0 <= start <= header.num_samples - length]
            if len(inside) < len(starts):
                left_out["outside the recording"] += len(starts) - len(inside)
            target = float(value) if codes is None else codes[str(value)]
            group = "" if given.groups is None else str(given.groups[event])
            windows += [(number, start, target, group) for start in inside]
    if edges == "raise" and left_out["outside the recording"]:
        raise ValueError(
            f"{left_out['outside the recording']} windows reach over an end of their recording; use edges='drop', or "
            "a shorter window_s."
        )
    windows.sort(key=lambda window: window[:2])
    at = Counter(window[:2] for window in set(windows))
    if contradicted := [place for place, number in at.items() if number > 1]:
        number, start = min(contradicted)
        raise ValueError(
            f"{len(contradicted)} windows have two labels or groups at once (the first at {start / rate:.2f} s of "
            f"recording {names[number]}); correct the labels, or use a shorter window_s."
        )
    if repeated := len(windows) - len(set(windows)):
        left_out["the same as another"] += repeated
        windows = sorted(set(windows), key=lambda window: window[:2])
    groups = tuple(sorted({window[3] for window in windows})) if grouped else ()
    subjects = tuple(
        header.subject if given.subject is None else given.subject
        for given, header in zip(labels, recordings, strict=True)
    )
    people = tuple(dict.fromkeys(subjects))
    person = np.array([people.index(name) for name in subjects], dtype=np.int64)
    recording = np.array([window[0] for window in windows], dtype=np.int64)
    places = {name: place for place, name in enumerate(groups)}
    epochs = Epochs(
        recordings=names,
        recording=recording,
        subjects=people,
        subject=person[recording],
        start=np.array([window[1] for window in windows], dtype=np.int64),
        length=length,
        sampling_rate=rate,
        target=np.array([window[2] for window in windows], dtype=np.float64 if codes is None else np.int64),
        classes=None if codes is None else tuple(codes),
        group=np.array([places[window[3]] for window in windows], dtype=np.int64) if grouped else None,
        groups=groups,
        left_out={reason: number for reason, number in left_out.items() if number},
    )
    _refuse_too_few(epochs)
    return epochs


def _class_codes(labels: Sequence[Labels], classes: Sequence[str] | None) -> dict[str, int] | None:
    """Return class -> code, None for a regression."""
    kinds = {given.kind for given in labels if len(given)}
    if not kinds:
        raise ValueError("There is no label at all; give labels of at least one recording.")
    if len(kinds) > 1:
        raise ValueError("Some recordings have classes and some have values; give one kind of label.")
    if kinds == {"regression"}:
        if classes is not None:
            raise ValueError(f"classes are {list(classes)} and the labels are values; leave classes out.")
        return None
    known = sorted({str(value) for given in labels for value in given.values})
    if isinstance(classes, str):
        raise ValueError(f"classes is the text {classes!r}; give a list of names.")
    wanted = known if classes is None else list(classes)
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        raise ValueError(f"There is no label {unknown[0]!r}: the labels are {', '.join(known)}; choose among these.")
    if len(set(wanted)) < len(wanted):
        raise ValueError(f"classes are {wanted} and the labels have {known}; give each wanted class once.")
    if len(wanted) < 2:
        raise ValueError(f"There is one class, {wanted[0] if wanted else 'none'}; a decoder needs two or more.")
    return {name: code for code, name in enumerate(wanted)}


def _has_groups(labels: Sequence[Labels]) -> bool:
    have = {given.groups is not None for given in labels if len(given)}
    if len(have) > 1:
        raise ValueError("Some recordings have groups and some have none; give them for all or for none.")
    return have == {True}


def _refuse_outside(labels: Labels, header: RecordingHeader, *, window_s: float) -> None:
    end = labels.onset_s + np.nan_to_num(labels.duration_s, nan=0.0)
    half_a_sample = 0.5 / header.sampling_rate
    outside = (labels.onset_s < -half_a_sample) | (labels.onset_s >= header.duration_s)
    outside |= end > header.duration_s + window_s
    if outside.any():
        first = int(np.argmax(outside))
        raise ValueError(
            f"{int(outside.sum())} of {len(labels)} labels lie outside of recording {header.id}, which lasts "
            f"{header.duration_s:.2f} s (the first from {labels.onset_s[first]:.2f} to {end[first]:.2f} s); give "
            "seconds from its first sample, of this recording."
        )


def _window_starts(
    labels: Labels, event: int, header: RecordingHeader, *, length: int, stride: int, anchor: str
) -> Iterator[int]:
    """Yield the first sample of each window of an event, inside the recording or not."""
    rate = header.sampling_rate
    onset_s, duration_s = float(labels.onset_s[event]), float(labels.duration_s[event])
    begin = round(onset_s * rate)
    extent = header.num_samples - begin if np.isnan(duration_s) else round(duration_s * rate)
    if anchor == "onset":
        yield round(onset_s * rate - length / 2)
    elif extent >= length:
        # An event that ends after the recording is cut off there: only what is inside is filled.
        extent = max(min(extent, header.num_samples - begin), length)
        yield from range(begin, begin + extent - length + 1, stride)
    elif anchor == "center":
        yield round(begin + extent / 2 - length / 2)


def _refuse_too_few(epochs: Epochs) -> None:
    lost = "; ".join(f"{number} {reason}" for reason, number in epochs.left_out.items())
    lost = f" (left out: {lost})" if lost else ""
    counts = epochs.counts()
    if epochs.classes is not None:
        scarce = [f"{name}: {number}" for name, number in counts.items() if number < MIN_WINDOWS_OF_CLASS]
        if scarce:
            raise ValueError(
                f"There are too few windows of a class ({', '.join(scarce)}){lost}; a decoder needs "
                f"{MIN_WINDOWS_OF_CLASS} of each: give more labels, or shorter windows."
            )
    if len(epochs) < MIN_WINDOWS:
        raise ValueError(
            f"There are {len(epochs)} windows{lost}; a decoder needs {MIN_WINDOWS}: give more labels, or shorter "
            "windows."
        )
    if epochs.classes is None and np.ptp(epochs.target) == 0:
        raise ValueError(f"All {len(epochs)} windows have the value {epochs.target[0]:g}; there is nothing to decode.")
