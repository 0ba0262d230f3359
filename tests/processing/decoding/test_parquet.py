"""A Parquet file of embeddings is the same however often its making was killed and however many processes shared it."""

import json
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from brainbert.modeling_brainbert import BrainBertFeatureExtractor, BrainBertModel
from brainbert.processing.atomic import only_writer
from brainbert.processing.decoding import embed_recording, embed_to_parquet, parts_folder

TINY = Path(__file__).parents[2] / "fixtures" / "tiny"
WINDOW = {"window_s": 3.0, "stride_s": 2.0, "batch_size": 4, "progress": False}  # 34 windows of each contact


class Broken(Exception):
    """What a test breaks off with."""


class Process:
    """One of several threads that stand for processes."""

    def __init__(self, process_index, num_processes, barrier):
        self.process_index, self.num_processes = process_index, num_processes
        self.wait_for_everyone = lambda: barrier.wait(timeout=60)


@pytest.fixture(autouse=True)
def _short_blocks(monkeypatch):
    monkeypatch.setattr("brainbert.processing.decoding.windows.BLOCK_S", 10.0)  # 5 windows: 7 blocks


@pytest.fixture(scope="module")
def model():
    return BrainBertModel.from_pretrained(TINY)


@pytest.fixture
def extractor(request):
    return BrainBertFeatureExtractor(normalization=getattr(request, "param", "clip"))


def statistics_for(extractor):
    return "whole recording" if extractor.normalization == "recording" else None


def breaking_off(recording, *, after):
    """The recording as a stream that can be read `after` times."""
    reads = iter(range(after))

    def read(start, stop):
        if next(reads, None) is None:
            raise Broken
        return recording.read(start, stop)

    return recording.with_source(read)


def killed_before_the_parts_are_removed(recording, model, extractor, path):
    def killed(_):
        raise Broken

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shutil.rmtree", killed)
        with pytest.raises(Broken):
            embed_to_parquet(recording, model, extractor, path, **WINDOW)


@pytest.mark.parametrize("pooling", ["center", "mean", "frames"])
def test_the_file_is_the_table_in_memory_with_a_row_group_a_block(recording, model, extractor, tmp_path, pooling):
    path = tmp_path / "embeddings.parquet"
    embed_to_parquet(recording, model, extractor, path, pooling=pooling, **WINDOW)
    table = embed_recording(recording, model, extractor, pooling=pooling, **WINDOW)
    assert pq.read_table(path).equals(table)
    metadata = pq.read_metadata(path)
    assert metadata.metadata[b"brainbert"] == table.schema.metadata[b"brainbert"]
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [10] * 6 + [8]
    assert [file.name for file in tmp_path.iterdir()] == ["embeddings.parquet"]


@pytest.mark.parametrize(
    ("extractor", "after"),
    [("clip", 1), ("clip", 4), ("recording", 2), ("recording", 7)],  # blocks of statistics: 3 windows, 8 of them
    indirect=["extractor"],
)
def test_broken_off_and_started_again_gives_the_same_bytes(recording, model, extractor, tmp_path, after):
    settings = {"statistics": statistics_for(extractor), **WINDOW}
    embed_to_parquet(recording, model, extractor, tmp_path / "whole", **settings)
    with pytest.raises(Broken):
        embed_to_parquet(breaking_off(recording, after=after), model, extractor, tmp_path / "again", **settings)
    assert not (tmp_path / "again").exists()
    embed_to_parquet(recording, model, extractor, tmp_path / "again", **settings)
    assert (tmp_path / "again").read_bytes() == (tmp_path / "whole").read_bytes()


def test_blocks_that_are_done_are_not_read_again(recording, model, extractor, tmp_path):
    with pytest.raises(Broken):
        embed_to_parquet(breaking_off(recording, after=4), model, extractor, tmp_path / "file", **WINDOW)
    assert len(list(parts_folder(tmp_path / "file").glob("block-*.parquet"))) == 4
    embed_to_parquet(breaking_off(recording, after=3), model, extractor, tmp_path / "file", **WINDOW)


