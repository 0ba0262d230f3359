"""Corpora of clips as `datasets` folders: build, load, split, statistics."""

from .build import build_corpus
from .load import decode_signal, load_corpus, split_corpus
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

__all__ = [
    "RunningStatistics",
    "build_corpus",
    "corpus_statistics",
    "decode_signal",
    "load_corpus",
    "load_statistics",
    "recording_statistics",
    "split_corpus",
    "statistics_lookup",
    "statistics_of_rows",
    "with_statistics",
    "write_statistics",
]
