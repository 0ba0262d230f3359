"""Transformers' own test suite for models, configurations and feature extractors, run on ours.

`make test-peer` fetches the suite, in the version of constraints.txt, to build/peer/transformers_tests and runs this
file; the other tests never collect it. Each adaptation says why it is needed.
"""

import unittest
from typing import Any

import numpy as np
import torch
from transformers.testing_utils import torch_device
from transformers_tests import test_modeling_common
from transformers_tests.test_configuration_common import ConfigTester
from transformers_tests.test_modeling_common import ModelTesterMixin, floats_tensor, random_attention_mask
from transformers_tests.test_sequence_feature_extraction_common import SequenceFeatureExtractionTestMixin

from brainbert.modeling_brainbert import (
    BrainBertConfig,
    BrainBertFeatureExtractor,
    BrainBertForPreTraining,
    BrainBertForSequenceClassification,
    BrainBertModel,
)

# The suite tells base models, which have no loss, by this table of transformers' own models: ours is not in it.
test_modeling_common.MODEL_MAPPING_NAMES = {**test_modeling_common.MODEL_MAPPING_NAMES, "brainbert": "BrainBertModel"}


class BrainBertModelTester:
    """Makes the small models and inputs that the suite asks for."""

    batch_size = 3
    seq_length = 24
    num_frequency_bins = 10
    hidden_size = 32
    num_hidden_layers = 2
    num_attention_heads = 4
    is_training = True

    def __init__(self, parent: unittest.TestCase):
        self.parent = parent

    def get_config(self) -> BrainBertConfig:
        return BrainBertConfig(
            hidden_size=self.hidden_size,
            num_hidden_layers=self.num_hidden_layers,
            num_attention_heads=self.num_attention_heads,
            intermediate_size=37,
            max_position_embeddings=64,
            num_frequency_bins=self.num_frequency_bins,
        )

    def prepare_config_and_inputs_for_common(self) -> tuple[BrainBertConfig, dict[str, torch.Tensor]]:
        return self.get_config(), {
            "input_values": floats_tensor([self.batch_size, self.seq_length, self.num_frequency_bins]),
            "attention_mask": random_attention_mask([self.batch_size, self.seq_length]),
        }


class BrainBertModelTest(ModelTesterMixin, unittest.TestCase):
    all_model_classes = (BrainBertModel, BrainBertForPreTraining, BrainBertForSequenceClassification)
    test_resize_embeddings = False  # there is no vocabulary
    test_can_init_all_missing_weights_before_2023 = True  # else skipped: our files have no copyright line with a year

    def setUp(self) -> None:
        self.model_tester = BrainBertModelTester(self)
        self.config_tester = ConfigTester(self, config_class=BrainBertConfig, has_text_modality=False, hidden_size=36)

    def test_config(self) -> None:
        self.config_tester.run_common_tests()

    def _prepare_for_class(
        self, inputs_dict: dict[str, Any], model_class: type, return_labels: bool = False
    ) -> dict[str, Any]:
        """Add labels to our heads: the suite knows what labels look like only for transformers' own classes."""
        inputs_dict = super()._prepare_for_class(inputs_dict, model_class, return_labels=return_labels)
        if return_labels and model_class is BrainBertForPreTraining:
            inputs_dict["labels"] = inputs_dict["input_values"] + 1
        if return_labels and model_class is BrainBertForSequenceClassification:
            inputs_dict["labels"] = torch.zeros(self.model_tester.batch_size, dtype=torch.long, device=torch_device)
        return inputs_dict

    def test_model_get_set_embeddings(self) -> None:
        """Replaces the suite's: it expects an nn.Embedding, and frames of a spectrogram are embedded by nn.Linear."""
        for model_class in self.all_model_classes:
            model = model_class(self.model_tester.get_config())
            assert isinstance(model.get_input_embeddings(), torch.nn.Linear)
            other = torch.nn.Linear(10, 32)
            model.set_input_embeddings(other)
            assert model.get_input_embeddings() is other
            assert model.get_output_embeddings() is None


class BrainBertFeatureExtractionTester:
    """Makes the small spectrograms that the suite pads and truncates."""

    batch_size = 7
    min_seq_length = 10
    max_seq_length = 47
    seq_length_diff = (max_seq_length - min_seq_length) // (batch_size - 1)
    feature_size = 24

    def prepare_feat_extract_dict(self) -> dict[str, Any]:
        return {"feature_size": self.feature_size, "sampling_rate": 1000, "padding_value": 0.0}

    def prepare_inputs_for_common(self, equal_length: bool = False, numpify: bool = False) -> list[Any]:
        lengths = range(self.min_seq_length, self.max_seq_length, self.seq_length_diff)
        generator = np.random.default_rng(0)
        images = [
            generator.standard_normal((self.max_seq_length if equal_length else length, self.feature_size))
            for length in lengths
        ]
        return images if numpify else [image.tolist() for image in images]


class BrainBertFeatureExtractionTest(SequenceFeatureExtractionTestMixin, unittest.TestCase):
    feature_extraction_class = BrainBertFeatureExtractor

    def setUp(self) -> None:
        self.feat_extract_tester = BrainBertFeatureExtractionTester()
