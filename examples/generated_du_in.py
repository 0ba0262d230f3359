"""Write a small Du-IN of generated epochs, as published (pickles) or packed in BIDS, and damage it.

An epoch is 1/f noise. In 3 of the contacts there is a wave besides, whose frequency in each 200 ms says the word: its
middle 600 ms are the word's own code of three frequencies, one a contact; what is before and after is shifted.
"""

import json
import pickle
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from brainbert.processing.corpora.du_in import PUBLISHED_CONTACTS
from brainbert.processing.corpora.du_in_pickles import read_contacts, read_epochs

RATE, EPOCH_SAMPLES = 1000, 3000  # Hz; 3 s
SEGMENT = 200  # samples
FREQUENCIES_HZ = (18.0, 40.0, 70.0, 110.0)
NOISE_UV, WAVE_UV = 20.0, 30.0
RUNS = 2
FOLDER = Path("data/seeg.he2023xuanwu")
DATASET = Path("word-recitation")
FAULTS = {
    "malicious-pickle": "a data file calls os.system; of pickles alone",
    "truncated": "a data file ends in its middle",
    "missing-key": "an epoch has no data_s; in BIDS, events.tsv has no column value",
    "wrong-rate": "an epoch has 2999 samples; in BIDS, the header says 512 Hz",
    "label-count": "info names a contact fewer than there are; in BIDS, events.tsv has a word fewer",
    "path-in-name": "a word leads to another folder",
    "extra-subject": "a subject has neither samples nor words; in BIDS, no words",
}
SURVIVABLE = ("extra-subject",)
_EVENTS = ("onset", "duration", "sample", "value")


def generate(
    out: Path,
    *,
    planted: bool = True,
    seed: int = 0,
    progress: bool = False,
    subjects: int = 2,
    words: int = 6,
    repeats: int = 8,
    contacts: int = 12,
    layout: Literal["pickle", "bids"] = "pickle",
) -> None:
    """Write subjects with two runs each, in which every word is recited `repeats` times, in random order.

    subjects: up to 12. planted: whether an epoch's signal is of its word, or of one drawn at random. words: up to 64;
    there are 61 in truth. contacts: 3 at least; the first ten have the names that are published for the subject.
    Both layouts of one seed hold the same samples. The default is 28 MB of pickles, 14 MB of BIDS.
    """
    folder = out / FOLDER if layout == "pickle" else out
    folder.mkdir(parents=True)
    if layout == "bids":
        (out / "dataset_description.json").write_text(json.dumps({"Name": "Du-IN", "BIDSVersion": "1.8.0"}))
    for number in tqdm(range(1, subjects + 1), desc="Du-IN", unit="subject", disable=not progress):
        subject = f"{number:03}"
        rng = np.random.default_rng([seed, number])
        names = [*PUBLISHED_CONTACTS[subject], *(f"X{each}" for each in range(1, contacts))][:contacts]
        informative = rng.choice(contacts, 3, replace=False)
        order = rng.permutation(np.repeat(np.arange(words), repeats))
        codes = rng.permutation(_codes(words))[:words]
        for run, said in enumerate(np.array_split(order, RUNS), start=1):
            carried = said if planted else rng.integers(words, size=len(said))
            epochs = [_epoch(codes[word], informative, contacts, rng) for word in carried]
            labels = [f"word{word + 1:02}" for word in said]
            write = _write_pickles if layout == "pickle" else _write_bids
            write(folder, subject, run, names, labels, epochs)


def _codes(words: int) -> NDArray[np.int64]:
    """Return (codes, 3) frequencies; up to 16 codes differ at two contacts or more."""
    every = np.stack(np.meshgrid(range(4), range(4), range(4), indexing="ij"), axis=-1).reshape(-1, 3)
    apart = every.sum(axis=1) % 4 == 0
    return every[apart] if words <= int(apart.sum()) else every


