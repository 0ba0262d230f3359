"""Brain Treebank: its sessions, their recordings as streams, and what is known of them without opening them.

A session is (subject, trial). Its voltage is one dataset a channel in an HDF5 file that names neither contacts nor
rate: those come from the files beside it (brain_treebank_files.py).
Source: Brain Treebank (Wang et al. 2024, arXiv 2411.08343, CC BY 4.0).
"""

import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..recordings import RecordingStream
from ..recordings.formats import refusing_broken
from ..recordings.hdf5 import Refusal, refuse_ways_out
from .brain_treebank_files import (
    is_brain,
    read_corrupted,
    read_labels,
    read_movie,
    read_positions,
    read_regions,
    read_triggers,
    session_name,
    small_files,
)

Session = tuple[int, int]

SESSIONS: tuple[Session, ...] = (
    *((1, 0), (1, 1), (1, 2)),
    *((2, 0), (2, 1), (2, 2), (2, 3), (2, 4), (2, 5), (2, 6)),
    *((3, 0), (3, 1), (3, 2)),
    *((4, 0), (4, 1), (4, 2)),
    *((5, 0), (6, 0), (6, 1), (6, 4)),
    *((7, 0), (7, 1), (8, 0), (9, 0), (10, 0), (10, 1)),
)
# Wang et al. 2023, section 4: one session of each of seven subjects is for decoding, the others for pretraining.
HELD_OUT: tuple[Session, ...] = ((1, 1), (2, 6), (3, 0), (4, 0), (6, 4), (7, 0), (10, 0))
PRETRAINING: tuple[Session, ...] = tuple(session for session in SESSIONS if session not in HELD_OUT)
# Zahorodnii et al. 2025, arXiv 2509.21671: what an entry to Neuroprobe is tested on, and may not have seen.
NEUROPROBE: tuple[Session, ...] = (
    *((1, 1), (1, 2), (2, 0), (2, 4), (3, 0), (3, 1)),
    *((4, 0), (4, 1), (7, 0), (7, 1), (10, 0), (10, 1)),
)
WITHOUT_NEUROPROBE: tuple[Session, ...] = tuple(session for session in SESSIONS if session not in NEUROPROBE)

_PLACES = ("", "all_subject_data")  # where the voltage lies, below the root
_FILE = re.compile(r"sub_(\d+)_trial(\d{3})\.h5")
# Of each channel: h5py has 8 MiB by default, which 250 channels soon fill with 2 GB.
_CHUNK_CACHE_BYTES = 2**20
_USUAL_S = 1.7 * 3600  # 43 h in 26 sessions
_VALUE_BYTES = 4
_SAMPLED_PARTS, _SAMPLED_BYTES = 64, 2**16  # 4 MiB of a file, spread over it


@dataclass(frozen=True, kw_only=True)
class SessionFacts:
    """What is known of a session without opening its voltage.

    movie: "" where no file says. sampling_rate: Hz. num_samples: up to the last trigger. contacts: number of those in
    the brain; bad: how many of these are corrupted; names: of the contacts, empty where unknown. bytes: of the file.
    estimated: names of the numbers here that no file says; they come from the size of the file.
    """

    subject: int
    trial: int
    movie: str
    sampling_rate: float
    num_samples: int
    contacts: int
    bad: int
    names: tuple[str, ...]
    bytes: int
    estimated: tuple[str, ...]

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.num_samples / self.sampling_rate


def find_sessions(root: str | Path) -> list[Session]:
    """Return (subject, trial) of the sessions whose voltage is there, sorted.

    root: of Brain Treebank; the files lie in it or in its folder all_subject_data.
    Raises FileNotFoundError for a root that is no folder, or holds no session.
    """
    root = Path(root)
    names = [path.name for place in _PLACES if (root / place).is_dir() for path in (root / place).iterdir()]
    found = sorted({(int(match[1]), int(match[2])) for match in map(_FILE.fullmatch, names) if match})
    if not found:
        raise FileNotFoundError(
            f"There is no sub_N_trialNNN.h5 in the folder {root.name!r}, nor in its all_subject_data; give the root of "
            "Brain Treebank."
        )
    return found


