"""The pipeline gives what extractor and model give by hand, whatever it is given and in whatever batches.

That a saved folder brings it along is in test_saved_folder.
"""

import json
from pathlib import Path

import datasets
import mne
import numpy as np
import pytest
import torch
import transformers
from peft import LoraConfig, get_peft_model
from transformers.pipelines import PIPELINE_REGISTRY
from transformers.pipelines.pt_utils import KeyDataset

from brainbert.modeling_brainbert import (
    BrainBertFeatureExtractionPipeline,
    BrainBertFeatureExtractor,
    BrainBertForPreTraining,
    BrainBertForSequenceClassification,
    BrainBertModel,
)
from brainbert.processing.decoding import embed_recording
from brainbert.processing.recordings import condition, read_recording

FIXTURE = Path(__file__).parents[1] / "fixtures" / "tiny"
HIDDEN = 24
RATE = {"sampling_rate": 2048}


@pytest.fixture(scope="module")
def model() -> BrainBertModel:
    return BrainBertModel.from_pretrained(FIXTURE)


@pytest.fixture(scope="module")
def pipe(model: BrainBertModel) -> BrainBertFeatureExtractionPipeline:
    return make_pipe(model)


@pytest.fixture(scope="module")
def voltage() -> np.ndarray:
    """Three contacts, 5 s."""
    return np.random.default_rng(0).normal(0, 50, (3, 10240)).astype(np.float32)


def make_pipe(model, **settings):
    return BrainBertFeatureExtractionPipeline(
        model=model, feature_extractor=BrainBertFeatureExtractor(**settings), task="feature-extraction"
    )


def by_hand(model, voltage, **how):
    with torch.no_grad():
        return model.embed(**BrainBertFeatureExtractor()(voltage, **RATE), **how)


def test_feature_extraction_of_text_is_still_that_of_transformers():
    _, task, _ = PIPELINE_REGISTRY.check_task("feature-extraction")

    assert task["impl"] == "transformers.pipelines.feature_extraction.FeatureExtractionPipeline"


def test_one_contact_gives_one_embedding_and_several_give_one_each(pipe, model, voltage):
    several = pipe(voltage, **RATE, return_tensors=True)
    np.testing.assert_allclose(several, by_hand(model, voltage), atol=1e-5)
    one = pipe(voltage[1], **RATE, return_tensors=True)
    np.testing.assert_allclose(one, several[1], atol=1e-5)
    assert (several.shape, one.shape) == ((3, HIDDEN), (HIDDEN,))


@pytest.mark.parametrize(("pooling", "shape"), [("center", (3, 24)), ("mean", (3, 24)), ("frames", (3, 186, 24))])
def test_pooling_and_layer_are_those_of_embed(pipe, model, voltage, pooling, shape):
    result = pipe(voltage, **RATE, pooling=pooling, layer=1, return_tensors=True)
    assert result.shape == shape
    np.testing.assert_allclose(result, by_hand(model, voltage, pooling=pooling, layer=1), atol=1e-5)


def test_results_are_nested_lists_unless_tensors_are_asked_for(pipe, voltage):
    result = pipe(voltage, **RATE)
    assert isinstance(result, list)
    assert json.loads(json.dumps(result)) == pipe(voltage, **RATE, return_tensors=True).tolist()


def test_numpy_torch_lists_and_dicts_of_the_same_voltage_give_the_same(pipe, voltage):
    expected = pipe(voltage, **RATE)
    for same in (
        voltage.astype(np.float64),
        torch.from_numpy(voltage),
        voltage.tolist(),
        {"voltage": voltage, "sampling_rate": 2048.0},
    ):
        assert pipe(same, **RATE) == expected
    np.testing.assert_allclose(pipe(voltage[0].tolist(), **RATE), expected[0], atol=1e-6)  # alone in its batch


@pytest.mark.parametrize("pooling", ["center", "frames"])
def test_results_do_not_depend_on_the_batch_size_nor_on_what_else_is_in_the_batch(pipe, voltage, pooling):
    inputs = [voltage[0], voltage[1, :8000], voltage, voltage[:2, :9000]]
    alone = [pipe(each, **RATE, pooling=pooling, return_tensors=True) for each in inputs]
    for batch_size in (1, 2, 3, 64):
        together = pipe(inputs, **RATE, pooling=pooling, return_tensors=True, batch_size=batch_size)
        assert [each.shape for each in together] == [each.shape for each in alone]
        for each, expected in zip(together, alone, strict=True):
            np.testing.assert_allclose(each, expected, atol=1e-5)


