"""One embedding per window and contact, the same as by hand."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from brainbert.modeling_brainbert import BrainBertFeatureExtractor, BrainBertModel
from brainbert.processing.decoding import embed_recording, weights_sha256

TINY = Path(__file__).parents[2] / "fixtures" / "tiny"


def embeddings(table):
    return np.array(table["embedding"].to_pylist(), dtype=np.float32)


def test_rows_are_the_windows_of_the_good_contacts(recording):
    model, extractor = BrainBertModel.from_pretrained(TINY), BrainBertFeatureExtractor()
    table = embed_recording(recording, model, extractor, window_s=5.0, stride_s=2.5, batch_size=7, progress=False)
    assert table["contact"].to_pylist() == ["A1", "A3"] * 27
    assert table["start_s"].to_pylist() == [2.5 * (row // 2) for row in range(54)]
    window = recording.data[2, 3 * 5120 : 3 * 5120 + 10240]
    with torch.no_grad():
        expected = model(**extractor(window, sampling_rate=2048)).last_hidden_state[0, 88:98].mean(0)
    np.testing.assert_allclose(embeddings(table)[2 * 3 + 1], expected, atol=1e-5)


def test_a_window_without_signal_has_no_embedding_and_says_why(recording):
    data = recording.data.copy()
    data[0, 5 * 2048 : 10 * 2048] = 0
    recording = dataclasses.replace(recording, data=data)
    table = embed_recording(
        recording, BrainBertModel.from_pretrained(TINY), BrainBertFeatureExtractor(), progress=False
    )
    assert table["problem"].to_pylist()[:6] == ["", "", "flat", "", "", ""]
    assert np.isnan(embeddings(table)[2]).all()
    assert np.isfinite(np.delete(embeddings(table), 2, axis=0)).all()


def test_recording_normalisation_uses_the_whole_recording_of_the_contact(recording):
    model, extractor = BrainBertModel.from_pretrained(TINY), BrainBertFeatureExtractor(normalization="recording")
    table = embed_recording(recording, model, extractor, statistics="whole recording", progress=False)
    image = extractor.spectrogram(recording.data[2].reshape(14, 10240), sampling_rate=2048).reshape(-1, 40)
    statistics = {
        "fingerprint": extractor.fingerprint,
        "mean": image.mean(0).numpy(),
        "std": image.std(0, correction=0).numpy(),
    }
    given = {"A1": statistics, "A3": statistics}
    again = embed_recording(recording, model, extractor, statistics=given, progress=False)
    np.testing.assert_allclose(embeddings(again)[1::2], embeddings(table)[1::2], atol=1e-4)
    assert [json.loads(each.schema.metadata[b"brainbert"])["statistics"] for each in (table, again)] == [
        "whole recording",
        "given for each contact",
    ]
    inputs = extractor(recording.data[2, :10240], sampling_rate=2048, statistics=statistics)
    with torch.no_grad():
        expected = model(**inputs).pooler_output[0]
    np.testing.assert_allclose(embeddings(table)[1], expected, atol=1e-4)


def test_statistics_leave_out_windows_that_are_no_signal(recording):
    data = recording.data.copy()
    data[2, 30 * 2048 : 35 * 2048] = np.where(np.arange(5 * 2048) % 4096 < 2048, 5000.0, -5000.0)
    broken = dataclasses.replace(recording, data=data)
    model, extractor = BrainBertModel.from_pretrained(TINY), BrainBertFeatureExtractor(normalization="recording")
    clean = embed_recording(recording, model, extractor, statistics="whole recording", progress=False)
    table = embed_recording(broken, model, extractor, statistics="whole recording", progress=False)
    assert table["problem"].to_pylist()[1::2][6] in ("flat", "clipped")
    difference = np.abs(np.delete(embeddings(table)[1::2] - embeddings(clean)[1::2], 6, axis=0))
    assert difference.max() < 0.3 * embeddings(clean).std()


def test_statistics_must_be_asked_for_by_name(recording):
    extractor = BrainBertFeatureExtractor(normalization="recording")
    with pytest.raises(ValueError, match='give statistics="whole recording", or those of each contact'):
        embed_recording(recording, BrainBertModel.from_pretrained(TINY), extractor, progress=False)


def test_a_recording_too_short_for_statistics_is_refused(recording):
    short = dataclasses.replace(recording, data=recording.data[:, : 55 * 2048])
    extractor = BrainBertFeatureExtractor(normalization="recording")
    with pytest.raises(ValueError, match="Contact A1 has 55 s of good signal and its statistics need 60 s"):
        embed_recording(
            short, BrainBertModel.from_pretrained(TINY), extractor, statistics="whole recording", progress=False
        )


def test_starts_are_those_of_the_samples_that_were_cut(recording):
    # 0.1 s are 204.8 samples: a stride of 205, whose times must not drift.
    model, extractor = BrainBertModel.from_pretrained(TINY), BrainBertFeatureExtractor()
    recording = dataclasses.replace(recording, data=recording.data[:, : 7 * 2048])
    table = embed_recording(recording, model, extractor, stride_s=0.1, progress=False)
    assert table["start"].to_pylist()[:6] == [0, 0, 205, 205, 410, 410]
    assert table["start_s"].to_pylist()[38] == 19 * 205 / 2048


@pytest.mark.parametrize("pooling", ["center", "mean", "frames"])
@pytest.mark.parametrize("layer", [0, 1, -1])
@torch.no_grad()
def test_any_pooling_of_any_layer_is_that_of_the_hidden_states(recording, pooling, layer):
    model, extractor = BrainBertModel.from_pretrained(TINY), BrainBertFeatureExtractor()
    table = embed_recording(recording, model, extractor, pooling=pooling, layer=layer, progress=False)
    window = recording.data[2, 13 * 10240 : 14 * 10240]
    hidden = model(**extractor(window, sampling_rate=2048), output_hidden_states=True).hidden_states[layer][0]
    expected = {"center": hidden[88:98].mean(0), "mean": hidden.mean(0), "frames": hidden}[pooling]
    np.testing.assert_allclose(embeddings(table)[27], expected, atol=1e-5)
    about = json.loads(table.schema.metadata[b"brainbert"])
    assert (about["pooling"], about["layer"]) == (pooling, 2 if layer == -1 else layer)


def test_a_stream_gives_the_bits_that_the_whole_in_memory_gives(recording):
    model, extractor = BrainBertModel.from_pretrained(TINY), BrainBertFeatureExtractor()
    settings = {"window_s": 3.0, "stride_s": 1.7, "progress": False}
    whole = embed_recording(recording, model, extractor, **settings)
    stream = embed_recording(recording.with_source(recording.read), model, extractor, **settings)
    assert stream.equals(whole, check_metadata=True)


def test_the_table_holds_the_history_and_the_front_end(recording):
    extractor = BrainBertFeatureExtractor()
    table = embed_recording(recording, BrainBertModel.from_pretrained(TINY), extractor, progress=False)
    about = json.loads(table.schema.metadata[b"brainbert"])
    assert about["history"] == [{"step": "read", "format": "made"}]
    assert about["front_end"] == extractor.fingerprint
    assert (about["pooling"], about["layer"], about["window_s"], about["stride_s"]) == ("center", 2, 5.0, 5.0)
    assert (about["statistics"], about["corpus_statistics_sha256"]) == (None, None)


def test_the_table_tells_one_corpus_from_another(recording):
    model, hashes = BrainBertModel.from_pretrained(TINY), set()
    for mean in (0.0, 0.0, 1.0):
        extractor = BrainBertFeatureExtractor(normalization="corpus", mean=[mean] * 40, std=[1.0] * 40)
        table = embed_recording(recording, model, extractor, progress=False)
        hashes.add(json.loads(table.schema.metadata[b"brainbert"])["corpus_statistics_sha256"])
    assert len(hashes - {None}) == 2


def test_the_file_tells_a_model_from_its_untrained_twin(recording):
    model = BrainBertModel.from_pretrained(TINY)
    twin = BrainBertModel(model.config)
    hashes = {weights_sha256(each) for each in (model, twin, BrainBertModel.from_pretrained(TINY))}
    assert len(hashes) == 2


def test_another_rate_is_refused(recording):
    with pytest.raises(ValueError, match="sampled at 2048 Hz and this front end reads 1024 Hz"):
        embed_recording(
            recording,
            BrainBertModel.from_pretrained(TINY),
            BrainBertFeatureExtractor(sampling_rate=1024),
            progress=False,
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pooling": "max"}, "pooling is 'max': choose center, mean or frames"),
        ({"layer": 3}, "layer is 3 and this model has 2"),
        ({"layer": -4}, "layer is -4 and this model has 2"),
        ({"batch_size": 0}, "batch_size is 0: it must be at least 1"),
        ({"stride_s": 0.0}, "Clips of 5.0 s every 0.0 s at 2048 Hz have no samples"),
        ({"window_s": 71}, "The recording lasts 70.00 s and a clip 71 s"),
        ({"statistics": "whole recording"}, 'statistics belong to normalization="recording"'),
    ],
)
def test_what_cannot_be_embedded_is_refused_before_anything_is_read(recording, settings, message):
    def read(start, stop):
        raise AssertionError("the stream was read")

    with pytest.raises(ValueError, match=message):
        embed_recording(
            recording.with_source(read),
            BrainBertModel.from_pretrained(TINY),
            BrainBertFeatureExtractor(),
            progress=False,
            **settings,
        )


def test_a_recording_without_a_good_contact_is_refused(recording):
    recording = dataclasses.replace(recording, bad=dict.fromkeys(recording.contacts, "flat"))
    with pytest.raises(ValueError, match="no good contact to embed"):
        embed_recording(recording, BrainBertModel.from_pretrained(TINY), BrainBertFeatureExtractor(), progress=False)


@pytest.mark.parametrize("wrong", ["fingerprint", "mean", "std"])
def test_statistics_of_another_front_end_are_refused(recording, wrong):
    extractor = BrainBertFeatureExtractor(normalization="recording")
    right = {"fingerprint": extractor.fingerprint, "mean": [0.0] * 40, "std": [1.0] * 40}
    given = {"A1": right, "A3": right | {wrong: {"fingerprint": "another"}.get(wrong, [1.0] * 20)}}
    with pytest.raises(ValueError, match="compute them again"):
        embed_recording(recording, BrainBertModel.from_pretrained(TINY), extractor, statistics=given, progress=False)
