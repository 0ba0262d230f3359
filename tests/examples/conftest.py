"""What tests share that call the programs within their own process."""

from pathlib import Path

import pytest
import torch

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def as_a_program(monkeypatch):
    """Programs import what lies beside them, and set the number of threads."""
    monkeypatch.syspath_prepend(EXAMPLES)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
