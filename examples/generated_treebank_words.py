"""Transcripts and triggers for a generated Brain Treebank.

Times are seconds of the movie, places are samples of the recording. Nothing here reads or writes files.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Of features.csv, in its order; the index comes before.
COLUMNS = (
    "text", "start", "end", "is_onset", "is_offset", "sentence", "sentence_idx", "word_idx", "idx_in_sentence", "pos",
    "deprel", "head", "bin_head", "lemma", "phoneme_num", "syllable", "word_length", "speaker", "rms", "delta_rms",
    "pitch", "delta_pitch", "mel", "delta_mel", "magnitude", "delta_magnitude", "mean_pixel_brightness",
    "max_mean_pixel_brightness", "min_mean_pixel_brightness", "max_mean_pixel_difference", "min_mean_pixel_difference",
    "max_global_magnitude", "max_global_angle", "max_vector_magnitude", "max_vector_angle", "max_mean_magnitude",
    "max_median_magnitude", "face_num", "gpt2_surprisal", "prev_word_idx", "charecter_num", "word_diff", "onset_diff",
)  # fmt: skip
# What makes a row incomplete when it is missing.
MAY_BE_MISSING = ("rms", "pitch", "mel", "mean_pixel_brightness", "max_vector_magnitude", "face_num", "gpt2_surprisal")
VOCABULARY = ["we", "saw", "the", "red", "boat", "turn", "and", "ran", "home", "before", "it", "could", "rain"]
TRIGGER_S = 2  # of the movie, from one trigger to the next, where the triggers are ours


@dataclass(frozen=True, eq=False)
class Transcript:
    """One movie's features.csv.

    columns: name -> one value a row, None where there is none; `COLUMNS` in their order.
    index: (rows,) names of the rows. complete: (rows,) whether a row has all of them (word_diff, onset_diff aside).
    start, end: (rows,) s, NaN where there is none. loud, high: (rows,) whether rms and pitch are above their median.
    """

    columns: dict[str, list[object]]
    index: NDArray[np.int64]
    complete: NDArray[np.bool_]
    start: NDArray[np.float64]
    end: NDArray[np.float64]
    loud: NDArray[np.bool_]
    high: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Session:
    """What was played when.

    trigger_s, trigger_sample: (triggers,) time in the movie and place in the recording.
    row: (words,) rows of the transcript that have a place; sample, end_sample: (words,) where they begin and end.
    """

    sampling_rate: int
    num_samples: int
    trigger_s: NDArray[np.float64]
    trigger_sample: NDArray[np.int64]
    row: NDArray[np.int64]
    sample: NDArray[np.int64]
    end_sample: NDArray[np.int64]


def made_up_transcript(minutes: float, rng: np.random.Generator) -> Transcript:
    """Return a transcript of `minutes` minutes: sentences of 3 to 10 words, with silences of 7 to 15 s between some."""
    text, start, end, sentence, place = [], [], [], [], []
    time_s, number = 5.0, 0
    while time_s < 60 * minutes:
        said = rng.choice(VOCABULARY, rng.integers(3, 11)).tolist()
        number += 1
        for position, word in enumerate(said):
            text.append(word)
            start.append(time_s)
            end.append(time_s + rng.uniform(0.12, 0.45))
            sentence.append(" ".join(said) + "." * (1 + number % 3))
            place.append(position)
            time_s = end[-1] + rng.uniform(0.001, 0.1)
        time_s += rng.uniform(7, 15) if rng.random() < 0.3 else rng.uniform(0.3, 1.5)
    incomplete = rng.random(len(text)) < 0.05
    pitch = 200 + 50 * _drifting(len(text), rng)
    return with_features(text, np.array(start), np.array(end), sentence, np.array(place), pitch, incomplete, rng)


def played(transcript: Transcript, *, sampling_rate: int, rng: np.random.Generator) -> Session:
    """Play a movie with pauses: a trigger every 2 s of the movie, pauses between two, the last words after the last.

    A word lies nearest to the trigger on its own side of a pause; the next trigger may lie on the other side.
    """
    last = int(np.nanmax(transcript.start) - 8) // TRIGGER_S * TRIGGER_S
    trigger_s = np.arange(0, last + 1, TRIGGER_S)
    pause_s = np.sort(rng.choice(trigger_s[2:-2], max(2, last // 1800), replace=False)) + TRIGGER_S / 2
    pause_samples = np.cumsum(rng.integers(3 * sampling_rate, 30 * sampling_rate, len(pause_s)))

    def sample_of(time_s: NDArray[np.float64]) -> NDArray[np.int64]:
        waited = np.concatenate([[0], pause_samples])[np.searchsorted(pause_s, time_s)]
        return np.round(20 * sampling_rate + waited + time_s * sampling_rate).astype(np.int64)

    row = np.flatnonzero(transcript.complete & (transcript.start < last))
    trigger_sample = sample_of(trigger_s.astype(float))
    return Session(
        sampling_rate=sampling_rate,
        num_samples=int(trigger_sample[-1]) + 20 * sampling_rate,
        trigger_s=trigger_s.astype(float),
        trigger_sample=trigger_sample,
        row=row,
        sample=sample_of(transcript.start[row]),
        end_sample=sample_of(transcript.end[row]),
    )


def _drifting(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return (count,) standard normal values, each correlated by 0.8 with the one before: phrases are loud."""
    steps = rng.standard_normal(count)
    for number in range(1, count):
        steps[number] = 0.8 * steps[number - 1] + 0.6 * steps[number]
    return steps


