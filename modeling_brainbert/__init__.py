"""The model that ships to the Hub. Importing it registers BrainBERT with every Auto class that it supports."""

from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForAudioClassification,
    AutoModelForPreTraining,
    AutoModelForSequenceClassification,
)

from .configuration_brainbert import PRESETS, BrainBertConfig
from .feature_extraction_brainbert import BrainBertFeatureExtractor
from .modeling_brainbert import (
    BrainBertForPreTraining,
    BrainBertForPreTrainingOutput,
    BrainBertForSequenceClassification,
    BrainBertModel,
    BrainBertPreTrainedModel,
    pool_frames,
)
from .pipeline_brainbert import BrainBertFeatureExtractionPipeline
from .spectrogram_brainbert import num_stft_frames, stft
from .superlet_brainbert import num_superlet_frames, superlet

# `register`: AutoModel.from_pretrained(folder) finds these classes here, without trust_remote_code.
AutoConfig.register("brainbert", BrainBertConfig, exist_ok=True)
AutoFeatureExtractor.register(BrainBertConfig, BrainBertFeatureExtractor, exist_ok=True)
AutoModel.register(BrainBertConfig, BrainBertModel, exist_ok=True)
AutoModelForPreTraining.register(BrainBertConfig, BrainBertForPreTraining, exist_ok=True)
AutoModelForAudioClassification.register(BrainBertConfig, BrainBertForSequenceClassification, exist_ok=True)
AutoModelForSequenceClassification.register(BrainBertConfig, BrainBertForSequenceClassification, exist_ok=True)

# `register_for_auto_class`: save_pretrained copies the code along, so that the folder loads without this package.
BrainBertConfig.register_for_auto_class()
BrainBertFeatureExtractor.register_for_auto_class()
BrainBertModel.register_for_auto_class("AutoModel")
BrainBertForPreTraining.register_for_auto_class("AutoModelForPreTraining")
BrainBertForSequenceClassification.register_for_auto_class("AutoModelForAudioClassification")

__all__ = [
    "PRESETS",
    "BrainBertConfig",
    "BrainBertFeatureExtractionPipeline",
    "BrainBertFeatureExtractor",
    "BrainBertForPreTraining",
    "BrainBertForPreTrainingOutput",
    "BrainBertForSequenceClassification",
    "BrainBertModel",
    "BrainBertPreTrainedModel",
    "num_stft_frames",
    "num_superlet_frames",
    "pool_frames",
    "stft",
    "superlet",
]
