"""The programs, run one after the other on a generated recording, from a directory that is not the repository."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import mne
import numpy as np
import pyarrow.parquet as pq
import pytest

from brainbert.processing.corpora import load_corpus

EXAMPLES = Path(__file__).parents[2] / "examples"

SHORT_TRAINING = [
    "--steps",
    4,
    "--batch-size",
    4,
    "--validate-every",
    2,
    "--embargo-s",
    2,
    "--normalization",
    "recording",
]


def run(program, *arguments, cwd):
    command = [sys.executable, str(EXAMPLES / program), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def succeed(program, *arguments, cwd):
    result = run(program, *arguments, cwd=cwd)
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def launch(*arguments, cwd, **how):
    """Start pretrain.py in two processes."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    program = [str(EXAMPLES / "pretrain.py"), "corpus", *map(str, arguments)]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "1"}
    return subprocess.Popen([*launcher, *program], cwd=cwd, stderr=subprocess.DEVNULL, env=environment, **how)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with recording.edf, the corpus, the run and the embeddings made from it."""
    folder = tmp_path_factory.mktemp("programs")
    rng = np.random.default_rng(0)
    volts = 4e-7 * rng.standard_normal((4, 70 * 512)).cumsum(1)
    info = mne.create_info(["LA1", "LA2", "LA3", "LA4"], 512.0, "seeg")
    raw = mne.io.RawArray(volts - volts.mean(1, keepdims=True), info, verbose="ERROR")
    mne.export.export_raw(folder / "recording.edf", raw, physical_range="channelwise", verbose="ERROR")
    conditioning = ["--line-frequency", 50]
    succeed("build_corpus.py", "recording.edf", "--out", "corpus", "--clip-s", 2, *conditioning, cwd=folder)
    (folder / "said.txt").write_text(succeed("pretrain.py", "corpus", "--out", "run", *SHORT_TRAINING, cwd=folder))
    succeed(
        "embed.py", "recording.edf", "--model", "run/model", "--out", "embeddings.parquet", "--window-s", 2,
        *conditioning, cwd=folder,
    )  # fmt: skip
    return folder


pytestmark = pytest.mark.slow


def test_the_model_folder_is_complete(folder):
    assert {path.name for path in (folder / "run" / "model").iterdir()} == {
        "config.json",
        "configuration_brainbert.py",
        "feature_extraction_brainbert.py",
        "learning_curve.png",
        "model.safetensors",
        "modeling_brainbert.py",
        "pipeline_brainbert.py",
        "preprocessor_config.json",
        "spectrogram_brainbert.py",
        "superlet_brainbert.py",
        "training_record.json",
        "wavelets_brainbert.py",
    }


def test_the_training_record_names_corpus_curve_and_versions_and_no_path(folder):
    text = (folder / "run" / "model" / "training_record.json").read_text()
    record = json.loads(text)
    corpus, build = (json.loads((folder / "corpus" / name).read_text()) for name in ("corpus.json", "build.json"))
    assert record["corpora"] == [corpus | {"conditioning": build["conditioning"]}]
    assert [point["step"] for point in record["curve"]] == [2, 4]
    assert (record["steps"], record["processes"], record["skipped"]) == (4, 1, [])
    assert {"brainbert", "torch", "transformers", "accelerate", "datasets"} == set(record["versions"])
    assert record["clips"] == {"train": 60, "held out": 6}
    assert str(folder) not in text


def test_the_report_shows_both_errors_beside_both_baselines(folder):
    said = (folder / "said.txt").read_text()
    best = json.loads((folder / "run" / "model" / "training_record.json").read_text())["best"]
    for who in ("model", "mean", "interpolation"):
        assert f"{who:15}{best[f'{who} l1']:10.3f}{best[f'{who} content']:10.3f}" in said


def test_there_is_a_tensorboard_log(folder):
    assert list((folder / "run").rglob("events.out.tfevents.*"))


def test_embeddings_have_one_row_per_window_and_contact(folder):
    table = pq.read_table(folder / "embeddings.parquet")
    assert table["contact"].to_pylist() == ["LA2", "LA3"] * 35
    assert np.isfinite(np.array(table["embedding"].to_pylist())).all()


def test_the_same_seed_trains_the_same_weights(folder):
    succeed("pretrain.py", "corpus", "--out", "again", *SHORT_TRAINING, cwd=folder)
    first, second = (folder / name / "model" / "model.safetensors" for name in ("run", "again"))
    assert first.read_bytes() == second.read_bytes()


def test_two_processes_train_and_measure_what_one_does(folder):
    # Two processes share the batch of one: the same cells, masks and held-out clips.
    settings = ["--steps", 1, "--batch-size", 34, "--validate-every", 1, "--embargo-s", 2, "--normalization", "corpus"]
    settings += ["--log-every", 1]
    succeed("pretrain.py", "corpus", "--out", "one", *settings, cwd=folder)
    process = launch("--out", "two", *settings, cwd=folder)
    try:
        process.wait(timeout=120)
    except subprocess.TimeoutExpired:
        # Gloo has been seen to hang while processes are torn down, after everything is saved: that is what is compared.
        process.terminate()
        process.wait()
    one, two = (json.loads((folder / name / "model" / "training_record.json").read_text()) for name in ("one", "two"))
    assert (one["processes"], two["processes"]) == (1, 2)
    for entries in ("losses", "curve"):  # of the step: loss, its parts, and the norm of the gradient
        for name, value in one[entries][0].items():
            if name != "minutes":
                assert two[entries][0][name] == pytest.approx(value, rel=1e-4), name


def test_a_launcher_that_is_told_to_end_lets_both_processes_save(folder):
    settings = ["--steps", 100_000, "--checkpoint-every", 1, "--validate-every", 100_000, "--embargo-s", 2]
    process = launch("--out", "stopped", *settings, cwd=folder, stdout=subprocess.PIPE)
    try:
        while process.poll() is None and not list((folder / "stopped").glob("checkpoints/step-*")):
            time.sleep(0.1)
        process.terminate()
        said, _ = process.communicate(timeout=120)
    finally:
        process.kill()
    saved = max(int(path.name[5:]) for path in (folder / "stopped" / "checkpoints").iterdir())
    assert f"Stopped after step {saved:,} of 100,000, saved: the same command with --resume goes on." in said.decode()


def test_two_processes_embed_byte_for_byte_what_one_does(folder):
    # Windows every quarter of a second: 273 of each contact, in blocks of 240 and 33.
    arguments = ["--model", "run/model", "--window-s", "2", "--stride-s", "0.25", "--line-frequency", "50"]
    succeed("embed.py", "recording.edf", "--out", "one.parquet", *arguments, "--device", "cpu", cwd=folder)
    program = [str(EXAMPLES / "embed.py"), "recording.edf", "--out", "two.parquet", *arguments, "--device", "cpu"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    process = subprocess.Popen([*launcher, *program], cwd=folder, stderr=subprocess.DEVNULL)
    try:
        process.wait(timeout=120)
    except subprocess.TimeoutExpired:  # as above
        process.terminate()
        process.wait()
    assert (folder / "two.parquet").read_bytes() == (folder / "one.parquet").read_bytes()
    assert not (folder / "two.parquet.parts").exists()


def test_all_frames_of_a_layer_are_embedded_when_asked_for(folder):
    arguments = ["--model", "run/model", "--window-s", 2, "--line-frequency", 50, "--pooling", "frames", "--layer", 1]
    succeed("embed.py", "recording.edf", "--out", "frames.parquet", *arguments, cwd=folder)
    embedding = pq.read_table(folder / "frames.parquet")["embedding"].to_pylist()
    assert np.shape(embedding)[:2] == (70, 63)  # 4096 samples: 83 frames, 10 trimmed at each end


def test_a_picture_is_drawn(folder):
    arguments = ["--model", "run/model", "--statistics", "run", "--out", "clip.png"]
    succeed("plot_reconstruction.py", "corpus", *arguments, cwd=folder)
    assert (folder / "clip.png").read_bytes().startswith(b"\x89PNG")


def test_a_trained_model_is_not_overwritten(folder):
    result = run("pretrain.py", "corpus", "--out", "run", cwd=folder)
    assert result.returncode == 1
    assert (
        result.stderr.strip().splitlines()[-1]
        == "error: run/model exists: choose another --out, so that no trained model is lost."
    )


def test_a_batch_larger_than_the_corpus_is_refused(folder):
    result = run("pretrain.py", "corpus", "--out", "large", "--batch-size", 64, "--embargo-s", 2, cwd=folder)
    assert result.stderr.strip().splitlines()[-1] == (
        "error: 60 training clips do not fill one batch of 64 on each of 1 processes: use a smaller --batch-size, or "
        "more data."
    )
    assert not (folder / "large" / "model").exists()


def test_a_manifest_names_recordings_and_people(folder):
    (folder / "recordings.tsv").write_text("path\tsubject\tsession\nrecording.edf\tP1\t\n")
    arguments = ["--out", "listed", "--clip-s", 2, "--line-frequency", 50]
    succeed("build_corpus.py", "--manifest", "recordings.tsv", *arguments, cwd=folder)
    assert set(load_corpus(folder / "listed")["subject"][:]) == {"P1"}
    (folder / "wrong.tsv").write_text("file,subject\nrecording.edf,P1\n")
    result = run("build_corpus.py", "--manifest", "wrong.tsv", *arguments, cwd=folder)
    assert result.stderr.strip().splitlines()[-1].startswith("error: wrong.tsv has the columns file,subject: give path")


def test_embeddings_are_not_overwritten(folder):
    arguments = ["--model", "run/model", "--out", "embeddings.parquet", "--line-frequency", 50]
    result = run("embed.py", "recording.edf", *arguments, cwd=folder)
    assert result.stderr.strip().splitlines()[-1].startswith("error: embeddings.parquet exists: choose another --out")


def test_another_conditioning_than_the_model_was_trained_with_is_warned_about(folder):
    arguments = ["--model", "run/model", "--out", "other.parquet", "--window-s", 2, "--reference", "bipolar"]
    result = run("embed.py", "recording.edf", *arguments, "--line-frequency", 50, cwd=folder)
    assert "warning: The recording is conditioned in another way than the model was trained on" in result.stderr
    assert "reference bipolar (trained with laplacian)" in result.stderr


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("run", "run holds no config.json and is no model folder (there is one inside it: model)"),
        ("./nothing", "There is no folder ./nothing: give a folder such as run/model"),
    ],
)
def test_a_path_that_is_no_model_is_refused_in_our_words(folder, model, message):
    result = run(
        "embed.py", "recording.edf", "--model", model, "--out", "x.parquet", "--line-frequency", 50, cwd=folder
    )
    assert message in result.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("program", ["build_corpus.py", "pretrain.py", "embed.py", "plot_reconstruction.py", "demo.py"])
def test_help_is_given(program, tmp_path):
    assert "usage:" in succeed(program, "--help", cwd=tmp_path)
