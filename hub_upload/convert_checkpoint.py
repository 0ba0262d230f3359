"""Convert a checkpoint of the authors' code to a folder for the Hub; nothing of the checkpoint is executed.

    python -m brainbert.hub_upload.convert_checkpoint stft_large_pretrained.pth stft-large
    python -m brainbert.hub_upload.convert_checkpoint released.zip superlet-large --member superlet_large_pretrained.pth

Checkpoints that were trained with the authors' code are taken too, of any width and depth. Then check the folder with
brainbert.hub_upload.verify, and describe it with brainbert.hub_upload.model_card.
"""

import argparse
import json
import math
import platform
import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from brainbert.modeling_brainbert import BrainBertConfig, BrainBertFeatureExtractor, BrainBertForPreTraining
from brainbert.modeling_brainbert.modeling_brainbert import sinusoidal_positions
from brainbert.processing.atomic import written_whole
from brainbert.processing.program import HelpFormatter, run
from brainbert.processing.restricted_pickle import shown

from .original_checkpoint import FrontEnd, OriginalCheckpoint, read_original

POSITIONS = "input_encoding.positional_encoding.pe"
# The table is the same but for the last digit of another machine's exponential, which the frame's number multiplies:
# computed in float64 it differs by 2e-4 at frame 5000. Half precision rounds it by up to 2.4e-4.
POSITIONS_DIFFER = 1e-3
_MODULES = {
    "input_encoding.in_proj": "brainbert.embeddings.projection",
    "input_encoding.layer_norm": "brainbert.embeddings.layer_norm",
    "spec_prediction_head.hidden_layer": "reconstruction_head.dense",
    "spec_prediction_head.layer_norm": "reconstruction_head.layer_norm",
    "spec_prediction_head.output": "reconstruction_head.decoder",
}
_LAYER = {
    "self_attn.out_proj": "attention.o_proj",
    "linear1": "intermediate",
    "linear2": "output",
    "norm1": "attention_layer_norm",
    "norm2": "output_layer_norm",
}
_PACKED = "self_attn.in_proj_"  # query, key and value in one
# Of their front ends: setting → the value in the released configuration, which a settings file may leave out.
_STFT = {"nperseg": 400, "noverlap": 350, "normalizing": "zscore"}
_SUPERLETS = {"c1": 1, "order_min": 3, "order_max": 30, "decim": 50, "min_f": 0.1, "max_f": 200, "n_f_steps": 40}
# Sections of a run's settings that the report keeps; the others say where files are.
_KEPT = ("task", "preprocessor", "exp", "criterion")
_PLACE = re.compile(r"[/\\~$@]")  # paths, references to other settings
# The authors' name of a setting → what the weights must agree with it on.
_SHAPES = {
    "hidden_dim": "hidden_size",
    "input_dim": "num_frequency_bins",
    "layer_dim_feedforward": "intermediate_size",
    "encoder_num_layers": "num_hidden_layers",
}


def names_of(key: str) -> list[str]:
    """Return our names for one of the authors': one, three for the packed query–key–value, none for the positions.

    Raises KeyError for a name that is not the authors'.
    """
    if key == POSITIONS:
        return []
    module, _, parameter = key.rpartition(".")
    if module in _MODULES:
        return [f"{_MODULES[module]}.{parameter}"]
    number, _, inside = key.removeprefix("transformer.layers.").partition(".")
    if not key.startswith("transformer.layers.") or not number.isdecimal():
        raise KeyError(key)
    layer = f"brainbert.layers.{int(number)}"
    if inside in (f"{_PACKED}weight", f"{_PACKED}bias"):
        return [f"{layer}.attention.{name}_proj.{inside.removeprefix(_PACKED)}" for name in "qkv"]
    module, _, parameter = inside.rpartition(".")
    return [f"{layer}.{_LAYER[module]}.{parameter}"]


