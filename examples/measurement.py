"""Measure contenders in turn, in one run, and show what was found with the machine that it was found on."""

import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

MOST_CALLS, ROUND_S = 10, 0.2

# Figures that some tasks have: the column's head, and what the figure is multiplied by.
EXTRA = {
    "percent_of_the_floor": ("% of the floor", 1),
    "median_cpu_s": ("CPU ms", 1e3),
    "cpu_ratio": ("× its CPU", 1),
    "percent_of_product": ("% of the product", 1),
    "percent_waiting": ("% waiting for batches", 1),
    "peak_gigabytes": ("peak GB", 1),
}


class Contender(NamedTuple):
    call: Callable[[], object]
    items: int  # that one call handles: clips or windows
    difference: float | None = None  # of its numbers from the first contender's


class CpuCounted:
    """A call that notes the CPU seconds that it takes, in this process and in those that it has started.

    These must stay from call to call: of one that has ended, nothing is counted.
    """

    def __init__(self, call: Callable[[], object]):
        self.call = call
        self.seconds: list[float] = []

    def __call__(self) -> None:
        before = self._cpu_s()
        self.call()
        self.seconds.append(self._cpu_s() - before)

    def _cpu_s(self) -> float:
        import psutil  # here, since only what is measured with workers needs it

        children = psutil.Process().children(recursive=True)
        return time.process_time() + sum(sum(child.cpu_times()[:2]) for child in children)


def alternate(calls: dict[str, Callable[[], object]], *, rounds: int, device: str) -> dict[str, list[float]]:
    """Return the seconds of each call in each round: they take turns, round by round.

    Within a round each is called back to back, up to ten times or for a fifth of a second, and the median call counts:
    so nobody always starts with the cache that another one left.
    """

    def time_one(call: Callable[[], object]) -> float:
        started = time.perf_counter()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    for call in calls.values():  # compile, make kernels
        time_one(call)
    counts = {who: min(MOST_CALLS, max(1, round(ROUND_S / time_one(call)))) for who, call in calls.items()}
    seconds: dict[str, list[float]] = {who: [] for who in calls}
    for _ in range(rounds):
        for who, call in calls.items():
            seconds[who].append(statistics.median(time_one(call) for _ in range(counts[who])))
    return seconds


def summarise(contenders: dict[str, Contender], seconds: dict[str, list[float]]) -> list[dict]:
    """Return a row per contender: median and quartiles of seconds an item, and of their ratio to the first's by round.

    ratio_of_medians is the ratio of the two medians.
    """
    rows: list[dict] = []
    first = None
    for who, contender in contenders.items():
        an_item = np.array(seconds[who]) / contender.items
        first = an_item if first is None else first
        rows.append({"contender": who})
        for name, values in (("s", an_item), ("ratio", an_item / first)):
            lower, median, upper = (float(value) for value in np.quantile(values, (0.25, 0.5, 0.75)))
            rows[-1] |= {f"median_{name}": median, f"lower_{name}": lower, f"upper_{name}": upper}
        rows[-1]["ratio_of_medians"] = float(np.median(an_item) / np.median(first))
        rows[-1]["difference"] = contender.difference
    return rows


def yardsticks(device: str) -> tuple[dict[str, Callable[[], object]], Callable[[dict[str, list[float]]], dict]]:
    """Return two calls to alternate with, and what turns their seconds into rates.

    They are a float32 product of square matrices without TF32 (1024 rows, 8192 on a GPU), in operations a second, and a
    copy (64 MB, 1 GB on a GPU), in bytes read and written a second.
    """
    size, memory = (1024, 2**26) if device == "cpu" else (8192, 2**30)
    torch.set_float32_matmul_precision("highest")
    left, right = torch.randn(2, size, size, device=device)
    product = torch.empty_like(left)
    source = torch.zeros(memory // 4, device=device)
    target = torch.empty_like(source)

    def rates(seconds: dict[str, list[float]]) -> dict:
        return {
            "operations/s": 2 * size**3 / statistics.median(seconds["product"]),
            "bytes/s": 2 * memory / statistics.median(seconds["copy"]),
        }

    return {"product": lambda: torch.mm(left, right, out=product), "copy": lambda: target.copy_(source)}, rates


def describe_machine(device: str) -> dict:
    """Return processor, GPU when used, threads and versions."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "dtype": "float32",
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "numpy", "scipy", "transformers", "brainbert")},
    }


def as_text(report: dict) -> str:
    """Return the machine in a line and the results as Markdown tables, one per task."""
    lines = [", ".join(f"{name} {value}" for name, value in report["machine"].items())]
    for task in dict.fromkeys(row["task"] for row in report["results"]):
        rows = [row for row in report["results"] if row["task"] == task]
        head = [task, "batch", "ms", "per second", f"× {rows[0]['contender']}", "difference"]
        extra = [name for name in EXTRA if any(name in row for row in rows)]
        head += [EXTRA[name][0] for name in extra]
        cells = [_cells(row) + [_extra_cell(row, name) for name in extra] for row in rows]
        lines += ["", *(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *cells))]
        lines += [f"\n{note}" for note in dict.fromkeys(row["note"] for row in rows if "note" in row)]
        floors = {row["batch"]: row["floor"] for row in rows if "floor" in row}
        lines += [
            f"\nFloor, batch {batch}: {floor['operations'] / 1e6:.3g} million operations at "
            f"{floor['operations/s'] / 1e9:.3g} GFLOP/s, {floor['bytes'] / 1e3:.3g} kB at "
            f"{floor['bytes/s'] / 1e9:.3g} GB/s."
            for batch, floor in floors.items()
        ]
    return "\n".join(lines)


def _cells(row: dict) -> list[str]:
    difference = "" if row["difference"] is None else f"{row['difference']:.1e}"
    return [
        row["contender"],
        str(row["batch"]),
        _with_quartiles(row, "s", scale=1e3),
        _short(1 / row["median_s"]),
        _with_quartiles(row, "ratio"),
        difference,
    ]


def _extra_cell(row: dict, name: str) -> str:
    if name not in row:
        return ""
    return f"{row[name]:.2g}" if name.startswith("percent") else _short(EXTRA[name][1] * row[name])


def _with_quartiles(row: dict, name: str, *, scale: float = 1) -> str:
    median, lower, upper = (_short(scale * row[f"{part}_{name}"]) for part in ("median", "lower", "upper"))
    return f"{median} ({lower}–{upper})"


def _short(number: float) -> str:
    """Return three digits, without an exponent above 1000."""
    return f"{number:,.0f}" if number >= 1000 else f"{number:.3g}"
