"""The flags that say what is held out, alike in the programs that split corpora."""

import argparse


def add_split_arguments(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--split",
        nargs="+",
        default=["time"],
        choices=("time", "recording"),
        help="what is held out in blocks; one for all corpora or one for each",
    )
    parser.add_argument("--validation", type=float, default=0.1, help="share that is held out")
    parser.add_argument("--embargo-s", type=float, default=5.0, help="seconds between the parts, used by neither")
