"""A saved folder loads where this package is not installed, and gives the same numbers there.

A child process stands for such a machine: of what is installed it can import torch, numpy and transformers, and what
these need. One child loads what was saved here, a second one what the first one saved again.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import transformers
from safetensors import safe_open

from brainbert.modeling_brainbert import (
    BrainBertConfig,
    BrainBertFeatureExtractor,
    BrainBertForPreTraining,
    BrainBertForSequenceClassification,
    BrainBertModel,
)
from brainbert.modeling_brainbert.modeling_brainbert import sinusoidal_positions

pytestmark = pytest.mark.slow  # two processes that import transformers

FIXTURE = Path(__file__).parents[1] / "fixtures" / "tiny"

CLASSES = {
    "AutoModel": BrainBertModel,
    "AutoModelForPreTraining": BrainBertForPreTraining,
    "AutoModelForAudioClassification": BrainBertForSequenceClassification,
    "AutoModelForSequenceClassification": BrainBertForSequenceClassification,
}
CODE = {
    "configuration_brainbert.py",
    "feature_extraction_brainbert.py",
    "modeling_brainbert.py",
    "pipeline_brainbert.py",
    "spectrogram_brainbert.py",
    "superlet_brainbert.py",
    "wavelets_brainbert.py",
}
WEIGHTS_AND_SETTINGS = {"config.json", "model.safetensors", "preprocessor_config.json"}
RECONSTRUCTION_HEAD = {
    f"reconstruction_head.{name}.{kind}" for name in ("dense", "layer_norm", "decoder") for kind in ("weight", "bias")
}
CLASSIFIER = {"classifier.weight", "classifier.bias"}
NOTHING: set[str] = set()
# (folder, Auto class) → keys that are missing, keys that are not expected. Missing ones are
# what an untrained head is; the weights of another head are passed over without alarm.
KEYS = {
    ("pretraining", "AutoModel"): (NOTHING, NOTHING),
    ("pretraining", "AutoModelForPreTraining"): (NOTHING, NOTHING),
    ("pretraining", "AutoModelForAudioClassification"): (CLASSIFIER, NOTHING),
    ("pretraining", "AutoModelForSequenceClassification"): (CLASSIFIER, NOTHING),
    ("classification", "AutoModel"): (NOTHING, NOTHING),
    ("classification", "AutoModelForPreTraining"): (RECONSTRUCTION_HEAD, NOTHING),
    ("classification", "AutoModelForAudioClassification"): (NOTHING, NOTHING),
    ("classification", "AutoModelForSequenceClassification"): (NOTHING, NOTHING),
    ("bare", "AutoModel"): (NOTHING, NOTHING),
    ("bare", "AutoModelForPreTraining"): (RECONSTRUCTION_HEAD, NOTHING),
    ("bare", "AutoModelForAudioClassification"): (CLASSIFIER, NOTHING),
    ("bare", "AutoModelForSequenceClassification"): (CLASSIFIER, NOTHING),
}
COPY = "a copy-of.it v1.0"  # no name for a Python module

# Runs where the package is not importable. argv: a JSON object with threads, voltage, folders, save_to and report.
CHILD = (
    (Path(__file__).parents[1] / "without_package.py").read_text(encoding="utf-8")
    + r"""
import json
from pathlib import Path

import numpy as np
import torch
import transformers

def is_importable(name):
    try:
        __import__(name)
    except ModuleNotFoundError:
        return False
    return True

task = json.loads(sys.argv[1])
torch.set_num_threads(task["threads"])
voltage = list(np.load(task["voltage"]).values())
report = {"importable": [name for name in task["check_importable"] if is_importable(name)], "loads": {}}
arrays = {}
for name, folder in task["folders"].items():
    config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=True)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=True)
    batch = extractor(voltage, sampling_rate=2048)
    arrays[f"{name}/input_values"], arrays[f"{name}/attention_mask"] = batch["input_values"], batch["attention_mask"]
    report["loads"][name] = {"AutoConfig": type(config).__name__, "AutoFeatureExtractor": type(extractor).__name__}
    for auto_name in task["auto_classes"]:
        torch.manual_seed(0)  # for heads that are not in the folder
        model, info = getattr(transformers, auto_name).from_pretrained(
            folder, trust_remote_code=True, output_loading_info=True
        )
        report["loads"][name][auto_name] = {
            "class": type(model).__name__, **{keys: sorted(info[keys]) for keys in info if keys != "error_msgs"}
        }
        with torch.inference_mode():
            for key, value in model(**batch).items():
                arrays[f"{name}/{auto_name}/{key}"] = value
        arrays[f"{name}/{auto_name}/positions"] = model.base_model.embeddings.positions
        if (name, auto_name) == ("pretraining", "AutoModelForPreTraining"):
            model.save_pretrained(task["save_to"])
            extractor.save_pretrained(task["save_to"])
    pipe = transformers.pipeline("feature-extraction", model=folder, trust_remote_code=True)
    for row, embedding in enumerate(pipe(voltage, sampling_rate=2048, return_tensors=True, batch_size=2)):
        arrays[f"{name}/pipeline/{row}"] = embedding
    report["loads"][name]["pipeline"] = type(transformers.pipeline(model=folder, trust_remote_code=True)).__name__
    try:
        pipe("night.edf", line_frequency_hz=50)
    except ModuleNotFoundError as error:
        report["loads"][name]["path"] = str(error)
