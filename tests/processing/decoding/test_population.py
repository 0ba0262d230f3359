"""The head equals scikit-learn's on the features themselves, and regions are means of their contacts."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from brainbert.processing.decoding import population
from brainbert.processing.decoding.population import (
    SessionFeatures,
    common_regions,
    fit_head,
    flattened,
    same_contacts,
)


def made(windows, features, *, seed=0, contacts=3):
    """Features (contacts, windows, features) of which a few tell two classes apart, and the classes."""
    random = np.random.default_rng(seed)
    label = np.arange(windows) % 2
    values = random.standard_normal((contacts, windows, features)).astype(np.float32)
    values[0, :, :3] += 0.4 * label[:, None]
    values *= random.uniform(0.1, 100, features).astype(np.float32)
    names = tuple(f"A{number}" for number in range(1, contacts + 1))
    return SessionFeatures(contacts=names, start=10 * np.arange(windows), values=values), label


def correlated(session, *, directions=20, seed=1):
    """The same windows with features that are mostly mixtures of a few, as those of neighbouring frames are."""
    random = np.random.default_rng(seed)
    contacts, windows, features = session.values.shape
    latent = random.standard_normal((windows, directions)) / np.arange(1, directions + 1)
    mixed = np.einsum("wd,dcf->cwf", latent, random.standard_normal((directions, contacts, features)))
    return replace(session, values=(0.3 * session.values / session.values.std(1, keepdims=True) + mixed).astype("f4"))


def theirs(train_x, train_y, test_x):
    """Probabilities of the package's example: standardise, fit, on the features themselves."""
    scaler = StandardScaler().fit(train_x)
    train_x, test_x = (scaler.transform(each).astype(float) for each in (train_x, test_x))
    head = LogisticRegression(random_state=42, max_iter=10_000, tol=1e-3).fit(train_x, train_y)
    return head.predict_proba(test_x)[:, 1]


def both(features, *, windows=120, changed=lambda session: session, **how):
    """Probabilities of ours and theirs for the last third of the windows."""
    session, label = made(windows, features)
    session = changed(session)
    rows, first = np.arange(windows), 2 * windows // 3
    flat = session.values.transpose(1, 0, 2).reshape(windows, -1)

    def blocks():
        return flattened((session, rows[:first]), (session, rows[first:]), same_contacts(session, session))

    scores, ours = fit_head(blocks, label[:first], label[first:], features=3 * features, **how)
    expected = theirs(flat[:first], label[:first], flat[first:])
    assert scores.test_roc_auc == pytest.approx(roc_auc_score(label[first:], ours))
    assert scores.test_accuracy == pytest.approx(((ours > 0.5) == label[first:]).mean())
    return ours, expected, scores, roc_auc_score(label[first:], expected)


@pytest.mark.parametrize("features", [7, 27, 2000])  # 21, 81 and 6000 for 80 training windows
def test_probabilities_are_those_of_the_regression_on_the_features(features):
    ours, expected, scores, auroc = both(features)
    np.testing.assert_allclose(ours, expected, atol=1e-5)
    assert scores.test_roc_auc == pytest.approx(auroc, abs=1e-9)


def test_a_sample_of_one_feature_in_two_hundred_stops_the_solver_where_all_features_do(monkeypatch):
    monkeypatch.setattr(population, "SAMPLE", 30)
    ours, expected, scores, auroc = both(2000)
    np.testing.assert_allclose(ours, expected, atol=1e-5)
    assert scores.test_roc_auc == pytest.approx(auroc, abs=1e-9)


def test_where_neighbouring_features_are_alike_the_sample_is_corrected_in_a_few_passes(monkeypatch):
    monkeypatch.setattr(population, "SAMPLE", 30)
    passes = []
    monkeypatch.setattr(population, "_exceeding", partial(counted, passes, population._exceeding))
    ours, expected, scores, auroc = both(2000, windows=600, changed=correlated)
    np.testing.assert_allclose(ours, expected, atol=5e-3)  # 0.2 and more where the sample alone decides
    assert scores.test_roc_auc == pytest.approx(auroc, abs=1e-3)
    assert 2 <= len(passes) / 3 <= 10  # blocks are three


def counted(calls, function, *arguments):
    calls.append(None)
    return function(*arguments)


def test_blocks_do_not_matter(monkeypatch):
    whole = both(300)[0]
    monkeypatch.setattr(population, "BLOCK_FEATURES", 64)
    np.testing.assert_allclose(both(300)[0], whole, atol=1e-6)


def test_what_has_no_signal_is_the_mean_of_the_training_windows():
    session, label = made(60, 40)
    session.values[1, 50] = np.nan  # a test window of a contact
    session.values[2] = np.nan  # a contact without any
    rows = np.arange(60)
    blocks = list(flattened((session, rows[:40]), (session, rows[40:]), same_contacts(session, session)))
    scores, _ = fit_head(lambda: blocks, label[:40], label[40:], features=120)
    expected = session.values[:2].transpose(1, 0, 2).reshape(60, -1).copy()
    expected[50, 40:] = expected[:40, 40:].mean(0)
    blocks = [(expected[:40], expected[40:])]
    again, _ = fit_head(lambda: blocks, label[:40], label[40:], features=80)
    assert again.test_roc_auc == pytest.approx(scores.test_roc_auc)


def test_windows_are_found_by_their_first_sample_and_others_have_no_features():
    session, _ = made(5, 2)
    rows = session.rows(np.array([30, 0, 35, 40, 99]))
    assert rows.tolist() == [3, 0, -1, 4, -1]
    found = session.of([1], rows, slice(0, 2))
    np.testing.assert_array_equal(found[[0, 1, 3]], session.values[1, [3, 0, 4]])
    assert np.isnan(found[[2, 4]]).all()


def test_regions_are_those_of_both_and_means_of_contacts_that_have_signal():
    train, _ = made(4, 2)
    test, _ = made(4, 2, seed=1, contacts=2)
    of_train = {"A1": "insula", "A2": "insula", "A3": "pars"}
    groups = common_regions(train, test, of_train, {"A1": "pars", "A2": "insula"})
    assert groups == {"insula": ([0, 1], [1]), "pars": ([2], [0])}
    train.values[1, 2] = np.nan
    (block, other), _ = flattened((train, np.arange(4)), (test, np.array([0, 1])), list(groups.values()))
    np.testing.assert_allclose(block[0], train.values[:2, 0].mean(0), rtol=1e-6)
    np.testing.assert_allclose(block[2], train.values[0, 2])
    np.testing.assert_array_equal(other, test.values[1, :2])
    with pytest.raises(ValueError, match="no region in common"):
        common_regions(train, test, of_train, {"A1": "cuneus"})


def test_other_contacts_and_one_class_are_refused():
    train, label = made(8, 2)
    with pytest.raises(ValueError, match="average them by region"):
        same_contacts(train, made(8, 2, contacts=2)[0])
    with pytest.raises(ValueError, match="of one class"):
        fit_head(lambda: [], label, np.zeros(4, dtype=np.int64), features=1)
