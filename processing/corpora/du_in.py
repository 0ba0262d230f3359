"""Du-IN: 61 words that 12 people with depth electrodes recite, in epochs of 3 s at 1000 Hz.

Read as published (a folder of pickles for each run) and as packed anew in BIDS (BrainVision, epochs back to back).
Signals are bipolar along a shaft already; a contact has the name of the pair's first one. An epoch begins half a second
before the word is shown.
Source: Zheng et al. 2024, Du-IN (NeurIPS), arXiv 2405.11459; names and contacts: liulab-repository/Du-IN.
"""

import hashlib
import json
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..atomic import written_whole
from ..recordings import Recording, RecordingStream, resample
from ..recordings.formats import MICROVOLTS
from ..recordings.quality import PLAUSIBLE_SD_UV
from .du_in_files import (
    RATE,
    Run,
    find_layout,
    find_subjects,
    labelled_runs,
    open_bids_run,
    open_pickled_run,
    subject_folder,
)
from .du_in_pickles import EPOCH_SAMPLES
from .labelled import LabelledRecording

__all__ = ["EPOCH_S", "PUBLISHED_CONTACTS", "RATE", "find_layout", "find_subjects", "open_subject"]

EPOCH_S = 3.0
# Chosen by the authors with all epochs of a person, those of the test included; the best comes first.
PUBLISHED_CONTACTS: dict[str, tuple[str, ...]] = {
    "001": ("SM8", "SM9", "SM7", "SM11", "P4", "SM10", "SM6", "P3", "SM5", "CI9"),
    "002": ("TI'2", "TI'3", "TI'1", "TI'6", "TI'4", "TI'7", "ST'3", "ST'2", "ST'4", "FP'4"),
    "003": ("ST3", "ST1", "ST2", "ST9", "TI'4", "TI'3", "ST4", "TI'2", "ST7", "TI'8"),
    "004": ("D12", "D13", "C4", "C3", "D11", "D14", "D10", "D9", "D5", "C15"),
    "005": ("E8", "E9", "E6", "E7", "E11", "E12", "E5", "E10", "C10", "E4"),
    "006": ("D3", "D1", "D6", "D2", "D5", "D4", "D7", "D8", "G8", "E13"),
    "007": ("H2", "H4", "H3", "H1", "H6", "H5", "E4", "H7", "C13", "E5"),
    "008": ("TI3", "TI4", "TI2", "TI5", "B9", "TI6", "TI7", "TI9", "TI10", "B5"),
    "009": ("K9", "K8", "K6", "K7", "K11", "K10", "K5", "K4", "K3", "I9"),
    "010": ("PI5", "PI6", "PI7", "PI8", "PI1", "PI9", "PI2", "SM2", "SP3", "PI4"),
    "011": ("T2", "T3", "C9", "T4", "T5", "C7", "C8", "T1", "s1", "C4"),
    "012": ("TI'4", "TI'2", "TI'3", "TI'5", "TI'8", "TI'6", "TI'7", "TO'9", "P'5", "TO'8"),
}
_UNLABELLED = "run without labels"


@dataclass(frozen=True, kw_only=True, eq=False)
class _Blocks:
    """Reads runs that lie back to back, each (contacts, samples), in memory or mapped to a file."""

    runs: tuple[NDArray[np.float32], ...]

    def __call__(self, start: int, stop: int) -> NDArray[np.float32]:
        parts, begins = [], 0
        for run in self.runs:
            first, last = max(start - begins, 0), min(stop - begins, run.shape[1])
            if first < last:
                parts.append(run[:, first:last])
            begins += run.shape[1]
        return np.concatenate(parts, axis=1)


