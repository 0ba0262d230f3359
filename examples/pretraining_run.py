"""The folder of a pretraining run: its settings, progress, checkpoints, best weights, log and result."""

import argparse
import json
import math
import platform
import statistics
import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from matplotlib.backends.backend_agg import FigureCanvasAgg
from plot_reconstruction import draw
from pretraining_data import Data
from pretraining_report import report
from recipe import settings_of
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from brainbert.modeling_brainbert import BrainBertConfig, BrainBertForPreTraining
from brainbert.processing.atomic import only_writer, remove_parts, written_whole
from brainbert.processing.training import Checkpoints, StreamLoader, plot_learning_curve

NAMED_CLIPS = 3  # in a warning; the training record has all


@dataclass
class Progress:
    """What a checkpoint holds beside the state of model, optimiser and schedule."""

    step: int = 0
    seconds: float = 0.0
    since_log: list[dict[str, float]] = field(default_factory=list)  # of each step
    losses: list[dict[str, float]] = field(default_factory=list)
    curve: list[dict[str, float]] = field(default_factory=list)
    skipped: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, float] | None = None


def check_run(args: argparse.Namespace) -> None:
    """Refuse a folder that holds a model, or a run that is not resumed or was started with other settings."""
    if (args.out / "model").exists():
        raise ValueError(f"{args.out}/model exists: choose another --out, so that no trained model is lost.")
    settings = args.out / "run.json"
    if not settings.exists():
        return
    if not args.resume and not args.dry_run:
        raise ValueError(f"{args.out} holds a run that has not ended: add --resume to go on, or choose another --out.")
    before, now = json.loads(settings.read_text(encoding="utf-8"))["settings"], settings_of(args)
    other = [
        f"{name} {now.get(name)} (then {before.get(name)})"
        for name in {**before, **now}
        if before.get(name) != now.get(name)
    ]
    if args.resume and other:
        raise ValueError(f"The run in {args.out} was started with other settings: {', '.join(other)}; give the same.")


