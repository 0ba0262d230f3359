"""The page of the paper's table: table.html, table.md and table.json."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.style
from paper_plan import Sessions
from paper_results import AVERAGE, gather

from brainbert.processing.atomic import written_whole
from brainbert.processing.decoding import dimension_figures, figures
from brainbert.processing.decoding.bootstrap import ENOUGH_UNITS
from brainbert.processing.decoding.evaluation import FALSE_DISCOVERY, LABELS
from brainbert.processing.decoding.report import (
    STYLE,
    address,
    count,
    fill,
    interval,
    number,
    plain_json,
    signed,
    write_page,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SPLIT_NAMES = {"blocked": "Blocked split", "paper": "The paper's random split"}
TICKS = (50, 100, 200, 500, 1000)  # of few-shot curves
SCALE = {"metric": "AUROC", "chance": 0.5}


def write_table(args: argparse.Namespace, sessions: Sessions) -> tuple[Path, str]:
    """Write the page and what it was made of; return its path and its first sentence."""
    content = plain_json(gather(args, sessions))
    first = args.split[0]
    content["warnings"] = warnings_of(content, first)
    path = write_page(render(content, first), content, args.out / "table.html")
    with written_whole(path.with_suffix(".md")) as temporary:
        temporary.write_text(markdown(content), encoding="utf-8")
    return path, content["verdict"]


def render(content: Mapping[str, Any], first: str) -> str:
    tables = content["tables"]
    differences = tables[first][AVERAGE]["differences"]
    lows = [(entry["interval"] or [None])[0] for entry in differences]
    return fill(
        "paper_table.html.j2",
        **content,
        first=first,
        outcome="above" if lows and all(low is not None and low > 0 for low in lows) else "open",
        names=LABELS,
        split_names=SPLIT_NAMES,
        labels={split: labels_of(table) for split, table in tables.items()},
        by_name={
            split: {task: {system["name"]: system for system in table[task]["systems"]} for task in content["tasks"]}
            for split, table in tables.items()
        },
        subjects=sorted({part["subject"] for part in content["parts"]}),
        sessions=sorted({part["session"] for part in content["parts"]}),
        passed=sum(
            any(entry["q"] is not None and entry["q"] <= FALSE_DISCOVERY for entry in row["tasks"].values())
            for row in content["contacts"]
        ),
        pictures=draw(content),
        style_of=figures.style_of,
    )


def labels_of(table: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return name and label of the systems that any task has, in their order."""
    have = {system["name"] for of_task in table.values() for system in of_task["systems"]}
    return [(name, label) for name, label in LABELS.items() if name in have]


def draw(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the pictures: of each split all systems over all tasks, and how far the model is above each."""
    with matplotlib.style.context(["default", STYLE]):
        found: dict[str, Any] = {"tables": {}, "few_shot": None, "dimension": None}
        for split, table in content["tables"].items():
            average, pictures = table[AVERAGE], []
            if average["systems"]:
                what = f"All tasks, {SPLIT_NAMES[split].lower()}: AUROC of every system"
                pictures.append(_picture(figures.plot_systems(average["systems"], **SCALE), what))
            if average["differences"]:
                what = f"All tasks: {LABELS[content['model']]} minus each other system"
                pictures.append(_picture(figures.plot_differences(average["differences"], metric="AUROC"), what))
            found["tables"][split] = pictures
        systems = [{"name": name, "label": label, "role": "control"} for name, label in LABELS.items()]
        if content["few_shot"]:
            own = [each | {"role": "model"} if each["name"] == "pretrained" else each for each in systems]
            figure = figures.plot_few_shot(content["few_shot"], own, **SCALE)
            ticks = [size for size in content["few_shot"]["sizes"] if size in TICKS] or content["few_shot"]["sizes"]
            figure.axes[0].set_xticks(ticks, [f"{size:,}" for size in ticks])
            found["few_shot"] = _picture(figure, "few-shot")
        if content["dimension"]:
            found["dimension"] = _picture(dimension_figures.plot_dimension(content["dimension"], systems), "dimension")
    return found


def _picture(figure: "Figure", what: str) -> dict[str, Any]:
    return {"address": address(figure), "width": round(figure.get_figwidth() * 96), "what": what}


def warnings_of(content: Mapping[str, Any], first: str) -> list[str]:
    """Return what a reader has to be told before any number."""
    found = []
    table = content["tables"][first][AVERAGE]
    if 1 < table["units"] < ENOUGH_UNITS:
        found.append(
            f"There are {count(table['units'], 'subject')}: intervals rest on what the spread between so few people "
            "says of others. The paper has seven."
        )
    overlapping = sum(part["overlapping"] for part in content["parts"])
    if overlapping:
        found.append(
            f"{overlapping:,} test windows of the paper's random split share samples with training windows: its scores "
            "are too high."
        )
    if content["settings"]["preset"] != "large" or any((row["steps"] or 0) < 400_000 for row in content["models"]):
        found.append(
            "The models are not the paper's (large, 500,000 steps), or nobody noted how they were trained: the "
            "published figures are of those."
        )
    missing = len(content["not_decoded"])
    if missing:
        found.append(f"{missing} of the sessions and tasks could not be decoded: see the end of the page.")
    return found


def markdown(content: Mapping[str, Any]) -> str:
    """Return the tables of the page as text."""
    lines = [f"# {content['title']}", "", content["verdict"], ""]
    lines += [f"- {warning}" for warning in content["warnings"]]
    tasks, splits = content["tasks"], list(content["tables"])
    for split, table in content["tables"].items():
        lines += ["", f"## {SPLIT_NAMES[split]}, AUROC", "", *_head("system", *tasks)]
        of_task = [{system["name"]: system for system in table[task]["systems"]} for task in tasks]
        for name, label in labels_of(table):
            found = [each.get(name) for each in of_task]
            lines.append(_line(label, *(each and _with_interval(number(each["score"]), each) for each in found)))
    lines += ["", "## Beside what was published", ""]
    lines += _head("published", "AUROC", *(f"here, {split}" for split in splits))
    for row in content["published"]:
        ours = [
            "; ".join(f"{number(system['score'])} ({system['label']})" for system in row["ours"][split])
            for split in splits
        ]
        lines.append(_line(f"{row['what']} ({row['source']})", row["value"], *ours))
    if content["comparisons"]:
        lines += ["", "## Changed minus as it is", "", *_head("changed, compared with", *tasks)]
    for row in content["comparisons"]:
        found = [row["tasks"].get(task) for task in tasks]
        cells = [each and _with_interval(signed(each["difference"]), each) for each in found]
        lines.append(_line(f"{row['changed_label']}; {row['base_label']}; {row['how']}", *cells))
    return "\n".join(lines) + "\n"


def _head(*columns: str) -> list[str]:
    return [_line(*columns), "|---" * len(columns) + "|"]


def _line(*cells: str | None) -> str:
    return f"| {' | '.join(cell or '–' for cell in cells)} |"


def _with_interval(text: str, entry: Mapping[str, Any]) -> str:
    return f"{text} ({interval(entry['interval'])})" if entry["interval"] else text
