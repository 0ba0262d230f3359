"""What is compared sees the same windows, and an encoder what suits the fold."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from brainbert.processing.decoding import CONTROLS, blocked, leave_subject_out, make_task, weights_sha256
from brainbert.processing.decoding.encoder_features import embedding_features
from brainbert.processing.decoding.fold_statistics import training_statistics, window_moments
from brainbert.processing.decoding.probes import logistic, network, ridge
from brainbert.processing.decoding.systems import control_features, embeddings


@pytest.fixture(scope="module")
def task(planted, second_by_second):
    """130 seconds of two contacts, of which LA2 has a flat one; two folds."""
    recording = planted(np.arange(130) % 2, contacts=2, at=("LA2",))
    voltage = recording.data.copy()
    voltage[1, 512 * 3 : 512 * 4] = 7.0
    recordings = [recording.with_data(voltage)]
    windows = second_by_second(recordings, [np.arange(130) // 2 % 2])
    return make_task(recordings, windows, partial(blocked, folds=2, embargo_s=0.0), progress=False)


def test_all_systems_leave_out_the_same_windows(task, small_encoder):
    encoder = small_encoder()
    of_all = [embeddings(task, encoder, layers=[1])[0]]
    of_all += [control_features(task, encoder.extractor, name)[0] for name in CONTROLS]
    for features in of_all:
        assert features.shape[:2] == (2, 130)
        assert np.argwhere(np.isnan(features).any(axis=2)).tolist() == [[1, 3]]


def test_controls_have_the_linear_probe_but_for_the_network(task, small_encoder, planted, second_by_second):
    extractor = small_encoder().extractor
    probes = {name: control_features(task, extractor, name)[1] for name in CONTROLS}
    assert probes.pop("waveform-network") is network
    assert set(probes.values()) == {logistic}
    recordings = task.recordings
    values = second_by_second(recordings, [np.linspace(0, 1, 130)])
    regression = make_task(recordings, values, partial(blocked, folds=2), progress=False)
    assert control_features(regression, extractor, "band-power")[1] is ridge
    with pytest.raises(ValueError, match="There is no control 'voltage': choose from spectrogram, spectrogram-time, "):
        control_features(task, extractor, "voltage")


def test_the_spectrogram_in_time_has_ten_parts_whose_mean_is_about_the_spectrogram(task, small_encoder):
    extractor = small_encoder().extractor
    whole, parts = (control_features(task, extractor, name)[0] for name in ("spectrogram", "spectrogram-time"))
    assert (whole.shape, parts.shape) == ((2, 130, 40), (2, 130, 400))
    frames = extractor.num_frames(512)
    sizes = [len(part) for part in np.array_split(np.arange(frames), 10)]
    mean = np.average(parts[0].reshape(130, 10, 40), axis=1, weights=sizes)
    np.testing.assert_allclose(mean, whole[0], atol=1e-4)


def test_statistics_of_the_recording_are_those_of_the_training_windows_of_each_fold(task, small_encoder):
    encoder = small_encoder(normalization="recording")
    encoder.extractor.minimum_recording_s = 30.0
    which = task.recordings, task.windows, task.contacts
    moments = window_moments(*which, encoder.extractor, problems=task.problems, progress=False)
    found = embeddings(task, encoder, layers=[0, 1])
    assert [len(of_layer) for of_layer in found] == [2, 2]
    for number, fold in enumerate(task.split.folds):
        statistics = training_statistics(*which, encoder.extractor, moments=moments, train=fold.train)
        expected = embedding_features(
            *which, encoder.model, encoder.extractor, pooling="mean", layers=[0, 1], statistics=statistics,
            problems=task.problems, progress=False,
        )  # fmt: skip
        for layer in (0, 1):
            np.testing.assert_array_equal(found[layer][number], expected[layer])
    assert not np.array_equal(found[1][0], found[1][1], equal_nan=True)
    whole = embeddings(task, replace(encoder, statistics="whole recording"), layers=[1])[0]
    assert isinstance(whole, np.ndarray)


def test_an_untrained_twin_is_the_same_in_all_but_its_weights(small_encoder):
    encoder = small_encoder()
    twin = encoder.untrained(3)
    assert (twin.pooling, twin.layer, twin.extractor) == (encoder.pooling, encoder.layer, encoder.extractor)
    assert weights_sha256(twin.model) != weights_sha256(encoder.model)
    assert weights_sha256(twin.model) == weights_sha256(encoder.untrained(3).model)
    assert weights_sha256(twin.model) != weights_sha256(encoder.untrained(4).model)
    torch.manual_seed(0)
    assert weights_sha256(encoder.untrained(3).model) == weights_sha256(twin.model)


def test_pooled_contacts_stand_side_by_side_in_the_windows_of_a_task(planted, second_by_second, small_encoder):
    target = np.arange(20) % 2
    recordings = [
        planted(target, contacts=1, at=(), name="r1", subject="s1"),
        planted(target, contacts=2, at=(), shaft="RB", name="r2", subject="s2"),
    ]
    windows = second_by_second(recordings, [target, target])
    task = make_task(recordings, windows, leave_subject_out, pool=True, progress=False)
    assert (len(task.windows), len(task.epochs)) == (40, 20 + 2 * 20)
    features = control_features(task, small_encoder().extractor, "band-power")[0]
    assert features.shape[:2] == (1, 60)
    alone = make_task(
        recordings[1:], second_by_second(recordings[1:], [target]), partial(blocked, folds=2), progress=False
    )
    of_each = control_features(alone, small_encoder().extractor, "band-power")[0]
    np.testing.assert_array_equal(features[0, 20::2], of_each[0])
    np.testing.assert_array_equal(features[0, 21::2], of_each[1])
