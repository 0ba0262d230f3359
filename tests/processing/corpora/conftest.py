import numpy as np
import pytest

from brainbert.processing.recordings import Recording


def make_recording(name="r1", *, contacts=3, seconds=22.5, seed=0, **changes) -> Recording:
    """A conditioned recording of 1/f² noise with one resampling step behind it."""
    rng = np.random.default_rng(seed)
    data = rng.standard_normal((contacts, round(seconds * 2048))).cumsum(1)
    data = (40 * (data - data.mean(1, keepdims=True)) / data.std(1, keepdims=True)).astype(np.float32)
    settings = {
        "data": data,
        "sampling_rate": 2048.0,
        "contacts": tuple(f"A{number + 1}" for number in range(contacts)),
        "types": ("seeg",) * contacts,
        "band_hz": (0.5, 240.0),
        "history": ({"step": "read", "format": "made"}, {"step": "resample", "from_hz": 512.0, "to_hz": 2048.0}),
        "id": name,
        "subject": f"subject of {name}",
    }
    return Recording(**(settings | changes))


@pytest.fixture(scope="session")
def recording():
    return make_recording
