"""Random numbers by counting: whose they are, what they depend on, and how they are spread."""

import numpy as np
import pytest
import torch

from brainbert.processing.training.draws import below, chance, draw, failures
from brainbert.processing.training.masks import mask_seeds


def seeds(rows):
    return mask_seeds(torch.arange(rows), seed=0, epoch=0)


def test_numbers_are_those_of_splitmix64():
    # The first outputs of the published generator for the state 1234567, from its reference implementation.
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    upper, middle = draw(torch.tensor([1234567]), 3, streams=1)
    assert upper.tolist() == [[number >> 40 for number in published]]
    assert middle.tolist() == [[number >> 16 & 0xFFFFFF for number in published]]


def test_a_number_depends_on_seed_stream_and_column_alone():
    every = draw(seeds(8), 100, streams=2)
    fewer = draw(seeds(8)[[5, 2]], 30, streams=1)
    for some, all_of_them in zip(fewer, every, strict=False):
        assert torch.equal(some, all_of_them[[5, 2], :30])


def test_numbers_are_uniform_and_independent():
    drawn = torch.stack(draw(seeds(1000), 100, streams=2)).double() / 2**24
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert drawn.mean().item() == pytest.approx(0.5, abs=4 * (1 / 12 / drawn.numel()) ** 0.5)
    counts = torch.histc(drawn.float(), 20, 0, 1)
    expected = drawn.numel() / 20
    assert ((counts - expected) ** 2 / expected).sum() < 44  # χ² with 19 degrees of freedom, p = .001
    neighbours = [(drawn[:, :, :-1], drawn[:, :, 1:]), (drawn[:, :-1], drawn[:, 1:])]
    for first, second in [(drawn[i], drawn[j]) for i in range(4) for j in range(i)] + neighbours:
        correlation = np.corrcoef(first.flatten(), second.flatten())[0, 1]
        assert abs(correlation) < 4 / first.numel() ** 0.5


def test_a_chance_of_a_quarter_holds_for_the_lowest_quarter_of_the_numbers():
    assert chance(torch.tensor([0, 2**22 - 1, 2**22, 2**24 - 1]), 0.25).tolist() == [True, True, False, False]


def test_integers_below_five_take_a_fifth_of_the_numbers_each():
    # 2^24 / 5 = 3355443.2
    assert below(torch.tensor([0, 3355443, 3355444, 2**24 - 1]), 5).tolist() == [0, 0, 1, 4]


@pytest.mark.parametrize("probability", [1e-4, 0.05, 0.1, 0.5, 1.0])
def test_failures_before_the_first_success_are_counted_exactly(probability):
    # A number u fails j times or more if u < (1 − p)^j: among all 2^24 numbers, a whole count of them, for each j.
    counts = torch.bincount(failures(torch.arange(2**24), probability, most=50), minlength=51)
    at_least = [round((1 - probability) ** j * 2**24) for j in range(51)]
    assert counts.flip(0).cumsum(0).flip(0).tolist() == at_least
