"""Run a public benchmark in which BrainBERT stands as a row, with controls, and print ours beside the published rows.

    python examples/benchmark_decoding.py mayo DATASET_MAYO --out mayo --model run/model
    python examples/benchmark_decoding.py mayo DATASET_FNUSA --out fnusa --model run/model --clip-s 6 --fine-tune
    python examples/benchmark_decoding.py du-in ROOT --out du-in --model run/model --heads network attention
    python examples/benchmark_decoding.py dreamt ROOT --out dreamt --model untrained --preset tiny
    python examples/benchmark_decoding.py neuroprobe ROOT --out probe --model run/model untrained spectrogram

neuroprobe takes the arguments of neuroprobe.py. The others write OUT/benchmark.html and benchmark.json: the measures
of the paper with intervals over patients, participants or subjects, beside chance, untrained twins and linear decoders.
Stopped, they keep what is done in OUT/cache: the same command goes on from there.
examples/BENCHMARKS.md says what the data are, what the folds, and how to add a data set.
"""

import argparse
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from decode import add_encoder_arguments, as_encoder, make_encoder, refuse_statistics
from model_folder import check_model
from transformers import AutoFeatureExtractor

from brainbert.modeling_brainbert import PRESETS, BrainBertConfig, BrainBertFeatureExtractor, BrainBertModel
from brainbert.processing.decoding import Encoder, Recipe
from brainbert.processing.decoding.benchmark import CONTROLS, Benchmark, Conduct
from brainbert.processing.decoding.benchmark_page import as_text, summarise, write_benchmark
from brainbert.processing.decoding.benchmark_run import run_problem
from brainbert.processing.decoding.benchmark_sets import dreamt_benchmark, du_in_benchmark, mayo_benchmark
from brainbert.processing.decoding.contact_heads import HEADS
from brainbert.processing.program import DescriptionHelpFormatter, HelpFormatter, run

WINDOWS = {"mayo": None, "du-in": 3.0, "dreamt": 30.0}  # seconds; of mayo --clip-s
WEARABLE = ("dreamt",)  # whose rate is another, and the front end with it
UNTRAINED = "untrained"


def main() -> None:
    if sys.argv[1:2] == ["neuroprobe"]:
        import neuroprobe

        del sys.argv[1]
        neuroprobe.main()
    else:
        benchmark(parse_arguments())


def benchmark(args: argparse.Namespace) -> None:
    """Run what the arguments say, print its table, and write its page."""
    args.window_s = WINDOWS[args.data] or float(args.clip_s)
    encoder = encoder_of(args)
    refuse_statistics(args, {encoder.extractor.normalization})
    cache = args.cache or args.out / "cache"
    chosen = benchmark_of(args, encoder.extractor.sampling_rate, cache)
    conduct = conduct_of(args, chosen)
    accelerator = accelerator_of(args) if args.fine_tune else None
    results = []
    for number, problem in enumerate(chosen.problems, start=1):
        print(f"{chosen.name}, {problem.name} ({number} of {len(chosen.problems)})", file=sys.stderr)
        results.append(
            run_problem(
                problem,
                encoder,
                conduct,
                pretrained=args.model != UNTRAINED,
                accelerator=accelerator,
                cache=cache,
            )
        )
    table = summarise(chosen, results, settings=settings_of(args, conduct))
    path = write_benchmark(table, args.out)
    print("\n".join(as_text(table)))
    print(f"{path} and {path.with_suffix('.json')}")


def encoder_of(args: argparse.Namespace) -> Encoder:
    """Return the model of a folder or the Hub, or a preset with random weights and the front end of the data."""
    if args.model != UNTRAINED:
        if args.preset:
            raise ValueError("--preset is of --model untrained: leave it out.")
        check_model(args.model)
        if args.data in WEARABLE:
            refuse_intracranial(args.model)
        return make_encoder(args)
    if not args.preset:
        raise ValueError(f"untrained needs to know of what: give --preset, one of {', '.join(PRESETS)}.")
    extractor = BrainBertFeatureExtractor.named("wearable") if args.data in WEARABLE else BrainBertFeatureExtractor()
    model = BrainBertModel(BrainBertConfig.from_preset(args.preset)).to(args.device).eval()
    return as_encoder(args, model, extractor).untrained(args.seed)


def refuse_intracranial(model: str) -> None:
    """Raise ValueError for a model that reads far more samples a second than a wearable has."""
    rate = AutoFeatureExtractor.from_pretrained(model).sampling_rate
    if rate > 4 * 64:
        raise ValueError(
            f"This model reads {rate:g} Hz and DREAMT has 64 Hz, of which it would see next to nothing: give a model "
            "with the front end 'wearable', or --model untrained --preset tiny."
        )


def benchmark_of(args: argparse.Namespace, sampling_rate: float, cache: Path) -> Benchmark:
    if args.data == "mayo":
        how = {"clip_s": args.clip_s, "resampling": args.resampling, "name": args.name}
        return mayo_benchmark(args.root, sampling_rate=sampling_rate, **how)
    if args.data == "du-in":
        return du_in_benchmark(
            args.root,
            sampling_rate=sampling_rate,
            subjects=args.subjects,
            contacts=args.contacts,
            most_contacts=args.most_contacts,
            order=args.split,
            seed=args.seed,
            cache=cache,
        )
    return dreamt_benchmark(args.root, sampling_rate=sampling_rate, tasks=args.tasks, folds=args.folds)


