"""From rows of a corpus to what the model is given."""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..corpora import decode_signal, statistics_of_rows
from .masks import mask_seeds, mask_static


class CollateClips:
    """Stack rows of a corpus (format "numpy") into {"voltage": (batch, samples) float32 in µV, "row": (batch,) int64}.

    A row's number is a hash of recording, contact and start, the same whatever part of the corpus it comes in.
    statistics: (recording, contact) → statistics, for extractors with normalization="recording"; they are added as
        "mean" and "std", (batch, bins), with the "fingerprint" of their front end.
    """

    def __init__(self, statistics: Mapping[tuple[str, str], Mapping[str, Any]] | None = None):
        self.statistics = statistics

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the batch; raises ValueError for a contact without statistics."""
        columns = {name: np.stack([row[name] for row in rows]) for name in ("signal", "scale", "offset")}
        names = [f"{row['recording']}/{row['contact']}/{row['start']}" for row in rows]
        batch: dict[str, Any] = {
            "voltage": torch.from_numpy(decode_signal(columns)),
            "row": torch.tensor([zlib.crc32(name.encode()) for name in names]),
        }
        if self.statistics is not None:
            found = statistics_of_rows(
                self.statistics, [row["recording"] for row in rows], [row["contact"] for row in rows]
            )
            batch |= {name: torch.from_numpy(found[name]).float() for name in ("mean", "std")}
            batch["fingerprint"] = found["fingerprint"]
        return batch


def masked_batch(batch: Mapping[str, Any], extractor: Any, *, seed: int, epoch: int) -> dict[str, torch.Tensor]:
    """Return the arguments of BrainBertForPreTraining for a batch of clips, on its device and without waiting for it.

    seed, epoch: of the masks, with each row's number; the same masks on any device, in any batch, on any process.
    Clips that are constant or not finite take no part (attention_mask 0).
    """
    statistics = {name: batch[name] for name in ("fingerprint", "mean", "std")} if "mean" in batch else None
    features = extractor(
        batch["voltage"], sampling_rate=extractor.sampling_rate, statistics=statistics, on_invalid="mask"
    )
    image, attention_mask = features["input_values"], features["attention_mask"]
    masked, mask = mask_static(image, attention_mask, seeds=mask_seeds(batch["row"], seed=seed, epoch=epoch))
    return {"input_values": masked, "attention_mask": attention_mask, "labels": image, "mask": mask}
