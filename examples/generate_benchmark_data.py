"""Write small files in the exact formats of public benchmarks, to try their commands before the data are there.

    python examples/generate_benchmark_data.py mayo made/mayo
    python examples/generate_benchmark_data.py du-in made/du-in --layout bids
    python examples/generate_benchmark_data.py dreamt made/dreamt --no-signal

Signals are planted, which a decoder must find; with --no-signal labels have nothing to do with the recordings, and it
must not find any. --fault damages the files in one way, for which the programs must end in one sentence.
"""

import argparse
from pathlib import Path

import generated_dreamt
import generated_du_in
import generated_mayo_fnusa

from brainbert.processing.program import DescriptionHelpFormatter, run

SETS = {"mayo": generated_mayo_fnusa, "du-in": generated_du_in, "dreamt": generated_dreamt}


def main() -> None:
    args = parse_arguments()
    if args.out.exists() and any(args.out.iterdir()):
        raise ValueError(f"{args.out} is not empty: give a new folder.")
    if args.fault and args.fault not in SETS[args.data].FAULTS:
        known = "; ".join(f"{name} ({what})" for name, what in SETS[args.data].FAULTS.items())
        raise ValueError(f"There is no fault {args.fault!r} of {args.data}: choose from {known}.")
    how = {"layout": args.layout} if args.data == "du-in" else {}
    SETS[args.data].generate(args.out, planted=not args.no_signal, seed=args.seed, progress=True, **how)
    if args.fault:
        SETS[args.data].spoil(args.out, args.fault)
    print(args.out)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=DescriptionHelpFormatter)
    parser.add_argument("data", choices=tuple(SETS), help="whose format")
    parser.add_argument("out", type=Path, help="new folder")
    parser.add_argument("--no-signal", action="store_true", help="labels that have nothing to do with the recordings")
    parser.add_argument("--fault", metavar="NAME", help="what is wrong with the files; a wrong name lists them")
    parser.add_argument("--layout", default="pickle", choices=("pickle", "bids"), help="of du-in")
    parser.add_argument("--seed", type=int, default=0, help="of the numbers that are drawn")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
