"""The table of a benchmark, ours beside the published rows: as a self-contained page, as JSON and as text."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .across_subjects import across_subjects
from .benchmark import Benchmark
from .evaluation import LABELS
from .figures import plot_systems
from .measures import MEASURES
from .report import STYLE, address, fill, interval, number, outcome_of, plain_json, write_page


def summarise(
    benchmark: Benchmark, results: Sequence[Mapping[str, Any]], *, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the table of a benchmark from the results of its problems (`run_problem`), in their order.

    settings: how it was run, for the page; no paths.
    """
    published = [asdict(row) for row in benchmark.published]
    return {
        "benchmark": benchmark.name,
        "problems": list(results),
        "people": people_together(results) if benchmark.subjects and len(results) > 1 else None,
        "published": published,
        "source": benchmark.source,
        "spread": benchmark.spread,
        "notes": list(benchmark.notes),
        "settings": dict(settings),
    }


def people_together(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the mean over problems that are one person each, with Student's interval, in the form of one problem."""
    measures = results[0]["measures"]
    rows = {row["name"]: row for result in results for row in result["rows"]}
    own = next(name for name, row in rows.items() if row["role"] == "model")
    subjects = {result["name"]: result["name"] for result in results}
    labels = {name: row["label"] for name, row in rows.items()}

    def over_people(measure: str, names: Sequence[str]) -> dict[str, Any]:
        about = MEASURES[measure]
        found: dict[str, dict[str, Any]] = {"score": {}, "chance": {}}
        for what, values in found.items():
            for name in names:
                of_name = {
                    result["name"]: row["measures"][measure][what]
                    for result in results
                    for row in result["rows"]
                    if row["name"] == name and row["measures"][measure][what] is not None
                }
                if of_name:
                    values[name] = of_name
        return across_subjects(
            found["score"],
            subjects,
            model=own,
            labels=LABELS | labels,
            chance=found["chance"],
            metric=about.label,
            limits=about.limits,
            higher_is_better=about.higher_is_better,
        )

    compared = over_people(measures[0], [name for name, row in rows.items() if row["role"] != "variant"])
    of_measures = {
        measure: {entry["name"]: entry for entry in over_people(measure, list(rows))["systems"]} for measure in measures
    }
    return {
        "name": "All subjects",
        "measures": measures,
        "judged": own,
        "rows": [
            {
                **{key: row[key] for key in ("name", "label", "head", "role")},
                "measures": {
                    measure: {**{key: entries[name][key] for key in ("score", "interval", "chance")}, "p": None}
                    for measure, entries in of_measures.items()
                    if name in entries
                },
            }
            for name, row in rows.items()
        ],
        "differences": compared["differences"],
        "verdict": compared["verdict"] or "There are too few subjects to say anything about others.",
        "bootstrap": {"unit": "subject", "units": compared["units"]},
        "subjects": list(subjects),
    }


def write_benchmark(table: Mapping[str, Any], folder: str | Path) -> Path:
    """Write benchmark.html and benchmark.json of `summarise` to `folder`; return the path of the page."""
    content = plain_json(table)
    return write_page(render(content), content, Path(folder) / "benchmark.html")


def render(table: Mapping[str, Any]) -> str:
    """Return the page, as HTML."""
    import matplotlib.style

    together = [table["people"]] if table["people"] else []
    with matplotlib.style.context(["default", STYLE]):
        sections = [_section(problem, table) for problem in (*together, *table["problems"])]
    judged = sections[:1] if table["people"] else sections
    return fill("benchmark.html.j2", **table, sections=sections, judged=judged, measures=MEASURES)


def _section(problem: Mapping[str, Any], table: Mapping[str, Any]) -> dict[str, Any]:
    first = problem["measures"][0]
    shown = [
        {
            "name": row["name"].partition(":")[0],
            "label": row["label"] + (f", {row['head']}" if row["role"] == "variant" and row["head"] else ""),
            "role": row["role"],
            **row["measures"][first],
        }
        for row in problem["rows"]
        if first in row["measures"]
    ]
    for entry in shown:
        entry["chance"] = entry["chance"] or [None, None]
        entry["interval"] = entry["interval"] or [None, None]
    constant = next((entry["score"] for entry in shown if entry["name"] == "constant"), None)
    figure = plot_systems(shown, metric=MEASURES[first].label, chance=float("nan") if constant is None else constant)
    return {
        **problem,
        "outcome": outcome_of(problem["differences"]),
        "picture": address(figure),
        "width": round(figure.get_figwidth() * 96),
        "own": problem["rows"][0],
        "published": published_of(problem, table),
    }


def published_of(problem: Mapping[str, Any], table: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the published rows that belong beside a problem, or beside all people together."""
    if table["people"] and problem is not table["people"] and "subjects" not in problem:
        return []
    return table["published"]


def as_text(table: Mapping[str, Any]) -> list[str]:
    """Return the table as lines for a terminal: ours, then the published rows, and each verdict."""
    lines = []
    for problem in [table["people"]] if table["people"] else table["problems"]:
        names = [row["label"] + (f", {row['head']}" if row["head"] else "") for row in problem["rows"]]
        published = published_of(problem, table)
        width = max(len(name) for name in [*names, *(f"{row['label']} (published)" for row in published)])
        labels = [MEASURES[measure].label for measure in problem["measures"]]
        lines += [problem["name"], f"{'':{width}}  " + "  ".join(f"{label:>24}" for label in labels)]
        for name, row in zip(names, problem["rows"], strict=True):
            found = [row["measures"].get(measure) for measure in problem["measures"]]
            cells = [f"{number(each['score'])} ({interval(each['interval'])})" if each else "–" for each in found]
            lines.append(f"{name:{width}}  " + "  ".join(f"{cell:>24}" for cell in cells))
        for row in published:
            cells = [_published_cell(row, measure) for measure in problem["measures"]]
            label = f"{row['label']} (published)"
            lines.append(f"{label:{width}}  " + "  ".join(f"{cell:>24}" for cell in cells))
        lines += [problem["verdict"], ""]
    return lines


def _published_cell(row: Mapping[str, Any], measure: str) -> str:
    if measure not in row["values"]:
        return "–"
    spread = row["spread"].get(measure)
    return number(row["values"][measure]) + (f" ± {number(spread)}" if spread is not None else "")