@pytest.mark.parametrize("extractor", ["clip", "recording"], indirect=True)
@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_give_the_bytes_that_one_gives(recording, model, extractor, tmp_path, processes):
    settings = {"statistics": statistics_for(extractor), **WINDOW}
    embed_to_parquet(recording, model, extractor, tmp_path / "one", **settings)
    barrier = threading.Barrier(processes)

    def work(index):
        state = Process(index, processes, barrier)
        embed_to_parquet(recording, model, extractor, tmp_path / "several", **settings, state=state)
        return (tmp_path / "several").exists()

    with ThreadPoolExecutor(processes) as threads:
        assert list(threads.map(work, range(processes))) == [True] * processes
    assert (tmp_path / "several").read_bytes() == (tmp_path / "one").read_bytes()


def test_one_process_goes_on_where_two_broke_off(recording, model, extractor, tmp_path):
    embed_to_parquet(recording, model, extractor, tmp_path / "whole", **WINDOW)
    barrier = threading.Barrier(2)

    def work(index):
        stream, state = breaking_off(recording, after=2), Process(index, 2, barrier)
        with pytest.raises(Broken):
            embed_to_parquet(stream, model, extractor, tmp_path / "again", **WINDOW, state=state)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(work, range(2)))
    done = sorted(path.name for path in parts_folder(tmp_path / "again").glob("block-*"))
    assert done == [f"block-00000{number}.parquet" for number in (0, 1, 2, 3)]
    embed_to_parquet(recording, model, extractor, tmp_path / "again", **WINDOW)
    assert (tmp_path / "again").read_bytes() == (tmp_path / "whole").read_bytes()


@pytest.mark.slow
def test_killed_and_started_again_gives_the_same_bytes(recording, model, extractor, tmp_path):
    np.save(tmp_path / "data.npy", recording.data)
    program = f"""
import os, signal
import numpy as np
from brainbert.modeling_brainbert import BrainBertFeatureExtractor, BrainBertModel
from brainbert.processing.decoding import embed_to_parquet, windows
from brainbert.processing.recordings import Recording
windows.BLOCK_S = 10.0
recording = Recording(
    data=np.load("data.npy"), sampling_rate=2048.0, contacts=("A1", "A2", "A3"), types=("seeg",) * 3,
    bad={{"A2": "flat"}}, history=({{"step": "read", "format": "made"}},), id="r1", subject="s1",
)
def read(start, stop):
    if start > 40 * 2048:
        os.kill(os.getpid(), signal.SIGKILL)
    return recording.read(start, stop)
model = BrainBertModel.from_pretrained({str(TINY)!r})
embed_to_parquet(recording.with_source(read), model, BrainBertFeatureExtractor(), "again", **{WINDOW!r})
"""
    result = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, check=False)
    assert result.returncode == -signal.SIGKILL
    assert list(parts_folder(tmp_path / "again").glob("block-*.parquet"))
    embed_to_parquet(recording, model, extractor, tmp_path / "whole", **WINDOW)
    embed_to_parquet(recording, model, extractor, tmp_path / "again", **WINDOW)
    assert (tmp_path / "again").read_bytes() == (tmp_path / "whole").read_bytes()


def test_blocks_of_other_settings_are_refused_and_named(recording, model, extractor, tmp_path):
    with pytest.raises(Broken):
        embed_to_parquet(breaking_off(recording, after=3), model, extractor, tmp_path / "file", **WINDOW)
    other = WINDOW | {"stride_s": 2.5, "layer": 1}
    with pytest.raises(ValueError, match=r"made with another block_windows, layer, stride_s: go on with the same"):
        embed_to_parquet(recording, model, extractor, tmp_path / "file", **other)
    twin = BrainBertModel(model.config)
    with pytest.raises(ValueError, match="made with another model: "):
        embed_to_parquet(recording, twin, extractor, tmp_path / "file", **WINDOW)


def test_settings_may_change_as_long_as_no_block_is_done(recording, model, extractor, tmp_path):
    with pytest.raises(Broken):
        embed_to_parquet(breaking_off(recording, after=0), model, extractor, tmp_path / "file", **WINDOW)
    embed_to_parquet(recording, model, extractor, tmp_path / "file", **WINDOW | {"layer": 1})
    assert json.loads(pq.read_schema(tmp_path / "file").metadata[b"brainbert"])["layer"] == 1


def test_a_file_is_not_overwritten(recording, model, extractor, tmp_path):
    embed_to_parquet(recording, model, extractor, tmp_path / "file", **WINDOW)
    with pytest.raises(ValueError, match="exists: choose another path, so that no embeddings are lost"):
        embed_to_parquet(recording, model, extractor, tmp_path / "file", **WINDOW)


