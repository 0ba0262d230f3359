"""Shards hold the clips of the corpora, mixed, and say what they are."""

import json
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from brainbert.processing.corpora import (
    StreamedShards,
    build_corpus,
    export_shards,
    load_corpus,
    load_shards,
    parquet_shards,
    shards_record,
    split_corpus,
)


def export(train, validation, folder, **settings):
    return export_shards(train, validation, folder, **{"corpora": [], "split": {}, "progress": False, **settings})


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def starts(path: Path) -> list[int]:
    return pq.read_table(path)["start"].to_pylist()


@pytest.fixture(scope="module")
def exported(recording, tmp_path_factory):
    """A corpus of two recordings, 24 clips, and its shards."""
    folder = tmp_path_factory.mktemp("exported")
    build_corpus(
        [recording("a"), recording("b", seed=1)], folder / "corpus", storage="int16", conditioning={"notch": 50},
        progress=False,
    )  # fmt: skip
    split = {"by": "recording", "validation": 0.5}
    train, validation = split_corpus(load_corpus(folder / "corpus"), **split)
    export(train, validation, folder / "shards", corpora=[folder / "corpus"], split=split, shards=2)
    return folder


def test_load_dataset_finds_both_parts_through_the_card(exported, tmp_path):
    corpus = load_corpus(exported / "corpus")
    loaded = datasets.load_dataset(str(exported / "shards"), cache_dir=str(tmp_path))
    assert {name: len(part) for name, part in loaded.items()} == {"train": 12, "validation": 12}
    assert loaded["train"].features == corpus.features
    both = datasets.concatenate_datasets([loaded["train"], loaded["validation"]])
    key = ["recording", "contact", "start"]
    rows = both.with_format("arrow")[:].sort_by([(name, "ascending") for name in key])
    expected = corpus.with_format("arrow")[:].sort_by([(name, "ascending") for name in key])
    assert rows.equals(expected)


def test_load_dataset_streams_them(exported):
    streamed = datasets.load_dataset(str(exported / "shards"), split="train", streaming=True)
    assert len({(row["contact"], row["start"]) for row in streamed}) == 12


def test_a_missing_shard_is_noticed_by_load_dataset_and_by_us(exported, tmp_path):
    (tmp_path / "data").mkdir()
    for name, content in contents(exported / "shards").items():
        if "train-00001" not in name:
            (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"has 1 of 2 train shards: copy or upload it again"):
        StreamedShards(tmp_path)
    with pytest.raises(datasets.exceptions.NonMatchingSplitsSizesError):
        datasets.load_dataset(str(tmp_path), cache_dir=str(tmp_path / "cache"))


def test_the_card_says_what_is_in_it_and_how_it_was_split(exported):
    card = (exported / "shards" / "README.md").read_text()
    assert "12 clips to train on and 12 held out (by recording, validation 0.5)" in card
    assert "## A corpus of intracranial clips" in card
    assert card.count("\n# ") == 1
    assert "| a | subject of a | – | 0.4 | 512 | 0.5–240 | 3 | 12 |" in card


def test_the_record_has_rows_split_and_each_corpus_with_its_conditioning(exported):
    record = shards_record(exported / "shards")
    assert record["rows"] == {"train": 12, "validation": 12}
    assert record["split"] == {"by": "recording", "validation": 0.5}
    (corpus,) = record["corpora"]
    assert corpus.pop("conditioning") == {"notch": 50}
    assert corpus == json.loads((exported / "corpus" / "corpus.json").read_text())


def test_no_path_is_in_what_is_uploaded(exported):
    assert not [name for name, content in contents(exported / "shards").items() if str(exported).encode() in content]


def test_rows_are_mixed_and_shards_even(clips, tmp_path):
    export(clips(1000), clips(30, first=1000), tmp_path / "shards", shards=4)
    shards = [starts(path) for path in sorted((tmp_path / "shards" / "data").glob("train-*"))]
    assert [len(shard) for shard in shards] == [250] * 4
    assert sorted(start for shard in shards for start in shard) == list(range(1000))
    assert all(abs(np.mean(shard) - 499.5) < 60 for shard in shards)  # 3 standard deviations of a random quarter
    assert (np.abs(np.diff(shards[0])) == 1).sum() < 5
    names = {path.name for path in (tmp_path / "shards" / "data").glob("validation-*")}
    assert names == {"validation-00000-of-00001.parquet"}


def test_row_groups_have_a_hundred_rows(clips, tmp_path):
    export(clips(250), clips(5, first=250), tmp_path / "shards")
    assert StreamedShards(tmp_path / "shards").group_rows.tolist() == [100, 100, 50]


