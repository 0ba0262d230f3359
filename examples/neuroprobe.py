"""Evaluate encoders on Neuroprobe, with its own package, splits and sessions, and write a leaderboard entry.

    pip install --no-deps neuroprobe==0.1.8 h5py pandas scikit-learn
    python examples/neuroprobe.py ROOT --out probe --model run/model untrained spectrogram
    python examples/neuroprobe.py ROOT --out first --entry first --model run/model untrained spectrogram
    python examples/neuroprobe.py ROOT --out nano --nano --model run/model --author Ada Lovelace --partial

ROOT is Brain Treebank as it was published. --entry sets what an entry of the leaderboard had, whose row it prints
beside ours; flags given beside it go before it:
    first   BrainBERT, .586 .581 .522: one second, no boundary, z-scored per window, all frames, no Laplacian
    later   BrainBERT, .626 .633 .547: the same with the Laplacian and z-scores of the whole recording
Without it normalisation, variant and scale are the model's own, the reference is the Laplacian, and features are the
mean of frames.

Rows of the table are what --model names: folders, NAME=FOLDER, and
    untrained     the first folder's architecture and input with fresh weights; without a folder, --preset says which
    spectrogram   the leaderboard's linear decoder of Laplacian spectrograms (.660 .648 .539), with its settings always
    band-power, waveform   linear decoders of log band power, and of the voltage at 500 Hz
The features of a session are computed once, for all its windows, and kept in OUT/cache; every score is a file in
OUT/results. Stopped, the same command goes on. --dry-run says what there is to do and how large it is.

With --author the folder of an entry is written for each row and checked as the leaderboard does; the name signs its
attestation, which says which sessions the weights have seen. What is not all of Lite is not an entry: with --partial
its folder is written too, and its name says PARTIAL, and Nano.
"""

import argparse
import resource
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from neuroprobe_systems import make_systems, parse_arguments, refuse_idle, settings_of

from brainbert.processing.corpora.brain_treebank import Session, find_sessions
from brainbert.processing.decoding.neuroprobe_page import write_table
from brainbert.processing.decoding.neuroprobe_run import Evaluation, Settings, System
from brainbert.processing.decoding.neuroprobe_signal import alone
from brainbert.processing.decoding.neuroprobe_table import as_text, summarise, verdicts
from brainbert.processing.decoding.neuroprobe_windows import SPLITS, Neuroprobe, session_name
from brainbert.processing.decoding.submission import (
    Entry,
    check_submission,
    missing_results,
    write_submission,
)
from brainbert.processing.program import run

Work = list[tuple[str, Session]]  # split, session that it tests on


def main() -> None:
    args = parse_arguments(__doc__)
    refuse_idle(args)
    settings = settings_of(args)
    benchmark = Neuroprobe(args.root, nano=args.nano)
    tasks = chosen(args.tasks, list(benchmark.tasks), what="task")
    work = plan_work(args, benchmark)
    systems = make_systems(
        args.model,
        preset=args.preset,
        seed=args.seed,
        device=args.device,
        description=args.description,
        seen=args.seen,
    )
    refuse_entry(args, settings, systems, work, tasks)
    kept = {"out": args.out, "cache": args.cache or args.out / "cache", "tasks": tasks, "device": args.device}
    evaluations = [Evaluation(benchmark, system, settings, **kept) for system in systems]
    say_plan(evaluations, work, drop=args.drop_features)
    if args.dry_run:
        return
    results = {each.system.name: evaluate(each, work, tasks, drop=args.drop_features) for each in evaluations}
    table = summarise(results, encoders=[each.name for each in systems if each.is_encoder and each.name != "untrained"])
    table |= {
        "benchmark": benchmark.name,
        "version": benchmark.version,
        "settings": {"entry": args.entry or "none"}
        | {name: "the model's" if value is None else value for name, value in asdict(settings).items()},
        "tasks": {task: benchmark.tasks[task] for task in tasks},
        "seen": {each.name: seen_by(each, benchmark.sessions) for each in systems if each.is_encoder},
        "notes": notes(benchmark, evaluations, table, work, tasks),
    }
    path = write_table(table, args.out)
    print("\n".join([*as_text(table), *verdicts(table)]))
    print(
        f"{path} and {path.with_suffix('.json')}; peak memory {peak_gib():.1f} GiB, features that are mapped included"
    )
    if args.author:
        for system in systems:
            submit(args, benchmark, system, results[system.name])


