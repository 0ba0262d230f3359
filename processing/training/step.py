"""The gradients of one optimiser step, the same however its clips are shared out."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch

from .evaluation import count_cells


def accumulate_gradients(
    accelerator: Any,
    model: torch.nn.Module,
    batches: Sequence[dict[str, torch.Tensor]],
    *,
    content_weight: float,
    content_threshold: float,
) -> torch.Tensor:
    """Add the gradients of the mean errors over the masked cells of all `batches` of all processes.

    accelerator: of Accelerate, which has prepared the model. batches: this process's; each holds the arguments of
    BrainBertForPreTraining. content_weight, content_threshold: of the model's configuration.
    The cells of all are counted first, so that batches and processes with few masked cells do not count for more.
    Returns (4,) float32, sums over all processes: l1_sum, l1_count, content_sum, content_count. What is done
    here does not wait for the device; the model, once a batch, looks whether all of its attention mask is 1.
    Source: Wang et al. 2023, equation 1.
    """
    counts = torch.stack([count_cells(batch, content_threshold=content_threshold) for batch in batches]).sum(0)
    counts = accelerator.reduce(counts, reduction="sum")
    l1_count, content_count = counts.clamp(min=1).unbind()
    sums = torch.zeros(2, device=counts.device)
    for number, batch in enumerate(batches, start=1):
        # Processes exchange gradients once a step, with the last batch.
        with nullcontext() if number == len(batches) else accelerator.no_sync(model):
            output = model(**batch)
            loss = output.l1_sum / l1_count + content_weight * output.content_sum / content_count
            accelerator.backward(loss * accelerator.num_processes)  # whose gradients Accelerate averages
        sums += torch.stack((output.l1_sum, output.content_sum)).detach()
    sums = accelerator.reduce(sums, reduction="sum")
    return torch.stack((sums[0], counts[0], sums[1], counts[1]))
