"""Statistics are those of all frames together, and belong to one front end."""

import numpy as np
import pytest
import torch

from brainbert.modeling_brainbert import BrainBertFeatureExtractor
from brainbert.processing.corpora import (
    build_corpus,
    corpus_statistics,
    load_statistics,
    recording_statistics,
    statistics_lookup,
    statistics_of_rows,
    with_statistics,
)


@pytest.fixture
def corpus(recording, tmp_path):
    recordings = [recording("a"), recording("b", seed=1, contacts=2)]
    return build_corpus(recordings, tmp_path / "corpus", extractor=BrainBertFeatureExtractor(), progress=False)


def frames(corpus, extractor, **which):
    rows = [row for row in corpus if all(row[name] == value for name, value in which.items())]
    signal = np.array([row["signal"] for row in rows])
    return extractor.spectrogram(signal, sampling_rate=2048).reshape(-1, 40).double()


def test_of_a_contact_they_are_the_mean_and_deviation_over_its_frames(corpus, tmp_path):
    extractor = BrainBertFeatureExtractor()
    loaded = load_statistics(tmp_path / "corpus", extractor)
    assert set(loaded) == {("a", "A1"), ("a", "A2"), ("a", "A3"), ("b", "A1"), ("b", "A2")}
    image = frames(corpus, extractor, recording="b", contact="A2")
    np.testing.assert_allclose(loaded["b", "A2"]["mean"], image.mean(0), rtol=1e-5)
    np.testing.assert_allclose(loaded["b", "A2"]["std"], image.std(0, correction=0), rtol=1e-5)


def test_seconds_say_how_much_signal_was_used(corpus):
    table = recording_statistics(corpus.select(range(6)), BrainBertFeatureExtractor(), progress=False)
    assert table["seconds"].to_pylist() == [20.0, 10.0]


def test_of_clips_that_overlap_the_first_is_used(recording, tmp_path):
    source = recording(contacts=2, seconds=22.0)
    extractor = BrainBertFeatureExtractor()
    overlapping = build_corpus([source], tmp_path / "a", clip_s=2.0, stride_s=0.5, progress=False)
    plain = build_corpus([source], tmp_path / "b", clip_s=2.0, progress=False)
    first, second = (recording_statistics(corpus, extractor, progress=False) for corpus in (overlapping, plain))
    assert first.equals(second)
    assert first["seconds"].to_pylist() == [22.0, 22.0]
    first, second = (corpus_statistics(corpus, extractor, progress=False) for corpus in (overlapping, plain))
    assert first == second


def test_contacts_without_statistics_can_be_left_out(corpus):
    table = recording_statistics(corpus.select(range(5)), BrainBertFeatureExtractor(), progress=False)
    assert len(with_statistics(corpus, statistics_lookup(table))) == 8


def test_of_a_corpus_they_are_over_all_frames(corpus):
    extractor = BrainBertFeatureExtractor(scale="log")
    mean, std = corpus_statistics(corpus, extractor, progress=False)
    image = frames(corpus, extractor)
    np.testing.assert_allclose(mean, image.mean(0), rtol=1e-5)
    np.testing.assert_allclose(std, image.std(0, correction=0), rtol=1e-5)


def test_rows_get_their_own_statistics(corpus, tmp_path):
    extractor = BrainBertFeatureExtractor(normalization="recording")
    loaded = load_statistics(tmp_path / "corpus", extractor)
    rows = corpus.with_format("numpy")[[0, 13]]
    statistics = statistics_of_rows(loaded, rows["recording"], rows["contact"])
    image = extractor(rows["signal"], sampling_rate=2048, statistics=statistics).input_values
    magnitude = extractor.spectrogram(rows["signal"], sampling_rate=2048)
    for row, key in enumerate([("a", "A1"), ("b", "A1")]):
        mean, std = (torch.tensor(loaded[key][name]).float() for name in ("mean", "std"))
        torch.testing.assert_close(image[row], (magnitude[row] - mean) / std)


def test_statistics_of_another_front_end_are_not_found(corpus, tmp_path):
    with pytest.raises(ValueError, match="has no statistics of the front end stft-demo"):
        load_statistics(tmp_path / "corpus", BrainBertFeatureExtractor(variant="demo"))
