"""Reading an upload and conditioning it, in a process with limits."""

import time
from pathlib import Path

import numpy as np
import pytest

from brainbert.hub_upload.space import preparation, sample
from brainbert.hub_upload.space.child import run_limited
from brainbert.hub_upload.space.preparation import CONDITIONED, longest, prepare
from brainbert.hub_upload.space.refusal import Refusal

TASK = {
    "given_rate": None,
    "channels": None,
    "unit": None,
    "line_frequency": 0,
    "reference": "none",
    "ends": "drop",
    "sampling_rate": 2048.0,
}
HEADER = """Brain Vision Data Exchange Header File Version 1.0
[Common Infos]
DataFile={data}
MarkerFile={marker}
DataFormat=BINARY
DataOrientation=MULTIPLEXED
NumberOfChannels=3
SamplingInterval=1000
[Binary Infos]
BinaryFormat=INT_16
[Channel Infos]
Ch1=LA1,,0.1,µV
Ch2=LA2,,0.1,µV
Ch3=LA3,,0.1,µV
"""
MARKERS = "Brain Vision Data Exchange Marker File, Version 1.0\n[Common Infos]\nDataFile=a.eeg\n[Marker Infos]\n"


def noise(contacts: int = 3, samples: int = 8000, seed: int = 0) -> np.ndarray:
    return 30 * np.random.default_rng(seed).standard_normal((contacts, samples)).astype(np.float32)


def save(folder: Path, voltage: np.ndarray, **others: object) -> dict:
    np.savez(folder / "a.npz", voltage=voltage, **others)
    return TASK | {"file": "a.npz"}


def brainvision(folder: Path, *, data: str = "a.eeg", marker: str = "a.vmrk") -> dict:
    (folder / "a.vhdr").write_text(HEADER.format(data=data, marker=marker), encoding="utf-8")
    (folder / "a.vmrk").write_text(MARKERS, encoding="utf-8")
    (noise().T * 10).astype("<i2").tofile(folder / "a.eeg")
    return TASK | {"file": "a.vhdr"}


def test_brainvision_is_read_in_microvolts(tmp_path):
    found = prepare(brainvision(tmp_path) | {"sampling_rate": 1000.0}, tmp_path)
    assert found["contacts"] == ["LA1", "LA2", "LA3"]
    assert np.abs(np.load(tmp_path / CONDITIONED) - noise()).max() < 0.11  # a step of the amplifier


@pytest.mark.parametrize("name", ["../secret.eeg", "/etc/passwd", "..\\secret.eeg", "file:///etc/passwd"])
@pytest.mark.parametrize("key", ["data", "marker"])
def test_a_header_that_names_a_file_elsewhere_is_not_followed(tmp_path, key, name):
    folder = tmp_path / "upload"
    folder.mkdir()
    task = brainvision(folder, **{key: name})
    (tmp_path / "secret.eeg").write_bytes((folder / "a.eeg").read_bytes())
    with pytest.raises(ValueError, match="only a bare file name beside the header is followed"):
        prepare(task, folder)


def test_a_header_whose_data_were_not_uploaded_says_which_are_missing(tmp_path):
    with pytest.raises(ValueError, match=r"a\.vhdr names b\.eeg, which did not come with it"):
        prepare(brainvision(tmp_path, data="b.eeg"), tmp_path)


def test_a_tone_keeps_its_frequency_and_height_at_the_rate_of_the_model(tmp_path):
    times = np.arange(4000) / 1000
    voltage = noise(2, 4000)
    voltage[1] = 50 * np.sin(2 * np.pi * 40 * times)
    found = prepare(save(tmp_path, voltage, sampling_rate=1000.0), tmp_path)
    data = np.load(tmp_path / CONDITIONED)
    assert data.shape == (2, 8192)
    spectrum = np.abs(np.fft.rfft(data[1, 1024:7168])) / 3072
    assert np.argmax(spectrum) == 120  # 40 Hz in 3 s
    assert spectrum[120] == pytest.approx(50, rel=0.01)
    assert "Resampled from 1000 Hz to the model's 2048 Hz." in found["notes"]


