"""Labels from the words of a movie: the tasks of the paper and of Neuroprobe, and any feature that words have.

A task is a feature of words and a rule that makes classes or values of it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..corpora.brain_treebank_words import Words, silences
from .labels import Labels

# From the feature of all words, (words,), the place of each word's class, -1 for none.
Rule = Callable[[NDArray[Any]], NDArray[np.int64]]


@dataclass(frozen=True, kw_only=True)
class Silence:
    """Which windows without speech are the first class of a task: padding_s and stride_s of `silences`."""

    padding_s: tuple[float, float] = (0.0, 0.0)
    stride_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class WordTask:
    """What is to be told of a word.

    feature: a column of the words, "word_gap" (s, from the end of the word before it in its sentence), or None for a
        task that takes all words. rule: makes classes of it; None for its values.
    classes: in the order of the rule; with two of them the second is the one that scores speak for.
    silence: windows without speech, for the first class; the rule then picks among words for the second.
    """

    feature: str | None
    rule: Rule | None = None
    classes: tuple[str, ...] = ("low", "high")
    silence: Silence | None = None


def outer_quantiles(share: float = 0.25, *, with_bound: bool = False) -> Rule:
    """Return a rule: 0 for words that rank below `share` of all, 1 for those above 1 - share, -1 between.

    A word's rank is the share of words that are strictly below it. with_bound: 1 from 1 - share on.
    """

    def rule(values: NDArray[Any]) -> NDArray[np.int64]:
        values = _numbers(values)
        known = np.sort(values[np.isfinite(values)])
        rank = np.searchsorted(known, values, side="left") / max(len(known), 1)
        high = rank >= 1 - share if with_bound else rank > 1 - share
        return np.where(np.isfinite(values), np.select([rank < share, high], [0, 1], -1), -1)

    return rule


def deviations(count: float = 1.0) -> Rule:
    """Return a rule: 0 for words `count` standard deviations below the mean, 1 for those as far above, -1 between.

    Source: Wang et al. 2023, section 4; the deviation is that of all words (ddof 0).
    """

    def rule(values: NDArray[Any]) -> NDArray[np.int64]:
        values = _numbers(values)
        known = values[np.isfinite(values)]
        mean, reach = (known.mean(), count * known.std()) if len(known) else (0.0, 0.0)
        return np.select([values < mean - reach, values > mean + reach], [0, 1], -1)

    return rule


def named_values(*classes: str | float) -> Rule:
    """Return a rule: the place of the word's value among these, -1 for any other."""

    def rule(values: NDArray[Any]) -> NDArray[np.int64]:
        if (values.dtype.kind == "U") != all(isinstance(value, str) for value in classes):
            kind = "text" if values.dtype.kind == "U" else "numbers"
            raise ValueError(
                f"The feature is {kind} and {list(classes)} is asked for; name values as the words have them."
            )
        return np.select([values == value for value in classes], list(range(len(classes))), -1)

    return rule


def from_on(bound: float) -> Rule:
    """Return a rule: 0 for words below a number, 1 for those from it on."""

    def rule(values: NDArray[Any]) -> NDArray[np.int64]:
        values = _numbers(values)
        return np.where(np.isfinite(values), (values >= bound).astype(np.int64), -1)

    return rule


# Wang et al. 2023, section 4: of windows of 5 s about the onset of a word.
PAPER_TASKS: Mapping[str, WordTask] = {
    "sentence-onset": WordTask(
        feature="is_onset", rule=named_values(0, 1), classes=("silence", "sentence onset"), silence=Silence()
    ),
    "speech": WordTask(feature=None, classes=("silence", "speech"), silence=Silence()),
    "pitch": WordTask(feature="pitch", rule=deviations()),
    "volume": WordTask(feature="rms", rule=deviations()),
}

