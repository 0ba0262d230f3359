"""Read Parquet shards of clips, from a folder or from the Hub, any row group at any time.

`datasets` finds the files and opens them, so that lost connections are tried again; a row group is read by pyarrow,
because an IterableDataset can be read from its beginning only, or from where its own state was saved.
"""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets.download.streaming_download_manager import xopen
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

# A row group is asked for as a whole; reading ahead, 5 MB by default, would fetch more than is used.
_DOWNLOAD = datasets.DownloadConfig(storage_options={"hf": {"block_size": 2**16}})
CLIP_COLUMNS = ("recording", "contact", "start", "signal", "scale", "offset")  # what a training batch is made of


class StreamedShards:
    """One split of `export_shards`' folder, or of a data set on the Hub with the same columns.

    source: a folder, or the id of a data set on the Hub. revision: its commit, branch or tag there.
    group_rows: (row groups,) rows of each, in the order of the shards.
    Raises ValueError for a source that has no such shards, lacks one, or has one that cannot be read.
    """

    def __init__(self, source: Path | str, *, split: str = "train", revision: str | None = None):
        if (Path(source) / "state.json").exists():
            raise ValueError(
                f"{source} is a corpus: train on it as it is, or export it with examples/export_corpus.py."
            )
        if Path(source).is_dir() and not list(Path(source).rglob("*.parquet")):
            raise ValueError(f"{source} holds no Parquet shards: export a corpus with examples/export_corpus.py.")
        self.source, self.split = str(source), split
        files = datasets.load_dataset_builder(self.source, revision=revision).config.data_files or {}
        if split not in files:
            raise ValueError(f"{source} has no split {split}: it has {', '.join(map(str, files)) or 'none'}.")
        self.files = list(map(str, files[split]))
        self._refuse_gaps()
        with ThreadPoolExecutor(8) as pool:  # on the Hub, a footer takes some tenths of a second
            self._footers = list(pool.map(self._footer, range(len(self.files))))
        rows = [[footer.row_group(n).num_rows for n in range(footer.num_row_groups)] for footer in self._footers]
        self._where = [(file, group) for file, counts in enumerate(rows) for group in range(len(counts))]
        self.group_rows = np.array([count for counts in rows for count in counts], np.int64)

    def __len__(self) -> int:
        return int(self.group_rows.sum())

    def read(self, group: int, columns: tuple[str, ...] | None = None) -> pa.Table:
        """Return the rows of a row group; raises ValueError when its shard is damaged or cannot be reached."""
        number, index = self._where[group]
        try:
            # Opened anew each time: nothing is left open to share between processes, and a path is looked up once.
            with xopen(self.files[number], "rb", download_config=_DOWNLOAD) as file:
                shard = pq.ParquetFile(
                    file, metadata=self._footers[number], pre_buffer=True, page_checksum_verification=True
                )
                return shard.read_row_group(index, columns=columns and list(columns), use_threads=False)
        except Exception as error:  # of pyarrow, of the file system, or of whichever client fetched the bytes
            raise self._refusal(number, error) from error

    def _footer(self, number: int) -> pq.FileMetaData:
        try:
            with xopen(self.files[number], "rb", download_config=_DOWNLOAD) as file:
                footer = pq.read_metadata(file)
            schema = footer.schema.to_arrow_schema()
        except Exception as error:  # as in `read`
            raise self._refusal(number, error) from error
        if set(CLIP_COLUMNS) - set(schema.names) or not pa.types.is_fixed_size_list(schema.field("signal").type):
            raise ValueError(
                f"The shard {self._name(number)} has the columns {', '.join(schema.names)} and is not one of a corpus: "
                "export one with examples/export_corpus.py."
            )
        return footer

    def _refuse_gaps(self) -> None:
        """A name such as train-00000-of-00008.parquet says how many there are."""
        counts = {int(found[1]) for file in self.files if (found := re.search(r"-of-(\d+)\.parquet$", file))}
        if counts and counts != {len(self.files)}:
            raise ValueError(
                f"{self.source} has {len(self.files)} of {max(counts)} {self.split} shards: copy or upload it again."
            )

    def _name(self, number: int) -> str:
        return self.files[number].rsplit("/", 1)[-1]

    def _refusal(self, number: int, error: Exception) -> ValueError:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        remedy = "copy it again, or export the corpus again"
        if "://" in self.files[number]:
            remedy = "if the connection was lost, go on later; if the shard is damaged, export and upload it again"
        return ValueError(f"The shard {self._name(number)} of {self.source} cannot be read ({reason}): {remedy}.")


def load_shards(
    source: Path | str, *, split: str = "validation", most: int | None = None, revision: str | None = None
) -> datasets.Dataset:
    """Return a split of Parquet shards in memory, as `load_corpus` returns a corpus: for held-out clips.

    most: no more rows than this, the first ones: export_shards has shuffled them.
    Raises ValueError as StreamedShards does.
    """
    shards = StreamedShards(source, split=split, revision=revision)
    wanted = len(shards) if most is None else min(most, len(shards))
    groups = int(np.searchsorted(np.cumsum(shards.group_rows), wanted)) + 1
    return datasets.Dataset(pa.concat_tables([shards.read(group) for group in range(groups)]).slice(0, wanted))


def commit_of(source: str, *, revision: str | None = None) -> str:
    """Return the commit of a data set on the Hub that a branch or tag stands for just now, by default main.

    Raises ValueError when there is no such data set or revision, or none that the user's token may read.
    """
    try:
        return str(HfApi().dataset_info(source, revision=revision).sha)
    except RevisionNotFoundError:
        raise ValueError(f"The data set {source} has no revision {revision!r}: give a commit, tag or branch.") from None
    except (RepositoryNotFoundError, HFValidationError):
        raise ValueError(
            f"There is no folder {source}, and no data set of this name on the Hub that you may read: check the name, "
            "and log in (hf auth login) if it is private."
        ) from None
    except (HfHubHTTPError.__bases__[0], OSError) as error:  # the transport's errors are of no other common class
        raise ValueError(
            f"There is no folder {source}, and the Hub cannot be asked for a data set of this name "
            f"({type(error).__name__}): check the name and the connection."
        ) from None


def shards_record(source: Path | str, *, revision: str | None = None) -> dict[str, Any]:
    """Return the corpus.json of Parquet shards: rows, split, and of each corpus what it is and how it was conditioned.

    Raises ValueError when a folder has none; what huggingface_hub raises, an OSError, when a data set has none.
    """
    path = Path(source) / "corpus.json"
    if not Path(source).is_dir():
        path = Path(hf_hub_download(str(source), "corpus.json", repo_type="dataset", revision=revision))
    if not path.exists():
        raise ValueError(f"{source} has no corpus.json: export a corpus with examples/export_corpus.py.")
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record
