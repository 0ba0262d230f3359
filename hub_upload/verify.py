"""Check a model folder: that it loads, and that it computes what the authors' model computed.

    python -m brainbert.hub_upload.verify stft-large
    python -m brainbert.hub_upload.verify stft-large --recorded recorded.npz
    python -m brainbert.hub_upload.verify stft-large --original ../BrainBERT --checkpoint stft_large_pretrained.pth

The last runs the authors' code, a clone of theirs, beside ours on generated voltage. The clone is executed; the
checkpoint is not: its tensors are read as the conversion reads them, and handed over as numbers.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoFeatureExtractor, AutoModelForPreTraining

# Importing it makes the Auto classes know BrainBERT: they run no code of the folder.
from brainbert.modeling_brainbert import BrainBertFeatureExtractor
from brainbert.processing.atomic import written_whole
from brainbert.processing.program import HelpFormatter, run

from .original_checkpoint import read_original

TOLERANCE = 1e-5
# Of a front end in float32, as it is used: rounding takes 1e-5 z units where a magnitude dips near zero. That it is the
# same front end shows in float64.
SINGLE_TOLERANCE = 1e-4
CLIPS, SAMPLES = 2, 10240  # of generated voltage
RATE = 2048  # Hz, written into the authors' code
TIME_LIMIT_S = 1800

# argv: the clone, a file of arrays to read, one to write. Weights under "weight/", settings as JSON.
_THEIRS = r"""
import importlib, json, sys
from types import ModuleType, SimpleNamespace
import numpy as np, torch

clone, given, out = sys.argv[1:]
with np.load(given, allow_pickle=False) as arrays:
    arrays = dict(arrays)
settings = json.loads(str(arrays["settings"]))

def package(name):
    # Not as a whole: that would need everything that their other models need.
    found = ModuleType(name)
    found.__path__ = [f"{clone}/{name}"]
    sys.modules[name] = found
    return found

package("models").register_model = lambda name: lambda cls: cls
package("preprocessors")
model = importlib.import_module("models.masked_tf_model").MaskedTFModel()
model.build_model(SimpleNamespace(**settings))
weights = {name[7:]: torch.from_numpy(array) for name, array in arrays.items() if name.startswith("weight/")}
model.load_state_dict(weights)
model.eval()
preprocessor = SimpleNamespace(**json.loads(str(arrays["preprocessor"])))
if preprocessor.name == "stft":
    front_end = importlib.import_module("preprocessors.stft").STFTPreprocessor(preprocessor)
else:
    front_end = importlib.import_module("preprocessors.superlet_preprocessor").SuperletPreprocessor(preprocessor)
image = torch.stack([torch.as_tensor(np.asarray(front_end(clip))).float() for clip in arrays["waveform"]])
nothing = torch.zeros(image.shape[:2], dtype=torch.bool)
with torch.inference_mode():
    hidden = model(image, nothing, intermediate_rep=True)
    prediction, _ = model(image, nothing)