def test_contacts_that_are_flat_or_not_finite_are_bad_and_not_shown(tmp_path):
    voltage = noise(4)
    voltage[1], voltage[2, :4000] = 7.0, np.nan
    found = prepare(save(tmp_path, voltage, sampling_rate=2048.0), tmp_path)
    assert found["quality"] == {"1": "", "2": "flat", "3": "not finite", "4": ""}
    assert found["contacts"] == ["1", "4"]
    assert np.isfinite(np.load(tmp_path / CONDITIONED)).all()


def test_voltage_of_nothing_but_nan_is_a_problem_in_one_sentence(tmp_path):
    found = prepare(save(tmp_path, np.full((2, 8000), np.nan), sampling_rate=2048.0), tmp_path)
    assert found["contacts"] == []
    assert found["problem"].startswith("No good contact is left (1: not finite, 2: not finite)")


def test_contacts_without_names_have_no_neighbours(tmp_path):
    found = prepare(save(tmp_path, noise(), sampling_rate=2048.0) | {"reference": "laplacian"}, tmp_path)
    assert found["contacts"] == []
    assert "choose another reference" in found["problem"]
    assert "ends=" not in found["problem"]


def test_the_rate_of_an_array_comes_from_the_file_else_from_the_field(tmp_path):
    task = save(tmp_path, noise(1, 4096))
    with pytest.raises(ValueError, match=r"a\.npz does not say its sampling rate"):
        prepare(task, tmp_path)
    assert prepare(task | {"given_rate": 1024.0}, tmp_path)["duration_s"] == 4.0
    task = save(tmp_path, noise(1, 4096), sampling_rate=512.0)
    assert prepare(task | {"given_rate": 1024.0}, tmp_path)["duration_s"] == 8.0


@pytest.mark.parametrize("rate", [0.0, -5.0, 20.0, 1e9, np.nan, np.inf])
def test_rates_of_no_recording_are_refused(tmp_path, rate):
    with pytest.raises(ValueError, match="recordings from 100 to 100000 Hz are taken"):
        prepare(save(tmp_path, noise(), sampling_rate=rate), tmp_path)


@pytest.mark.parametrize(
    ("voltage", "said"),
    [
        (np.zeros((8000, 3)), "give it as .contacts, samples., transposed"),
        (np.zeros((2, 3, 4)), "has shape .2, 3, 4."),
        (np.array(["a", "b"]), "give real numbers in µV"),
        (np.zeros((0, 8)), "has shape .0, 8."),
    ],
)
def test_arrays_that_are_no_voltage_are_refused(tmp_path, voltage, said):
    with pytest.raises(ValueError, match=said):
        prepare(save(tmp_path, voltage, sampling_rate=2048.0), tmp_path)


def test_of_a_long_recording_only_the_first_minutes_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, "MAX_MINUTES", 0.05)
    found = prepare(save(tmp_path, noise(2, 20480), sampling_rate=2048.0), tmp_path)
    assert np.load(tmp_path / CONDITIONED).shape == (2, 6144)
    assert found["notes"][0] == "Only the first 3 s of 10 s were read: this page is for a look."


def test_of_many_contacts_less_is_read_so_that_memory_suffices():
    assert longest(10**9, 2048.0, 1, 2048.0) == 600 * 2048
    assert longest(10**9, 2048.0, 512, 2048.0) == 2**17
    assert longest(10**9, 1024.0, 512, 2048.0) == 2**16  # as many values after resampling


