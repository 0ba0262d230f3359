"""Build a corpus of clips from recording files: read, condition, cut, check, write.

    python examples/build_corpus.py night1.edf night2.edf --out corpus --line-frequency 50
    python examples/build_corpus.py BIDS_ROOT --subject 01 --task rest --out corpus --line-frequency 60

Interrupted, it goes on where it was when called again. The corpus's README.md says what went in.
"""

import argparse
from functools import partial
from pathlib import Path

from conditioning import add_conditioning_arguments, conditioning_of, entities_of, read_conditioned
from program import run

from brainbert.modeling_brainbert import BrainBertFeatureExtractor
from brainbert.processing.corpora import build_corpus
from brainbert.processing.recordings import identify_recording


def main() -> None:
    args = parse_arguments()
    extractor = BrainBertFeatureExtractor()
    recordings = {
        identify_recording(path, **entities_of(args)): partial(
            read_conditioned, path, args, sampling_rate=extractor.sampling_rate
        )
        for path in args.recordings
    }
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
    print(f"{len(corpus):,} clips in {args.out}; {args.out / 'README.md'} says what went in.")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("recordings", nargs="+", type=Path, help="EDF, BDF, BrainVision or FIF files, or one BIDS root")
    parser.add_argument("--out", type=Path, required=True, help="folder of the corpus")
    parser.add_argument("--clip-s", type=float, default=5.0, help="length of a clip in seconds")
    parser.add_argument("--stride-s", type=float, help="seconds from clip to clip; --clip-s (no overlap) if not given")
    parser.add_argument("--storage", default="float32", choices=("float32", "int16"), help="int16 is half the size")
    add_conditioning_arguments(parser)
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
