"""What is computed of each session and task for the paper's table: decoding, ablations, few labels, dimension.

State is files: what is written is not computed again.
"""

import argparse
import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from finetune import model_maker
from model_folder import check_model
from paper_models import CLIP_S, conditioned, model_folder, models_of, pairs_of, session_id
from transformers import AutoFeatureExtractor, AutoModel

import brainbert.modeling_brainbert  # noqa: F401 (registers BrainBERT with the Auto classes)
from brainbert.processing.atomic import remove_parts, written_whole
from brainbert.processing.corpora.brain_treebank import Session, regions
from brainbert.processing.corpora.brain_treebank_words import Words, read_words
from brainbert.processing.decoding import (
    CONTROLS,
    Encoder,
    Epochs,
    Plan,
    Recipe,
    Split,
    Task,
    blocked,
    contact_names,
    decode,
    encoder_inputs,
    finetuned_scores,
    make_epochs,
    make_task,
    paper,
)
from brainbert.processing.decoding.bootstrap import Scores, judge
from brainbert.processing.decoding.few_shot import MIN_PER_CLASS, few_shot
from brainbert.processing.decoding.out_of_fold import contact_features, fold_features, out_of_fold
from brainbert.processing.decoding.protocol import frozen_systems
from brainbert.processing.decoding.report import plain_json
from brainbert.processing.decoding.supplements import MOST_CONTACTS, dimension_by_region
from brainbert.processing.decoding.supplements import SEEDS as FEW_SHOT_SEEDS
from brainbert.processing.decoding.systems import embeddings
from brainbert.processing.decoding.word_labels import PAPER_TASKS, word_labels
from brainbert.processing.recordings import Recording, parse_contact
from brainbert.processing.recordings.kept import keep_recording, open_kept

WINDOW_S = CLIP_S  # about the onset of a word
PAPER_CONTROLS = tuple(name for name in CONTROLS if name != "spectrogram-time")
CURVE_CONTROLS = ("spectrogram", "band-power")  # in few-shot curves; the waveform's 2500 features take too many fits


@cache
def encoder_of(folder: Path, device: str) -> Encoder:
    check_model(str(folder))
    model = AutoModel.from_pretrained(folder).to(device)
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    return Encoder(model=model, extractor=extractor, pooling=model.config.pooling, layer=model.config.num_hidden_layers)


def session_recording(args: argparse.Namespace, session: Session) -> Recording:
    """Return the chosen contacts of a session, conditioned once and kept."""
    folder = args.out / "sessions" / session_id(session)
    if not folder.exists():
        stream = conditioned(args, session)
        remove_parts(folder.parent)
        return keep_recording(stream, folder, contacts=choose_contacts(stream.good, args.contacts, seed=args.seed))
    return open_kept(folder)


def choose_contacts(names: tuple[str, ...], most: int, *, seed: int) -> tuple[str, ...]:
    """Return at most so many contacts (0: all): one of each shaft in turn, in an order that the seed draws.

    Names decide, and nothing that was measured.
    """
    if not most or len(names) <= most:
        return names
    generator = np.random.default_rng(seed)
    shafts: dict[str, list[str]] = {}
    for name in np.array(names)[generator.permutation(len(names))].tolist():
        place = parse_contact(name)
        shafts.setdefault(place[0] if place else "", []).append(name)
    turns = sorted((turn, shaft) for shaft, inside in enumerate(shafts.values()) for turn in range(len(inside)))
    by_shaft = list(shafts.values())
    chosen = {by_shaft[shaft][turn] for turn, shaft in turns[:most]}
    return tuple(name for name in names if name in chosen)


@cache
def words_of(root: Path, session: Session) -> Words:
    return read_words(root, *session)


def windows_of(args: argparse.Namespace, session: Session, recording: Recording, task: str) -> Epochs:
    """Return the windows of a task: 5 s about the onset of words, and as long ones without speech."""
    half = WINDOW_S / 2
    labels = word_labels(words_of(args.root, session), PAPER_TASKS[task], before_s=half, after_s=half)
    windows = make_epochs([labels], [recording], window_s=WINDOW_S, classes=PAPER_TASKS[task].classes)
    if args.windows and len(windows) > args.windows:
        # As many of each class as it has of all, evenly over time.
        rows = [np.flatnonzero(windows.target == code) for code in range(len(PAPER_TASKS[task].classes))]
        kept = [max(MIN_PER_CLASS, round(args.windows * len(of_class) / len(windows))) for of_class in rows]
        some = [
            of_class[np.linspace(0, len(of_class) - 1, min(count, len(of_class))).round().astype(int)]
            for of_class, count in zip(rows, kept, strict=True)
        ]
        windows = windows.take(np.sort(np.concatenate(some)))
    return windows


