"""A generated Brain Treebank: a root in the public layout, with known responses at known contacts.

Source of the layout: Brain Treebank (Wang et al. 2024, CC BY 4.0), as the code that reads it expects it.
"""

import csv
import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
from generated_treebank_package import package_contacts, package_movie, package_session, package_transcript
from generated_treebank_voltage import planted_states, voltage
from generated_treebank_words import COLUMNS, Session, Transcript, made_up_transcript, played
from tqdm import tqdm

from brainbert.processing.atomic import written_whole
from brainbert.processing.recordings.contacts import neighbours, parse_contact

Words = Literal["neuroprobe", "made-up"]
Channels = dict[str, str | None]  # label -> what is planted, or why nothing can be; in the order of the file

TEST_SESSIONS = ((1, 1), (2, 4), (4, 0), (4, 1), (9, 0))
SLOW_SUBJECT = 9  # recorded at 1024 Hz, the others at 2048
EXTRA_SUBJECT = 1  # its files have one dataset more than it has labels
REGIONS = {"speech": "superiortemporal", "volume": "transversetemporal", "pitch": "middletemporal"}
MADE_UP_SHAFTS = ("T1aIb", "T1bIc", "T2aA", "F3aOFa", "P2b", "O1aIb", "F2c", "T3aHb")
# A window is read by unpacking a whole chunk; 2^18 samples of 16 bits are what fits into h5py's cache of 1 MB.
CHUNK = 2**18


def generate(
    out: Path,
    *,
    sessions: Sequence[tuple[int, int]] = TEST_SESSIONS,
    contacts: int = 12,
    words: Words = "neuroprobe",
    minutes: float | None = None,
    seed: int = 0,
    subfolder: bool = False,
    with_voltage: bool = True,
    progress: bool = False,
) -> Path:
    """Write a root in Brain Treebank's layout and return it; what an interrupted call has written is kept.

    sessions: (subject, trial). contacts: of each subject, 12 or more, or all that it has. Besides them, X_z1 has an
        underscore in its name, X_z2 is corrupted, DC4 and TRIG2 are not brain.
    words: "neuroprobe" for the movies and words of the package's tables, at their places (subject 9's take it for
        2048 Hz; it is played anew at 1024); "made-up" for `minutes` (10) minutes that need no package.
    minutes: with "neuroprobe", of each recording that are kept; all by default.
    subfolder: whether the voltage lies in all_subject_data/. with_voltage: if not, its files are holes of the size that
        it would have as 32-bit numbers, to plan with.
    planted.json says what was asked for and what each contact responds to, as it is and after subtracting the mean of
    its neighbours.
    Raises ValueError for a root that was generated otherwise, and for contacts or sessions that cannot be had.
    """
    made_up = words == "made-up"
    if made_up and minutes is not None and minutes < 2:
        raise ValueError(f"{minutes:g} minutes hold too few words: make up 2 or more.")
    subjects = {
        subject: _channels(subject, contacts, words) for subject in sorted({subject for subject, _ in sessions})
    }
    asked = {"sessions": [list(session) for session in sessions], "contacts": contacts, "words": words}
    asked |= {"minutes": minutes, "seed": seed, "subfolder": subfolder, "voltage": with_voltage}
    _start(out, {"asked": asked, "subjects": {f"sub_{name}": _planted(of) for name, of in subjects.items()}})
    _write_subjects(out, subjects, seed)
    movies: dict[str, Transcript] = {}
    for subject, trial in tqdm(sessions, desc="writing", unit="session", disable=not progress, file=sys.stderr):
        movie = f"film-{trial}" if made_up else package_movie(subject, trial)
        if movie not in movies:
            rng = np.random.default_rng([seed, *movie.encode()])
            movies[movie] = made_up_transcript(minutes or 10, rng) if made_up else package_transcript(movie, rng)
            rows = zip(movies[movie].index.tolist(), *movies[movie].columns.values(), strict=True)
            _write_rows(out / "transcripts" / movie / "features.csv", ("Unnamed: 0", *COLUMNS), rows)
            movies[movie] = replace(movies[movie], columns={})  # they take more memory than all the rest
        if made_up or subject == SLOW_SUBJECT:
            rate = 1024 if subject == SLOW_SUBJECT else 2048
            session = played(movies[movie], sampling_rate=rate, rng=np.random.default_rng([seed, subject, trial]))
        else:
            session = package_session(subject, trial, movies[movie], minutes=minutes)
        name = f"sub_{subject}_trial{trial:03}"
        about = {"title": movie.replace("-", " ").title(), "filename": movie}
        _write_json(out / "subject_metadata" / f"{name}_metadata.json", about)
        _write_timings(out / "subject_timings" / f"{name}_timings.csv", session)
        planted = [*subjects[subject].values(), *([None] if subject == EXTRA_SUBJECT else [])]
        path = out / ("all_subject_data" if subfolder else "") / f"{name}.h5"
        if path.exists():
            continue
        with written_whole(path) as part:
            if with_voltage:
                _write_voltage(part, planted, movies[movie], session, seed=[seed, subject, trial])
            else:
                part.touch()
                os.truncate(part, 4 * session.num_samples * len(planted))
    return out


