"""What the page asks of the model: what it sees of a window, what it makes of hidden cells, and embeddings."""

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoFeatureExtractor, AutoModel, AutoModelForAudioClassification, AutoModelForPreTraining
from transformers.utils import cached_file

import brainbert.modeling_brainbert  # noqa: F401 (registers BrainBERT with the Auto classes: no code of a folder is run)

from .masking import mask_cells
from .refusal import Refusal

WINDOW_S = 5.0  # the paper's, for models that say no other
MAX_EMBEDDINGS = 4096
_PARAMETERS_TIMES_WINDOWS = 2e10  # about a minute on two cores
_BATCH = 16


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """A model of a folder or of the Hub, ready for questions.

    model: with the head that its weights have. head: "reconstruction", "classification" or "". name: without folders.
    link: to its page, "" for a folder. record: of its training, {} when it has none. window_s: that it was trained on.
    """

    model: Any
    extractor: Any
    head: str
    name: str
    link: str
    record: Mapping[str, Any] = field(default_factory=dict)
    window_s: float = WINDOW_S

    @property
    def rate(self) -> float:
        """Hertz of the voltage that it reads."""
        return float(self.extractor.sampling_rate)

    @property
    def conditioning(self) -> dict[str, str]:
        """How its corpus was referenced: "reference" and "ends"."""
        trained = self.record.get("conditioning") or {}
        return {"reference": trained.get("reference", "laplacian"), "ends": trained.get("ends", "drop")}

    @property
    def parameters(self) -> int:
        """Number of parameters, the head's included."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def base(self) -> Any:
        """The BrainBertModel within."""
        return self.model.base_model


@dataclass(frozen=True, kw_only=True)
class Look:
    """What the model sees in a window of one contact.

    voltage: (samples,) µV. image: (frames, bins) z units. frames: (frames, hidden) embeddings.
    masked, mask, reconstructed: (frames, bins), None without a reconstruction head. error: mean over hidden cells of
    the absolute difference, and `error_of_zero` that of the mean image, 0. scores: label → probability.
    notes: warnings of the front end.
    """

    voltage: NDArray[np.float32]
    image: NDArray[np.float32]
    frames: NDArray[np.float32]
    masked: NDArray[np.float32] | None = None
    mask: NDArray[np.bool_] | None = None
    reconstructed: NDArray[np.float32] | None = None
    error: float = float("nan")
    error_of_zero: float = float("nan")
    scores: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def load_encoder(model: str, *, revision: str | None = None) -> Encoder:
    """Load a BrainBERT from a folder or, by its id, from the Hub; none of the code that comes with it is run.

    Raises OSError and ValueError when there is no such model, or it is another kind of model.
    """
    given = {"revision": revision} if revision else {}
    extractor = AutoFeatureExtractor.from_pretrained(model, **given)
    loaded, info = AutoModelForPreTraining.from_pretrained(model, output_loading_info=True, **given)
    if loaded.config.model_type != "brainbert":
        raise ValueError(f"{Path(model).name} is a {loaded.config.model_type} model: give a BrainBERT.")
    head = "reconstruction"
    if any(key.startswith("reconstruction_head.") for key in info["missing_keys"]):
        head = ""
        if any("ForSequenceClassification" in name for name in loaded.config.architectures or ()):
            loaded, head = AutoModelForAudioClassification.from_pretrained(model, **given), "classification"
        else:
            loaded = AutoModel.from_pretrained(model, **given)
    record: dict[str, Any] = {}
    found = cached_file(model, "training_record.json", _raise_exceptions_for_missing_entries=False, **given)
    if found is not None:
        record = json.loads(Path(found).read_text(encoding="utf-8"))
    clip_s = [float(corpus["clip_s"]) for corpus in record.get("corpora", ()) if "clip_s" in corpus]
    on_the_hub = not Path(model).exists()
    return Encoder(
        model=loaded.eval(),
        extractor=extractor,
        head=head,
        name=model if on_the_hub else Path(model).resolve().name,
        link=f"https://huggingface.co/{model}" if on_the_hub else "",
        record=record,
        window_s=min(clip_s) if clip_s else WINDOW_S,
    )


@torch.inference_mode()
def look(
    encoder: Encoder, voltage: NDArray[np.float32], *, statistics: Mapping[str, Any] | None, seed: int = 0
) -> Look:
    """Return what the model sees in one window, (samples,) in µV, and what it makes of it.

    statistics: of the contact's recording, for a front end that asks for them. seed: of the hidden cells.
    Raises Refusal when the front end refuses the window.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        image = _image(encoder, voltage[None], statistics)
    notes = tuple(dict.fromkeys(str(warning.message).replace("contact (row) 0", "this window") for warning in caught))
    found: dict[str, Any] = {"voltage": voltage, "image": image[0].numpy(), "notes": notes}
    found["frames"] = encoder.base.embed(image, pooling="frames")[0].numpy()
    if encoder.head == "reconstruction":
        mask = mask_cells(*image.shape[1:], seed=seed)
        masked = image.masked_fill(torch.from_numpy(mask), 0.0)
        made = encoder.model(input_values=masked).logits
        error = (made - image)[0].abs().numpy()[mask]
        found |= {"masked": masked[0].numpy(), "mask": mask, "reconstructed": made[0].numpy()}
        found |= {"error": float(error.mean()), "error_of_zero": float(image[0].abs().numpy()[mask].mean())}
    elif encoder.head == "classification":
        scores = encoder.model(input_values=image).logits[0].softmax(-1).tolist()
        found["scores"] = {str(encoder.model.config.id2label[index]): score for index, score in enumerate(scores)}
    return Look(**found)


