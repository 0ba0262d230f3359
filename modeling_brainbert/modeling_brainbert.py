"""BrainBERT: a masked Transformer encoder of spectrograms of single intracranial contacts.

A contact is a sequence: channels are batch. Shapes: B batch, T frames, F frequency bins, H hidden size.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPooling, SequenceClassifierOutput
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, PreTrainedModel
from transformers.processing_utils import Unpack
from transformers.utils import ModelOutput, TransformersKwargs, can_return_tuple
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .configuration_brainbert import AUTO_MAP, CUSTOM_PIPELINES, BrainBertConfig

if TYPE_CHECKING:  # never imported: transformers reads here which files save_pretrained has to copy along
    from .pipeline_brainbert import BrainBertFeatureExtractionPipeline  # noqa: F401

CENTER_FRAMES = 10  # averaged by pooling="center"


@dataclass
class BrainBertForPreTrainingOutput(ModelOutput):
    """Output of masked reconstruction.

    loss: l1_sum / l1_count + content_weight · content_sum / content_count; None without labels.
    logits: (B, T, F), the reconstructed image.
    l1_sum, l1_count: sum of absolute errors over the cells that count, and their number.
    content_sum, content_count: the same over those whose target exceeds content_threshold in absolute value.
        Averages over ranks and accumulation steps are exact when sums and counts are added up first.
    hidden_states, attentions: one tensor per layer, when asked for.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    l1_sum: torch.Tensor | None = None
    l1_count: torch.Tensor | None = None
    content_sum: torch.Tensor | None = None
    content_count: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


def sinusoidal_positions(length: int, width: int) -> torch.Tensor:
    """Return (1, length, width): sines in even columns, cosines in odd ones, base 10000 (Vaswani et al. 2017).

    In float32 throughout, as the table that the released weights were trained with: at frame 5000 a table computed in
    float64 would differ by 2e-4.
    """
    frequencies = torch.exp(torch.arange(0, width, 2, device="cpu") * (-math.log(10000.0) / width))
    angles = torch.outer(torch.arange(length, device="cpu"), frequencies)
    return torch.stack((angles.sin(), angles.cos()), dim=-1).reshape(1, length, width)


def pool_frames(hidden: torch.Tensor, attention_mask: torch.Tensor | None, *, pooling: str) -> torch.Tensor:
    """Return one embedding (B, H) per sequence of `hidden` (B, T, H).

    attention_mask: (B, T), nonzero where there is signal; None means everywhere.
    pooling: "center", the mean of the ten centre frames of each sequence's valid frames, or "mean", of all of them. A
        sequence without valid frames gives zeros.
    Source: Wang et al. 2023, section 3 (frames [n // 2 − 5, n // 2 + 5) of n).
    """
    return (frame_weights(hidden, attention_mask, pooling=pooling).unsqueeze(1) @ hidden).squeeze(1)


def frame_weights(hidden: torch.Tensor, attention_mask: torch.Tensor | None, *, pooling: str) -> torch.Tensor:
    """Return (B, T), what each frame counts in `pool_frames`: equal numbers that sum to 1, and 0 elsewhere."""
    valid = torch.ones_like(hidden[..., 0], dtype=torch.bool) if attention_mask is None else attention_mask.bool()
    if pooling == "center":
        rank = valid.cumsum(-1) - 1
        first = valid.sum(-1, keepdim=True) // 2 - CENTER_FRAMES // 2
        valid = valid & (rank >= first) & (rank < first + CENTER_FRAMES)
    weights = valid.to(hidden.dtype)
    return weights / weights.sum(-1, keepdim=True).clamp(min=1)