def open_subject(
    root: str | Path,
    subject: str,
    *,
    sampling_rate: float,
    contacts: Sequence[str] | None = None,
    unit: str = "V",
    cache: Path | None = None,
) -> LabelledRecording:
    """Return all runs of a subject as one recording, epochs back to back, each resampled by itself.

    Epoch k begins at sample k · round(3 · sampling_rate), and its label is the word. Runs are in order of their number.
    All samples are read at once, a run at a time, and kept as float32.
    subject: such as "001". sampling_rate: Hz, of the model. contacts: those wanted, in this order; by default those
        that all runs have.
    unit: of the pickles, "V", "mV" or "uV", which do not say; warns when the amplitudes suggest another. The header of
        a BIDS data set says its own.
    cache: folder where each run is kept at this rate as .npy, and mapped from there, here and the next time.
    Raises FileNotFoundError and ValueError for what is not as published, in one sentence.
    """
    if not np.isfinite(sampling_rate) or sampling_rate <= 0:
        raise ValueError(f"sampling_rate is {sampling_rate}; give a positive number of hertz, 2048 for BrainBERT.")
    if unit not in MICROVOLTS:
        raise ValueError(f"unit is {unit!r}; use 'V', 'mV' or 'uV'.")
    layout, folder = find_layout(root)
    if not re.fullmatch(r"\d+", subject) or not subject_folder(layout, folder, subject).is_dir():
        raise ValueError(f"There is no subject {subject[:60]!r}; there are {', '.join(find_subjects(root))}.")
    places, unlabelled = labelled_runs(layout, folder, subject)
    if not places:
        raise ValueError(f"Subject {subject} has no run with words; leave the subject out, or download it again.")
    if unlabelled:
        warnings.warn(f"{unlabelled} runs of subject {subject} have no words and are left out.", stacklevel=2)
    open_run = partial(open_pickled_run, unit=unit) if layout == "pickle" else partial(open_bids_run, folder)
    runs = [open_run(place, subject=subject) for place in places]
    names, dropped = _common_contacts(runs, contacts, subject=subject)
    data: list[NDArray[np.float32]] = []
    words: list[str] = []
    for run in runs:
        of_run, block = _resampled(run, names, sampling_rate, subject=subject, unit=unit, cache=cache)
        words += of_run
        data.append(block)
    if layout == "pickle":
        _warn_of_unit(data[0], unit)
    samples = round(EPOCH_S * sampling_rate)
    header = runs[0].header
    rows = [runs[0].contacts.index(name) for name in names]
    placed = header is not None and header.positions is not None
    recording = RecordingStream(
        source=_Blocks(runs=tuple(data)),
        num_samples=len(words) * samples,
        sampling_rate=float(sampling_rate),
        contacts=names,
        types=("seeg",) * len(names),
        bad={name: why for run in runs if run.header for name, why in run.header.bad.items() if name in names},
        positions=header.positions[rows] if placed else None,  # type: ignore[union-attr, index]
        coordinate_frame=header.coordinate_frame if placed else None,  # type: ignore[union-attr]
        band_hz=_one_epoch(np.zeros((1, EPOCH_SAMPLES), np.float32), ("A1",), sampling_rate).band_hz,
        history=(
            {
                "step": "read",
                "data_set": "Du-IN word recitation",
                "layout": layout,
                "montage": "bipolar, as published",
                "runs": [run.name for run in runs],
                "epochs": len(words),
                "unit_given": unit if layout == "pickle" else None,
                "from_hz": RATE,
                "to_hz": float(sampling_rate),
                "resampled": "each epoch by itself",
                "dropped": dropped,
            },
        ),
        id=f"DuIN-{subject}",
        subject=f"DuIN-{subject}",
    )
    return LabelledRecording(
        recording=recording,
        onset_s=np.arange(len(words)) * samples / sampling_rate,
        values=np.array(words, dtype=np.str_),
        left_out={_UNLABELLED: unlabelled} if unlabelled else {},
    )


