"""The authors' checkpoints, with weights recorded from their code and settings by the real OmegaConf."""

import hashlib
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file
from transformers import AutoFeatureExtractor, AutoModel, AutoModelForPreTraining

from brainbert.hub_upload.convert_checkpoint import POSITIONS, convert
from brainbert.hub_upload.original_checkpoint import outermost, plain, read_original
from brainbert.processing.restricted_pickle import Inert

FIXTURES = Path(__file__).parents[1] / "fixtures"
SETTINGS = {
    "name": "masked_tf_model", "hidden_dim": 24, "layer_dim_feedforward": 48, "layer_activation": "gelu", "nhead": 4,
    "encoder_num_layers": 2, "input_dim": 40,
}  # fmt: skip
STFT = {"name": "stft", "freq_channel_cutoff": 40, "nperseg": 400, "noverlap": 350, "normalizing": "zscore"}
SUPERLETS = {
    "name": "superlet", "c1": 1, "order_min": 3, "order_max": 30, "decim": 50, "min_f": 0.1, "max_f": 200,
    "n_f_steps": 40,
}  # fmt: skip
FC1 = "transformer.layers.0.linear1.weight"


@pytest.fixture(scope="module")
def original():
    with np.load(FIXTURES / "original_tiny.npz") as arrays:
        return dict(arrays)


@pytest.fixture
def weights(original):
    return {name[7:]: torch.from_numpy(array) for name, array in original.items() if name.startswith("weight/")}


def save(path, weights, *, settings=SETTINGS, preprocessor=None, **kwargs):
    """Write a checkpoint as the authors' runner does: model_cfg is a node of the settings of the whole run."""
    run = {
        "model": settings,
        "task": {"time_mask_p": 0.05, "mask_type": "fixed"},
        "data": {"data": "/storage/jane/wavs"},
    }
    run |= {"exp": {"runner": {"lr": 1e-4, "start_from_ckpt": "/storage/jane/last.pth"}}, "preprocessor": preprocessor}
    config = OmegaConf.create(run if preprocessor else {"model": settings})
    model_cfg = config.model if preprocessor else OmegaConf.create(settings)
    parameters = [torch.nn.Parameter(tensor.clone()) for tensor in weights.values() if tensor.is_floating_point()]
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimiser = torch.optim.AdamW(parameters)
    optimiser.step()
    states = {"model": weights, "optim": optimiser.state_dict(), "scheduler": None, "model_cfg": model_cfg}
    torch.save(states, path, **kwargs)
    return path


@pytest.mark.parametrize("archived", [True, False], ids=["zip", "legacy"])
def test_a_converted_checkpoint_computes_what_the_authors_model_computed(tmp_path, original, weights, archived):
    source = save(tmp_path / "a.pth", weights, preprocessor=STFT, _use_new_zipfile_serialization=archived)
    convert(source, tmp_path / "out")
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path / "out")
    image = extractor(original["waveform"], sampling_rate=2048, dtype=torch.float64)["input_values"]
    np.testing.assert_allclose(image, original["stft"], atol=1e-5, rtol=0)
    valid = ~original["pad_mask"]
    given = {"input_values": torch.from_numpy(original["input"]), "attention_mask": torch.from_numpy(valid).long()}
    with torch.no_grad():
        hidden = AutoModel.from_pretrained(tmp_path / "out")(**given).last_hidden_state
        prediction = AutoModelForPreTraining.from_pretrained(tmp_path / "out")(**given).logits
    np.testing.assert_allclose(hidden[valid], original["hidden"][valid], atol=1e-5, rtol=0)
    np.testing.assert_allclose(prediction[valid], original["prediction"][valid], atol=1e-5, rtol=0)


def test_the_report_says_where_every_tensor_went_and_not_what_the_file_was_called(tmp_path, weights):
    source = save(tmp_path / "jane.pth", weights, preprocessor=STFT)
    report = convert(source, tmp_path / "out")
    content = source.read_bytes()
    assert report["source"] == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    keys = report["keys"]
    assert keys["converted"].keys() | keys["dropped"].keys() == weights.keys()
    assert keys["dropped"].keys() == {POSITIONS}
    written = load_file(tmp_path / "out" / "model.safetensors")
    assert sorted(name for names in keys["converted"].values() for name in names) == sorted(written)
    assert keys["converted"]["transformer.layers.1.self_attn.in_proj_bias"] == [
        f"brainbert.layers.1.attention.{each}_proj.bias" for each in "qkv"
    ]
    assert {tensor.dtype for tensor in written.values()} == {torch.float32}
    assert report["parameters"] == sum(tensor.numel() for tensor in written.values()) == 12_424
    assert report["settings"] == SETTINGS
    assert report["run"]["task"] == {"time_mask_p": 0.05, "mask_type": "fixed"}
    assert report["run"]["exp"] == {"runner": {"lr": 1e-4}}
    assert json.loads((tmp_path / "out" / "conversion_report.json").read_text(encoding="utf-8")) == report
    for path in (tmp_path / "out").iterdir():
        assert b"jane" not in path.read_bytes(), path.name
    assert not list(tmp_path.glob(".*.part"))


