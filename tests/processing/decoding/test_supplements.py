"""Fewer labels, layers, best contacts and dimension agree with what they are made of."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from brainbert.processing.decoding import Labels, blocked, make_epochs, make_task
from brainbert.processing.decoding.bootstrap import bootstrap, interval
from brainbert.processing.decoding.metrics import score, unit_sums
from brainbert.processing.decoding.out_of_fold import out_of_fold
from brainbert.processing.decoding.supplements import (
    MOST_CONTACTS,
    best_together,
    dimension_by_region,
    layer_by_layer,
    learning_from_few,
)
from brainbert.processing.decoding.systems import control_features, embeddings


@pytest.fixture(scope="module")
def task(planted, second_by_second):
    """60 seconds and three contacts, of which LA2 has the value of each in its 60–90 Hz."""
    target = np.random.default_rng(3).standard_normal(60)
    recordings = [planted(6 * np.exp(0.5 * target), contacts=3, at=("LA2",))]
    windows = second_by_second(recordings, [target])
    return make_task(recordings, windows, partial(blocked, folds=2, embargo_s=0.0), progress=False)


def features_of(task, contacts=3):
    """Features of which the first is the target at the last contact, and noise at the others."""
    features = np.random.default_rng(0).standard_normal((contacts, len(task.epochs), 2)).astype(np.float32)
    features[-1, :, 0] = task.epochs.target
    return features


def test_sizes_are_round_numbers_that_every_fold_has(task):
    found = learning_from_few(task, {"pretrained": features_of(task)}, seed=0, jobs=1)
    assert (found["sizes"], found["seeds"], found["contacts"]) == ([10, 20], 3, 3)
    curve = found["systems"]["pretrained"]
    for low, mean, high in zip(curve["low"], curve["mean"], curve["high"], strict=True):
        assert low <= mean <= high
    assert 0.15 < curve["mean"][1] < 0.6  # the mean of one contact with r = 1 and two with about 0


def test_a_fold_with_hardly_more_than_few_windows_has_no_curve(task):
    fold = task.split.folds[0]
    short = replace(task, split=replace(task.split, folds=(replace(fold, train=fold.train[:19]),)))
    assert learning_from_few(short, {"pretrained": features_of(task)}, seed=0, jobs=1) is None


def test_many_contacts_are_thinned_out_and_folds_may_have_features_of_their_own(task):
    many = features_of(task, 40)
    found = learning_from_few(task, {"pretrained": [many, many], "spectrogram": many}, seed=0, jobs=1)
    assert found["contacts"] == MOST_CONTACTS
    assert found["systems"]["pretrained"] == found["systems"]["spectrogram"]


def test_every_layer_has_the_score_that_it_has_alone(task, small_encoder):
    encoder = small_encoder()
    found = layer_by_layer(task, encoder, draws=200, seed=0, jobs=1)
    assert found["layers"] == [0, 1]
    for name, each in (("pretrained", encoder), ("untrained", encoder.untrained(0))):
        curve = found["systems"][name]
        for layer in (0, 1):
            values = embeddings(task, each, layers=[layer])[0]
            scores = out_of_fold(values, task.epochs, task.split, task.probe, progress=False)
            sums = unit_sums(task.epochs, task.split, scores)
            low, high = interval(bootstrap(sums, draws=200, seed=0).mean(axis=1), sums.units)
            assert curve["mean"][layer] == pytest.approx(score(sums).mean(), abs=1e-4)
            assert [curve["low"][layer], curve["high"][layer]] == pytest.approx([low, high], abs=1e-3)


def test_the_best_contact_is_the_one_that_responds(task, small_encoder):
    spectrogram = control_features(task, small_encoder().extractor, "band-power")[0]
    found = best_together(task, {"pretrained": spectrogram}, 1, draws=100, seed=0, jobs=1)
    assert (found["count"], found["chosen"]) == (1, {"LA2": 2})
    low, high = found["systems"]["pretrained"]["interval"]
    assert low < found["systems"]["pretrained"]["score"] < high
    assert found["systems"]["pretrained"]["score"] > 0.8


def test_dimension_is_of_windows_that_do_not_overlap(planted, small_encoder):
    recordings = [planted(np.ones(30), contacts=2, at=())]
    labels = Labels(onset_s=np.array([0.0, 29.0]), duration_s=np.array([29.0, 1.0]), values=np.array([1.0, 2.0]))
    windows = make_epochs([labels], recordings, window_s=1.0, stride_s=0.5)
    assert len(windows) == 58
    task = make_task(recordings, replace(windows, target=np.arange(58.0)), partial(blocked, folds=2), progress=False)
    rows = dimension_by_region(task, small_encoder(), {"LA2": "hippocampus"}, seed=0)
    assert [row["windows"] for row in rows] == [30] * 6
    assert [(row["contact"], row["system"]) for row in rows[:3]] == [
        ("LA1", "pretrained"),
        ("LA1", "untrained"),
        ("LA1", "spectrogram"),
    ]
    assert {row["region"] for row in rows if row["contact"] == "LA2"} == {"hippocampus"}
    assert all(1 <= row["participation_ratio"] <= 30 for row in rows)


def test_too_few_windows_have_no_dimension(planted, second_by_second, small_encoder):
    recordings = [planted(np.ones(19), contacts=1, at=())]
    windows = second_by_second(recordings, [np.arange(19.0)])
    task = make_task(recordings, windows, partial(blocked, folds=2), progress=False)
    assert dimension_by_region(task, small_encoder(), seed=0) is None
