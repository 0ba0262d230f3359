"""The words of a Brain Treebank session: where in the recording each is said, and what its features are.

Source: Brain Treebank (Wang et al. 2024, arXiv 2411.08343, CC BY 4.0), transcripts/{movie}/features.csv.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .brain_treebank_files import read_columns, read_movie, read_triggers

_TEXT = frozenset({"text", "sentence", "pos", "deprel", "lemma", "speaker"})
_MAY_BE_MISSING = frozenset({"word_diff", "onset_diff"})  # they are, wherever a sentence begins
_FLAGS = {"True": "1", "False": "0"}
_PACKAGE_RATE = 2048.0  # of the tables of the neuroprobe package, for all sessions
_PACKAGE_MARGIN_S = 1.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Words:
    """Words of a session in the order of the transcript.

    start_s, end_s: (words,) seconds of the movie. sample, end_sample: (words,) of the recording.
    index: (words,) names of the rows of features.csv. sampling_rate: Hz, of the recording.
    columns: name -> (words,), all others of features.csv: text, or float64.
    spoken: (stretches, 2) first sample and the one after the last of all that is said; the words alone by default.
    left_out: reason -> number of rows that gave no word.
    """

    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    sample: NDArray[np.int64]
    end_sample: NDArray[np.int64]
    index: NDArray[np.int64]
    sampling_rate: float
    columns: Mapping[str, NDArray[Any]]
    spoken: NDArray[np.int64] | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.sample)

    def with_column(self, name: str, values: ArrayLike) -> "Words":
        """Return these words with one more feature, (words,) numbers or text.

        Raises ValueError for another number of values than words.
        """
        array = np.asarray(values)
        if array.shape != (len(self),):
            raise ValueError(f"{name!r} has shape {array.shape} for {len(self)} words; give one value for each word.")
        return replace(self, columns={**self.columns, name: array})


def read_words(root: str | Path, subject: int, trial: int, *, trigger: Literal["nearest", "next"] = "nearest") -> Words:
    """Read the words of a session that have all features and come before its last trigger.

    trigger: "nearest" places a word by the trigger nearest to it (the paper). Of rows at one sample the first is taken,
        because nothing tells their voltage apart. "next" gives the tables of the neuroprobe package: the first trigger
        at or after a word, so that one before a pause is wrong by the pause; 2048 samples a second whatever the rate,
        so that subject 9's are off; the second parts of split words, repeated times, and words without a second before
        the last trigger are left out.
    Raises FileNotFoundError for a file that is missing, and ValueError for one that is broken, and for no word left.
    Source: Wang et al. 2023, released code; Zahorodnii et al. 2025, arXiv 2509.21671.
    """
    root = Path(root)
    triggers = read_triggers(root, subject, trial)
    path = root / "transcripts" / read_movie(root, subject, trial) / "features.csv"
    index, start_s, end_s, columns = _read_features(path)
    # Of those without a time, both are false.
    played = (start_s < triggers.movie_s[-1]) & np.isfinite(end_s)
    rate = _PACKAGE_RATE if trigger == "next" else triggers.sampling_rate
    sample, end_sample = np.zeros((2, len(index)), dtype=np.int64)
    for places, times_s in ((sample, start_s), (end_sample, end_s)):
        places[played] = triggers.sample_of(times_s[played], trigger=trigger, sampling_rate=rate)

    taken = np.ones(len(index), dtype=np.bool_)
    left_out: dict[str, int] = {}

    def leave_out(reason: str, rows: NDArray[np.bool_]) -> None:
        left_out[reason] = int((taken & rows).sum())
        taken[rows] = False

    if trigger == "next":
        parts = _second_parts(columns["text"], columns["sentence"], start_s=start_s, end_s=end_s)
        leave_out("second part of a word", parts)
    leave_out("incomplete", ~_complete(start_s, end_s, columns))
    if trigger == "next":
        for repeated, times_s in (("start", start_s), ("end", end_s)):
            leave_out(f"repeated {repeated}", _repeated(times_s, taken))
    leave_out("after the last trigger", ~played)
    leave_out("before the recording", sample < 0)
    if trigger == "next":
        last = int(triggers.sample[-1] - _PACKAGE_MARGIN_S * _PACKAGE_RATE)
        leave_out("no window before the last trigger", end_sample > last)
    else:
        leave_out("at the sample of another", _repeated(sample, taken))
    left_out = {reason: number for reason, number in left_out.items() if number}
    if not taken.any():
        raise ValueError(
            f"The movie {path.parent.name!r} has no complete word before the last trigger of the session (left out: "
            + "; ".join(f"{number} {reason}" for reason, number in left_out.items())
            + "); copy its features.csv and the timings again."
        )
    spoken = taken if trigger == "next" else played
    return Words(
        start_s=start_s[taken],
        end_s=end_s[taken],
        sample=sample[taken],
        end_sample=end_sample[taken],
        index=index[taken],
        sampling_rate=triggers.sampling_rate,
        columns={name: column[taken] for name, column in columns.items()},
        spoken=np.stack([sample[spoken], end_sample[spoken]], axis=1),
        left_out=left_out,
    )


def silences(
    words: Words,
    *,
    window_s: float,
    padding_s: float | tuple[float, float] = 0.0,
    stride_s: float | None = None,
    num_samples: int | None = None,
) -> NDArray[np.int64]:
    """Return the first samples (windows,) of windows between two words in which nothing is said.

    window_s: seconds. stride_s: from one window to the next of a silence; window_s by default.
    padding_s: at least so long after a word and before the next one, or (after, before). The neuroprobe package has 1 s
        windows every 0.5 s with (2, 3): 2 s to both sides, and another window before the next word.
    num_samples: of the recording; windows that reach beyond are left out.
    A movie that stands still is a silence: people may talk then.
    Raises ValueError for times that are negative or less than a sample.
    """
    after_s, before_s = padding_s if isinstance(padding_s, tuple) else (padding_s, padding_s)
    stride_s = window_s if stride_s is None else stride_s
    rate = words.sampling_rate
    window, stride, after, before = (round(time_s * rate) for time_s in (window_s, stride_s, after_s, before_s))
    if window < 1 or stride < 1 or after < 0 or before < 0:
        raise ValueError(
            f"window_s is {window_s}, stride_s {stride_s} and padding_s {padding_s}; give seconds, a window and a "
            "stride of one sample at least."
        )
    start, end = _stretches(words)
    first, last = end[:-1] + after, start[1:] - before - window
    counts = np.maximum((last - first) // stride + 1, 0)
    place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    found = np.repeat(first, counts) + stride * place
    return found[(found >= 0) & (found + window <= (np.inf if num_samples is None else num_samples))]


def _stretches(words: Words) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where speech starts and until where it has lasted, in the order of the starts."""
    spoken = np.stack([words.sample, words.end_sample], axis=1) if words.spoken is None else words.spoken
    spoken = spoken[np.argsort(spoken[:, 0], kind="stable")]
    return spoken[:, 0], np.maximum.accumulate(spoken[:, 1])


