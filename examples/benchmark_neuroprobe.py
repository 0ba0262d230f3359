"""Measure Neuroprobe with features computed once a session beside computing them task by task, in one run.

    python examples/benchmark_neuroprobe.py ROOT --session 4_0 --model spectrogram
    python examples/benchmark_neuroprobe.py ROOT --session 4_0 --model untrained --preset tiny --features mean

Once a session: what neuroprobe.py does, in full: the features of all windows of the 15 tasks, written to a cache, and
then read from it for the training and test windows of every task and fold. Task by task is what the package's example
does: for every task and fold every window by itself, all contacts, from a session that is loaded into memory once a
split, re-referenced and transformed. That is measured on some windows, drawn from all, before and after the first way,
and multiplied. Seconds are the processor's, of all threads, which other programs disturb least.
Heads are the same in both and are not counted. Windows of the other splits are counted as if sessions were alike. Peak
memory is that of the process without what it maps of the cache, which the system takes back when it needs it.
"""

import argparse
import re
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch
from neuroprobe_systems import make_systems, row_of, session_of
from numpy.typing import NDArray

from brainbert.modeling_brainbert import PRESETS
from brainbert.processing.corpora.brain_treebank import Session, open_session
from brainbert.processing.decoding.frame_features import magnitudes
from brainbert.processing.decoding.neuroprobe_run import Evaluation, Settings, System
from brainbert.processing.decoding.neuroprobe_signal import choose_contacts
from brainbert.processing.decoding.neuroprobe_windows import SPLITS, Neuroprobe, ProbeFold, session_name
from brainbert.processing.decoding.population import flattened, same_contacts
from brainbert.processing.program import HelpFormatter, run
from brainbert.processing.recordings import RecordingStream


def main() -> None:
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    benchmark = Neuroprobe(args.root, nano=args.nano)
    system = system_of(args)
    settings = Settings(normalization="clip", variant="no_boundary", features=args.features or "mean")
    folds = {split: folds_of(benchmark, split, args.session) for split in args.splits}
    windows = {
        split: sum(len(fold.train.start) + len(fold.test.start) for fold in found) for split, found in folds.items()
    }
    within = folds_of(benchmark, "Within-Session", args.session)  # whose windows are drawn from
    drawn = np.random.default_rng(0).permutation(np.concatenate([fold.test.start for fold in within]))
    first, second = drawn[: args.windows], drawn[args.windows : 2 * args.windows]
    with tempfile.TemporaryDirectory(dir=args.cache) as folder:
        evaluation = Evaluation(
            benchmark, system, settings, out=Path(folder), cache=Path(folder), tasks=list(benchmark.tasks)
        )
        begun = time.process_time()
        recording = loaded(evaluation, args.session)
        load_s = time.process_time() - begun
        one_by_one = [seconds_a_window(evaluation, recording, first)]
        del recording
        with Memory() as memory:
            once = Once(evaluation, args.session, within)
        recording = loaded(evaluation, args.session)
        one_by_one.append(seconds_a_window(evaluation, recording, second))
    window_s = float(np.mean(one_by_one))
    print(
        f"{session_name(args.session)}, {recording.duration_s / 3600:.2f} h, {len(recording.contacts)} contacts, "
        f"{system.name}: {once.windows} windows in 15 tasks"
    )
    print(
        f"once a session: features {once.features_s:.1f} s ({once.wall_s:.1f} by the clock); "
        f"from the cache {once.again_s:.2f} s; read for 15 tasks "
        f"{once.read_s:.1f} s, {once.read_s / len(benchmark.tasks):.2f} s a task; "
        f"memory {memory.before:.2f} GiB before, {memory.peak:.2f} at most"
    )
    both = ", ".join(f"{1e3 * each:.1f}" for each in one_by_one)
    print(f"task by task: loading {load_s:.1f} s; {1e3 * window_s:.1f} ms a window ({both})")
    total, count = 0.0, 0
    for split, number in windows.items():
        each, alone = load_s + number * window_s, once.features_s + once.read_s
        total, count = total + each, count + 1
        print(f"{split}: {number} windows, {each:.0f} s against {alone:.0f} s: {each / alone:.1f}×")
    together = once.features_s + count * once.read_s
    print(f"{count} splits: {total:.0f} s against {together:.0f} s: {total / together:.1f}×")


