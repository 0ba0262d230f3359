"""A decoding result as one self-contained page, for a clinician and a reviewer of methods, and as JSON."""

import base64
import io
import json
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..atomic import written_whole
from . import dimension_figures, figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What a result may lack.
OPTIONAL = (
    "roc",
    "confusion",
    "scatter",
    "few_shot",
    "layers",
    "best_contacts",
    "dimension",
    "positions",
    "statistics",
)

STYLE = {
    "font.size": 9,
    "axes.titlesize": 9,
    "svg.fonttype": "path",  # the same everywhere, whatever fonts the reader has
    "svg.hashsalt": "brainbert",  # the same names inside the picture every time
}


def write_report(result: Mapping[str, Any], folder: str | Path) -> Path:
    """Write report.html and report.json of a decoding result to `folder`; return the path of the page.

    result: strings, numbers, lists and dicts with the keys that `decode` gives; numpy's numbers and arrays are taken
    too. Both files are written whole, and are the same bytes for the same result. The page needs no other file and no
    network. In the JSON keys are sorted and NaN is null.
    """
    content = plain_json(result)
    return write_page(render(content), content, Path(folder) / "report.html")


def write_page(page: str, content: Any, path: Path) -> Path:
    """Write a page and beside it, as JSON, the numbers it was made of; return its path."""
    with written_whole(path.with_suffix(".json")) as temporary:
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8", newline="\n")
    with written_whole(path) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")
    return path


def render(result: Mapping[str, Any], pictures: Mapping[str, tuple[str, int]] | None = None) -> str:
    """Return the page of a decoding result, as HTML: the same for a result and for what report.json holds of it.

    pictures: those of `draw`, which are drawn when they are not given; what is not among them is left out.
    """
    result = {**dict.fromkeys(OPTIONAL), **plain_json(result)}
    systems, labels = _order(result)
    model = systems[0]
    return fill(
        "report.html.j2",
        **result,
        model_system=model,
        ordered=systems,
        names={entry["name"]: entry["label"] for entry in labels},
        differences_to={entry["control"]: entry for entry in result["differences"]},
        outcome=outcome_of(result["differences"]),
        classes=result["task"]["classes"] or sorted(result["task"]["windows"]),
        contact_rows=_contact_rows(systems),
        passed=sum(_passes(entry, result["false_discovery"]) for entry in model["contacts"] or []),
        contacts_left_out=contacts_left_out(result),
        figure=draw(result) if pictures is None else pictures,
        style_of=figures.style_of,
    )


def fill(template: str, **values: Any) -> str:
    """Return a template of this folder with these values in it, which are escaped."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(lambda name: resources.files(__package__).joinpath(name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "number": number,
        "signed": signed,
        "interval": interval,
        "probability": probability,
        "count": count,
        "plural": plural,
        "setting": setting,
    }
    return environment.get_template(template).render(values)


def plain_json(value: Any) -> Any:
    """Return a value as JSON can hold it: keys sorted, numpy's numbers and arrays as Python's, NaN as None."""
    if isinstance(value, Mapping):
        return {str(key): plain_json(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, np.ndarray | np.generic):
        return plain_json(value.tolist())
    if isinstance(value, list | tuple):
        return [plain_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def draw(result: Mapping[str, Any]) -> dict[str, tuple[str, int]]:
    """Return every figure that a result has the parts of, by name: its address as data, and its width in pixels."""
    import matplotlib.style

    result = {**dict.fromkeys(OPTIONAL), **plain_json(result)}
    systems, labels = _order(result)
    metric, chance, classes = result["task"]["metric"], result["task"]["chance"], result["task"]["classes"]
    scale = {"metric": metric, "chance": chance}
    with_contacts = [system for system in systems if system["contacts"]]
    drawn: dict[str, Figure] = {}
    # What a reader has set for figures of their own must not reach these.
    with matplotlib.style.context(["default", STYLE]):
        drawn["systems"] = figures.plot_systems(systems, **scale)
        if result["differences"]:
            drawn["differences"] = figures.plot_differences(result["differences"], metric=metric)
        if with_contacts and with_contacts[0] is systems[0]:
            drawn["contacts"] = figures.plot_contacts(with_contacts, **scale, false_discovery=result["false_discovery"])
        if result["few_shot"]:
            drawn["few_shot"] = figures.plot_few_shot(result["few_shot"], labels, **scale)
        if result["layers"]:
            drawn["layers"] = figures.plot_layers(result["layers"], labels, **scale)
        if result["roc"]:
            drawn["roc"] = figures.plot_roc(result["roc"], labels, positive=classes[-1])
        if result["confusion"]:
            drawn["confusion"] = figures.plot_confusion(result["confusion"])
        if result["scatter"]:
            drawn["scatter"] = figures.plot_scatter(result["scatter"])
        if result["dimension"]:
            drawn["dimension"] = dimension_figures.plot_dimension(result["dimension"], labels)
            if result["positions"]:
                drawn["positions"] = dimension_figures.plot_positions(result["dimension"], result["positions"])
        return {name: (address(figure), round(figure.get_figwidth() * 96)) for name, figure in drawn.items()}


def _order(result: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]], list[Mapping[str, str]]]:
    """Return the systems, the encoder in question first, and name, label and role of all that figures may hold."""
    systems: list[Mapping[str, Any]] = sorted(result["systems"], key=lambda system: system["role"] != "model")
    labels: list[Mapping[str, str]] = [{key: system[key] for key in ("name", "label", "role")} for system in systems]
    known = {entry["name"] for entry in labels}
    for name in sorted({row["system"] for row in result["dimension"] or []} - known):
        labels.append({"name": name, "label": name, "role": "control"})
    return systems, labels


def contacts_left_out(result: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return recording, contact and reason."""
    return [
        (recording["id"], contact, reason)
        for recording in result["recordings"]
        for contact, reason in recording["left_out"].items()
    ]