def _read_features(
    path: Path,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], dict[str, NDArray[Any]]]:
    """Return the names of the rows, their start and end in seconds of the movie, and all other columns."""
    cells = read_columns(path, columns=("text", "start", "end", "sentence"), others=True)
    index, count = next(iter(cells)), len(cells["text"])
    if not count or index not in ("Unnamed: 0", ""):
        raise ValueError(
            f"{path.name!r} of the movie {path.parent.name!r} has {count} words and should begin with a column "
            "'Unnamed: 0'; copy the file again."
        )
    columns = {name: _column(column, is_text=name in _TEXT) for name, column in cells.items()}
    wrong = [name for name in (index, "start", "end") if columns[name].dtype.kind != "f"]
    if wrong or not np.isfinite(columns[index]).all():
        raise ValueError(
            f"The column {(wrong or [index])[0]!r} of the movie {path.parent.name!r} holds something else than "
            "numbers; copy its features.csv again."
        )
    return columns.pop(index).astype(np.int64), columns.pop("start"), columns.pop("end"), columns


def _column(cells: list[str], *, is_text: bool) -> NDArray[Any]:
    """Return numbers, NaN where there is none, or text where a cell is no number."""
    if not is_text:
        try:
            return np.array([float(_FLAGS.get(cell, cell) or "nan") for cell in cells])
        except ValueError:
            pass
    return np.array(cells, dtype=np.str_)


def _complete(
    start_s: NDArray[np.float64], end_s: NDArray[np.float64], columns: Mapping[str, NDArray[Any]]
) -> NDArray[np.bool_]:
    complete = np.isfinite(start_s) & np.isfinite(end_s)
    for name, column in columns.items():
        if name not in _MAY_BE_MISSING:
            complete &= np.isfinite(column) if column.dtype.kind == "f" else column != ""
    return complete


def _repeated(values: NDArray[Any], taken: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which of the taken rows have the value of a taken row before."""
    rows = np.flatnonzero(taken)
    first = rows[np.unique(values[rows], return_index=True)[1]]
    repeated = taken.copy()
    repeated[first] = False
    return repeated


def _second_parts(
    text: NDArray[np.str_],
    sentence: NDArray[np.str_],
    *,
    start_s: NDArray[np.float64],
    end_s: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Return which rows go on with the word of the row before: "'m" after "I", with no space between in the sentence.

    Or begin or end with it, as corrections of a transcript do.
    """
    second = np.zeros(len(text), dtype=np.bool_)
    place = 0  # in the sentence, after the word
    for row, (word, said) in enumerate(zip(text.tolist(), sentence.tolist(), strict=True)):
        if not word:
            place = 0
            continue
        begin = place if row and said == sentence[row - 1] else 0
        found = said[begin:].find(word)  # -1 where a sentence is said twice
        place = begin + found + len(word)
        if found >= 0 and row + 1 < len(text) and text[row + 1] and place < len(said):
            at_once = start_s[row] == start_s[row + 1] or end_s[row] == end_s[row + 1]
            second[row + 1] = said[place:].startswith(text[row + 1]) or at_once
    return second
