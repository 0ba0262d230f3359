"""Compare normalisation, magnitude scale, pooling and layer of one or several encoders on the same task.

    python examples/compare_settings.py night1.edf --labels words.csv --models run-clip/model run-corpus/model \\
        --out settings --line-frequency 50
    python examples/compare_settings.py night1.edf ... --normalizations clip recording corpus --scales linear log

The arguments say what is decoded as those of decode.py do. Every model, pooling and layer is measured with the linear
probe, beside the untrained twin in the same setting and the linear decoders of spectrogram and band power.
--normalizations and --scales also show a model input that it was not pretrained with. What is chosen here must be
reported on other recordings: the largest of many scores is too large.
Stopped, it keeps what is done in OUT/cache; the same command goes on from there and ends with the same page.
"""

import argparse
from pathlib import Path

from decode import about, add_input_arguments, make_encoder, refuse_statistics
from decoding_data import add_computing_arguments, decoding_parser, load_task
from model_folder import check_model, warn_about_other_conditioning

from brainbert.processing.decoding.settings import LINEAR, POOLINGS, compare_settings
from brainbert.processing.decoding.settings_page import sentences, table, write_settings
from brainbert.processing.program import run


def main() -> None:
    args = parse_arguments()
    models = {
        name: argparse.Namespace(**vars(args) | {"model": model, "pooling": None, "layer": -1})
        for name, model in zip(names_of(args.models), args.models, strict=True)
    }
    for one in models.values():
        check_model(one.model)
        warn_about_other_conditioning(one.model, one)
    encoders = {name: make_encoder(one) for name, one in models.items()}
    extractors = [each.extractor for each in encoders.values()]
    refuse_statistics(args, {*args.normalizations, *(each.normalization for each in extractors)})
    result = compare_settings(
        load_task(args, extractors[0], cache=args.cache or args.out / "cache"),
        encoders,
        normalizations=args.normalizations,
        scales=args.scales,
        poolings=args.poolings,
        controls=[name for name in LINEAR if name not in args.without],
        untrained_seeds=args.untrained_seeds,
        draws=args.draws,
        seed=args.seed,
        jobs=args.jobs,
    )
    for name, one in models.items():
        told = about(one, result | {"model": result["models"][name]})
        result["models"][name] = told["model"] | {"name": name}
        result |= {"title": told["title"], "task": told["task"], "settings": told["settings"]}
    path = write_settings(result, args.out)
    print("\n".join(table(result)))
    print("\n".join(sentences(result)))
    print(f"{path} and {path.with_suffix('.json')}")


def names_of(models: list[str]) -> list[str]:
    """Return the shortest ends of these folders that tell them apart, without what all of them end with."""
    parts = [Path(model).resolve().parts if Path(model).is_dir() else (model,) for model in models]
    if len(set(parts)) < len(parts):
        raise ValueError("A model was given twice in --models: give each once.")
    length = next(length for length in range(1, 1000) if len({each[-length:] for each in parts}) == len(parts))
    ends = [each[-length:] for each in parts]
    while len(ends) > 1 and all(len(each) > 1 and each[-1] == ends[0][-1] for each in ends):
        ends = [each[:-1] for each in ends]
    return ["/".join(each) for each in ends]


def parse_arguments() -> argparse.Namespace:
    parser = decoding_parser(__doc__)
    group = parser.add_argument_group("encoders")
    group.add_argument(
        "--models", nargs="+", required=True, metavar="MODEL", help="folders or Hub ids of BrainBERT models"
    )
    group.add_argument(
        "--normalizations",
        nargs="+",
        default=[],
        choices=("clip", "recording", "corpus"),
        help="to feed every model besides its own; corpus then has the statistics of all windows of this task",
    )
    group.add_argument(
        "--scales", nargs="+", default=[], choices=("linear", "log"), help="to feed every model besides its own"
    )
    group.add_argument("--poolings", nargs="+", default=list(POOLINGS), choices=POOLINGS, help="of frames")
    add_input_arguments(group)
    add_computing_arguments(parser, without=LINEAR, page="settings", untrained_seeds=1)
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