np.savez(out, image=image.numpy(), hidden=hidden.numpy(), prediction=prediction.numpy())
"""


def verify(
    folder: Path | str,
    *,
    recorded: Path | None = None,
    original: Path | None = None,
    checkpoint: Path | None = None,
    member: str | None = None,
) -> dict[str, Any]:
    """Return {"checks": [{"what", "difference", "tolerance", "passed"}, …], "passed"} for a model folder.

    recorded: an .npz with what the authors' code computed: any of waveform (clips, samples) at 2048 Hz with stft or
        superlet (clips, frames, bins); input with pad_mask (True is padding), hidden and prediction.
    original: a clone of the authors' code, which is executed. checkpoint: that the folder was converted from (member of
        a ZIP). Differences are the largest over all elements, padding aside.
    Raises ValueError when the folder is no model, or its checkpoint or clone are not what they should be.
    """
    if not (Path(folder) / "config.json").is_file():
        raise ValueError(f"{folder} holds no config.json: give a folder such as convert_checkpoint writes.")
    if (original is None) != (checkpoint is None):
        raise ValueError("--original and --checkpoint belong together: give the clone and what the folder came from.")
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    model, info = AutoModelForPreTraining.from_pretrained(folder, output_loading_info=True)
    model.eval()
    checks = [*_loading(model, info, extractor)]
    if recorded is not None:
        checks += _against_recorded(model, extractor, _arrays(recorded))
    if original is not None and checkpoint is not None:
        checks += _against_original(model, extractor, original, checkpoint, member)
    return {"checks": checks, "passed": all(check["passed"] for check in checks)}


def _loading(model: Any, info: Mapping[str, Any], extractor: Any) -> Iterator[dict[str, Any]]:
    strange = sum(len(info[name]) for name in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    yield _check("weights missing, unexpected or of another shape", strange, 0)
    if extractor.normalization == "recording":  # whose statistics a folder does not have
        image = torch.randn(2, 100, extractor.feature_size, generator=torch.Generator().manual_seed(0))
    else:
        image = extractor(generated_voltage(), sampling_rate=extractor.sampling_rate)["input_values"]
    with torch.inference_mode():
        first, second = (model(image).logits for _ in range(2))
    yield _check("reconstruction, not finite values", int((~torch.isfinite(first)).sum()), 0)
    yield _check("reconstruction, the same input again", _difference(first, second), 0)


def _against_recorded(model: Any, extractor: Any, recorded: Mapping[str, NDArray]) -> list[dict[str, Any]]:
    checks: list[dict[str, Any]] = []
    name = extractor.transform
    if {"waveform", name} <= recorded.keys() and _has_released_front_end(extractor):
        checks += _front_end(extractor, recorded["waveform"], recorded[name], "recorded")
    if "input" in recorded and recorded["input"].shape[-1] == model.config.num_frequency_bins:
        image = torch.from_numpy(recorded["input"]).float()
        valid = ~torch.from_numpy(recorded.get("pad_mask", np.zeros(image.shape[:2], bool)))
        hidden, prediction = _run(model, image, valid.long())
        for what, ours in (("hidden", hidden), ("prediction", prediction)):
            if what in recorded and recorded[what].shape == tuple(ours.shape):
                checks.append(_check(f"{what}, recorded", _difference(ours[valid], recorded[what][valid.numpy()])))
    if not checks:
        raise ValueError(
            "The recorded arrays have nothing that fits this model: waveform with stft or superlet, or input with "
            "hidden or prediction of the model's size."
        )
    return checks


def _has_released_front_end(extractor: Any) -> bool:
    usual = BrainBertFeatureExtractor(transform=extractor.transform)
    return extractor.fingerprint == usual.fingerprint and extractor.normalization == "clip"


def _preprocessor(extractor: Any) -> dict[str, Any]:
    """Return the settings of the authors' front end that do what `extractor` does."""
    what = (extractor.normalization, extractor.scale, extractor.variant, extractor.sampling_rate)
    if what != ("clip", "linear", "training", RATE):
        raise ValueError(
            f"The folder's front end, {extractor.fingerprint} normalised by {extractor.normalization}, is none of the "
            "authors': --original is for converted checkpoints."
        )
    if extractor.transform == "stft":
        return {
            "name": "stft",
            "freq_channel_cutoff": extractor.feature_size,
            "nperseg": extractor.window_length,
            "noverlap": extractor.window_length - extractor.hop_length,
            "normalizing": "zscore",
        }
    low, high = extractor.superlet_orders
    return {
        "name": "superlet",
        "c1": int(extractor.superlet_cycles),
        "order_min": int(low),
        "order_max": int(high),
        "decim": extractor.hop_length,
        "min_f": extractor.frequencies[0],
        "max_f": extractor.frequencies[-1],
        "n_f_steps": extractor.feature_size,
    }


