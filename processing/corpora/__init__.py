"""Corpora of clips as `datasets` folders: build, load, split, statistics."""

from .build import build_corpus
from .lineage import seen_recordings
from .load import decode_signal, load_corpus, split_corpora, split_corpus
from .parquet_shards import export_shards
from .statistics import (
    RunningStatistics,
    corpus_statistics,
    load_statistics,
    recording_statistics,
    statistics_lookup,
    statistics_of_rows,
    with_statistics,
    write_statistics,
)
from .streamed_shards import StreamedShards, commit_of, load_shards, shards_record

__all__ = [
    "RunningStatistics",
    "StreamedShards",
    "build_corpus",
    "commit_of",
    "corpus_statistics",
    "decode_signal",
    "export_shards",
    "load_corpus",
    "load_shards",
    "load_statistics",
    "recording_statistics",
    "seen_recordings",
    "shards_record",
    "split_corpora",
    "split_corpus",
    "statistics_lookup",
    "statistics_of_rows",
    "with_statistics",
    "write_statistics",
]
