"""Masked error of a model and of its baselines, averaged exactly over cells."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch

from .interpolation import interpolate_masked

PARTS = ("l1_sum", "l1_count", "content_sum", "content_count")


@dataclass
class MaskedError:
    """Sums and counts of absolute errors; what they add up to is exact whatever the batches and ranks."""

    sums: dict[str, torch.Tensor] = field(
        default_factory=lambda: {name: torch.zeros((), dtype=torch.float64) for name in PARTS}
    )

    def add(self, parts: dict[str, torch.Tensor]) -> None:
        """Add the PARTS of a batch."""
        for name, value in parts.items():
            self.sums[name] = self.sums[name] + value.detach().cpu().double()

    def reduced(self, reduce: Callable[[torch.Tensor], torch.Tensor]) -> "MaskedError":
        """Return the error over all processes; `reduce` sums a tensor over them."""
        return MaskedError({name: reduce(value) for name, value in self.sums.items()})

    @property
    def l1(self) -> float:
        """Mean absolute error over masked cells, in z units; NaN when there were none."""
        return float(self.sums["l1_sum"] / self.sums["l1_count"])

    @property
    def content(self) -> float:
        """The same over masked cells whose target exceeds the model's content threshold."""
        return float(self.sums["content_sum"] / self.sums["content_count"])


def count_cells(batch: dict[str, torch.Tensor], *, content_threshold: float) -> torch.Tensor:
    """Return (2,) float32: how many cells of a batch the loss counts, and how many of them are content.

    batch: labels and mask, (batch, frames, bins), and attention_mask, (batch, frames).
    """
    counted = batch["mask"] & batch["attention_mask"].bool().unsqueeze(-1)
    content = counted & (batch["labels"].abs() > content_threshold)
    return torch.stack((counted.sum(), content.sum())).float()


def _error_parts(
    guess: torch.Tensor, target: torch.Tensor, mask: torch.Tensor, *, content_threshold: float
) -> dict[str, torch.Tensor]:
    """Return the PARTS of |guess − target| over `mask`, all (batch, frames, bins), as the model does for itself."""
    error = (guess - target).abs()
    content = mask & (target.abs() > content_threshold)
    return {
        "l1_sum": torch.where(mask, error, 0).sum(),
        "l1_count": mask.sum(),
        "content_sum": torch.where(content, error, 0).sum(),
        "content_count": content.sum(),
    }


@torch.no_grad()
def evaluate(
    model: torch.nn.Module, batches: Iterable[dict[str, torch.Tensor]], *, content_threshold: float
) -> dict[str, MaskedError]:
    """Return the masked error of "model", "mean" (all zeros) and "interpolation" over the very same masks.

    batches: each has the arguments of the model: input_values (masked), attention_mask, labels, mask; on its device.
    content_threshold: cells whose target exceeds it in absolute value are content (the model's configuration has it).
    """
    errors = {name: MaskedError() for name in ("model", "mean", "interpolation")}
    was_training = model.training
    model.eval()
    for batch in batches:
        target, mask = batch["labels"], batch["mask"] & batch["attention_mask"].bool().unsqueeze(-1)
        output = model(**batch)
        errors["model"].add({name: output[name] for name in PARTS})
        guesses = {
            "mean": torch.zeros_like(target),
            "interpolation": interpolate_masked(target, mask, batch["attention_mask"]),
        }
        for name, guess in guesses.items():
            errors[name].add(_error_parts(guess, target, mask, content_threshold=content_threshold))
    model.train(was_training)
    return errors
