"""Small modules that decode all contacts of a window together, from their embeddings.

A head is called with embeddings (batch, contacts, features), finite everywhere, and which contacts are there (batch,
contacts), at least one in each window. It returns logits (batch, outputs); what is absent has no influence on them.
Its last layer is linear, so that a regression can be given the unit of its targets.
"""

from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

NETWORK_UNITS = 128  # of the hidden layer; Du-IN, table 10
ATTENTION_WIDTH, ATTENTION_HEADS = 128, 4
POSITION_SCALE_MM = 2.0  # of contacts 3.5 mm apart on a shaft the features correlate with .2


class MeanOfContacts(nn.Module):
    """The mean over contacts, then linear."""

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.output = nn.Linear(features, outputs)

    def forward(self, embeddings: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        weights = there.to(embeddings.dtype) / there.sum(1, keepdim=True)
        return self.output((weights.unsqueeze(1) @ embeddings).squeeze(1))


class SideBySide(nn.Module):
    """Contacts side by side, each with a mark of whether it is there; then linear, or one layer of hidden units."""

    def __init__(self, features: int, outputs: int, *, contacts: int, hidden: int | None = None) -> None:
        super().__init__()
        width = contacts * (features + 1)
        layers = [] if hidden is None else [nn.Linear(width, hidden), nn.ReLU()]
        self.hidden = nn.Sequential(*layers)
        self.output = nn.Linear(hidden or width, outputs)

    def forward(self, embeddings: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        marks = there.to(embeddings.dtype).unsqueeze(2)
        return self.output(self.hidden(torch.cat([embeddings * marks, marks], dim=2).flatten(1)))


class AttentionOverContacts(nn.Module):
    """Attention with four learned queries over contacts, each of which is its embedding plus where it is.

    positions: (contacts, 3) in mm, all in one coordinate frame: MNI152, fsaverage, or the person's own. A contact is
        told from others by a linear map of random Fourier features of its position, and what is learnt does not depend
        on the order of contacts; where the position is NaN, or positions are None, by a learned vector of its own.
    Both have the size of standardised embeddings. A linear map of the position itself is all but the same for
    neighbours on a shaft: of ten one tells, AUROC .56; with these .77, with vectors of their own .76.
    Source: Ilse, Tomczak and Welling 2018 (attention as pooling); Rahimi and Recht 2007 (random Fourier features).
    """

    places: torch.Tensor

    def __init__(
        self, features: int, outputs: int, *, contacts: int, positions: NDArray[np.float64] | None = None
    ) -> None:
        super().__init__()
        positions = np.full((contacts, 3), np.nan) if positions is None else np.asarray(positions, dtype=np.float64)
        self.register_buffer("places", torch.from_numpy(_fourier_features(positions)))
        self.embed = nn.Linear(features, ATTENTION_WIDTH)
        self.place = nn.Linear(ATTENTION_WIDTH, ATTENTION_WIDTH)
        nn.init.normal_(self.place.weight, std=ATTENTION_WIDTH**-0.5)
        self.unknown = nn.Parameter(torch.randn(contacts, ATTENTION_WIDTH))
        # A learned query's product with every key is a linear map of what the key is made of.
        self.attend = nn.Linear(ATTENTION_WIDTH, ATTENTION_HEADS)
        self.value = nn.Linear(ATTENTION_WIDTH, ATTENTION_WIDTH)
        self.output = nn.Linear(ATTENTION_WIDTH, outputs)

    def forward(self, embeddings: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        known = torch.isfinite(self.places).all(1, keepdim=True)
        place = torch.where(known, self.place(self.places.nan_to_num()), self.unknown)
        contacts = nn.functional.gelu(self.embed(embeddings) + place)
        weights = self.attend(contacts).masked_fill(~there.unsqueeze(2), -torch.inf).softmax(1)
        values = self.value(contacts).unflatten(2, (ATTENTION_HEADS, -1))
        return self.output((weights.unsqueeze(3) * values).sum(1).flatten(1))


def _fourier_features(positions: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return (contacts, ATTENTION_WIDTH), of deviation 1; products fall like a Gaussian of POSITION_SCALE_MM."""
    random = np.random.default_rng(0)  # the same for all models, whatever their seed
    waves = random.standard_normal((3, ATTENTION_WIDTH)) / POSITION_SCALE_MM
    phase = random.uniform(0, 2 * np.pi, ATTENTION_WIDTH)
    return (np.sqrt(2) * np.cos(positions @ waves + phase)).astype(np.float32)


class FrozenHead(nn.Module):
    """A head by itself, on embeddings that were computed before.

    Called with input_values (batch, contacts, features + 1), of which the last is 1 where the contact is there, else 0.
    """

    def __init__(self, head: nn.Module, *, name: str, outputs: int) -> None:
        super().__init__()
        self.config = _Config(head=name, num_labels=outputs)
        self.base_model = nn.Module()  # nothing that was pretrained
        self.head = head

    def forward(self, input_values: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.head(input_values[..., :-1], input_values[..., -1] > 0))


class EncoderWithHead(nn.Module):
    """An encoder that reads every contact of a window, and a head that takes them together.

    Called with input_values (batch, contacts, frames, bins); a contact that is not there is 0 in all of them.
    """

    config: Any

    def __init__(self, encoder: nn.Module, head: nn.Module, *, outputs: int) -> None:
        super().__init__()
        self.config = deepcopy(encoder.config)
        self.config.num_labels = outputs
        self.base_model = encoder
        self.head = head

    def forward(self, input_values: torch.Tensor) -> SimpleNamespace:
        there = (input_values != 0).flatten(2).any(2)
        found = self.base_model(input_values[there]).pooler_output
        embeddings = found.new_zeros(*there.shape, found.shape[-1])
        embeddings[there] = found
        return SimpleNamespace(logits=self.head(embeddings, there))


class _Config(SimpleNamespace):
    """What `finetune` asks of a model's configuration."""

    num_labels: int

    def to_dict(self) -> dict[str, Any]:
        return vars(self)
