"""A folder for Neuroprobe's leaderboard: written from results, and checked by reading it again.

The attestation says which sessions the weights have seen, whatever they are: whoever signs it should know.
Source: SUBMIT.md of insight-neuro/neuroprobe.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ..atomic import written_whole
from ..corpora.brain_treebank import PRETRAINING, SESSIONS, Session
from ..corpora.lineage import marks_in, seen_recordings
from .neuroprobe_windows import SPLITS, session_name

TIME_BIN = "one_second_after_onset"
RESPECTED = (
    "I attest that the training and test splits of Neuroprobe were respected and taken from the "
    "`neuroprobe/train_test_splits.py` function."
)
NOT_PRETRAINED = (
    "I attest that the submitted model was not pretrained on any data that intersects with any data of Neuroprobe."
)
# What the weights that the authors of BrainBERT released were trained on.
RELEASED: tuple[Session, ...] = PRETRAINING
FOLDS = {"Within-Session": 2, "Cross-Session": 1, "Cross-Subject": 1}
SCORES = ("train_accuracy", "train_roc_auc", "test_accuracy", "test_roc_auc")
BRAINBERT = """\
@inproceedings{wang2023brainbert,
  title = {{BrainBERT}: Self-supervised representation learning for intracranial recordings},
  author = {Wang, Christopher and Subramaniam, Vighnesh and Yaari, Adam Uri and Kreiman, Gabriel and Katz, Boris and
            Cases, Ignacio and Barbu, Andrei},
  booktitle = {International Conference on Learning Representations},
  year = {2023},
  url = {https://arxiv.org/abs/2302.14367},
}
"""
_METADATA = {
    "model_name": str,
    "description": str,
    "author": str,
    "organization": str,
    "organization_url": str,
    "timestamp": int | float,
}
_NAME = re.compile(r"^.+_[^_]+_[^_]+_\d{1,2}_\d{1,2}_\d{4}$")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Who submits what.

    author: first and last name, which sign the attestation. seen: Neuroprobe's and other sessions that the weights were
    trained on. publication: BibTeX of what describes model and evaluation.
    """

    model_name: str
    description: str
    author: tuple[str, str]
    organization: str
    organization_url: str
    seen: tuple[Session, ...]
    day: date
    publication: str = BRAINBERT

    @property
    def folder_name(self) -> str:
        """MODEL_FIRST_LAST_DD_MM_YYYY; blanks and what file systems refuse become hyphens."""
        model, first, last = (re.sub(r"[^\w.+()-]+", "-", part).strip("-") for part in (self.model_name, *self.author))
        names = "_".join(name.replace("_", "-") for name in (first, last))
        return f"{model}_{names}_{self.day:%d_%m_%Y}"

    @property
    def about(self) -> dict[str, Any]:
        """What metadata.json and every file of results begin with."""
        midnight = datetime(self.day.year, self.day.month, self.day.day, tzinfo=UTC)
        return {
            "model_name": self.model_name,
            "description": self.description,
            "author": " ".join(self.author),
            "organization": self.organization,
            "organization_url": self.organization_url,
            "timestamp": int(midnight.timestamp()),
        }


def sessions_in_record(record: Mapping[str, Any]) -> tuple[Session, ...] | None:
    """Return the sessions of Brain Treebank that a model was trained on.

    record: its training_record.json. None where that does not say, or has recordings which are not of `SESSIONS` by
    their id: copies of these could be among them.
    """
    seen = sessions_among(record)
    return seen if seen and len(seen) == len(marks_in(record) or ()) else None


def sessions_among(record: Mapping[str, Any]) -> tuple[Session, ...]:
    """Return the sessions of Brain Treebank that are among what a model was trained on, whatever else is."""
    names = {session_name(session): session for session in SESSIONS}
    return tuple(names[name] for name in seen_recordings(record, names) or ())


def missing_results(
    results: Iterable[Mapping[str, Any]], expected: Mapping[str, Sequence[Session]], tasks: Sequence[str]
) -> list[str]:
    """Return what a complete entry would also have, such as "Cross-Session speech btbank1_1"; expected: by split."""
    have = {(result["split"], result["task"], result["session"]) for result in results}
    return [
        f"{split} {task} {session_name(session)}"
        for split, sessions in expected.items()
        for task in tasks
        for session in sessions
        if (split, task, session_name(session)) not in have
    ]


def attestation(entry: Entry, forbidden: Sequence[Session]) -> str:
    """Return the text of ATTESTATION.txt. forbidden: the sessions of the benchmark, which pretraining may not touch."""
    name = " ".join(entry.author)
    both = sorted(set(entry.seen) & set(forbidden))
    others = sorted(set(entry.seen) - set(forbidden))
    lines = [RESPECTED, f"SIGN {name}", "", NOT_PRETRAINED, f"SIGN {name}"]
    if both:
        lines += [
            "EXCEPTION: the second statement does not hold for the following sessions of Neuroprobe, which the weights "
            f"have seen in pretraining (without labels): {', '.join(map(session_name, both))}."
        ]
    said = ", ".join(map(session_name, [*both, *others])) or "none"
    lines += ["", f"Sessions of Brain Treebank that the weights have seen: {said}."]
    return "\n".join(lines) + "\n"


def write_submission(
    results: Sequence[Mapping[str, Any]],
    folder: Path,
    entry: Entry,
    *,
    tasks: Sequence[str],
    expected: Mapping[str, Sequence[Session]],
    forbidden: Sequence[Session],
    partial: bool = False,
) -> Path:
    """Write the folder of an entry inside `folder`, check it, and return its path; one of the same name is replaced.

    results: of `Evaluation.result`. Splits with results become folders. tasks, expected: see `check_submission`.
    forbidden: see `attestation`. partial: write it although results are missing; then its name, and what it says of
        itself, end in PARTIAL.
    Raises ValueError for what the leaderboard would refuse; a folder of the same name is then left as it was.
    """
    splits = [split for split in SPLITS if any(result["split"] == split for result in results)]
    if not splits:
        raise ValueError("There is no result to submit: let the program finish first.")
    if not all(sign in entry.publication for sign in "@{}"):
        raise ValueError("The publication holds no BibTeX entry: give one, or leave it out for BrainBERT's.")
    lacking = missing_results(results, {split: expected[split] for split in splits}, tasks)
    if lacking and partial:
        entry = replace(
            entry,
            model_name=f"{entry.model_name} PARTIAL",
            description=f"{entry.description}. PARTIAL: {len(lacking)} results are missing, not to be submitted",
        )
    path = folder / entry.folder_name
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".entry-") as name:
        made, old = Path(name) / path.name, Path(name) / "old"
        with written_whole(made) as temporary:
            temporary.mkdir()
            (temporary / "ATTESTATION.txt").write_text(attestation(entry, forbidden), encoding="utf-8")
            (temporary / "PUBLICATION.bib").write_text(entry.publication.strip() + "\n", encoding="utf-8")
            _write(entry.about, temporary / "metadata.json")
            for split in splits:
                (temporary / split).mkdir()
                for task in dict.fromkeys(result["task"] for result in results if result["split"] == split):
                    chosen = [result for result in results if (result["split"], result["task"]) == (split, task)]
                    sessions = {result["session"]: _population(result["folds"]) for result in chosen}
                    content = entry.about | {"evaluation_results": sessions}
                    _write(content, temporary / split / f"population_{task}.json")
        check_submission(made, tasks=tasks, expected=expected, partial=partial)
        # A folder cannot be replaced by another in one step.
        if path.exists():
            path.rename(old)
        try:
            made.rename(path)
        except BaseException:
            if old.exists():
                old.rename(path)
            raise
    return path


