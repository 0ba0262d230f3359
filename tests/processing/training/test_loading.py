"""An epoch has every clip once, whoever reads it, in an order that nothing but seed and epoch decides."""

from itertools import zip_longest

import numpy as np
import pytest
import torch

from brainbert.modeling_brainbert import BrainBertFeatureExtractor
from brainbert.processing.corpora import export_shards, load_shards, parquet_shards
from brainbert.processing.training import CorpusLoader, StreamLoader, held_out_batches, masked_batch


def numbers(batches):
    """The clips of each batch by their number, which is where they start."""
    return [[int(name.split("/")[2]) for name in batch["name"]] for batch in batches]


def flat(batches):
    return [number for batch in numbers(batches) for number in batch]


def voltage(batch, epoch):
    return batch["voltage"] + epoch


def threads(batch, epoch):
    return torch.get_num_threads()


def refuse(batch, epoch):
    raise ValueError("The batch is refused: use another.")


@pytest.fixture(scope="module")
def shards(clips, tmp_path_factory):
    """230 clips in 3 shards of 8 row groups, the last of each shorter than the others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet_shards, "ROW_GROUP", 10)
        folder = tmp_path_factory.mktemp("export") / "shards"
        return export_shards(clips(230), clips(37, first=230), folder, corpora=[], split={}, shards=3, progress=False)


@pytest.fixture(params=["corpus", "stream", "uneven stream"], scope="module")
def load(request, clips, shards, tmp_path_factory):
    """A loader of the same 230 clips: of a data set, of even shards, of shards of 150, 3 and 77."""
    if request.param == "corpus":
        return lambda **settings: CorpusLoader(clips(230), **settings)
    source = shards
    if request.param == "uneven stream":
        source = tmp_path_factory.mktemp("uneven")
        for number, (first, rows) in enumerate([(0, 150), (150, 3), (153, 77)]):
            clips(rows, first=first).to_parquet(source / f"train-{number}.parquet", batch_size=25)
    return lambda **settings: StreamLoader(source, window=50, **settings)


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_no_clip_is_lost_or_comes_twice(load, processes):
    parts = [load(batch_size=7, seed=1, process_index=n, num_processes=processes) for n in range(processes)]
    assert {part.batches_per_epoch for part in parts} == {230 // (7 * processes)}
    seen = [number for part in parts for number in flat(part.batches(2))]
    assert len(seen) == len(set(seen)) == 230 // (7 * processes) * 7 * processes
    assert set(seen) <= set(range(230))


def test_over_epochs_every_clip_has_its_turn(load):
    loader = load(batch_size=100, seed=0)
    assert {number for epoch in range(8) for number in flat(loader.batches(epoch))} == set(range(230))


def test_voltage_row_and_name_belong_together(load):
    for batch in load(batch_size=23, seed=0).batches(0):
        start = torch.tensor([int(name.split("/")[2]) for name in batch["name"]])
        torch.testing.assert_close(batch["voltage"].mean(1), start.float())
        assert batch["voltage"].shape == (23, 16)
        assert batch["voltage"].dtype == torch.float32
        assert batch["row"].dtype == torch.int64


def test_a_batch_can_be_written_to_without_touching_the_data(load, recwarn):
    loader = load(batch_size=230, seed=0)
    (batch,) = loader.batches(0)
    before = batch["voltage"].clone()
    batch["voltage"].zero_()
    (again,) = loader.batches(0)
    assert torch.equal(again["voltage"], before)
    assert not [warning for warning in recwarn if "not writable" in str(warning.message)]


def test_order_depends_on_seed_and_epoch(load):
    first = flat(load(batch_size=10, seed=1).batches(3))
    assert flat(load(batch_size=10, seed=1).batches(3)) == first
    assert flat(load(batch_size=10, seed=2).batches(3)) != first
    assert flat(load(batch_size=10, seed=1).batches(4)) != first


def test_neighbours_are_torn_apart(load):
    # In a random order, 2 of 229 steps would go from a clip to one of its two neighbours.
    steps = np.abs(np.diff(flat(load(batch_size=10, seed=0).batches(0))))
    assert (steps == 1).sum() < 15


@pytest.mark.parametrize("processes", [1, 2])
def test_from_any_batch_on_it_is_the_tail_of_the_epoch(load, processes):
    loader = load(batch_size=6, seed=1, process_index=processes - 1, num_processes=processes)
    whole = list(loader.batches(1))
    for start in range(loader.batches_per_epoch + 1):
        for expected, batch in zip_longest(whole[start:], loader.batches(1, start=start)):
            assert batch["name"] == expected["name"]
            assert torch.equal(batch["voltage"], expected["voltage"])
            assert torch.equal(batch["row"], expected["row"])


@pytest.mark.parametrize("start", [0, 3])
def test_workers_do_not_change_the_batches(load, start):
    alone, helped = (load(batch_size=20, seed=0, num_workers=number, prepare=voltage) for number in (0, 2))
    for expected, batch in zip_longest(alone.batches(5, start=start), helped.batches(5, start=start)):
        assert torch.equal(batch, expected)


def test_prepare_is_given_the_batch_and_the_epoch(load):
    plain, prepared = load(batch_size=50, seed=0), load(batch_size=50, seed=0, prepare=voltage)
    for batch, ready in zip_longest(plain.batches(7), prepared.batches(7)):
        assert torch.equal(ready, batch["voltage"] + 7)


def test_a_worker_has_one_thread(load):
    assert set(load(batch_size=50, seed=0, num_workers=1, prepare=threads).batches(0)) == {1}


@pytest.mark.parametrize("workers", [0, 1])
def test_global_random_numbers_are_not_touched(load, workers):
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002  # it is the old global generator that is looked at
    before, before_numpy = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    list(load(batch_size=50, seed=0, num_workers=workers).batches(0))
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state()[1], before_numpy)  # noqa: NPY002


@pytest.mark.parametrize("workers", [0, 1])
def test_what_a_worker_refuses_is_one_sentence(load, workers):
    loader = load(batch_size=50, seed=0, num_workers=workers, prepare=refuse)
    with pytest.raises(ValueError, match=r"^The batch is refused: use another\.$"):
        next(loader.batches(0))


def test_too_few_clips_for_one_batch_are_refused(load):
    with pytest.raises(
        ValueError, match="230 training clips do not fill one batch of 80 on each of 3 processes: use a smaller"
    ):
        load(batch_size=80, seed=0, num_processes=3)


def test_one_process_sees_in_a_step_what_two_see(clips):
    corpus = clips(230)
    one = numbers(CorpusLoader(corpus, batch_size=12, seed=0).batches(1))
    halves = [CorpusLoader(corpus, batch_size=6, seed=0, process_index=n, num_processes=2) for n in range(2)]
    two = [first + second for first, second in zip(*(numbers(half.batches(1)) for half in halves), strict=True)]
    assert two == one


def test_statistics_come_with_their_rows(load):
    statistics = {("r", "A1"): {"fingerprint": "f", "mean": [1.0, 2.0], "std": [3.0, 4.0]}}
    batch = next(load(batch_size=3, seed=0, statistics=statistics).batches(0))
    assert batch["mean"].tolist() == [[1, 2]] * 3
    assert batch["std"].tolist() == [[3, 4]] * 3
    assert batch["fingerprint"] == "f"


@pytest.mark.parametrize("storage", ["float32", "int16"])
def test_streamed_clips_are_those_of_the_corpus_bit_for_bit(clips, tmp_path, storage):
    train, validation = clips(90, storage=storage), clips(10, first=90, storage=storage)
    export_shards(train, validation, tmp_path / "shards", corpora=[], split={}, shards=2, progress=False)
    by_name = {
        name: signal
        for batch in held_out_batches(train, batch_size=90)
        for name, signal in zip(batch["name"], batch["voltage"], strict=True)
    }
    for batch in StreamLoader(tmp_path / "shards", batch_size=30, seed=0).batches(0):
        for name, signal in zip(batch["name"], batch["voltage"], strict=True):
            assert torch.equal(signal, by_name[name])


def test_what_comes_before_the_window_of_a_batch_is_not_read(shards, monkeypatch):
    loader = StreamLoader(shards, batch_size=10, seed=0, window=50)
    read, original = [], loader.shards.read
    monkeypatch.setattr(loader.shards, "read", lambda *arguments: read.append(1) or original(*arguments))
    assert len(list(loader.batches(0, start=21))) == 2  # batches 20, 21 and 22 are the last window, of 30 rows
    assert 3 <= len(read) <= 5


def test_a_damaged_shard_is_named_from_within_a_worker(clips, tmp_path):
    export_shards(clips(200), clips(5, first=200), tmp_path / "shards", corpora=[], split={}, progress=False)
    path = tmp_path / "shards" / "data" / "train-00000-of-00001.parquet"
    content = bytearray(path.read_bytes())
    content[4:2000] = bytes(1996)
    path.write_bytes(content)
    loader = StreamLoader(tmp_path / "shards", batch_size=50, seed=0, num_workers=1)
    with pytest.raises(
        ValueError, match=r"^The shard train-00000-of-00001.parquet of .* cannot be read \(.*\): copy it"
    ):
        list(loader.batches(0))


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_held_out_clips_come_once_in_order_and_are_shared_out(clips, processes):
    parts = [
        list(held_out_batches(clips(37), batch_size=5, process_index=n, num_processes=processes))
        for n in range(processes)
    ]
    assert {len(part) for part in parts} == {-(-37 // (5 * processes))}
    names = [name for step in zip(*parts, strict=True) for batch in step for name in batch["name"]]
    assert names[:37] == [f"r/A1/{number}" for number in range(37)]
    assert set(names[37:]) == {""}
    assert {tuple(batch["voltage"].shape) for part in parts for batch in part} == {(5, 16)}


def test_where_held_out_clips_run_out_the_model_is_asked_for_nothing(clips):
    batches = list(held_out_batches(clips(3, samples=4096), batch_size=2))
    assert batches[1]["voltage"][1].abs().max() == 0
    batch = masked_batch(batches[1], BrainBertFeatureExtractor(), seed=0, epoch=0)
    assert batch["attention_mask"].sum(1).tolist() == [batch["mask"].shape[1], 0]
    assert batch["mask"].sum((1, 2))[1] == 0


def test_held_out_clips_are_thinned_out_evenly(clips):
    assert flat(held_out_batches(clips(100), batch_size=4, most=4)) == [0, 33, 66, 99]
    assert flat(held_out_batches(clips(3), batch_size=3, most=4)) == [0, 1, 2]


def test_streamed_held_out_clips_are_a_data_set(shards):
    held_out = load_shards(shards)
    assert sorted(held_out["start"][:]) == list(range(230, 267))
    assert len(flat(held_out_batches(held_out, batch_size=37))) == 37
    assert load_shards(shards, most=9)["start"][:] == held_out["start"][:9]


def test_masks_can_be_drawn_in_another_way(clips):
    def everything(image, attention_mask, *, seeds):
        assert seeds.shape == (2,)
        return torch.zeros_like(image), torch.ones_like(image, dtype=torch.bool)

    (batch,) = held_out_batches(clips(2, samples=4096), batch_size=2)
    batch = masked_batch(batch, BrainBertFeatureExtractor(), seed=0, epoch=0, masking=everything)
    assert batch["mask"].all()
    assert not batch["input_values"].any()
