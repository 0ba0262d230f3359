from itertools import pairwise

import numpy as np
import pytest

from brainbert.processing.decoding.few_shot import _nested, few_shot
from brainbert.processing.decoding.probes import ridge
from brainbert.processing.decoding.splits import blocked


def test_more_labelled_windows_score_better_and_the_same_again(windows_of):
    random = np.random.default_rng(0)
    epochs = windows_of(np.arange(200) // 4 % 2)
    features = random.standard_normal((2, 200, 10)).astype(np.float32)
    features[:, :, 0] += 1.5 * epochs.target
    split = blocked(epochs)
    asked = {"sizes": [6, 60], "seeds": [0, 1, 2]}
    curve = few_shot(features, epochs, split, ridge, **asked)
    assert curve.shape == (2, 3)
    assert curve[1].mean() > curve[0].mean() + 0.05
    np.testing.assert_array_equal(few_shot(features, epochs, split, ridge, **asked), curve)


def test_drawn_windows_have_the_classes_in_proportion_and_fewer_are_among_more(windows_of):
    epochs = windows_of(np.repeat([0, 1, 0, 1], [60, 20, 15, 5]))
    train = np.arange(80)  # 60 and 20
    drawn = _nested(epochs, train, [4, 8, 40, 80], 0)
    assert [np.bincount(epochs.target[rows]).tolist() for rows in drawn] == [[2, 2], [6, 2], [30, 10], [60, 20]]
    for fewer, more in pairwise(drawn):
        assert set(fewer) < set(more)


def test_a_regression_takes_any_windows(windows_of):
    random = np.random.default_rng(0)
    epochs = windows_of(random.standard_normal(100))
    features = epochs.target[None, :, None] + 0.1 * random.standard_normal((1, 100, 2))
    curve = few_shot(features.astype(np.float32), epochs, blocked(epochs), ridge, sizes=[5], seeds=[0])
    assert curve[0, 0] > 0.9


@pytest.mark.parametrize("size", [3, 1000])
def test_sizes_that_cannot_be_drawn_are_refused(windows_of, size):
    epochs = windows_of(np.arange(100) // 4 % 2)
    with pytest.raises(ValueError, match="they must be from 4, two windows a class, to"):
        few_shot(np.zeros((1, 100, 2), np.float32), epochs, blocked(epochs), ridge, sizes=[size], seeds=[0])
