from pathlib import Path

import numpy as np
import pytest

FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.fixture(scope="session")
def tiny() -> Path:
    """Folder of the tiny checkpoint."""
    return FIXTURES / "tiny"


@pytest.fixture(scope="session")
def original() -> dict[str, np.ndarray]:
    """Arrays recorded from the authors' code."""
    with np.load(FIXTURES / "original_tiny.npz") as arrays:
        return dict(arrays)
