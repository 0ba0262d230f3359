"""What a recording file holds beside the signals of its contacts: annotations, and channels of other kinds.

The files are those of `find_files`, which takes what `read_recording` takes.
Annotations may be free text about a patient: only those leave that the caller knows word for word.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .bids import find_events
from .formats import format_of
from .mne_signals import MneSignals, open_mne
from .read import RecordingFiles


def read_annotations(
    files: RecordingFiles, *, descriptions: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.str_]]:
    """Return onset and duration in seconds from the first sample, and description, (annotations,) each, in time order.

    descriptions: those to return, word for word.
    Raises ValueError when the file has none of these, for NWB, and what `read_recording` raises for files it refuses.
    """
    if isinstance(descriptions, str) or not descriptions:
        raise ValueError(f"descriptions is {descriptions!r}; give a list of the annotations to use, word for word.")
    onset_s, duration_s, found = _open(files).annotations()
    if not len(found):
        raise ValueError(f"{files.path.name!r} has no annotations; give labels in another way.")
    wanted = np.flatnonzero(np.isin(found, list(descriptions)))
    if not len(wanted):
        raise ValueError(
            f"None of the {len(found)} annotations of {files.path.name!r} is called "
            f"{' or '.join(repr(name) for name in descriptions)}; what they are called is not shown, because it may be "
            "about a patient: give their exact words."
        )
    wanted = wanted[np.argsort(onset_s[wanted], kind="stable")]
    return onset_s[wanted], duration_s[wanted], found[wanted]


def read_channel(files: RecordingFiles, channel: str) -> tuple[NDArray[np.float64], float]:
    """Return one channel of any kind, (samples,), and its rate in Hz; its first sample is that of the recording.

    channel: its name in the file. The values are what MNE-Python gives: volts where the header names a voltage, else as
        written.
    Raises ValueError for a channel that is not there, for NWB, and what `read_recording` raises for files it refuses.
    """
    return _open(files).channel(channel)


def find_events_of(files: RecordingFiles) -> Path:
    """Return the events.tsv of a recording of a BIDS data set.

    Raises ValueError when it has none, or one that is a symbolic link out of the data set.
    """
    events = None if files.bids_path is None else find_events(files.bids_path)
    if events is None:
        raise ValueError(f"The recording {files.path.name!r} has no events.tsv beside it; give labels in another way.")
    return events


def _open(files: RecordingFiles) -> MneSignals:
    if format_of(files.path) == "NWB":
        raise ValueError(
            f"{files.path.name!r} is NWB, of which contacts alone are read; give labels as a table or an array."
        )
    if files.bids_path is not None:
        find_events(files.bids_path)  # MNE-BIDS takes annotations from there, so it must not be a link that leads out
    return open_mne(files.path, files=files.files, unit=None, bids_path=files.bids_path)  # no positions
