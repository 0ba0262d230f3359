"""Neuroprobe as its own package has it: sessions, tasks, contacts, and which windows train and test in every split.

Nothing is decided here. The package makes the data sets and the splits, with `output_indices`, so that it hands out
samples of the recording's file; it never reads a voltage, and both places of the h5 files will do.
Source: Zahorodnii et al. 2025, arXiv 2509.21671; the package neuroprobe 0.1.8.
"""

import hashlib
import importlib.util
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..corpora.brain_treebank import Session

VERSION = "0.1.8"
INSTALL = f"pip install --no-deps neuroprobe=={VERSION} h5py pandas scikit-learn"
SPLITS = ("Within-Session", "Cross-Session", "Cross-Subject")
RATE = 2048.0
_ROOT = "ROOT_DIR_BRAINTREEBANK"


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbeWindows:
    """Labelled windows of one session, in the package's order.

    start: (windows,), first sample of each in the session's file. length: samples of each. label: (windows,), 0 or 1.
    contacts: names of those that the package gives for them.
    """

    session: Session
    start: NDArray[np.int64]
    length: int
    label: NDArray[np.int64]
    contacts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbeFold:
    """What one head is trained on and tested on. The validation half of the test windows is not used here."""

    train: ProbeWindows
    test: ProbeWindows


def session_name(session: Session) -> str:
    """Return what Neuroprobe calls a session, such as btbank1_2."""
    return f"btbank{session[0]}_{session[1]}"