def evaluate(evaluation: Evaluation, work: Work, tasks: list[str], *, drop: bool) -> list[dict[str, Any]]:
    """Return the results of a system, computing those that are missing, session by session."""
    results = []
    for place, (split, session) in enumerate(work):
        for task in tasks:
            begun = time.perf_counter()
            found = evaluation.kept(split, task, session)
            how = "kept" if found else "computed"
            found = found or evaluation.result(split, task, session)
            results.append(found)
            scores = " ".join(f"{fold['test_roc_auc']:.3f}" for fold in found["folds"])
            spent = (
                f"{time.perf_counter() - begun:.1f} s, of which the head {found['seconds']:.1f}"
                if how != "kept"
                else how
            )
            print(f"{evaluation.system.name} {split} {session_name(session)} {task}: {scores} ({spent})", flush=True)
        if drop:
            later = {each for other in work[place + 1 :] for each in needs(evaluation.benchmark, *other)}
            for each in set(needs(evaluation.benchmark, split, session)) - later:
                evaluation.drop(each)
    return results


def needs(benchmark: Neuroprobe, split: str, session: Session) -> tuple[Session, Session]:
    """Return the sessions whose features a split needs."""
    return benchmark.trained(split, session), session


def plan_work(args: argparse.Namespace, benchmark: Neuroprobe) -> Work:
    """Return splits and sessions in an order that needs few sessions' features at a time.

    Raises ValueError that names the sessions which are not in ROOT.
    """
    splits = chosen(args.splits, list(benchmark.splits), what="split")
    there = find_sessions(args.root)
    if args.sessions and (strange := [each for each in args.sessions if each not in benchmark.sessions]):
        raise ValueError(
            f"Neuroprobe {benchmark.name} has no session {session_name(strange[0])}: choose from "
            f"{', '.join(map(session_name, benchmark.sessions))}."
        )
    sessions = sorted(args.sessions or benchmark.sessions)
    work = [(split, session) for session in sessions for split in splits if session in benchmark.tested(split)]
    if not work:
        raise ValueError(f"None of these sessions is tested in {', '.join(splits)}: choose others.")
    if missing := sorted({each for one in work for each in needs(benchmark, *one)} - set(there)):
        raise ValueError(
            f"ROOT holds no recording of {', '.join(map(session_name, missing))}: add them, or choose with --sessions "
            f"and --splits what does not need them (ROOT has {', '.join(map(session_name, there)) or 'none'})."
        )
    return work


def chosen(given: list[str] | None, every: list[str], *, what: str) -> list[str]:
    """Return what was given, or everything; refuse what is not there."""
    if given and (strange := [each for each in given if each not in every]):
        raise ValueError(f"This Neuroprobe has no {what} {strange[0]}: choose from {', '.join(every)}.")
    return [each for each in every if not given or each in given]


def seen_by(system: System, forbidden: tuple[Session, ...]) -> str:
    """Return what a system's weights have seen, in words."""
    if system.seen is None:
        return "which sessions its weights have seen is not known"
    both = sorted(set(system.seen) & set(forbidden))
    if both:
        return f"its weights have seen {', '.join(map(session_name, both))} of these sessions"
    return "its weights have seen none of these sessions"


def refuse_entry(
    args: argparse.Namespace, settings: Settings, systems: list[System], work: Work, tasks: list[str]
) -> None:
    """Raise ValueError for an entry that cannot be written, before anything is computed for it."""
    if not args.author:
        return
    if settings.context_s:
        raise ValueError("An entry has 1 s of signal, and --context-s gives more: leave it out, or leave out --author.")
    if unknown := [system.name for system in systems if system.seen is None]:
        raise ValueError(
            f"An entry says which sessions the weights have seen, and {unknown[0]} does not: give --seen 1_0 2_1 …, "
            "--seen released for the authors' weights, or --seen none."
        )
    planned = [
        {"split": split, "task": task, "session": session_name(session)} for split, session in work for task in tasks
    ]
    if (lacking := lacking_in(args.root, planned)) and not args.partial:
        raise ValueError(
            f"An entry needs all tasks and sessions of Neuroprobe Lite, and {len(lacking)} are not computed here (the "
            f"first: {lacking[0]}): compute them, or use --partial to write the folder without them."
        )


