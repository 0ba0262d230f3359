"""Every setting is measured as `decode` measures the one that it is given."""

import dataclasses
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from brainbert.modeling_brainbert import BrainBertConfig, BrainBertFeatureExtractor, BrainBertModel
from brainbert.processing.decoding import Encoder, Plan, blocked, by_recording, evaluate, make_task, settings
from brainbert.processing.decoding.protocol import frozen_scores, frozen_systems
from brainbert.processing.decoding.settings import compare_settings, inputs_of

SECOND = 2048
STARTS = list(range(0, 40 * SECOND, SECOND))


def encoder_with(seed: int = 0, **front_end: Any) -> Encoder:
    torch.manual_seed(seed)
    config = BrainBertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    extractor = BrainBertFeatureExtractor(**front_end)
    return Encoder(model=BrainBertModel(config), extractor=extractor, pooling="mean", layer=1)


@pytest.fixture
def task(recording, epochs_at, tmp_path):
    """Regression, whose probe is quick: 40 windows of 1 s side by side, and a number that says nothing."""
    epochs = epochs_at({"r1": STARTS}, length=SECOND)
    target = np.random.default_rng(1).standard_normal(len(epochs))
    windows = dataclasses.replace(epochs, target=target, classes=None)
    return make_task([recording], windows, partial(blocked, folds=2, embargo_s=0.0), cache=tmp_path, progress=False)


def named(inputs):
    return [(each.encoder.extractor.normalization, each.encoder.extractor.scale, each.as_trained) for each in inputs]


def test_the_own_input_comes_first_and_is_there_once(task):
    found = inputs_of(
        task, "m", encoder_with(), normalizations=["recording", "clip", "corpus"], scales=["linear", "log"]
    )
    assert named(found) == [
        ("clip", "linear", True),
        ("recording", "linear", False),
        ("recording", "log", False),
        ("clip", "log", False),
        ("corpus", "linear", False),
        ("corpus", "log", False),
    ]
    assert named(inputs_of(task, "m", encoder_with())) == [("clip", "linear", True)]


def test_a_corpus_that_was_not_trained_with_has_mean_and_deviation_of_all_windows(task, recording):
    (_, other) = inputs_of(task, "m", encoder_with(), normalizations=["corpus"])
    voltage = recording.data[[0, 2], : 40 * SECOND].reshape(80, SECOND)
    # Like a recording's, a corpus' magnitudes are of a voltage without offset.
    front_end = BrainBertFeatureExtractor(normalization="recording")
    frames = front_end.spectrogram(voltage, sampling_rate=2048).double().flatten(0, 1)
    np.testing.assert_allclose(other.encoder.extractor.mean, frames.mean(0), rtol=1e-5)
    np.testing.assert_allclose(other.encoder.extractor.std, frames.std(0, correction=0), rtol=1e-4)
    assert other.statistics == "all windows of this task, labels unseen"
    twisted = dataclasses.replace(task, windows=dataclasses.replace(task.windows, target=-task.windows.target))
    (_, again) = inputs_of(twisted, "m", encoder_with(), normalizations=["corpus"])
    assert again.encoder.extractor.mean == other.encoder.extractor.mean


def test_the_statistics_of_the_training_corpus_stay_with_the_scale_that_they_are_of(task):
    encoder = encoder_with(normalization="corpus", scale="log", mean=[1.0] * 40, std=[2.0] * 40)
    own, linear, clip = (
        inputs_of(task, "m", encoder, scales=["log", "linear"])
        + inputs_of(task, "m", encoder, normalizations=["clip"])[1:]
    )
    assert (own.encoder.extractor.mean, own.statistics) == ([1.0] * 40, "the training corpus")
    assert linear.encoder.extractor.mean[0] != 1.0
    assert linear.statistics == "all windows of this task, labels unseen"
    assert (clip.encoder.extractor.mean, clip.statistics) == (None, "each window")


def test_a_shorter_minimum_of_recordings_is_kept_where_the_input_changes(task):
    encoder = encoder_with()
    encoder.extractor.minimum_recording_s = 7.0
    assert inputs_of(task, "m", encoder, normalizations=["recording"])[1].encoder.extractor.minimum_recording_s == 7.0