def task_of(args: argparse.Namespace, session: Session, task: str, split: str) -> Task:
    recording = session_recording(args, session)

    def split_by(windows: Epochs) -> Split:
        return blocked(windows, folds=args.folds) if split == "blocked" else paper(windows, seed=args.seed)

    windows = windows_of(args, session, recording, task)
    return make_task([recording], windows, split_by, cache=cache_of(args, session, task))


def cache_of(args: argparse.Namespace, session: Session, task: str) -> Path:
    return args.out / "cache" / f"{session_id(session)}-{task}"


def decode_session(args: argparse.Namespace, session: Session, task: Task) -> dict[str, Any]:
    """Return the main table's part: the encoder, fine-tuned and frozen, and what needs no pretraining."""
    encoder = encoder_of(model_folder(args, models_of(args)[0]), args.device)
    tuned = {}
    if "fine-tuned" not in args.without:
        tuned = {
            "fine-tuned": fine_tuned(args, task, encoder, pretrained=True),
            "fine-tuned-untrained": fine_tuned(args, task, encoder, pretrained=False),
        }
    found = decode(task, encoder, plan_of(args), fine_tuned=tuned)
    kept = ("systems", "differences", "verdict", "warnings", "recordings", "left_out", "model", "versions")
    return {name: found[name] for name in kept} | {
        "task_windows": found["task"]["windows"],
        "unit": found["split"]["unit"],
        "units": found["split"]["units"],
        "overlapping": found["split"]["overlapping"],
    }


def plan_of(args: argparse.Namespace) -> Plan:
    return Plan(
        controls=tuple(name for name in PAPER_CONTROLS if name not in args.without),
        untrained_seeds=args.untrained_seeds,
        few_shot=False,
        layers=False,
        dimension=False,
        draws=args.draws,
        seed=args.seed,
        jobs=args.jobs,
    )


def fine_tuned(args: argparse.Namespace, task: Task, encoder: Encoder, *, pretrained: bool) -> Scores:
    scores, _ = finetuned_scores(
        model_maker(encoder, task, pretrained=pretrained),
        encoder_inputs(task, encoder),
        epochs=task.epochs,
        split=task.split,
        contacts=contact_names(task.contacts),
        accelerator=Accelerator(cpu=args.device == "cpu", mixed_precision=args.mixed_precision),
        recipe=Recipe(steps=args.fine_tune_steps),
        seed=args.seed,
        folder=task.cache,
    )
    return [scores]


def compare_models(args: argparse.Namespace, session: Session, task: Task) -> dict[str, Any]:
    """Return the score of each model, frozen and where asked fine-tuned, and of each pair the difference."""
    pairs = pairs_of(args, session[0])
    names = list(dict.fromkeys(name for pair in pairs for name in pair))
    systems, differences = {}, []
    for how in ("frozen", *(("fine-tuned",) if args.fine_tune_ablations else ())):
        judged = {}
        for name in names:
            encoder = encoder_of(model_folder(args, name), args.device)
            if how == "frozen":
                values = embeddings(task, encoder, layers=[encoder.layer])[0]
                keeping = {"seed": args.seed, "folder": task.cache, "jobs": args.jobs}
                scores: Scores = [out_of_fold(values, task.epochs, task.split, task.probe, **keeping)]
            else:
                scores = fine_tuned(args, task, encoder, pretrained=True)
            judged[name] = judge(scores, task.epochs, task.split, draws=args.draws, seed=args.seed)
            systems[f"{name}, {how}"] = {"score": judged[name].score, "interval": judged[name].interval}
        for changed, base in pairs:
            found = judged[changed].minus(judged[base])
            entry = {"changed": changed, "base": base, "how": how, "difference": found.difference}
            differences.append(entry | {"interval": found.interval, "p": found.p})
    return {"model_scores": systems, "model_differences": differences}


