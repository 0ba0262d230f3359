import numpy as np
import pytest

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
