"""The Transformers team's own tests, `ModelTesterMixin` and `ConfigTester`, on our models.

They are not part of the installed library: `make transformers-tests` downloads those of the installed version and runs
this file, which skips without them.
"""

import importlib
import json
import os
import sys
import types
import unittest

import pytest
import torch
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES,
    MODEL_FOR_AUDIO_FRAME_CLASSIFICATION_MAPPING_NAMES,
    MODEL_MAPPING_NAMES,
)

import modeling_sleepvit as sleepvit


if "TRANSFORMERS_TESTS" not in os.environ:
    pytest.skip("`make transformers-tests` downloads the tests of Transformers and runs them", allow_module_level=True)

# The source release lacks these three, which hold tests of exporters, of text generation, and defaults of text models.
LEFT_OUT = {
    "exporters.test_export": {"ExportTesterMixin": type("ExportTesterMixin", (), {})},
    "generation.test_utils": {"GenerationTesterMixin": type("GenerationTesterMixin", (), {})},
    "utils.test_configuration_utils": {"config_common_kwargs": {}},
}


def import_transformers_tests(name: str):
    sys.path.insert(0, os.environ["TRANSFORMERS_TESTS"])
    for module_name, content in LEFT_OUT.items():
        folder, _, _ = module_name.partition(".")
        sys.modules.setdefault(f"transformers_tests.{folder}", types.ModuleType(folder))
        module = sys.modules.setdefault(f"transformers_tests.{module_name}", types.ModuleType(module_name))
        vars(module).update(content)
    try:
        return importlib.import_module(f"transformers_tests.{name}")
    finally:
        sys.path.pop(0)


# Their tests look up by name what kind of head a class has, and so which labels it takes.
MODEL_MAPPING_NAMES["sleepvit"] = "SleepViTModel"
MODEL_MAPPING_NAMES["sleepvit_sequence"] = "SleepViTSequenceModel"
MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES["sleepvit"] = "SleepViTForAudioClassification"
MODEL_FOR_AUDIO_FRAME_CLASSIFICATION_MAPPING_NAMES["sleepvit_sequence"] = "SleepViTForAudioFrameClassification"

ModelTesterMixin = import_transformers_tests("test_modeling_common").ModelTesterMixin
ConfigTester = import_transformers_tests("test_configuration_common").ConfigTester

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "head_dim": 8,
    "intermediate_size": 37,
    "hidden_dropout_prob": 0.1,
}
EPOCH_SIZES = {**SIZES, "num_channels": 2, "num_rows": 8, "num_frames": 3}
EPOCH_CONFIG = json.loads(sleepvit.SleepViTSequenceConfig(epoch_config=EPOCH_SIZES).to_json_string())["epoch_config"]
N_EPOCHS = 6


class SleepViTModelTester:
    """What the mixin asks a model's test for: a small configuration and inputs."""

    config_class = sleepvit.SleepViTConfig
    sizes = EPOCH_SIZES
    batch_size = 3
    is_training = True
    num_hidden_layers = SIZES["num_hidden_layers"]
    num_attention_heads = SIZES["num_attention_heads"]
    hidden_size = SIZES["hidden_size"]
    seq_length = 1 + 2 * 3  # the class token and 2 bands x 3 seconds

    def get_config(self):
        return self.config_class(**self.sizes)

    def prepare_config_and_inputs_for_common(self):
        return self.get_config(), {"input_values": torch.randn(self.batch_size, 2, 8, 3)}


class SleepViTSequenceModelTester(SleepViTModelTester):
    config_class = sleepvit.SleepViTSequenceConfig
    sizes = {**SIZES, "epoch_config": EPOCH_CONFIG, "sequence_length": N_EPOCHS}
    seq_length = 1 + N_EPOCHS

    def prepare_config_and_inputs_for_common(self):
        inputs = {
            "input_values": torch.randn(self.batch_size, N_EPOCHS, 2, 8, 3),
            "attention_mask": torch.ones(self.batch_size, N_EPOCHS, dtype=torch.long),
        }
        return self.get_config(), inputs


class TestSleepViT(ModelTesterMixin, unittest.TestCase):
    all_model_classes = (sleepvit.SleepViTModel, sleepvit.SleepViTForAudioClassification)
    model_tester = SleepViTModelTester()
    test_can_init_all_missing_weights_before_2023 = True  # they look for a year in a licence header
    test_resize_embeddings = False  # there is no vocabulary
    test_model_get_set_embeddings = None  # it asks for an nn.Embedding; patches are projected

    def test_config(self):
        config_class, sizes = self.model_tester.config_class, self.model_tester.sizes
        ConfigTester(self, config_class=config_class, has_text_modality=False, **sizes).run_common_tests()


class TestSleepViTSequence(TestSleepViT):
    all_model_classes = (sleepvit.SleepViTSequenceModel, sleepvit.SleepViTForAudioFrameClassification)
    model_tester = SleepViTSequenceModelTester()

    def _prepare_for_class(self, inputs_dict, model_class, return_labels=False):
        inputs = super()._prepare_for_class(inputs_dict, model_class, return_labels)
        # their table of labels by kind of head lacks audio frames
        if return_labels and model_class is sleepvit.SleepViTForAudioFrameClassification:
            inputs["labels"] = torch.zeros(self.model_tester.batch_size, N_EPOCHS, dtype=torch.long)
        return inputs