def eager_attention_forward(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    scores = (query @ key.transpose(2, 3)) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = nn.functional.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights


class BrainBertEmbeddings(nn.Module):
    """Frames (B, T, F) → embeddings with positions (B, T, H)."""

    def __init__(self, config: BrainBertConfig):
        super().__init__()
        self.max_frames = config.max_position_embeddings
        self.num_frequency_bins = config.num_frequency_bins
        self.projection = nn.Linear(config.num_frequency_bins, config.hidden_size)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        # Not in the checkpoint. from_pretrained builds on the meta device, so _init_weights fills it in again.
        self.positions: torch.Tensor
        self.register_buffer(
            "positions", sinusoidal_positions(config.max_position_embeddings, config.hidden_size), persistent=False
        )

    def forward(self, input_values: torch.Tensor) -> torch.Tensor:
        if input_values.ndim != 3 or input_values.shape[-1] != self.num_frequency_bins:
            raise ValueError(
                f"input_values has shape {tuple(input_values.shape)} and this model reads (batch, frames, "
                f"{self.num_frequency_bins}): use the feature extractor that was saved with it."
            )
        frames = input_values.shape[1]
        if frames > self.max_frames:
            raise ValueError(
                f"{frames} frames are more than this model's max_position_embeddings {self.max_frames}: cut the signal "
                "into shorter windows."
            )
        embeddings = self.projection(input_values.to(self.projection.weight.dtype))
        embeddings = embeddings + self.positions[:, :frames].to(embeddings.dtype)
        return self.dropout(self.layer_norm(embeddings))


class BrainBertAttentionProjection(nn.Linear):
    """Query, key or value projection: a linear layer with an initialisation of its own."""


class BrainBertAttention(nn.Module):
    is_causal = False

    def __init__(self, config: BrainBertConfig):
        super().__init__()
        self.config = config
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.scaling = self.head_dim**-0.5
        self.attention_dropout = config.attention_probs_dropout_prob
        self.q_proj = BrainBertAttentionProjection(config.hidden_size, config.hidden_size)
        self.k_proj = BrainBertAttentionProjection(config.hidden_size, config.hidden_size)
        self.v_proj = BrainBertAttentionProjection(config.hidden_size, config.hidden_size)
        self.o_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        *,
        queries: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Attend from `queries` (B, Q, H), by default all frames, to hidden_states (B, T, H)."""
        queries = hidden_states if queries is None else queries
        query, key, value = (
            projection(frames).view(*frames.shape[:-1], -1, self.head_dim).transpose(1, 2)  # (B, heads, ·, head_dim)
            for projection, frames in (
                (self.q_proj, queries),
                (self.k_proj, hidden_states),
                (self.v_proj, hidden_states),
            )
        )
        attention: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        context, weights = attention(
            self,
            query,
            key,
            value,
            attention_mask,
            dropout=self.attention_dropout if self.training else 0.0,
            scaling=self.scaling,
            **kwargs,
        )
        return self.o_proj(context.reshape(*queries.shape[:-1], -1).contiguous()), weights


class BrainBertLayer(GradientCheckpointingLayer):
    """A Transformer encoder layer with the norm after each residual sum (post-norm)."""

    def __init__(self, config: BrainBertConfig):
        super().__init__()
        self.attention = BrainBertAttention(config)
        self.attention_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.intermediate = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = ACT2FN[config.hidden_act]
        self.output = nn.Linear(config.intermediate_size, config.hidden_size)
        self.output_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        *,
        queries: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Return the layer's output for `queries`, some of the frames of hidden_states (B, T, H); by default all."""
        attended, _ = self.attention(hidden_states, attention_mask, queries=queries, **kwargs)
        hidden_states = hidden_states if queries is None else queries
        hidden_states = self.attention_layer_norm(hidden_states + self.dropout(attended))
        expanded = self.dropout(self.activation(self.intermediate(hidden_states)))
        return self.output_layer_norm(hidden_states + self.dropout(self.output(expanded)))


class BrainBertReconstructionHead(nn.Module):
    """Hidden states (B, T, H) → reconstructed image (B, T, F)."""

    def __init__(self, config: BrainBertConfig):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = ACT2FN[config.hidden_act]
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.decoder = nn.Linear(config.hidden_size, config.num_frequency_bins)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.layer_norm(self.activation(self.dense(hidden_states))))


