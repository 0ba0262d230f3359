"""A contact that is looked at in blocks is found to have what it has as a whole."""

import numpy as np
import pytest

from brainbert.processing.recordings import assess_quality
from brainbert.processing.recordings.inspection import SAMPLE, ContactInspector, Inspection, inspect_contact

RATE = 512.0  # held: 26 samples and more; clipped: 5 and more


def in_blocks(signal: np.ndarray, *, seed: int) -> Inspection:
    """Inspect a signal in blocks of 1 to 40 samples, so that every defect is cut somewhere."""
    inspector = ContactInspector(len(signal), RATE)
    random = np.random.default_rng(seed)
    start = 0
    while start < len(signal):
        stop = start + int(random.integers(1, 41))
        inspector.add(signal[start:stop])
        start = stop
    return inspector.finish()


@pytest.fixture
def defects(make_recording) -> dict[str, np.ndarray]:
    """Signals of 5120 samples, each with defects of one kind; all of them in the last."""
    clean = make_recording(("A1",)).data[0]
    lost, railed, gaps, flat = clean.copy(), clean.copy(), clean.copy(), np.full_like(clean, 7.0)
    lost[1000:1300], lost[3000:3026], lost[5000:] = 0.0, lost[3000], 0.0
    railed[100:104], railed[200:205], railed[2000:2100], railed[4000:4030] = 400.0, 400.0, 500.0, -500.0
    gaps[:3], gaps[50], gaps[700:900], gaps[902:904], gaps[-70:] = np.nan, np.inf, np.nan, -np.inf, np.nan
    everything = np.where(np.isfinite(gaps), np.where(lost == clean, railed, lost), gaps)
    everything[4500] = 90_000.0
    nothing = np.full_like(clean, np.nan)
    return {"lost": lost, "railed": railed, "gaps": gaps, "flat": flat, "nothing": nothing, "all": everything}


@pytest.mark.parametrize("kind", ["lost", "railed", "gaps", "flat", "nothing", "all"])
@pytest.mark.parametrize("seed", range(4))
def test_blocks_of_any_length_give_what_the_whole_gives(defects, kind, seed):
    whole, pieces = inspect_contact(defects[kind], RATE), in_blocks(defects[kind], seed=seed)
    assert pieces.findings == pytest.approx(whole.findings, rel=1e-12)
    for found, expected in (
        *zip(pieces.unusable, whole.unusable, strict=True),
        *zip(vars(pieces.gaps).values(), vars(whole.gaps).values(), strict=True),
    ):
        np.testing.assert_array_equal(found, expected)


def test_runs_of_one_value_are_found_from_50_ms_on(defects):
    found = inspect_contact(defects["lost"], RATE)
    assert [ends.tolist() for ends in found.unusable] == [[1000, 3000, 5000], [1300, 3026, 5120]]
    assert found.findings["zero_share"] == (300 + 120) / 5120
    assert found.findings["held_share"] == (300 + 26 + 120) / 5120


def test_only_runs_at_the_extremes_of_the_whole_are_clipped(defects):
    found = in_blocks(defects["railed"], seed=0)
    assert [ends.tolist() for ends in found.unusable] == [[2000, 4000], [2100, 4030]]  # at 400 µV, it was not yet known
    assert found.findings["clipped_share"] == (100 + 30) / 5120


def test_gaps_come_with_the_values_beside_them(defects):
    signal = defects["gaps"]
    gaps = in_blocks(signal, seed=0).gaps
    assert gaps.start.tolist() == [0, 50, 700, 902, 5050]
    assert gaps.stop.tolist() == [3, 51, 900, 904, 5120]
    np.testing.assert_array_equal(gaps.before, [np.nan, *signal[[49, 699, 901, 5049]]])
    np.testing.assert_array_equal(gaps.after, [*signal[[3, 51, 900, 904]], np.nan])


def test_the_standard_deviation_does_not_suffer_from_an_offset():
    signal = np.random.default_rng(0).normal(20_000, 1.0, 20_000)
    assert in_blocks(signal, seed=0).findings["sd_uv"] == pytest.approx(signal.std(), rel=1e-12)


def test_spikes_of_a_long_signal_are_counted_in_a_sample_that_line_noise_does_not_follow():
    samples = 4 * SAMPLE
    noise = np.random.default_rng(0).standard_normal(samples)
    line = 100 * np.sin(2 * np.pi * np.arange(samples) / 4)  # a stride of four would see one phase of it
    signal = (noise + line).astype(np.float32)
    signal[: samples // 10] += 50_000
    # By hand: a tenth of the samples. Binomial standard deviation of 2^18 of them: 0.0006.
    assert inspect_contact(signal, RATE).findings["spiking_share"] == pytest.approx(0.1, abs=0.002)
    assert inspect_contact(signal[samples // 10 :], RATE).findings["spiking_share"] == 0.0


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_stream_has_the_report_of_the_recording(make_recording, monkeypatch):
    names = ("A1", "A2", "A3", "A4", "A5", "A6")
    data = make_recording(names, seconds=300).data.copy()
    data[0, 1000:3000] = np.nan
    data[1, 70_000:71_000] = 0.0
    data[2] = np.clip(data[2], -60, 60)
    data[3, ::15] += 5000.0
    data[4, : 512 * 100] = np.nan
    data[5] = 7.0
    recording = make_recording(names, data=data, bad={"A2": "bad in the file"})
    monkeypatch.setattr("brainbert.processing.recordings.recording._BLOCK_VALUES", 6 * 9973)
    whole, streamed = assess_quality(recording), assess_quality(recording.with_source(recording.read))
    assert vars(streamed) == vars(whole)
    assert whole.bad == {
        "A2": "bad in the file",
        "A3": "clipped",
        "A4": "spiking",
        "A5": "not finite",
        "A6": "flat",
    }
    assert whole.artefacts["A2"] == ((70_000 / 512, 71_000 / 512),)