def test_the_front_end_is_that_of_the_run_then_of_the_name_then_of_the_flag(tmp_path, weights):
    superlet = save(tmp_path / "stft_a.pth", weights, preprocessor=SUPERLETS | {"decim": 100, "max_f": 150})
    report = convert(superlet, tmp_path / "a")
    assert report["front_end"] == "superlet"
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path / "a")
    assert (extractor.transform, extractor.hop_length, extractor.frequencies[-1]) == ("superlet", 100, 150)
    with pytest.raises(ValueError, match=r"say preprocessor 'superlet', and --front-end is stft: leave it out\."):
        convert(superlet, tmp_path / "b", front_end="stft")
    named = save(tmp_path / "superlet_large_pretrained.pth", weights)
    assert convert(named, tmp_path / "c")["fingerprint"].startswith("superlet-3-30-1-linear-2048Hz-50-40")
    nameless = save(tmp_path / "checkpoint_last.pth", weights)
    with pytest.raises(ValueError, match="give --front-end stft or --front-end superlet"):
        convert(nameless, tmp_path / "d")
    assert convert(nameless, tmp_path / "d", front_end="stft")["fingerprint"] == "stft-training-linear-2048Hz-400-50-40"
    logarithmic = save(tmp_path / "e.pth", weights, preprocessor=STFT | {"normalizing": "db"})
    with pytest.raises(ValueError, match=r"'normalizing': 'db'.* is none of the authors' with z-scores"):
        convert(logarithmic, tmp_path / "e")
    narrow = save(tmp_path / "f.pth", weights, preprocessor=STFT | {"freq_channel_cutoff": 20})
    with pytest.raises(ValueError, match="The weights read 40 bins and the front end gives 20"):
        convert(narrow, tmp_path / "f")


def test_a_bare_state_dict_of_dataparallel_in_half_precision_needs_heads(tmp_path, weights):
    path = tmp_path / "stft.pth"
    torch.save({f"module.{name}": tensor.half() for name, tensor in weights.items()}, path)
    with pytest.raises(ValueError, match="does not say how many heads it has, nor do its weights: give --heads"):
        convert(path, tmp_path / "out")
    with pytest.raises(ValueError, match="A width of 24 cannot have 5 heads"):
        convert(path, tmp_path / "out", heads=5)
    report = convert(path, tmp_path / "out", heads=4)
    assert report["dtypes"] == ["float16"]
    assert report["keys"]["converted"].keys() == weights.keys() - {POSITIONS}
    written = load_file(tmp_path / "out" / "model.safetensors")
    expected = weights["input_encoding.in_proj.weight"].half().float()
    assert torch.equal(written["brainbert.embeddings.projection.weight"], expected)


def test_a_member_of_an_archive_is_chosen_by_name_and_leaves_nothing_behind(tmp_path, weights, monkeypatch):
    checkpoint = save(tmp_path / "a.pth", weights).read_bytes()
    archive = tmp_path / "released.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("release/stft_large_pretrained.pth", checkpoint)
        file.writestr("release/superlet_large_pretrained.pth", checkpoint)
        file.writestr("__MACOSX/release/._stft_large_pretrained.pth", b"x")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    message = r"holds release/stft_large_pretrained\.pth, release/superlet_large_pretrained\.pth: name one .* --member"
    for member in (None, "other.pth"):
        with pytest.raises(ValueError, match=message):
            read_original(archive, member=member)
    found = read_original(archive, member="release/superlet_large_pretrained.pth")
    assert found.front_end == "superlet"
    assert found.sha256 == hashlib.sha256(checkpoint).hexdigest()
    assert found.weights.keys() == weights.keys()
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(ValueError, match=r"a\.pth is no archive that holds x\.pth: leave out --member"):
        read_original(tmp_path / "a.pth", member="x.pth")


def test_archives_that_would_grow_or_lead_elsewhere_are_refused(tmp_path):
    bomb, upwards, damaged = (tmp_path / name for name in ("bomb.zip", "upwards.zip", "damaged.zip"))
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.pth", bytes(10_000_000))
    with pytest.raises(ValueError, match=r"would grow to 10,000,000 bytes, which no checkpoint needs"):
        read_original(bomb)
    # The same, and it says that it is 100 bytes.
    content = bomb.read_bytes().replace(struct.pack("<I", 10_000_000), struct.pack("<I", 100))
    bomb.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.pth in bomb\.zip is damaged|larger than it says"):
        read_original(bomb)
    with zipfile.ZipFile(upwards, "w") as file:
        file.writestr("../a.pth", b"x")
    with pytest.raises(ValueError, match=r"a member that leads elsewhere, \.\./a\.pth"):
        read_original(upwards)
    with zipfile.ZipFile(tmp_path / "hostile.zip", "w") as file:
        file.writestr("b.pth", b"\x80\x02cos\nsystem\n(X\x01\x00\x00\x00:tR.")
    with pytest.raises(ValueError, match=r"^b\.pth is refused: it names os\.system"):
        read_original(tmp_path / "hostile.zip")
    damaged.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="cut off or broken"):
        read_original(damaged)


