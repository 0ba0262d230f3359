import numpy as np
import pytest

from brainbert.processing.decoding.bootstrap import bootstrap, interval, paired_difference
from brainbert.processing.decoding.metrics import UnitSums, score, unit_sums
from brainbert.processing.decoding.splits import Fold, Split


def simulated(windows_of, seed, *, units, systems=1, effect=1.0) -> list[UnitSums]:
    """Scores with an effect of the label, of the unit and of the window; units of one label, in five folds."""
    random = np.random.default_rng(seed)
    unit = np.repeat(np.arange(units), 8)
    epochs = windows_of((np.arange(units) % 2)[unit])
    tested = (np.arange(units) // 2 % 5)[unit]
    folds = tuple(Fold(np.flatnonzero(tested != k), np.flatnonzero(tested == k), str(k)) for k in np.unique(tested))
    split = Split(name="made", folds=folds, unit=unit, unit_name="group")
    shared = random.standard_normal(units)[unit] * 0.6 + effect * epochs.target
    scores = [shared + random.standard_normal((1, len(unit))) for _ in range(systems)]
    return [unit_sums(epochs, split, each[..., None]) for each in scores]


def test_equal_seeds_draw_equal_units_for_every_system(windows_of):
    one, two = simulated(windows_of, 0, units=20, systems=2)
    assert (bootstrap(one, draws=50, seed=3) == bootstrap(one, draws=50, seed=3)).all()
    assert not (bootstrap(one, draws=50, seed=3) == bootstrap(one, draws=50, seed=4)).all()
    # What systems share varies with the units of both: a difference is surer than its parts.
    a, b = bootstrap(one), bootstrap(two)
    assert (a - b).std() < 0.7 * np.sqrt(a.var() + b.var())


def test_an_interval_of_many_units_is_the_percentile_interval():
    draws = np.random.default_rng(0).standard_normal((20000, 3))
    np.testing.assert_allclose(interval(draws, 10**6), np.quantile(draws, [0.025, 0.975], axis=0), atol=1e-3)


def test_an_interval_of_ten_units_is_wider_by_student_t_and_the_lost_degree_of_freedom():
    draws = np.random.default_rng(0).standard_normal(10**6)
    assert interval(draws, 10)[1] == pytest.approx(2.262157 * np.sqrt(10 / 9), abs=0.01)  # t of 9 degrees from a table


def test_one_unit_is_refused():
    with pytest.raises(ValueError, match="two are the least"):
        interval(np.zeros(10), 1)


@pytest.mark.parametrize("units", [10, 20])
def test_intervals_hold_the_truth_about_19_times_of_20(windows_of, units):
    # Truth: the mean of 600 simulations. Coverage that was measured is in the head of bootstrap.py.
    truth = np.mean([score(simulated(windows_of, 10**6 + seed, units=units)[0]) for seed in range(600)])
    held = []
    for seed in range(200):
        sums = simulated(windows_of, seed, units=units)[0]
        low, high = interval(bootstrap(sums, draws=400, seed=seed), units)
        held.append(low[0] <= truth <= high[0])
    assert np.mean(held) > 0.95 - 2 * np.sqrt(0.95 * 0.05 / 200)


def test_a_difference_of_equal_systems_is_seldom_called_one(windows_of):
    found = []
    for seed in range(150):
        sums = simulated(windows_of, seed, units=20, systems=2)
        scores, draws = [score(each) for each in sums], [bootstrap(each, draws=300, seed=seed) for each in sums]
        found.append(paired_difference(tuple(scores), tuple(draws), 20))
    excluded = np.array([each.interval[0] > 0 or each.interval[1] < 0 for each in found])
    assert excluded.mean() <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 150)
    # p and interval say the same but where p is within what 300 draws can tell from .05.
    p = np.array([each.p for each in found])
    assert (excluded == (p < 0.05))[np.abs(p - 0.05) > 0.02].all()


def test_a_difference_is_over_the_contacts_that_both_systems_have():
    draws = np.random.default_rng(0).standard_normal((2, 500, 3)) * 0.01
    scores = np.array([0.9, 0.8, np.nan]), np.array([0.6, np.nan, 0.5])
    draws = tuple(each + of for each, of in zip(draws, scores, strict=True))
    found = paired_difference(scores, draws, 30)
    assert found.difference == pytest.approx(0.3)
    assert 0.2 < found.interval[0] < found.interval[1] < 0.4
    assert found.p < 0.02
    with pytest.raises(ValueError, match="no contact in common"):
        paired_difference((np.array([0.9, np.nan]), np.array([np.nan, 0.5])), (draws[0][:, :2], draws[1][:, :2]), 30)