def _start(out: Path, planted: dict[str, object]) -> None:
    path, text = out / "planted.json", json.dumps(planted, indent=1) + "\n"
    if path.exists() and path.read_text() != text:
        raise ValueError(f"{out} was generated with other sessions or settings (planted.json): use another folder.")
    if not path.exists() and out.exists() and any(out.iterdir()):
        raise ValueError(f"{out} holds something else than a generated root: use a new folder.")
    _write_json(path, planted)


# ---- contacts -------------------------------------------------------------------------------------------------------


def _channels(subject: int, count: int, words: Words) -> Channels:
    """Return a subject's channels: threes of neighbours, of which the middle one of the first three threes is planted.

    Those of the benchmark's shorter lists come first; where there are no more threes, the contacts between them.
    """
    if count < 12:
        raise ValueError(f"{count} contacts have no place for three responses and none: ask for 12 or more.")
    made_up = [f"{shaft}{number}" for shaft in MADE_UP_SHAFTS for number in range(1, 17)]
    lists = [made_up] if words == "made-up" else package_contacts(subject)
    chosen: list[str] = []
    for names in lists:
        chosen += [name for three in _threes(names) if not set(three) & set(chosen) for name in three]
        if names is not lists[0] or names is lists[-1]:
            chosen += [name for name in names if name not in chosen]
    channels: Channels = {}
    for number, name in enumerate(chosen[:count]):
        label = (f"*{name}", f"{name}#", name)[number % 3]
        channels[label] = tuple(REGIONS)[number // 3] if number % 3 == 1 and number < 9 else None
        if number == 5:  # in the midst, so that a contact's dataset is not its number among the contacts
            channels["DC4"] = "not brain"
    return channels | {"X_z1": None, "X_z2": "corrupted", "TRIG2": "not brain"}


def _threes(names: Iterable[str]) -> list[list[str]]:
    """Return threes of consecutive contacts, one left out between two; the first of each shaft come first."""
    numbers: dict[str, set[int]] = {}
    for shaft, number in filter(None, map(parse_contact, names)):
        numbers.setdefault(shaft, set()).add(number)
    threes = []
    for shaft, has in numbers.items():
        found, free = 0, 0
        for number in sorted(has):
            if number >= free and {number + 1, number + 2} <= has:
                threes.append((found, [f"{shaft}{number + step}" for step in range(3)]))
                found, free = found + 1, number + 4
    return [three for _, three in sorted(threes, key=lambda entry: entry[0])]


def _bare(label: str) -> str:
    return re.sub(r"[*#_]", "", label)


def _planted(channels: Channels) -> dict[str, object]:
    """Return what planted.json says of a subject.

    contacts: name -> what is planted. laplacian: name -> all that is after subtracting the mean of both neighbours, of
    the contacts that have both. corrupted: names.
    """
    brain = {_bare(label): planted for label, planted in channels.items() if planted in (None, *REGIONS)}
    return {
        "contacts": brain,
        "laplacian": {
            name: [planted for planted in (brain[name], brain[before], brain[after]) if planted]
            for name, (before, after) in neighbours(brain).items()
            if before and after
        },
        "corrupted": [_bare(label) for label, planted in channels.items() if planted == "corrupted"],
    }


# ---- files ----------------------------------------------------------------------------------------------------------


def _write_subjects(out: Path, subjects: dict[int, Channels], seed: int) -> None:
    """Write names, regions and positions. A planted contact is alone in its region, which all subjects share."""
    positions: list[list[object]] = []
    for subject, channels in subjects.items():
        _write_json(out / "electrode_labels" / f"sub_{subject}" / "electrode_labels.json", list(channels))
        rng = np.random.default_rng([seed, subject])
        shafts: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        regions: list[list[object]] = []
        for label, planted in channels.items():
            if planted == "not brain":
                continue
            shaft, number = parse_contact(_bare(label))
            if shaft not in shafts:
                shafts[shaft] = rng.uniform(-40, 40, 3), rng.standard_normal(3)
            entry, direction = shafts[shaft]
            place = entry + 3.5 * number * direction / np.linalg.norm(direction)
            region = f"ctx-lh-{REGIONS[planted]}" if planted in REGIONS else "Left-Cerebral-White-Matter"
            if planted is None and number % 3 == 0:
                region = "ctx-lh-insula"
            regions.append([label, *np.round(128 + place, 1).tolist(), region, region.replace("-", "_")])
            positions.append([f"sub_{subject}", label.strip("*#"), *np.round(place, 2).tolist()])
        header = ("Electrode", "L", "I", "P", "DesikanKilliany", "Destrieux")
        _write_rows(out / "localization" / f"sub_{subject}" / "depth-wm.csv", header, regions)
    _write_rows(out / "localization" / "elec_coords_full.csv", ("Subject", "Electrode", "X", "Y", "Z"), positions)
    corrupted = {
        f"sub_{subject}": [label for label, planted in channels.items() if planted == "corrupted"]
        for subject, channels in subjects.items()
    }
    _write_json(out / "corrupted_elec.json", corrupted)


def _write_timings(path: Path, session: Session) -> None:
    sample = session.trigger_sample
    recorded_s = sample / session.sampling_rate
    columns = {
        "type": ["beginning", *["trigger"] * (len(sample) - 2), "end"],
        "movie_time": session.trigger_s.tolist(),
        "start_time": recorded_s.tolist(),
        "end_time": (recorded_s + 0.01).tolist(),
        "trig_type": ["audio"] * len(sample),
        "index": sample.tolist(),
        "diff": np.diff(sample, prepend=sample[0]).tolist(),
    }
    _write_rows(path, tuple(columns), zip(*columns.values(), strict=True))


def _write_voltage(
    path: Path, planted: Sequence[str | None], transcript: Transcript, session: Session, *, seed: list[int]
) -> None:
    storage = {"compression": "gzip", "compression_opts": 6, "shuffle": True, "dtype": "int16"}
    with h5py.File(path, "w") as file:
        for number, what in enumerate(planted):
            length = session.num_samples
            dataset = file.create_dataset(
                f"data/electrode_{number}", (length,), chunks=(min(CHUNK, length),), **storage
            )
            if what == "not brain":
                continue  # what is not written reads as zeros
            rng = np.random.default_rng([*seed, number])
            states = planted_states(what if what in REGIONS else None, session, transcript, rng)
            start = 0
            for part in voltage(states, session, rng, chunk=CHUNK):
                # The corrupted contact is driven into the rails of its amplifier.
                dataset[start : start + len(part)] = np.clip(20 * part, -800, 800) if what == "corrupted" else part
                start += len(part)


def _write_json(path: Path, content: object) -> None:
    with written_whole(path) as part:
        part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with written_whole(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