def check_submission(
    folder: Path | str, *, tasks: Sequence[str], expected: Mapping[str, Sequence[Session]], partial: bool = False
) -> dict[str, float]:
    """Read a folder as the leaderboard does, and return split → AUROC, mean over folds, sessions and tasks.

    tasks: all of the benchmark. expected: split → all sessions that it tests on. partial: some may be missing.
    Raises ValueError that names the first thing that is wrong.
    """
    folder = Path(folder)
    if not _NAME.match(folder.name):
        raise ValueError(f"The folder {folder.name} is not called MODEL_FIRST_LAST_DD_MM_YYYY: rename it.")
    for name in ("metadata.json", "PUBLICATION.bib", "ATTESTATION.txt"):
        if not (folder / name).is_file():
            raise ValueError(f"{folder.name} has no {name}: write the folder again.")
    _check_metadata(_read(folder / "metadata.json"), "metadata.json")
    said = (folder / "ATTESTATION.txt").read_text(encoding="utf-8")
    if said.count("SIGN") < 2 or any(phrase not in said for phrase in (RESPECTED, NOT_PRETRAINED)):
        raise ValueError("ATTESTATION.txt lacks one of the two statements, or a SIGN: write the folder again.")
    publication = (folder / "PUBLICATION.bib").read_text(encoding="utf-8")
    if not all(sign in publication for sign in "@{}"):
        raise ValueError("PUBLICATION.bib holds no BibTeX entry: give one with --publication.")
    splits = [split for split in SPLITS if (folder / split).is_dir()]
    if not splits:
        raise ValueError(f"{folder.name} has none of the folders {', '.join(SPLITS)}: write the folder again.")
    return {split: _check_split(folder / split, tasks, expected[split], partial=partial) for split in splits}