def test_killed_between_joining_and_clearing_up_only_clears_up(recording, model, extractor, tmp_path):
    killed_before_the_parts_are_removed(recording, model, extractor, tmp_path / "file")
    written = (tmp_path / "file").read_bytes()
    with pytest.raises(ValueError, match="exists: choose another path"):
        embed_to_parquet(recording, model, extractor, tmp_path / "file", **WINDOW | {"layer": 1})
    embed_to_parquet(breaking_off(recording, after=0), model, extractor, tmp_path / "file", **WINDOW)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == written


@pytest.mark.parametrize("settings_first", [True, False])
def test_killed_anywhere_in_clearing_up_is_repaired(recording, model, extractor, tmp_path, settings_first):
    path = tmp_path / "file"
    killed_before_the_parts_are_removed(recording, model, extractor, path)
    written = path.read_bytes()
    names = sorted((file.name for file in parts_folder(path).iterdir()), reverse=settings_first)
    assert names.index("settings.json") == (0 if settings_first else len(names) - 1)
    contents = {name: (parts_folder(path) / name).read_bytes() for name in names}
    for removed in range(len(names) + 1):
        parts_folder(path).mkdir(exist_ok=True)
        for name in names[removed:]:
            (parts_folder(path) / name).write_bytes(contents[name])
        embed_to_parquet(breaking_off(recording, after=0), model, extractor, path, **WINDOW)
        assert [file.name for file in tmp_path.iterdir()] == ["file"]
        assert path.read_bytes() == written


def test_blocks_without_settings_are_made_again(recording, model, extractor, tmp_path):
    path = tmp_path / "file"
    killed_before_the_parts_are_removed(recording, model, extractor, path)
    (parts_folder(path) / "settings.json").unlink()
    written = path.rename(tmp_path / "moved").read_bytes()
    with pytest.raises(Broken):
        embed_to_parquet(breaking_off(recording, after=6), model, extractor, path, **WINDOW)
    embed_to_parquet(recording, model, extractor, path, **WINDOW)
    assert path.read_bytes() == written


def test_no_process_looks_for_parts_that_the_first_has_cleared_up(recording, model, extractor, tmp_path, monkeypatch):
    path = tmp_path / "file"
    killed_before_the_parts_are_removed(recording, model, extractor, path)
    barrier, cleared = threading.Barrier(2), threading.Event()
    remove = shutil.rmtree

    def remove_and_tell(folder):
        remove(folder)
        cleared.set()

    def work(index):
        state = Process(index, 2, barrier)
        if index == 1:  # the slower one
            state.wait_for_everyone = lambda: (barrier.wait(timeout=60), cleared.wait(timeout=60))
        embed_to_parquet(recording, model, extractor, path, **WINDOW, state=state)

    monkeypatch.setattr("shutil.rmtree", remove_and_tell)
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(work, range(2))) == [None, None]
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_two_runs_into_one_file_at_once_are_refused(recording, model, extractor, tmp_path):
    with (
        only_writer(parts_folder(tmp_path / "file")),
        pytest.raises(ValueError, match="Another process is writing to"),
    ):
        embed_to_parquet(recording, model, extractor, tmp_path / "file", **WINDOW)


def test_processes_that_do_not_see_each_others_files_are_refused(recording, model, extractor, tmp_path):
    barrier = threading.Barrier(2)

    def work(index):
        folder = tmp_path / f"disk of {index}"
        folder.mkdir()
        return embed_to_parquet(
            recording, model, extractor, folder / "file", **WINDOW, state=Process(index, 2, barrier)
        )

    with ThreadPoolExecutor(2) as threads:
        first, second = (threads.submit(work, index) for index in range(2))
        with pytest.raises(ValueError, match="all must write to one file system"):
            second.result()
        barrier.abort()
        with pytest.raises(threading.BrokenBarrierError):
            first.result()


def test_what_a_killed_process_left_half_written_is_cleared(recording, model, extractor, tmp_path):
    parts = parts_folder(tmp_path / "file")
    parts.mkdir()
    (parts / ".block-000000.parquet.0123abcd.part").write_bytes(b"half")
    (tmp_path / ".file.0123abcd.part").write_bytes(b"half")
    embed_to_parquet(recording, model, extractor, tmp_path / "file", **WINDOW)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