def learn_from_few(args: argparse.Namespace, session: Session, task: Task) -> dict[str, Any]:
    """Return the score of each frozen system after few training windows."""
    controls = tuple(name for name in CURVE_CONTROLS if name not in args.without)
    plan = Plan(controls=controls, untrained_seeds=1, seed=args.seed)
    most = min(len(fold.train) for fold in task.split.folds)
    sizes = [size for size in args.few_shot_sizes if size <= most]
    systems = {}
    seeds = range(args.seed, args.seed + FEW_SHOT_SEEDS)
    for name, (features, probe) in frozen_systems(
        task, encoder_of(model_folder(args, models_of(args)[0]), args.device), plan
    ).items():
        count = len(fold_features(features[0], 0))
        some = np.unique(np.linspace(0, count - 1, min(count, MOST_CONTACTS)).round().astype(int))
        of_some = contact_features(features[0], some)
        if sizes:
            curve = few_shot(of_some, task.epochs, task.split, probe, sizes=sizes, seeds=seeds, jobs=args.jobs)
            systems[name] = curve.mean(axis=1)
    return {"sizes": sizes, "curves": systems}


def dimension_of(args: argparse.Namespace, session: Session, task: Task) -> dict[str, Any]:
    """Return the intrinsic dimension of each contact, by region where the root says which."""
    try:
        places = regions(args.root, session[0])
    except FileNotFoundError:
        places = {}
    rows = dimension_by_region(
        task, encoder_of(model_folder(args, models_of(args)[0]), args.device), places, seed=args.seed
    )
    return {"rows": rows or []}


PARTS = {
    "main": decode_session,
    "models": compare_models,
    "few-shot": learn_from_few,
    "dimension": dimension_of,
}


def parts_of(args: argparse.Namespace, session: Session, task: str) -> dict[Path, tuple[str, str]]:
    """Return file → (part, split) of all that is computed of a session and task; its name says what it holds."""
    first = args.split[0]
    left_out = "".join(f"-no-{name}" for name in ("fine-tuned", *PAPER_CONTROLS) if name in args.without)
    compared = dict.fromkeys(name for pair in pairs_of(args, session[0]) for name in pair)
    wanted = [("main", split, left_out) for split in args.split]
    if compared:
        wanted.append(("models", first, f"-{'-'.join(compared)}{'-tuned' * args.fine_tune_ablations}"))
    if "few-shot" not in args.without:
        wanted.append(("few-shot", first, "".join(f"-no-{name}" for name in CURVE_CONTROLS if name in args.without)))
    if "dimension" not in args.without and task == dimension_task(args):
        wanted.append(("dimension", first, ""))
    name = f"{session_id(session)}-{task}"
    return {args.out / part / f"{name}-{split}{which}.json": (part, split) for part, split, which in wanted}


def dimension_task(args: argparse.Namespace) -> str:
    """Return the task whose windows the intrinsic dimension is of: most are of speech."""
    return "speech" if "speech" in args.tasks else args.tasks[0]


def compute(args: argparse.Namespace, session: Session, task: str) -> None:
    """Compute what is missing of a session and task; what cannot be decoded is written down with the reason."""
    missing = {file: part for file, part in parts_of(args, session, task).items() if not is_done(file)}
    for file, (part, split) in missing.items():
        print(f"── {part}: {task}, {session_id(session)}, {split} split", flush=True)
        try:
            of_split = task_of(args, session, task, split)
        except ValueError as error:
            found: dict[str, Any] = {"not decoded": str(error)}
        else:
            found = PARTS[part](args, session, of_split)
        content = {"session": session_id(session), "subject": f"btbank{session[0]}", "task": task, "split": split}
        with written_whole(file) as temporary:
            temporary.write_text(json.dumps(plain_json(content | found)) + "\n", encoding="utf-8")
    shutil.rmtree(cache_of(args, session, task), ignore_errors=True)


def is_done(file: Path) -> bool:
    """Return whether a part has a result; one that could not be decoded is tried again, for its reason may be gone."""
    return file.exists() and "not decoded" not in json.loads(file.read_text(encoding="utf-8"))