def _epoch(
    code: NDArray[np.int64], informative: NDArray[np.int64], contacts: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return (contacts, 3000) in µV."""
    hertz = np.fft.rfftfreq(EPOCH_SAMPLES, 1 / RATE)
    shape = 1 / np.maximum(hertz, 1.0) ** 0.5
    spectrum = rng.normal(size=(contacts, len(hertz))) + 1j * rng.normal(size=(contacts, len(hertz)))
    signal = np.fft.irfft(spectrum * shape, EPOCH_SAMPLES, axis=1)
    signal *= NOISE_UV / signal.std(axis=1, keepdims=True)
    segments = EPOCH_SAMPLES // SEGMENT
    shift = np.abs(np.arange(segments) - segments // 2) // 2  # 0 in the middle three
    for contact, frequency in zip(informative, code, strict=True):
        of_segment = np.array(FREQUENCIES_HZ)[(frequency + shift) % len(FREQUENCIES_HZ)]
        turns = np.cumsum(np.repeat(of_segment, SEGMENT)) / RATE
        signal[contact] += WAVE_UV * np.sqrt(2) * np.sin(2 * np.pi * (turns + rng.random()))
    return signal.astype(np.float32)


def _write_pickles(
    folder: Path, subject: str, run: int, names: list[str], labels: list[str], epochs: list[NDArray[np.float32]]
) -> None:
    place = folder / subject / DATASET / f"run{run}" / "dataset.bipolar.default.unaligned"
    place.mkdir(parents=True)
    items = [
        {
            "name": label,
            "data_s": epoch.astype(np.float64) * 1e-6,
            "data_n": np.zeros((len(epoch), 100)),  # a silent stretch, which nothing here reads
        }
        for label, epoch in zip(labels, epochs, strict=True)
    ]
    (place / "data").write_bytes(pickled(items))
    (place / "info").write_bytes(pickled({"ch_names": names}))


def pickled(value: Any, *, protocol: int = 4) -> bytes:
    """Return a pickle whose dictionaries are, in name, those of Du-IN's own class (utils.DotDict.DotDict)."""
    with _foreign_class() as dot_dict:

        def renamed(value: Any) -> Any:
            if isinstance(value, dict):
                return dot_dict({key: renamed(each) for key, each in value.items()})
            return [renamed(each) for each in value] if isinstance(value, list) else value

        file = BytesIO()
        pickle.dump(renamed(value), file, protocol)
        return file.getvalue()


@contextmanager
def _foreign_class() -> Iterator[type]:
    """Give a class that can be pickled under the name utils.DotDict.DotDict, as long as the block lasts."""
    names = ("utils", "utils.DotDict")
    before = {name: sys.modules.get(name) for name in names}
    made = type("DotDict", (dict,), {"__module__": "utils.DotDict"})
    for name in names:
        sys.modules[name] = ModuleType(name)
    sys.modules["utils.DotDict"].DotDict = made  # type: ignore[attr-defined]
    try:
        yield made
    finally:
        for name, module in before.items():
            del sys.modules[name]
            if module is not None:
                sys.modules[name] = module


def _write_bids(
    folder: Path, subject: str, run: int, names: list[str], labels: list[str], epochs: list[NDArray[np.float32]]
) -> None:
    place = folder / f"sub-{subject}" / "ieeg"
    place.mkdir(parents=True, exist_ok=True)
    stem = f"sub-{subject}_task-wordreading_run-{run}"
    np.concatenate(epochs, axis=1).T.astype("<f4").tofile(place / f"{stem}_ieeg.eeg")
    (place / f"{stem}_ieeg.vhdr").write_text(_header(stem, names), encoding="utf-8")
    marks = [f"Mk{k + 1}=New Segment,,{EPOCH_SAMPLES * k + 1},1,0" for k in range(len(labels))]
    (place / f"{stem}_ieeg.vmrk").write_text(
        "BrainVision Data Exchange Marker File, Version 1.0\n\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={stem}_ieeg.eeg\n\n[Marker Infos]\n" + "\n".join(marks) + "\n",
        encoding="utf-8",
    )
    (place / f"{stem}_ieeg.json").write_text(
        json.dumps({"TaskName": "wordreading", "SamplingFrequency": RATE, "iEEGReference": "bipolar"})
    )
    _write_table(
        place / f"{stem}_channels.tsv",
        [("name", "type", "units", "low_cutoff", "high_cutoff", "sampling_frequency", "status")]
        + [(name, "SEEG", "V", "n/a", "n/a", RATE, "good") for name in names],
    )
    rows = [(f"{3 * k:.1f}", "3.0", EPOCH_SAMPLES * k, label) for k, label in enumerate(labels)]
    _write_table(place / f"{stem}_events.tsv", [_EVENTS, *rows])


def _header(stem: str, names: list[str]) -> str:
    channels = "\n".join(f"Ch{number}={name},,1,µV" for number, name in enumerate(names, start=1))
    return (
        "BrainVision Data Exchange Header File Version 1.0\n\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={stem}_ieeg.eeg\nMarkerFile={stem}_ieeg.vmrk\nDataFormat=BINARY\nDataOrientation=MULTIPLEXED\n"
        f"NumberOfChannels={len(names)}\nSamplingInterval={1e6 / RATE:g}\n\n"
        f"[Binary Infos]\nBinaryFormat=IEEE_FLOAT_32\n\n[Channel Infos]\n{channels}\n"
    )


def _write_table(path: Path, rows: Sequence[Sequence[object]]) -> None:
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows), encoding="utf-8")


