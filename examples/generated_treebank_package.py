"""The movies of Brain Treebank as the tables of the neuroprobe package know them.

The package is read as files: importing it needs the root that is about to be written. Nothing of it is copied here.
"""

import ast
import csv
import importlib.metadata
import json
from functools import cache
from pathlib import Path

import numpy as np
from generated_treebank_words import Session, Transcript, with_features

from brainbert.processing.recordings.contacts import clean_name

RATE = 2048  # Hz, of all its tables
LAST_WORDS = ["nobody", "ever", "heard", "this", "said"]  # after all recordings end


def package_folder() -> Path:
    """Return where the neuroprobe package lies: by its distribution, as a program here has the name of its module.

    Raises ValueError when it is not installed.
    """
    try:
        return Path(str(importlib.metadata.distribution("neuroprobe").locate_file("neuroprobe")))
    except importlib.metadata.PackageNotFoundError:
        raise ValueError(
            "The word tables are those of the neuroprobe package, which is not installed: "
            "pip install --no-deps neuroprobe==0.1.8, or take made-up words."
        ) from None


@cache
def package_constant(name: str) -> dict[str, object]:
    """Return a constant of the package's config.py, read as a literal."""
    for statement in ast.parse((package_folder() / "config.py").read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign) and [getattr(target, "id", "") for target in statement.targets] == [name]:
            constant: dict[str, object] = ast.literal_eval(statement.value)
            return constant
    raise ValueError(f"This version of neuroprobe has no {name}: install neuroprobe==0.1.8.")


@cache
def package_sessions() -> dict[tuple[int, int], str]:
    """Return (subject, trial) -> movie of all sessions."""
    movies = package_constant("BRAINTREEBANK_SUBJECT_TRIAL_MOVIE_NAME_MAPPING")
    return {tuple(map(int, name.removeprefix("btbank").split("_"))): str(movie) for name, movie in movies.items()}


def package_movie(subject: int, trial: int) -> str:
    """Return the name of the movie of a session. Raises ValueError for a session that the package does not know."""
    sessions = package_sessions()
    if (subject, trial) not in sessions:
        known = ", ".join(f"{of}_{number}" for of, number in sessions)
        raise ValueError(f"Session {subject}_{trial} is not one of Brain Treebank's: {known}.")
    return sessions[subject, trial]


@cache
def package_table(subject: int, trial: int) -> dict[str, list[str]]:
    """Return the package's table of a session's words, column -> text."""
    path = package_folder() / "braintreebank_features_time_alignment" / f"subject{subject}_trial{trial}_words_df.csv"
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    return {name: list(column) for name, column in zip(header, zip(*rows, strict=True), strict=True)}


def package_contacts(subject: int) -> list[list[str]]:
    """Return the contacts of a subject: those of Neuroprobe-Nano, those of Neuroprobe, and all that have a position.

    Raises ValueError for a subject that the package does not know.
    """
    name = f"btbank{subject}"
    lists = [package_constant(f"NEUROPROBE_{which}_ELECTRODES").get(name) for which in ("NANO", "LITE")]
    if None in lists:
        raise ValueError(f"There is no subject {subject} in Brain Treebank: it has 1 to 10.")
    with (package_folder() / "mni_coords" / f"{name}_mni_coords.csv").open(newline="", encoding="utf-8") as file:
        return [*lists, [clean_name(row["electrode_label"]) for row in csv.DictReader(file)]]


