"""From Brain Treebank's public files to the table of the paper: corpus, pretraining, decoding, ablations, one page.

    python examples/paper_table.py ROOT --out paper --dry-run          # what it takes: signal, clips, disk, hours
    python examples/paper_table.py ROOT --out paper --allow-neuroprobe --launch "accelerate launch" --device cuda
    python examples/paper_table.py ROOT --out paper --neuroprobe-safe --available --preset tiny --steps 200 --contacts 4
    python examples/paper_table.py ROOT --out paper --model stft=run/model superlet=other/model

The paper pretrains on seven sessions that Neuroprobe tests on, which has to be allowed, or left out. Stopped, the same
command goes on; what is done is not done again. The page, OUT/table.html (and .md, .json), holds what
was found beside what was published.
"""

import argparse
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from model_folder import check_model
from paper_models import ABLATIONS, VARIANTS, build_corpora, models_of, pretrain, session_id, variant
from paper_page import write_table
from paper_plan import Sessions, choose_sessions, make_plan, show
from paper_stages import PAPER_CONTROLS, compute

from brainbert.modeling_brainbert import PRESETS
from brainbert.processing.atomic import only_writer, remove_parts, written_whole
from brainbert.processing.corpora.brain_treebank import session_fingerprint
from brainbert.processing.decoding import Recipe
from brainbert.processing.decoding.word_labels import PAPER_TASKS
from brainbert.processing.program import HelpFormatter, run

# What may change from call to call: what is computed, where, and how the work is shared, not what a part's numbers are.
MAY_CHANGE = (
    "root",
    "out",
    "dry_run",
    "available",
    "allow_neuroprobe",
    "ablations",
    "hold_out",
    "split",
    "tasks",
    "without",
)
MAY_CHANGE += ("launch", "device", "jobs", "micro_batch", "fine_tune_ablations")


def main() -> None:
    args = parse_arguments()
    sessions = choose_sessions(args)
    begun = (args.out / "settings.json").exists()
    if args.dry_run or not begun:
        print(show(make_plan(args, sessions)), flush=True)
    if args.dry_run:
        return
    with only_writer(args.out):
        remove_parts(args.out)
        start(args, sessions)
        if not args.model:
            build_corpora(args, sessions.pretraining)
            for name in models_of(args):
                pretrain(args, name, sessions.pretraining)
        for session in sessions.decoding:
            for task in args.tasks:
                compute(args, session, task)
        path, verdict = write_table(args, sessions)
    print(verdict)
    print(f"{path}, {path.with_suffix('.md').name} and {path.with_suffix('.json').name}")


def start(args: argparse.Namespace, sessions: Sessions) -> None:
    """Note the settings, or refuse to go on with others than those that the folder was begun with."""
    path = args.out / "settings.json"
    now: dict[str, Any] = {
        name: value if isinstance(value, int | float | list | None) else str(value)
        for name, value in vars(args).items()
        if name not in (*MAY_CHANGE, "model")
    }
    now["model"] = {name: _hash_of(Path(folder)) for name, folder in args.model.items()}
    now["pretraining_sessions"] = [list(session) for session in sessions.pretraining]
    used = {
        session_id(each): session_fingerprint(args.root, *each) for each in {*sessions.pretraining, *sessions.decoding}
    }
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else now
    known = before.pop("data", {}) if path.exists() else {}
    if changed := sorted(name for name in used if name in known and known[name] != used[name]):
        raise ValueError(
            f"The files of {changed[0]} are not those that {args.out} was begun with: give the same, or another --out."
        )
    if other := [f"{name} {now.get(name)} (then {before.get(name)})" for name in now if now[name] != before.get(name)]:
        raise ValueError(
            f"{args.out} was begun with other settings: {', '.join(other)}; give the same, or another --out."
        )
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(now | {"data": known | used}, indent=1) + "\n", encoding="utf-8")


