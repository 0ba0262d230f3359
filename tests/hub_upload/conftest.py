"""A Hub for the tests of this folder, and clients in processes of their own.

Constants of huggingface_hub are read when it is imported, so that a client that finds the Hub by HF_ENDPOINT needs a
process of its own; one that is given an endpoint and a token does not.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
from huggingface_hub import HfApi

sys.path.insert(0, str(Path(__file__).parent))  # pytest's import mode leaves it out
from local_hub import LocalHub

WITHOUT_PACKAGE = (Path(__file__).parents[1] / "without_package.py").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def hub() -> Iterator[LocalHub]:
    """A Hub without repositories; clients of this process that are given hub.url and hub.token find it, too."""
    with LocalHub() as hub, pytest.MonkeyPatch.context() as patch:
        patch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
        yield hub


@pytest.fixture(scope="module")
def api(hub: LocalHub) -> HfApi:
    """huggingface_hub in this process, for the user of hub.token."""
    return HfApi(endpoint=hub.url, token=hub.token)


@pytest.fixture(scope="module")
def run_client(
    hub: LocalHub, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a program with `python -c` that takes this Hub for the real one, in a folder and with a cache of its own.

    without_package: the program cannot import brainbert, nor what torch, numpy and transformers do not need.
    environment: instead of some of the Hub's variables. The process's stdout, stderr and status are returned.
    """

    def run(
        program: str, *arguments: object, without_package: bool = False, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        folder = tmp_path_factory.mktemp("client")
        usual = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "HF_")) and not name.lower().endswith("_proxy")
        }
        usual |= {**hub.environment, "HF_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1", **(environment or {})}
        return subprocess.run(
            [sys.executable, "-c", (WITHOUT_PACKAGE if without_package else "") + program, *map(str, arguments)],
            cwd=folder, env=usual, capture_output=True, text=True, timeout=300,
        )  # fmt: skip

    return run