def open_session(root: str | Path, subject: int, trial: int) -> RecordingStream:
    """Open the recording of a session, and leave its samples in the file until they are asked for.

    Its contacts are the channels in the brain, by their names without marks; those that the data set lists as corrupted
    are bad. The rate is that of the triggers. What the file holds is taken for µV: it names no unit.
    Returns a stream called btbank1_0 of subject btbank1, session 0, with positions in MNI, mm, where there are any. It
    can be read from several threads.
    Raises FileNotFoundError for a file that is missing, and ValueError for one that is broken or leads to other files,
    channels that are missing or of unequal length, and a number of channels that is not that of the labels (one more
    is accepted, as subject 1 has it).
    """
    root = Path(root)
    path = _path_of(root, subject, trial)
    labels, corrupted = read_labels(root, subject), read_corrupted(root, subject)
    positions, triggers = read_positions(root, subject), read_triggers(root, subject, trial)
    rows = [row for row, name in enumerate(labels) if is_brain(name)]
    names = tuple(labels[row] for row in rows)
    channels, extra = _open_channels(path, labels)
    bad = {name: "corrupted (corrupted_elec.json)" for name in names if name in corrupted}
    places = np.array([positions.get(name, (np.nan,) * 3) for name in names], dtype=np.float64)
    known = bool(np.isfinite(places).any())
    return RecordingStream(
        source=_Samples(path, [channels[row] for row in rows]),
        num_samples=int(channels[0].shape[0]),
        sampling_rate=triggers.sampling_rate,
        contacts=names,
        types=("seeg",) * len(names),
        bad=bad,
        positions=places if known else None,
        coordinate_frame="MNI" if known else None,
        history=(
            {
                "step": "read",
                "format": "Brain Treebank",
                "unit": "taken for µV",
                "measured_rate": round(triggers.measured_rate, 2),
                "channels_left_out": len(labels) - len(rows),
                "channels_without_label": extra,
                "bad_in_file": sorted(bad),
            },
        ),
        id=f"btbank{subject}_{trial}",
        subject=f"btbank{subject}",
        session=str(trial),
    )


def regions(root: str | Path, subject: int, *, atlas: str = "DesikanKilliany") -> dict[str, str]:
    """Return contact -> region, of the contacts of a subject that have one.

    atlas: "DesikanKilliany" or "Destrieux", a column of localization/sub_N/depth-wm.csv.
    Raises FileNotFoundError, and ValueError for an atlas that the file does not have.
    """
    return read_regions(Path(root), subject, atlas=atlas)


def pretraining_sessions(
    root: str | Path, *, among: Sequence[Session] = PRETRAINING, allow_neuroprobe: bool = False
) -> list[Session]:
    """Return the sessions to pretrain on that are there, sorted.

    among: the paper's by default, seven of which are among those that Neuroprobe tests on, or `WITHOUT_NEUROPROBE`.
    allow_neuroprobe: whether sessions that Neuroprobe tests on may be seen.
    Raises ValueError for those unless allowed, and when none of `among` is there.
    """
    found = [session for session in find_sessions(root) if session in among]
    seen = [session for session in found if session in NEUROPROBE]
    if seen and not allow_neuroprobe:
        raise ValueError(
            f"Sessions {_listed(seen)} are those that Neuroprobe tests on, which weights of an entry may not have "
            "seen; take among=WITHOUT_NEUROPROBE (--neuroprobe-safe), or, as the paper's own pretraining needs, "
            "allow_neuroprobe=True (--allow-neuroprobe), and say so with the weights."
        )
    if not found:
        raise ValueError(f"None of the sessions {_listed(among)} is there; copy some, or name others with among=...")
    return found


def session_facts(root: str | Path, subject: int, trial: int) -> SessionFacts:
    """Return what is known of a session without opening its voltage, to plan with.

    What the small files would say and is missing is estimated from the size of the file, for 32-bit numbers without
    compression and 1.7 h where its length is unknown as well.
    Raises FileNotFoundError for a session without voltage, and ValueError for small files that are broken.
    """
    root = Path(root)
    size = _path_of(root, subject, trial).stat().st_size
    estimated = []
    movie, rate, last, channels, bad = "", 1024.0 if subject == 9 else 2048.0, 0, 0, 0
    names: tuple[str, ...] = ()
    try:
        movie = read_movie(root, subject, trial)
    except FileNotFoundError:
        estimated.append("movie")
    try:
        triggers = read_triggers(root, subject, trial)
        rate, last = triggers.sampling_rate, int(triggers.sample.max())
    except FileNotFoundError:
        estimated += ["sampling_rate", "num_samples"]
    try:
        labels = read_labels(root, subject)
        channels, names = len(labels), tuple(name for name in labels if is_brain(name))
    except FileNotFoundError:
        estimated.append("contacts")
    try:
        bad = len(read_corrupted(root, subject) & set(names))
    except FileNotFoundError:
        estimated.append("bad")
    num_samples = last or max(1, round(size / (_VALUE_BYTES * channels) if channels else _USUAL_S * rate))
    return SessionFacts(
        subject=subject,
        trial=trial,
        movie=movie,
        sampling_rate=rate,
        num_samples=num_samples,
        contacts=len(names) or max(1, round(size / (_VALUE_BYTES * num_samples))),
        bad=bad,
        names=names,
        bytes=size,
        estimated=tuple(estimated),
    )


