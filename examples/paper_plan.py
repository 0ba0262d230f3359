"""Which sessions the paper's table takes, and what it takes to make it: signal, contacts, clips, disk and time."""

import argparse
from typing import NamedTuple

from paper_models import CLIP_S, SAMPLING_RATE, models_of, pairs_of, subjects_of, variant
from paper_speed import SAMPLES, Speed, measure
from paper_stages import (
    CURVE_CONTROLS,
    FEW_SHOT_SEEDS,
    MOST_CONTACTS,
    PAPER_CONTROLS,
    WINDOW_S,
    dimension_task,
    words_of,
)

from brainbert.modeling_brainbert import BrainBertConfig
from brainbert.processing.corpora.brain_treebank import (
    HELD_OUT,
    NEUROPROBE,
    PRETRAINING,
    WITHOUT_NEUROPROBE,
    Session,
    find_sessions,
    pretraining_sessions,
    session_facts,
)
from brainbert.processing.corpora.brain_treebank_files import read_corrupted
from brainbert.processing.decoding.report import count
from brainbert.processing.decoding.word_labels import PAPER_TASKS, word_labels
from brainbert.processing.recordings import neighbours

WINDOW_BYTES = {
    "fine-tuned": 30_000,
    "waveform": 10_000,
    "features": 4_000,
}  # of a window and contact, while it is used
ON_A_GPU = (6_000, 10_000)  # clips a second in a training step of the large model; expected, nobody has measured it
MODEL_BYTES = 4 * (2 * 3 + 2)  # a parameter: two checkpoints with both moments, the best weights, and the model


class Sessions(NamedTuple):
    pretraining: list[Session]
    decoding: list[Session]


class Stage(NamedTuple):
    """A line of the plan: what is done, of how much, and for how long; None where it does not apply."""

    name: str
    hours: float | None = None  # of signal
    contacts: int | None = None
    amount: str = ""
    disk: float = 0  # bytes that stay
    seconds: float = 0


class Plan(NamedTuple):
    stages: list[Stage]
    notes: list[str]


def choose_sessions(args: argparse.Namespace) -> Sessions:
    """Return the paper's sessions that are there; raises ValueError where some are missing, unless --available."""
    there = find_sessions(args.root)
    among = (
        [] if args.model else [each for each in PRETRAINING if not args.neuroprobe_safe or each in WITHOUT_NEUROPROBE]
    )
    missing = sorted({*among, *HELD_OUT} - set(there))
    if missing and not args.available:
        raise ValueError(
            f"The root lacks {len(missing)} of the sessions that the table is made of ({_listed(missing)}): copy "
            "them, or do with those that are there with --available."
        )
    own = []
    if among and not set(among).isdisjoint(there):
        # A plan costs nothing, and says what it is about.
        allow = args.allow_neuroprobe or args.dry_run
        own = pretraining_sessions(args.root, among=among, allow_neuroprobe=allow)
    found = Sessions(own, [each for each in HELD_OUT if each in there])
    if not found.decoding:
        raise ValueError(f"None of the sessions to decode is there: copy one of {_listed(HELD_OUT)}.")
    if among and not found.pretraining:
        raise ValueError(f"No session to pretrain on is there: copy some of {_listed(among)}, or give --model.")
    if other := sorted(set(args.hold_out) - {subject for subject, _ in found.decoding}):
        raise ValueError(
            f"--hold-out {other[0]} has no session to decode: choose among "
            f"{', '.join(str(subject) for subject, _ in found.decoding)}."
        )
    return found


def make_plan(args: argparse.Namespace, sessions: Sessions) -> Plan:
    """Measure this machine for a few seconds and return what each stage is and how long it may take."""
    names = models_of(args)
    speed = measure(args.preset, {variant(name).transform for name in names}, args.device)
    size = {each: _Size(args, each) for each in (*sessions.pretraining, *sessions.decoding)}
    stages = []
    if sessions.pretraining:
        own = [size[each] for each in sessions.pretraining]
        clips = sum(each.clips for each in own)
        stages.append(
            Stage(
                f"corpus, {count(len(own), 'session')}",
                sum(each.hours for each in own),
                sum(each.usable for each in own),
                f"{clips:,} clips of {CLIP_S:g} s",
                clips * SAMPLES * (4 if args.storage == "float32" else 2),
                sum(each.conditioning(speed) for each in own) + clips * speed.check,
            )
        )
        parameters = _parameters(args.preset)
        for name in names:
            subjects = subjects_of(name, sessions.pretraining)
            of_model = sum(size[each].clips for each in sessions.pretraining if each[0] in subjects)
            epochs = args.steps * args.batch_size / max(1, of_model)
            stages.append(
                Stage(
                    f"pretraining {name}",
                    amount=f"{args.steps:,} steps of {args.batch_size} clips, {epochs:,.1f} epochs",
                    disk=parameters * MODEL_BYTES,
                    seconds=args.steps * args.batch_size * speed.train[variant(name).transform],
                )
            )
    return Plan(stages + _decoding(args, sessions, size, speed), _notes(args, sessions, size))


