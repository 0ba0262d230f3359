"""The whole way on a real recording: read, condition, build a corpus, pretrain, load, embed, draw, report.

    make demo

The recording is the iEEG-BIDS data set in the PyPI package py_neuromodulation: 19 s of six ECoG strip and three
subthalamic contacts. It shows that everything works; a useful model needs hours from many people.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq

from brainbert.processing.program import HelpFormatter
from brainbert.processing.program import run as run_program

EXAMPLES = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=HelpFormatter)
    parser.add_argument("data", type=Path, help="root of the BIDS data set")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for the results; a new one is made")
    parser.add_argument("--steps", type=int, default=500, help="of pretraining; about 40 seconds on two cores")
    args = parser.parse_args()
    out, data = unused(args.out.resolve()), args.data.resolve()
    out.mkdir(parents=True)
    corpus, model = out / "corpus", out / "model"
    # Its header says µV where the numbers are a million times larger, and its line noise has been removed already.
    recording = [data, "--subject", "testsub", "--unit", "pV", "--line-frequency", 0, "--ends", "one-sided"]
    # The recording ends after 19 s, so clips are short and overlap; the held-out ones lie after the others in time.
    clips = ["--clip-s", 2, "--stride-s", 0.5]
    recipe = ["--recipe", EXAMPLES / "recipes" / "demo.yaml"]
    windows = ["--window-s", 2, "--stride-s", 0.5]
    run("Read, condition, cut", "build_corpus.py", *recording, *clips, "--out", corpus)
    run("Pretrain", "pretrain.py", corpus, *recipe, "--steps", args.steps, "--out", out, launch=True)
    run("Load and embed", "embed.py", *recording, *windows, "--model", model, "--out", out / "embeddings.parquet")
    run("Draw", "plot_reconstruction.py", corpus, "--clip", -5, "--model", model, "--out", out / "reconstruction.png")
    print(report(out))


def run(title: str, program: str, *arguments: object, launch: bool = False) -> None:
    """Run one of the programs beside this one: a fresh process, in a directory that has nothing to do with either."""
    launcher = ["-m", "accelerate.commands.launch", "--num_processes", "1"] if launch else []
    words = [sys.executable, *launcher, str(EXAMPLES / program), *map(str, arguments)]
    shown = "accelerate launch" if launch else "python"
    print(f"\n── {title}\n$ {shown} examples/{program} {shlex.join(map(str, arguments))}", flush=True)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as elsewhere:
        result = subprocess.run(words, cwd=elsewhere, check=False)
    if result.returncode:
        raise SystemExit(f"The demo stopped: {program} ended with status {result.returncode}.")
    print(f"   {time.perf_counter() - started:.0f} s", flush=True)


def report(out: Path) -> str:
    """Return what was done, with the held-out error beside its baselines."""
    record = json.loads((out / "model" / "training_record.json").read_text())
    best, clips = record["best"], record["clips"]
    table = pq.read_table(out / "embeddings.parquet", columns=["contact", "problem"])
    contacts, flagged = set(table["contact"].to_pylist()), sum(bool(text) for text in table["problem"].to_pylist())
    lines = [
        "",
        "── Report: a working run, not a useful model",
        f"corpus       {clips['train']} clips to learn from, {clips['held out']} held out, of {len(contacts)} contacts",
        f"pretraining  {record['steps']} steps in {record['minutes']:.1f} minutes, {record['parameters']:,} parameters",
        f"embeddings   {table.num_rows} windows, {flagged} of them flagged as a problem",
        "",
        "Masked error on the held-out clips (mean absolute error, z units)",
        f"{'':15}{'all cells':>10}{'content-aware':>15}",
        *(
            f"{who:15}{best[f'{who} l1']:10.3f}{best[f'{who} content']:15.3f}"
            for who in ("model", "mean", "interpolation")
        ),
        "",
        *(f"{path.name:20} {path}" for path in (out / "reconstruction.png", out / "embeddings.parquet", out / "model")),
    ]
    return "\n".join(lines)


def unused(folder: Path) -> Path:
    """Return `folder`, or the first of folder-2, folder-3, … that does not exist."""
    candidate, number = folder, 1
    while candidate.exists():
        number += 1
        candidate = folder.with_name(f"{folder.name}-{number}")
    return candidate


if __name__ == "__main__":
    run_program(main)
