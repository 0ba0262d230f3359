"""Accelerate as a pretraining run uses it, and what of its configuration would train something else."""

import argparse
import warnings

import torch
from accelerate import Accelerator, DistributedType, PartialState
from torch.distributed.fsdp import MixedPrecisionPolicy

# On processors without these instructions, bfloat16 takes several times as long as float32.
has_bf16 = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)


def make_accelerator(args: argparse.Namespace) -> Accelerator:
    """Return Accelerate's accelerator and note its precision in `args`.

    Raises ValueError for a configuration of Accelerate that would train something else than the settings say.
    """
    if args.mixed_precision == "bf16" and PartialState().device.type == "cpu" and not has_bf16():
        warnings.warn("This processor computes bfloat16 slowly, so float32 is used.", stacklevel=2)
        args.mixed_precision = "no"
    accelerator = Accelerator(
        mixed_precision=args.mixed_precision,
        dynamo_backend="inductor" if args.compile else None,
        log_with=None if args.tracker == "none" else args.tracker,
        project_dir=args.out,
    )
    args.mixed_precision = accelerator.mixed_precision
    sharded = accelerator.distributed_type == DistributedType.FSDP
    for wrong, sentence in (
        (
            args.mixed_precision not in ("no", "bf16"),
            f"Accelerate is configured for {args.mixed_precision}: use --mixed-precision bf16 or no.",
        ),
        (
            accelerator.gradient_accumulation_steps != 1,
            "Accelerate is configured to accumulate gradients, which would divide them twice: use --micro-batch.",
        ),
        (
            sharded and not accelerator.is_fsdp2,
            "Accelerate is configured for FSDP version 1, where norms are those of shards: use fsdp_version 2, or DDP.",
        ),
        (
            sharded and args.optimizer == "muon",
            "Accelerate cannot save two optimisers under FSDP: use --optimizer adamw or lamb, or DDP.",
        ),
    ):
        if wrong:
            raise ValueError(sentence)
    if sharded and args.mixed_precision == "bf16":
        # Accelerate's own would round labels and sums of errors to bfloat16.
        accelerator.state.fsdp_plugin.mixed_precision_policy = MixedPrecisionPolicy(
            param_dtype=torch.bfloat16,
            reduce_dtype=torch.float32,
            output_dtype=torch.float32,
            cast_forward_inputs=False,
        )
    return accelerator
