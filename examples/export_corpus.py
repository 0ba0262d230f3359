"""Export corpora as Parquet shards: a folder to stream from, and to upload to the Hub as it is.

    python examples/build_corpus.py night1.edf night2.edf --out corpus --line-frequency 50
    python examples/export_corpus.py corpus --out shards
    accelerate launch examples/pretrain.py shards --out run
    python -m brainbert.hub_upload.push shards NAME/DATASET --kind dataset

Check consent before uploading: the card, shards/README.md, says what is in it. The last command is a dry run.
"""

import argparse
from pathlib import Path

from splitting import add_split_arguments

from brainbert.processing.corpora import export_shards, shards_record, split_corpora
from brainbert.processing.program import HelpFormatter, run


def main() -> None:
    args = parse_arguments()
    split = {"by": args.split, "validation": args.validation, "embargo_s": args.embargo_s, "seed": args.seed}
    train, validation = split_corpora(args.corpora, **split)
    exported = {"split": split, "shards": args.shards, "seed": args.seed, "license": args.license}
    export_shards(train, validation, args.out, corpora=args.corpora, **exported)
    rows, files = shards_record(args.out)["rows"], list(args.out.rglob("*.parquet"))
    print(
        f"{rows['train']:,} training and {rows['validation']:,} held-out clips in {len(files)} shards, "
        f"{sum(path.stat().st_size for path in files) / 1e6:,.0f} MB, in {args.out}."
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=HelpFormatter)
    parser.add_argument("corpora", nargs="+", type=Path, help="folders made by examples/build_corpus.py")
    parser.add_argument("--out", type=Path, required=True, help="new folder of the shards")
    add_split_arguments(parser)
    parser.add_argument("--shards", type=int, help="of the training part; about 500 MB each if not given")
    parser.add_argument("--license", help="of the data, as the Hub calls it, such as cc-by-4.0; needed to publish it")
    parser.add_argument("--seed", type=int, default=0, help="of the order of clips, and of recordings held out")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
