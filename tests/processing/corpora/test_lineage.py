"""A model's record knows the recordings that it was trained on, and names none of them."""

import json

from brainbert.processing.corpora import build_corpus, seen_recordings


def test_the_recordings_of_a_corpus_are_found_again_by_id_and_not_named(recording, tmp_path):
    build_corpus([recording("smith"), recording("jones", seed=1)], tmp_path / "corpus", progress=False)
    text = (tmp_path / "corpus" / "corpus.json").read_text()
    assert "smith" not in text
    record = {"corpora": [json.loads(text)]}
    assert seen_recordings(record, ["jones", "miller", "smith"]) == ["jones", "smith"]
    assert seen_recordings(record, ["miller"]) == []


def test_a_record_without_marks_says_nothing():
    assert seen_recordings({"corpora": [{"fingerprint": "0"}]}, ["smith"]) is None
    assert seen_recordings({}, ["smith"]) is None
