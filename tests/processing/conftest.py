import datasets
import numpy as np
import pytest

from brainbert.processing.corpora.shard import corpus_features, encode_signal


def make_clips(rows, *, first=0, storage="float32", samples=16) -> datasets.Dataset:
    """Rows of a corpus, numbered: clip n starts at sample n and its voltage is about n."""
    numbers = np.arange(first, first + rows)
    voltage = (numbers[:, None] + np.linspace(-0.4, 0.4, samples)).astype(np.float32)
    signal, scale, offset, _ = encode_signal(voltage, storage)
    constant = {"recording": "r", "subject": "s", "session": "", "contact": "A1"}
    columns = {name: [value] * rows for name, value in constant.items()}
    columns |= {"start": numbers, "sampling_rate": [2048.0] * rows, "original_sampling_rate": [512.0] * rows}
    columns |= {"band_hz": [[0.5, 240.0]] * rows, "signal": signal, "scale": scale, "offset": offset}
    return datasets.Dataset.from_dict(columns, features=corpus_features(samples, storage))


@pytest.fixture(scope="session")
def clips():
    return make_clips
