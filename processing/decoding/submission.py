"""A folder for Neuroprobe's leaderboard: written from results, and checked by reading it again.

The attestation says which sessions the weights have seen, whatever they are: whoever signs it should know.
Source: SUBMIT.md of insight-neuro/neuroprobe.
"""

import json
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic import written_whole
from ..corpora.brain_treebank import SESSIONS
from ..corpora.lineage import marks_in, seen_recordings
from .neuroprobe_windows import SPLITS, Session, session_name

TIME_BIN = "one_second_after_onset"
RESPECTED = (
    "I attest that the training and test splits of Neuroprobe were respected and taken from the "
    "`neuroprobe/train_test_splits.py` function."
)
NOT_PRETRAINED = (
    "I attest that the submitted model was not pretrained on any data that intersects with any data of Neuroprobe."
)
# What the weights that the authors of BrainBERT released were trained on, of the sessions that Neuroprobe tests on.
RELEASED: tuple[Session, ...] = ((1, 2), (2, 0), (2, 4), (3, 1), (4, 1), (7, 1), (10, 1))
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
    names = {session_name(session): session for session in SESSIONS}
    seen = seen_recordings(record, names)
    return tuple(names[name] for name in seen) if seen and len(seen) == len(marks_in(record) or ()) else None


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
    forbidden: Sequence[Session],
) -> Path:
    """Write the folder of an entry inside `folder`, check it, and return its path; one of the same name is replaced.

    results: of `Evaluation.result`. Splits with results become folders. forbidden: see `attestation`.
    Raises ValueError for what the leaderboard would refuse.
    """
    path = folder / entry.folder_name
    splits = [split for split in SPLITS if any(result["split"] == split for result in results)]
    if not splits:
        raise ValueError("There is no result to submit: let the program finish first.")
    if not all(sign in entry.publication for sign in "@{}"):
        raise ValueError("The publication holds no BibTeX entry: give one, or leave it out for BrainBERT's.")
    if path.exists():
        shutil.rmtree(path)
    with written_whole(path) as temporary:
        temporary.mkdir()
        (temporary / "ATTESTATION.txt").write_text(attestation(entry, forbidden), encoding="utf-8")
        (temporary / "PUBLICATION.bib").write_text(entry.publication.strip() + "\n", encoding="utf-8")
        _write(entry.about, temporary / "metadata.json")
        for split in splits:
            (temporary / split).mkdir()
            for task in tasks:
                chosen = [result for result in results if (result["split"], result["task"]) == (split, task)]
                if chosen:
                    sessions = {result["session"]: _population(result["folds"]) for result in chosen}
                    _write(
                        entry.about | {"evaluation_results": sessions}, temporary / split / f"population_{task}.json"
                    )
    check_submission(path, tasks=tasks)
    return path


def check_submission(folder: Path | str, *, tasks: Sequence[str]) -> dict[str, float]:
    """Read a folder as the leaderboard does, and return split → AUROC, mean over folds, sessions and tasks.

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
    return {split: float(np.mean([_check_task(folder / split, task) for task in tasks])) for split in splits}


def _check_task(folder: Path, task: str) -> float:
    path = folder / f"population_{task}.json"
    where = f"{folder.name}/{path.name}"
    if not path.is_file():
        raise ValueError(f"{where} is missing: a split needs all tasks.")
    content = _read(path)
    _check_metadata(content, where)
    sessions = content.get("evaluation_results")
    if not isinstance(sessions, dict) or not sessions:
        raise ValueError(f"{where} has no evaluation_results: write the folder again.")
    scores = []
    for session, result in sessions.items():
        try:
            found = result["population"][TIME_BIN]
            if (found["time_bin_start"], found["time_bin_end"]) != (0.0, 1.0):
                raise ValueError(f"{where}, {session}: the time bin is not 0 to 1 s.")
            folds = [fold["test_roc_auc"] for fold in found["folds"]]
        except (KeyError, TypeError):
            raise ValueError(f"{where}, {session}: population, {TIME_BIN}, folds or a score is missing.") from None
        if not folds or not all(isinstance(each, float) and 0 <= each <= 1 for each in folds):
            raise ValueError(f"{where}, {session}: the scores are {folds}, not one or more numbers from 0 to 1.")
        scores.append(float(np.mean(folds)))
    return float(np.mean(scores))


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