def test_one_seed_writes_the_same_bytes_another_does_not(clips, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        export(clips(50), clips(5, first=50), tmp_path / name, seed=seed)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert starts(tmp_path / "a/data/train-00000-of-00001.parquet") != starts(
        tmp_path / "c/data/train-00000-of-00001.parquet"
    )


def test_shards_are_about_half_a_gigabyte_before_compression(clips, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_shards, "SHARD_BYTES", 1000)  # 15.6 clips of 16 float32
    export(clips(50), clips(5, first=50), tmp_path / "shards")
    assert len(list((tmp_path / "shards/data").glob("train-*"))) == 4


@pytest.mark.parametrize("storage", ["float32", "int16"])
def test_numbers_are_stored_as_they_are_in_the_corpus(clips, tmp_path, storage):
    source = clips(7, storage=storage)
    export(source, clips(5, first=7, storage=storage), tmp_path / "shards")
    shards = StreamedShards(tmp_path / "shards")
    assert shards.read(0).sort_by("start").equals(source.data.table)
    assert shards.read(0).schema.field("signal").type == pa.list_(pa.field("element", storage), 16)


def test_nothing_is_left_of_an_export_that_failed(clips, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_shards, "_write_card", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(clips(10), clips(5, first=10), tmp_path / "shards")
    assert not list(tmp_path.iterdir())


def test_what_would_be_wrong_is_refused(clips, exported, tmp_path):
    with pytest.raises(ValueError, match="exists: choose a new folder"):
        export(clips(10), clips(5, first=10), tmp_path)
    with pytest.raises(ValueError, match="A clip of recording r is in twice: name each corpus once"):
        export(clips(10), clips(5, first=9), tmp_path / "shards")
    with pytest.raises(ValueError, match="shards is 11: give a number from 1 to 10"):
        export(clips(10), clips(5, first=10), tmp_path / "shards", shards=11)
    with pytest.raises(ValueError, match="have other columns"):
        export(clips(10), clips(5, first=10, samples=8), tmp_path / "shards")
    with pytest.raises(ValueError, match="is a corpus: train on it as it is, or export it"):
        StreamedShards(exported / "corpus")
    with pytest.raises(ValueError, match="holds Parquet shards: stream them"):
        load_corpus(exported / "shards")
    with pytest.raises(ValueError, match="holds no Parquet shards: export a corpus"):
        StreamedShards(tmp_path)
    with pytest.raises(ValueError, match="has no split test: it has train, validation"):
        StreamedShards(exported / "shards", split="test")
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "train.parquet")
    with pytest.raises(ValueError, match=r"The shard train.parquet has the columns text and is not one of a corpus"):
        StreamedShards(tmp_path)
    with pytest.raises(ValueError, match=r"has no corpus.json: export a corpus"):
        shards_record(tmp_path)


def test_held_out_clips_are_thinned_out_before_they_fill_the_memory(clips, tmp_path):
    export(clips(5), clips(230, first=5), tmp_path / "shards")
    whole = load_shards(tmp_path / "shards")
    assert whole.features == clips(1).features
    assert load_shards(tmp_path / "shards", most=3)["start"][:] == [whole["start"][row] for row in (0, 1, 2)]


def flipped(position):
    def flip(path):
        content = bytearray(path.read_bytes())
        content[position] ^= 4
        path.write_bytes(content)

    return flip


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize("damage", [cut_off, flipped(-20), flipped(2000)])
def test_a_damaged_shard_is_named(clips, tmp_path, damage):
    # A flipped bit among the signals too: every page has a checksum.
    export(clips(100), clips(5, first=100), tmp_path / "shards", shards=2)
    damage(tmp_path / "shards/data/train-00001-of-00002.parquet")
    with pytest.raises(
        ValueError,
        match=r"^The shard train-00001-of-00002.parquet of .*shards cannot be read \(.*\): copy it again, or export",
    ):
        StreamedShards(tmp_path / "shards").read(1)


@pytest.mark.parametrize("damage", [cut_off, flipped(8), flipped(1000)])
def test_a_damaged_arrow_file_of_a_corpus_is_named(recording, tmp_path, damage):
    build_corpus([recording()], tmp_path / "corpus", progress=False)
    path = next((tmp_path / "corpus").glob("*.arrow"))
    damage(path)
    with pytest.raises(ValueError, match=rf"{path.name} is damaged \(.*\): call build_corpus .* again"):
        load_corpus(tmp_path / "corpus")
