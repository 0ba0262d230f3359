"""Fine-tune a pretrained encoder to decode, beside the same trained from scratch, the frozen one and its controls.

    python examples/finetune.py night1.edf --labels words.csv --model run/model --out report --line-frequency 50
    accelerate launch examples/finetune.py night1.edf ... --device cuda --mixed-precision bf16
    python examples/finetune.py night1.edf ... --lora 8

The arguments say what is decoded as those of decode.py do, and the report is the same: it opens with one sentence that
says whether the fine-tuned encoder beat all others. One model is trained for each contact and fold, from pretrained and
from fresh weights. Stopped, it keeps those that are trained in OUT/cache; the same command goes on from there.
"""

import argparse
import os
from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import asdict
from typing import Any

import torch
from accelerate import Accelerator
from decode import about, add_encoder_arguments, make_encoder, refuse_statistics
from decoding_data import add_computing_arguments, decoding_parser, load_task
from model_folder import check_model, warn_about_other_conditioning
from transformers import AutoModelForSequenceClassification

from brainbert.processing.decoding import (
    CONTROLS,
    Encoder,
    Plan,
    Recipe,
    Task,
    contact_names,
    decode,
    encoder_inputs,
    finetuned_scores,
    write_report,
)
from brainbert.processing.program import run

DEFAULTS = Recipe()


def main() -> None:
    args = parse_arguments()
    check_model(args.model)
    recipe = make_recipe(args)
    accelerator = Accelerator(cpu=args.device == "cpu", mixed_precision=args.mixed_precision)
    if accelerator.device.type == "cpu" and accelerator.num_processes > 1:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // accelerator.num_processes))
    if accelerator.is_main_process:
        warn_about_other_conditioning(args.model, args)
    encoder = make_encoder(args)
    refuse_statistics(args, {encoder.extractor.normalization})
    shown = accelerator.is_main_process
    # The main process fills the cache, and the others read it.
    with accelerator.main_process_first() if accelerator.num_processes > 1 else nullcontext():
        task = load_task(args, encoder.extractor, cache=args.cache or args.out / "cache", progress=shown)
        inputs = encoder_inputs(task, encoder)
    scores, models = {}, []
    for name, pretrained in (("fine-tuned", True), ("fine-tuned-untrained", False)):
        found, records = finetuned_scores(
            model_maker(encoder, task, pretrained=pretrained),
            inputs,
            epochs=task.epochs,
            split=task.split,
            contacts=contact_names(task.contacts),
            accelerator=accelerator,
            recipe=recipe,
            seed=args.seed,
            folder=task.cache,
            progress=task.progress,
        )
        scores[name] = [found]
        for record in records:
            del record["history"]  # of every look at the validation windows; the cache has it
        models += [{"system": name, **record} for record in records]
    accelerator.end_training()
    if shown:
        report(args, task, encoder, recipe, scores, models)


def model_maker(encoder: Encoder, task: Task, *, pretrained: bool) -> Callable[[], Any]:
    """Return a function that makes a model with a fresh head, on the encoder's weights or on fresh ones."""
    config = deepcopy(encoder.model.config)
    config.num_labels = 1 if task.windows.classes is None else len(task.windows.classes)
    config.pooling = encoder.pooling
    weights = {name: tensor.cpu() for name, tensor in encoder.model.state_dict().items()}

    def make() -> Any:
        model = AutoModelForSequenceClassification.from_config(config)
        if pretrained:
            model.base_model.load_state_dict(weights)
        return model

    return make


def report(
    args: argparse.Namespace,
    task: Task,
    encoder: Encoder,
    recipe: Recipe,
    scores: dict[str, Any],
    models: list[dict[str, Any]],
) -> None:
    """Add the frozen encoder and what needs none, and write what all of them are worth."""
    plan = Plan(
        controls=tuple(name for name in CONTROLS if name not in args.without),
        untrained_seeds=args.untrained_seeds,
        few_shot=False,
        layers=False,
        dimension=False,
        draws=args.draws,
        seed=args.seed,
        jobs=args.jobs,
    )
    result = decode(task, encoder, plan, fine_tuned=scores)
    result |= about(args, result)
    how = {f"fine_tuning_{name}": value for name, value in asdict(recipe).items()}
    result["settings"] |= how | {"mixed_precision": args.mixed_precision}
    path = write_report(result | {"fine_tuning": models}, args.out)
    print(result["verdict"])
    print(f"{path} and {path.with_suffix('.json')}")


def make_recipe(args: argparse.Namespace) -> Recipe:
    return Recipe(
        head_learning_rate=args.head_learning_rate,
        encoder_learning_rate=args.encoder_learning_rate,
        batch_size=args.batch_size,
        steps=args.steps,
        patience=args.patience or None,
        validate_every=args.validate_every,
        class_weights=args.class_weights,
        lora=args.lora,
    )


def parse_arguments() -> argparse.Namespace:
    parser = decoding_parser(__doc__)
    add_encoder_arguments(parser)
    group = parser.add_argument_group("fine-tuning")
    group.add_argument(
        "--head-learning-rate", type=float, default=DEFAULTS.head_learning_rate, help="of AdamW, for the new head"
    )
    group.add_argument(
        "--encoder-learning-rate",
        type=float,
        default=DEFAULTS.encoder_learning_rate,
        help="of AdamW, for the encoder or its LoRA matrices",
    )
    group.add_argument("--batch-size", type=int, default=DEFAULTS.batch_size, help="windows of a step")
    group.add_argument("--steps", type=int, default=DEFAULTS.steps, help="at most, of each model")
    group.add_argument(
        "--patience",
        type=int,
        default=DEFAULTS.patience,
        help="steps without a lower validation loss after which learning rates fall to a tenth, and once more until "
        "training ends; 0: all steps, and no validation windows",
    )
    group.add_argument(
        "--validate-every", type=int, default=DEFAULTS.validate_every, help="steps between looks at validation windows"
    )
    group.add_argument(
        "--class-weights",
        action=argparse.BooleanOptionalAction,
        default=DEFAULTS.class_weights,
        help="rare classes count as much as others",
    )
    group.add_argument("--lora", type=int, metavar="RANK", help="train matrices of this rank instead of all weights")
    group.add_argument("--mixed-precision", default="no", choices=("no", "bf16"), help="bf16: for GPUs")
    add_computing_arguments(parser, without=CONTROLS)
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
