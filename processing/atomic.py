"""Write files and folders so that a killed process leaves either the old state or the new one."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path` to write a file or a folder to; it becomes `path` when the block succeeds.

    An existing file is replaced, an existing folder is not (OSError). If the block fails nothing is left behind; if the
    process is killed, a hidden file that ends in .part, which `remove_parts` clears.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        yield temporary
        # On the disk before the name is: after a power cut there is no name with half of its content.
        for part in [temporary, *temporary.rglob("*")]:
            _synchronise(part)
        temporary.replace(path)
        _synchronise(path.parent)
    except BaseException:
        _remove(temporary)
        raise


def remove_parts(folder: Path) -> None:
    """Remove what killed processes left half-written in `folder`; only while holding `only_writer`."""
    for part in folder.glob(".*.part"):
        _remove(part)


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which the system releases when a process is killed.

    Raises ValueError when another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ValueError(f"Another process is writing to {folder}: wait for it, or use another folder.") from None
    try:
        yield
    finally:
        lock.release()


def _synchronise(path: Path) -> None:
    if os.name == "posix":  # elsewhere a folder cannot be opened
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