def load_neuroprobe(root: Path | str) -> ModuleType:
    """Return the installed package neuroprobe, looking at this root of Brain Treebank.

    It is loaded from its distribution under a name of its own for every root: whatever else is called neuroprobe, such
    as a program, does not stand in its way, and another import of it, with another root, is not touched.
    Raises ValueError with the command that installs it when it is absent, or lacks what it imports.
    """
    try:
        distribution = metadata.distribution("neuroprobe")
    except metadata.PackageNotFoundError:
        raise ValueError(f"The package neuroprobe is not installed: {INSTALL}") from None
    path = Path(str(distribution.locate_file("neuroprobe/__init__.py")))
    root = Path(root).resolve()
    name = f"_neuroprobe_{hashlib.sha256(f'{path} {root}'.encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    if distribution.version != VERSION:
        warnings.warn(
            f"neuroprobe {distribution.version} is installed and its {VERSION} was tested here: windows or splits may "
            f"be others ({INSTALL}).",
            stacklevel=2,
        )
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=[str(path.parent)])
    if spec is None or spec.loader is None:
        raise ValueError(f"The package neuroprobe is not where its installation says: {INSTALL}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        # Its configuration reads the root from the environment when it is imported, and at no other time.
        with _environment(_ROOT, str(root)):
            spec.loader.exec_module(module)
    except ImportError as error:
        _forget(name)
        raise ValueError(f"The package neuroprobe could not be imported ({error}): {INSTALL}") from None
    except BaseException:
        _forget(name)
        raise
    return module


class Neuroprobe:
    """Sessions, tasks, contacts and splits of the package for one root.

    nano: Neuroprobe Nano: six sessions and 30 contacts at most; its data sets are asked for with lite=True, nano=True,
        as the package's example does, and then hold as many windows as Lite's, 3500.
    """

    def __init__(self, root: Path | str, *, nano: bool = False) -> None:
        self.root, self.nano = Path(root), nano
        self.package = load_neuroprobe(root)
        self._subjects: dict[int, Any] = {}
        self._rows: dict[tuple[Session, str], ProbeWindows] = {}

    @property
    def name(self) -> str:
        """Nano or Lite."""
        return "Nano" if self.nano else "Lite"

    @property
    def version(self) -> str:
        """Of the installed package."""
        return metadata.version("neuroprobe")

    @cached_property
    def tasks(self) -> dict[str, str]:
        """Task → what the leaderboard calls it, in its order."""
        return dict(self.package.config.NEUROPROBE_TASKS_MAPPING)

    @cached_property
    def sessions(self) -> tuple[Session, ...]:
        """Those that are tested on."""
        config = self.package.config
        return tuple(config.NEUROPROBE_NANO_SUBJECT_TRIALS if self.nano else config.NEUROPROBE_LITE_SUBJECT_TRIALS)

    @property
    def source(self) -> Session:
        """The session that Cross-Subject trains on, whose subject it leaves out."""
        config = self.package.config
        return config.DS_DM_TRAIN_SUBJECT_ID, config.DS_DM_TRAIN_TRIAL_ID

    @property
    def splits(self) -> tuple[str, ...]:
        """All three, but Nano has one session a subject and so no Cross-Session."""
        return tuple(split for split in SPLITS if not (self.nano and split == "Cross-Session"))

    def tested(self, split: str) -> tuple[Session, ...]:
        """Return the sessions that a split tests on."""
        if split not in self.splits:
            raise ValueError(f"Neuroprobe {self.name} has no split {split!r}: choose from {', '.join(self.splits)}.")
        if split == "Cross-Subject":
            return tuple(session for session in self.sessions if session[0] != self.source[0])
        return self.sessions

    def trained(self, split: str, session: Session) -> Session:
        """Return the session that a split trains on to test on `session`."""
        if split == "Cross-Subject":
            return self.source
        if split == "Cross-Session":
            return next(each for each in self.sessions if each[0] == session[0] and each != session)
        return session

    def folds(self, split: str, task: str, session: Session) -> list[ProbeFold]:
        """Return the folds that a split has of a task, tested on `session`, as the package makes them.

        Raises ValueError for a task, split or session that this benchmark does not have.
        """
        if task not in self.tasks:
            raise ValueError(f"Neuroprobe has no task {task!r}: choose from {', '.join(self.tasks)}.")
        if session not in self.tested(split):
            raise ValueError(
                f"{split} of Neuroprobe {self.name} does not test on {session_name(session)}: choose from "
                f"{', '.join(map(session_name, self.tested(split)))}."
            )
        kind: dict[str, Any] = {"lite": True, "output_indices": True}
        subject, trial = self._subject(session[0]), session[1]
        if split == "Within-Session":
            made = self.package.generate_splits_within_session(subject, trial, task, nano=self.nano, **kind)
        elif split == "Cross-Session":
            made = self.package.generate_splits_cross_session(subject, trial, task, **kind)
        else:
            people = {session[0]: subject, self.source[0]: self._subject(self.source[0])}
            made = self.package.generate_splits_cross_subject(people, *session, task, nano=self.nano, **kind)
        return [
            ProbeFold(train=self._windows(each["train_dataset"], task), test=self._windows(each["test_dataset"], task))
            for each in made
        ]

    def every_window(self, session: Session, tasks: Iterator[str] | list[str]) -> ProbeWindows:
        """Return each window of a session that any of these tasks has in any split, once, by time; labels are 0."""
        found = [self._all(session, task) for task in tasks]
        start = np.unique(np.concatenate([each.start for each in found]))
        return ProbeWindows(
            session=session,
            start=start,
            length=found[0].length,
            label=np.zeros_like(start),
            contacts=found[0].contacts,
        )

    def contacts(self, session: Session) -> tuple[str, ...]:
        """Return the contacts of a session that are on the package's list, and neither corrupted nor absent."""
        labels = self._subject(session[0]).electrode_labels
        return tuple(name for name in self.listed(session) if name in labels)

    def listed(self, session: Session) -> tuple[str, ...]:
        """Return the package's list of contacts."""
        config = self.package.config
        lists = config.NEUROPROBE_NANO_ELECTRODES if self.nano else config.NEUROPROBE_LITE_ELECTRODES
        return tuple(lists[f"btbank{session[0]}"])

    def _subject(self, number: int) -> Any:
        if number not in self._subjects:

            class WithoutVoltage(self.package.BrainTreebankSubject):  # type: ignore[name-defined]
                """Data sets open the recording even for indices, and look for it in one place only."""

                def load_neural_data(self, *_: Any, **__: Any) -> None:
                    pass

            try:
                self._subjects[number] = WithoutVoltage(number)
            except KeyError as error:
                raise ValueError(
                    f"corrupted_elec.json or a table of subject {number} has no {error}: take the files of Brain "
                    "Treebank as they were published."
                ) from None
        return self._subjects[number]

    def _windows(self, dataset: Any, task: str) -> ProbeWindows:
        """Return the windows of a data set of the package, which may be a part of a part of one."""
        rows: NDArray[np.int64] | None = None
        while hasattr(dataset, "indices"):
            indices = np.asarray(dataset.indices, dtype=np.int64)
            rows = indices if rows is None else indices[rows]
            dataset = dataset.dataset
        every = self._read(dataset, task)
        if rows is None:
            return every
        return ProbeWindows(
            session=every.session,
            start=every.start[rows],
            length=every.length,
            label=every.label[rows],
            contacts=every.contacts,
        )

    def _read(self, dataset: Any, task: str) -> ProbeWindows:
        """Return all windows of a whole data set; equal ones, which its seed makes equal, are read once."""
        session = (int(dataset.subject_id), int(dataset.trial_id))
        if (session, task) not in self._rows:
            items = [dataset[place] for place in range(len(dataset))]
            bounds = np.array([item["data"] for item in items], dtype=np.int64).reshape(-1, 2)
            lengths = np.unique(bounds[:, 1] - bounds[:, 0])
            assert len(lengths) == 1, lengths
            self._rows[session, task] = ProbeWindows(
                session=session,
                start=bounds[:, 0],
                length=int(lengths[0]),
                label=np.array([int(item["label"]) for item in items], dtype=np.int64),
                contacts=tuple(dataset.electrode_labels),
            )
        return self._rows[session, task]

    def _all(self, session: Session, task: str) -> ProbeWindows:
        if (session, task) not in self._rows:
            self.folds("Within-Session", task, session)
        return self._rows[session, task]


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _forget(name: str) -> None:
    for loaded in [each for each in sys.modules if each == name or each.startswith(f"{name}.")]:
        del sys.modules[loaded]
