"""One embedding per contact and window, the same as by hand."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from brainbert.modeling_brainbert import BrainBertFeatureExtractor, BrainBertModel
from brainbert.processing.decoding import embed_recording, weights_sha256, write_embeddings
from brainbert.processing.recordings import Recording

TINY = Path(__file__).parents[2] / "fixtures" / "tiny"


@pytest.fixture
def recording():
    data = np.random.default_rng(0).standard_normal((3, 70 * 2048)).cumsum(1).astype(np.float32)
    return Recording(
        data=data - data.mean(1, keepdims=True),
        sampling_rate=2048.0,
        contacts=("A1", "A2", "A3"),
        types=("seeg",) * 3,
        bad={"A2": "flat"},
        history=({"step": "read", "format": "made"},),
        id="r1",
        subject="s1",
    )


def embeddings(table):
    return np.array(table["embedding"].to_pylist(), dtype=np.float32)


def test_rows_are_the_windows_of_the_good_contacts(recording):
    model, extractor = BrainBertModel.from_pretrained(TINY), BrainBertFeatureExtractor()
    table = embed_recording(recording, model, extractor, window_s=5.0, stride_s=2.5, batch_size=7, progress=False)
    assert table["contact"].to_pylist() == ["A1"] * 27 + ["A3"] * 27
    assert table["start_s"].to_pylist() == [2.5 * number for number in range(27)] * 2
    window = recording.data[2, 3 * 5120 : 3 * 5120 + 10240]
    with torch.no_grad():
        expected = model(**extractor(window, sampling_rate=2048)).last_hidden_state[0, 88:98].mean(0)
    np.testing.assert_allclose(embeddings(table)[27 + 3], expected, atol=1e-5)


def test_a_window_without_signal_has_no_embedding_and_says_why(recording):
    data = recording.data.copy()
    data[0, 5 * 2048 : 10 * 2048] = 0
    recording = dataclasses.replace(recording, data=data)
    table = embed_recording(
        recording, BrainBertModel.from_pretrained(TINY), BrainBertFeatureExtractor(), progress=False
    )
    assert table["problem"].to_pylist()[:3] == ["", "flat", ""]
    assert np.isnan(embeddings(table)[1]).all()
    assert np.isfinite(np.delete(embeddings(table), 1, axis=0)).all()


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
    np.testing.assert_allclose(embeddings(again)[14:], embeddings(table)[14:], atol=1e-4)
    assert [json.loads(each.schema.metadata[b"brainbert"])["statistics"] for each in (table, again)] == [
        "whole recording",
        "given for each contact",
    ]
    inputs = extractor(recording.data[2, :10240], sampling_rate=2048, statistics=statistics)
    with torch.no_grad():
        expected = model(**inputs).pooler_output[0]
    np.testing.assert_allclose(embeddings(table)[14], expected, atol=1e-4)


def test_statistics_leave_out_windows_that_are_no_signal(recording):
    data = recording.data.copy()
    data[2, 30 * 2048 : 35 * 2048] = np.where(np.arange(5 * 2048) % 4096 < 2048, 5000.0, -5000.0)
    broken = dataclasses.replace(recording, data=data)
    model, extractor = BrainBertModel.from_pretrained(TINY), BrainBertFeatureExtractor(normalization="recording")
    clean = embed_recording(recording, model, extractor, statistics="whole recording", progress=False)
    table = embed_recording(broken, model, extractor, statistics="whole recording", progress=False)
    assert table["problem"].to_pylist()[14 + 6] == "flat" or table["problem"].to_pylist()[14 + 6] == "clipped"
    difference = np.abs(np.delete(embeddings(table)[14:] - embeddings(clean)[14:], 6, axis=0))
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
    table = embed_recording(recording, model, extractor, window_s=60.0, stride_s=0.1, progress=False)
    assert table["start"].to_pylist()[:3] == [0, 205, 410]
    assert table["start_s"].to_pylist()[99] == 99 * 205 / 2048


def test_the_file_holds_the_history_and_the_front_end(recording, tmp_path):
    extractor = BrainBertFeatureExtractor()
    table = embed_recording(recording, BrainBertModel.from_pretrained(TINY), extractor, progress=False)
    write_embeddings(table, tmp_path / "embeddings.parquet")
    assert pq.read_table(tmp_path / "embeddings.parquet").equals(table)
    about = json.loads(pq.read_schema(tmp_path / "embeddings.parquet").metadata[b"brainbert"])
    assert about["history"] == [{"step": "read", "format": "made"}]
    assert about["front_end"] == extractor.fingerprint
    assert (about["pooling"], about["window_s"], about["stride_s"]) == ("center", 5.0, 5.0)
    assert about["statistics"] is None


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
