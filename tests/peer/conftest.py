"""Stands in for three modules of transformers' test suite that its source distribution leaves out."""

import sys
from types import ModuleType

import pytest

STUBS = {
    "exporters.test_export": {"ExportTesterMixin": type("ExportTesterMixin", (), {})},
    "generation.test_utils": {"GenerationTesterMixin": type("GenerationTesterMixin", (), {})},
    # Settings that a configuration of any model must take and keep.
    "utils.test_configuration_utils": {
        "config_common_kwargs": {
            "return_dict": False,
            "output_hidden_states": True,
            "dtype": "float16",
            "chunk_size_feed_forward": 5,
            "architectures": ["BrainBertModel"],
            "id2label": {0: "rest", 1: "speech"},
            "label2id": {"rest": 0, "speech": 1},
            "problem_type": "regression",
        }
    },
}

for name, contents in STUBS.items():
    module = ModuleType(f"transformers_tests.{name}")
    module.__dict__.update(contents)
    sys.modules[module.__name__] = module


def pytest_configure(config: pytest.Config) -> None:
    """Declare the suite's markers."""
    for marker in ("accelerate_tests", "torch_compile_test", *(f"flash_attn_{n}test" for n in ("", "3_", "4_"))):
        config.addinivalue_line("markers", f"{marker}: of transformers' suite")
