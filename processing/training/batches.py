"""From rows of a corpus to what the model is given."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..corpora import decode_signal, statistics_of_rows
from .masks import mask_static


class CollateClips:
    """Stack rows of a corpus (format "numpy") into {"voltage": (batch, samples) float32 in µV, …}.

    statistics: (recording, contact) → statistics, for extractors with normalization="recording"; they are added as
        "mean" and "std", (batch, bins).
    """

    def __init__(self, statistics: Mapping[tuple[str, str], Mapping[str, Any]] | None = None):
        self.statistics = statistics

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Return the batch; raises KeyError for a contact without statistics."""
        columns = {name: np.stack([row[name] for row in rows]) for name in ("signal", "scale", "offset")}
        batch = {"voltage": torch.from_numpy(decode_signal(columns))}
        if self.statistics is not None:
            found = statistics_of_rows(
                self.statistics, [row["recording"] for row in rows], [row["contact"] for row in rows]
            )
            batch |= {name: torch.from_numpy(found[name]).float() for name in ("mean", "std")}
        return batch


def masked_batch(
    batch: Mapping[str, torch.Tensor], extractor: Any, *, generator: torch.Generator
) -> dict[str, torch.Tensor]:
    """Return the arguments of BrainBertForPreTraining for a batch of clips, on its device.

    Clips that are constant or not finite take no part (attention_mask 0), without waiting for the device.
    """
    statistics = None
    if "mean" in batch:
        statistics = {"fingerprint": extractor.fingerprint, "mean": batch["mean"], "std": batch["std"]}
    image = extractor(batch["voltage"], sampling_rate=extractor.sampling_rate, statistics=statistics, on_invalid="mask")
    masked, mask = mask_static(image["input_values"], image["attention_mask"], generator=generator)
    return {
        "input_values": masked,
        "attention_mask": image["attention_mask"],
        "labels": image["input_values"],
        "mask": mask,
    }
