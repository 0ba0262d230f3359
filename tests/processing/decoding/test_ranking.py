import numpy as np
import pytest

from brainbert.processing.decoding.metrics import score, unit_sums
from brainbert.processing.decoding.probes import ridge  # of classes as numbers: the same direction, faster
from brainbert.processing.decoding.ranking import best_contacts, rank_contacts
from brainbert.processing.decoding.splits import blocked


@pytest.fixture
def study(windows_of):
    """Contact 2 responds, contact 0 a little, 3 has no signal."""
    random = np.random.default_rng(0)
    epochs = windows_of(np.arange(200) // 4 % 2)
    features = random.standard_normal((4, 200, 3)).astype(np.float32)
    features[2, :, 0] += 2 * epochs.target
    features[0, :, 1] += epochs.target
    features[3] = np.nan
    return features, epochs, blocked(epochs)


def test_contacts_are_ranked_by_what_they_tell_and_those_without_signal_come_last(study):
    features, epochs, split = study
    assert rank_contacts(features, epochs, split, split.folds[0], ridge).tolist() == [2, 0, 1, 3]


def test_the_test_of_a_fold_has_no_say_in_its_choice(study):
    features, epochs, split = study
    fold = split.folds[0]
    features[1, fold.test, 0] = 100 * epochs.target[fold.test]  # a contact that knows the answers of the test only
    assert rank_contacts(features, epochs, split, fold, ridge).tolist()[:2] == [2, 0]


def test_the_best_together_score_like_those_that_respond(study):
    features, epochs, split = study
    scores, chosen = best_contacts(features, epochs, split, ridge, 2)
    assert chosen.tolist() == [[2, 0]] * 5
    assert scores.shape == (1, 200, 1)
    assert score(unit_sums(epochs, split, scores))[0] > 0.9


def test_a_count_beyond_the_contacts_is_refused(study):
    features, epochs, split = study
    with pytest.raises(ValueError, match="choose from 1 to 4"):
        best_contacts(features, epochs, split, ridge, 5)
