"""Which recordings weights have seen: marks of them in the record of a corpus, and from there in that of a model.

A mark is a hash of a recording's id, so that a model's record names nobody; whoever has the recording can ask for it.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

MARKS = "recording_marks"


def recording_mark(recording_id: str) -> str:
    """Return what stands for a recording in records."""
    return hashlib.sha256(f"recording {recording_id}".encode()).hexdigest()[:16]


def marks_in(record: Mapping[str, Any]) -> frozenset[str] | None:
    """Return the marks of all recordings that a model was trained on; None where its record does not have them.

    record: training_record.json of a model folder.
    """
    corpora = record.get("corpora") or ()
    if not corpora or any(MARKS not in corpus for corpus in corpora):
        return None
    return frozenset(mark for corpus in corpora for mark in corpus[MARKS])


def seen_recordings(record: Mapping[str, Any], recordings: Iterable[str]) -> list[str] | None:
    """Return which of these recordings, by id, a model was trained on; None where its record does not say."""
    marks = marks_in(record)
    return None if marks is None else [name for name in recordings if recording_mark(name) in marks]