class BrainBertPreTrainedModel(PreTrainedModel):
    """What all BrainBERT models share: initialisation, attention implementations, saving with code."""

    config: BrainBertConfig
    config_class = BrainBertConfig
    base_model_prefix = "brainbert"
    main_input_name = "input_values"
    input_modalities = ("time",)
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = False  # the Trainer must divide by accumulation steps: our losses are means
    _input_embed_layer = "projection"  # of BrainBertEmbeddings, for get_input_embeddings and set_input_embeddings
    # A checkpoint may hold a head that the class at hand does not have, as a pretrained model does for AutoModel.
    _keys_to_ignore_on_load_unexpected = [r"^reconstruction_head\.", r"^classifier\."]  # noqa: RUF012
    _no_split_modules = ["BrainBertEmbeddings", "BrainBertLayer"]  # noqa: RUF012 (as transformers declares it)
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True
    _can_record_outputs = {"hidden_states": BrainBertLayer, "attentions": BrainBertAttention}  # noqa: RUF012

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Initialise as the original intends: PyTorch's linear layers, xavier for query–key–value, biases 0.

        It matters: with the library's N(0, 0.02) the input projection drowns under the positions.
        Only modules that hold parameters or buffers themselves come here: transformers skips the others in custom code.
        """
        if isinstance(module, BrainBertAttentionProjection):
            # For the packed (3H, H) matrix of torch.nn.MultiheadAttention, of which this is a third.
            init.xavier_uniform_(module.weight, gain=2**-0.5)
            init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            bound = module.in_features**-0.5  # PyTorch's default: kaiming uniform with a = √5
            init.uniform_(module.weight, -bound, bound)
            init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)
        elif isinstance(module, BrainBertEmbeddings):
            init.copy_(module.positions, sinusoidal_positions(*module.positions.shape[1:]))

    def save_pretrained(self, save_directory: str | PathLike, **kwargs: Any) -> None:
        """Save the model, and its code with every Auto class and pipeline named, so that the folder loads anywhere."""
        self.config.auto_map = dict(AUTO_MAP)
        self.config.custom_pipelines = copy.deepcopy(CUSTOM_PIPELINES)
        super().save_pretrained(save_directory, **kwargs)


class BrainBertModel(BrainBertPreTrainedModel):
    """The encoder: contextual embeddings of the frames of one contact's spectrogram."""

    def __init__(self, config: BrainBertConfig):
        super().__init__(config)
        self.embeddings = BrainBertEmbeddings(config)
        self.layers = nn.ModuleList([BrainBertLayer(config) for _ in range(config.num_hidden_layers)])
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPooling:
        """Encode spectrograms.

        input_values: (B, T, F), from the feature extractor.
        attention_mask: (B, T), nonzero where there is signal; None means everywhere.
        Returns last_hidden_state (B, T, H) and pooler_output (B, H), the frames pooled as config.pooling says;
        hidden_states and attentions when asked for (attentions need attn_implementation="eager").
        """
        hidden_states, mask = self._embed_frames(input_values, attention_mask)
        for layer in self.layers:
            hidden_states = layer(hidden_states, mask, **kwargs)
        return BaseModelOutputWithPooling(
            last_hidden_state=hidden_states,
            pooler_output=pool_frames(hidden_states, attention_mask, pooling=self.config.pooling),
        )

    def embed(
        self,
        input_values: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        *,
        pooling: str | None = None,
        layer: int = -1,
    ) -> torch.Tensor:
        """Return embeddings (B, H) of one layer, computing no more than they need.

        input_values: (B, T, F). attention_mask: (B, T), nonzero where there is signal.
        pooling: "center" or "mean" as in pool_frames, by default config.pooling; "frames" for all frames (B, T, H).
        layer: 0 is what enters the first layer, n what leaves the n-th; negative numbers count from the last. Layers
            after it are not run. With "center" it computes the ten centre frames only, from the keys and values of all
            frames; flash and flex attention compute all of its frames.
        Equals hidden_states[layer] of `forward`, pooled. Raises ValueError for another pooling or layer.
        """
        pooling = pooling or self.config.pooling
        count = len(self.layers)
        if pooling not in ("center", "mean", "frames"):
            raise ValueError(f"pooling is {pooling!r}: choose center, mean or frames.")
        if not -count - 1 <= layer <= count:
            raise ValueError(
                f"layer is {layer} and this model has {count}: choose 0 (what enters the first) to {count}, or -1 "
                f"(the last) to {-count - 1}."
            )
        hidden_states, mask = self._embed_frames(input_values, attention_mask)
        layers = list(self.layers)[: layer % (count + 1)]
        # Their masks come as (B, 1, queries, T) with equal rows, so that any ten of them serve ten queries.
        few_queries = pooling == "center" and layers and self.config._attn_implementation in ("eager", "sdpa")
        for before in layers[:-1] if few_queries else layers:
            hidden_states = before(hidden_states, mask)
        if pooling == "frames":
            return hidden_states
        if not few_queries:
            return pool_frames(hidden_states, attention_mask, pooling=pooling)
        weights = frame_weights(hidden_states, attention_mask, pooling=pooling)
        weights, frames = weights.sort(dim=-1, descending=True, stable=True)  # the centre frames, in order, come first
        weights, frames = weights[:, :CENTER_FRAMES], frames[:, :CENTER_FRAMES]
        queries = hidden_states.take_along_dim(frames.unsqueeze(-1), dim=1)
        mask = None if mask is None else mask[:, :, : frames.shape[1]]
        return (weights.unsqueeze(1) @ layers[-1](hidden_states, mask, queries=queries)).squeeze(1)

    def _embed_frames(
        self, input_values: torch.Tensor | None, attention_mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return what enters the first layer, and the mask as the attention implementation takes it."""
        if input_values is None:
            raise ValueError("input_values is missing: pass the feature extractor's output.")
        if attention_mask is not None and attention_mask.shape != input_values.shape[:2]:
            raise ValueError(
                f"attention_mask has shape {tuple(attention_mask.shape)} and input_values {tuple(input_values.shape)}: "
                "pass (batch, frames), as the feature extractor gives it."
            )
        hidden_states = self.embeddings(input_values)
        mask = create_bidirectional_mask(config=self.config, inputs_embeds=hidden_states, attention_mask=attention_mask)
        return hidden_states, mask


class BrainBertForPreTraining(BrainBertPreTrainedModel):
    """Reconstruct masked cells of the spectrogram, with the paper's content-aware loss."""

    def __init__(self, config: BrainBertConfig):
        super().__init__(config)
        self.brainbert = BrainBertModel(config)
        self.reconstruction_head = BrainBertReconstructionHead(config)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BrainBertForPreTrainingOutput:
        """Reconstruct images; with labels, measure the error.

        input_values: (B, T, F), masked.
        attention_mask: (B, T), nonzero where there is signal.
        labels: (B, T, F), the image before masking.
        mask: (B, T, F) boolean, the cells that the loss counts; None means all. Padding never counts.
        Source: Wang et al. 2023, equation 1.
        """
        outputs = self.brainbert(input_values, attention_mask=attention_mask, **kwargs)
        logits = self.reconstruction_head(outputs.last_hidden_state)
        loss, parts = None, {}
        if labels is not None:
            parts = self._error(logits, labels, mask, attention_mask)
            loss = parts["l1_sum"] / parts["l1_count"].clamp(min=1)
            content = parts["content_sum"] / parts["content_count"].clamp(
                min=1
            )  # 0 where no cell exceeds the threshold
            loss = loss + self.config.content_weight * content
        return BrainBertForPreTrainingOutput(
            loss=loss, logits=logits, **parts, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )

    def _error(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        mask: torch.Tensor | None,
        attention_mask: torch.Tensor | None,
    ) -> dict[str, torch.Tensor]:
        """Return sums and counts of the absolute error, in float32 whatever the model computes in."""
        for name, tensor in (("labels", labels), ("mask", mask)):
            if tensor is not None and tensor.shape != logits.shape:  # it would broadcast to a plausible number
                raise ValueError(
                    f"{name} has shape {tuple(tensor.shape)} and the image {tuple(logits.shape)}: pass one value for "
                    "each cell."
                )
        labels = labels.float()
        counted = torch.ones_like(labels, dtype=torch.bool) if mask is None else mask.bool()
        if attention_mask is not None:
            counted = counted & attention_mask.bool().unsqueeze(-1)
        error = (logits.float() - labels).abs()
        content = counted & (labels.abs() > self.config.content_threshold)
        return {
            "l1_sum": torch.where(counted, error, 0).sum(),
            "l1_count": counted.sum(),
            "content_sum": torch.where(content, error, 0).sum(),
            "content_count": content.sum(),
        }


class BrainBertForSequenceClassification(BrainBertPreTrainedModel):
    """Pooled frames → one linear layer: a class, several labels, or a number per window."""

    def __init__(self, config: BrainBertConfig):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.brainbert = BrainBertModel(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> SequenceClassifierOutput:
        """Classify windows, or regress on them.

        input_values: (B, T, F). attention_mask: (B, T).
        labels: (B,) class numbers (cross-entropy), (B,) numbers when num_labels is 1 (squared error), or
            (B, num_labels) when config.problem_type is "multi_label_classification".
        Returns logits (B, num_labels).
        """
        outputs = self.brainbert(input_values, attention_mask=attention_mask, **kwargs)
        logits = self.classifier(outputs.pooler_output)
        loss = None
        if labels is not None:
            loss = self.loss_function(labels=labels, pooled_logits=logits, config=self.config)
        return SequenceClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


__all__ = [
    "BrainBertForPreTraining",
    "BrainBertForPreTrainingOutput",
    "BrainBertForSequenceClassification",
    "BrainBertModel",
    "BrainBertPreTrainedModel",
    "pool_frames",
]
