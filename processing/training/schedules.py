"""How the learning rate goes: linearly up, then down in one of three ways.

Steps are counted from 0: step k is the one taken after k others. Every schedule starts with a learning rate of 0 in
step 0 (without warm-up, at the peak) and is at the peak in step `warmup_steps` for the first time. Call the schedule's
`step` once after each step of the optimiser.
"""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import get_constant_schedule_with_warmup, get_cosine_schedule_with_warmup


def make_schedule(name: str, optimizer: Optimizer, *, warmup_steps: int, total_steps: int) -> LambdaLR:
    """Return the schedule "hundredths" (the original's), "cosine" (to 0 after the last step) or "constant".

    The peak is the learning rate that the optimiser has now.
    Raises ValueError for another name, or a warm-up that is negative or leaves no step after it.
    """
    if not 0 <= warmup_steps < total_steps:
        raise ValueError(
            f"warmup_steps is {warmup_steps} and total_steps {total_steps}: take 0 or more steps of warm-up, and "
            "at least one step after it."
        )
    if name == "hundredths":
        return warmup_then_hundredths(optimizer, warmup_steps=warmup_steps, total_steps=total_steps)
    if name == "cosine":
        return get_cosine_schedule_with_warmup(optimizer, warmup_steps, total_steps)
    if name == "constant":
        return get_constant_schedule_with_warmup(optimizer, warmup_steps)
    raise ValueError(f"There is no schedule {name!r}: choose hundredths, cosine or constant.")


def warmup_then_hundredths(optimizer: Optimizer, *, warmup_steps: int, total_steps: int) -> LambdaLR:
    """Return a schedule that rises linearly, then takes one per cent off after each hundredth of the steps that remain.

    Step k has k / warmup_steps of the peak up to k = warmup_steps, and from there on .99 ** n of it, where n is how
    many hundredths fit into k − warmup_steps − 1: 99 in the last step, .370 of the peak. The 1 is the original's, which
    changes over from one schedule to the next in that step. Where a hundredth is not a whole number of steps, the
    original hardly ever takes anything off; this one does so in the first step after each hundredth.
    Source: the original's schedule "ramp_up", whose warm-up is .025 of the steps.
    """

    def share_of_peak(step: int) -> float:
        if step < warmup_steps:
            return step / warmup_steps
        return 0.99 ** (100 * max(step - warmup_steps - 1, 0) // (total_steps - warmup_steps))

    return LambdaLR(optimizer, share_of_peak)