def test_the_model_sees_at_most_batch_size_contacts(voltage):
    model, seen = BrainBertModel.from_pretrained(FIXTURE), []
    model.embeddings.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    make_pipe(model)(np.tile(voltage, (24, 1)), **RATE)
    assert seen == [32, 32, 8]
    seen.clear()
    make_pipe(model)([voltage, voltage[:2]], **RATE, batch_size=2)
    assert seen == [2, 2, 1]


def test_a_generator_and_data_sets_give_results_one_by_one(pipe, voltage):
    rows = [{"voltage": row, "sampling_rate": 2048.0} for row in voltage]
    expected = pipe(rows)
    results = pipe(row for row in rows)
    assert not isinstance(results, list)
    assert list(results) == expected
    of_rows = datasets.Dataset.from_list([{**row, "voltage": row["voltage"].tolist()} for row in rows])
    assert list(pipe(of_rows, batch_size=2)) == list(pipe(KeyDataset(of_rows, "voltage"), **RATE, batch_size=2))
    np.testing.assert_allclose(list(pipe(of_rows)), expected, atol=1e-5)


def test_a_row_of_a_corpus_is_signal_times_scale_plus_offset(pipe):
    signal = np.random.default_rng(1).integers(-3000, 3000, 10240).astype(np.int16)
    row = {"signal": signal, "scale": 0.05, "offset": -3.0, "sampling_rate": 2048.0, "contact": "A1"}
    np.testing.assert_allclose(pipe(row), pipe(0.05 * signal - 3.0, **RATE), atol=1e-5)


def test_statistics_of_each_contact_are_taken_from_the_input_and_a_lone_short_clip_is_refused(model, voltage):
    pipe = make_pipe(model, normalization="recording")
    extractor = pipe.feature_extractor
    statistics = {"fingerprint": extractor.fingerprint, "mean": np.ones((3, 40)), "std": np.full((3, 40), 2.0)}
    statistics["std"][2] = 5.0
    result = pipe({"voltage": voltage, "statistics": statistics}, **RATE, batch_size=2)
    with torch.no_grad():
        expected = model(**extractor(voltage, **RATE, statistics=statistics)).pooler_output
    np.testing.assert_allclose(result, expected, atol=1e-5)
    with pytest.raises(ValueError, match=r'^normalization="recording" needs statistics=, or at least 60 s'):
        pipe(voltage, **RATE)


def test_a_rate_is_required_and_must_be_that_of_the_extractor(pipe, voltage):
    with pytest.raises(ValueError, match="sampling_rate is missing: pass the rate of the voltage in hertz"):
        pipe(voltage)
    with pytest.raises(ValueError, match="sampled at 1000 Hz and this front end reads 2048 Hz: resample it first"):
        pipe({"voltage": voltage, "sampling_rate": 1000})
    with pytest.raises(ValueError, match="The input says 1000 Hz and the call 2048 Hz: give one of them"):
        pipe({"voltage": voltage, "sampling_rate": 1000}, **RATE)
    with pytest.raises(ValueError, match="a recording says its own rate: leave sampling_rate out"):
        pipe("night.edf", line_frequency_hz=50, **RATE)
    with pytest.raises(TypeError, match="foo: there is no such argument for a path"):
        pipe("night.edf", line_frequency_hz=50, foo=1)


