"""What is decoded is what the encoder gives for each window alone."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from brainbert.modeling_brainbert import BrainBertFeatureExtractor, BrainBertModel
from brainbert.processing.decoding import embed_recording, weights_sha256
from brainbert.processing.decoding.encoder_features import embedding_features, input_features, untrained_twin
from brainbert.processing.decoding.fold_statistics import training_statistics, window_moments
from brainbert.processing.decoding.signals import contacts_of

TINY = Path(__file__).parents[2] / "fixtures" / "tiny"
SIDE_BY_SIDE = list(range(0, 14 * 10240, 10240))
CONTACTS = ("A1", "A3")


@pytest.fixture
def model():
    return BrainBertModel.from_pretrained(TINY)


def embedded(recording, model, extractor, **settings):
    """(contacts, windows, hidden) of embed_recording."""
    table = embed_recording(recording, model, extractor, progress=False, **settings)
    values = np.array(table["embedding"].to_pylist(), dtype=np.float32)
    return values.reshape(-1, len(recording.good), values.shape[1]).swapaxes(0, 1)


@pytest.mark.parametrize("pooling", ["center", "mean"])
def test_all_layers_in_one_pass_are_those_of_embed_recording(recording, epochs_at, model, pooling):
    extractor = BrainBertFeatureExtractor(normalization="corpus", scale="log", mean=[1.0] * 40, std=[2.0] * 40)
    epochs = epochs_at({"r1": [0, 5120, 10240]})
    recording = dataclasses.replace(recording, data=recording.data[:, :20480])
    settings = {"pooling": pooling, "progress": False}
    features = embedding_features([recording], epochs, CONTACTS, model, extractor, layers=(0, 1, -1), **settings)
    assert (features.shape, features.dtype) == ((3, 2, 3, 24), np.float32)
    for index, layer in enumerate((0, 1, 2)):
        expected = embedded(recording, model, extractor, stride_s=2.5, pooling=pooling, layer=layer)
        np.testing.assert_allclose(features[index], expected, atol=1e-5)
        alone = embedding_features([recording], epochs, CONTACTS, model, extractor, layers=[layer], **settings)
        np.testing.assert_allclose(alone[0], expected, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("pooling", ["center", "mean"])
def test_a_shorter_window_has_the_embedding_of_that_window_alone_and_padded(recording, epochs_at, model, pooling):
    extractor = BrainBertFeatureExtractor()
    epochs = epochs_at({"r1": [3000, 9000]}, length=4096)
    features = embedding_features([recording], epochs, ("A3",), model, extractor, pooling=pooling, progress=False)
    window = recording.data[2, 9000:13096]
    alone = extractor(window, sampling_rate=2048)
    np.testing.assert_allclose(features[0, 0, 1], model.embed(alone["input_values"], pooling=pooling)[0], atol=1e-5)
    padded = extractor([recording.data[0, :10240], window], sampling_rate=2048)
    assert padded["input_values"].shape[1] == 186
    embedding = model.embed(padded["input_values"], padded["attention_mask"], pooling=pooling)[1]
    np.testing.assert_allclose(features[0, 0, 1], embedding, atol=1e-5)


def test_recordings_with_other_contacts_are_pooled(recording, epochs_at, model):
    extractor = BrainBertFeatureExtractor()
    other = dataclasses.replace(recording, id="r2", contacts=("B1", "B2", "B3"), bad={}, data=recording.data[::-1])
    epochs = epochs_at({"r1": [0, 10240], "r2": [2048]})
    contacts = contacts_of([recording, other], pool=True)
    pooled = embedding_features([recording, other], epochs, contacts, model, extractor, progress=False)
    assert pooled.shape == (1, 1, 7, 24)
    windows = [recording.data[row, start : start + 10240] for start in (0, 10240) for row in (0, 2)]
    windows += [other.data[row, 2048:12288] for row in range(3)]
    with torch.no_grad():
        expected = model.embed(extractor(np.stack(windows), sampling_rate=2048)["input_values"])
    np.testing.assert_allclose(pooled[0, 0], expected, atol=1e-5)


def test_recording_normalisation_uses_the_training_windows_of_the_contact(recording, epochs_at, model):
    extractor = BrainBertFeatureExtractor(normalization="recording")
    epochs = epochs_at({"r1": SIDE_BY_SIDE})
    moments = window_moments([recording], epochs, CONTACTS, extractor, progress=False)
    statistics = training_statistics([recording], epochs, CONTACTS, extractor, moments=moments, train=np.arange(2, 14))
    features = embedding_features(
        [recording], epochs, CONTACTS, model, extractor, statistics=statistics, progress=False
    )
    image = extractor.spectrogram(recording.data[2].reshape(14, 10240)[2:], sampling_rate=2048).reshape(-1, 40)
    given = {
        "fingerprint": extractor.fingerprint,
        "mean": image.mean(0).numpy(),
        "std": image.std(0, correction=0).numpy(),
    }
    expected = embedded(recording, model, extractor, statistics={"A1": given, "A3": given})
    np.testing.assert_allclose(features[0, 1], expected[1], atol=1e-4)
    inputs = input_features([recording], epochs, CONTACTS, extractor, statistics=statistics, progress=False)
    alone = extractor(recording.data[2, :10240], sampling_rate=2048, statistics=given)["input_values"]
    np.testing.assert_allclose(inputs[1, 0], alone[0], atol=1e-4)


def test_statistics_of_the_whole_recording_are_those_of_embed_recording(recording, epochs_at, model):
    extractor = BrainBertFeatureExtractor(normalization="recording")
    epochs = epochs_at({"r1": SIDE_BY_SIDE[:3]})
    features = embedding_features(
        [recording], epochs, CONTACTS, model, extractor, statistics="whole recording", progress=False
    )
    expected = embedded(recording, model, extractor, statistics="whole recording")[:, :3]
    np.testing.assert_allclose(features[0], expected, atol=1e-4)


def test_statistics_are_asked_for_and_refused_by_name(recording, epochs_at, model):
    epochs = epochs_at({"r1": SIDE_BY_SIDE})
    by_recording = BrainBertFeatureExtractor(normalization="recording")
    with pytest.raises(ValueError, match="give the statistics of the training windows"):
        embedding_features([recording], epochs, CONTACTS, model, by_recording, progress=False)
    with pytest.raises(ValueError, match="statistics is 'test': give \"whole recording\""):
        embedding_features([recording], epochs, CONTACTS, model, by_recording, statistics="test", progress=False)
    with pytest.raises(ValueError, match='was trained with "clip": leave them out'):
        embedding_features(
            [recording],
            epochs,
            CONTACTS,
            model,
            BrainBertFeatureExtractor(),
            statistics="whole recording",
            progress=False,
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": (0, 3)}, r"layers are \[0, 3\] and this model has 2: choose from 0 to 2"),
        ({"layers": ()}, r"layers are \[\]"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"pooling": "frames"}, "pooling is 'frames': choose center or mean"),
    ],
)
def test_what_the_model_does_not_have_is_refused(recording, epochs_at, model, settings, message):
    with pytest.raises(ValueError, match=message):
        embedding_features(
            [recording],
            epochs_at({"r1": [0]}),
            CONTACTS,
            model,
            BrainBertFeatureExtractor(),
            progress=False,
            **settings,
        )


def test_other_weights_are_other_files(recording, epochs_at, model, tmp_path):
    epochs, extractor = epochs_at({"r1": [0, 10240]}), BrainBertFeatureExtractor()
    settings = {"cache": tmp_path, "progress": False}
    pretrained = embedding_features([recording], epochs, CONTACTS, model, extractor, **settings)
    twin = embedding_features([recording], epochs, CONTACTS, untrained_twin(model, 0), extractor, **settings)
    again = embedding_features([recording], epochs, CONTACTS, untrained_twin(model, 0), extractor, **settings)
    assert len(list(tmp_path.glob("embeddings-*.npy"))) == 2
    np.testing.assert_array_equal(again, twin)
    assert not np.allclose(pretrained, twin)


def test_an_untrained_twin_is_the_same_for_a_seed_and_draws_nothing_from_the_global_generator(model):
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    twins = [untrained_twin(model, seed) for seed in (0, 0, 1)]
    assert torch.equal(torch.random.get_rng_state(), state)
    first, same, other = map(weights_sha256, twins)
    assert first == same != other
    assert weights_sha256(model) not in (first, other)
    assert not twins[0].training
    assert twins[0].config.to_dict() == model.config.to_dict()
    assert twins[0].embeddings.layer_norm.weight.unique().tolist() == [1.0]  # initialised, not empty memory


def test_inputs_are_what_the_extractor_gives_and_nan_without_signal(recording, epochs_at):
    data = recording.data.copy()
    data[0, :10240] = 0
    recording = dataclasses.replace(recording, data=data)
    extractor = BrainBertFeatureExtractor()
    inputs = input_features([recording], epochs_at({"r1": [0, 10240]}), CONTACTS, extractor, progress=False)
    assert inputs.shape == (2, 2, 186, 40)
    expected = extractor(data[2, 10240:20480], sampling_rate=2048)["input_values"][0]
    np.testing.assert_allclose(inputs[1, 1], expected, atol=1e-5)
    assert np.isnan(inputs[0, 0]).all()
    assert np.isfinite(inputs[0, 1]).all()
