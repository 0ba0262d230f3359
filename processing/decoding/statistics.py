"""Mean and deviation of each contact over a whole recording, from blocks of it.

They are what normalization="recording" needs. Each block gives numbers that are merged in the order of the blocks, so
that the result has the same bits whoever computed them.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..corpora import RunningStatistics
from .windows import Block, Windows


def check_statistics(extractor: Any, statistics: Any, *, choices: str) -> None:
    """Raise ValueError for a word that is not "whole recording", and statistics that lack or that mean nothing here.

    choices: what to give where they lack.
    """
    if isinstance(statistics, str) and statistics != "whole recording":
        raise ValueError(f'statistics is {statistics!r}: give "whole recording", or statistics themselves.')
    if extractor.normalization == "recording" and statistics is None:
        raise ValueError(f'This model was trained with normalization="recording": give {choices}.')
    if extractor.normalization != "recording" and statistics is not None:
        raise ValueError(
            f'statistics belong to normalization="recording" and this model was trained with '
            f'"{extractor.normalization}": leave them out.'
        )


def block_statistics(
    block: Block, windows: Windows, extractor: Any, *, device: torch.device
) -> dict[str, NDArray[np.float64]]:
    """Return what the good windows of a block add to the statistics of each contact.

    "windows" (contacts,), how many are good; "count" (contacts,), their frames; "mean" and "squares" (contacts, bins),
    the mean of these frames and the sum of squared distances from it.
    """
    voltage = torch.from_numpy(block.voltage).to(device).unfold(1, windows.window, windows.stride)
    good = block.problems == ""  # (windows, contacts)
    shape = len(windows.contacts), extractor.feature_size
    found = {"windows": good.sum(axis=0).astype(float), "count": np.zeros(shape[0])}
    found |= {"mean": np.zeros(shape), "squares": np.zeros(shape)}
    for contact in np.flatnonzero(good.any(axis=0)):
        image = extractor.spectrogram(
            voltage[contact, torch.from_numpy(good[:, contact])], sampling_rate=windows.recording.sampling_rate
        )
        running = RunningStatistics()
        running.add(image.cpu().numpy())
        found["count"][contact] = running.count
        found["mean"][contact], found["squares"][contact] = running.mean, running.squares
    return found


def merged_statistics(
    blocks: Iterable[Mapping[str, NDArray[np.float64]]], windows: Windows, extractor: Any, *, window_s: float
) -> dict[str, Any]:
    """Return {"fingerprint", "mean", "std"} with one row per good contact, from what `block_statistics` gave in order.

    Raises ValueError for a contact with less good signal than statistics need (60 s).
    """
    running = [RunningStatistics() for _ in windows.contacts]
    seconds = np.zeros(len(windows.contacts))
    for block in blocks:
        seconds += block["windows"] * window_s
        for contact, each in enumerate(running):
            each.merge(int(block["count"][contact]), block["mean"][contact], block["squares"][contact])
    for name, enough in zip(windows.contacts, seconds, strict=True):
        if enough < extractor.minimum_recording_s:
            raise ValueError(
                f"Contact {name} has {enough:g} s of good signal and its statistics need "
                f"{extractor.minimum_recording_s:g} s: use a longer recording, or give statistics."
            )
    return {
        "fingerprint": extractor.fingerprint,
        "mean": np.stack([each.mean for each in running]),
        "std": np.stack([each.std for each in running]),
    }
