import numpy as np
import pytest
import torch

from brainbert.modeling_brainbert import BrainBertConfig, BrainBertFeatureExtractor, BrainBertModel
from brainbert.processing.decoding import Encoder, Epochs, Labels, make_epochs
from brainbert.processing.recordings import Recording


@pytest.fixture
def recording() -> Recording:
    """70 s of 1/f² noise at 2048 Hz from A1, A2 (bad) and A3."""
    data = np.random.default_rng(0).standard_normal((3, 70 * 2048)).cumsum(1).astype(np.float32)
    return Recording(
        data=data - data.mean(1, keepdims=True),
        sampling_rate=2048.0,
        contacts=("A1", "A2", "A3"),
        types=("seeg",) * 3,
        bad={"A2": "flat"},
        history=({"step": "read", "format": "made"},),
        id="r1",
        subject="s1",
    )


@pytest.fixture(scope="session")
def epochs_at():
    """Windows of 5 s, or of `length` samples, that begin at the given samples of each recording."""

    def make(starts: dict[str, list[int]], *, length: int = 10240) -> Epochs:
        recording = np.repeat(np.arange(len(starts)), [len(each) for each in starts.values()])
        return Epochs(
            recordings=tuple(starts),
            recording=recording,
            subjects=tuple(starts),
            subject=recording,
            start=np.concatenate([np.asarray(each, dtype=np.int64) for each in starts.values()]),
            length=length,
            sampling_rate=2048.0,
            target=np.arange(len(recording)) % 2,
            classes=("rest", "move"),
        )

    return make


@pytest.fixture(scope="session")
def windows_of():
    """Windows of 5 s side by side in each recording, with these targets: whole numbers are classes."""

    def make(target, *, recording=None, group=None) -> Epochs:
        target = np.asarray(target)
        recording = np.zeros(len(target), np.int64) if recording is None else np.asarray(recording)
        classes = None if target.dtype.kind == "f" else tuple("abcdef"[: target.max() + 1])
        return Epochs(
            recordings=tuple(f"r{number}" for number in range(recording.max() + 1)),
            recording=recording,
            subjects=("s1",),
            subject=np.zeros(len(target), np.int64),
            start=np.concatenate([np.arange(count) * 10 for count in np.bincount(recording)]),
            length=10,
            sampling_rate=2.0,
            target=target,
            classes=classes,
            group=group,
            groups=() if group is None else tuple(str(number) for number in range(max(group) + 1)),
        )

    return make


@pytest.fixture(scope="session")
def planted():
    """A recording at 512 Hz with 1/f noise of 20 µV, and 60–90 Hz of 10 µV at some contacts, as loud as asked.

    loudness: (seconds, ), factor of the 60–90 Hz in each second. level: factor of all voltage.
    """

    def make(loudness, *, contacts=8, at=("LA2", "LA5"), seed=0, level=1.0, shaft="LA", name="r1", subject="s1"):
        random = np.random.default_rng(seed)
        samples = 512 * len(loudness)
        frequencies = np.fft.rfftfreq(samples, 1 / 512)
        noise = np.fft.rfft(random.standard_normal((contacts, samples))) / np.sqrt(frequencies.clip(0.5))
        voltage = np.fft.irfft(noise, samples)
        voltage *= 20 / voltage.std(axis=1, keepdims=True)
        gamma = np.fft.rfft(random.standard_normal(samples)) * ((frequencies >= 60) & (frequencies <= 90))
        gamma = np.fft.irfft(gamma, samples)
        names = tuple(f"{shaft}{number}" for number in range(1, contacts + 1))
        for contact in at:
            voltage[names.index(contact)] += 10 * gamma / gamma.std() * np.repeat(loudness, 512)
        return Recording(
            data=(level * voltage).astype(np.float32),
            sampling_rate=512.0,
            contacts=names,
            types=("seeg",) * contacts,
            id=name,
            subject=subject,
        )

    return make


@pytest.fixture(scope="session")
def second_by_second():
    """One label for each second of each recording, as windows of 1 s at 512 Hz: whole numbers are rest and move."""

    def make(recordings, targets) -> Epochs:
        labels = [
            Labels(
                onset_s=np.arange(len(target)),
                duration_s=np.ones(len(target)),
                values=target if np.asarray(target).dtype.kind == "f" else np.array(["rest", "move"])[target],
            )
            for target in targets
        ]
        classes = None if labels[0].kind == "regression" else ["rest", "move"]
        return make_epochs(labels, recordings, window_s=1.0, classes=classes)

    return make


@pytest.fixture(scope="session")
def small_encoder():
    """An encoder of one layer with a width of 32 and random weights, for 512 Hz: 40 bins from 0 to 200 Hz."""

    def make(*, scale="log", **front_end) -> Encoder:
        torch.manual_seed(7)
        config = BrainBertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
        return Encoder(
            model=BrainBertModel(config),
            extractor=BrainBertFeatureExtractor(
                sampling_rate=512, window_length=100, hop_length=12, scale=scale, **front_end
            ),
            pooling="mean",
            layer=1,
        )

    return make
