"""Read a stranger's file in a process of its own, with limits on time, memory, threads and disk.

A file that makes a reader loop, grow or crash ends that process, and the page says so. The process gets no environment
of ours: no token of the Hub is in its reach.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .refusal import Refusal

SECONDS = 60
MEMORY_BYTES = 4 * 2**30
DISK_BYTES = 2**30  # of any file that the process writes
RESULT = "result.json"
TASK = "task.json"
_LONGEST_RESULT = 16 * 2**20
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT", "VIRTUAL_ENV")


def run_limited(
    module: str,
    task: Mapping[str, Any],
    folder: Path,
    *,
    seconds: float = SECONDS,
    memory_bytes: int = MEMORY_BYTES,
) -> dict[str, Any]:
    """Run `python -m module FOLDER`, which finds its task in TASK and leaves an object in RESULT, and return that.

    module: calls `limit_this_process` first. seconds: of the clock and, separately, of the processor.
    Raises Refusal when the process runs out of time or memory, when it crashes, and with its sentence if it refuses.
    """
    (folder / RESULT).unlink(missing_ok=True)
    limits = {"seconds": seconds, "memory_bytes": memory_bytes}
    (folder / TASK).write_text(json.dumps({**task, "limits": limits}), encoding="utf-8")
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    environment |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment |= {"HOME": str(folder), "MPLCONFIGDIR": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(str(Path(entry or ".").absolute()) for entry in sys.path)
    process = subprocess.Popen(
        [sys.executable, "-m", module, str(folder)],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,  # a reader's messages may name patients, and logs are kept
        start_new_session=True,
    )
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        raise _too_slow(seconds) from None
    finally:
        if process.poll() is None:
            _end(process)
    if process.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        raise _too_slow(seconds)
    result = folder / RESULT
    if not result.is_file() or result.stat().st_size > _LONGEST_RESULT:
        raise Refusal(
            "Reading the file ended in a crash, so it is probably broken: check that other programs open it, and "
            "export it anew."
        )
    found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    if "refusal" in found:
        raise Refusal(found["refusal"])
    return found


def limit_this_process(*, seconds: float, memory_bytes: int) -> None:
    """Let the system end this process when it asks for more; on systems without such limits only the clock is left."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return
    for what, limit in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, int(seconds) + 1),
        (resource.RLIMIT_FSIZE, DISK_BYTES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 256),
    ):
        resource.setrlimit(what, (limit, limit))


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and whatever it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()
    process.wait()


def _too_slow(seconds: float) -> Refusal:
    return Refusal(
        f"Reading and conditioning took more than {seconds:g} s and were stopped: cut the recording, or run this page "
        "on your own machine."
    )