def lacking_in(root: Path, results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what an entry with the splits of these results also needs."""
    lite = Neuroprobe(root)
    splits = [split for split in SPLITS if any(result["split"] == split for result in results)]
    return missing_results(results, {split: lite.tested(split) for split in splits}, list(lite.tasks))


def say_plan(evaluations: list[Evaluation], work: Work, *, drop: bool) -> None:
    """Print what is to be computed and how large it is; refuse a disk that is too small for it."""
    benchmark = evaluations[0].benchmark
    needed = sorted({each for one in work for each in needs(benchmark, *one)})
    total = largest = 0
    for evaluation in evaluations:
        missing = [
            one for one in work if any(evaluation.kept(one[0], task, one[1]) is None for task in evaluation.tasks)
        ]
        sessions = sorted({each for one in missing for each in needs(benchmark, *one)})
        print(
            f"{evaluation.system.name}: {len(missing)} of {len(work)} split × session to compute, "
            f"{len(evaluation.tasks)} tasks each, features of {len(sessions)} sessions"
        )
        for session in sessions:
            windows, contacts = benchmark.every_window(session, evaluation.tasks), benchmark.contacts(session)
            size = len(windows.start) * len(contacts) * evaluation.width(windows.length) * 4
            print(
                f"  {session_name(session)}: {len(windows.start)} windows × {len(contacts)} contacts × "
                f"{evaluation.width(windows.length)} features, {size / 2**30:.2f} GiB"
            )
            total, largest = total + size, max(largest, size)
    # What an earlier run with other settings left counts too: better too little refused than a run that cannot go on.
    folder = evaluations[0].cache
    whole, parts = (sum(path.stat().st_size for path in folder.glob(name)) for name in ("*.npy", "*.parts/*.npy"))
    left = max(0, (min(total, 3 * largest) if drop else total) - whole)
    # Blocks and the whole lie side by side while a session is put together.
    room = max(0, left + min(left, largest) - parts)
    existing = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    free = shutil.disk_usage(existing).free
    print(
        f"{len(needed)} sessions; {room / 2**30:.2f} GiB on disk at most, besides {(whole + parts) / 2**30:.2f} in the "
        f"cache already; {free / 2**30:.0f} GiB are free"
    )
    if room > free:
        raise ValueError(
            f"The features need {room / 2**30:.0f} GiB and {free / 2**30:.0f} GiB are free: use --drop-features, "
            "--features mean, another --cache, or fewer sessions at a time."
        )


def notes(
    benchmark: Neuroprobe, evaluations: list[Evaluation], table: dict[str, Any], work: Work, tasks: list[str]
) -> list[str]:
    """Return what a reader of the table must know."""
    found = []
    if benchmark.nano:
        found.append(
            "This is Neuroprobe Nano; the published rows are of Lite, with twice the sessions and more contacts."
        )
    if len(tasks) < len(benchmark.tasks):
        found.append(f"{len(tasks)} of {len(benchmark.tasks)} tasks: {', '.join(tasks)}.")
    for split in dict.fromkeys(split for split, _ in work):
        if lacking := [session_name(each) for each in benchmark.tested(split) if (split, each) not in work]:
            found.append(f"{split} lacks {', '.join(lacking)}.")
    for session in sorted({session for _, session in work}):
        listed, used = benchmark.listed(session), benchmark.contacts(session)
        if len(used) < len(listed):
            found.append(
                f"{session_name(session)}: {len(used)} of the package's {len(listed)} contacts; the others are "
                "corrupted or not in ROOT."
            )
        if any(each.reference == "laplacian" for each in evaluations) and (single := alone(used)):
            found.append(f"{session_name(session)}: no neighbour, so no Laplacian: {', '.join(single)}.")
    for row in table["rows"]:
        if number := max((of["without_signal"] for of in row["splits"].values()), default=0):
            found.append(
                f"{row['name']}: {number} windows of a contact had no signal (flat, not finite or outside the "
                "recording); their features were set to the mean of the training windows."
            )
    for evaluation in evaluations:
        if evaluation.system.is_encoder and evaluation.unlike_training:
            found.append(f"{evaluation.system.name}: not fed as it was pretrained: {evaluation.unlike_training}.")
        said = seen_by(evaluation.system, benchmark.sessions)
        if evaluation.system.is_encoder and "none" not in said:
            found.append(f"{evaluation.system.name}: {said}.")
    return found


def submit(args: argparse.Namespace, benchmark: Neuroprobe, system: System, results: list[dict[str, Any]]) -> None:
    """Write and check the folder of an entry."""
    assert system.seen is not None  # refused before
    lite = Neuroprobe(args.root)
    entry = Entry(
        model_name=f"{system.name} Nano" if benchmark.nano else system.name,
        description=f"{system.description}. Neuroprobe Nano" if benchmark.nano else system.description,
        author=tuple(args.author),
        organization=args.organization or "-",
        organization_url=args.organization_url or "-",
        seen=system.seen,
        day=args.date or date.today(),
        **({"publication": args.publication.read_text(encoding="utf-8")} if args.publication else {}),
    )
    whole = {"tasks": list(lite.tasks), "expected": {split: lite.tested(split) for split in SPLITS}}
    path = write_submission(results, args.out, entry, forbidden=lite.sessions, partial=args.partial, **whole)
    found = check_submission(path, partial=args.partial, **whole)
    scores = ", ".join(f"{split} {score:.3f}" for split, score in found.items())
    print(f"{path}: {scores}")
    if lacking := lacking_in(args.root, results):
        print(f"  NOT COMPLETE, not to be submitted: {len(lacking)} results are missing, the first {lacking[0]}.")
    if both := sorted(set(system.seen) & set(lite.sessions)):
        print(f"  warning: the weights have seen {', '.join(map(session_name, both))}; the attestation says so.")


def peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    run(main)
