"""Write a generated Brain Treebank: the public layout, with known responses to speech, volume and pitch.

    python examples/generate_brain_treebank.py treebank
    python examples/generate_brain_treebank.py treebank --sessions nano
    python examples/generate_brain_treebank.py small --words made-up --minutes 6
    python examples/generate_brain_treebank.py long --words made-up --minutes 60 --contacts 60 --sessions 4_0
    python examples/generate_brain_treebank.py plan --sessions all --contacts 300 --no-voltage

Movies, words and contacts are those of the neuroprobe package's tables (pip install --no-deps neuroprobe==0.1.8), at
their places; the voltage is noise. In the middle of three contacts, 70 to 150 Hz grow and 13 to 30 Hz shrink from a
word's onset to the next one's, or for a second, and most within 0.19 s of an onset. In the middle of another three they
do so for the louder half of the words, and of another for the higher half; in silence these two wander between the same
states. planted.json says which contacts these are; no other column of features.csv has a response. A quarter of the
time, in stretches of 1.5 s, is left to a coin, so that no score is perfect.
A trigger lies at each word's beginning and end, and at 1024 Hz (subject 9) or with --words made-up every 2 s, with
pauses between. Rows of features.csv that the tables lack are incomplete; five words come after the last trigger.
Interrupted, it goes on where it was when called again.
"""

import argparse
import re
from pathlib import Path

from generated_treebank import TEST_SESSIONS, generate

from brainbert.processing.corpora.brain_treebank import SESSIONS
from brainbert.processing.program import HelpFormatter, run

NANO_SESSIONS = ((1, 1), (2, 4), (3, 1), (4, 0), (7, 1), (10, 1), (4, 1))
NAMED = {"test": TEST_SESSIONS, "nano": NANO_SESSIONS, "all": SESSIONS}


def main() -> None:
    args = parse_arguments()
    generate(
        args.out,
        sessions=sessions_of(args.sessions),
        contacts=args.contacts,
        words=args.words,
        minutes=args.minutes,
        seed=args.seed,
        subfolder=args.subfolder,
        with_voltage=not args.no_voltage,
        progress=True,
    )
    files = [path for path in args.out.rglob("*") if path.is_file()]
    # A file without voltage is a hole: it has a size, and takes no room.
    room = sum(
        path.stat().st_blocks * 512 if hasattr(path.stat(), "st_blocks") else path.stat().st_size for path in files
    )
    print(f"{sum(path.suffix == '.h5' for path in files)} sessions, {room / 1e6:,.0f} MB on disk, in {args.out}.")


def sessions_of(names: list[str]) -> tuple[tuple[int, int], ...]:
    """Return (subject, trial) of each session that is named, alone or as one of a set; each once."""
    sessions: list[tuple[int, int]] = []
    for name in names:
        if name not in NAMED and not re.fullmatch(r"\d+_\d+", name):
            raise ValueError(f"{name} names no session: give SUBJECT_TRIAL, such as 4_0, or {', '.join(NAMED)}.")
        sessions += list(NAMED[name]) if name in NAMED else [tuple(map(int, name.split("_")))]
    return tuple(dict.fromkeys(sessions))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=HelpFormatter)
    parser.add_argument("out", type=Path, help="new folder of the root, or one that was interrupted")
    parser.add_argument(
        "--sessions",
        nargs="+",
        default=["test"],
        metavar="SESSION",
        help="SUBJECT_TRIAL, test (1_1 2_4 4_0 4_1 9_0), nano (Neuroprobe-Nano's six and 4_1) or all (26)",
    )
    parser.add_argument(
        "--contacts",
        type=int,
        default=12,
        help="of each subject, 12 or more (all it has, if fewer), besides four channels for faults",
    )
    parser.add_argument(
        "--words",
        default="neuroprobe",
        choices=("neuroprobe", "made-up"),
        help="those of the neuroprobe package, or made up, which needs no package",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        help="of each recording; if not given, all of the movie, and 10 where words are made up",
    )
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn")
    parser.add_argument("--subfolder", action="store_true", help="put the voltage into all_subject_data/")
    parser.add_argument("--no-voltage", action="store_true", help="write .h5 files of the right size without content")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
