"""Export the parts of corpora as Parquet shards: a folder to upload to the Hub as it is, and to stream from.

The layout is the Hub's: data/train-00000-of-00008.parquet, data/validation-…, and a README.md that names them.
"""

import hashlib
import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import DatasetCard, DatasetCardData
from numpy.typing import NDArray
from tqdm import tqdm

from ..atomic import written_whole
from .card import NO_LICENCE

ROW_GROUP = 100  # rows that are read together: about 4 MB
SHARD_BYTES = 500e6  # of a shard before compression, as `datasets` does by default
# The bytes of a number compress when they are sorted by significance: 0.77 of the size on real float32, where zstd
# alone gives 0.92 and a dictionary 1.08; int16, which Parquet keeps in 32 bits, 0.80 instead of 1.32. It takes no
# longer to read than uncompressed. Checksums turn flipped bytes into an error instead of another signal.
_WRITING: dict[str, Any] = {
    "compression": "zstd",
    "use_dictionary": ["recording", "subject", "session", "contact", "sampling_rate", "original_sampling_rate"],
    "use_byte_stream_split": ["signal.list.element"],
    "write_page_checksum": True,
}
_TEXT = """# Intracranial clips in Parquet shards

{train:,} clips to train on and {validation:,} held out ({split}). Their order was shuffled once, with seed {seed}, so \
that every shard, and every stretch of it, is a sample of all recordings. Fingerprint `{fingerprint}`.

`datasets.load_dataset` opens this folder, or the data set it was uploaded to, with `streaming=True` too. A row is a \
clip of one contact, and µV = `signal` · `scale` + `offset`.

{corpora}
"""


def export_shards(
    train: datasets.Dataset,
    validation: datasets.Dataset,
    folder: Path | str,
    *,
    corpora: Sequence[Path | str],
    split: Mapping[str, Any],
    shards: int | None = None,
    seed: int = 0,
    license: str | None = None,
    progress: bool = True,
) -> Path:
    """Write both parts to Parquet shards in the new folder `folder`, with a card and corpus.json; return its path.

    train, validation: of split_corpus, or of several corpora by datasets.concatenate_datasets.
    corpora: the folders they come from, whose card and records are taken over.
    split: JSON-able, how the parts were made, for the card: {"by": "time", "validation": 0.1}.
    shards: of the training part, about 500 MB each by default; of the validation part, in proportion.
    seed: of the order of rows. The same arguments write the same bytes.
    license: of the data, as the Hub calls it ("cc-by-4.0"), for the card.

    The folder is there as a whole or not at all.
    Raises ValueError when it exists, when a clip is in twice, and for more shards than rows.
    """
    folder = Path(folder)
    if folder.exists():
        raise ValueError(f"{folder} exists: choose a new folder for the shards.")
    _refuse_doubles(train, validation)
    signal = train.features["signal"]
    row_bytes = signal.length * signal.feature.pa_type.bit_width // 8
    if shards is None:
        shards = max(1, math.ceil(len(train) * row_bytes / SHARD_BYTES))
    if not 1 <= shards <= len(train):
        raise ValueError(f"shards is {shards}: give a number from 1 to {len(train)}, the training clips.")
    parts = {
        "train": (train, shards),
        "validation": (validation, min(len(validation), math.ceil(shards * len(validation) / len(train)))),
    }
    record = _record(corpora, {name: len(part) for name, (part, _) in parts.items()}, split, seed)
    bar = tqdm(total=len(train) + len(validation), desc="shards", unit="clip", disable=not progress, file=sys.stderr)
    with written_whole(folder) as temporary, bar:
        (temporary / "data").mkdir(parents=True)
        for number, (name, (part, count)) in enumerate(parts.items()):
            order = np.random.default_rng([seed, number]).permutation(len(part))
            for shard, rows in enumerate(np.array_split(order, count)):
                _write(part, rows, temporary / "data" / f"{name}-{shard:05}-of-{count:05}.parquet", bar)
        text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
        (temporary / "corpus.json").write_text(text, encoding="utf-8")
        _write_card(temporary, corpora, record, license)
    return folder


def _write(part: datasets.Dataset, rows: NDArray[np.int64], path: Path, bar: Any) -> None:
    part = part.with_format("arrow")
    with pq.ParquetWriter(path, part.features.arrow_schema, **_WRITING) as writer:
        for first in range(0, len(rows), ROW_GROUP):
            table = part[rows[first : first + ROW_GROUP]].combine_chunks()
            writer.write_table(table, row_group_size=ROW_GROUP)
            bar.update(len(table))


def _refuse_doubles(train: datasets.Dataset, validation: datasets.Dataset) -> None:
    """A clip that is in twice would be learned twice, or learned and then held out."""
    if train.features != validation.features:
        raise ValueError("The two parts have other columns: make them from the same corpora.")
    key = ["recording", "contact", "start"]
    names = pa.concat_tables(part.with_format("arrow", columns=key)[:] for part in (train, validation))
    counts = names.group_by(key).aggregate([([], "count_all")]).sort_by([("count_all", "descending")])
    if counts["count_all"][0].as_py() > 1:
        raise ValueError(
            f"A clip of recording {counts['recording'][0]} is in twice: name each corpus once, and split before "
            "exporting."
        )


def _record(
    corpora: Sequence[Path | str], rows: Mapping[str, int], split: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    """Return what corpus.json says: rows, split, and of each corpus its own corpus.json and how it was conditioned."""
    records = []
    for folder in map(Path, corpora):
        corpus, settings = (json.loads((folder / name).read_text("utf-8")) for name in ("corpus.json", "build.json"))
        records.append(corpus | {"conditioning": settings["conditioning"]})
    content = {"rows": dict(rows), "split": dict(split), "seed": seed, "corpora": records}
    fingerprint = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
    return {"fingerprint": fingerprint, **content}


def _write_card(folder: Path, corpora: Sequence[Path | str], record: Mapping[str, Any], license: str | None) -> None:
    # The cards of the corpora become sections: their headings go down by one level.
    cards = [re.sub("(?m)^#", "##", DatasetCard.load(Path(corpus) / "README.md").text.strip()) for corpus in corpora]
    if license:
        cards = [card.replace(NO_LICENCE, f"Licence: {license}.") for card in cards]
    text = _TEXT.format(
        **record["rows"],
        split=", ".join(
            f"{name.replace('_', ' ')} {' and '.join(value) if isinstance(value, list) else value}"
            for name, value in record["split"].items()
        ),
        seed=record["seed"],
        fingerprint=record["fingerprint"],
        corpora="\n\n".join(cards),
    )
    metadata = DatasetCardData(
        pretty_name="Intracranial clips for BrainBERT",
        license=license,
        tags=["intracranial-eeg", "brainbert"],
        # Where the Hub and load_dataset find the parts, and how many rows there must be.
        configs=[
            {
                "config_name": "default",
                "data_files": [{"split": name, "path": f"data/{name}-*.parquet"} for name in record["rows"]],
            }
        ],
        dataset_info={
            "splits": [
                {"name": name, "num_bytes": _unpacked_bytes(folder / "data", name), "num_examples": rows}
                for name, rows in record["rows"].items()
            ],
        },
    )
    DatasetCard(f"---\n{metadata}\n---\n\n{text}").save(folder / "README.md")


def _unpacked_bytes(folder: Path, part: str) -> int:
    """Return the size of a part before compression, without which `datasets` passes over the number of rows."""
    shards = [pq.read_metadata(path) for path in folder.glob(f"{part}-*.parquet")]
    return sum(shard.row_group(group).total_byte_size for shard in shards for group in range(shard.num_row_groups))
