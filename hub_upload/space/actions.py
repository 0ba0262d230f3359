"""What the buttons of the page do, without the page."""

from pathlib import Path
from typing import Any

import numpy as np

from . import page, uploads
from .child import run_limited
from .encoder import Encoder, embed_windows, look, statistics_of
from .preparation import CONDITIONED
from .refusal import Refusal
from .session import Session, Sessions

LINE_FREQUENCIES = [("none", 0), ("50", 50), ("60", 60)]
REFERENCES = [
    ("Laplacian", "laplacian"),
    ("bipolar", "bipolar"),
    ("common average", "common-average"),
    ("none: as recorded", "none"),
]
UNITS = [("as the header says", ""), *((unit, unit) for unit in ("V", "mV", "µV", "nV", "pV"))]


class Actions:
    """What the buttons of the page do; one model, many visitors."""

    def __init__(self, encoder: Encoder, sessions: Sessions) -> None:
        self.encoder, self.sessions = encoder, sessions

    def receive(
        self,
        paths: list[str] | None,
        old: Session | None,
        rate: float | None,
        unit: str | None,
        channels: str | None,
        line: int,
        reference: str,
    ) -> Session:
        """Take an upload, read and condition it; return the visitor's new session."""
        folder = self.sessions.new()
        try:
            main = uploads.take(paths or [], folder, uploaded_to=self.sessions.uploads)
            names = [name.strip() for name in (channels or "").split(",") if name.strip()]
            task = {"file": main.name, "given_rate": rate, "unit": unit or None, "channels": names or None}
            return self._prepare(folder, old, task, line=line, reference=reference)
        except BaseException:
            self.sessions.remove(folder)
            raise
        finally:
            for path in map(Path, paths or []):  # what was refused does not stay either
                if path.is_file() and path.resolve().is_relative_to(self.sessions.uploads.resolve()):
                    self.sessions.forget(path)

    def take_sample(self, old: Session | None, line: int, reference: str) -> Session:
        """Prepare the generated recording as if it had been uploaded."""
        folder = self.sessions.new()
        try:
            task = {"file": None, "given_rate": None, "unit": None, "channels": None}
            return self._prepare(folder, old, task, line=line, reference=reference)
        except BaseException:
            self.sessions.remove(folder)
            raise

    def condition_again(self, session: Session, line: int, reference: str) -> Session:
        """Prepare the visitor's recording with other settings."""
        return self._prepare(self._folder(session), None, session.task, line=line, reference=reference)

    def _prepare(
        self, folder: Path, old: Session | None, task: dict[str, Any], *, line: int, reference: str
    ) -> Session:
        if line not in [value for _, value in LINE_FREQUENCIES] or reference not in [value for _, value in REFERENCES]:
            raise Refusal("There is no such line frequency or reference: choose one of those on the page.")
        task = task | {
            "line_frequency": line,
            "reference": reference,
            "ends": self.encoder.conditioning["ends"],
            "sampling_rate": self.encoder.rate,
        }
        prepared = run_limited("brainbert.hub_upload.space.preparation", task, folder)
        if old is not None and old.folder != folder:
            self.sessions.remove(old.folder)
        return Session(folder=folder, task=task, prepared=prepared)

    def draw(self, session: Session, contact: str, start_s: float) -> tuple[str, str]:
        """Return the pictures of one window of a contact: of its image, and of its embeddings."""
        data, row = self._data(session), self._row(session, contact)
        first, samples = self.window(session, data.shape[1], start_s)
        statistics = statistics_of(self.encoder, data[row])
        seen = look(self.encoder, np.array(data[row, first : first + samples]), statistics=statistics)
        start_s = first / self.encoder.rate
        stop_s = start_s + samples / self.encoder.rate
        touched = any(begin < stop_s and end > start_s for begin, end in session.prepared["artefacts"][contact])
        return page.pictures(seen, self.encoder, contact=contact, start_s=start_s, artefact=touched)

    def embed(self, session: Session, contact: str) -> tuple[str, str]:
        """Embed all contacts, write the download, and return its path and the picture of the contact."""
        data, row = self._data(session), self._row(session, contact)
        _, samples = self.window(session, data.shape[1], 0.0)
        window_s = samples / self.encoder.rate
        statistics = [found for each in data if (found := statistics_of(self.encoder, each)) is not None]
        embeddings, starts = embed_windows(self.encoder, data, window_s=window_s, statistics=statistics or None)
        contacts, artefacts = session.prepared["contacts"], session.prepared["artefacts"]
        path = self._folder(session) / "embeddings.npz"
        np.savez_compressed(
            path,
            embeddings=embeddings,
            contacts=np.array(contacts),
            start_s=starts,
            window_s=window_s,
            artefact=np.array(
                [
                    [any(b < start + window_s and e > start for b, e in artefacts[name]) for name in contacts]
                    for start in starts
                ]
            ),
            pooling=self.encoder.model.config.pooling,
            model=self.encoder.name,
            reference=session.task["reference"],
            line_frequency_hz=session.task["line_frequency"],
        )
        drawn = page.windows_picture(
            embeddings[:, row], starts, contact=contact, contacts=len(contacts), window_s=window_s
        )
        return str(path), drawn

    def window(self, session: Session, samples: int, start_s: float) -> tuple[int, int]:
        """Return the first sample of a window and its length, moved and cut to lie inside the recording."""
        length = min(round(self.encoder.window_s * self.encoder.rate), samples)
        first = round(float(start_s) * self.encoder.rate)
        return max(0, min(first, samples - length)), length

    def last_start_s(self, session: Session) -> float:
        """Return the latest start of a window in seconds, rounded down to tenths."""
        samples = self._data(session).shape[1]
        return max(0.0, np.floor((samples / self.encoder.rate - self.encoder.window_s) * 10) / 10)

    def _folder(self, session: Session | None) -> Path:
        if session is None or not session.folder.is_dir():
            raise Refusal("Your recording is gone, they are kept for an hour: upload it again.")
        return session.folder

    def _data(self, session: Session) -> np.ndarray:
        path = self._folder(session) / CONDITIONED
        if not session.prepared.get("contacts"):
            raise Refusal(session.prepared.get("problem") or "There is no contact to show: choose another reference.")
        return np.load(path, mmap_mode="r", allow_pickle=False)

    def _row(self, session: Session, contact: str) -> int:
        try:
            return int(session.prepared["contacts"].index(contact))
        except ValueError:
            raise Refusal("There is no such contact: choose one of the list.") from None