class Once:
    """What the features of a session cost that are computed once: seconds, and how many windows there are."""

    def __init__(self, evaluation: Evaluation, session: Session, folds: list[ProbeFold]) -> None:
        self.windows = len(evaluation.benchmark.every_window(session, evaluation.tasks).start)
        begun, wall = time.process_time(), time.perf_counter()
        evaluation.features(session)
        self.features_s, self.wall_s = time.process_time() - begun, time.perf_counter() - wall
        another = Evaluation(
            evaluation.benchmark,
            evaluation.system,
            evaluation.settings,
            out=evaluation.cache,
            cache=evaluation.cache,
            tasks=evaluation.tasks,
        )
        begun = time.perf_counter()
        found = another.features(session)
        self.again_s = time.perf_counter() - begun
        groups = same_contacts(found, found)
        begun = time.process_time()
        for fold in folds:
            for _ in flattened((found, found.rows(fold.train.start)), (found, found.rows(fold.test.start)), groups):
                pass
        self.read_s = time.process_time() - begun


class Memory:
    """How much memory the process has of its own, in GiB: when it began, and at most, looked at ten times a second."""

    def __enter__(self) -> "Memory":
        self.before = self.peak = self._now()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.1):
            self.peak = max(self.peak, self._now())

    def _now(self) -> float:
        status = Path("/proc/self/status")  # of Linux
        found = re.search(r"RssAnon:\s+(\d+) kB", status.read_text()) if status.exists() else None
        return int(found[1]) / 2**20 if found else float("nan")


def loaded(evaluation: Evaluation, session: Session) -> RecordingStream:
    """Return the voltage as the example has it: in memory, referenced whenever a window is read."""
    contacts = evaluation.benchmark.contacts(session)
    memory = choose_contacts(open_session(evaluation.benchmark.root, *session), contacts).load()
    laplacian = evaluation.reference == "laplacian"
    return choose_contacts(memory.with_source(memory.read), contacts, laplacian=laplacian)


def seconds_a_window(evaluation: Evaluation, recording: RecordingStream, starts: NDArray[np.int64]) -> float:
    """Return what a window of all contacts takes by itself."""
    model, extractor = evaluation.system.model, evaluation.extractor
    begun = time.process_time()
    with torch.inference_mode():
        for start in starts.tolist():
            voltage = torch.from_numpy(recording.read(start, start + 2048))
            if evaluation.system.is_encoder:
                inputs = extractor(voltage, sampling_rate=2048, on_invalid="mask")["input_values"]
                hidden = model.embed(inputs, pooling="frames")
                hidden.mean(1) if evaluation.settings.features == "mean" else hidden.flatten(1)
            else:
                magnitudes(voltage, bins=38)
    return (time.process_time() - begun) / len(starts)


def system_of(args: argparse.Namespace) -> System:
    """Return what is measured; refuse what cannot be measured window by window, and flags that would do nothing."""
    model = row_of(args.model)[1]
    if model in ("band-power", "waveform"):
        raise ValueError(f"{model} is not measured here: choose a model folder, untrained or spectrogram.")
    if model == "spectrogram" and args.features:
        raise ValueError("--features is of encoders, and --model names spectrogram: leave it out.")
    (system,) = make_systems([args.model], preset=args.preset)
    return system


def folds_of(benchmark: Neuroprobe, split: str, session: Session) -> list[ProbeFold]:
    """Return the folds of all tasks."""
    return [fold for task in benchmark.tasks for fold in benchmark.folds(split, task, session)]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], formatter_class=HelpFormatter)
    parser.add_argument("root", type=Path, help="folder of Brain Treebank")
    parser.add_argument("--session", type=session_of, required=True, metavar="S_T", help="such as 4_0")
    parser.add_argument("--nano", action="store_true", help="Neuroprobe Nano instead of Lite")
    parser.add_argument(
        "--splits", nargs="+", choices=SPLITS, default=["Within-Session"], metavar="SPLIT", help="that are counted"
    )
    parser.add_argument("--model", required=True, metavar="ROW", help="a folder, NAME=FOLDER, untrained or spectrogram")
    parser.add_argument("--preset", choices=tuple(PRESETS), help="size of untrained")
    parser.add_argument("--features", choices=("frames", "mean"), help="of an encoder; mean if not given")
    parser.add_argument("--windows", type=int, default=100, help="that are measured one by one, before and after")
    parser.add_argument("--cache", type=Path, help="folder for a temporary cache")
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