def spoil(root: Path, fault: str) -> None:
    """Damage the first run of subject 001 of a generated folder in one of the ways that FAULTS names.

    Raises ValueError for a fault that there is not, or not in BIDS.
    """
    bids = (root / "sub-001").is_dir()
    if fault not in FAULTS or (bids and fault == "malicious-pickle"):
        raise ValueError(f"There is no fault {fault!r} {'of BIDS' if bids else ''}; choose from {', '.join(FAULTS)}.")
    if fault == "extra-subject":
        if bids:
            shutil.copytree(root / "sub-001", root / "sub-099")
            for file in sorted((root / "sub-099" / "ieeg").iterdir()):
                text = None if file.suffix == ".eeg" else file.read_text(encoding="utf-8").replace("sub-001", "sub-099")
                if text is not None:
                    file.write_text(text, encoding="utf-8")
                if file.name.endswith("_events.tsv"):
                    file.unlink()
                else:
                    file.rename(file.with_name(file.name.replace("sub-001", "sub-099")))
        else:
            (root / FOLDER / "099" / DATASET / "run1").mkdir(parents=True)
    elif bids:
        _spoil_bids(root / "sub-001" / "ieeg" / "sub-001_task-wordreading_run-1", fault)
    else:
        _spoil_pickles(root / FOLDER / "001" / DATASET / "run1" / "dataset.bipolar.default.unaligned", fault)


def _spoil_pickles(place: Path, fault: str) -> None:
    data = place / "data"
    if fault == "malicious-pickle":
        command = b"touch it_ran"
        data.write_bytes(b"\x80\x02cos\nsystem\nX" + len(command).to_bytes(4, "little") + command + b"\x85R.")
        return
    if fault == "truncated":
        data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
        return
    names = read_contacts(place / "info", place="info")
    if fault == "label-count":
        (place / "info").write_bytes(pickled({"ch_names": names[:-1]}))
        return
    words, epochs = read_epochs(data, contacts=len(names), place="data")
    items = [{"name": word, "data_s": np.array(epoch)} for word, epoch in zip(words, epochs, strict=True)]
    change: dict[str, Callable[[dict[str, Any]], object]] = {
        "missing-key": lambda item: item.pop("data_s"),
        "wrong-rate": lambda item: item.update(data_s=item["data_s"][:, :-1]),
        "path-in-name": lambda item: item.update(name="../../word"),
    }
    change[fault](items[2])
    data.write_bytes(pickled(items))


def _spoil_bids(stem: Path, fault: str) -> None:
    signal, header, events = (stem.with_name(stem.name + end) for end in ("_ieeg.eeg", "_ieeg.vhdr", "_events.tsv"))
    rows = [line.split("\t") for line in events.read_text(encoding="utf-8").splitlines()]
    if fault == "truncated":
        signal.write_bytes(signal.read_bytes()[: signal.stat().st_size // 2])
    elif fault == "wrong-rate":
        text = header.read_text(encoding="utf-8")
        header.write_text(text.replace("SamplingInterval=1000", f"SamplingInterval={1e6 / 512}"), encoding="utf-8")
    elif fault == "missing-key":
        _write_table(events, [row[:-1] for row in rows])
    elif fault == "label-count":
        _write_table(events, rows[:-1])
    elif fault == "path-in-name":
        _write_table(events, [*rows[:3], [*rows[3][:-1], "../../word"], *rows[4:]])