def convert_state_dict(original: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the state dict of BrainBertForPreTraining, in float32, for that of the authors' model.

    The packed query–key–value matrix is split in three; the sinusoidal table is dropped (we compute it).
    Raises ValueError naming the keys that are not the authors'.
    """
    converted: dict[str, torch.Tensor] = {}
    unknown = []
    for key, tensor in original.items():
        try:
            names = names_of(key)
        except KeyError:
            unknown.append(key)
            continue
        for name, part in zip(names, tensor.chunk(len(names)) if names else (), strict=True):
            converted[name] = part.float().contiguous()
    if unknown:
        raise ValueError(f"These keys are not of the authors' BrainBERT: {_some(unknown)}.")
    return converted


def convert(
    source: Path,
    out: Path,
    *,
    member: str | None = None,
    front_end: FrontEnd | None = None,
    heads: int | None = None,
) -> dict[str, Any]:
    """Write the folder `out` for a checkpoint of the authors' code; return what conversion_report.json says.

    source: the checkpoint, or a ZIP that holds it (as `member`, where there are several).
    front_end: that the weights were trained with; by default what the checkpoint's settings, or else its name, say.
    heads: of attention; by default those of the checkpoint's settings. Shapes do not show either.
    Raises ValueError when `out` exists, for a checkpoint that is not the authors', for weights that are not finite, for
    settings that disagree with the weights, and where heads or front end are not known.
    """
    out = Path(out)
    if out.exists():
        raise ValueError(f"{out} exists: choose another folder, so that nothing is lost.")
    checkpoint = read_original(source, member=member)
    preprocessor = checkpoint.run.get("preprocessor")
    preprocessor = preprocessor if isinstance(preprocessor, dict) else {}
    if preprocessor and checkpoint.front_end and front_end not in (None, checkpoint.front_end):
        raise ValueError(
            f"The checkpoint's settings say preprocessor {checkpoint.front_end!r}, and --front-end is {front_end}: "
            "leave it out."
        )
    front_end = front_end or checkpoint.front_end
    if front_end is None:
        raise ValueError(
            "Neither the settings nor the name of the checkpoint say which front end it was trained with: give "
            "--front-end stft or --front-end superlet."
        )
    _refuse_other_positions(checkpoint.weights)
    config = configuration(checkpoint, heads=heads)
    if strange := [key for key, tensor in checkpoint.weights.items() if not tensor.is_floating_point()]:
        raise ValueError(
            f"The weights {_some(strange)} are whole numbers, as quantised models have: give the original."
        )
    weights = convert_state_dict(checkpoint.weights)
    with torch.device("meta"):
        expected = {name: tuple(tensor.shape) for name, tensor in BrainBertForPreTraining(config).state_dict().items()}
    _refuse_other_shapes(weights, expected)
    if broken := [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]:
        raise ValueError(f"The weights {_some(broken)} are not finite: this checkpoint is of a run that failed.")
    model = BrainBertForPreTraining(config)
    model.load_state_dict(weights)
    extractor = _extractor(front_end, config.num_frequency_bins, preprocessor)
    report = _report(checkpoint, model, extractor, front_end)
    with written_whole(out) as folder:
        model.save_pretrained(folder)
        extractor.save_pretrained(folder)
        text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        (folder / "conversion_report.json").write_text(text, encoding="utf-8")
    return report


def configuration(checkpoint: OriginalCheckpoint, *, heads: int | None = None) -> BrainBertConfig:
    """Return the configuration that the weights' shapes and the checkpoint's settings give.

    Raises ValueError when weights are missing or disagree with the settings.
    """
    weights, settings = checkpoint.weights, checkpoint.settings
    try:
        hidden, bins = weights["input_encoding.in_proj.weight"].shape
        layers = 1 + max(int(key.split(".")[2]) for key in weights if key.startswith("transformer.layers."))
        feed_forward = weights["transformer.layers.0.linear1.weight"].shape[0]
    except (KeyError, ValueError, IndexError):
        raise ValueError(
            "This is no checkpoint of the authors' pretraining: it lacks input_encoding.in_proj.weight or "
            f"transformer.layers.0.linear1.weight, and has {_some(list(weights))}."
        ) from None
    if not 0 < layers <= 1000:
        raise ValueError(f"The checkpoint names a layer {layers - 1:,}: it is damaged.")
    found = {
        "hidden_size": hidden,
        "num_frequency_bins": bins,
        "intermediate_size": feed_forward,
        "num_hidden_layers": layers,
    }
    for setting, name in _SHAPES.items():
        if setting in settings and settings[setting] != found[name]:
            raise ValueError(
                f"The checkpoint's settings say {setting} {shown(settings[setting])}, and its weights {found[name]}: "
                "one of them is of another model."
            )
    if settings.get("layer_activation", "gelu") != "gelu":
        raise ValueError(
            f"The checkpoint was trained with the activation {shown(settings['layer_activation'])}, and its head with "
            "gelu; models here have one activation: this checkpoint cannot be converted."
        )
    said = settings.get("nhead")
    if heads is not None and said not in (None, heads):
        raise ValueError(f"The checkpoint's settings say nhead {shown(said)}, and --heads is {heads}: leave it out.")
    if not isinstance(heads := heads or said, int):
        raise ValueError("The checkpoint does not say how many heads it has, nor do its weights: give --heads.")
    if heads < 1 or hidden % heads or hidden % 2:
        raise ValueError(f"A width of {hidden} cannot have {heads} heads: give the --heads of the training.")
    positions = weights.get(POSITIONS)
    if positions is not None:
        found["max_position_embeddings"] = positions.shape[-2] if positions.ndim == 3 else 0
    return BrainBertConfig(**found, num_attention_heads=heads)


def _refuse_other_positions(weights: Mapping[str, torch.Tensor]) -> None:
    """The table is not a weight, and we compute it: a checkpoint with another one is of another model."""
    given = weights.get(POSITIONS)
    if given is None:
        return
    if given.ndim != 3 or given.shape[0] != 1 or given.shape[1] > 100_000 or given.shape[2] % 2:
        raise ValueError(f"The checkpoint's {POSITIONS} has the shape {tuple(given.shape)}: it is of another model.")
    difference = (given.float() - sinusoidal_positions(given.shape[1], given.shape[2])).abs().max().item()
    if not difference <= POSITIONS_DIFFER:
        raise ValueError(
            f"The checkpoint's positions differ from the sinusoids by {difference:.2g}: it is of another model."
        )


def _refuse_other_shapes(weights: Mapping[str, torch.Tensor], expected: Mapping[str, tuple[int, ...]]) -> None:
    missing, extra = (
        [name for name in expected if name not in weights],
        [name for name in weights if name not in expected],
    )
    if missing or extra:
        parts = [f"lacks {_some(missing)}"] * bool(missing) + [f"has besides {_some(extra)}"] * bool(extra)
        raise ValueError(f"The checkpoint is not whole, or of another model: in our names, it {' and '.join(parts)}.")
    other = [
        f"{name} {tuple(weights[name].shape)} for {shape}"
        for name, shape in expected.items()
        if tuple(weights[name].shape) != shape
    ]
    if other:
        raise ValueError(f"The checkpoint has weights of another shape: {_some(other)}.")


def _extractor(front_end: FrontEnd, bins: int, preprocessor: Mapping[str, Any]) -> BrainBertFeatureExtractor:
    """Return the front end of the run's settings, or the released one where the checkpoint says nothing of it."""
    usual: dict[str, Any] = _SUPERLETS if front_end == "superlet" else _STFT
    given: dict[str, Any] = usual | {name: value for name, value in preprocessor.items() if name in usual}
    numbers = [value for name, value in given.items() if name != "normalizing"]
    if given.get("normalizing", "zscore") != "zscore" or not all(type(each) in (int, float) for each in numbers):
        raise ValueError(
            f"The checkpoint's settings say preprocessor {shown(given)}, which is none of the authors' with z-scores."
        )
    reads = given["n_f_steps"] if front_end == "superlet" else preprocessor.get("freq_channel_cutoff", bins)
    if reads != bins:
        raise ValueError(
            f"The weights read {bins} bins and the front end gives {reads}: their frequencies are unknown."
        )
    if front_end == "superlet":
        return BrainBertFeatureExtractor(
            feature_size=bins,
            transform="superlet",
            hop_length=given["decim"],
            superlet_frequencies=np.linspace(given["min_f"], given["max_f"], bins).tolist(),
            superlet_orders=(given["order_min"], given["order_max"]),
            superlet_cycles=given["c1"],
        )
    if not 0 <= given["noverlap"] < given["nperseg"]:
        raise ValueError(f"The checkpoint's settings say nperseg {given['nperseg']} and noverlap {given['noverlap']}.")
    return BrainBertFeatureExtractor(
        feature_size=bins, window_length=given["nperseg"], hop_length=given["nperseg"] - given["noverlap"]
    )


def _kept(settings: Any) -> Any:
    """Return the numbers and plain words among settings; places on somebody's disk are left out."""
    if isinstance(settings, dict):
        return {name: _kept(value) for name, value in settings.items() if _kept(value) is not None}
    if isinstance(settings, str) and not _PLACE.search(settings):
        return settings
    return settings if isinstance(settings, int) or (isinstance(settings, float) and math.isfinite(settings)) else None


def _report(
    checkpoint: OriginalCheckpoint,
    model: BrainBertForPreTraining,
    extractor: BrainBertFeatureExtractor,
    front_end: FrontEnd,
) -> dict[str, Any]:
    return {
        # Not its name: people name files after people.
        "source": {"sha256": checkpoint.sha256, "bytes": checkpoint.size},
        "settings": _kept(checkpoint.settings),
        "run": {name: _kept(checkpoint.run[name]) for name in _KEPT if name in checkpoint.run},
        "front_end": front_end,
        "fingerprint": extractor.fingerprint,
        "keys": {
            "converted": {key: names_of(key) for key in checkpoint.weights if key != POSITIONS},
            "dropped": {key: "computed here" for key in checkpoint.weights if key == POSITIONS},
            "missing": [],
            "unexpected": [],
        },
        "shapes": {key: list(tensor.shape) for key, tensor in checkpoint.weights.items()},
        "dtypes": sorted({str(tensor.dtype).removeprefix("torch.") for tensor in checkpoint.weights.values()}),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "versions": {
            **{name: version(name) for name in ("brainbert", "torch", "transformers")},
            "python": platform.python_version(),
        },
    }


def _some(names: list[str]) -> str:
    some = ", ".join(map(shown, names[:5])) or "nothing"
    return f"{some} and {len(names) - 5} more" if len(names) > 5 else some


def main() -> None:
    args = parse_arguments()
    report = convert(args.source, args.out, member=args.member, front_end=args.front_end, heads=args.heads)
    keys = report["keys"]
    print(
        f"{len(keys['converted'])} tensors converted, {len(keys['dropped'])} dropped (computed here), none missing, "
        f"none unexpected: {report['parameters']:,} parameters in float32, front end {report['fingerprint']}."
    )
    print(f"Source: sha256 {report['source']['sha256']}, {report['source']['bytes']:,} bytes.")
    print(f"{args.out} has the model; the keys one by one are in {args.out / 'conversion_report.json'}. Next:")
    print(f"  python -m brainbert.hub_upload.verify {args.out}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=HelpFormatter)
    parser.add_argument("source", type=Path, metavar="IN", help="checkpoint (.pth), or a ZIP that holds it")
    parser.add_argument("out", type=Path, metavar="OUT", help="new folder for the Hub")
    parser.add_argument("--member", help="name of the checkpoint in a ZIP of several")
    parser.add_argument(
        "--front-end", choices=get_args(FrontEnd), help="it was trained with; by default what the name of IN says"
    )
    parser.add_argument("--heads", type=int, help="of attention, where the checkpoint has no model_cfg that says it")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
