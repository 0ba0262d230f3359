"""Which models the paper's table needs, and how they come about: corpora of Brain Treebank, and pretraining runs."""

import argparse
import shlex
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from brainbert.processing.atomic import only_writer, remove_parts
from brainbert.processing.corpora import build_corpus
from brainbert.processing.corpora.brain_treebank import Session, open_session
from brainbert.processing.recordings import Recording, RecordingStream, condition_stream
from brainbert.processing.recordings.kept import keep_recording

EXAMPLES = Path(__file__).parent
CLIP_S = 5.0
SAMPLING_RATE = 2048.0  # Hz, of the models
# As build_corpus.py says it, so that programs can compare.
CONDITIONING = {
    "line_frequency": 60,
    "notch": "causal-notch",
    "reference": "laplacian",
    "ends": "drop",
    "grid_edges": "all",
}
WITHOUT = "stft-without-"  # and a subject


class Variant(NamedTuple):
    """A pretraining run: how it is called, its recipe, and the flags that are not as the recipe has them."""

    label: str
    recipe: str
    flags: tuple[str, ...] = ()

    @property
    def transform(self) -> str:
        return "superlet" if "superlet" in self.recipe else "stft"


VARIANTS = {
    "stft": Variant("STFT, static masks, content-aware loss", "paper-stft-large.yaml"),
    "stft-no-content": Variant("STFT, no content-aware loss", "paper-stft-large.yaml", ("--content-weight", "0")),
    "superlet": Variant("Superlets, adaptive masks, content-aware loss", "paper-superlet-large.yaml"),
    "superlet-static": Variant("Superlets, static masks", "paper-superlet-large.yaml", ("--masks", "static")),
}
# What is asked → pairs of (changed, as it is). The paper's superlets have masks of their own: once with, once without.
ABLATIONS = {
    "content": (("stft-no-content", "stft"),),
    "superlets": (("superlet-static", "stft"), ("superlet", "stft")),
    "masks": (("superlet-static", "superlet"),),
}


def variant(name: str) -> Variant:
    """Return a variant by its name; stft-without-3 is the first, pretrained without subject 3.

    Raises ValueError for a name that is none.
    """
    if name in VARIANTS:
        return VARIANTS[name]
    subject = name.removeprefix(WITHOUT)
    if subject == name or not subject.isdigit():
        raise ValueError(f"There is no model {name!r}: name {', '.join(VARIANTS)} or {WITHOUT}N, of subject N.")
    return VARIANTS["stft"]._replace(label=f"STFT, pretrained without subject {subject}")


def models_of(args: argparse.Namespace) -> list[str]:
    """Return the models that are compared, the main one first."""
    if args.model:
        return sorted(args.model, key=lambda name: [*VARIANTS, name].index(name))
    wanted = ["stft"]
    asked = {each for name in args.ablations for pair in ABLATIONS[name] for each in pair}
    wanted += [name for name in VARIANTS if name in asked and name not in wanted]
    return wanted + [f"{WITHOUT}{subject}" for subject in args.hold_out]


def pairs_of(args: argparse.Namespace, subject: int) -> list[tuple[str, str]]:
    """Return (changed, as it is) of the models that are compared on a subject."""
    pairs = [*(pair for pairs in ABLATIONS.values() for pair in pairs), (f"{WITHOUT}{subject}", "stft")]
    return [pair for pair in pairs if set(pair) <= set(models_of(args))]


def model_folder(args: argparse.Namespace, name: str) -> Path:
    return args.model[name] if args.model else args.out / "pretraining" / name / "model"


def conditioned(args: argparse.Namespace, session: Session) -> RecordingStream:
    """Open a session and condition it as the paper did."""
    stream = open_session(args.root, *session)
    return condition_stream(stream, line_frequency_hz=CONDITIONING["line_frequency"], sampling_rate=SAMPLING_RATE)


def session_id(session: Session) -> str:
    return f"btbank{session[0]}_{session[1]}"


def corpus_folder(args: argparse.Namespace, subject: int) -> Path:
    return args.out / "corpus" / f"sub_{subject}"


def build_corpora(args: argparse.Namespace, sessions: list[Session]) -> None:
    """Build one corpus for each subject, so that pretraining can do without one of them."""
    for subject in sorted({subject for subject, _ in sessions}):
        folder = corpus_folder(args, subject)
        if (folder / "state.json").exists():
            continue
        print(f"── corpus: subject {subject}", flush=True)
        own = [session for session in sessions if session[0] == subject]
        scratch = args.out / "corpus" / "scratch"
        with only_writer(scratch):
            remove_parts(scratch)
            build_corpus(
                {session_id(session): partial(_whole_session, args, session, scratch) for session in own},
                folder,
                clip_s=CLIP_S,
                sampling_rate=SAMPLING_RATE,
                storage=args.storage,
                conditioning=CONDITIONING,
            )
        shutil.rmtree(scratch)


def _whole_session(args: argparse.Namespace, session: Session, scratch: Path) -> Recording:
    """Return a conditioned session whose samples lie on disk: clips are cut contact by contact, conditioned by time."""
    for before in scratch.glob("btbank*"):
        shutil.rmtree(before)  # its clips are written
    return keep_recording(conditioned(args, session), scratch / session_id(session))


def pretrain(args: argparse.Namespace, name: str, sessions: list[Session]) -> None:
    """Train a model, or go on with one that was stopped, by calling pretrain.py.

    Raises ValueError when it ends with an error, KeyboardInterrupt when it was stopped.
    """
    folder = args.out / "pretraining" / name
    if (folder / "model").exists():
        return
    print(f"── pretraining: {name}", flush=True)
    corpora = [corpus_folder(args, subject) for subject in subjects_of(name, sessions)]
    launch = shlex.split(args.launch) if args.launch else [sys.executable]
    words = [*launch, EXAMPLES / "pretrain.py", *corpora, "--out", folder, "--resume", *settings_of(args, name)]
    status = _call([str(word) for word in words])
    if status:
        raise ValueError(f"Pretraining of {name} ended with status {status}, see above: the same command goes on.")
    if not (folder / "model").exists():
        raise KeyboardInterrupt  # it was told to stop, and has saved


def subjects_of(name: str, sessions: list[Session]) -> list[int]:
    """Return whose sessions a model is pretrained on; raises ValueError where nobody is left."""
    found = sorted({subject for subject, _ in sessions if name != f"{WITHOUT}{subject}"})
    if not found:
        raise ValueError(f"There is nothing to pretrain {name} on: leave it out, or name more sessions.")
    return found


def settings_of(args: argparse.Namespace, name: str) -> list[Any]:
    """Return the flags of pretrain.py that decide what is learnt."""
    how, every = variant(name), max(1, min(1000, args.steps // 10))
    flags = ["--recipe", EXAMPLES / "recipes" / how.recipe, *how.flags]
    flags += ["--preset", args.preset, "--steps", args.steps, "--batch-size", args.batch_size, "--seed", args.seed]
    flags += ["--mixed-precision", args.mixed_precision, "--validate-every", every, "--checkpoint-every", every]
    return flags + (["--micro-batch", args.micro_batch] if args.micro_batch else [])


def _call(words: list[str]) -> int:
    """Run a program that saves when it is told to stop, and wait until it has."""
    with subprocess.Popen(words) as process:
        before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        try:
            return process.wait()
        except KeyboardInterrupt:  # Ctrl-C has reached it, too
            process.wait()
            raise
        finally:
            signal.signal(signal.SIGTERM, before)
