"""How long the parts of the paper's table take on this machine: each is done once or twice, in a second or two."""

import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from brainbert.modeling_brainbert import BrainBertConfig, BrainBertFeatureExtractor, BrainBertForPreTraining
from brainbert.processing.decoding.probes import logistic, network
from brainbert.processing.recordings import Recording, check_clips, condition_stream
from brainbert.processing.training import mask_adaptive, mask_static, masked_batch

RATE, SAMPLES, FRAMES = 2048.0, 10240, 186  # of the models, and of a clip of 5 s
CONTACTS, SIGNAL_S = 8, 20
CLIPS = {"cpu": 1}  # at once in the model; on a GPU so few would say nothing
CLIPS_ELSEWHERE, CLIPS_OF_FRONT_END = 128, 16
WINDOWS, WAVEFORM = 120, 2500  # of a probe; values of a waveform
GRAIN_S = 0.5


class Speed(NamedTuple):
    """Seconds: of conditioning a contact for a second, of a clip or window, and of a window in the fit of a probe."""

    condition: float
    check: float
    train: dict[str, float]  # transform → of a clip in a training step, with its spectrogram and masks
    embed: dict[str, float]
    probe: float  # of as many features as the model is wide; with the inner folds that choose its penalty
    probe_network: float


def measure(preset: str, transforms: set[str], device: str) -> Speed:
    """Return how fast this machine is, with models of this size on this device.

    On a CPU spectrograms and models are measured on one thread, and shared out among as many as torch would use.
    """
    generator = np.random.default_rng(0)
    data = generator.standard_normal((CONTACTS, round(SIGNAL_S * RATE))).astype(np.float32).cumsum(axis=1)
    recording = Recording(
        data=data, sampling_rate=RATE, contacts=[f"A{n}" for n in range(CONTACTS)], types=["seeg"] * CONTACTS,
        id="noise", subject="noise",
    )  # fmt: skip
    clips = data[:, :SAMPLES]
    stream = partial(condition_stream, recording, line_frequency_hz=60, progress=False)
    model = BrainBertForPreTraining(BrainBertConfig.from_preset(preset)).to(device)
    hidden = model.config.hidden_size
    images = {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # other work on the machine makes threads wait for each other; nine tenths are products
    try:
        train, embed = _of_model(model, device)
        for transform in sorted(transforms):
            images[transform] = _of_front_end(transform, device)
    finally:
        torch.set_num_threads(threads)
    shared = threads if device == "cpu" else 1
    classes = np.arange(WINDOWS) // 2 % 2
    units = np.arange(WINDOWS) * 10 // WINDOWS
    half = slice(None, None, 2)  # the network takes long
    few = generator.standard_normal((WINDOWS, hidden)).astype(np.float32)
    many = generator.standard_normal((WINDOWS, WAVEFORM)).astype(np.float32)[half]
    return Speed(
        condition=_seconds(lambda: stream().load()) / (CONTACTS * SIGNAL_S),
        check=_seconds(lambda: check_clips(clips)) / CONTACTS,
        train={transform: (image[1] + train) / shared for transform, image in images.items()},
        embed={transform: (image[0] + embed) / shared for transform, image in images.items()},
        probe=_seconds(lambda: logistic(few, classes, few[:1], units, 0)) / WINDOWS,
        probe_network=_seconds(lambda: network(many, classes[half], many[:1], units[half], 0), once=True) / len(many),
    )


def _of_model(model: BrainBertForPreTraining, device: str) -> tuple[float, float]:
    """Return the seconds of a clip in a training step and in an embedding, without its spectrogram."""
    count = CLIPS.get(device, CLIPS_ELSEWHERE)
    images = torch.randn(count, FRAMES, model.config.num_frequency_bins, device=device)
    mask = images > 1

    def train() -> None:
        model.train()(input_values=images, labels=images, mask=mask).loss.backward()
        _wait(device)

    @torch.inference_mode()
    def embed() -> None:
        model.eval().base_model.embed(images)
        _wait(device)

    return _seconds(train) / count, _seconds(embed) / count


def _of_front_end(transform: str, device: str) -> tuple[float, float]:
    """Return the seconds of a clip's spectrogram, and of the same with masks."""
    extractor = BrainBertFeatureExtractor(transform=transform)
    voltage = torch.randn(CLIPS_OF_FRONT_END, SAMPLES, device=device).cumsum(1)
    batch = {"voltage": voltage, "row": torch.arange(len(voltage))}
    masking = mask_static if transform == "stft" else mask_adaptive

    def image() -> None:
        extractor(voltage, sampling_rate=RATE)
        _wait(device)

    def masked() -> None:
        masked_batch(batch, extractor, seed=0, epoch=0, masking=masking)
        _wait(device)

    return _seconds(image) / len(voltage), _seconds(masked) / len(voltage)


def _seconds(call: Callable[[], object], *, once: bool = False) -> float:
    """Return the least seconds of a few calls within a moment, the first of which makes ready."""
    found: list[float] = []
    while not found or (not once and (len(found) < 2 or sum(found) < GRAIN_S)):
        started = time.perf_counter()
        call()
        found.append(time.perf_counter() - started)
    return min(found)


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()
