"""Write small MAYO and FNUSA sets of generated clips, in the format of the published ones, and damage them.

A clip is 1/f noise. A pathological one has spikes on a run of waves of 12 to 26 Hz about its middle; one of noise a
broad-band artefact anywhere; one of power line 50 or 60 Hz. Patients differ in size, slope and frequency.
"""

import csv
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat, savemat
from tqdm import tqdm

from brainbert.processing.corpora.mayo_fnusa import GROUPS

RATE, CLIP_SAMPLES = 5000, 15000  # Hz; 3 s
POWER_LINE, NOISE, PATHOLOGICAL, PHYSIOLOGICAL = range(4)
CATEGORY_NAMES = ("powerline", "noise", "pathology", "physiology")
POWER_LINE_HZ = {"MAYO": 60.0, "FNUSA": 50.0}
COLUMNS = (
    "index", "anatomy", "category_id", "channel", "electrode_type", "institution", "patient_id", "reviewer_id",
    "segment_id", "soz", "category_name",
)  # fmt: skip
LEVEL_UV = 300.0  # what one stretch lies above the next, so that they do not join by chance
FAULTS = {
    "missing-column": "segments.csv has no column category_id",
    "truncated-clip": "a clip's file ends in its middle",
    "wrong-rate": "a clip has 3 s at 4096 Hz",
    "unknown-category": "a row has the category_id 7",
    "extra-patient": "a row has neither patient nor category",
    "path-in-name": "a segment_id leads to another folder",
    "hdf5-clip": "a clip is a MATLAB 7.3 file",
    "missing-clip": "a clip's file is not there",
    "empty-table": "segments.csv is empty",
}
SURVIVABLE = ("extra-patient",)