def test_a_row_has_the_scores_and_differences_that_decoding_with_this_setting_has(task):
    encoder = encoder_with()
    found = compare_settings(task, {"m": encoder}, untrained_seeds=2, draws=200, seed=3)
    plan = Plan(controls=("spectrogram", "spectrogram-time", "band-power"), untrained_seeds=2, draws=200, seed=3)
    scores = frozen_scores(task, frozen_systems(task, encoder, plan), plan)
    expected = evaluate(scores, task.epochs, task.split, contacts=("A1", "A3"), draws=200, seed=3)
    systems = {system["name"]: system for system in expected["systems"]}
    differences = {entry["control"]: entry for entry in expected["differences"]}
    (row,) = [row for row in found["rows"] if (row["pooling"], row["layer"]) == ("mean", 1)]
    for name in ("pretrained", "untrained"):
        assert row[name]["score"] == pytest.approx(systems[name]["score"], abs=1e-6)
        np.testing.assert_allclose(row[name]["interval"], systems[name]["interval"], atol=1e-6)
    np.testing.assert_allclose(row["untrained"]["seeds"], systems["untrained"]["seeds"], atol=1e-6)
    best = max(found["controls"], key=lambda entry: entry["score"])["name"]
    assert found["best_control"] == best
    for name, control in (("difference", "untrained"), ("over_control", best)):
        assert row[name]["difference"] == pytest.approx(differences[control]["difference"], abs=1e-6)
        np.testing.assert_allclose(row[name]["interval"], differences[control]["interval"], atol=1e-6)
    largest = found["rows"][found["largest"]["score"]]["pretrained"]["score"]
    assert largest == max(each["pretrained"]["score"] for each in found["rows"])
    assert [entry["name"] for entry in found["controls"]] == ["spectrogram", "spectrogram-time", "band-power"]


def test_all_layers_of_a_model_pooling_and_input_come_from_one_pass(task, monkeypatch):
    passes = []

    def counted(task, encoder, *, layers):
        passes.append((encoder.extractor.scale, encoder.pooling, tuple(layers)))
        return embeddings(task, encoder, layers=layers)

    embeddings = settings.embeddings
    monkeypatch.setattr(settings, "embeddings", counted)
    compare_settings(task, {"m": encoder_with()}, scales=["log"], controls=["band-power"], draws=20)
    # Each twice: pretrained, and its twin.
    both = [(scale, pooling, (0, 1)) for scale in ("linear", "log") for pooling in ("center", "mean")]
    assert passes == [each for each in both for _ in range(2)]


def test_recordings_without_enough_signal_are_refused_before_anything_is_embedded(task, monkeypatch):
    def fail(*_, **__):
        raise AssertionError("embedded first")

    monkeypatch.setattr(settings, "embeddings", fail)
    with pytest.raises(ValueError, match=r"Contact A1 of recording r1 has \d+ s of good signal .* they need 60 s"):
        compare_settings(task, {"m": encoder_with()}, normalizations=["recording"], controls=["band-power"], draws=20)


def test_an_input_says_that_statistics_of_the_recording_erase_labels_that_are_constant_in_it(recording, epochs_at):
    other, third, fourth = (dataclasses.replace(recording, id=name) for name in ("r2", "r3", "r4"))
    epochs = epochs_at(dict.fromkeys(("r1", "r2", "r3", "r4"), STARTS[:12]), length=SECOND)
    windows = dataclasses.replace(epochs, target=epochs.recording.astype(float), classes=None)
    recordings = [recording, other, third, fourth]
    task = make_task(recordings, windows, partial(by_recording, folds=2), progress=False)
    encoder = encoder_with()
    encoder.extractor.minimum_recording_s = 5.0
    found = compare_settings(
        task, {"m": encoder}, normalizations=["recording"], poolings=["mean"], controls=["band-power"], draws=20
    )
    own, by_recordings = found["inputs"]
    assert own["warnings"] == []
    assert by_recordings["warnings"][0].startswith("Labels are constant within each recording")
    assert by_recordings["statistics"] == "the contact's training windows"


def test_models_with_other_front_ends_are_refused_but_not_those_of_another_scale(task):
    encoders = {"a": encoder_with(), "b": encoder_with(variant="demo")}
    with pytest.raises(
        ValueError, match=r"different front ends.* compare those with the same .*a: stft-training-2048Hz"
    ):
        compare_settings(task, encoders)
    found = compare_settings(
        task,
        {"a": encoder_with(), "b": encoder_with(scale="log")},
        poolings=["mean"],
        controls=["band-power"],
        draws=20,
    )
    assert [(each["model"], each["scale"]) for each in found["inputs"]] == [("a", "linear"), ("b", "log")]


@pytest.mark.parametrize("nothing", [{"poolings": []}, {"controls": []}, {"untrained_seeds": 0}])
def test_nothing_to_compare_with_is_refused(task, nothing):
    with pytest.raises(ValueError, match="give at least one of each"):
        compare_settings(task, {"m": encoder_with()}, **nothing)