def with_features(
    text: list[str],
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    sentence: list[str],
    place: NDArray[np.int64],
    pitch: NDArray[np.float64],
    incomplete: NDArray[np.bool_],
    rng: np.random.Generator,
) -> Transcript:
    """Add what is drawn at random: `rms`, which a response is planted for, and all that none is planted for."""
    count = len(text)
    rms = np.maximum(0.05 + 0.015 * _drifting(count, rng), 0.001)
    new = np.array([not row or sentence[row] != sentence[row - 1] for row in range(count)])
    values: dict[str, object] = {name: rng.gamma(2.0, size=count) for name in COLUMNS}
    values |= {name: rng.standard_normal(count) for name in COLUMNS if name.startswith("delta_")}
    values |= {
        "text": text,
        "start": start,
        "end": end,
        "is_onset": (place == 0).astype(int),
        "is_offset": np.append(new[1:], True).astype(int),
        "sentence": sentence,
        "sentence_idx": np.cumsum(new) - 1,
        "word_idx": np.arange(count),
        "idx_in_sentence": place,
        "pos": rng.choice(["VERB", "NOUN", "PRON", "DET", "ADJ", "ADV"], count, p=[0.25, 0.25, 0.2, 0.1, 0.1, 0.1]),
        "deprel": rng.choice(["nsubj", "root", "obj", "det", "advmod"], count),
        "head": rng.integers(0, 8, count),
        "bin_head": rng.integers(0, 2, count),
        "lemma": [word.lower() for word in text],
        "phoneme_num": rng.integers(1, 9, count),
        "syllable": rng.integers(1, 4, count),
        "speaker": rng.choice(["first", "second", "third"], count),
        "rms": rms,
        "pitch": pitch,
        "face_num": rng.integers(0, 4, count),
        "prev_word_idx": np.arange(count) - 1,
        "charecter_num": [len(word) for word in text],
        "word_diff": np.append(np.nan, start[1:] - end[:-1]),
        "onset_diff": np.where(place == 0, rng.gamma(2.0, size=count), np.nan),
    }
    columns: dict[str, list[object]] = {}
    for name in COLUMNS:
        column = np.asarray(values[name]).tolist()
        columns[name] = [None if value != value else value for value in column]
    # A row without times misses those already.
    for row in np.flatnonzero(incomplete):
        columns[str(rng.choice(MAY_BE_MISSING))][row] = None
    complete = ~incomplete
    return Transcript(
        columns=columns,
        index=np.arange(count),
        complete=complete,
        start=start,
        end=end,
        loud=rms > np.median(rms[complete]),
        high=pitch > np.median(pitch[complete]),
    )
