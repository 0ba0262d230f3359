"""Fine-tune an encoder with a new head on labelled windows, and score others with it."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

MakeModel = Callable[[], Any]  # a BrainBertForSequenceClassification, with the encoder's weights and a head of its own


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is fine-tuned; the defaults are the paper's, but for class weights and the end of training.

    head_learning_rate, encoder_learning_rate: of AdamW, at the start.
    batch_size: windows. steps: at most. clip_gradient: the largest norm of the gradient.
    patience: steps without a lower validation loss after which both learning rates fall to a tenth; when as many pass
        in vain once more, training ends. The weights of the lowest validation loss are the result. None spares no
        windows for validation and makes all steps.
    validate_every: steps from one look at the validation windows to the next.
    class_weights: windows of a class count inversely to how many there are in training, so that rare classes count.
    lora: None trains all weights. A rank adds matrices of that rank to the linear layers of the encoder and trains
        those and the head; the result has them merged into its weights.
    Raises ValueError for a number that is not positive.
    Source: Wang et al. 2023, section 4, and the released settings; LoRA: Hu et al. 2022, ICLR.
    """

    head_learning_rate: float = 1e-3
    encoder_learning_rate: float = 1e-4
    batch_size: int = 64
    steps: int = 1000
    patience: int | None = 300
    validate_every: int = 25
    clip_gradient: float = 1.0
    class_weights: bool = True
    lora: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not isinstance(value, bool) and not value > 0:
                raise ValueError(f"{field.name} is {value}: it must be greater than 0.")


@dataclass(frozen=True, kw_only=True, eq=False)
class FineTuned:
    """A fine-tuned model in evaluation mode; of a regression, its logit is in the unit of the targets.

    best_step: after which its weights were taken. history: of each look at the validation windows, "step", "loss" (mean
    since the last), "validation_loss" (None without such windows) and "encoder_learning_rate". Losses are weighted
    cross-entropies, or mean squared errors as shares of the variance of the training targets.
    """

    model: Any
    best_step: int
    history: list[dict[str, Any]]


