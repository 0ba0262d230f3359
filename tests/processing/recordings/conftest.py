"""One generated recording, as arrays, as a Recording and as files of each format."""

import shutil
from collections.abc import Callable
from pathlib import Path

import mne
import mne_bids
import numpy as np
import pytest

from brainbert.processing.recordings import Recording

CONTACTS = ("LA1", "LA2", "LA3", "LA4", "A'1", "A'2", "A'4")
RATE = 512.0
SECONDS = 10


def pink_noise(contacts: int, samples: int, *, seed: int = 0, rate: float = RATE) -> np.ndarray:
    """Signal with a 1/f power spectrum above 0.5 Hz and a standard deviation of 50 µV, (contacts, samples)."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal((contacts, samples)))
    frequencies = np.fft.rfftfreq(samples, 1 / rate)
    spectrum /= np.sqrt(np.maximum(frequencies, 0.5))
    signal = np.fft.irfft(spectrum, samples)
    return 50 * (signal - signal.mean(-1, keepdims=True)) / signal.std(-1, keepdims=True)


@pytest.fixture(scope="session")
def microvolts() -> np.ndarray:
    """(contacts, samples) of the recording in every file, float64."""
    return pink_noise(len(CONTACTS), int(RATE * SECONDS))


@pytest.fixture
def make_recording() -> Callable[..., Recording]:
    """Build a Recording of pink noise with these contacts; keyword arguments replace its fields."""

    def build(
        contacts: tuple[str, ...] = CONTACTS, *, seconds: float = SECONDS, rate: float = RATE, **fields
    ) -> Recording:
        data = pink_noise(len(contacts), round(seconds * rate), rate=rate).astype(np.float32)
        given = {"data": data, "types": ("seeg",) * len(contacts), "id": "recording", "subject": "subject", **fields}
        return Recording(contacts=contacts, sampling_rate=rate, **given)

    return build


def raw_of(microvolts: np.ndarray, *, names: tuple[str, ...] = CONTACTS, kind: str = "seeg") -> mne.io.BaseRaw:
    """An MNE recording with an ECG channel, a bad contact LA4, positions in millimetres, and a patient."""
    info = mne.create_info([*names, "ECG"], RATE, [kind] * len(names) + ["ecg"])
    raw = mne.io.RawArray(np.vstack([microvolts, microvolts[:1]]) * 1e-6, info, verbose="ERROR")
    raw.info["bads"] = ["LA4"] if "LA4" in names else []
    raw.info["line_freq"] = 50
    raw.info["subject_info"] = {"his_id": "Smith-1234", "last_name": "Smith", "first_name": "Jane", "sex": 2}
    raw.info["experimenter"] = "Doctor Jones"
    raw.set_meas_date(1_500_000_000)
    return raw


def places_m() -> dict[str, np.ndarray]:
    """Position of each contact in metres: 3.5 mm apart along x, shaft A' 10 mm behind."""
    return {name: np.array([0.0035 * int(name[-1]), -0.01 * name.startswith("A'"), 0.02]) for name in CONTACTS}


@pytest.fixture(scope="session")
def files(tmp_path_factory, microvolts: np.ndarray) -> dict[str, Path]:
    """The recording as EDF, BrainVision, FIF and as the root of a BIDS data set (subject 01, task rest, run 01)."""
    folder = tmp_path_factory.mktemp("Smith_Jane_2017")
    raw = raw_of(microvolts)
    paths = {
        "EDF": folder / "a.edf",
        "BrainVision": folder / "b.vhdr",
        "FIF": folder / "c_raw.fif",
        "BIDS": folder / "bids",
    }
    mne.export.export_raw(paths["EDF"], raw, physical_range=(-400, 400), verbose="ERROR")
    mne.export.export_raw(paths["BrainVision"], raw, verbose="ERROR")
    montage = mne.channels.make_dig_montage(places_m(), coord_frame="mni_tal")
    placed = raw.copy().set_montage(montage, verbose="ERROR")
    placed.save(paths["FIF"], verbose="ERROR")
    mne_bids.write_raw_bids(
        placed,
        mne_bids.BIDSPath(root=paths["BIDS"], subject="01", task="rest", run="01", datatype="ieeg"),
        format="BrainVision",
        allow_preload=True,
        verbose="ERROR",
    )
    return paths


@pytest.fixture
def copy_brainvision(files: dict[str, Path]) -> Callable[[Path], Path]:
    """Copy the BrainVision recording into a folder; return its header there."""

    def copy(folder: Path) -> Path:
        for part in files["BrainVision"].parent.glob("b.*"):
            shutil.copy(part, folder)
        return folder / "b.vhdr"

    return copy
