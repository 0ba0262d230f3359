"""A run that is stopped, killed, or short of room ends as if nothing had happened; what it cannot do it says.

The program runs in processes forked from one that has imported everything: they take a second each, not ten.
"""

import json
import math
import multiprocessing
import runpy
import signal
import socket
from multiprocessing.connection import wait
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from brainbert.modeling_brainbert import BrainBertForPreTraining
from brainbert.processing.atomic import only_writer
from brainbert.processing.corpora import build_corpus, export_shards, split_corpora
from brainbert.processing.recordings import Recording

EXAMPLES = Path(__file__).parents[2] / "examples"
PROGRAM = Path(__file__).with_name("run_with_events.py")

STEPS = 12  # three epochs of four steps
SPLIT = {"validation": 0.25, "embargo_s": 1.0, "seed": 3}
SETTINGS = ["--validation", 0.25, "--embargo-s", 1, "--seed", 3, "--steps", STEPS, "--batch-size", 8, "--dropout", 0.1]
SETTINGS += ["--log-every", 1, "--validate-every", 5, "--checkpoint-every", 3, "--tracker", "none"]

IN_PARTS = ["--micro-batch", 4, "--optimizer", "muon", "--attention", "neighbours"]

# corpus or shards, processes, settings
CASES = {
    "corpus": ("corpus", 1, []),
    "shards": ("shards", 1, []),
    "workers": ("shards", 1, [*IN_PARTS, "--num-workers", 2, "--prepare-in-workers"]),
    "corpus, two processes": ("corpus", 2, ["--micro-batch", 2, "--optimizer", "lamb"]),
    "shards, two processes": ("shards", 2, []),
}

pytestmark = pytest.mark.slow


class Ended(NamedTuple):
    status: list[int]  # of each process; −9 when it was killed
    said: str