def _check_split(folder: Path, tasks: Sequence[str], sessions: Sequence[Session], *, partial: bool) -> float:
    names = {f"population_{task}.json" for task in tasks}
    there = sorted(path.name for path in folder.glob("population_*.json"))
    if strange := [name for name in there if name not in names]:
        raise ValueError(f"{folder.name}/{strange[0]} is of no task of Neuroprobe: remove it.")
    if (missing := sorted(names - set(there))) and (not partial or not there):
        raise ValueError(f"{folder.name}/{missing[0]} is missing: a split needs all {len(tasks)} tasks.")
    return float(np.mean([_check_task(folder / name, sessions, partial=partial) for name in there]))


def _check_task(path: Path, expected: Sequence[Session], *, partial: bool) -> float:
    split = path.parent.name
    where = f"{split}/{path.name}"
    content = _read(path)
    _check_metadata(content, where)
    sessions = content.get("evaluation_results")
    if not isinstance(sessions, dict) or not sessions:
        raise ValueError(f"{where} has no evaluation_results: write the folder again.")
    names = [session_name(session) for session in expected]
    if strange := [name for name in sessions if name not in names]:
        raise ValueError(f"{where} has {strange[0]}, which {split} does not test on: write the folder again.")
    if (missing := [name for name in names if name not in sessions]) and not partial:
        raise ValueError(f"{where} lacks {missing[0]}: a split needs all {len(names)} sessions that it tests on.")
    return float(np.mean([_check_session(each, f"{where}, {name}", FOLDS[split]) for name, each in sessions.items()]))


def _check_session(result: Any, where: str, folds: int) -> float:
    try:
        found = result["population"][TIME_BIN]
        if (found["time_bin_start"], found["time_bin_end"]) != (0.0, 1.0):
            raise ValueError(f"{where}: the time bin is not 0 to 1 s.")
        scores = [[fold[name] for name in SCORES] for fold in found["folds"]]
    except (KeyError, TypeError):
        raise ValueError(f"{where}: population, {TIME_BIN}, folds or a score is missing.") from None
    if len(scores) != folds:
        raise ValueError(f"{where}: there are {len(scores)} folds, and the split has {folds}.")
    for of_fold in scores:
        for name, score in zip(SCORES, of_fold, strict=True):
            if not isinstance(score, float) or not 0 <= score <= 1:
                raise ValueError(f"{where}: {name} is {score}, not a number from 0 to 1.")
    return float(np.mean([of_fold[SCORES.index("test_roc_auc")] for of_fold in scores]))


def _check_metadata(content: Any, where: str) -> None:
    for name, kind in _METADATA.items():
        if not isinstance(content, dict) or not isinstance(content.get(name), kind):
            raise ValueError(f"{where} has no {name}, or one of another type: write the folder again.")


def _population(folds: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    return {
        "population": {TIME_BIN: {"time_bin_start": 0.0, "time_bin_end": 1.0, "folds": [dict(each) for each in folds]}}
    }


def _write(content: Mapping[str, Any], path: Path) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path.parent.name}/{path.name} is not JSON ({error}): write the folder again.") from None
