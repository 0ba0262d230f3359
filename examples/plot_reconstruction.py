"""Draw what a pretrained model makes of a masked clip: voltage, true, masked and reconstructed image.

python examples/plot_reconstruction.py corpus --model run/model --out reconstruction.png
"""

import argparse
from pathlib import Path

import torch
from model_folder import check_model
from program import HelpFormatter, run
from transformers import AutoFeatureExtractor, AutoModelForPreTraining

import brainbert.modeling_brainbert  # noqa: F401 (registers BrainBERT with the Auto classes)
from brainbert.processing.atomic import written_whole
from brainbert.processing.corpora import load_corpus, load_statistics
from brainbert.processing.training import CollateClips, interpolate_masked, masked_batch, plot_reconstruction


def main() -> None:
    args = parse_arguments()
    check_model(args.model)
    model = AutoModelForPreTraining.from_pretrained(args.model).eval()
    extractor = AutoFeatureExtractor.from_pretrained(args.model)
    corpus = load_corpus(args.corpus).with_format("numpy")
    if not -len(corpus) <= args.clip < len(corpus):
        raise ValueError(f"There is no clip {args.clip}: {args.corpus} has {len(corpus)}.")
    row = corpus[args.clip % len(corpus)]
    statistics = None
    if extractor.normalization == "recording":
        statistics = load_statistics(args.statistics or args.corpus, extractor)
    clip = CollateClips(statistics)([row])
    batch = masked_batch(clip, extractor, seed=args.seed, epoch=0)
    with torch.no_grad():
        output = model(**batch)
    # Cells that can be seen are shown as they are: the loss, and so the model, knows nothing of them.
    filled = torch.where(batch["mask"], output.logits, batch["labels"])
    guess = interpolate_masked(batch["labels"], batch["mask"])
    error = (guess - batch["labels"]).abs()[batch["mask"]].mean()
    figure = plot_reconstruction(
        clip["voltage"][0].numpy(),
        {
            "true": batch["labels"][0].numpy(),
            "masked (what the model is given)": batch["input_values"][0].numpy(),
            f"reconstructed by the model: error over masked cells {output.l1_sum / output.l1_count:.2f}": filled[
                0
            ].numpy(),
            f"interpolated from the neighbours: error {error:.2f}": guess[0].numpy(),
        },
        mask=batch["mask"][0].numpy(),
        sampling_rate=float(row["sampling_rate"]),
        frequencies=extractor.frequencies,
        first_frame_s=extractor.first_frame_s,
        frame_duration_s=extractor.frame_duration_s,
        title=f"recording {row['recording']}, contact {row['contact']}, "
        f"from {float(row['start']) / float(row['sampling_rate']):.1f} s",
    )
    with written_whole(args.out) as temporary:
        figure.savefig(temporary, format=args.out.suffix.lstrip(".") or "png", dpi=120)
    print(f"Saved {args.out}.")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=HelpFormatter)
    parser.add_argument("corpus", type=Path, help="folder made by examples/build_corpus.py")
    parser.add_argument("--model", required=True, help="folder or Hub id of a pretrained BrainBERT model")
    parser.add_argument("--out", type=Path, required=True, help="picture: .png, .pdf or .svg")
    parser.add_argument("--statistics", type=Path, help="folder of the run that fitted them; the corpus if not given")
    parser.add_argument("--clip", type=int, default=-1, help="row of the corpus; -1 is the last")
    parser.add_argument("--seed", type=int, default=0, help="of the masks")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