def without(key):
    return lambda weights: weights.pop(key)


def changed(key, change):
    return lambda weights: weights.update({key: change(weights[key])})


WRONG = {
    "lacks": (without("transformer.layers.1.norm2.bias"), r"it lacks brainbert\.layers\.1\.output_layer_norm\.bias\."),
    "more": (
        lambda weights: weights.update({"linear_out.weight": torch.ones(1, 24)}),
        r"These keys are not of the authors' BrainBERT: linear_out\.weight\.",
    ),
    "other": (
        lambda weights: [weights.pop(key) for key in list(weights) if "in_proj" in key],
        "it lacks input_encoding",
    ),
    "layer": (
        lambda weights: weights.update({"transformer.layers.99999.norm1.bias": torch.ones(24)}),
        "a layer 99,999",
    ),
    "shape": (
        changed(FC1, lambda tensor: tensor[:, :20]),
        r"layers\.0\.intermediate\.weight \(48, 20\) for \(48, 24\)",
    ),
    "depth": (
        lambda weights: [weights.pop(key) for key in list(weights) if "layers.1." in key],
        "settings say encoder_num_layers 2, and its weights 1",
    ),
    "nan": (changed(FC1, lambda tensor: tensor / 0), r"layers\.0\.intermediate\.weight are not finite"),
    "integer": (changed(FC1, lambda tensor: tensor.to(torch.int8)), r"0\.linear1\.weight are whole numbers"),
    "positions": (changed(POSITIONS, lambda tensor: tensor.roll(1, 1)), "positions differ from the sinusoids by"),
    "table": (changed(POSITIONS, lambda tensor: tensor[0]), r"pe has the shape \(5000, 24\)"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_checkpoint_is_refused_whose_weights_are_wrong(tmp_path, weights, case):
    change, message = WRONG[case]
    change(weights)
    path = save(tmp_path / "stft.pth", weights)
    with pytest.raises(ValueError, match=message):
        convert(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden_dim": 32}, "settings say hidden_dim 32, and its weights 24"),
        ({"input_dim": 48}, "settings say input_dim 48, and its weights 40"),
        ({"layer_dim_feedforward": 96}, "settings say layer_dim_feedforward 96, and its weights 48"),
        ({"layer_activation": "relu"}, "the activation relu"),
        ({"nhead": 7}, "A width of 24 cannot have 7 heads"),
        ({"nhead": "four"}, "give --heads"),
    ],
)
def test_settings_that_disagree_with_the_weights_are_refused(tmp_path, weights, settings, message):
    path = save(tmp_path / "stft.pth", weights, settings=SETTINGS | settings)
    with pytest.raises(ValueError, match=message):
        convert(path, tmp_path / "out")


def node(content=None, parent=None):
    stand_in = Inert("omegaconf.dictconfig.DictConfig")
    stand_in.state = {"_content": content, "_parent": parent}
    return stand_in


def test_settings_that_contain_or_precede_each_other_are_refused():
    looped = node()
    looped.state["_content"] = {"a": looped}
    doubled = node({"a": 1})
    for _ in range(18):
        doubled = node({"a": doubled, "b": doubled})
    for settings in (looped, doubled):
        with pytest.raises(ValueError, match=r"^x: its settings are nested or repeated beyond reason"):
            plain(settings, "x")
    looped.state["_parent"] = node(parent=looped)
    with pytest.raises(ValueError, match="Its settings are each other's parents"):
        outermost(looped)
    assert plain(outermost(node({"a": 1}, parent=node({"b": node({"c": [2, None]})}))), "x") == {"b": {"c": [2, None]}}


def test_a_flag_that_contradicts_the_settings_is_refused(tmp_path, weights):
    path = save(tmp_path / "stft.pth", weights)
    with pytest.raises(ValueError, match="settings say nhead 4, and --heads is 6: leave it out"):
        convert(path, tmp_path / "out", heads=6)


def test_positions_of_another_machine_pass(tmp_path, weights):
    # In float64, at frame 5000, the angle of the second pair of columns differs in the eighth digit.
    position, column = np.arange(5000)[:, None], np.arange(0, 24, 2)[None]
    angle = position / 10000 ** (column / 24)
    table = torch.from_numpy(np.stack([np.sin(angle), np.cos(angle)], -1).reshape(1, 5000, 24)).float()
    assert 1e-5 < (table - weights[POSITIONS]).abs().max() < 1e-3
    path = save(tmp_path / "stft.pth", weights | {POSITIONS: table})
    convert(path, tmp_path / "out")


def test_a_shorter_table_of_positions_makes_a_shorter_model(tmp_path, weights):
    path = save(tmp_path / "stft.pth", weights | {POSITIONS: weights[POSITIONS][:, :300]})
    convert(path, tmp_path / "out")
    assert AutoModel.from_pretrained(tmp_path / "out").config.max_position_embeddings == 300


def test_an_existing_folder_is_left_alone(tmp_path, weights):
    (tmp_path / "out").mkdir()
    with pytest.raises(ValueError, match="out exists: choose another folder"):
        convert(save(tmp_path / "stft.pth", weights), tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