def conduct_of(args: argparse.Namespace, benchmark: Benchmark) -> Conduct:
    return Conduct(
        heads=tuple(args.heads or benchmark.heads),
        seeds=args.seeds,
        untrained_seeds=args.untrained_seeds or (1 if args.model == UNTRAINED else 0),
        controls=tuple(name for name in CONTROLS if name not in args.without),
        fine_tuning=Recipe(steps=args.steps, patience=min(args.patience, args.steps)) if args.fine_tune else None,
        draws=args.draws,
        seed=args.seed,
        jobs=args.jobs,
    )


def accelerator_of(args: argparse.Namespace) -> Any:
    from accelerate import Accelerator

    return Accelerator(cpu=args.device == "cpu")


def settings_of(args: argparse.Namespace, conduct: Conduct) -> dict[str, Any]:
    """Return how the benchmark was run, without paths."""
    of_data = {
        "mayo": ("clip_s", "resampling"),
        "du-in": ("contacts", "most_contacts", "split"),
        "dreamt": ("tasks", "folds"),
    }
    kept = {name: getattr(args, name) for name in of_data[args.data]}
    folder = Path(args.model)
    how = {name: value for name, value in asdict(conduct).items() if name != "jobs"}
    return kept | how | {"weights": folder.resolve().name if folder.is_dir() else args.model}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=DescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="data", required=True, metavar="mayo|du-in|dreamt|neuroprobe")
    kinds.add_parser("neuroprobe", help="tasks of Brain Treebank; its arguments are those of neuroprobe.py")
    add = partial(kinds.add_parser, formatter_class=HelpFormatter)
    mayo = add("mayo", help="MAYO and FNUSA: pathological activity against the rest, 3 s clips")
    add_common(mayo, "folder with segments.csv and clips, or with DATASET_MAYO and DATASET_FNUSA", untrained=3, seeds=1)
    group = mayo.add_argument_group("data")
    group.add_argument("--name", choices=("MAYO", "FNUSA"), help="which, where ROOT has both")
    group.add_argument("--clip-s", type=int, default=3, choices=(3, 6), help="seconds; 6: pairs of consecutive clips")
    group.add_argument(
        "--resampling",
        default="filtered",
        choices=("filtered", "decimated"),
        help="decimated: every n-th sample without a filter, as published, for comparison only",
    )
    du_in = add("du-in", help="Du-IN: words that are recited, one problem a subject")
    add_common(du_in, "folder of its pickles, or of BIDS", untrained=1, seeds=6)
    group = du_in.add_argument_group("data")
    group.add_argument("--subjects", nargs="+", metavar="SUBJECT", help="such as 001 002; all that ROOT has")
    group.add_argument(
        "--contacts",
        default="chosen",
        choices=("chosen", "published", "all"),
        help="chosen in the training windows of each system; those of the publication; or all",
    )
    group.add_argument("--most-contacts", type=int, default=10, help="how many are chosen")
    group.add_argument(
        "--split",
        default="time",
        choices=("time", "random"),
        help="of each word the last windows are tested; random: any, as published, for comparison only",
    )
    dreamt = add("dreamt", help="DREAMT: sleep and wake, and skin temperature, from a wearable")
    add_common(dreamt, "folder of DREAMT, with its files at 64 Hz", untrained=3, seeds=1)
    group = dreamt.add_argument_group("data")
    tasks = ("sleep-wake", "skin-temperature")
    group.add_argument("--tasks", nargs="+", default=list(tasks), choices=tasks, help="what is decoded")
    group.add_argument("--folds", type=int, default=5, help="of participants")
    return parser.parse_args()


def add_common(parser: argparse.ArgumentParser, root: str, *, untrained: int, seeds: int) -> None:
    parser.add_argument("root", metavar="ROOT", type=Path, help=root)
    parser.add_argument("--out", type=Path, required=True, help="folder of benchmark.html and benchmark.json")
    group = add_encoder_arguments(parser, otherwise="; or untrained")
    group.add_argument("--preset", choices=tuple(PRESETS), help="size of --model untrained")
    group = parser.add_argument_group("heads")
    group.add_argument(
        "--heads", nargs="+", choices=HEADS, help="over contacts; the first is judged. The data set's own if not given"
    )
    group.add_argument("--seeds", type=int, default=seeds, help="of heads that are networks, whose mean counts")
    group.add_argument("--fine-tune", action="store_true", help="also train encoder and head together, from two starts")
    defaults = Recipe()
    group.add_argument("--steps", type=int, default=defaults.steps, help="of --fine-tune, at most")
    group.add_argument(
        "--patience", type=int, default=defaults.patience, help="steps of --fine-tune without a lower validation loss"
    )
    group = parser.add_argument_group("what is computed")
    group.add_argument("--cache", type=Path, help="folder in which features and scores are kept; OUT/cache")
    group.add_argument("--untrained-seeds", type=int, default=untrained, help="untrained twins of the encoder")
    group.add_argument("--without", nargs="*", default=[], choices=CONTROLS, help="linear decoders to leave out")
    group.add_argument("--draws", type=int, default=2000, help="of bootstrap and of chance")
    group.add_argument("--jobs", type=int, default=1, help="processes for linear heads")
    group.add_argument("--seed", type=int, default=0, help="of heads, twins, draws and random splits")


if __name__ == "__main__":
    run(main)