def _against_original(
    model: Any, extractor: Any, clone: Path, checkpoint: Path, member: str | None
) -> list[dict[str, Any]]:
    if not (clone / "models" / "masked_tf_model.py").is_file():
        raise ValueError(f"{clone} is no clone of the authors' code: it has no models/masked_tf_model.py.")
    weights = read_original(checkpoint, member=member).weights
    config = model.config
    settings = {
        "hidden_dim": config.hidden_size,
        "input_dim": config.num_frequency_bins,
        "nhead": config.num_attention_heads,
        "layer_dim_feedforward": config.intermediate_size,
        "layer_activation": config.hidden_act,
        "encoder_num_layers": config.num_hidden_layers,
    }
    voltage = generated_voltage().astype(np.float64)
    given = {f"weight/{name}": tensor.float().numpy() for name, tensor in weights.items()}
    given |= {
        "waveform": voltage,
        "settings": np.array(json.dumps(settings)),
        "preprocessor": np.array(json.dumps(_preprocessor(extractor))),
    }
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "given.npz", Path(folder) / "theirs.npz"
        np.savez(before, allow_pickle=False, **given)
        try:
            ended = subprocess.run(
                [sys.executable, "-I", "-c", _THEIRS, str(clone.resolve()), str(before), str(after)],
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
                timeout=TIME_LIMIT_S,
            )
        except subprocess.TimeoutExpired:
            raise ValueError(f"The authors' code took more than {TIME_LIMIT_S} s and was stopped.") from None
        if ended.returncode:
            last = (ended.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise ValueError(f"The authors' code stopped ({last}): is {clone} a clone of it, with what it imports?")
        theirs = _arrays(after)
    hidden, prediction = _run(model, torch.from_numpy(theirs["image"]))
    return [
        *_front_end(extractor, voltage, theirs["image"], "authors' code"),
        _check("hidden, authors' code", _difference(hidden, theirs["hidden"])),
        _check("prediction, authors' code", _difference(prediction, theirs["prediction"])),
    ]


def _front_end(extractor: Any, voltage: NDArray, theirs: NDArray, whose: str) -> Iterator[dict[str, Any]]:
    precisions = ((torch.float64, "float64", TOLERANCE), (torch.float32, "float32", SINGLE_TOLERANCE))
    for dtype, name, tolerance in precisions:
        image = extractor(voltage, sampling_rate=RATE, dtype=dtype)["input_values"]
        yield _check(f"{extractor.transform} in {name}, {whose}", _difference(image, theirs), tolerance)


def generated_voltage() -> NDArray[np.float32]:
    """Return (clips, samples) in µV that look a little like a recording: 1/f noise, the same each time."""
    white = np.random.default_rng(0).standard_normal((CLIPS, SAMPLES))
    spectrum = np.fft.rfft(white) / np.sqrt(np.maximum(np.arange(SAMPLES // 2 + 1), 1))
    noise = np.fft.irfft(spectrum, SAMPLES)
    return (50 * noise / noise.std()).astype(np.float32)


def _run(model: Any, image: torch.Tensor, mask: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.inference_mode():
        output = model(image, attention_mask=mask, output_hidden_states=True)
    return output.hidden_states[-1], output.logits


def _arrays(path: Path) -> dict[str, NDArray]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, TypeError):
        raise ValueError(f"{path.name} is no .npz with arrays of numbers: give what was recorded.") from None


def _difference(ours: torch.Tensor, theirs: Any) -> float:
    theirs = torch.as_tensor(theirs)
    if ours.shape != theirs.shape:
        return float("inf")
    found = (ours.double() - theirs.double()).abs().max().item() if ours.numel() else 0.0
    return found if found == found else float("inf")  # NaN is no agreement


def _check(what: str, difference: float, tolerance: float = TOLERANCE) -> dict[str, Any]:
    return {"what": what, "difference": difference, "tolerance": tolerance, "passed": difference <= tolerance}


def main() -> None:
    args = parse_arguments()
    found = verify(
        args.folder, recorded=args.recorded, original=args.original, checkpoint=args.checkpoint, member=args.member
    )
    width = max(len(check["what"]) for check in found["checks"])
    for check in found["checks"]:
        outcome = "ok" if check["passed"] else "DIFFERS"
        print(f"{check['what']:<{width}}  {check['difference']:8.2g}  (at most {check['tolerance']:g})  {outcome}")
    if args.out:
        with written_whole(args.out) as temporary:
            temporary.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if not found["passed"]:
        raise ValueError(f"{args.folder} does not compute what it should: see the lines that say DIFFERS.")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=HelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="of a model")
    parser.add_argument("--recorded", type=Path, metavar="NPZ", help="arrays that the authors' code computed")
    parser.add_argument("--original", type=Path, metavar="CLONE", help="of the authors' code, which is EXECUTED")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="that FOLDER was converted from; not executed")
    parser.add_argument("--member", help="name of the checkpoint, where FILE is a ZIP of several")
    parser.add_argument("--out", type=Path, metavar="JSON", help="to write the differences to")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