class _Size:
    """How much there is of a session: known from its small files."""

    def __init__(self, args: argparse.Namespace, session: Session) -> None:
        facts = session_facts(args.root, *session)
        # As the Laplacian goes: corrupted contacts out, and both neighbours there.
        good = [name for name in facts.names if name not in read_corrupted(args.root, session[0])]
        self.usable = sum(None not in both for both in neighbours(good).values())
        self.session, self.raw, self.seconds = session, facts.contacts, facts.duration_s
        self.hours = self.seconds / 3600
        self.clips = int(self.seconds // CLIP_S) * self.usable
        self.contacts = min(self.usable, args.contacts or self.usable)

    def conditioning(self, speed: Speed) -> float:
        return self.raw * self.seconds * speed.condition


def count_windows(args: argparse.Namespace, session: Session, task: str) -> int:
    half = WINDOW_S / 2
    found = len(word_labels(words_of(args.root, session), PAPER_TASKS[task], before_s=half, after_s=half))
    return min(found, args.windows or found)


def _decoding(args: argparse.Namespace, sessions: Sessions, size: dict[Session, _Size], speed: Speed) -> list[Stage]:
    own = [size[each] for each in sessions.decoding]
    contacts = sum(each.contacts for each in own)
    units = {(each, task): count_windows(args, each.session, task) for each in own for task in args.tasks}
    windows = sum(number * each.contacts for (each, _), number in units.items())  # × contacts
    train, embed = (rates[variant(models_of(args)[0]).transform] for rates in (speed.train, speed.embed))
    splits, folds = len(args.split), sum(args.folds if split == "blocked" else 1 for split in args.split)
    first_folds = args.folds if args.split[0] == "blocked" else 1
    of_fit = windows * 0.8 / args.jobs  # windows in the training of a fold, over contacts
    pairs = {each: pairs_of(args, each.session[0]) for each in own}
    stages = [
        Stage(
            f"conditioning, {count(len(own), 'session')} to decode",
            sum(each.hours for each in own),
            contacts,
            disk=sum(each.seconds * each.contacts * SAMPLING_RATE * 4 for each in own),
            seconds=sum(each.conditioning(speed) for each in own),
        )
    ]
    total = f"{sum(units.values()):,} windows{', both splits' * (splits > 1)}"
    twins = 1 + args.untrained_seeds
    stages.append(
        Stage(
            f"frozen encoder, {args.untrained_seeds} untrained", None, contacts, total,
            seconds=windows * twins * embed + folds * twins * of_fit * speed.probe,
        )
    )  # fmt: skip
    linear = len([name for name in PAPER_CONTROLS if name not in (*args.without, "waveform-network")])
    stages.append(
        Stage("linear controls", None, contacts, f"{linear} systems", seconds=folds * linear * of_fit * speed.probe)
    )
    if "waveform-network" not in args.without:
        stages.append(
            Stage("network on the waveform", None, contacts, f"{contacts * folds * len(args.tasks):,} networks",
                  seconds=folds * of_fit * speed.probe_network)
        )  # fmt: skip
    of_tuned = args.fine_tune_steps * 64 * train  # seconds of a model, at most
    if "fine-tuned" not in args.without:
        models = 2 * contacts * folds * len(args.tasks)
        stages.append(
            Stage("fine-tuning, pretrained and from scratch", None, contacts,
                  f"{models:,} models of {args.fine_tune_steps:,} steps at most", seconds=models * of_tuned)
        )  # fmt: skip
    compared = {each: len({name for pair in of_session for name in pair}) for each, of_session in pairs.items()}
    if any(compared.values()):
        inside = sum(number * each.contacts * max(0, compared[each] - 1) for (each, _), number in units.items())
        seconds = inside * embed + first_folds * inside * 0.8 / args.jobs * speed.probe
        models = sum(each.contacts * number for each, number in compared.items()) * first_folds * len(args.tasks)
        tuned = f", {models:,} fine-tuned" if args.fine_tune_ablations else ""
        seconds += models * of_tuned if args.fine_tune_ablations else 0
        stages.append(
            Stage("models compared", None, contacts, f"{max(compared.values())} models{tuned}", seconds=seconds)
        )
    if "few-shot" not in args.without:
        some = sum(min(each.contacts, MOST_CONTACTS) for each in own) * len(args.tasks)
        systems = 2 + len([name for name in CURVE_CONTROLS if name not in args.without])
        fits = some * systems * first_folds * FEW_SHOT_SEEDS * len(args.few_shot_sizes)
        mean = sum(args.few_shot_sizes) / len(args.few_shot_sizes)
        stages.append(
            Stage("few-shot curves", None, some // len(args.tasks), f"{fits:,} fits",
                  seconds=fits * mean * speed.probe / args.jobs)
        )  # fmt: skip
    if "dimension" not in args.without:
        task = dimension_task(args)
        inside = sum(units[each, task] * each.contacts for each in own)
        stages.append(Stage("intrinsic dimension", None, contacts, f"windows of {task}", seconds=2 * inside * embed))
    return stages


def _notes(args: argparse.Namespace, sessions: Sessions, size: dict[Session, _Size]) -> list[str]:
    notes = [
        f"Times are estimates for this machine ({args.device}), from a moment of each part just now, scaled up to "
        "batches and cores; windows, clips and contacts are counted. What waits for the disk is not in them."
    ]
    seen = [each for each in sessions.pretraining if each in NEUROPROBE]
    if seen:
        notes.append(
            f"The paper pretrains on {_listed(seen)}, which Neuroprobe tests on: an entry there with these weights "
            "must say so (--allow-neuroprobe); --neuroprobe-safe leaves them out."
        )
    if args.model:
        notes.append(
            "Models are given: what they were pretrained on is not known here; no session held out may be in it."
        )
    if args.preset == "large" and not args.model:
        clips = args.steps * args.batch_size
        fast, slow = (clips / rate / 3600 for rate in ON_A_GPU[::-1])
        notes.append(
            f"On a GPU: unknown, not measured. Expected of one large GPU in bf16 are {ON_A_GPU[0]:,} to "
            f"{ON_A_GPU[1]:,} clips a second, {fast:.0f} to {slow:.0f} hours for each model; --dry-run --device cuda "
            "there measures it."
        )
    if args.storage == "float32" and not args.model:
        notes.append("--storage int16 halves the corpus on disk.")
    largest = max(each.seconds * each.usable for each in size.values())
    notes.append(
        f"While it works: {largest * SAMPLING_RATE * 4 / 1e9:,.0f} GB for the largest session conditioned, and per "
        f"window and contact of the session and task at hand {sum(WINDOW_BYTES.values()) / 1000:.0f} kB of features."
    )
    if not args.hold_out and not args.model:
        notes.append("Holding subjects out is not in it: --hold-out 3 pretrains once more, without subject 3.")
    if args.contacts:
        notes.append(
            f"At most {args.contacts} contacts of a session are decoded, drawn by name and seed, shafts in turn."
        )
    return notes


def show(plan: Plan) -> str:
    """Return the plan as text: a table, and what to know about it."""
    rows = [("stage", "hours", "contacts", "of", "disk", "time here")]
    for stage in plan.stages:
        hours = "" if stage.hours is None else f"{stage.hours:,.1f}"
        contacts = "" if stage.contacts is None else f"{stage.contacts:,}"
        disk = f"{stage.disk / 1e9:,.1f} GB" if stage.disk else ""
        rows.append((stage.name, hours, contacts, stage.amount, disk, _time(stage.seconds)))
    disk = sum(stage.disk for stage in plan.stages)
    rows.append(("total", "", "", "", f"{disk / 1e9:,.1f} GB", _time(sum(stage.seconds for stage in plan.stages))))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    left = (0, 3)  # columns of text
    lines = [
        "  ".join(cell.ljust(width) if column in left else cell.rjust(width)
                  for column, (cell, width) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]  # fmt: skip
    rule = "-" * len(lines[0])
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1], "", *(f"- {note}" for note in plan.notes)])


def _time(seconds: float) -> str:
    for unit, length in (("years", 365 * 86400), ("days", 86400), ("hours", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:.0f} s"


def _parameters(preset: str) -> int:
    config = BrainBertConfig.from_preset(preset)
    inside, wide = config.hidden_size, config.intermediate_size
    return config.num_hidden_layers * (4 * inside * inside + 2 * inside * wide)


def _listed(sessions: list[Session] | tuple[Session, ...]) -> str:
    return ", ".join(f"{subject}_{trial}" for subject, trial in sessions)
