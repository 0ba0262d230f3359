"""Checkpoints of a run: written whole, rotated, read back.

They are Accelerate's, with files that only the run itself may read: local and trusted, never from anywhere else.
"""

import json
import shutil
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from ..atomic import remove_parts, written_whole


class Checkpoints:
    """The checkpoints of a run in `folder`, which all processes must see; the last `keep` stay.

    accelerator: of Accelerate; what it has prepared or registered is what is saved.
    """

    def __init__(self, folder: Path, accelerator: Any, *, keep: int = 2):
        self.folder = folder
        self.accelerator = accelerator
        self.keep = keep

    def latest(self) -> Path | None:
        """Return the last complete checkpoint, None when there is none."""
        return max(self.folder.glob("step-*"), default=None)

    def save(self, step: int, progress: dict[str, Any]) -> None:
        """Write the state after `step` steps and `progress`, as JSON; all processes call it together.

        Raises OSError, in all of them, when one could not write; what was there before is as it was.
        """
        target = self.folder / f"step-{step:09d}"
        if target.exists():
            return
        main = self.accelerator.is_main_process
        temporary: Path | None = None
        problem = ""
        try:
            with ExitStack() as whole:
                if main:
                    try:
                        remove_parts(self.folder)
                        temporary = whole.enter_context(written_whole(target))
                    except OSError as error:
                        problem = str(error)
                self._raise_together(problem)
                folder: Path = _from_main(temporary)
                try:
                    self.accelerator.save_state(str(folder))
                    if main:
                        (folder / "progress.json").write_text(json.dumps(progress) + "\n", encoding="utf-8")
                # torch and safetensors have errors of their own for a full disk.
                except (OSError, RuntimeError, SafetensorError) as error:
                    problem = str(error).splitlines()[0]
                self._raise_together(problem)
        except OSError as error:  # of writing, or of bringing it to the disk, which the main process alone does
            problem = str(error)
        self._raise_together(problem)
        if main:
            for old in sorted(self.folder.glob("step-*"))[: -self.keep]:
                # A name that is no checkpoint's, so that one that is half removed is not taken for the latest. One that
                # cannot be removed stays: what was asked for is done.
                with suppress(OSError):
                    shutil.rmtree(old.rename(old.with_name(f".{old.name}.part")))

    def load(self, checkpoint: Path) -> dict[str, Any]:
        """Bring back the state and return the progress; all processes call it together."""
        self.accelerator.wait_for_everyone()
        self.accelerator.load_state(str(checkpoint))
        return json.loads((checkpoint / "progress.json").read_text(encoding="utf-8"))

    def _raise_together(self, problem: str) -> None:
        failed = torch.tensor(int(bool(problem)), device=self.accelerator.device)
        if self.accelerator.reduce(failed, reduction="sum").item():
            raise OSError(problem or "another process could not write")


def _from_main(value: Any) -> Any:
    """Return the main process's value."""
    from accelerate.utils import broadcast_object_list  # who reads masks alone need not have it

    values = [value]
    broadcast_object_list(values)
    return values[0]