report["modules"] = sorted(  # __editable__: how an editable install makes itself known, loaded at startup
    name
    for name, module in sys.modules.items()
    if module is not None and "brainbert" in name and not name.startswith("__editable__")
)
np.savez(task["report"] + ".npz", **{name: array.numpy() for name, array in arrays.items()})
Path(task["report"] + ".json").write_text(json.dumps(report))
"""
)


class Saved(NamedTuple):
    """Folders, what the children reported, the arrays that they computed, and the voltage that they were given."""

    folders: dict[str, Path]
    report: dict[str, Any]
    arrays: dict[str, np.ndarray]
    voltage: list[np.ndarray]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    root = tmp_path_factory.mktemp("saved")
    generator = np.random.default_rng(0)
    voltage = [generator.normal(0, 50, samples).astype(np.float32) for samples in (10240, 8000, 10240)]
    np.savez(root / "voltage.npz", *voltage)
    extractor = BrainBertFeatureExtractor.from_pretrained(FIXTURE)
    extractor(voltage, sampling_rate=2048)  # a used extractor must not save more than a new one

    folders = {name: root / name for name in ("pretraining", "classification", "bare")}
    for name, model_class in zip(
        folders, (BrainBertForPreTraining, BrainBertForSequenceClassification, BrainBertModel), strict=True
    ):
        torch.manual_seed(1)
        model_class.from_pretrained(FIXTURE).save_pretrained(folders[name])
        extractor.save_pretrained(folders[name])
    folders["copy"] = Path(shutil.copytree(folders["pretraining"], root / COPY))
    folders["saved again"] = root / "saved_again"

    report, arrays = {"importable": [], "loads": {}, "modules": []}, {}
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "HF_"))}
    environment |= {"HF_HOME": str(root / "hf"), "HF_MODULES_CACHE": str(root / "modules"), "HF_HUB_OFFLINE": "1"}
    for child, names in enumerate((("pretraining", "classification", "bare", "copy"), ("saved again",))):
        task = {
            "threads": torch.get_num_threads(),
            "voltage": str(root / "voltage.npz"),
            "folders": {name: str(folders[name]) for name in names},
            "auto_classes": list(CLASSES),
            "check_importable": ["brainbert", "datasets", "accelerate", "scipy", "mne", "edfio", "pandas", "pytest"],
            "save_to": str(folders["saved again"]),
            "report": str(root / f"child_{child}"),
        }
        subprocess.run([sys.executable, "-c", CHILD, json.dumps(task)], cwd=root, env=environment, check=True)
        part = json.loads((root / f"child_{child}.json").read_text())
        report["importable"] += part["importable"]
        report["modules"] += part["modules"]
        report["loads"] |= part["loads"]
        arrays |= np.load(root / f"child_{child}.npz")
    return Saved(folders, report, arrays, voltage)


def test_the_child_process_cannot_import_the_package_nor_anything_that_transformers_does_not_need(saved: Saved):
    assert saved.report["importable"] == []
    assert {name.split(".")[0] for name in saved.report["modules"]} == {"transformers_modules"}


@pytest.mark.parametrize("folder", ["pretraining", "classification", "bare", "copy", "saved again"])
def test_every_auto_class_finds_its_class(saved: Saved, folder: str):
    loads = saved.report["loads"][folder]

    assert loads["AutoConfig"] == "BrainBertConfig"
    assert loads["AutoFeatureExtractor"] == "BrainBertFeatureExtractor"
    assert {name: loads[name]["class"] for name in CLASSES} == {name: cls.__name__ for name, cls in CLASSES.items()}


@pytest.mark.parametrize(("folder", "auto_class"), KEYS)
def test_missing_and_unexpected_keys_are_those_of_the_heads(saved: Saved, folder: str, auto_class: str):
    info = saved.report["loads"][folder][auto_class]

    missing, unexpected = KEYS[folder, auto_class]
    assert set(info["missing_keys"]) == missing
    assert set(info["unexpected_keys"]) == unexpected
    assert info["mismatched_keys"] == []


@pytest.mark.parametrize(("folder", "auto_class"), KEYS)
def test_outputs_without_the_package_are_those_with_it_bit_for_bit(saved: Saved, folder: str, auto_class: str):
    extractor = BrainBertFeatureExtractor.from_pretrained(saved.folders[folder])
    batch = extractor(saved.voltage, sampling_rate=2048)
    torch.manual_seed(0)
    model = CLASSES[auto_class].from_pretrained(saved.folders[folder])
    with torch.inference_mode():
        outputs = model(**batch)

    np.testing.assert_array_equal(saved.arrays[f"{folder}/input_values"], batch["input_values"])
    np.testing.assert_array_equal(saved.arrays[f"{folder}/attention_mask"], batch["attention_mask"])
    for name, value in outputs.items():
        np.testing.assert_array_equal(saved.arrays[f"{folder}/{auto_class}/{name}"], value)


@pytest.mark.parametrize("folder", ["pretraining", "classification", "bare", "copy", "saved again"])
def test_without_the_package_the_pipeline_embeds_as_the_model_does_and_needs_it_for_a_path(saved: Saved, folder: str):
    extractor = BrainBertFeatureExtractor.from_pretrained(saved.folders[folder])
    model = BrainBertModel.from_pretrained(saved.folders[folder])
    loads = saved.report["loads"][folder]

    assert loads["pipeline"] == "BrainBertFeatureExtractionPipeline"
    for row, voltage in enumerate(saved.voltage):
        with torch.inference_mode():
            expected = model(**extractor(voltage, sampling_rate=2048)).pooler_output[0]
        np.testing.assert_allclose(saved.arrays[f"{folder}/pipeline/{row}"], expected, atol=1e-5)
    assert loads["path"].startswith("night.edf: recordings are read by brainbert.processing, and there is no brainbert")
    assert loads["path"].endswith("pip install '.[decoding]', or pass voltage with its sampling_rate.")


@pytest.mark.parametrize("folder", ["copy", "saved again"])
def test_a_folder_that_was_copied_or_saved_again_gives_the_same_outputs(saved: Saved, folder: str):
    names = [name.removeprefix("pretraining/") for name in saved.arrays if name.startswith("pretraining/")]

    assert len(names) > 10
    for name in names:
        np.testing.assert_array_equal(saved.arrays[f"{folder}/{name}"], saved.arrays[f"pretraining/{name}"])


@pytest.mark.parametrize("folder", ["pretraining", "classification", "bare", "copy", "saved again"])
@pytest.mark.parametrize("auto_class", CLASSES)
def test_the_position_table_is_not_in_the_folder_and_is_right_after_loading(saved: Saved, folder: str, auto_class: str):
    with safe_open(saved.folders[folder] / "model.safetensors", "pt") as tensors:
        assert not [name for name in tensors.keys() if "positions" in name]  # noqa: SIM118 (not a dict)
    np.testing.assert_array_equal(
        saved.arrays[f"{folder}/{auto_class}/positions"], sinusoidal_positions(length=5000, width=24)
    )


@pytest.mark.parametrize("folder", ["pretraining", "classification", "bare", "saved again"])
def test_a_saved_folder_names_every_auto_class_and_the_pipeline_and_holds_the_code(saved: Saved, folder: str):
    config = json.loads((saved.folders[folder] / "config.json").read_text())
    settings = json.loads((saved.folders[folder] / "preprocessor_config.json").read_text())

    assert config["auto_map"] == {
        "AutoConfig": "configuration_brainbert.BrainBertConfig",
        "AutoFeatureExtractor": "feature_extraction_brainbert.BrainBertFeatureExtractor",
        "AutoModel": "modeling_brainbert.BrainBertModel",
        "AutoModelForPreTraining": "modeling_brainbert.BrainBertForPreTraining",
        "AutoModelForAudioClassification": "modeling_brainbert.BrainBertForSequenceClassification",
        "AutoModelForSequenceClassification": "modeling_brainbert.BrainBertForSequenceClassification",
    }
    assert config["custom_pipelines"] == {
        "feature-extraction": {"impl": "pipeline_brainbert.BrainBertFeatureExtractionPipeline", "pt": ["AutoModel"]}
    }
    assert settings["auto_map"] == {
        "AutoFeatureExtractor": "feature_extraction_brainbert.BrainBertFeatureExtractor",
    }
    assert {path.name for path in saved.folders[folder].iterdir() if path.is_file()} == CODE | WEIGHTS_AND_SETTINGS


def test_kernels_are_not_saved_with_the_feature_extractor(saved: Saved):
    settings = json.loads((saved.folders["pretraining"] / "preprocessor_config.json").read_text())

    assert [name for name, value in settings.items() if isinstance(value, list | dict)] == ["auto_map"]


@pytest.mark.parametrize("auto_class", CLASSES)
def test_where_the_package_is_imported_its_own_classes_load_the_folder_without_trust(saved: Saved, auto_class: str):
    folder = saved.folders["pretraining"]

    assert type(transformers.AutoConfig.from_pretrained(folder)) is BrainBertConfig
    assert type(transformers.AutoFeatureExtractor.from_pretrained(folder)) is BrainBertFeatureExtractor
    assert type(getattr(transformers, auto_class).from_pretrained(folder)) is CLASSES[auto_class]