class Run:
    """A run that writes to args.out; all its processes hold one, and call it alike."""

    def __init__(self, args: argparse.Namespace, accelerator: Accelerator):
        self.args = args
        self.accelerator = accelerator
        self.progress = Progress()
        self.checkpoints = Checkpoints(args.out / "checkpoints", accelerator, keep=args.keep_checkpoints)
        self._lock = ExitStack()

    def __enter__(self) -> "Run":
        if self.accelerator.is_main_process:  # nobody else trains into this folder meanwhile
            try:
                self._lock.enter_context(only_writer(self.args.out))
                remove_parts(self.args.out)
            except OSError as error:
                raise ValueError(f"Cannot write to {self.args.out} ({error.strerror}): choose another --out.") from None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        self._lock.close()

    def start(self, data: Data, model: torch.nn.Module) -> None:
        """Note settings and corpora, or compare them and load the last checkpoint; start the tracker."""
        self.model = model
        args, path = self.args, self.args.out / "run.json"
        content = {"settings": settings_of(args), "corpora": ", ".join(data.fingerprints), "commit": data.commit}
        if isinstance(data.train, StreamLoader):  # whose order depends on this
            content["shared"] = f"{self.accelerator.num_processes} × {data.micro_batch} clips (processes × batch)"
        before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else content
        for name, what in (("corpora", "on the corpora"), ("shared", "with")):
            if before.get(name) != content.get(name):
                raise ValueError(
                    f"The run in {args.out} was started {what} {before.get(name)}, and this is {content.get(name)}: "
                    "give the same."
                )
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            with written_whole(path) as temporary:
                temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        if latest := self.checkpoints.latest():
            self.progress = Progress(**self.checkpoints.load(latest))
            self.accelerator.print(f"Going on after step {self.progress.step:,} of {args.steps:,}.")
        settings = {
            name: value if isinstance(value, int | float) else str(value) for name, value in settings_of(args).items()
        }
        # Events of steps that will be done once more are dropped.
        purge = {"tensorboard": {"purge_step": self.progress.step + 1}} if args.tracker == "tensorboard" else {}
        name = "tensorboard" if args.tracker == "tensorboard" else "brainbert"
        self.accelerator.init_trackers(name, config=settings, init_kwargs=purge)

    def load(self, loaded: Iterable[dict]) -> list[dict]:
        """Return a step's batches; when a process could not load its own, save, and raise ValueError in all."""
        batches, problem = [], ""
        try:
            batches = list(loaded)
        except ValueError as error:
            problem = str(error)
        if self._any(bool(problem)):
            self.save(needed=True)
            raise ValueError(
                f"{problem or 'Another process could not load its clips.'} Saved after step {self.progress.step:,}; "
                "--resume goes on."
            )
        return batches

    def note(self, measured: dict[str, float], batches: list[dict]) -> None:
        """Note what a step measured; a step that was skipped with the names of its clips."""
        if all(map(math.isfinite, measured.values())):
            self.progress.since_log.append(measured)
            return
        self._refuse_broken_weights()
        clips = gather_object([name for batch in batches for name in batch["name"]])
        self.progress.skipped.append({"step": self.progress.step, "clips": clips})
        self._warn(
            f"Step {self.progress.step} was skipped: its loss or gradient is not finite (clips "
            f"{', '.join(clips[:NAMED_CLIPS])}{', …' if len(clips) > NAMED_CLIPS else ''})."
        )

    @property
    def skipped_too_many(self) -> bool:
        return len(self.progress.skipped) > self.args.skip_limit

    def log(self) -> float:
        """Log the means over the steps since the last time; return the loss, NaN when all of them were skipped."""
        progress = self.progress
        steps, progress.since_log = progress.since_log, []
        if not steps:
            return math.nan
        means = {name: statistics.fmean(step[name] for step in steps) for name in steps[0]}
        progress.losses.append({"step": progress.step, "minutes": progress.seconds / 60, **means})
        self._track({f"train/{name}": value for name, value in means.items()})
        return means["loss"]

    def log_validation(self, errors: dict[str, float], data: Data, *, last: bool) -> None:
        """Log the held-out errors and a picture; keep the weights when they are the best so far.

        Raises OSError when these cannot be written and there is no later chance.
        """
        progress = self.progress
        entry = {"step": progress.step, "minutes": progress.seconds / 60, **errors}
        progress.curve.append(entry)
        self._track({f"validation/{name}": value for name, value in entry.items() if name not in ("step", "minutes")})
        before = progress.best
        if before is None or math.isnan(before["loss"]) or errors["loss"] < before["loss"]:
            progress.best = entry
            if problem := self._keep_best():
                progress.best = before
                sentence = f"The best weights, of step {progress.step}, could not be written ({problem}): make room"
                if last:
                    raise OSError(f"{sentence} and --resume.")
                self._warn(f"{sentence}; training goes on, and the next better ones are tried.")
        self._draw(data)

    def save(self, *, needed: bool) -> None:
        """Write a checkpoint; one that cannot be written ends the run only when it is the last thing that it does."""
        self._refuse_broken_weights()
        try:
            self.checkpoints.save(self.progress.step, asdict(self.progress))
        except OSError as error:
            sentence = f"The checkpoint of step {self.progress.step} could not be written ({error})"
            if needed:
                raise OSError(f"{sentence}: make room and --resume from the last one.") from None
            self._warn(f"{sentence}: make room; training goes on, and the next one is tried.")
            return
        if self.accelerator.is_main_process:
            for weights in set(self.args.out.glob("best-*.safetensors")) - {self._best}:
                weights.unlink()  # no checkpoint names them any more

    def leave(self) -> None:
        """End before the last step; raises ValueError when too many steps had to be skipped."""
        where = f"after step {self.progress.step:,} of {self.args.steps:,}, saved"
        if self.skipped_too_many:
            raise ValueError(
                f"Stopped {where}: {len(self.progress.skipped)} steps had a loss or gradient that is not finite "
                f"(--skip-limit {self.args.skip_limit}). Look at the clips that were named, or start "
                "another run with a lower --learning-rate."
            )
        self.accelerator.print(f"Stopped {where}: the same command with --resume goes on.")

    def finish(self, config: BrainBertConfig, data: Data) -> None:
        """Write the model folder with the best weights, and report."""
        if not self.accelerator.is_main_process:
            return
        args, progress = self.args, self.progress
        model = BrainBertForPreTraining(config)
        model.load_state_dict(load_file(self._best))
        record = {
            "corpora": data.corpora,
            "conditioning": data.conditioning,
            "clips": data.clips,
            "settings": settings_of(args),
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "processes": self.accelerator.num_processes,
            "device": str(
                torch.cuda.get_device_name()
                if torch.cuda.is_available()
                else platform.processor() or platform.machine()
            ),
            "steps": progress.step,
            "minutes": progress.seconds / 60,
            "best": progress.best,
            "curve": progress.curve,
            "losses": progress.losses,
            "skipped": progress.skipped,
            "versions": {
                name: version(name) for name in ("brainbert", "torch", "transformers", "accelerate", "datasets")
            },
        }
        try:
            with written_whole(args.out / "model") as folder:
                model.save_pretrained(folder)
                data.extractor.save_pretrained(folder)
                (folder / "training_record.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
                plot_learning_curve(progress.curve, progress.losses).savefig(folder / "learning_curve.png", dpi=120)
        except (OSError, SafetensorError) as error:
            raise OSError(f"The model folder could not be written ({error}): make room and --resume.") from None
        report(record)
        print(f"Saved to {args.out / 'model'}.")

    def _any(self, mine: bool) -> bool:
        """Tell whether it is so in any process."""
        if self.accelerator.num_processes == 1:
            return mine
        return bool(self.accelerator.reduce(torch.tensor(float(mine), device=self.accelerator.device)).item())

    def _refuse_broken_weights(self) -> None:
        """Raise ValueError, in all processes, when weights are not finite, so that they are not saved."""
        if self._any(not all(bool(torch.isfinite(_own(weight)).all()) for weight in self.model.parameters())):
            raise ValueError(
                f"The weights are not finite after step {self.progress.step}: start another run with a lower "
                "--learning-rate. The last checkpoint is as it was."
            )

    @property
    def _best(self) -> Path:
        return self.args.out / f"best-{self.progress.best['step'] if self.progress.best else 0:09d}.safetensors"

    def _keep_best(self) -> str:
        """Write the weights; return what went wrong, to all processes."""
        state, problem = self.accelerator.get_state_dict(self.model), ""
        if self.accelerator.is_main_process:
            try:
                with written_whole(self._best) as temporary:
                    # Not the names that torch.compile gives them.
                    save_file({name.replace("_orig_mod.", ""): value for name, value in state.items()}, temporary)
            except (OSError, SafetensorError) as error:
                problem = str(error)
        return "".join(gather_object([problem]))

    def _warn(self, sentence: str) -> None:
        if self.accelerator.is_main_process:
            warnings.warn(sentence, stacklevel=3)

    def _track(self, values: dict[str, float]) -> None:
        with self._tracking():
            self.accelerator.log(values, step=self.progress.step)

    @contextmanager
    def _tracking(self) -> Iterator[None]:
        """Go on without trackers when they cannot write: the training record has the same numbers."""
        try:
            yield
        except OSError as error:
            self.accelerator.trackers.clear()
            self._warn(f"The {self.args.tracker} log could not be written ({error}): it ends here, training goes on.")

    def _draw(self, data: Data) -> None:
        """Show the first held-out clip, masked and reconstructed, to trackers that take images."""
        if self.args.tracker == "none":
            return
        batch = next(data.held_out())
        masked = data.mask_held_out(batch)
        with torch.no_grad():
            logits = self.model.eval()(**masked).logits  # by all processes, which may hold a part of the model each
        self.model.train()
        trackers = [tracker for tracker in self.accelerator.trackers if hasattr(tracker, "log_images")]
        if not trackers:
            return
        figure = draw(batch, masked, logits, data.extractor)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        image = np.asarray(canvas.buffer_rgba())[None, ..., :3]
        with self._tracking():
            for tracker in trackers:
                formats = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
                tracker.log_images({"validation/reconstruction": image}, step=self.progress.step, **formats)


def _own(weight: torch.Tensor) -> torch.Tensor:
    """Return the part of a weight that this process holds."""
    return weight.to_local() if hasattr(weight, "to_local") else weight