def package_transcript(movie: str, rng: np.random.Generator) -> Transcript:
    """Return a transcript whose complete rows are the words that the package has of a movie.

    Rows that it lacks are incomplete; five words follow that no recording reached.
    """
    tables = [package_table(*session) for session, played in package_sessions().items() if played == movie]
    table = max(tables, key=lambda table: len(table["start"]))
    known = np.array(table["original_index"], dtype=int)
    rows, after = known[-1] + 1, len(LAST_WORDS)
    text, sentence = ["uh"] * rows, [""] * rows
    start, end, pitch = np.full((3, rows), np.nan)
    place = np.zeros(rows, dtype=int)
    start[known], end[known] = (np.array(table[name], dtype=float) for name in ("start", "end"))
    with (package_folder() / "pitch_volume_features" / f"{movie}_pitch_volume_features.json").open() as file:
        pitches = {f"{float(time):.5f}": features["enhanced_pitch"] for time, features in json.load(file).items()}
    enhanced = np.array([pitches[f"{time:.5f}"] for time in start[known]])
    # Of the same order, but with two tails: a mean less a standard deviation of the package's is below nearly all.
    pitch[known] = 200 + 50 * np.sort(rng.standard_normal(len(known)))[np.argsort(np.argsort(enhanced, kind="stable"))]
    for row, word in zip(known, table["full_word"], strict=True):
        text[row] = word
    for words in _sentences(table):
        said = f"{table['context'][words[-1]]} {table['full_word'][words[-1]]}".strip()
        if known[words[0]] and sentence[known[words[0]] - 1] == said:
            said += "."
        for row in range(known[words[0]], known[words[-1]] + 1):
            sentence[row] = said
        place[known[words]] = [len(table["context"][word].split()) for word in words]
        for row in range(known[words[-1]] + 1, known[min(words[-1] + 1, len(known) - 1)]):
            sentence[row], place[row] = said, place[known[words[-1]]] + 1
    incomplete = np.isin(np.arange(rows), known, invert=True)
    # Some of them have times, where there is room for one between its neighbours.
    for row in np.flatnonzero(incomplete[1:-1]) + 1:
        free = start[row + 1] - end[row - 1]
        if free > 0.1:
            start[row], end[row] = end[row - 1] + 0.02, end[row - 1] + min(free - 0.02, 0.3)
    later = np.nanmax(end) + 3 + 0.5 * np.arange(after)
    return with_features(
        text + LAST_WORDS,
        np.append(start, later),
        np.append(end, later + 0.4),
        sentence + [" ".join(LAST_WORDS)] * after,
        np.append(place, np.arange(after)),
        np.append(pitch, np.full(after, 200.0)),
        np.append(incomplete, np.zeros(after, dtype=bool)),
        rng,
    )


def package_session(subject: int, trial: int, transcript: Transcript, *, minutes: float | None) -> Session:
    """Return a session with a trigger at each word's beginning and end, so that the package's rule finds its table.

    minutes: of the recording that are kept; words that end later come after the last trigger.
    """
    table = package_table(subject, trial)
    row, sample, end_sample = (
        np.array(table[name], dtype=float).astype(np.int64) for name in ("original_index", "est_idx", "est_end_idx")
    )
    if minutes is not None:
        kept = end_sample < (60 * minutes - 5) * RATE
        row, sample, end_sample = (column[: max(int(np.argmin(kept)), 1)] for column in (row, sample, end_sample))
        if len(row) < 2:
            raise ValueError(f"Session {subject}_{trial} has no words in its first {minutes:g} minutes: keep more.")
    start, end = transcript.start[row], transcript.end[row]
    time_s, place = np.append(start, end), np.append(sample, end_sample)
    order = np.argsort(time_s, kind="stable")
    later = transcript.start[transcript.complete & (np.arange(len(transcript.index)) > row[-1])]
    last_s = min(end.max() + 1, later.min())
    last = int(place.max()) + 2 * RATE
    return Session(
        sampling_rate=RATE,
        num_samples=last + 2 * RATE,
        trigger_s=np.append(time_s[order], last_s),
        trigger_sample=np.append(place[order], last),
        row=row,
        sample=sample,
        end_sample=end_sample,
    )


def _sentences(table: dict[str, list[str]]) -> list[list[int]]:
    """Group the words of a table: one continues a sentence if what came before it includes the word before."""
    groups: list[list[int]] = []
    for number, context in enumerate(table["context"]):
        before = f"{table['context'][number - 1]} {table['full_word'][number - 1]}".strip()[:-1]
        if not groups or not context or not context.startswith(before):
            groups.append([])
        groups[-1].append(number)
    return groups
