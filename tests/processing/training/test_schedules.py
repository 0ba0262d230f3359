from itertools import pairwise

import pytest
import torch

from brainbert.processing.training import make_schedule


def rates(name: str, *, warmup_steps: int, total_steps: int) -> list[float]:
    """The learning rate of each step, with a peak of 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    schedule = make_schedule(name, optimizer, warmup_steps=warmup_steps, total_steps=total_steps)
    found = []
    for _ in range(total_steps):
        found.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize("name", ["hundredths", "cosine", "constant"])
def test_warm_up_is_linear_from_0_to_the_peak(name):
    assert rates(name, warmup_steps=5, total_steps=105)[:6] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])


def test_each_hundredth_takes_one_per_cent_off():
    found = rates("hundredths", warmup_steps=25, total_steps=1025)  # a hundredth is ten steps
    assert found[25:36] == pytest.approx([1.0] * 11)
    assert found[36:46] == pytest.approx([0.99] * 10)
    assert found[46] == pytest.approx(0.99**2)
    assert found[-1] == pytest.approx(0.99**99)  # .370


def test_a_hundredth_need_not_be_whole():
    found = rates("hundredths", warmup_steps=0, total_steps=150)
    assert found[-1] == pytest.approx(0.99**98)
    assert all(0.98 <= later / earlier <= 1 for earlier, later in pairwise(found))


def test_cosine_ends_at_0_and_passes_the_middle_at_half():
    found = rates("cosine", warmup_steps=0, total_steps=100)
    assert found[50] == pytest.approx(0.5)
    assert found[-1] == pytest.approx(0.000247, abs=1e-6)  # half of 1 − cos(π / 100)


def test_constant_stays():
    assert rates("constant", warmup_steps=2, total_steps=10)[2:] == [1.0] * 8


@pytest.mark.parametrize("warmup_steps", [-1, 10])
def test_a_warm_up_that_leaves_no_step_is_refused(warmup_steps):
    with pytest.raises(ValueError, match=f"warmup_steps is {warmup_steps} and total_steps 10"):
        rates("cosine", warmup_steps=warmup_steps, total_steps=10)


def test_an_unknown_schedule_is_refused():
    with pytest.raises(ValueError, match="There is no schedule 'linear': choose hundredths, cosine or constant"):
        rates("linear", warmup_steps=0, total_steps=10)
