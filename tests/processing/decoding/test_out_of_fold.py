import numpy as np
import pytest
from scipy.stats import pearsonr

from brainbert.processing.decoding import out_of_fold as module
from brainbert.processing.decoding.metrics import score, unit_sums
from brainbert.processing.decoding.out_of_fold import out_of_fold
from brainbert.processing.decoding.probes import logistic, ridge
from brainbert.processing.decoding.splits import blocked, by_recording


@pytest.fixture
def study(windows_of):
    random = np.random.default_rng(0)
    epochs = windows_of(np.arange(100) // 4 % 2)
    features = random.standard_normal((3, 100, 5)).astype(np.float32)
    features[1, :, 0] += 2 * epochs.target
    return features, epochs, blocked(epochs)


def test_the_responding_contact_scores_and_the_others_do_not(study):
    features, epochs, split = study
    found = score(unit_sums(epochs, split, out_of_fold(features, epochs, split, logistic, progress=False)))
    assert found[1] > 0.85
    assert max(found[0], found[2]) < 0.7


def test_regression_reaches_the_noise_floor(windows_of):
    # y = x·w + noise of the same variance: the planted r is about sqrt(1/2). Ten seeds fell .000 to .009 short of it.
    random = np.random.default_rng(0)
    x = random.standard_normal((1, 1000, 10)).astype(np.float32)
    signal = x[0] @ np.full(10, 10**-0.5)
    epochs = windows_of(signal + random.standard_normal(1000))
    split = blocked(epochs)
    found = score(unit_sums(epochs, split, out_of_fold(x, epochs, split, ridge, progress=False)))
    assert found[0] == pytest.approx(pearsonr(signal, epochs.target)[0], abs=0.02)


@pytest.mark.slow  # of which each has to import torch
def test_the_number_of_processes_does_not_change_a_bit(study):
    one, two = (out_of_fold(*study, logistic, progress=False, jobs=jobs) for jobs in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_contacts_that_are_done_are_not_done_again(study, tmp_path, monkeypatch):
    features, epochs, split = study
    first = out_of_fold(features[:2], epochs, split, logistic, folder=tmp_path, progress=False)
    asked = []
    monkeypatch.setattr(module, "_contact_scores", lambda *rest: asked.append(1) or np.zeros((100, 1)))
    again = out_of_fold(features, epochs, split, logistic, folder=tmp_path, progress=False)
    np.testing.assert_array_equal(again[:2], first)
    assert len(asked) == 1
    for change in ({"seed": 1}, {"probe": ridge}, {"features": features + 1}):
        out_of_fold(**{"features": features, "epochs": epochs, "split": split, "probe": logistic} | change,
                    folder=tmp_path, progress=False)  # fmt: skip
    assert len(asked) == 1 + 3 * 3


def test_windows_without_signal_have_no_score_and_do_not_disturb_the_others(study):
    features, epochs, split = study
    features[0, 10:20] = np.nan
    features[2] = np.nan
    found = out_of_fold(features, epochs, split, logistic, progress=False)
    assert np.isnan(found[0, 10:20]).all()
    assert np.isfinite(np.delete(found[0], np.s_[10:20], axis=0)).all()
    assert np.isfinite(found[1]).all()
    assert np.isnan(found[2]).all()


def test_folds_may_have_features_of_their_own(study):
    features, epochs, split = study
    shared = out_of_fold(features, epochs, split, logistic, progress=False)
    own = [features if number == 0 else np.full_like(features, np.nan) for number in range(5)]
    found = out_of_fold(own, epochs, split, logistic, progress=False)
    test = split.folds[0].test
    np.testing.assert_array_equal(found[:, test], shared[:, test])
    assert np.isnan(np.delete(found, test, axis=1)).all()


def test_a_contact_without_one_class_in_training_has_no_score_in_that_fold(windows_of):
    epochs = windows_of(np.arange(40) % 2, recording=np.repeat([0, 1], 20))
    features = np.random.default_rng(0).standard_normal((1, 40, 2)).astype(np.float32)
    features[0, 1:20:2] = np.nan
    found = out_of_fold(features, epochs, by_recording(epochs, folds=None), logistic, progress=False)
    assert np.isnan(found[0, 20:]).all()


def test_features_of_other_windows_are_refused(study):
    features, epochs, split = study
    with pytest.raises(ValueError, match="give \\(contacts, 100 windows, features\\)"):
        out_of_fold(features[:, 1:], epochs, split, logistic)
    with pytest.raises(ValueError, match="2 arrays of features for 5 folds"):
        out_of_fold([features, features], epochs, split, logistic)
