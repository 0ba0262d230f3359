"""What a recording file holds beside the signals of its contacts: annotations, and channels of other kinds.

Annotations may be free text about a patient: only those leave that the caller knows word for word.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .bids import find_events
from .formats import format_of
from .mne_signals import MneSignals, open_mne
from .read import RecordingFiles, find_files


def read_annotations(
    path: str | Path,
    *,
    descriptions: Sequence[str],
    subject: str | None = None,
    session: str | None = None,
    task: str | None = None,
    acquisition: str | None = None,
    run: str | int | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.str_]]:
    """Return onset and duration in seconds from the first sample, and description, (annotations,) each, in time order.

    path, subject, session, task, acquisition, run: as for `read_recording`.
    descriptions: those to return, word for word.
    Raises ValueError when the file has none of these, for NWB, and what `read_recording` raises for files it refuses.
    """
    if isinstance(descriptions, str) or not descriptions:
        raise ValueError(f"descriptions is {descriptions!r}; give a list of the annotations to use, word for word.")
    signals = _open(
        find_files(Path(path), subject=subject, session=session, task=task, acquisition=acquisition, run=run)
    )
    onset_s, duration_s, found = signals.annotations()
    if not len(found):
        raise ValueError(f"{Path(path).name!r} has no annotations; give labels in another way.")
    wanted = np.flatnonzero(np.isin(found, list(descriptions)))
    if not len(wanted):
        raise ValueError(
            f"None of the {len(found)} annotations of {Path(path).name!r} is called "
            f"{' or '.join(repr(name) for name in descriptions)}; what they are called is not shown, because it may be "
            "about a patient: give their exact words."
        )
    wanted = wanted[np.argsort(onset_s[wanted], kind="stable")]
    return onset_s[wanted], duration_s[wanted], found[wanted]


def read_channel(
    path: str | Path,
    channel: str,
    *,
    subject: str | None = None,
    session: str | None = None,
    task: str | None = None,
    acquisition: str | None = None,
    run: str | int | None = None,
) -> tuple[NDArray[np.float64], float]:
    """Return one channel of any kind, (samples,), and its rate in Hz; its first sample is that of the recording.

    path, subject, session, task, acquisition, run: as for `read_recording`. channel: its name in the file.
    The values are what MNE-Python gives: volts where the header names a voltage, else as written.
    Raises ValueError for a channel that is not there, for NWB, and what `read_recording` raises for files it refuses.
    """
    signals = _open(
        find_files(Path(path), subject=subject, session=session, task=task, acquisition=acquisition, run=run)
    )
    return signals.channel(channel)


def find_events_of(
    root: str | Path,
    *,
    subject: str | None = None,
    session: str | None = None,
    task: str | None = None,
    acquisition: str | None = None,
    run: str | int | None = None,
) -> Path:
    """Return the events.tsv of one recording of a BIDS data set.

    root: of the data set; the others pick the recording, as for `read_recording`.
    Raises ValueError when it has none, or one that is a symbolic link out of the data set.
    """
    found = find_files(Path(root), subject=subject, session=session, task=task, acquisition=acquisition, run=run)
    events = None if found.bids_path is None else find_events(found.bids_path)
    if events is None:
        raise ValueError(f"The recording {found.path.name!r} has no events.tsv beside it; give labels in another way.")
    return events


def _open(found: RecordingFiles) -> MneSignals:
    if format_of(found.path) == "NWB":
        raise ValueError(
            f"{found.path.name!r} is NWB, of which contacts alone are read; give labels as a table or an array."
        )
    if found.bids_path is not None:
        find_events(found.bids_path)  # MNE-BIDS takes annotations from there, so it must not be a link that leads out
    return open_mne(found.path, files=found.files, unit=None, bids_path=found.bids_path)  # no positions
