"""Every contact and fold has a model, which is kept, and never sees what it is tested on."""

import dataclasses
import gc
import json
from functools import partial

import numpy as np
import pytest
from accelerate import Accelerator

from brainbert.modeling_brainbert import (
    BrainBertConfig,
    BrainBertFeatureExtractor,
    BrainBertForSequenceClassification,
)
from brainbert.processing.decoding import Encoder, make_task
from brainbert.processing.decoding.epochs import Epochs
from brainbert.processing.decoding.finetuned import encoder_inputs, finetuned_scores
from brainbert.processing.decoding.finetuning import Recipe
from brainbert.processing.decoding.metrics import score, unit_sums
from brainbert.processing.decoding.splits import blocked

RECIPE = Recipe(steps=30, batch_size=16, head_learning_rate=3e-3, encoder_learning_rate=1e-3, validate_every=10)


@pytest.fixture(scope="module")
def epochs():
    """200 windows of 1 s, one every 2 s, of two classes."""
    target = np.random.default_rng(0).permutation(np.arange(200) % 2)
    return Epochs(
        recordings=("r",),
        recording=np.zeros(200, dtype=np.int64),
        subjects=("s",),
        subject=np.zeros(200, dtype=np.int64),
        start=np.arange(200) * 4096,
        length=2048,
        sampling_rate=2048.0,
        target=target,
        classes=("rest", "move"),
    )


@pytest.fixture(scope="module")
def images(epochs):
    """(2 contacts, 200 windows, 12 frames, 8 bins) of noise; in the first contact a bin is higher during "move"."""
    images = np.random.default_rng(1).standard_normal((2, 200, 12, 8)).astype(np.float32)
    images[0, :, :, 3] += epochs.target[:, None]
    return images


@pytest.fixture(scope="module")
def split(epochs):
    return blocked(epochs, folds=2)


@pytest.fixture(scope="module")
def accelerator():
    gc.freeze()  # Accelerate collects garbage after each model, which takes long where much was imported
    yield Accelerator(cpu=True)
    gc.unfreeze()


@pytest.fixture
def run(epochs, images, split, accelerator):
    config = BrainBertConfig(
        num_frequency_bins=8, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64
    )

    def run(*, images=images, epochs=epochs, contacts=("A1", "A2"), recipe=RECIPE, outputs=2, stop_after=99, **folder):
        run.models = 0

        def make_model():
            if run.models >= stop_after:
                raise KeyboardInterrupt
            run.models += 1
            config.num_labels = outputs
            return BrainBertForSequenceClassification(config)

        return finetuned_scores(
            make_model,
            images,
            epochs=epochs,
            split=split,
            contacts=contacts,
            accelerator=accelerator,
            recipe=recipe,
            progress=False,
            **folder,
        )

    return run


def test_a_contact_that_responds_is_decoded_and_one_that_does_not_gives_chance(run, epochs, split):
    scores, records = run()
    assert scores.shape == (2, 200, 1)
    responding, silent = score(unit_sums(epochs, split, scores))
    assert responding > 0.9
    assert abs(silent - 0.5) < 0.12  # three standard deviations of the AUROC of 200 windows under the null hypothesis
    assert [(record["contact"], record["fold"]) for record in records] == [
        ("A1", "1"),
        ("A2", "1"),
        ("A1", "2"),
        ("A2", "2"),
    ]
    assert all(record["best_step"] in (10, 20, 30) for record in records)


def test_who_is_stopped_goes_on_with_the_model_where_it_was(run, tmp_path):
    expected, records = run()
    with pytest.raises(KeyboardInterrupt):
        run(folder=tmp_path, stop_after=3)
    # Of the three models one is made to know what training starts from; what came after them was not trained.
    assert len(list(tmp_path.iterdir())) == 2
    scores, again = run(folder=tmp_path)
    assert run.models == 1 + 2
    assert np.array_equal(scores, expected)
    assert json.dumps(again) == json.dumps(records)
    run(folder=tmp_path)
    assert run.models == 1


