"""The gradients of a step are those of all its clips at once, however they are shared out."""

from contextlib import contextmanager

import pytest
import torch
from accelerate import Accelerator

from brainbert.modeling_brainbert import BrainBertConfig, BrainBertForPreTraining
from brainbert.processing.training import accumulate_gradients

FRAMES, BINS = 12, 40


class Alone:
    """What accumulate_gradients asks of Accelerate, for one process of `num_processes` that have the same batches."""

    def __init__(self, num_processes=1):
        self.num_processes, self.without_exchange = num_processes, 0

    def reduce(self, tensor, reduction):
        assert reduction == "sum"
        return tensor * self.num_processes

    def backward(self, loss):
        loss.backward()  # DDP then takes the mean over processes, which is the same: they have the same batches

    @contextmanager
    def no_sync(self, model):
        self.without_exchange += 1
        yield


def make_model(**settings):
    torch.manual_seed(0)
    return BrainBertForPreTraining(BrainBertConfig.from_preset("tiny", **settings))


def make_batch(clips, *, share, seed, size=2.0):
    """Clips with the given share of cells masked; the last four frames of the last clip are padding."""
    generator = torch.Generator().manual_seed(seed)
    labels = size * torch.randn(clips, FRAMES, BINS, generator=generator)
    mask = torch.rand(labels.shape, generator=generator) < share
    attention_mask = torch.ones(clips, FRAMES, dtype=torch.long)
    attention_mask[-1, -4:] = 0
    return {
        "input_values": labels.masked_fill(mask, 0), "attention_mask": attention_mask, "labels": labels, "mask": mask
    }  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Several threads that wait for one another are slow where other programs run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def batches():
    return [make_batch(1, share=0.5, seed=0), make_batch(3, share=0.02, seed=1), make_batch(2, share=0.2, seed=2)]


def gradients(batches, *, accelerator=None, content_weight=2.0, content_threshold=1.0):
    model = make_model(content_weight=content_weight, content_threshold=content_threshold)
    how = {"content_weight": content_weight, "content_threshold": content_threshold}
    sums = accumulate_gradients(accelerator or Alone(), model, batches, **how)
    return {name: parameter.grad for name, parameter in model.named_parameters()}, sums


def loss_gradients(batch, **settings):
    """Gradients of the loss that the model itself reports."""
    model = make_model(**settings)
    output = model(**batch)
    output.loss.backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}, output


def together(batches):
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}


def assert_same(found, expected):
    largest = max(gradient.abs().max() for gradient in expected.values())
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6 * float(largest), msg=name)


@pytest.mark.parametrize(("content_weight", "content_threshold"), [(2.0, 1.0), (0.0, 1.0), (7.5, 2.5)])
def test_unequal_batches_give_the_gradients_of_one_large_batch(batches, content_weight, content_threshold):
    settings = {"content_weight": content_weight, "content_threshold": content_threshold}
    assert_same(gradients(batches, **settings)[0], loss_gradients(together(batches), **settings)[0])


def test_the_mean_over_batches_would_be_something_else(batches):
    each = [loss_gradients(batch)[0] for batch in batches]
    name = "brainbert.embeddings.layer_norm.bias"
    mean = torch.stack([gradient[name] for gradient in each]).mean(0)
    exact = gradients(batches)[0][name]
    assert (mean - exact).norm() > 0.1 * exact.norm()


def test_sums_and_counts_are_those_of_all_batches(batches):
    _, sums = gradients(batches)
    _, output = loss_gradients(together(batches))
    expected = [output.l1_sum, output.l1_count, output.content_sum, output.content_count]
    torch.testing.assert_close(sums, torch.stack([part.detach().float() for part in expected]), rtol=1e-5, atol=0)
    assert not sums.requires_grad


def test_padding_is_not_counted():
    batch = make_batch(1, share=1.0, seed=0)
    assert gradients([batch])[1][1] == (FRAMES - 4) * BINS


def test_the_loss_is_over_all_processes(batches):
    # Two processes with the same batches: twice the sums and counts, the same mean.
    one, sums_of_one = gradients(batches)
    two, sums_of_two = gradients(batches, accelerator=Alone(num_processes=2))
    assert_same(two, one)
    torch.testing.assert_close(sums_of_two, 2 * sums_of_one)


def test_gradients_are_exchanged_once_a_step(batches):
    accelerator = Alone()
    gradients(batches, accelerator=accelerator)
    assert accelerator.without_exchange == len(batches) - 1


def test_without_cells_of_content_the_loss_is_the_mean_over_masked_cells():
    batch = make_batch(2, share=0.3, seed=0, size=0.01)
    found, sums = gradients([batch])
    assert sums[2:].tolist() == [0, 0]
    assert_same(found, loss_gradients(batch, content_weight=0.0)[0])


def test_without_masked_cells_all_gradients_are_zero():
    found, sums = gradients([make_batch(2, share=0.0, seed=0)])
    assert sums.tolist() == [0, 0, 0, 0]
    assert not any(gradient is not None and gradient.any() for gradient in found.values())


def test_accelerate_is_what_is_asked(batches):
    accelerator = Accelerator(cpu=True)
    model = make_model()
    accumulate_gradients(accelerator, accelerator.prepare(model), batches, content_weight=2.0, content_threshold=1.0)
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert_same(found, gradients(batches)[0])