class Trial:
    """A folder with corpora, in which the program is run."""

    def __init__(self, folder):
        self.folder = folder
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["pretrain", "torch.utils.tensorboard"])
        self._whole = {}
        self._calls = 0

    def run(self, out, *arguments, source="corpus", processes=1, events=None):
        """Run the program; events happen to the last process."""
        self._calls += 1
        output = self.folder / f"said-{self._calls}.txt"
        environment = {"ACCELERATE_USE_CPU": "1"}
        started = []
        if processes > 1:  # what torchrun sets
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            environment |= {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        for rank in range(processes):
            order = {
                "arguments": ["pretrain.py", source, "--out", out, *map(str, [*SETTINGS, *arguments])],
                "folder": str(self.folder),
                "output": str(output),
                "environment": environment | ({"RANK": str(rank), "LOCAL_RANK": str(rank)} if processes > 1 else {}),
                "events": (events or {}) if rank == processes - 1 else {},
            }
            how = {"init_globals": {"order": order}, "run_name": "__main__"}
            started.append(self.context.Process(target=runpy.run_path, args=(str(PROGRAM),), kwargs=how))
            started[-1].start()
        wait([process.sentinel for process in started], timeout=120)
        for process in started:  # as a launcher does: when one has gone, the others get some time, then none
            process.join(10)
            process.kill()
            process.join()
        return Ended([process.exitcode for process in started], output.read_text(errors="replace"))

    def whole(self, case):
        """Return the folder of a run that nothing happened to."""
        if case not in self._whole:
            source, processes, settings = CASES[case]
            self._whole[case] = f"whole-{len(self._whole)}"
            ended = self.run(self._whole[case], *settings, source=source, processes=processes)
            assert ended.status == [0] * processes, ended.said
        return self.folder / self._whole[case]

    def checkpoints(self, out):
        return [int(path.name.removeprefix("step-")) for path in sorted((self.folder / out / "checkpoints").iterdir())]


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretraining")
    for name in ("corpus", "other"):
        noise = np.random.default_rng(len(name)).standard_normal((2, 24 * 2048))
        recording = Recording(
            data=noise.cumsum(1).astype(np.float32), sampling_rate=2048.0, contacts=("A1", "A2"),
            types=("seeg", "seeg"), id=name, subject="s",
        )  # fmt: skip
        build_corpus([recording], folder / name, clip_s=1.0, progress=False)
    # Of 24 s, the last 6 are held out and the one before them used by neither; 2 contacts: 34 clips, and 12 held out.
    train, held_out = split_corpora([folder / "corpus"], **SPLIT)
    export_shards(
        train, held_out, folder / "shards", corpora=[folder / "corpus"], split=SPLIT, shards=3, progress=False
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(EXAMPLES))  # for the process that the others are forked from
        yield Trial(folder)


def record(run):
    return json.loads((run / "model" / "training_record.json").read_text())


def measured(run):
    """What was measured, without the time it took."""
    entries = record(run)["losses"] + record(run)["curve"]
    return [{name: value for name, value in entry.items() if name != "minutes"} for entry in entries]


def assert_equal(run, whole, *, within=0.0):
    """Losses, held-out errors and weights, the last and the best, are the same."""
    assert_trained_alike(run, whole, within=within)
    assert_close(run, whole, "model/model.safetensors", within)


def assert_trained_alike(run, whole, *, within=0.0):
    assert len(measured(run)) == len(measured(whole)) == STEPS + 3
    for entry, expected in zip(measured(run), measured(whole), strict=True):
        assert entry == pytest.approx(expected, rel=within, abs=within)
    assert_close(run, whole, f"checkpoints/step-{STEPS:09}/model.safetensors", within)


def assert_close(run, whole, name, within):
    torch.testing.assert_close(load_file(run / name), load_file(whole / name), rtol=within, atol=within)


# Interrupted and resumed


@pytest.mark.parametrize("case", CASES)
def test_interrupted_at_random_steps_and_resumed_it_is_the_uninterrupted_run(trial, case):
    source, processes, settings = CASES[case]
    whole = trial.whole(case)
    rng = np.random.default_rng(list(CASES).index(case))
    out = f"interrupted-{source}-{processes}-{len(settings)}"
    # One that is asked to stop leaves after the next step.
    steps = sorted(rng.choice([1, 3, 5, 7, 9], 3, replace=False).tolist())
    for step, number in zip(steps, rng.permutation([signal.SIGTERM, signal.SIGKILL, signal.SIGINT]), strict=True):
        events = {step: ("send", int(number))}
        ended = trial.run(out, *settings, "--resume", source=source, processes=processes, events=events)
        if number == signal.SIGKILL:
            assert ended.status[-1] == -signal.SIGKILL, ended.said
        else:
            assert ended.status == [0] * processes, ended.said
            assert ended.said.count(f"Stopped after step {step + 1} of {STEPS}, saved: the same command with") == 1
    ended = trial.run(out, *settings, "--resume", source=source, processes=processes)
    assert ended.status == [0] * processes, ended.said
    assert ended.said.count("Going on after step ") == 1
    assert record(trial.folder / out)["processes"] == record(whole)["processes"] == processes
    assert_equal(trial.folder / out, whole, within=0 if processes == 1 else 1e-6)


def test_killed_at_random_operations_on_files_it_goes_on(trial):
    rng = np.random.default_rng(0)
    ended = Ended([], "")
    killed = 0
    for _ in range(4):
        events = {step: ("kill_after_file_operations", int(rng.integers(1, 60))) for step in (2, 6, 10)}
        ended = trial.run("killed", "--resume", events=events)
        assert ended.status[0] in (0, -signal.SIGKILL), ended.said
        killed += ended.status[0] != 0
        if not ended.status[0]:
            break
    assert killed >= 2
    if ended.status[0]:
        assert trial.run("killed", "--resume").status == [0]
    assert_equal(trial.folder / "killed", trial.whole("corpus"))
    assert not list((trial.folder / "killed").rglob("*.part"))
    assert len(list((trial.folder / "killed").glob("best-*"))) == 1


def test_preparing_in_workers_gives_what_preparing_on_the_device_gives(trial):
    assert trial.run("on-device", *IN_PARTS, source="shards").status == [0]
    assert_equal(trial.whole("workers"), trial.folder / "on-device", within=1e-6)


# Short of room


def test_while_the_disk_is_full_training_goes_on_and_saves_when_there_is_room(trial):
    # Full for the checkpoints of steps 3 and 6, and for the weights and the picture of step 5.
    events = {1: ("fill_disk",), 8: ("free_disk",)}
    ended = trial.run("full", "--tracker", "tensorboard", events=events)
    assert ended.status == [0], ended.said
    for sentence in (
        "warning: The checkpoint of step 3 could not be written (",
        "warning: The best weights, of step 5, could not be written (",
        "warning: The tensorboard log could not be written (",
        "warning: The checkpoint of step 6 could not be written (",
    ):
        assert ended.said.count(sentence) == 1, ended.said
    assert trial.checkpoints("full") == [9, 12]
    assert not list((trial.folder / "full").rglob("*.part"))
    assert_trained_alike(trial.folder / "full", trial.whole("corpus"))
    # The best of those that could be written.
    found = record(trial.folder / "full")
    assert found["best"] == min(found["curve"][1:], key=lambda entry: entry["loss"])


def test_all_processes_agree_that_a_checkpoint_has_no_place(trial):
    (trial.folder / "no-place").mkdir()
    (trial.folder / "no-place" / "checkpoints").write_text("mine")
    ended = trial.run("no-place", processes=2)
    assert ended.status == [1, 1], ended.said
    assert ended.said.count("warning: The checkpoint of step 3 could not be written (") == 1
    assert ended.said.count("error: The checkpoint of step 12 could not be written (") == 2
    assert (trial.folder / "no-place" / "checkpoints").read_text() == "mine"


def test_what_must_be_saved_and_cannot_be_is_an_error_that_leaves_the_older_checkpoint(trial):
    ended = trial.run("no-room", events={4: ("fill_disk",), 5: ("send", int(signal.SIGTERM))})
    assert ended.status == [1]
    assert "error: The checkpoint of step 6 could not be written (" in ended.said
    assert "make room and --resume from the last one." in ended.said
    assert "Traceback" not in ended.said
    assert trial.checkpoints("no-room") == [3]
    assert trial.run("no-room", "--resume").status == [0]
    assert_equal(trial.folder / "no-room", trial.whole("corpus"))


def test_a_model_folder_that_found_no_room_is_written_by_resume(trial):
    ended = trial.run("no-model", events={"finish": ("fill_disk",)})
    assert ended.status == [1]
    assert "error: The model folder could not be written (" in ended.said
    assert "Traceback" not in ended.said
    assert not (trial.folder / "no-model" / "model").exists()
    assert trial.run("no-model", "--resume").status == [0]
    assert_equal(trial.folder / "no-model", trial.whole("corpus"))


# Numbers that are not finite


def test_a_step_with_a_loss_that_is_not_finite_is_skipped_and_its_clips_are_named(trial):
    ended = trial.run("skipping", events={4: ("spoil_loss",)})
    assert ended.status == [0]
    skipped = record(trial.folder / "skipping")["skipped"]
    assert [(step["step"], len(set(step["clips"]))) for step in skipped] == [(5, 8)]
    assert (
        f"warning: Step 5 was skipped: its loss or gradient is not finite (clips {skipped[0]['clips'][0]}" in ended.said
    )
    steps = [entry["step"] for entry in record(trial.folder / "skipping")["losses"]]
    assert steps == [step for step in range(1, STEPS + 1) if step != 5]


def test_a_run_that_diverges_stops_with_a_checkpoint_and_names_the_clips_of_all_processes(trial):
    settings = ["--learning-rate", 1e30, "--warmup", 0, "--skip-limit", 2]
    ended = trial.run("diverging", *settings, processes=2)
    assert ended.status == [1, 1], ended.said
    assert [f"warning: Step {step} was skipped" in ended.said for step in (1, 2, 3, 4)] == [False, True, True, True]
    assert "error: Stopped after step 4 of 12, saved: 3 steps had a loss or gradient that is not finite" in ended.said
    assert trial.checkpoints("diverging") == [3, 4]
    checkpoint = trial.folder / "diverging" / "checkpoints" / "step-000000004"
    skipped = json.loads((checkpoint / "progress.json").read_text())["skipped"]
    assert [len(set(step["clips"])) for step in skipped] == [8, 8, 8]
    assert all(weights.isfinite().all() for weights in load_file(checkpoint / "model.safetensors").values())


def test_a_run_that_diverges_at_its_end_is_finished_only_when_that_is_asked_for(trial):
    settings = ["--learning-rate", 1e30, "--warmup", 0, "--steps", 4]
    for more in ([], ["--resume"]):
        ended = trial.run("diverged", *settings, *more, "--skip-limit", 2)
        assert ended.status == [1]
        assert "error: Stopped after step 4 of 4, saved: 3 steps had a loss or gradient that is not" in ended.said
        assert not (trial.folder / "diverged" / "model").exists()
    ended = trial.run("diverged", *settings, "--resume", "--skip-limit", 3)
    assert ended.status == [0], ended.said
    assert len(record(trial.folder / "diverged")["skipped"]) == 3


def test_weights_that_are_not_finite_are_not_saved(trial):
    ended = trial.run("broken", events={4: ("spoil_weights",)})
    assert ended.status == [1]
    assert last_line(ended.said).startswith("error: The weights are not finite after step 5: start another run with a")
    assert trial.checkpoints("broken") == [3]


# Refused


def last_line(said):
    return said.strip().splitlines()[-1]


def test_a_misspelt_key_is_refused_before_anything_is_written(trial):
    (trial.folder / "misspelt.yaml").write_text("lerning_rate: 1.0e-4\n")
    ended = trial.run("misspelt", "--recipe", "misspelt.yaml")
    assert ended.status == [1]
    assert last_line(ended.said) == "error: misspelt.yaml: there is no setting 'lerning_rate', but 'learning_rate'."
    assert not (trial.folder / "misspelt").exists()


def test_a_corpus_of_another_rate_is_refused(trial):
    ended = trial.run("rate", "--sampling-rate", 1024)
    assert ended.status == [1]
    assert last_line(ended.said) == (
        "error: The clips have 2048 Hz and this run expects 1024 (--sampling-rate): build the corpus at this rate."
    )


def test_an_output_that_cannot_be_written_is_refused(trial):
    (trial.folder / "file").write_text("mine")
    ended = trial.run("file/run")
    assert ended.status == [1]
    assert last_line(ended.said) == "error: Cannot write to file/run (Not a directory): choose another --out."
    assert (trial.folder / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "source", "message"),
    [
        ([], "corpus", "holds a run that has not ended: add --resume to go on, or choose another --out."),
        (
            ["--resume", "--learning-rate", 0.5],
            "corpus",
            "was started with other settings: learning_rate 0.5 (then 0.001); give the same.",
        ),
        (["--resume"], "other", "give the same."),
    ],
)
def test_the_folder_of_another_run_is_left_as_it_is(trial, arguments, source, message):
    if not (trial.folder / "begun").exists():
        assert trial.run("begun", events={1: ("send", int(signal.SIGTERM))}).status == [0]
    before = {path: path.read_bytes() for path in (trial.folder / "begun").rglob("*") if path.is_file()}
    ended = trial.run("begun", *arguments, source=source)
    assert ended.status == [1]
    assert last_line(ended.said).startswith("error: ")
    assert last_line(ended.said).endswith(message)
    assert {path: path.read_bytes() for path in (trial.folder / "begun").rglob("*") if path.is_file()} == before