def _common_contacts(
    runs: Sequence[Run], wanted: Sequence[str] | None, *, subject: str
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the contacts wanted, in that order, or those of all runs; and why others are dropped."""
    every = dict.fromkeys(name for run in runs for name in run.contacts)
    common = [name for name in every if all(name in run.contacts for run in runs)]
    reasons = {name: "not in every run" for name in every if name not in common}
    if wanted is None:
        if not common:
            raise ValueError(f"The runs of subject {subject} have no contact in common; download them again.")
        return tuple(common), reasons
    if isinstance(wanted, str) or not wanted or len(set(wanted)) < len(wanted):
        raise ValueError(f"contacts is {wanted!r}; give a list of different names.")
    for name in wanted:
        if name not in common:
            raise ValueError(
                f"Subject {subject} has no contact {name[:60]!r} in all of {len(runs)} runs; there are "
                f"{', '.join(common[:12])}{f' and {len(common) - 12} more' if len(common) > 12 else ''}."
            )
    return tuple(wanted), reasons | {name: "not asked for" for name in common if name not in wanted}


def _resampled(
    run: Run, names: tuple[str, ...], rate: float, *, subject: str, unit: str, cache: Path | None
) -> tuple[list[str], NDArray[np.float32]]:
    """Return the words of a run and its epochs at the rate, (contacts, epochs · samples), from the cache if there."""
    kept, samples = None, round(EPOCH_S * rate)
    if cache is not None:
        kept = cache / f"DuIN-{subject}-{run.name}-{_settings_hash(run, names, rate, unit)}.npy"
        if kept.is_file():
            words = [str(word) for word in json.loads(kept.with_suffix(".json").read_text(encoding="utf-8"))]
            block = np.load(kept, mmap_mode="r", allow_pickle=False)
            if block.shape == (len(names), len(words) * samples) and block.dtype == np.float32:
                return words, block
    words, epochs = run.read()
    rows = [run.contacts.index(name) for name in names]
    data = np.empty((len(names), len(words) * samples), dtype=np.float32)
    for number, epoch in enumerate(epochs):
        with np.errstate(over="ignore"):
            signal = np.asarray(epoch[rows], dtype=np.float32)
        if not np.isfinite(signal).all():
            raise ValueError(
                f"Epoch {number + 1} of {run.name} of subject {subject} holds infinite values or NaN; "
                "download it again."
            )
        data[:, number * samples : (number + 1) * samples] = _one_epoch(signal, names, rate).data[:, :samples]
    if kept is None:
        return words, data
    with written_whole(kept.with_suffix(".json")) as part:
        part.write_text(json.dumps(words, ensure_ascii=False), encoding="utf-8")
    with written_whole(kept) as part, part.open("wb") as file:
        np.save(file, data, allow_pickle=False)
    return words, np.load(kept, mmap_mode="r", allow_pickle=False)


def _one_epoch(signal: NDArray[np.float32], names: tuple[str, ...], rate: float) -> Recording:
    epoch = Recording(
        data=signal, sampling_rate=RATE, contacts=names, types=("seeg",) * len(names), id="epoch", subject="epoch"
    )
    return resample(epoch, rate)


def _settings_hash(run: Run, names: tuple[str, ...], rate: float, unit: str) -> str:
    """Return what the samples of a run depend on, as a short hash; of the files their sizes and times."""
    files = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in run.files if file.is_file()]
    return hashlib.sha256(json.dumps([1, files, names, float(rate), unit]).encode()).hexdigest()[:16]


def _warn_of_unit(data: NDArray[np.float32], unit: str) -> None:
    typical = float(np.median(data[:, : 2**16].std(axis=1)))
    low, high = PLAUSIBLE_SD_UV
    if typical and not low <= typical <= high:
        warnings.warn(
            f"With the unit {unit} the median standard deviation of a contact is {typical:.3g} µV, outside {low:g} to "
            f"{high:g} µV; give unit='V', 'mV' or 'uV', whichever fits.",
            stacklevel=3,
        )
