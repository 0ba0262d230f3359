"""Draw what a pretrained model makes of a masked clip: voltage, true, masked and reconstructed image.

python examples/plot_reconstruction.py corpus --model run/model --out reconstruction.png
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from model_folder import check_model
from transformers import AutoFeatureExtractor, AutoModelForPreTraining

import brainbert.modeling_brainbert  # noqa: F401 (registers BrainBERT with the Auto classes)
from brainbert.processing.atomic import written_whole
from brainbert.processing.corpora import load_corpus, load_statistics
from brainbert.processing.program import HelpFormatter, run
from brainbert.processing.training import CollateClips, interpolate_masked, masked_batch, plot_reconstruction

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
    figure = draw(clip, batch, output.logits, extractor)
    with written_whole(args.out) as temporary:
        figure.savefig(temporary, format=args.out.suffix.lstrip(".") or "png", dpi=120)
    print(f"Saved {args.out}.")


def draw(clips: dict, batch: dict[str, torch.Tensor], logits: torch.Tensor, extractor: Any) -> "Figure":
    """Return a figure of the first of `clips`: its voltage, and the images true, masked, reconstructed, interpolated.

    clips: of CollateClips; batch: what masked_batch made of them; logits: what the model made of that.
    """
    mask, true = batch["mask"][:1], batch["labels"][:1]
    # Cells that can be seen are shown as they are: the loss, and so the model, knows nothing of them.
    filled = torch.where(mask, logits[:1], true)
    guess = interpolate_masked(true, mask)
    errors = [f"{(image - true).abs()[mask].mean():.2f}" for image in (filled, guess)]
    recording, contact, start = clips["name"][0].rsplit("/", 2)
    images = {
        "true": true,
        "masked (what the model is given)": batch["input_values"][:1],
        f"reconstructed by the model: error over masked cells {errors[0]}": filled,
        f"interpolated from the neighbours: error {errors[1]}": guess,
    }
    return plot_reconstruction(
        clips["voltage"][0].cpu().numpy(),
        {title: image[0].float().cpu().numpy() for title, image in images.items()},
        mask=mask[0].cpu().numpy(),
        sampling_rate=extractor.sampling_rate,
        frequencies=extractor.frequencies,
        first_frame_s=extractor.first_frame_s,
        frame_duration_s=extractor.frame_duration_s,
        title=f"recording {recording}, contact {contact}, from {int(start) / extractor.sampling_rate:.1f} s",
    )


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