def test_a_stream_is_resumed_only_as_it_was_shared_out(trial):
    assert trial.run("streamed", source="shards", events={1: ("send", int(signal.SIGTERM))}).status == [0]
    ended = trial.run("streamed", "--resume", "--micro-batch", 4, source="shards")
    assert ended.status == [1]
    assert last_line(ended.said) == (
        "error: The run in streamed was started with 1 × 8 clips (processes × batch), and this is 1 × 4 clips "
        "(processes × batch): give the same."
    )


def test_a_folder_has_one_run_at_a_time(trial):
    with only_writer(trial.folder / "busy"):
        ended = trial.run("busy", "--resume")
    assert ended.status == [1]
    assert last_line(ended.said).startswith("error: Another process is writing to busy: wait for it")


@pytest.mark.parametrize("source", ["corpus", "shards"])
def test_a_shard_that_is_cut_off_is_named(trial, source, tmp_path):
    shard = next((trial.folder / source).rglob("*.arrow" if source == "corpus" else "train-*.parquet"))
    content = shard.read_bytes()
    shard.write_bytes(content[: len(content) // 2])
    try:
        ended = trial.run("cut-off", source=source)
    finally:
        shard.write_bytes(content)
    assert ended.status == [1]
    assert last_line(ended.said).startswith("error: ")
    assert shard.name in last_line(ended.said)


def test_a_shard_that_is_damaged_during_the_run_is_named_and_mended_the_run_goes_on(trial):
    shard = trial.folder / "shards" / "data" / "train-00001-of-00003.parquet"
    content = shard.read_bytes()
    try:
        ended = trial.run("damaged", source="shards", events={6: ("damage", str(shard))})  # two steps before epoch 2
    finally:
        shard.write_bytes(content)
    assert ended.status == [1]
    assert "error: The shard train-00001-of-00003.parquet of shards cannot be read (" in ended.said
    assert "Traceback" not in ended.said
    assert last_line(ended.said).endswith("Saved after step 8; --resume goes on.")
    assert trial.checkpoints("damaged") == [6, 8]
    assert trial.run("damaged", "--resume", source="shards").status == [0]
    assert_equal(trial.folder / "damaged", trial.whole("shards"))


@pytest.mark.parametrize("settings", [["--batch-size", 36], ["--batch-size", 36, "--micro-batch", 4]])
def test_a_batch_larger_than_the_training_clips_is_refused(trial, settings):
    ended = trial.run("large", *settings)
    assert ended.status == [1]
    assert "training clips do not fill one batch of 36" in last_line(ended.said)


# What a run says and leaves


def test_a_dry_run_says_what_a_run_would_take_and_leaves_nothing(trial):
    ended = trial.run("dry", "--dry-run", "--batch-size", 32)  # an epoch is one step
    assert ended.status == [0], ended.said
    parameters = sum(
        weights.numel() for weights in load_file(trial.whole("corpus") / "model/model.safetensors").values()
    )
    for line in (
        f"tiny preset: {parameters:,} parameters",
        "clips: 34 to learn from, 12 held out",
        "steps: 12 of 32 clips, 12.0 epochs, on 1 processes, 1 batches of 32 each",
    ):
        assert line in ended.said
    assert not (trial.folder / "dry").exists()


def test_the_best_weights_are_those_of_the_least_held_out_loss(trial):
    found = record(trial.whole("corpus"))
    losses = {entry["step"]: entry["loss"] for entry in found["curve"]}
    assert list(losses) == [5, 10, 12]
    assert found["best"]["step"] == min(losses, key=losses.get)
    assert math.isfinite(found["best"]["loss"])
    assert isinstance(BrainBertForPreTraining.from_pretrained(trial.whole("corpus") / "model"), torch.nn.Module)
