"""Where uploads live: a folder for each recording, with a random name, which goes when its visitor does."""

import atexit
import shutil
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KEPT_S = 3600.0
FORGOTTEN_S = 300.0
MAX_SESSIONS = 20  # a folder may hold an upload and what was made of it, half a gigabyte


@dataclass(frozen=True, kw_only=True)
class Session:
    """One visitor's recording.

    folder: nobody else's. task: how it was prepared last. prepared: what preparing it returned.
    """

    folder: Path
    task: dict[str, Any] = field(default_factory=dict)
    prepared: dict[str, Any] = field(default_factory=dict)


class Sessions:
    """The folders of all visitors, below one that ends with the program."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="brainbert-space-"))
        self.uploads = self.root / "uploads"
        self.uploads.mkdir()
        self._of_visitor: dict[str, Path] = {}
        atexit.register(self.close)

    def new(self) -> Path:
        """Return a new folder, after removing those older than an hour and, of many, the oldest."""
        folders = sorted(self.root.glob("session-*"), key=_age, reverse=True)
        for index, folder in enumerate(folders):
            if _age(folder) > KEPT_S or len(folders) - index >= MAX_SESSIONS:
                self.remove(folder)
        return Path(tempfile.mkdtemp(prefix="session-", dir=self.root))

    def remove(self, folder: Path) -> None:
        """Remove a folder that `new` returned; one that is gone already is no mistake."""
        if folder.parent == self.root:
            shutil.rmtree(folder, ignore_errors=True)

    def belongs(self, folder: Path, *, visitor: str | None) -> None:
        """Remember whose a folder is: it goes when `leave` is called for the visitor."""
        if visitor:
            self._of_visitor[visitor] = folder

    def leave(self, visitor: str | None) -> None:
        """Remove the folder of a visitor who has closed the page."""
        if visitor and (folder := self._of_visitor.pop(visitor, None)):
            self.remove(folder)

    def forget(self, upload: Path) -> threading.Timer:
        """Remove an upload in five minutes, unless it is another file by then; returns what waits for it.

        Not at once: the server keeps uploads by their content, so that two visitors with the same file share it.
        """
        found = upload.stat()

        def remove() -> None:
            with suppress(FileNotFoundError):
                now = upload.stat()
                if (now.st_ino, now.st_mtime_ns) == (found.st_ino, found.st_mtime_ns):
                    upload.unlink()

        timer = threading.Timer(FORGOTTEN_S, remove)
        timer.daemon = True
        timer.start()
        return timer

    def close(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.root, ignore_errors=True)


def _age(folder: Path) -> float:
    try:
        return time.time() - folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0
