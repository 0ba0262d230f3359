"""What may be uploaded, and under which names it is kept.

Nothing is read here but sizes: what is in a file is looked at by a process of its own, see `child`.
"""

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from .refusal import Refusal

MAX_UPLOAD_BYTES = 200 * 2**20
RECORDINGS = (".edf", ".bdf", ".vhdr", ".npz", ".npy")
BESIDE_A_HEADER = (".eeg", ".dat", ".vmrk")  # the other parts of a BrainVision recording
_LONGEST_NAME = 120


def take(paths: Sequence[str | Path], folder: Path, *, uploaded_to: Path) -> Path:
    """Take what was uploaded to a folder of its own, and return which of the files is the recording.

    paths: as the server got them. uploaded_to: where the server keeps uploads; nothing from elsewhere is taken.
    Raises Refusal for a file that is none, is empty or too large, for formats and combinations that are not read here,
    and for paths that lead anywhere but to an upload.
    """
    files = [Path(path) for path in paths]
    # Looked at before anything is taken: a caller of the server can write any path into its request.
    root = uploaded_to.resolve()
    for file in files:
        if file.is_symlink() or not file.is_file() or not file.resolve().is_relative_to(root):
            raise Refusal("That is no file that you uploaded: choose one and upload it.")
    names = [safe_name(file.name) for file in files]
    if len({name.lower() for name in names}) < len(names):
        raise Refusal("Two of the files have the same name: upload one recording at a time.")
    main = choose(names)
    sizes = [file.stat().st_size for file in files]
    for name, size in zip(names, sizes, strict=True):
        if not size:
            raise Refusal(f"{name} is empty: copy the file again and upload it.")
    if sum(sizes) > MAX_UPLOAD_BYTES:
        raise Refusal(
            f"The upload has {sum(sizes) / 2**20:.0f} MB and at most {MAX_UPLOAD_BYTES / 2**20:.0f} are taken: cut the "
            "recording, or run this page on your own machine."
        )
    folder.mkdir(parents=True, exist_ok=True)
    for file, name in zip(files, names, strict=True):
        try:
            os.link(file, folder / name)  # costs nothing, and stays when the upload is removed
        except OSError:
            shutil.copyfile(file, folder / name)
    return folder / main


def safe_name(name: str) -> str:
    """Return the last part of a name, with nothing in it that a file system or a page could take for something else.

    `../../etc/passwd` is `passwd`, `C:\\night 1.edf` is `night 1.edf`, `.hidden` is `hidden`.
    """
    bare = re.split(r"[/\\]", name)[-1]
    bare = re.sub(r"[^\w .()+,@'-]", "_", bare).strip(" .")
    stem, dot, suffix = bare.rpartition(".")
    if len(bare) > _LONGEST_NAME:
        bare = f"{stem[: _LONGEST_NAME - len(suffix) - 1]}{dot}{suffix}"[-_LONGEST_NAME:]
    return bare or "unnamed"


def choose(names: Sequence[str]) -> str:
    """Return the name of the recording among those of some files: the header of BrainVision, else the only file.

    Raises Refusal when there is none or more than one, for formats that are not read here, and for strays.
    """
    kinds = {name: Path(name).suffix.lower() for name in names}
    for name, kind in kinds.items():
        if kind in (".nwb", ".h5", ".hdf5", ".mat", ".fif", ".pkl", ".pt", ".pth"):
            raise Refusal(
                f"{name}: {kind} files are not taken here; upload EDF, BDF, BrainVision or .npz, or read the file on "
                "your own machine."
            )
        if kind not in (*RECORDINGS, *BESIDE_A_HEADER):
            raise Refusal(
                f"{name} is no recording that is read here: upload an .edf or .bdf file, the three files of "
                "BrainVision (.vhdr, .eeg, .vmrk), or an .npz or .npy array."
            )
    recordings = [name for name in names if kinds[name] in RECORDINGS]
    parts = [name for name in names if kinds[name] in BESIDE_A_HEADER]
    if not recordings:
        raise Refusal(f"{', '.join(parts) or 'Nothing'} is only a part of a BrainVision recording: add its .vhdr file.")
    if len(recordings) > 1:
        raise Refusal(f"{' and '.join(recordings[:3])} are several recordings: upload one at a time.")
    if parts and kinds[recordings[0]] != ".vhdr":
        raise Refusal(f"{', '.join(parts)} does not belong to {recordings[0]}: upload one recording at a time.")
    return recordings[0]
