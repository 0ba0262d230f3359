"""The table of Neuroprobe as one self-contained page, with a picture of every task, and as JSON."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .figures import WIDE, plain, style_of
from .neuroprobe_table import verdicts
from .neuroprobe_windows import SPLITS
from .report import STYLE, address, fill, plain_json, write_page

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CHANCE = 0.5


def write_table(table: Mapping[str, Any], folder: Path | str) -> Path:
    """Write table.html and table.json of `summarise` to `folder`; return the path of the page.

    table: with "benchmark" (its name), "version", "settings", "tasks" (task → title), "seen" (row → words about what
    its weights have seen) and "notes", sentences that a reader must know. Both are written whole.
    """
    content = plain_json(table)
    return write_page(render(table), content, Path(folder) / "table.html")


def render(table: Mapping[str, Any]) -> str:
    """Return the page, as HTML."""
    import matplotlib.style

    with matplotlib.style.context(["default", STYLE]):
        figures = {split: plot_tasks(table, split) for split in SPLITS if _rows_of(table, split)}
        pictures = [(split, address(figure), round(figure.get_figwidth() * 96)) for split, figure in figures.items()]
    return fill("neuroprobe.html.j2", **table, all_splits=SPLITS, pictures=pictures, verdicts=verdicts(table))


def plot_tasks(table: Mapping[str, Any], split: str) -> "Figure":
    """Return a bar chart of a split: AUROC of each task, and of their mean, one bar a system."""
    from matplotlib.figure import Figure  # not pyplot: no window, no global state

    rows = _rows_of(table, split)
    tasks = [task for task in table["tasks"] if any(task in row["splits"][split]["by_task"] for row in rows)]
    figure = Figure(figsize=(WIDE, 3.4), layout="constrained")
    axis = figure.subplots()
    width = 0.8 / len(rows)
    for place, row in enumerate(rows):
        found = row["splits"][split]
        heights = [found["auroc"], *(found["by_task"].get(task, float("nan")) for task in tasks)]
        shift = (place - (len(rows) - 1) / 2) * width
        positions = [0 + shift, *(1.5 + task + shift for task in range(len(tasks)))]
        axis.bar(
            positions,
            [height - CHANCE for height in heights],
            width * 0.9,
            bottom=CHANCE,
            color=_color(row["name"], table),
            label=plain(row["name"]),
        )
    axis.axhline(CHANCE, color="0.45", linewidth=0.8)
    names = ["Mean", *(table["tasks"][task] for task in tasks)]
    axis.set_xticks([0, *(1.5 + task for task in range(len(tasks)))], names, rotation=35, ha="right")
    axis.set(ylabel="AUROC", xlim=(-0.7, len(tasks) + 1.2))
    axis.set_title(f"{split}, mean over {max(row['splits'][split]['sessions'] for row in rows)} sessions", loc="left")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, ncols=min(len(rows), 5), fontsize=8, loc="upper right")
    return figure


def _rows_of(table: Mapping[str, Any], split: str) -> Sequence[Mapping[str, Any]]:
    return [row for row in table["rows"] if split in row["splits"]]


def _color(name: str, table: Mapping[str, Any]) -> str:
    """Systems of other pages look as they do there; encoders are blues."""
    known = style_of(name)
    if known != style_of(""):
        return known.color
    blues = ("#0072b2", "#4fa8dc", "#003f66", "#9ccbea")
    return blues[[row["name"] for row in table["rows"]].index(name) % len(blues)]