@torch.inference_mode()
def embed_windows(
    encoder: Encoder, data: NDArray[np.float32], *, window_s: float, statistics: Sequence[Mapping[str, Any]] | None
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return embeddings (windows, contacts, hidden), NaN where there is no signal, and the windows' starts in seconds.

    data: (contacts, samples) in µV at the model's rate. Windows follow each other; of many contacts or with a large
    model only the first are embedded, so that a visitor waits a minute at most.
    statistics: one for each contact, for a front end that asks for them.
    """
    samples = round(window_s * encoder.rate)
    affordable = min(MAX_EMBEDDINGS, int(_PARAMETERS_TIMES_WINDOWS / encoder.parameters))
    windows = min(data.shape[1] // samples, max(1, affordable // len(data)))
    found = np.full((windows, len(data), encoder.model.config.hidden_size), np.nan, dtype=np.float32)
    for row, contact in enumerate(data):
        clips = np.array(contact[: windows * samples]).reshape(windows, samples)
        usable = np.flatnonzero(np.isfinite(clips).all(1) & (clips.min(1) < clips.max(1)))
        for start in range(0, len(usable), _BATCH):
            chosen = usable[start : start + _BATCH]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                image = _image(encoder, clips[chosen], None if statistics is None else statistics[row])
            found[chosen, row] = encoder.base.embed(image).numpy()
    return found, np.arange(windows) * samples / encoder.rate


def statistics_of(encoder: Encoder, contact: NDArray[np.float32]) -> dict[str, Any] | None:
    """Return the mean and deviation of each bin over a contact's recording, for the front ends that ask for them.

    Raises Refusal when the recording is too short to stand for itself.
    """
    extractor = encoder.extractor
    if extractor.normalization != "recording":
        return None
    seconds = contact.shape[-1] / encoder.rate
    if seconds < extractor.minimum_recording_s:
        raise Refusal(
            f"This model normalises by the statistics of a recording, which takes {extractor.minimum_recording_s:g} s, "
            f"and this one has {seconds:.0f}: upload a longer one."
        )
    try:
        image = extractor.spectrogram(np.array(contact), sampling_rate=encoder.rate)[0]
    except ValueError as error:
        raise Refusal(str(error)) from None
    return {
        "fingerprint": extractor.fingerprint,
        "mean": image.mean(0).tolist(),
        "std": image.std(0, correction=0).tolist(),
    }


def _image(encoder: Encoder, clips: NDArray[np.float32], statistics: Mapping[str, Any] | None) -> torch.Tensor:
    try:
        features = encoder.extractor(np.array(clips), sampling_rate=encoder.rate, statistics=statistics)
    except ValueError as error:
        said = str(error).replace(', or pass on_invalid="mask"', "").replace("contact (row) 0", "this window")
        raise Refusal(f"{said.rstrip('.')} (choose another window, or upload a longer recording).") from None
    return features["input_values"]
