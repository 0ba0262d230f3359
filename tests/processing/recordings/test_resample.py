"""Resampling: exact fractions, bounded drift, no ringing at the edges, no invented band."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from scipy.signal import firwin, resample_poly

from brainbert.processing.recordings import mark_bad, resample
from brainbert.processing.recordings.resample import Resampling, plan_resampling


@pytest.mark.parametrize(
    ("rate", "up", "down"), [(1000, 256, 125), (512, 4, 1), (5000, 256, 625), (2048, 1, 1), (256, 8, 1)]
)
def test_usual_rates_have_exact_fractions(make_recording, rate, up, down):
    result = resample(make_recording(("A1",), rate=float(rate), seconds=2))
    step = result.history[-1]
    assert (step["up"], step["down"], step["drift_samples"], step["real_rate_hz"]) == (up, down, 0.0, 2048.0)
    assert result.sampling_rate == 2048.0
    assert result.num_samples == 4096


@pytest.mark.parametrize("rate", [399.61, 999.9999, 512.03, 4999.97])
@pytest.mark.parametrize("seconds", [2, 60])
def test_odd_rates_drift_by_less_than_half_a_sample(make_recording, rate, seconds):
    result = resample(make_recording(("A1",), rate=rate, seconds=seconds))
    step = result.history[-1]
    real = rate * step["up"] / step["down"]
    assert step["real_rate_hz"] == pytest.approx(real, rel=1e-12)
    assert abs(real / 2048 - 1) <= 1e-6
    assert abs(real / 2048 - 1) * result.num_samples <= 0.5
    assert step["drift_samples"] == pytest.approx(abs(real / 2048 - 1) * seconds * 2048, abs=1e-3)


@pytest.mark.parametrize("rate", [512.0, 399.61, 5000.0])
def test_a_sine_stays_where_it_was(make_recording, rate):
    seconds = np.arange(round(20 * rate)) / rate
    sine = 100 * np.sin(2 * np.pi * 40 * seconds)
    result = resample(make_recording(("A1",), rate=rate, data=sine.astype(np.float32)[None]))
    expected = 100 * np.sin(2 * np.pi * 40 * np.arange(result.num_samples) / 2048)
    # A thousandth of the amplitude is the filter's ripple (60 dB), on top of the drift in phase.
    drift = 100 * 2 * np.pi * 40 / 2048 * result.history[-1]["drift_samples"]
    np.testing.assert_allclose(result.data[0, 1000:-1000], expected[1000:-1000], atol=0.1 + drift)


def test_an_offset_and_a_drift_do_not_ring_at_the_edges(make_recording):
    line = np.linspace(20_000, 21_000, 5120, dtype=np.float32)
    result = resample(make_recording(("A1",), data=line[None])).data[0].astype(np.float64)
    expected = 20_000 + 1000 / 5119 * np.arange(result.size) / 4
    np.testing.assert_allclose(result, expected, atol=0.01)


def test_frequencies_above_the_new_nyquist_are_stopped(make_recording):
    high = 100 * np.sin(2 * np.pi * 1200 * np.arange(25_000) / 5000)
    result = resample(make_recording(("A1",), rate=5000.0, data=high.astype(np.float32)[None]))
    assert np.abs(result.data[0, 500:-500]).max() < 0.2


def test_upsampling_does_not_widen_the_band(make_recording):
    assert resample(make_recording(("A1",), band_hz=(0.5, 150.0))).band_hz == (0.5, 150.0)
    assert resample(make_recording(("A1",))).band_hz == (0.0, pytest.approx(0.94 * 256))


def test_downsampling_narrows_the_band(make_recording):
    result = resample(make_recording(("A1",), rate=1000.0, band_hz=(0.1, 450.0)), 256.0)
    assert result.band_hz == (0.1, pytest.approx(0.94 * 128))


def test_nan_is_refused_in_good_contacts_and_stays_in_bad_ones(make_recording):
    data = make_recording(("A1", "A2")).data.copy()
    data[1, 100] = np.nan
    recording = make_recording(("A1", "A2"), data=data)
    with pytest.raises(ValueError, match=r"\['A2'\] hold NaN .* mark or fill them first: mark_bad"):
        resample(recording)
    result = resample(mark_bad(recording, ["A2"]))
    assert np.isfinite(result.data[0]).all()
    assert np.isnan(result.data[1]).all()


def test_artefacts_grow_by_half_the_filter_and_stay_in_the_recording(make_recording):
    recording = make_recording(("A1",), rate=1000.0, artefacts={"A1": ((0.0, 0.5), (9.99, 10.0))})
    up, down, same = (resample(recording, rate) for rate in (2048.0, 500.0, 1000.0))
    np.testing.assert_allclose(up.artefacts["A1"], ((0.0, 0.532), (9.958, 10.0)))
    np.testing.assert_allclose(down.artefacts["A1"], ((0.0, 0.564), (9.926, 10.0)))
    assert up.history[-1]["reach_s"] == [0.032, 0.032]
    assert same.artefacts == recording.artefacts


def test_beyond_its_reach_the_resampler_has_forgotten_a_step(make_recording):
    data = np.zeros((1, 10_000), np.float32)
    data[0, 4_000:5_000] = 5000.0
    recording = make_recording(("A1",), rate=1000.0, data=data, artefacts={"A1": ((4.0, 5.0),)})
    for rate in (2048.0, 500.0):
        result = resample(recording, rate)
        touched = np.flatnonzero(np.abs(result.data[0]) > 1e-3) / rate
        [(start, stop)] = result.artefacts["A1"]
        assert start <= touched[0] < 4.0
        assert 5.0 < touched[-1] <= stop


def test_a_rate_of_nothing_is_refused(make_recording):
    with pytest.raises(ValueError, match=r"sampling_rate is 0\.0; give a positive number of hertz"):
        resample(make_recording(("A1",)), 0.0)


@pytest.mark.parametrize(("up", "down"), [(256, 125), (5, 16), (4999, 1000), (1000, 4999)])
@pytest.mark.parametrize(("start", "stop"), [(0, None), (0, 1), (331, 602), (500, None)])
def test_a_stretch_is_that_of_scipys_polyphase_filter(make_recording, up, down, start, stop):
    recording = make_recording(("A1", "A2"), seconds=10)
    signal = recording.data.astype(np.float64)
    # Fractions up to 4096 have a table of taps, others (a day at 399.61 Hz: 204800/39961) a formula.
    taps = firwin(64 * max(up, down) + 1, 1 / max(up, down), window=("kaiser", 5.65))
    line = np.linspace(signal[:, 0], signal[:, -1], signal.shape[1], axis=-1)
    expected = resample_poly(signal - line, up, down, axis=-1, window=taps)
    slope = (signal[:, -1:] - signal[:, :1]) / (signal.shape[1] - 1)
    expected += signal[:, :1] + slope * np.arange(expected.shape[1]) * down / up
    resampling = Resampling(header=recording.header, fraction=Fraction(up, down), num_samples=recording.num_samples)
    stop = stop or expected.shape[1]
    first, last = resampling.needed(start, stop)
    found = resampling.apply(signal[:, first:last], start, stop, ends=(signal[:, 0], signal[:, -1]))
    np.testing.assert_allclose(found, expected[:, start:stop], atol=1e-8)


def test_a_stretch_of_an_hour_at_an_odd_rate_is_where_it_was(make_recording):
    recording = make_recording(("A1",), rate=399.61)
    resampling = plan_resampling(replace(recording.header, num_samples=round(3600 * 399.61)))
    assert resampling.fraction == Fraction(204800, 39961)  # 2048 / 399.61: 13 million taps
    first, last = resampling.needed(3_000_000, 3_020_000)
    sine = 100 * np.sin(2 * np.pi * 40 * np.arange(first, last) / 399.61) + 20_000
    ends = np.array([20_000.0]), np.array([20_050.0])
    found = resampling.apply(sine[None], 3_000_000, 3_020_000, ends=ends)
    expected = 100 * np.sin(2 * np.pi * 40 * np.arange(3_000_000, 3_020_000) / 2048) + 20_000
    np.testing.assert_allclose(found[0], expected, atol=0.1)  # 60 dB
