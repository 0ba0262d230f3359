"""Controls are plain numbers of the same windows, in units that can be checked by hand."""

import dataclasses
from math import log

import numpy as np
import pytest
from scipy.signal import decimate

from brainbert.modeling_brainbert import BrainBertFeatureExtractor
from brainbert.processing.decoding.controls import (
    band_power_features,
    bands_within,
    spectrogram_features,
    waveform_features,
)

CONTACTS = ("A1", "A3")


@pytest.fixture
def tones(recording):
    """A1: 100 µV at 10 Hz and 50 µV at 400 Hz; A3: 20 µV at 100 Hz, with an offset of 1 mV."""
    time = np.arange(20 * 2048) / 2048
    waves = [100 * np.sin(20 * np.pi * time) + 50 * np.sin(800 * np.pi * time), 0 * time, 0 * time]
    waves[2] = 1000 + 20 * np.sin(200 * np.pi * time)
    return dataclasses.replace(recording, data=np.array(waves, dtype=np.float32), band_hz=(0.5, 1000.0))


def test_band_power_of_a_tone_is_half_its_squared_amplitude_over_the_width_of_the_band(tones, epochs_at):
    features = band_power_features([tones], epochs_at({"r1": [0, 5000]}), CONTACTS, progress=False)
    assert features.shape == (2, 2, 6)
    # Bins of 1 Hz: alpha has 5 of them (8 to 12 Hz), high gamma 80. A Hann window spreads a tone over three.
    np.testing.assert_allclose(features[0, :, 2], log(100**2 / 2 / 5), atol=1e-3)
    np.testing.assert_allclose(features[1, :, 5], log(20**2 / 2 / 80), atol=1e-3)
    assert features[1, :, 0].max() < log(1e-3)  # the offset is no delta


@pytest.mark.parametrize(
    ("band_hz", "window_s", "bands"),
    [
        ((0.5, 240.0), 5.0, ["delta", "theta", "alpha", "beta", "low gamma", "high gamma"]),
        ((0.5, 120.0), 5.0, ["delta", "theta", "alpha", "beta", "low gamma", "high gamma"]),
        ((0.5, 100.0), 5.0, ["delta", "theta", "alpha", "beta", "low gamma"]),
        ((5.0, 45.0), 5.0, ["theta", "alpha", "beta"]),
        ((0.5, 240.0), 0.2, ["theta", "alpha", "beta", "low gamma", "high gamma"]),
        (None, 5.0, ["delta", "theta", "alpha", "beta", "low gamma", "high gamma"]),
    ],
)
def test_bands_are_those_that_the_recordings_and_the_window_hold(recording, band_hz, window_s, bands):
    wide = dataclasses.replace(recording, id="r2", band_hz=(0.1, 900.0))
    found = bands_within([wide, dataclasses.replace(recording, band_hz=band_hz)], window_s=window_s)
    assert list(found) == bands
    if band_hz == (0.5, 120.0):
        assert found["high gamma"] == (70.0, 120.0)


def test_recordings_without_a_band_are_refused(recording, epochs_at):
    narrow = dataclasses.replace(recording, band_hz=(200.0, 400.0))
    with pytest.raises(ValueError, match="No band fits windows of 5 s and what the recordings were filtered to"):
        band_power_features([narrow], epochs_at({"r1": [0]}), CONTACTS, progress=False)


def test_the_waveform_is_voltage_at_500_hz_without_what_that_cannot_hold(tones, epochs_at):
    features = waveform_features([tones], epochs_at({"r1": [0]}), CONTACTS, progress=False)
    assert features.shape == (2, 1, 2500)
    time = np.arange(2500) / 500
    inside = slice(50, -50)
    np.testing.assert_allclose(features[0, 0, inside], 100 * np.sin(20 * np.pi * time)[inside], atol=0.5)
    np.testing.assert_allclose(features[1, 0].mean(), 1000, atol=0.5)


def test_another_rate_of_the_waveform_agrees_with_another_filter(recording, epochs_at):
    features = waveform_features([recording], epochs_at({"r1": [0]}), ("A1",), rate=256.0, progress=False)
    expected = decimate(recording.data[0, :10240].astype(float), 8, ftype="fir", n=400)
    assert np.corrcoef(features[0, 0], expected)[0, 1] > 0.999


def test_a_slow_recording_keeps_its_waveform(recording, epochs_at):
    epochs = dataclasses.replace(epochs_at({"r1": [0]}, length=2048), sampling_rate=399.61)
    slow = dataclasses.replace(recording, sampling_rate=399.61)
    features = waveform_features([slow], epochs, ("A3",), progress=False)
    np.testing.assert_array_equal(features[0, 0], recording.data[2, :2048])


@pytest.mark.parametrize("variant", ["training", "no_boundary"])
def test_the_spectrogram_is_the_log_of_the_extractors_magnitude_averaged_over_time(recording, epochs_at, variant):
    extractor = BrainBertFeatureExtractor(variant=variant, normalization="recording")
    epochs = epochs_at({"r1": [0, 10240]})
    frames = extractor.num_frames(10240)
    magnitude = extractor.spectrogram(recording.data[2, 10240:20480], sampling_rate=2048)[0].numpy()
    whole = spectrogram_features([recording], epochs, CONTACTS, extractor, progress=False)
    assert whole.shape == (2, 2, 40)
    np.testing.assert_allclose(whole[1, 1], np.log(magnitude).mean(0), atol=1e-4)
    halves = spectrogram_features([recording], epochs, CONTACTS, extractor, segments=2, progress=False)
    expected = [np.log(magnitude[: frames // 2]).mean(0), np.log(magnitude[frames // 2 :]).mean(0)]
    np.testing.assert_allclose(halves[1, 1], np.concatenate(expected), atol=1e-4)


def test_the_spectrogram_does_not_depend_on_the_encoders_scale_and_normalisation(recording, epochs_at):
    epochs = epochs_at({"r1": [0]})
    corpus = {"normalization": "corpus", "mean": [0.0] * 40, "std": [1.0] * 40}
    extractors = [BrainBertFeatureExtractor(), BrainBertFeatureExtractor(scale="log", **corpus)]
    clip, log_corpus = (
        spectrogram_features([recording], epochs, CONTACTS, each, progress=False) for each in extractors
    )
    np.testing.assert_array_equal(clip, log_corpus)
    assert [(each.scale, each.normalization) for each in extractors] == [("linear", "clip"), ("log", "corpus")]


def test_more_segments_than_frames_are_refused(recording, epochs_at):
    with pytest.raises(ValueError, match="segments is 187 and a window has 186 frames"):
        spectrogram_features(
            [recording], epochs_at({"r1": [0]}), CONTACTS, BrainBertFeatureExtractor(), segments=187, progress=False
        )
