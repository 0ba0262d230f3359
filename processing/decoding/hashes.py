"""Hashes of what results depend on."""

import hashlib
import json
from typing import Any

import torch


def sha256(content: Any) -> str:
    """Return a hash of something JSON-able."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def weights_sha256(model: torch.nn.Module) -> str:
    """Return a hash of names and values of a model's weights: what tells it from an untrained twin."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
