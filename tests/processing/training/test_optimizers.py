import pytest
import torch

from brainbert.modeling_brainbert import BrainBertConfig, BrainBertForPreTraining
from brainbert.processing.training import Lamb, make_optimizers


@pytest.fixture
def model():
    torch.manual_seed(0)
    return BrainBertForPreTraining(BrainBertConfig.from_preset("tiny"))


def names_in(optimizer: torch.optim.Optimizer, model: torch.nn.Module) -> set[str]:
    inside = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    return {name for name, parameter in model.named_parameters() if id(parameter) in inside}


@pytest.mark.parametrize("name", ["lamb", "adamw", "muon"])
def test_every_parameter_is_in_one_optimiser(name, model):
    inside = [names_in(optimizer, model) for optimizer in make_optimizers(name, model, learning_rate=1e-3)]
    assert sum(map(len, inside)) == len(set().union(*inside)) == len(list(model.named_parameters()))


@pytest.mark.parametrize("name", ["lamb", "adamw", "muon"])
def test_only_matrices_decay(name, model):
    for optimizer in make_optimizers(name, model, learning_rate=1e-3, weight_decay=0.1):
        for group in optimizer.param_groups:
            assert {parameter.ndim >= 2 for parameter in group["params"]} <= {group["weight_decay"] == 0.1}


def test_muon_has_the_matrices_between_hidden_units(model):
    muon, adamw = make_optimizers("muon", model, learning_rate=1e-3, muon_learning_rate=0.03)
    assert isinstance(muon, torch.optim.Muon)
    assert muon.param_groups[0]["lr"] == 0.03
    assert {"brainbert.layers.1.output.weight", "reconstruction_head.dense.weight"} <= names_in(muon, model)
    assert {"brainbert.embeddings.projection.weight", "reconstruction_head.decoder.weight"} <= names_in(adamw, model)


def test_lamb_is_the_one_that_the_paper_used(model):
    (lamb,) = make_optimizers("lamb", model, learning_rate=1e-4)
    assert isinstance(lamb, Lamb)
    for group in lamb.param_groups:
        assert (group["lr"], group["betas"], group["eps"], group["weight_decay"], group["clamp"]) == (
            1e-4,
            (0.9, 0.999),
            1e-6,
            0.0,
            10.0,
        )


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_the_same_steps_give_the_same_bits(name):
    results = []
    for _ in range(2):
        torch.manual_seed(0)
        model = BrainBertForPreTraining(BrainBertConfig.from_preset("tiny"))
        optimizers = make_optimizers(name, model, learning_rate=1e-3)
        image = torch.randn(2, 20, 40)
        for _ in range(3):
            model(input_values=image, labels=image).loss.backward()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
        results.append([parameter.detach().clone() for parameter in model.parameters()])
    assert all(map(torch.equal, *results))


def test_an_unknown_optimiser_is_refused(model):
    with pytest.raises(ValueError, match="There is no optimiser 'sgd': choose lamb, adamw or muon"):
        make_optimizers("sgd", model, learning_rate=1e-3)
