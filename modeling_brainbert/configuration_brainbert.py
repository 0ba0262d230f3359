"""Configuration of BrainBERT models, and the sizes in use."""

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

# tiny is ours, for trials on a laptop; small, base and large are the original code's sizes, large the released one.
# It goes without dropout, which so small a model does not need and which takes a third of its time on a CPU.
PRESETS: dict[str, dict[str, int | float]] = {
    "tiny": {
        "num_hidden_layers": 2,
        "hidden_size": 128,
        "num_attention_heads": 4,
        "intermediate_size": 512,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    },
    "small": {"num_hidden_layers": 3, "hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 1200},
    "base": {"num_hidden_layers": 3, "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072},
    "large": {"num_hidden_layers": 6, "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072},
}

# Where each Auto class finds its class in a saved folder. Saving one model registers that one only; a folder needs all.
AUTO_MAP = {
    "AutoConfig": "configuration_brainbert.BrainBertConfig",
    "AutoFeatureExtractor": "feature_extraction_brainbert.BrainBertFeatureExtractor",
    "AutoModel": "modeling_brainbert.BrainBertModel",
    "AutoModelForPreTraining": "modeling_brainbert.BrainBertForPreTraining",
    "AutoModelForAudioClassification": "modeling_brainbert.BrainBertForSequenceClassification",
    "AutoModelForSequenceClassification": "modeling_brainbert.BrainBertForSequenceClassification",
}

# What `pipeline(task, model=FOLDER, trust_remote_code=True)` finds there.
CUSTOM_PIPELINES = {
    "feature-extraction": {"impl": "pipeline_brainbert.BrainBertFeatureExtractionPipeline", "pt": ["AutoModel"]}
}


@strict
class BrainBertConfig(PreTrainedConfig):
    """Shape and loss of a BrainBERT encoder; the defaults are the released large model.

    hidden_size: width of the frame embeddings, a multiple of num_attention_heads, and even (sine and cosine pairs).
    num_hidden_layers, num_attention_heads, intermediate_size: the Transformer encoder.
    hidden_act: activation of the feed-forward layers and of the reconstruction head.
    hidden_dropout_prob, attention_probs_dropout_prob: dropout while training.
    layer_norm_eps: added to the variance in layer norms.
    max_position_embeddings: longest spectrogram, in frames.
    num_frequency_bins: frequency bins of a spectrogram frame.
    pooling: how frames become one embedding: "center", the ten centre frames (the paper), or "mean", all of them.
    content_weight, content_threshold: the loss adds content_weight times the mean error over cells whose target
        exceeds content_threshold in absolute value (z units).

    Raises StrictDataclassError for a value of the wrong type or out of range.
    Source: Wang et al. 2023, section 3, and the released configuration.
    """

    model_type = "brainbert"
    keys_to_ignore_at_inference = ["hidden_states", "attentions"]  # noqa: RUF012 (Trainer adds a list to it)

    hidden_size: int = 768
    num_hidden_layers: int = 6
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float | int = 0.1
    attention_probs_dropout_prob: float | int = 0.1
    layer_norm_eps: float = 1e-5
    max_position_embeddings: int = 5000
    num_frequency_bins: int = 40
    pooling: str = "center"
    content_weight: float | int = 2.0
    content_threshold: float | int = 1.0

    @classmethod
    def from_preset(cls, name: str, **overrides: Any) -> "BrainBertConfig":
        """Return the configuration called `name` (tiny, small, base or large), with fields replaced by `overrides`.

        Raises ValueError for an unknown preset or field: PreTrainedConfig would keep a misspelt field silently.
        """
        if name not in PRESETS:
            raise ValueError(f"There is no preset {name!r}: choose one of {', '.join(PRESETS)}.")
        unknown = sorted(set(overrides) - set(cls.__dataclass_fields__))
        if unknown:
            raise ValueError(f"BrainBertConfig has no field {', '.join(unknown)}: see help(BrainBertConfig).")
        return cls(**{**PRESETS[name], **overrides})

    def validate_shape(self) -> None:
        """Refuse sizes that no encoder can have (called by @strict)."""
        sizes = {
            name: getattr(self, name)
            for name in (
                "hidden_size",
                "num_attention_heads",
                "intermediate_size",
                "max_position_embeddings",
                "num_frequency_bins",
            )
        }
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name} is {size}: it must be at least 1.")
        if self.num_hidden_layers < 0:
            raise ValueError(f"num_hidden_layers is {self.num_hidden_layers}: it must not be negative.")
        if self.hidden_size % self.num_attention_heads or self.hidden_size % 2:
            raise ValueError(
                f"hidden_size {self.hidden_size} must be even and a multiple of "
                f"num_attention_heads {self.num_attention_heads}."
            )

    def validate_pooling(self) -> None:
        """Refuse an unknown pooling (called by @strict)."""
        if self.pooling not in ("center", "mean"):
            raise ValueError(
                f'pooling is {self.pooling!r}: choose "center" (ten centre frames) or "mean" (all frames).'
            )


__all__ = ["AUTO_MAP", "CUSTOM_PIPELINES", "PRESETS", "BrainBertConfig"]
