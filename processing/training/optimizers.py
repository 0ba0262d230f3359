"""The optimisers that pretraining offers, by name."""

import torch
from torch import nn

from .lamb import Lamb

FUSED = {"cpu", "cuda", "mps", "xpu"}  # devices for which torch has AdamW as one kernel
# Where the model meets the image: not maps between hidden units, for which Muon is made.
AT_THE_IMAGE = ("embeddings.projection.weight", "reconstruction_head.decoder.weight")


def make_optimizers(
    name: str,
    model: nn.Module,
    *,
    learning_rate: float,
    weight_decay: float = 0.0,
    betas: tuple[float, float] = (0.9, 0.999),
    muon_learning_rate: float = 0.02,
) -> list[torch.optim.Optimizer]:
    """Return the optimisers of a model's trainable parameters, one or two.

    name: "lamb" (the original's), "adamw" (fused where it can), or "muon": torch's Muon for the matrices between
        hidden units, whose steps have singular values of 1, and AdamW for all else.
    learning_rate, betas: of LAMB or AdamW. muon_learning_rate: of Muon, in its original scale.
    weight_decay: of matrices alone; biases and layer norms, which have one axis, go without. The original has none.
    Raises ValueError for another name, or settings out of range.
    Source: You et al. 2020, ICLR; Loshchilov & Hutter 2019, ICLR; Jordan et al. 2024,
        kellerjordan.github.io/posts/muon.
    """
    rest = {key: parameter for key, parameter in model.named_parameters() if parameter.requires_grad}
    optimizers: list[torch.optim.Optimizer] = []
    if name == "muon":
        hidden = [key for key, weight in rest.items() if weight.ndim == 2 and not key.endswith(AT_THE_IMAGE)]
        weights = [rest.pop(key) for key in hidden]
        optimizers.append(torch.optim.Muon(weights, muon_learning_rate, weight_decay=weight_decay))
    groups = [
        {"params": [parameter for parameter in rest.values() if parameter.ndim >= 2], "weight_decay": weight_decay},
        {"params": [parameter for parameter in rest.values() if parameter.ndim < 2], "weight_decay": 0.0},
    ]
    if name == "lamb":
        return [Lamb(groups, learning_rate, betas=betas)]
    if name in ("adamw", "muon"):
        fused = all(parameter.device.type in FUSED for parameter in rest.values())
        return [*optimizers, torch.optim.AdamW(groups, learning_rate, betas=betas, fused=fused or None)]
    raise ValueError(f"There is no optimiser {name!r}: choose lamb, adamw or muon.")