_PADDED = Silence(padding_s=(2.0, 3.0), stride_s=0.5)
# Zahorodnii et al. 2025, arXiv 2509.21671: of windows of 1 s from the onset of a word on. The class that is 0 there is
# the first. `pitch` is of a column that only the neuroprobe package has: Words.with_column("enhanced_pitch", ...).
NEUROPROBE_TASKS: Mapping[str, WordTask] = {
    "onset": WordTask(
        feature="is_onset", rule=named_values(0, 1), classes=("silence", "sentence onset"), silence=_PADDED
    ),
    "speech": WordTask(feature=None, classes=("silence", "speech"), silence=_PADDED),
    "volume": WordTask(feature="rms", rule=outer_quantiles()),
    "delta_volume": WordTask(feature="delta_rms", rule=outer_quantiles()),
    "pitch": WordTask(feature="enhanced_pitch", rule=outer_quantiles()),
    "word_index": WordTask(feature="idx_in_sentence", rule=named_values(1, 0), classes=("second", "first")),
    "word_gap": WordTask(feature="word_gap", rule=outer_quantiles(with_bound=True), classes=("short", "long")),
    "gpt2_surprisal": WordTask(feature="gpt2_surprisal", rule=outer_quantiles()),
    "word_head_pos": WordTask(feature="bin_head", rule=named_values(1, 0), classes=("bin_head 1", "bin_head 0")),
    "word_part_speech": WordTask(feature="pos", rule=named_values("NOUN", "VERB"), classes=("noun", "verb")),
    "word_length": WordTask(feature="word_length", rule=outer_quantiles(), classes=("short", "long")),
    "global_flow": WordTask(feature="max_global_magnitude", rule=outer_quantiles()),
    "local_flow": WordTask(feature="max_vector_magnitude", rule=outer_quantiles()),
    "frame_brightness": WordTask(feature="mean_pixel_brightness", rule=outer_quantiles()),
    "face_num": WordTask(feature="face_num", rule=from_on(1), classes=("no face", "faces")),
}  # fmt: skip


def word_labels(words: Words, task: WordTask, *, before_s: float = 2.5, after_s: float = 2.5) -> Labels:
    """Return the windows of a task with their classes or values, in seconds of the recording.

    words: of one session. task: of `PAPER_TASKS`, of `NEUROPROBE_TASKS`, or your own.
    before_s, after_s: the window around the onset of a word, seconds: (2.5, 2.5) in the paper, (0, 1) in Neuroprobe.
        Windows without speech are as long. Each label lasts as long as its window, which `make_epochs` then cuts
        (anchor="center", window_s=before_s + after_s).
    Words first, then windows without speech, each in the order of the session; what has no label is counted.
    Raises ValueError for a feature that the words do not have, or that is not of the kind that the rule takes, a window
    that is not longer than 0, and a class without words.
    """
    if not (np.isfinite([before_s, after_s]).all() and before_s + after_s > 0):
        raise ValueError(f"before_s is {before_s} and after_s {after_s}; give seconds, together more than 0.")
    rate = words.sampling_rate
    labels: NDArray[Any]
    if task.feature is None:
        taken, labels = np.ones(len(words), dtype=np.bool_), np.full(len(words), task.classes[-1])
    elif task.rule is None:
        labels = _numbers(_feature(words, task.feature))
        taken = np.isfinite(labels)
    else:
        code = task.rule(_feature(words, task.feature))
        taken, labels = code >= (0 if task.silence is None else 1), np.array(task.classes)[code]
    inside = words.sample >= round(before_s * rate)
    left_out = {"without a label": int((~taken).sum()), "before the recording": int((taken & ~inside).sum())}
    taken &= inside
    first, labels = words.sample[taken] - round(before_s * rate), labels[taken]
    if task.silence is not None:
        quiet = silences(
            words, window_s=before_s + after_s, padding_s=task.silence.padding_s, stride_s=task.silence.stride_s
        )
        first, labels = np.append(first, quiet), np.append(labels, np.full(len(quiet), task.classes[0]))
    return Labels(
        onset_s=first / rate,
        duration_s=np.full(len(first), before_s + after_s),
        values=labels,
        left_out={reason: number for reason, number in left_out.items() if number},
    )


def _feature(words: Words, name: str) -> NDArray[Any]:
    if name in words.columns:
        return words.columns[name]
    if name == "word_gap":
        sentence = words.columns["sentence"]
        gap = np.full(len(words), np.nan)
        gap[1:] = np.where(sentence[1:] == sentence[:-1], words.start_s[1:] - words.end_s[:-1], np.nan)
        return gap
    has = ", ".join(("word_gap", *words.columns))
    raise ValueError(f"The words have no feature {name!r}; they have {has}: name one, or add it with with_column.")


def _numbers(values: NDArray[Any]) -> NDArray[np.float64]:
    if values.dtype.kind not in "biuf":
        raise ValueError("The feature is text and the task needs numbers; take named_values(...) for its rule.")
    return values.astype(np.float64)