def _hash_of(folder: Path) -> str:
    """Return a hash of a model folder's weights and settings; of one on the Hub, nothing but its name."""
    files = [folder / name for name in ("config.json", "preprocessor_config.json", "model.safetensors")]
    if not folder.is_dir():
        return str(folder)
    return hashlib.sha256(b"".join(file.read_bytes() for file in files if file.is_file())).hexdigest()


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=HelpFormatter)
    parser.add_argument("root", type=Path, help="root of Brain Treebank, as it is downloaded")
    parser.add_argument("--out", type=Path, required=True, help="folder of all results")
    parser.add_argument("--dry-run", action="store_true", help="print the plan, and leave")
    group = parser.add_argument_group("sessions")
    group.add_argument("--available", action="store_true", help="do with those that are there, if some are missing")
    safe = group.add_mutually_exclusive_group()
    safe.add_argument("--neuroprobe-safe", action="store_true", help="pretrain on none that Neuroprobe tests on")
    safe.add_argument(
        "--allow-neuroprobe", action="store_true", help="pretrain on all of the paper's; no entry without saying so"
    )
    group = parser.add_argument_group("pretraining")
    group.add_argument(
        "--model",
        nargs="+",
        type=_model,
        default=[],
        metavar="NAME=FOLDER",
        help=f"trained models instead of pretraining; {', '.join(VARIANTS)}, or stft-without-3 for subject 3",
    )
    group.add_argument("--preset", default="large", choices=tuple(PRESETS), help="size of the models")
    group.add_argument("--steps", type=int, default=500_000, help="of pretraining, of each model")
    group.add_argument("--batch-size", type=int, default=256, help="clips of a step of pretraining, over all processes")
    group.add_argument(
        "--micro-batch", type=int, help="clips at a time on each process, to save memory; all if not given"
    )
    group.add_argument("--mixed-precision", default="no", choices=("no", "bf16"), help="of pretraining and fine-tuning")
    group.add_argument("--launch", help='such as "accelerate launch --num_processes 8"; one process if not given')
    group.add_argument(
        "--storage", default="float32", choices=("float32", "int16"), help="of clips; int16 is half the size"
    )
    group = parser.add_argument_group("what is computed")
    group.add_argument(
        "--ablations",
        nargs="*",
        default=list(ABLATIONS),
        choices=tuple(ABLATIONS),
        help="each asks for one model more or two",
    )
    group.add_argument(
        "--hold-out",
        nargs="*",
        type=int,
        default=[],
        metavar="SUBJECT",
        help="pretrain once more without each of these",
    )
    group.add_argument("--tasks", nargs="+", default=list(PAPER_TASKS), choices=tuple(PAPER_TASKS), help="to decode")
    group.add_argument(
        "--split",
        nargs="+",
        default=["blocked"],
        choices=("blocked", "paper"),
        help="blocks of time; paper is the published random one, whose scores are too high; both to compare. All but "
        "the main table is of the first",
    )
    group.add_argument(
        "--without",
        nargs="*",
        default=[],
        choices=("fine-tuned", *PAPER_CONTROLS, "few-shot", "dimension"),
        help="what to leave out; fine-tuned and waveform-network take longest",
    )
    group.add_argument(
        "--fine-tune-ablations", action="store_true", help="compare models fine-tuned, too, not only frozen"
    )
    group = parser.add_argument_group("decoding")
    group.add_argument(
        "--contacts",
        type=int,
        default=10,
        help="of a session at most, evenly over its shafts; 0: all. The published frozen figure is over ten",
    )
    group.add_argument("--windows", type=int, default=0, help="of a session and task at most, evenly over time; 0: all")
    group.add_argument("--folds", type=int, default=5, help="of the blocked split")
    group.add_argument("--fine-tune-steps", type=int, default=Recipe().steps, help="at most, of each contact and fold")
    group.add_argument("--untrained-seeds", type=int, default=3, help="untrained twins of the frozen encoder")
    group.add_argument(
        "--few-shot-sizes",
        type=int,
        nargs="+",
        default=list(range(50, 1001, 50)),
        help="labelled windows to learn from",
    )
    group.add_argument("--draws", type=int, default=2000, help="of bootstrap and of chance")
    group.add_argument("--seed", type=int, default=0, help="of weights, masks, contacts, draws and the random split")
    group.add_argument("--device", default="cpu", help="torch device of decoding; pretraining is as --launch has it")
    group.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes for the probes")
    args = parser.parse_args()
    args.model = dict(args.model)
    for name in ("steps", "batch_size", "folds", "fine_tune_steps", "draws", "jobs"):
        if getattr(args, name) < 1:
            raise ValueError(f"--{name.replace('_', '-')} is {getattr(args, name)}: it must be at least 1.")
    for name, folder in args.model.items():
        variant(name)
        check_model(folder)
    if args.model and args.hold_out:
        raise ValueError("--hold-out pretrains and --model has trained models: name stft-without-N=FOLDER instead.")
    return args


def _model(text: str) -> tuple[str, str]:
    name, equals, folder = text.partition("=")
    if not equals or not folder:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FOLDER")
    return name, folder


if __name__ == "__main__":
    run(main)
