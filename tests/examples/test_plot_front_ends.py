"""The picture of the front ends, and the widths that README states beside it."""

import sys
from pathlib import Path

import mne
import numpy as np
import pytest
import torch

from brainbert.modeling_brainbert import stft, superlet

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(monkeypatch, *arguments):
    monkeypatch.syspath_prepend(EXAMPLES)
    import plot_front_ends

    monkeypatch.setattr(plot_front_ends, "FINE_HZ", (50.0, 100.0, 150.0, 200.0))  # 200 of them take seconds
    monkeypatch.setattr(sys, "argv", ["plot_front_ends.py", *map(str, arguments)])
    plot_front_ends.main()


@pytest.fixture
def recording(tmp_path):
    """6 s of two contacts at 512 Hz."""
    volts = 4e-7 * np.random.default_rng(0).standard_normal((2, 6 * 512)).cumsum(1)
    info = mne.create_info(["LA1", "LA2"], 512.0, "seeg")
    path = tmp_path / "recording.edf"
    raw = mne.io.RawArray(volts, info, verbose="ERROR")
    mne.export.export_raw(path, raw, physical_range="channelwise", verbose="ERROR")
    return path


def test_a_generated_signal_is_drawn(monkeypatch, tmp_path):
    run(monkeypatch, "--out", tmp_path / "front_ends.png")
    assert (tmp_path / "front_ends.png").read_bytes().startswith(b"\x89PNG")


def test_a_contact_of_a_recording_is_drawn_and_its_file_is_not_named(monkeypatch, recording):
    run(monkeypatch, recording, "--contact", "LA2", "--start-s", 1, "--out", recording.with_name("clip.svg"))
    picture = recording.with_name("clip.svg").read_text()
    assert picture.startswith("<?xml")
    assert str(recording) not in picture


def test_a_clip_beyond_the_end_is_refused(monkeypatch, recording):
    with pytest.raises(ValueError, match=r"5 s from 2 s on are not within the recording's 6\.0 s"):
        run(monkeypatch, recording, "--start-s", 2, "--out", recording.with_name("clip.png"))


def width(magnitude, step):
    """Width of a peak at half of its height, interpolated between samples."""
    half = magnitude.max() / 2
    above = np.flatnonzero(magnitude >= half)
    first, last = above[0], above[-1]
    before = (magnitude[first] - half) / (magnitude[first] - magnitude[first - 1])
    after = (magnitude[last] - half) / (magnitude[last] - magnitude[last + 1])
    return (last - first + before + after) * step


@pytest.mark.parametrize(("hertz", "milliseconds", "hertz_wide"), [(20, 94, 8), (60, 43, 15), (150, 24, 19)])
def test_superlets_are_as_wide_as_readme_says(hertz, milliseconds, hertz_wide):
    frequencies = sorted([*np.linspace(0.1, 200, 40).tolist(), hertz])
    bin = frequencies.index(hertz)
    impulse = torch.zeros(4096, dtype=torch.float64)
    impulse[2048] = 1
    in_time = superlet(impulse, frequencies=frequencies, hop_length=1)[:, bin].numpy()
    assert 1e3 * width(in_time, 1 / 2048) == pytest.approx(milliseconds, abs=1)
    tried = torch.arange(hertz - 15, hertz + 15, 0.25, dtype=torch.float64)
    sines = torch.sin(2 * torch.pi * tried.unsqueeze(-1) * torch.arange(4096) / 2048)
    in_frequency = superlet(sines, frequencies=frequencies, hop_length=2048)[:, 1, bin].numpy()
    assert width(in_frequency, 0.25) == pytest.approx(hertz_wide, abs=0.5)


def test_the_stft_is_98_ms_and_10_hz_wide():
    impulse = torch.zeros(4096, dtype=torch.float64)
    impulse[2048] = 1
    in_time = stft(impulse, hop_length=1)[:, 12].numpy()
    assert 1e3 * width(in_time, 1 / 2048) == pytest.approx(98, abs=1)
    tried = torch.arange(46, 76, 0.25, dtype=torch.float64)
    sines = torch.sin(2 * torch.pi * tried.unsqueeze(-1) * torch.arange(4096) / 2048)
    in_frequency = stft(sines, hop_length=2048)[:, 1, 12].numpy()  # the bin at 61.44 Hz
    assert width(in_frequency, 0.25) == pytest.approx(10.24, abs=0.5)