def address(figure: "Figure") -> str:
    """Return a figure as a data address: as an image its names cannot meet those of another figure or of the page."""
    drawn = io.StringIO()
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(drawn, format="svg", metadata=metadata)
    return "data:image/svg+xml;base64," + base64.b64encode(drawn.getvalue().encode()).decode()


def outcome_of(differences: Sequence[Mapping[str, Any]]) -> str:
    """Return "above" when the pretrained encoder is above every control, its interval excluding zero."""
    lows = [(entry["interval"] or [None])[0] for entry in differences]
    return "above" if lows and all(low is not None and low > 0 for low in lows) else "open"


def _passes(entry: Mapping[str, Any], false_discovery: float) -> bool:
    return entry["q"] is not None and entry["q"] <= false_discovery


def _contact_rows(systems: Sequence[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], list[float | None]]]:
    """Return, for every contact from the best to the worst, the model's entry and the other systems' scores."""
    entries = {entry["contact"]: entry for entry in systems[0]["contacts"] or []}
    others = [{entry["contact"]: entry["score"] for entry in system["contacts"] or []} for system in systems[1:]]
    order = figures.sort_contacts(list(entries.values()))
    return [(entries[name], [scores.get(name) for scores in others]) for name in order]


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with a true minus sign, a dash for None."""
    return "–" if value is None else f"{value:z.{digits}f}".replace("-", "−")


def signed(value: float | None) -> str:
    """Return a difference with its sign."""
    return "–" if value is None else f"{value:+.3f}".replace("-", "−")


def interval(ends: Sequence[float | None] | None) -> str:
    """Return an interval as "low to high", a dash where there is none."""
    return "–" if ends is None or None in ends else f"{number(ends[0])} to {number(ends[1])}"


def probability(value: float | None) -> str:
    """Return a p or q with as many digits as say something."""
    if value is None:
        return "–"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}" if value >= 0.01 else f"{value:.1g}"


def count(value: int | None, noun: str = "") -> str:
    """Return a count with its noun, in the plural where it must be: "1,024 windows"."""
    return "–" if value is None else f"{value:,} {noun if value == 1 or not noun else plural(noun)}".strip()


def plural(noun: str) -> str:
    """Return the plural of a noun; the first word's for a "block of time"."""
    first, of, rest = noun.partition(" of ")
    return f"{first}s{of}{rest}"


def setting(value: Any) -> str:
    """Return the value of a setting as a reader would write it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(setting, value)) or "–"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {setting(item)}" for key, item in value.items()) or "–"
    return f"{value:g}" if isinstance(value, float) else str(value)
