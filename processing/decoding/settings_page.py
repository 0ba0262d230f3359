"""The settings of some encoders as one self-contained page, as JSON, and as lines of text."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .figures import NARROW, ends, numbers, plain, style_of
from .report import STYLE, address, contacts_left_out, fill, interval, number, plain_json, signed, write_page

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_settings(result: Mapping[str, Any], folder: str | Path) -> Path:
    """Write settings.html and settings.json of `compare_settings` to `folder`; return the path of the page.

    result: what `compare_settings` gives, with "title", "settings" and the task's "labels". Both files are
    written whole, and are the same bytes for the same result. The page needs no other file and no network.
    """
    content = plain_json(result)
    return write_page(render(content), content, Path(folder) / "settings.html")


def render(result: Mapping[str, Any]) -> str:
    """Return the page of what `compare_settings` gives, as HTML."""
    import matplotlib.style

    result = plain_json(result)
    with matplotlib.style.context(["default", STYLE]):
        figures = plot_settings(result)
        pictures = [(address(figure), round(figure.get_figwidth() * 96)) for figure in figures]
    return fill(
        "settings.html.j2",
        **result,
        pictures=pictures,
        sentences=sentences(result),
        named=[_input_name(each) for each in result["inputs"]],
        best=_best(result),
        classes=result["task"]["classes"] or sorted(result["task"]["windows"]),
        contacts_left_out=contacts_left_out(result),
        style_of=style_of,
    )


def sentences(result: Mapping[str, Any]) -> list[str]:
    """Return which setting has the largest pretrained score and which the largest difference, and what they are for."""
    result = plain_json(result)
    metric, best = result["task"]["metric"], _best(result)
    top, gain = (result["rows"][result["largest"][what]] for what in ("score", "difference"))
    over = top["over_control"]
    return [
        f"A setting chosen here must be reported on other recordings: the largest of {len(result['rows'])} scores is "
        "too large, even where all are worth the same.",
        f"The largest pretrained score is that of {_row_name(result, top)}: {metric} "
        f"{number(top['pretrained']['score'])} ({interval(top['pretrained']['interval'])}), "
        f"{signed(over['difference'])} ({interval(over['interval'])}) over the best control, {best['label']}.",
        f"The largest difference to the untrained twin is that of {_row_name(result, gain)}: "
        f"{signed(gain['difference']['difference'])} ({interval(gain['difference']['interval'])}), from "
        f"{number(gain['untrained']['score'])} to {number(gain['pretrained']['score'])}.",
    ]


def table(result: Mapping[str, Any]) -> list[str]:
    """Return the rows as lines of text, their numbers below each other."""
    result = plain_json(result)
    best = _best(result)
    rows: list[tuple[str, ...]] = [("setting", "pretrained", "untrained", "difference", f"over {best['label']}")]
    for row in result["rows"]:
        measured = [(row[name]["score"], row[name]["interval"], number) for name in ("pretrained", "untrained")]
        compared = [(row[name]["difference"], row[name]["interval"], signed) for name in ("difference", "over_control")]
        cells = [f"{shown(value)} ({interval(both)})" for value, both, shown in [*measured, *compared]]
        rows.append((_row_name(result, row), *cells))
    for control in result["controls"]:
        rows.append((control["label"], f"{number(control['score'])} ({interval(control['interval'])})", "", "", ""))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def plot_settings(result: Mapping[str, Any]) -> list["Figure"]:
    """Return a figure of every input: scores of the pretrained encoder and its untrained twin, pooling by pooling.

    All have one scale. Grey: the best control with its interval; dotted: chance.
    """
    best = _best(result)
    band = ends(best["interval"])
    every = [row[name]["interval"] or [None] for row in result["rows"] for name in ("pretrained", "untrained")]
    shown = [end for both in [*every, band.tolist(), [best["score"], result["task"]["chance"]]] for end in both]
    finite = [end for end in numbers(shown).tolist() if end == end]
    margin = 0.04 * (max(finite) - min(finite))
    limits = min(finite) - margin, max(finite) + margin
    return [
        _plot_input(
            [row for row in result["rows"] if row["input"] == place],
            title=_input_name(each),
            best=best,
            task=result["task"],
            limits=limits,
        )
        for place, each in enumerate(result["inputs"])
    ]


def _plot_input(
    rows: Sequence[Mapping[str, Any]],
    *,
    title: str,
    best: Mapping[str, Any],
    task: Mapping[str, Any],
    limits: tuple[float, float],
) -> "Figure":
    from matplotlib.figure import Figure  # not pyplot: no window, no global state

    poolings = list(dict.fromkeys(row["pooling"] for row in rows))
    # A row of space between poolings.
    heights = [row + poolings.index(each["pooling"]) for row, each in enumerate(rows)]
    figure = Figure(figsize=(NARROW, 1.7 + 0.27 * (heights[-1] + 1)), layout="constrained")
    axis = figure.subplots()
    axis.axvspan(*ends(best["interval"]), color="0.92", linewidth=0, label=f"best control: {plain(best['label'])}")
    axis.axvline(float(numbers(best["score"])), color="0.6", linewidth=1)
    axis.axvline(task["chance"], color="0.45", linewidth=0.8, linestyle=":")
    for name, shift in (("untrained", 0.16), ("pretrained", -0.16)):
        style = style_of(name)
        for row, height in zip(rows, heights, strict=True):
            place = [height + shift] * 2
            axis.plot(ends(row[name]["interval"]), place, color=style.color, linewidth=1.6, solid_capstyle="round")
            score = numbers([row[name]["score"]])
            label = f"{name}, 95 % interval" if row is rows[0] else None
            axis.plot(score, place[:1], style.marker, color=style.color, markersize=5, label=label)
    axis.set_yticks(heights, [f"{row['pooling']}, layer {row['layer']}" for row in rows])
    axis.set(xlim=limits, ylim=(heights[-1] + 0.7, -0.7), xlabel=task["metric"])
    axis.set_title(plain(title, 70), loc="left", fontweight="bold")
    axis.tick_params(axis="y", length=0)
    axis.spines[["top", "right", "left"]].set_visible(False)
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return figure


def _best(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the control with the largest score."""
    return next(entry for entry in result["controls"] if entry["name"] == result["best_control"])


def _input_name(entry: Mapping[str, Any]) -> str:
    """Return a model and its input, and whether it was pretrained with another."""
    trained = "" if entry["as_trained"] else "; not as trained"
    return f"{entry['model']} ({entry['normalization']}, {entry['scale']}{trained})"


def _row_name(result: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    return f"{_input_name(result['inputs'][row['input']])}, {row['pooling']}, layer {row['layer']}"