def session_fingerprint(root: str | Path, subject: int, trial: int) -> str:
    """Return a hash of what a session is made of: its small files, and a sample of the file of its voltage.

    Who keeps results tells with it whether they are still of the same data. Raises FileNotFoundError for a session
    without voltage.
    """
    root = Path(root)
    found, path = hashlib.sha256(), _path_of(root, subject, trial)
    size = path.stat().st_size
    found.update(f"{size}".encode())
    with path.open("rb") as file:
        for part in range(_SAMPLED_PARTS):
            file.seek(max(0, size - _SAMPLED_BYTES) * part // (_SAMPLED_PARTS - 1))
            found.update(file.read(_SAMPLED_BYTES))
    for small in small_files(root, subject, trial):
        found.update(small.name.encode() + (small.read_bytes() if small.is_file() else b""))
    return found.hexdigest()


class _Samples:
    """Read stretches of channels of an open file, which stays open as long as this is there."""

    def __init__(self, path: Path, channels: list[Any]) -> None:
        self._path, self._channels = path, channels

    def __call__(self, start: int, stop: int) -> NDArray[np.float32]:
        data = np.empty((len(self._channels), stop - start), dtype=np.float32)
        with refusing_broken(self._path, "HDF5"):
            for row, channel in zip(data, self._channels, strict=True):
                row[:] = channel[start:stop]
        return data


def _path_of(root: Path, subject: int, trial: int) -> Path:
    name = f"{session_name(subject, trial)}.h5"
    for place in _PLACES:
        if (root / place / name).is_file():
            return root / place / name
    raise FileNotFoundError(
        f"There is no {name!r} in the root, nor in its all_subject_data; give the root of Brain Treebank, and a "
        "session of find_sessions(root)."
    )


def _open_channels(path: Path, labels: list[str]) -> tuple[list[Any], int]:
    """Return the dataset of each label, and how many there are that no label belongs to."""
    try:
        file = h5py.File(path, "r", rdcc_nbytes=_CHUNK_CACHE_BYTES)
        try:
            refuse_ways_out(file, path)
            return _channels(file, path, labels)
        except BaseException:
            file.close()
            raise
    except Refusal as refusal:
        raise ValueError(str(refusal)) from None
    except Exception as error:
        with refusing_broken(path, "HDF5"):
            raise error


def _channels(file: h5py.File, path: Path, labels: list[str]) -> tuple[list[Any], int]:
    group = file.get("data")
    if not isinstance(group, h5py.Group):
        raise Refusal(f"{path.name!r} has no group 'data', so it is no recording of Brain Treebank; copy it again.")
    has = {name for name in group if name.startswith("electrode_")}
    missing = [f"electrode_{number}" for number in range(len(labels)) if f"electrode_{number}" not in has]
    if missing:
        raise Refusal(
            f"{path.name!r} has no {missing[0]} and the labels name {len(labels)} channels ({len(missing)} are "
            "missing); copy the file again, or the labels of this subject."
        )
    if has - {f"electrode_{number}" for number in range(len(labels) + 1)}:
        raise Refusal(
            f"{path.name!r} has {len(has)} channels and the labels name {len(labels)}; as many or one more are "
            "accepted: copy the labels of this subject again."
        )
    channels = [group[f"electrode_{number}"] for number in range(len(labels))]
    for number, channel in enumerate(channels):
        if not isinstance(channel, h5py.Dataset) or channel.ndim != 1 or channel.dtype.kind not in "iuf":
            raise Refusal(f"electrode_{number} of {path.name!r} is no row of numbers; copy the file again.")
    lengths = {channel.shape[0] for channel in channels}
    if len(lengths) > 1 or not min(lengths):
        raise Refusal(
            f"The channels of {path.name!r} have {min(lengths)} to {max(lengths)} samples and should have equally "
            "many; copy the file again."
        )
    return channels, len(has) - len(labels)


def _listed(sessions: Collection[Session]) -> str:
    return ", ".join(f"{subject}_{trial}" for subject, trial in sessions)