def generate(
    out: Path,
    *,
    planted: bool = True,
    seed: int = 0,
    progress: bool = False,
    names: Sequence[str] = ("MAYO", "FNUSA"),
    pairs: int = 2,
) -> None:
    """Write DATASET_MAYO and DATASET_FNUSA under a folder: segments.csv and clips of all patients in published groups.

    planted: whether a clip's signal is of its category; otherwise it is of one drawn at random. names: which sets.
    pairs: of each patient, so many pathological and physiological ones, in which one clip goes on in the next; there
        are a single clip of each category besides.
    """
    for name in names:
        folder = out / f"DATASET_{name}"
        folder.mkdir(parents=True)
        rng = np.random.default_rng([seed, *name.encode()])
        rows: list[dict[str, object]] = []
        for patient in tqdm(sorted(sum(GROUPS[name], ())), desc=name, unit="patient", disable=not progress):
            _write_patient(folder, name, patient, rows, rng, planted=planted, pairs=pairs)
        with (folder / "segments.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)


def _write_patient(
    folder: Path,
    name: str,
    patient: int,
    rows: list[dict[str, object]],
    rng: np.random.Generator,
    *,
    planted: bool,
    pairs: int,
) -> None:
    stretches = [(category, 2) for category in (PATHOLOGICAL, PHYSIOLOGICAL)] * pairs
    stretches += [(category, 1) for category in range(4)]
    size, slope, hertz = rng.uniform(0.7, 1.4), rng.uniform(0.9, 1.2), rng.uniform(12, 26)
    for number, place in enumerate(rng.permutation(len(stretches))):
        category, clips = stretches[place]
        drawn = stretches[rng.integers(len(stretches))][0]
        signal = size * _stretch(
            category if planted else drawn, clips, rng, slope=slope, hertz=hertz, line_hz=POWER_LINE_HZ[name]
        )
        signal += LEVEL_UV * (-1) ** number
        for clip in np.round(signal).reshape(clips, 1, CLIP_SAMPLES):
            segment = rng.bytes(8).hex()
            _save(folder / f"{segment}.mat", clip)
            about = (
                len(rows), "nan", category, f"A{patient % 3 + 1}", "depth", name.lower(), patient, number % 3 + 1,
                segment, int(category == PATHOLOGICAL), CATEGORY_NAMES[category],
            )  # fmt: skip
            rows.append(dict(zip(COLUMNS, about, strict=True)))


def _save(path: Path, clip: NDArray[np.float64]) -> None:
    savemat(path, {"data": clip}, do_compression=True)
    with path.open("r+b") as file:  # over the date, so that a seed gives the same bytes
        file.write(b"MATLAB 5.0 MAT-file".ljust(116))


def _stretch(
    kind: int, clips: int, rng: np.random.Generator, *, slope: float, hertz: float, line_hz: float
) -> NDArray[np.float64]:
    """Return (samples,) µV of clips that go on in each other."""
    samples = clips * CLIP_SAMPLES
    time_s = np.arange(samples) / RATE
    frequencies = np.maximum(np.fft.rfftfreq(samples, 1 / RATE), 0.5)
    real, imaginary = rng.standard_normal((2, len(frequencies))) / frequencies**slope
    noise = np.fft.irfft(real + 1j * imaginary, n=samples)
    signal = 30 * noise / noise.std() + 2 * rng.standard_normal(samples)
    if kind == POWER_LINE:
        signal += 100 * np.sin(2 * np.pi * line_hz * time_s)
    for middle in 1.5 + 3.0 * np.arange(clips):
        if kind == PATHOLOGICAL:
            centre = middle + rng.uniform(-0.3, 0.3)
            waves = np.exp(-(((time_s - centre) / 0.3) ** 2))
            signal += 80 * waves * np.sin(2 * np.pi * hertz * time_s + rng.uniform(0, 2 * np.pi))
            for spike in centre + rng.uniform(-0.4, 0.4, 3):
                signal += 200 * np.exp(-(((time_s - spike) / 0.012) ** 2))
        if kind == NOISE:
            centre = middle + rng.uniform(-1.2, 1.2)
            signal += 100 * np.exp(-(((time_s - centre) / 0.1) ** 2)) * rng.standard_normal(samples)
    return signal


def spoil(root: Path, fault: str) -> None:
    """Damage each generated set under a folder in one of the ways of `FAULTS`."""
    damage = _DAMAGE[fault]
    for folder in sorted(root.glob("DATASET_*")):
        with (folder / "segments.csv").open(newline="", encoding="utf-8") as file:
            columns, *cells = csv.reader(file)
        rows = [dict(zip(columns, row, strict=True)) for row in cells]
        # The first clip that is used: it is read when the set is opened.
        victim = next(row for row in rows if row["category_id"] != str(POWER_LINE))
        kept = damage(folder, rows, victim)
        with (folder / "segments.csv").open("w", newline="", encoding="utf-8") as file:
            if kept:
                writer = csv.DictWriter(file, list(kept[0]))
                writer.writeheader()
                writer.writerows(kept)


Row = dict[str, str]


def _without_column(folder: Path, rows: list[Row], victim: Row) -> list[Row]:
    return [{name: cell for name, cell in row.items() if name != "category_id"} for row in rows]


def _truncate(folder: Path, rows: list[Row], victim: Row) -> list[Row]:
    path = _file(folder, victim)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return rows


def _other_rate(folder: Path, rows: list[Row], victim: Row) -> list[Row]:
    path = _file(folder, victim)
    _save(path, loadmat(path)["data"][:, : 3 * 4096])
    return rows


def _unknown_category(folder: Path, rows: list[Row], victim: Row) -> list[Row]:
    victim |= {"category_id": "7", "category_name": "drowsy"}
    return rows


def _extra_patient(folder: Path, rows: list[Row], victim: Row) -> list[Row]:
    extra = {"segment_id": "ffffffff00000000", "patient_id": "", "category_id": "", "category_name": ""}
    shutil.copyfile(_file(folder, victim), folder / f"{extra['segment_id']}.mat")
    return [*rows, {**victim, **extra}]


def _path_in_name(folder: Path, rows: list[Row], victim: Row) -> list[Row]:
    victim["segment_id"] = f"../{folder.name}/{victim['segment_id']}"
    return rows


def _as_hdf5(folder: Path, rows: list[Row], victim: Row) -> list[Row]:
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
    _file(folder, victim).write_bytes(header.ljust(512, b"\0") + b"\x89HDF\r\n\x1a\n" + bytes(1000))
    return rows


def _without_clip(folder: Path, rows: list[Row], victim: Row) -> list[Row]:
    _file(folder, victim).unlink()
    return rows


def _empty(folder: Path, rows: list[Row], victim: Row) -> list[Row]:
    return []


def _file(folder: Path, row: Row) -> Path:
    return folder / f"{row['segment_id']}.mat"


_DAMAGE: dict[str, Callable[[Path, list[Row], Row], list[Row]]] = dict(
    zip(
        FAULTS,
        (
            _without_column, _truncate, _other_rate, _unknown_category, _extra_patient, _path_in_name, _as_hdf5,
            _without_clip, _empty,
        ),
        strict=True,
    )
)  # fmt: skip