@pytest.mark.parametrize("what", ["recipe", "seed", "targets", "images", "classes"])
def test_what_was_kept_for_something_else_is_not_used(run, epochs, images, tmp_path, what):
    few = dataclasses.replace(RECIPE, steps=1)
    run(recipe=few, folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 4
    other = {
        "recipe": {"recipe": dataclasses.replace(few, class_weights=False)},
        "seed": {"seed": 1},
        "targets": {"epochs": dataclasses.replace(epochs, target=1 - epochs.target)},
        "images": {"images": images + 1},
        "classes": {
            "outputs": 3,
            "epochs": dataclasses.replace(epochs, target=np.arange(200) % 3, classes=("a", "b", "c")),
        },
    }[what]
    run(**{"recipe": few, "folder": tmp_path, **other})
    assert len(list(tmp_path.iterdir())) == 8


def test_a_model_never_sees_the_labels_of_its_test_windows(run, epochs, split):
    test = split.folds[0].test
    target = epochs.target.copy()
    target[test] = 1 - target[test]
    scores = [run(epochs=each)[0] for each in (epochs, dataclasses.replace(epochs, target=target))]
    assert np.array_equal(scores[0][:, test], scores[1][:, test])
    assert not np.array_equal(scores[0][:, split.folds[1].test], scores[1][:, split.folds[1].test])


def test_the_scores_of_a_contact_do_not_depend_on_the_others(run, images):
    assert np.array_equal(run(images=images[1:], contacts=("A2",))[0][0], run()[0][1])


def test_windows_without_signal_are_neither_learnt_from_nor_scored(run, images, split):
    broken = images.copy()
    broken[0, [3, 150]] = np.nan
    broken[1] = np.nan
    scores, records = run(images=broken)
    assert np.flatnonzero(np.isnan(scores[0, :, 0])).tolist() == [3, 150]
    assert np.isnan(scores[1]).all()
    windows = records[0]["windows"]
    assert windows["test"] + (3 in split.folds[0].test) + (150 in split.folds[0].test) == len(split.folds[0].test)
    assert records[1]["windows"] == {"train": 0, "validation": 0, "test": 0}
    assert records[1]["best_step"] is None


def test_a_fixed_number_of_steps_needs_no_validation_windows(run, split):
    _, records = run(recipe=dataclasses.replace(RECIPE, patience=None))
    assert records[0]["windows"] == {
        "train": len(split.folds[0].train),
        "validation": 0,
        "test": len(split.folds[0].test),
    }
    assert records[0]["best_step"] == 30


def test_a_regression_has_predictions_in_the_unit_of_its_targets(run, epochs, images):
    force = 50 + 10 * images[0, :, :, 3].mean(1).astype(np.float64)
    scores, _ = run(epochs=dataclasses.replace(epochs, target=force, classes=None), outputs=1)
    assert np.corrcoef(scores[0, :, 0], force)[0, 1] > 0.8
    assert abs(scores[0].mean() - force.mean()) < 2


def test_under_recording_statistics_each_fold_has_inputs_of_its_own(recording, epochs):
    """The training windows of a fold have mean 0 and deviation 1 in every bin of every contact."""
    windows = dataclasses.replace(epochs.take(np.arange(30)), recordings=("r1",), start=np.arange(30) * 4096)
    task = make_task([recording], windows, partial(blocked, folds=2), progress=False)
    extractor = BrainBertFeatureExtractor(normalization="recording")
    extractor.minimum_recording_s = 5.0
    encoder = Encoder(model=None, extractor=extractor, pooling="mean", layer=1)
    by_fold = encoder_inputs(task, encoder)
    assert len(by_fold) == 2
    for inputs, fold in zip(by_fold, task.split.folds, strict=True):
        assert inputs.shape == (2, 30, 22, 40)
        np.testing.assert_allclose(inputs[:, fold.train].mean((1, 2)), 0, atol=1e-3)
        np.testing.assert_allclose(inputs[:, fold.train].std((1, 2)), 1, atol=1e-3)
    whole = encoder_inputs(task, dataclasses.replace(encoder, statistics="whole recording"))
    by_clip = encoder_inputs(task, dataclasses.replace(encoder, extractor=BrainBertFeatureExtractor()))
    assert whole.shape == by_clip.shape == (2, 30, 22, 40)