def test_the_audio_classification_of_transformers_fills_in_the_rate_and_so_is_not_supported_for_bare_arrays(voltage):
    model = BrainBertForSequenceClassification.from_pretrained(FIXTURE)
    classify = transformers.pipeline("audio-classification", model=model, feature_extractor=BrainBertFeatureExtractor())
    scores = classify(voltage[0])  # of whatever rate: it is not asked for
    assert sum(score["score"] for score in scores) == pytest.approx(1)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "The list is empty: pass voltage"),
        ({"x": 1}, "The input holds x: pass voltage and sampling_rate, or a row of a corpus"),
        ({"voltage": [[0.0] * 9, [0.0] * 8]}, "differ in length: pass a list of arrays, one for each contact"),
        (np.zeros((2, 10240)), r"contact \(row\) 0, 1 holds a flat line"),
        (b"edf", "The voltage is"),
        (["night.edf"], "night.edf: pass the path of a recording by itself"),
        ("https://example.org/night.edf", "is a URL, and only files on this machine are read: download it first"),
        ("night.edf", "line_frequency_hz is missing: pass 50 or 60"),
    ],
)
def test_what_is_no_voltage_is_refused_in_one_sentence(pipe, inputs, message):
    with pytest.raises(ValueError, match=message):
        pipe(inputs, **RATE)


def test_a_misspelt_argument_is_refused(pipe, voltage):
    with pytest.raises(TypeError, match="poling: there is no such argument"):
        pipe(voltage, **RATE, poling="mean")


def test_heads_adapters_and_training_mode_make_no_difference_to_the_encoder(pipe, voltage):
    expected = pipe(voltage, **RATE)
    with_head = BrainBertForPreTraining.from_pretrained(FIXTURE).train()
    adapted = get_peft_model(BrainBertModel.from_pretrained(FIXTURE), LoraConfig(target_modules=["q_proj", "v_proj"]))
    for model in (with_head, adapted):  # adapters begin as zeros
        np.testing.assert_allclose(make_pipe(model)(voltage, **RATE), expected, atol=1e-5)
    with torch.no_grad():
        adapted.get_base_model().layers[1].attention.v_proj.lora_B["default"].weight.fill_(1.0)
    assert np.abs(np.subtract(make_pipe(adapted)(voltage, **RATE), expected)).max() > 1e-3


def test_the_configuration_can_still_be_printed(model, tmp_path):
    model.save_pretrained(tmp_path)
    BrainBertFeatureExtractor().save_pretrained(tmp_path)
    pipe = transformers.pipeline(model=tmp_path, pipeline_class=BrainBertFeatureExtractionPipeline)
    assert type(pipe.model) is BrainBertModel
    assert '"pt": [\n        "AutoModel"\n      ]' in str(pipe.model.config)


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Path:
    """Four contacts of 1/f² noise, 13 s at 512 Hz, as EDF."""
    path = tmp_path_factory.mktemp("recording") / "night.edf"
    volts = 4e-7 * np.random.default_rng(0).standard_normal((4, 13 * 512)).cumsum(1)
    info = mne.create_info(["LA1", "LA2", "LA3", "LA4"], 512.0, "seeg")
    raw = mne.io.RawArray(volts - volts.mean(1, keepdims=True), info, verbose="ERROR")
    mne.export.export_raw(path, raw, physical_range="channelwise", verbose="ERROR")
    return path


@pytest.mark.parametrize("pooling", ["center", "frames"])
def test_the_path_of_a_recording_gives_its_conditioned_windows(pipe, model, recording, pooling):
    result = pipe(str(recording), line_frequency_hz=50, stride_s=4.0, pooling=pooling)
    conditioned = condition(read_recording(recording), line_frequency_hz=50)
    table = embed_recording(conditioned, model, pipe.feature_extractor, stride_s=4.0, pooling=pooling, progress=False)
    assert result["contacts"] == ["LA2", "LA3"]
    assert result["start_s"] == [0.0, 4.0, 8.0]
    assert result["problems"] == [["", ""]] * 3
    expected = np.array(table["embedding"].to_pylist())
    np.testing.assert_allclose(np.array(result["embeddings"]).reshape(expected.shape), expected, atol=1e-4)


def test_other_conditioning_than_in_training_is_warned_about(recording, tmp_path):
    record = {"conditioning": {"line_frequency": 60, "reference": "laplacian"}}
    (tmp_path / "training_record.json").write_text(json.dumps(record))
    BrainBertModel.from_pretrained(FIXTURE).save_pretrained(tmp_path)
    pipe = make_pipe(BrainBertModel.from_pretrained(tmp_path))
    with pytest.warns(UserWarning, match=r"in another way .* line_frequency 50 \(trained with 60\); embeddings of"):
        result = pipe(recording, line_frequency_hz=50, return_tensors=True)
    assert result["embeddings"].shape == (2, 2, HIDDEN)
