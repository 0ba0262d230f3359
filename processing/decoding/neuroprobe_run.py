"""One system on Neuroprobe: features of every session once, then a head for each split, task and session.

Every result is a small JSON file, written whole; a second run computes what is missing.
"""

import json
import time
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..atomic import written_whole
from ..corpora.brain_treebank import Session, open_session, regions, session_fingerprint
from ..recordings import RecordingStream
from .controls import band_power_features, waveform_features
from .epochs import Epochs
from .fold_statistics import ElectrodeStatistics, whole_recording_statistics
from .frame_features import frame_features, frames_inside, magnitude_features, no_problems, session_epochs
from .hashes import sha256, weights_sha256
from .neuroprobe_signal import choose_contacts
from .neuroprobe_windows import Neuroprobe, ProbeFold, ProbeWindows, session_name
from .population import SessionFeatures, common_regions, fit_head, flattened, same_contacts
from .signals import Signals

LINEAR = ("spectrogram", "band-power", "waveform")  # systems without an encoder
_BATCH = 256  # windows of one contact: a second is short


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How windows become features.

    normalization, variant, scale: of the encoder's input; None: as the model says. "recording" has the statistics of
        the whole session. reference: "laplacian" (see `choose_contacts`) or "none". notch: remove 60 Hz and harmonics.
    context_s: seconds on both sides of a window that the encoder also sees, and whose frames are not used.
    features: all frames of the window, or their mean.
    """

    normalization: Literal["clip", "recording"] | None = None
    reference: Literal["laplacian", "none"] = "laplacian"
    notch: bool = False
    variant: Literal["training", "demo", "no_boundary"] | None = None
    scale: Literal["linear", "log"] | None = None
    context_s: float = 0.0
    features: Literal["frames", "mean"] = "mean"


# As the leaderboard has BrainBERT twice: .586, .581, .522 and .626, .633, .547.
ENTRIES = {
    "first": Settings(normalization="clip", reference="none", variant="no_boundary", scale="linear", features="frames"),
    "later": Settings(
        normalization="recording", reference="laplacian", variant="no_boundary", scale="linear", features="frames"
    ),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class System:
    """What is decoded from: an encoder with its front end, or one of LINEAR.

    name: of its row. description: a sentence for a submission. seen: sessions that its weights were trained on, None
    where nobody said.
    """

    name: str
    description: str
    model: Any = None
    extractor: Any = None
    seen: tuple[Session, ...] | None = ()

    @property
    def is_encoder(self) -> bool:
        """Whether it is none of LINEAR."""
        return self.model is not None


class Evaluation:
    """A system on the sessions of a benchmark, with these settings.

    cache: folder of features. out: folder of results; those of this system and these settings have one of their own
    there. tasks: of which features are computed, all windows of all of them together. device: torch device of the
    products of features.
    """

    def __init__(
        self,
        benchmark: Neuroprobe,
        system: System,
        settings: Settings,
        *,
        out: Path,
        cache: Path,
        tasks: Sequence[str],
        device: str = "cpu",
        progress: bool = True,
    ) -> None:
        self.benchmark, self.system, self.settings = benchmark, system, settings
        self.cache, self.tasks, self.device, self.progress = cache, list(tasks), device, progress
        self.extractor: Any = None if system.extractor is None else adapted(system.extractor, settings)
        if self.extractor is not None:
            self.context = round(settings.context_s * self.extractor.sampling_rate)
        else:
            self.context = 0
        self.results = out / "results" / f"{system.name}-{sha256(self.about)[:8]}"
        self._kept: dict[Session, SessionFeatures] = {}
        self._without_signal: dict[Session, int] = {}
        self._fingerprints: dict[Session, str] = {}

    @property
    def about(self) -> dict[str, Any]:
        """All that results depend on besides the root; JSON-able."""
        found: dict[str, Any] = {
            "system": self.system.name,
            "benchmark": self.benchmark.name,
            "neuroprobe": self.benchmark.version,
            "notch": self.settings.notch and self.system.name != "spectrogram",
            "reference": self.reference,
            "versions": {name: version(name) for name in ("brainbert", "torch", "scikit-learn", "scipy")},
        }
        if self.system.is_encoder:
            found |= {
                "weights_sha256": weights_sha256(self.system.model),
                "config_sha256": sha256(self.system.model.config.to_dict()),
                "front_end": self.extractor.fingerprint,
                "normalization": self.extractor.normalization,
                "corpus_statistics_sha256": sha256([self.extractor.mean, self.extractor.std]),
                "context_s": self.settings.context_s,
                "features": self.settings.features,
            }
        return found

    @property
    def unlike_training(self) -> str:
        """Return in what the encoder's input is not what it was pretrained with, "" where it is."""
        names = ("normalization", "variant", "scale")
        both = [(name, getattr(self.extractor, name), getattr(self.system.extractor, name)) for name in names]
        return ", ".join(f"{name} {now} ({before})" for name, now, before in both if now != before)

    @property
    def reference(self) -> str:
        """The linear decoder of the leaderboard has the Laplacian whatever the encoder has."""
        return "laplacian" if self.system.name == "spectrogram" else self.settings.reference

    def path(self, split: str, task: str, session: Session) -> Path:
        """Return where a result is kept."""
        return self.results / split / f"{session_name(session)}-{task}.json"

    def kept(self, split: str, task: str, session: Session) -> dict[str, Any] | None:
        """Return a result, None where there is none yet. Raises ValueError for one of other files of these sessions."""
        path = self.path(split, task, session)
        if not path.exists():
            return None
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if found["data"] != self._data(split, session):
            raise ValueError(
                f"The results of {session_name(session)} that are kept are of other files than those in ROOT: give the "
                "same ROOT, or another --out."
            )
        return found

    def result(self, split: str, task: str, session: Session) -> dict[str, Any]:
        """Return the scores of every fold, from the file if they were computed."""
        if (found := self.kept(split, task, session)) is not None:
            return found
        folds = self.benchmark.folds(split, task, session)
        train, test = (self.features(each) for each in (folds[0].train.session, session))
        begun = time.perf_counter()
        fitted = [self._fit(split, fold, train, test) for fold in folds]
        result = {
            "system": self.system.name,
            "split": split,
            "task": task,
            "session": session_name(session),
            "trained_on": session_name(folds[0].train.session),
            "folds": [scores for scores, _ in fitted],
            "windows": [{"train": len(fold.train.start), "test": len(fold.test.start)} for fold in folds],
            "contacts": {"train": len(train.contacts), "test": len(test.contacts)},
            "regions": fitted[0][1],
            "without_signal": self._without_signal[session],
            "seconds": time.perf_counter() - begun,
            "data": self._data(split, session),
        }
        with written_whole(self.path(split, task, session)) as temporary:
            temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        about = self.results / "about.json"
        if not about.exists():
            with written_whole(about) as temporary:
                temporary.write_text(json.dumps(self.about, indent=1) + "\n", encoding="utf-8")
        return result

    def features(self, session: Session) -> SessionFeatures:
        """Return the features of all windows of a session, computed once, and again only where `drop` was called."""
        if session not in self._kept:
            begun = time.perf_counter()
            before = set(self.cache.glob("*.npy"))
            contacts = self.benchmark.contacts(session)
            windows = self.benchmark.every_window(session, self.tasks)
            values, used = self._compute(self.open(session), contacts, windows)
            self._kept[session] = SessionFeatures(contacts=contacts, start=used, values=values)
            # The first feature stands for a window: one contact's are all there, or none is.
            lacking = int(np.isnan(values[:, :, 0]).sum()) + len(contacts) * (len(windows.start) - len(used))
            self._without_signal[session] = lacking
            how = f"in {time.perf_counter() - begun:.1f} s"
            if self.progress:
                fresh = set(self.cache.glob("*.npy")) - before
                print(
                    f"{self.system.name}: features of {session_name(session)}, {len(windows.start)} windows × "
                    f"{len(contacts)} contacts × {values.shape[2]}, {'computed' if fresh else 'from the cache'} {how}",
                    flush=True,
                )
        return self._kept[session]

    def open(self, session: Session) -> RecordingStream:
        """Return the voltage of the contacts that are decoded."""
        found = choose_contacts(
            open_session(self.benchmark.root, *session),
            self.benchmark.contacts(session),
            notch=self.settings.notch and self.system.name != "spectrogram",
            laplacian=self.reference == "laplacian",
        )
        # Features are kept by the history of their recording.
        return found.with_step("files", {"fingerprint": self._fingerprint(session)})

    def drop(self, session: Session) -> None:
        """Delete all that the cache has of a session, from this run or another."""
        self._kept.pop(session, None)
        for about in self.cache.glob("*.json"):
            of = json.loads(about.read_text(encoding="utf-8")).get("recordings", ())
            if [each["id"] for each in of] == [session_name(session)]:
                about.with_suffix(".npy").unlink(missing_ok=True)
                about.unlink()

    def width(self, length: int) -> int:
        """Return how many features a contact has in a window of `length` samples."""
        if self.extractor is None:
            return {"spectrogram": 646, "band-power": 6, "waveform": 500}[self.system.name]
        frames = len(frames_inside(self.extractor, length=length + 2 * self.context, context=self.context))
        return int(self.system.model.config.hidden_size) * (1 if self.settings.features == "mean" else frames)

    def _compute(
        self, recording: RecordingStream, contacts: tuple[str, ...], windows: ProbeWindows
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return features (contacts, windows, features) and the windows that have some: those inside the recording."""
        length = windows.length + 2 * self.context
        epochs = session_epochs(recording, windows.start - self.context, length=length)
        kept: dict[str, Any] = {"cache": self.cache, "progress": self.progress}
        if not self.system.is_encoder:
            return self._without_encoder(recording, epochs, contacts, kept), epochs.start
        values = frame_features(
            recording,
            epochs,
            contacts,
            self.system.model,
            self.extractor,
            features=self.settings.features,
            context=self.context,
            statistics=self._statistics(recording, epochs, contacts, kept),
            batch_size=_BATCH,
            **kept,
        )
        return values, epochs.start + self.context

    def _without_encoder(
        self, recording: RecordingStream, epochs: Epochs, contacts: tuple[str, ...], kept: Mapping[str, Any]
    ) -> NDArray[np.float32]:
        if self.system.name == "spectrogram":
            return magnitude_features(recording, epochs, contacts, **kept)
        make = band_power_features if self.system.name == "band-power" else waveform_features
        problems = no_problems(Signals([recording], epochs, contacts))
        return make([recording], epochs, contacts, problems=problems, **kept)

    def _data(self, split: str, session: Session) -> dict[str, str]:
        """Return session → fingerprint of the files that a result is of."""
        both = {self.benchmark.trained(split, session), session}
        return {session_name(each): self._fingerprint(each) for each in sorted(both)}

    def _fingerprint(self, session: Session) -> str:
        if session not in self._fingerprints:
            self._fingerprints[session] = session_fingerprint(self.benchmark.root, *session)
        return self._fingerprints[session]

    def _statistics(
        self, recording: RecordingStream, epochs: Epochs, contacts: tuple[str, ...], kept: Mapping[str, Any]
    ) -> ElectrodeStatistics | None:
        if self.extractor.normalization != "recording":
            return None
        # As with windows that are decoded: what spikes or clips is not left out.
        return whole_recording_statistics(
            [recording], epochs, contacts, self.extractor, leave_out=("not finite", "flat"), **kept
        )

    def _fit(
        self, split: str, fold: ProbeFold, train: SessionFeatures, test: SessionFeatures
    ) -> tuple[dict[str, float], list[str] | None]:
        """Return the scores of a fold, and the regions that contacts were averaged over, if they were."""
        names = None
        if split == "Cross-Subject":
            of = [regions(self.benchmark.root, each.session[0]) for each in (fold.train, fold.test)]
            common = common_regions(train, test, *of)
            names, groups = list(common), list(common.values())
        else:
            groups = same_contacts(train, test)
        of_train, of_test = (train, train.rows(fold.train.start)), (test, test.rows(fold.test.start))
        scores, _ = fit_head(
            partial(flattened, of_train, of_test, groups),
            fold.train.label,
            fold.test.label,
            features=len(groups) * train.width,
            device=self.device,
        )
        return asdict(scores), names


def adapted(extractor: Any, settings: Settings) -> Any:
    """Return a copy of a front end with what the settings name.

    Raises ValueError for a variant of the STFT of a front end that has none.
    """
    if settings.variant is not None and extractor.transform != "stft":
        raise ValueError(
            f"This model reads {extractor.transform}s, which have no variant, and the settings name "
            f"{settings.variant}: leave the variant out."
        )
    found = copy(extractor)
    for name in ("normalization", "variant", "scale"):
        if getattr(settings, name) is not None:
            setattr(found, name, getattr(settings, name))
    found.minimum_recording_s = 0.0  # every entry has the same contacts, however little signal one has
    return found
