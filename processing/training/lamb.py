"""LAMB as the original BrainBERT was trained with it."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class Lamb(torch.optim.Optimizer):
    """Take Adam's steps, each weight tensor's at the length of its own norm; no bias correction.

        update = mean of gradients / (√mean of squared gradients + eps) + weight_decay · weight
        weight = weight − lr · min(‖weight‖, clamp) / ‖update‖ · update      (− lr · update where a norm is 0)

    params: tensors, or groups as in torch.optim; those without a gradient are left alone.
    lr, betas, eps, weight_decay: as in Adam; the means start at 0. clamp: the largest weight norm that counts.

    The state has the type and device of its parameter: keep parameters in float32 (bf16 autocast does), since small
    steps are lost in bfloat16. It never waits for the device. Under FSDP2, parameters are DTensors and norms those of
    whole parameters; FSDP1 keeps plain shards, whose norms would be of the shard: do not use it here.
    Raises ValueError for settings out of range, RuntimeError for sparse gradients.
    Source: You et al. 2020, ICLR, version 3 of arXiv:1904.00962; the defaults are those of torch_optimizer 0.3.0.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        clamp: float = 10.0,
    ):
        for name, value in (("lr", lr), ("eps", eps), ("weight_decay", weight_decay)):
            if not value >= 0:
                raise ValueError(f"{name} is {value}: it must be at least 0.")
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas are {betas}: each must be at least 0 and less than 1.")
        if not clamp > 0:
            raise ValueError(f"clamp is {clamp}: it must be above 0; float('inf') for no limit.")
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "clamp": clamp}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step with the gradients at hand; return what `closure`, if given, returns after computing them."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if any(parameter.grad.is_sparse for parameter in parameters):
                raise RuntimeError("Lamb was given a sparse gradient: use dense ones (nn.Embedding(sparse=False)).")
            for parameter in parameters:
                state = self.state[parameter]
                if not state:  # names of torch's Adam and of torch_optimizer
                    state["exp_avg"] = torch.zeros_like(parameter)
                    state["exp_avg_sq"] = torch.zeros_like(parameter)
            if parameters and parameters[0].device.type == "cpu":
                for parameter in parameters:  # one at a time stays in the cache, and takes half of the time
                    self.step_together([parameter], group)
            elif parameters:  # all at once: few kernels, few exchanges where they are sharded
                self.step_together(parameters, group)
        return loss

    def step_together(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        """Move parameters that have a gradient and a state, with the settings of their group."""
        beta_1, beta_2 = group["betas"]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]  # all of them
        means = [self.state[parameter]["exp_avg"] for parameter in parameters]
        squares = [self.state[parameter]["exp_avg_sq"] for parameter in parameters]
        torch._foreach_lerp_(means, gradients, 1 - beta_1)
        torch._foreach_mul_(squares, beta_2)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - beta_2)
        updates = torch._foreach_sqrt(squares)
        torch._foreach_add_(updates, group["eps"])
        torch._foreach_reciprocal_(updates)  # means / updates would take memory for the quotient, too
        torch._foreach_mul_(updates, means)
        if group["weight_decay"]:
            torch._foreach_add_(updates, parameters, alpha=group["weight_decay"])
        # Norms of sharded parameters are exchanged here, for all of them together.
        weight_norms = torch.stack(torch._foreach_norm(parameters)).clamp(max=group["clamp"])
        update_norms = torch.stack(torch._foreach_norm(updates))
        moves = (weight_norms > 0) & (update_norms > 0)
        ratios = torch.where(moves, weight_norms / update_norms, 1.0)
        torch._foreach_addcmul_(parameters, updates, (ratios * -group["lr"]).unbind())
