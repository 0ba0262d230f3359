"""Build a corpus of clips from recording files: read, condition, cut, check, write.

    python examples/build_corpus.py night1.edf night2.edf --out corpus --line-frequency 50
    python examples/build_corpus.py BIDS_ROOT --subject 01 --task rest --out corpus --line-frequency 60
    python examples/build_corpus.py --manifest recordings.tsv --out corpus --line-frequency 50

A manifest has one recording a line and a first line that names its columns: path, and any of subject, session, task,
acquisition, run, unit, series, position_unit, grid; what it says of a recording counts when that recording is written.
Interrupted, the build goes on where it was when called again. The corpus's README.md says what went in.
"""

import argparse
import csv
import json
from functools import partial
from pathlib import Path

from conditioning import ENTITIES, OF_NWB, add_conditioning_arguments, conditioning_of, read_conditioned

from brainbert.modeling_brainbert import BrainBertFeatureExtractor
from brainbert.processing.corpora import build_corpus
from brainbert.processing.program import HelpFormatter, run
from brainbert.processing.recordings import grids_from_text, identify_recording


def main() -> None:
    args = parse_arguments()
    extractor = BrainBertFeatureExtractor()
    recordings = {}
    for source in sources_of(args):
        entities = {entity: getattr(source, entity) for entity in ENTITIES}
        name = identify_recording(source.path, **entities, series=source.series)
        if name in recordings:
            raise ValueError(f"{source.path} holds the same recording as another of the files: name it once.")
        recordings[name] = partial(read_conditioned, source.path, source, sampling_rate=extractor.sampling_rate)
    corpus = build_corpus(
        recordings,
        args.out,
        clip_s=args.clip_s,
        stride_s=args.stride_s,
        storage=args.storage,
        sampling_rate=extractor.sampling_rate,
        conditioning=conditioning_of(args),
        extractor=extractor,
    )
    totals = json.loads((args.out / "corpus.json").read_text())
    print(
        f"{len(corpus):,} clips of {totals['contacts']} contacts in {args.out}. Left out: "
        f"{totals['contacts_left_out']} contacts and {sum(totals['clips'].values()) - len(corpus)} clips; "
        f"{args.out / 'README.md'} says why."
    )


def sources_of(args: argparse.Namespace) -> list[argparse.Namespace]:
    """Return the arguments of each recording: those of the command line, and what its line of the manifest says."""
    if bool(args.recordings) == bool(args.manifest):
        raise ValueError("Name recordings, or a --manifest that lists them: one of the two.")
    if not args.manifest:
        return [argparse.Namespace(**{**vars(args), "path": path}) for path in args.recordings]
    with args.manifest.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file, delimiter="\t"))
    unknown = {column for line in lines for column in line} - {"path", "unit", "grid", *OF_NWB, *ENTITIES}
    if unknown or not all(line.get("path") for line in lines):
        raise ValueError(
            f"{args.manifest} has the columns {', '.join(map(str, lines[0])) if lines else '(none)'}: give path and "
            f"any of {', '.join((*ENTITIES, 'unit', *OF_NWB, 'grid'))}, separated by tabs."
        )
    given = [
        {column: text.split() if column == "grid" else text for column, text in line.items() if text} for line in lines
    ]
    for line in given:
        grids_from_text(line.get("grid", []))  # refused now, not hours later
    # Paths are relative to the manifest, so that a folder can be moved with it.
    return [argparse.Namespace(**{**vars(args), **line, "path": args.manifest.parent / line["path"]}) for line in given]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=HelpFormatter)
    parser.add_argument(
        "recordings", nargs="*", type=Path, help="EDF, BDF, BrainVision, FIF or NWB files, or one BIDS root"
    )
    parser.add_argument("--manifest", type=Path, help="table of recordings: path, subject, session, task, … by tabs")
    parser.add_argument("--out", type=Path, required=True, help="folder of the corpus")
    parser.add_argument("--clip-s", type=float, default=5.0, help="length of a clip in seconds")
    parser.add_argument("--stride-s", type=float, help="seconds from clip to clip; --clip-s (no overlap) if not given")
    parser.add_argument("--storage", default="float32", choices=("float32", "int16"), help="int16 is half the size")
    add_conditioning_arguments(parser)
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
