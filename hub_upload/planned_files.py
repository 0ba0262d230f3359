"""The files of a commit before it is made: sizes and hashes, read once, so that what changes meanwhile is noticed."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd

from .publishable import files_of

HANDLER = Path(__file__).with_name("handler.py")  # answers for an Inference Endpoint, and ships with each model
REQUIREMENTS = Path(__file__).with_name("handler_requirements.txt")  # what that machine has to install for it
_BLOCK = 2**20
_IN_MEMORY = 5_000_000  # bytes; the Hub takes larger files as LFS only
_LARGE = 10_000_000  # bytes from which the Hub keeps a text as LFS, too


@dataclass(frozen=True)
class PlannedFile:
    """A file of the commit.

    path: in the repository. source: on this machine. sha256, git_sha1: hexadecimal, by which the Hub names the content
    of LFS and of plain files. lfs: expected; the Hub decides.
    """

    path: str
    source: Path
    size: int
    sha256: str
    git_sha1: str
    lfs: bool


def plan(folder: Path, *, with_handler: bool) -> list[PlannedFile]:
    """Return the files of `folder` in the order of their paths.

    with_handler: add handler.py and requirements.txt of the endpoint, each unless the folder has its own.
    Raises ValueError for a link, or for a file that changes while it is read.
    """
    sources = {str(path): folder / path for path in files_of(folder)}
    if with_handler:
        sources = {HANDLER.name: HANDLER, "requirements.txt": REQUIREMENTS} | sources
    return [_planned(path, source) for path, source in sorted(sources.items())]


def addition(file: PlannedFile) -> CommitOperationAdd:
    """Return what to add to a commit: small files as the very bytes that were planned, large ones by their path.

    Raises ValueError when the content is not what was planned.
    """
    if file.size > _IN_MEMORY:
        operation = CommitOperationAdd(file.path, file.source)
        if operation.upload_info.sha256.hex() != file.sha256:
            raise _changed(file.path)
        return operation
    with open(_open(file.source), "rb") as opened:
        content = opened.read(_IN_MEMORY + 1)
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise _changed(file.path)
    return CommitOperationAdd(file.path, content)


def refuse_changed(files: list[PlannedFile]) -> None:
    """Raise ValueError when a file is no longer what was planned."""
    for file in files:
        if _planned(file.path, file.source) != file:
            raise _changed(file.path)


def _planned(path: str, source: Path) -> PlannedFile:
    with open(_open(source), "rb") as opened:
        before = os.fstat(opened.fileno())
        sha256, git_sha1, head = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % before.st_size), b""
        while block := opened.read(_BLOCK):
            head = head or block[:512]
            sha256.update(block)
            git_sha1.update(block)
        after = os.fstat(opened.fileno())
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or opened.tell() != after.st_size:
            raise _changed(path)
    is_binary = b"\0" in head or b"\xff" in head
    return PlannedFile(
        path, source, after.st_size, sha256.hexdigest(), git_sha1.hexdigest(), is_binary or after.st_size >= _LARGE
    )


def _open(source: Path) -> int:
    try:
        # No link is followed, not even one that took the place of the file a moment ago.
        return os.open(source, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise ValueError(
            f"{source.name} cannot be read ({error.strerror}): put a readable file in its place."
        ) from None


def _changed(path: str) -> ValueError:
    return ValueError(f"{path} changed while it was read: wait until it is written, and run the same command again.")
