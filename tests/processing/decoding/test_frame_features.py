"""All frames of a window, those inside its context, and the spectrogram of the leaderboard's linear decoder."""

import numpy as np
import pytest
import scipy.signal
import torch

from brainbert.modeling_brainbert import BrainBertConfig, BrainBertFeatureExtractor, BrainBertModel
from brainbert.processing.decoding.frame_features import (
    frame_features,
    frames_inside,
    magnitude_features,
    session_epochs,
)


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    config = BrainBertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    return BrainBertModel(config).eval(), BrainBertFeatureExtractor(variant="no_boundary")


@pytest.mark.parametrize(
    ("variant", "context", "expected"),
    [
        ("training", 0, range(22)),
        ("demo", 0, range(32)),
        ("no_boundary", 0, range(34)),
        ("no_boundary", 1024, range(17, 58)),  # centres 200 + 50 k from 1024 to 3071: k = 17 … 57
        ("training", 1024, range(11, 52)),  # centres 500 + 50 k
    ],
)
def test_frames_of_the_second_are_used(variant, context, expected):
    extractor = BrainBertFeatureExtractor(variant=variant)
    assert frames_inside(extractor, length=2048 + 2 * context, context=context).tolist() == list(expected)


@torch.inference_mode()
def test_frames_are_those_of_the_model_and_their_mean(recording, encoder):
    model, extractor = encoder
    epochs = session_epochs(recording, np.array([100, 5000]), length=2048)
    arguments = ([recording.contacts[0], "A3"], model, extractor)
    frames = frame_features(recording, epochs, *arguments, features="frames", progress=False)
    voltage = recording.data[2, 5000:7048]
    hidden = model(extractor(voltage, sampling_rate=2048)["input_values"]).last_hidden_state[0].numpy()
    assert frames.shape == (2, 2, 34 * 32)
    np.testing.assert_allclose(frames[1, 1], hidden.ravel(), atol=1e-5)
    mean = frame_features(recording, epochs, *arguments, features="mean", progress=False)
    np.testing.assert_allclose(mean[1, 1], hidden.mean(0), atol=1e-5)


@torch.inference_mode()
def test_context_is_seen_and_its_frames_are_not_used(recording, encoder):
    model, extractor = encoder
    epochs = session_epochs(recording, np.array([4000]), length=4096)
    found = frame_features(recording, epochs, ["A1"], model, extractor, features="frames", context=1024, progress=False)
    whole = model(extractor(recording.data[0, 4000:8096], sampling_rate=2048)["input_values"]).last_hidden_state[0]
    np.testing.assert_allclose(found[0, 0], whole[17:58].numpy().ravel(), atol=1e-5)


def test_flat_windows_have_no_features_and_windows_outside_are_left_out(recording, encoder):
    data = recording.data.copy()
    data[0, 4096:6144] = 7
    recording = recording.with_data(data)
    start = np.array([-1, 0, 4096, recording.num_samples - 2048, recording.num_samples - 2047])
    epochs = session_epochs(recording, start, length=2048)
    assert epochs.start.tolist() == [0, 4096, recording.num_samples - 2048]
    found = frame_features(recording, epochs, ["A1", "A3"], *encoder, features="mean", progress=False)
    assert np.isnan(found[:, :, 0]).tolist() == [[False, True, False], [False, False, False]]


def test_magnitudes_are_those_of_scipy(recording, tmp_path):
    epochs = session_epochs(recording, np.array([3000]), length=2048)
    found = magnitude_features(recording, epochs, ["A3"], cache=tmp_path, progress=False)
    mirrored = np.pad(recording.data[2, 3000:5048], 256, mode="reflect")
    taper = scipy.signal.get_window("hann", 512)
    frames = np.stack([mirrored[first : first + 512] * taper for first in range(0, 2049, 128)])
    expected = np.abs(np.fft.rfft(frames))[:, :38]
    assert found.shape == (1, 1, 17 * 38)
    np.testing.assert_allclose(found[0, 0].reshape(17, 38), expected, rtol=1e-3, atol=0.05)
    assert [path.name.partition("-")[0] for path in tmp_path.glob("*.npy")] == ["magnitudes"]
