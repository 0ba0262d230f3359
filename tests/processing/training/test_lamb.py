import subprocess
import sys

import pytest
import torch
import torch_optimizer
from torch import nn

from brainbert.processing.training import Lamb

STEPS = 20


def network() -> nn.Module:
    """Weights of several shapes: matrices, vectors, a scalar, zeros, and norms above 10."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 40), nn.LayerNorm(40), nn.Linear(40, 3))
    model.scale = nn.Parameter(torch.tensor(0.5))
    with torch.no_grad():
        model[0].weight.mul_(20)  # norm 69: beyond the clamp
        model[2].weight.zero_()  # norm 0: no trust ratio
    return model


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = STEPS, first: int = 0) -> None:
    for step in range(first, first + steps):
        generator = torch.Generator().manual_seed(step)
        loss = (model(torch.randn(8, 6, generator=generator)) * model.scale - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("learning_rate", [1e-4, 1e-2])
def test_steps_are_those_of_the_optimiser_that_the_original_used(learning_rate, weight_decay):
    ours, theirs = network(), network()
    train(ours, Lamb(ours.parameters(), learning_rate, weight_decay=weight_decay))
    train(theirs, torch_optimizer.Lamb(theirs.parameters(), learning_rate, weight_decay=weight_decay))
    for mine, other, start in zip(ours.parameters(), theirs.parameters(), network().parameters(), strict=True):
        assert not torch.equal(mine, start)
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-8)


def test_one_weight_at_a_time_and_all_together_take_the_same_steps():
    # The first is the way on a CPU, the second that on a GPU.
    apart, together = network(), network()
    for model in (apart, together):
        optimizer = Lamb(model.parameters(), 1e-2, weight_decay=0.1)
        train(model, optimizer, 2)
        (model(torch.ones(8, 6)) * model.scale).square().mean().backward()
        weights = list(model.parameters())
        with torch.no_grad():
            for part in [weights] if model is together else [[weight] for weight in weights]:
                optimizer.step_together(part, optimizer.param_groups[0])
    assert all(map(torch.equal, apart.parameters(), together.parameters()))


# Each of two processes holds half of the rows of every weight: a step must use the norms of whole weights.
SHARDED = """
import sys
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from brainbert.processing.training.lamb import Lamb

torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=int(sys.argv[2]), world_size=2)
assert dist.get_world_size() == 2


def trained(together, shard):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.LayerNorm(7), nn.Linear(7, 1))
    if shard:
        fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
        assert model[0].weight.to_local().shape[0] < 7
    optimizer = Lamb(model.parameters(), 1e-2, weight_decay=0.01)
    for step in range(6):
        optimizer.zero_grad()
        model(torch.randn(8, 5, generator=torch.Generator().manual_seed(step))).square().mean().backward()
        if together and step:  # the way on a GPU
            with torch.no_grad():
                optimizer.step_together(list(model.parameters()), optimizer.param_groups[0])
        else:
            optimizer.step()
    return [weight.full_tensor() if shard else weight.detach() for weight in model.parameters()]


for together in (False, True):
    for sharded, whole in zip(trained(together, True), trained(together, False), strict=True):
        torch.testing.assert_close(sharded, whole, rtol=1e-6, atol=1e-7)
dist.barrier()
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_sharded_weights_take_the_steps_of_whole_ones(tmp_path):
    command = [sys.executable, "-W", "ignore", "-c", SHARDED, tmp_path / "meeting"]
    processes = [subprocess.Popen([*command, str(rank)], stderr=subprocess.PIPE, text=True) for rank in range(2)]
    try:
        said = [process.communicate(timeout=120)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], said


def test_the_first_step_by_hand():
    # One weight of 3 with a gradient of 4: the mean of gradients is .1 · 4, that of their squares .001 · 16. The update
    # is .4 / (.12649 + 1e-6) = 3.1623, its norm the same, so the step has the length of the weight times the rate.
    weight = nn.Parameter(torch.tensor([3.0]))
    weight.grad = torch.tensor([4.0])
    Lamb([weight], 0.01).step()
    assert weight.item() == pytest.approx(3.0 - 0.01 * 3.0, rel=1e-6)


def test_a_resumed_optimiser_takes_the_same_steps_bit_for_bit():
    whole, half = network(), network()
    train(whole, Lamb(whole.parameters(), 1e-2))
    first = Lamb(half.parameters(), 1e-2)
    train(half, first, STEPS // 2)
    second = Lamb(half.parameters(), 1.0)
    second.load_state_dict(first.state_dict())
    train(half, second, STEPS // 2, first=STEPS // 2)
    for mine, other in zip(half.parameters(), whole.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_weights_without_gradient_are_left_alone():
    used, unused = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    used.grad = torch.ones(3)
    Lamb([used, unused], 0.1).step()
    assert torch.equal(unused, torch.ones(3))
    assert not torch.equal(used, torch.ones(3))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": -1.0}, "lr is -1.0: it must be at least 0"),
        ({"betas": (1.0, 0.9)}, r"betas are \(1.0, 0.9\): each must be at least 0 and less than 1"),
        ({"clamp": 0.0}, "clamp is 0.0: it must be above 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Lamb([nn.Parameter(torch.ones(1))], **settings)


def test_sparse_gradients_are_refused():
    table = nn.Embedding(4, 2, sparse=True)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError, match="sparse gradient"):
        Lamb(table.parameters()).step()