def test_the_sample_has_its_tones_where_it_says():
    voltage = sample.generate()
    for name, (hertz, microvolts, _, lasts_s) in sample.PLANTED.items():
        first = voltage[sample.CONTACTS.index(name), : round(lasts_s * sample.RATE_HZ)]
        times = np.arange(len(first)) / sample.RATE_HZ
        # The squared sine of its envelope has the mean 1/2; noise adds a few µV.
        found = 4 * abs((first * np.exp(-2j * np.pi * hertz * times)).mean())
        assert found == pytest.approx(microvolts, rel=0.35), name
    assert not voltage[sample.CONTACTS.index(sample.FLAT)].any()


CHILD = """
import json, os, sys, time
from brainbert.hub_upload.space.child import limit_this_process
task = json.load(open(os.path.join(sys.argv[1], "task.json")))
limit_this_process(**task["limits"])
"""


@pytest.fixture
def child(tmp_path, monkeypatch):
    """Return a function that runs a program in a limited process: its text, then seconds."""
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "work"
    folder.mkdir()

    def run(text: str, seconds: float = 20.0, **task: object) -> dict:
        (tmp_path / "hostile.py").write_text(CHILD + text)
        return run_limited("hostile", task, folder, seconds=seconds, memory_bytes=2**29)

    return run


DONE = 'json.dump({"found": found}, open(os.path.join(sys.argv[1], "result.json"), "w"))'


def test_a_process_that_takes_too_long_is_ended(child):
    started = time.monotonic()
    with pytest.raises(Refusal, match=r"took more than 0\.5 s and were stopped"):
        child("time.sleep(30)", seconds=0.5)
    assert time.monotonic() - started < 10


def test_a_process_cannot_have_more_memory_than_its_limit(child):
    found = child(f"try:\n    bytearray(2**30)\n    found = 'had'\nexcept MemoryError:\n    found = 'refused'\n{DONE}")
    assert found == {"found": "refused"}


def test_a_process_that_crashes_is_a_sentence(child):
    with pytest.raises(Refusal, match="Reading the file ended in a crash"):
        child("os.abort()")


def test_a_process_sees_no_secrets_of_ours(child, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    found = child(f"found = [name for name, value in os.environ.items() if 'hf_' in value]\n{DONE}")
    assert found == {"found": []}


def test_a_broken_file_is_one_sentence_without_folders_through_the_process(tmp_path):
    (tmp_path / "a.edf").write_bytes(b"0       " + b"x" * 600)
    with pytest.raises(Refusal) as refused:
        run_limited("brainbert.hub_upload.space.preparation", TASK | {"file": "a.edf"}, tmp_path)
    assert "'a.edf' cannot be read as EDF" in str(refused.value)
    assert str(tmp_path) not in str(refused.value)


def test_a_wrong_unit_is_pointed_out_and_can_be_corrected(tmp_path):
    task = brainvision(tmp_path)
    header = (tmp_path / "a.vhdr").read_text(encoding="utf-8")
    (tmp_path / "a.vhdr").write_text(header.replace(",0.1,µV", ",100,µV"), encoding="utf-8")
    assert any("correct it under “Unit”" in note for note in prepare(task, tmp_path)["notes"])
    found = prepare(task | {"unit": "nV"}, tmp_path)
    assert found["sd_uv"]["LA1"] == pytest.approx(30, rel=0.05)


def test_channels_that_are_no_contacts_are_left_out_with_a_note(tmp_path):
    task = brainvision(tmp_path)
    header = (tmp_path / "a.vhdr").read_text(encoding="utf-8")
    (tmp_path / "a.vhdr").write_text(header.replace("LA3", "ECG"), encoding="utf-8")
    found = prepare(task, tmp_path)
    assert found["contacts"] == ["LA1", "LA2"]
    assert found["notes"][0] == (
        "Contacts were guessed from their names. 1 other channel was left out. Name others under “Channels” to choose "
        "yourself."
    )
    assert prepare(task | {"channels": ["LA1", "ECG"]}, tmp_path)["contacts"] == ["LA1", "ECG"]