def finetune(
    make_model: MakeModel,
    inputs: NDArray[np.float32],
    *,
    targets: NDArray[Any],
    train: NDArray[np.int64],
    validation: NDArray[np.int64],
    accelerator: Any,
    recipe: Recipe,
    seed: int = 0,
    advance: Callable[[int], object] | None = None,
) -> FineTuned:
    """Return a model trained on the training windows, as it was when it did best on the validation windows.

    make_model: called once, after the seed is set; its config.num_labels is the number of classes, 1 for a regression.
    inputs: (windows, frames, bins), of the feature extractor. targets: (windows,) int64 classes, or float64.
    train, validation: windows, whose inputs are finite. Without validation windows all steps are made.
    accelerator: of Accelerate, for this alone: device, precision, and processes, which share out every batch.
    advance: told now and then how many steps were made since.
    Raises ValueError when outputs and targets do not fit together, a class has no training window, training targets
    are all equal, the loss is not finite, or LoRA is asked for and peft is not installed.
    """
    with seeded(seed, accelerator):
        model = make_model()
        target = _Target(targets, train, outputs=model.config.num_labels, weighted=recipe.class_weights)
        of_encoder = {id(parameter) for parameter in model.base_model.parameters()}
        head = [parameter for parameter in model.parameters() if id(parameter) not in of_encoder]
        lora = None if recipe.lora is None else _add_lora(model, head, rank=recipe.lora)
        encoder = [parameter for parameter in model.base_model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(
            [{"params": head, "lr": recipe.head_learning_rate}, {"params": encoder, "lr": recipe.encoder_learning_rate}]
        )
        wrapped, optimizer = accelerator.prepare(model, optimizer)
        # Weights are the same in all processes; what each drops out is not.
        torch.manual_seed(mixed_seed(seed, accelerator.process_index))

        def train_on(batch: NDArray[np.int64]) -> torch.Tensor:
            """Make one step and return what this process adds to the mean loss of the batch."""
            share = batch[accelerator.process_index :: accelerator.num_processes]
            wrapped.train()
            logits = wrapped(input_values=torch.from_numpy(inputs[share]).to(accelerator.device)).logits
            loss = target.losses(logits, share).sum() / len(batch)
            accelerator.backward(loss * accelerator.num_processes)  # whose gradients Accelerate averages
            accelerator.clip_grad_norm_(head + encoder, recipe.clip_gradient)
            optimizer.step()
            optimizer.zero_grad()
            return loss.detach()

        batches = _batches(train, min(recipe.batch_size, len(train)), np.random.default_rng(seed))
        best = _Best(head + encoder)
        reduced_at = 0
        history: list[dict[str, Any]] = []
        losses: list[torch.Tensor] = []
        for step in range(1, recipe.steps + 1):
            losses.append(train_on(next(batches)))
            if step % recipe.validate_every and step < recipe.steps:
                continue
            loss = accelerator.reduce(torch.stack(losses).mean(), reduction="sum").item()
            found = None
            if len(validation):
                logits = _logits(model, inputs, validation, accelerator, recipe.batch_size)
                found = target.losses(logits, validation).mean().item()
            if not math.isfinite(loss if found is None else loss + found):
                raise ValueError(f"The loss is not finite after {step} steps: lower the learning rates.")
            rate = optimizer.param_groups[1]["lr"]
            history.append({"step": step, "loss": loss, "validation_loss": found, "encoder_learning_rate": rate})
            if advance is not None:
                advance(len(losses))
            losses.clear()
            if found is None or found < best.loss:
                best.keep(step, found)
            elif recipe.patience is not None and step - max(best.step, reduced_at) >= recipe.patience:
                if reduced_at:
                    break
                reduced_at = step
                for group in optimizer.param_groups:
                    group["lr"] /= 10
        best.restore()
        model = accelerator.unwrap_model(wrapped, keep_fp32_wrapper=False)
        accelerator.free_memory()
    if lora is not None:
        model = lora.merge_and_unload()
    target.give_unit_to(head)
    return FineTuned(model=model.eval(), best_step=best.step, history=history)


def score_windows(
    model: Any, inputs: NDArray[np.float32], rows: NDArray[np.int64], *, accelerator: Any, batch_size: int = 64
) -> NDArray[np.float64]:
    """Return scores (rows, outputs) of a fine-tuned model, for some rows of inputs (windows, frames, bins).

    Of two classes, the log-odds of the second; of more, the logarithm of the probability of each; of a regression, the
    prediction. In float32; the processes share the rows out.
    """
    logits = _logits(model.eval().to(accelerator.device), inputs, rows, accelerator, batch_size).double()
    if logits.shape[1] == 2:
        logits = logits[:, 1:] - logits[:, :1]
    elif logits.shape[1] > 2:
        logits = logits.log_softmax(1)
    return logits.cpu().numpy()


class _Target:
    """What a model is trained towards: classes with weights, or numbers as z-scores of the training windows."""

    def __init__(self, targets: NDArray, train: NDArray[np.int64], *, outputs: int, weighted: bool) -> None:
        self.classes = np.issubdtype(targets.dtype, np.integer)
        if not self.classes:
            if outputs != 1:
                raise ValueError(f"The model has {outputs} outputs and a regression needs one: give num_labels=1.")
            self.mean, self.deviation = float(targets[train].mean()), float(targets[train].std())
            if not self.deviation > 0:
                raise ValueError("The targets of the training windows are all equal: there is nothing to learn.")
            self.values = torch.from_numpy((targets - self.mean) / self.deviation).float()
            return
        if outputs < 2 or targets[train].max() >= outputs:
            raise ValueError(
                f"The model has {outputs} outputs and the training windows classes 0 to {targets[train].max()}: give "
                "num_labels, one a class."
            )
        counts = np.bincount(targets[train], minlength=outputs)
        if not counts.all():
            raise ValueError(f"No training window is of class {counts.argmin()}: leave the class out, or split again.")
        weights = len(train) / (outputs * counts) if weighted else np.ones(outputs)
        self.values = torch.from_numpy(targets)
        self.weights = torch.from_numpy(weights).float()

    def losses(self, logits: torch.Tensor, rows: NDArray[np.int64]) -> torch.Tensor:
        """Return the loss of each row, (rows,), from logits (rows, outputs); in float32."""
        values = self.values[rows].to(logits.device)
        if not self.classes:
            return (logits.float().squeeze(1) - values).square()
        weights = self.weights.to(logits.device)[values]
        return weights * nn.functional.cross_entropy(logits.float(), values, reduction="none")

    def give_unit_to(self, head: list[nn.Parameter]) -> None:
        """Make the head of a regression, whose last layer is linear, answer in the unit of the targets."""
        if self.classes:
            return
        weight, bias = head[-2:]
        with torch.no_grad():
            weight.mul_(self.deviation)
            bias.mul_(self.deviation).add_(self.mean)


class _Best:
    """The weights with the lowest validation loss so far; without one, the latest."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        self.parameters = parameters
        self.loss, self.step = math.inf, 0
        self._weights: list[torch.Tensor] = []

    def keep(self, step: int, loss: float | None) -> None:
        self.loss, self.step = math.inf if loss is None else loss, step
        self._weights = [parameter.detach().clone() for parameter in self.parameters]

    def restore(self) -> None:
        with torch.no_grad():
            for parameter, weights in zip(self.parameters, self._weights, strict=True):
                parameter.copy_(weights)


def _add_lora(model: Any, head: list[nn.Parameter], *, rank: int) -> Any:
    """Put matrices beside the encoder's linear layers, to train them and the head alone; return PEFT's tuner."""
    try:
        from peft import LoraConfig, LoraModel
    except ImportError:
        raise ValueError("LoRA needs peft, which is not installed: pip install 'brainbert[lora]'.") from None
    inside = {id(module) for module in model.base_model.modules() if isinstance(module, nn.Linear)}
    layers = [name for name, module in model.named_modules() if id(module) in inside]
    tuner = LoraModel(model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=layers), "default")
    for parameter in head:
        parameter.requires_grad_(True)
    return tuner


def _batches(rows: NDArray[np.int64], size: int, generator: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Yield `size` rows at a time without end, all of them once before any comes again."""
    order = rows[:0]
    while True:
        if len(order) < size:
            order = np.concatenate([order, generator.permutation(rows)])
        yield order[:size]
        order = order[size:]


@torch.no_grad()
def _logits(
    model: Any, inputs: NDArray[np.float32], rows: NDArray[np.int64], accelerator: Any, batch_size: int
) -> torch.Tensor:
    """Return (rows, outputs) float32, in evaluation mode; every process computes some rows and has all.

    model: not the one that Accelerate has wrapped, in which processes would wait for each other in each forward.
    """
    model.eval()
    logits = torch.zeros(len(rows), model.config.num_labels, device=accelerator.device)
    share = np.array_split(np.arange(len(rows)), accelerator.num_processes)[accelerator.process_index]
    for places in np.split(share, range(batch_size, len(share), batch_size)):
        if len(places):
            images = torch.from_numpy(inputs[rows[places]]).to(accelerator.device)
            logits[places] = model(input_values=images).logits.float()
    return accelerator.reduce(logits, reduction="sum")


@contextmanager
def seeded(seed: int, accelerator: Any) -> Iterator[None]:
    """Seed torch within the block; random numbers drawn elsewhere are not touched."""
    device = accelerator.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def mixed_seed(*parts: int) -> int:
    """Return a seed that depends on all parts."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
