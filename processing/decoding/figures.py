"""Pictures of a decoding result: each function takes parts of it and returns a matplotlib Figure.

Numbers may be None or NaN: nothing is drawn there. Every system looks the same in all figures.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NARROW, WIDE = 5.2, 10.0  # inches: half of the page's width, and all of it
BAND = "0.9"  # chance


class Style(NamedTuple):
    """How a system is drawn; shape and dashes tell it apart where colour does not."""

    color: str
    marker: str
    dashes: str | tuple[int, tuple[int, ...]] = "-"


# Blues are encoders that were pretrained (Okabe and Ito, safe for the colour-blind); controls are greys and muted.
_STYLES = {
    "pretrained": Style("#0072b2", "o"),
    "fine-tuned": Style("#4fa8dc", "D"),
    "untrained": Style("#333333", "s", "--"),
    "spectrogram": Style("#a07d3b", "^", "-."),
    "spectrogram-time": Style("#c9ab74", "v", ":"),
    "band-power": Style("#6f8f72", "P", (0, (5, 1, 1, 1, 1, 1))),
    "waveform": Style("#a98aa4", "X", (0, (3, 2))),
    "waveform-network": Style("#80607a", "*", (0, (1, 1))),
    "fine-tuned-untrained": Style("#777777", "d", (0, (6, 2))),
}


def style_of(system: str) -> Style:
    """Return how a system is drawn; one that is not known is light grey."""
    return _STYLES.get(system, Style("#999999", "h", (0, (2, 2))))


def plot_systems(systems: Sequence[Mapping[str, Any]], *, metric: str, chance: float) -> "Figure":
    """Return a figure of the score of every system, with its interval on top of its chance interval."""
    figure, axis = _rows(len(systems))
    for row, system in enumerate(systems):
        style = style_of(system["name"])
        low, high = ends(system["chance"])
        axis.fill_betweenx([row - 0.36, row + 0.36], low, high, color=BAND, linewidth=0)
        axis.plot(ends(system["interval"]), [row, row], color=style.color, linewidth=2, solid_capstyle="round")
        axis.plot(numbers([system["score"]]), [row], style.marker, color=style.color, markersize=7)
    axis.axvline(chance, color="0.45", linewidth=0.8, linestyle=":")
    axis.set_yticks(range(len(systems)), [plain(system["label"]) for system in systems])
    axis.set_xlabel(f"{metric} (bar: 95 % interval; grey: chance)")
    _embolden(axis, [system["role"] == "model" for system in systems])
    return figure


def plot_differences(differences: Sequence[Mapping[str, Any]], *, metric: str) -> "Figure":
    """Return a figure of how far the encoder is above each control, with intervals; filled: above zero."""
    figure, axis = _rows(len(differences))
    for row, entry in enumerate(differences):
        style = style_of(entry["control"])
        low, high = ends(entry["interval"])
        axis.plot([low, high], [row, row], color=style.color, linewidth=2, solid_capstyle="round")
        face = style.color if low > 0 or high < 0 else "white"
        difference = numbers([entry["difference"]])
        axis.plot(difference, [row], style.marker, color=style.color, markersize=7, markerfacecolor=face)
    axis.axvline(0, color="0.2", linewidth=1)
    axis.set_yticks(range(len(differences)), [plain(entry["label"]) for entry in differences])
    axis.set_xlabel(f"encoder minus control ({metric})")
    return figure


def plot_contacts(
    systems: Sequence[Mapping[str, Any]], *, metric: str, chance: float, false_discovery: float
) -> "Figure":
    """Return a figure of the score of every contact under every system, sorted by the first system's.

    Rows of at most 30 contacts. Grey steps are the first system's chance intervals; its dot is filled where the
    contact's q is at most `false_discovery`. With at most 12 contacts every system has its interval.
    """
    from matplotlib.figure import Figure  # not pyplot: no window, no global state

    first = {entry["contact"]: entry for entry in systems[0]["contacts"]}
    names = sort_contacts(systems[0]["contacts"])
    panels = max(1, -(-len(names) // 30))
    length = -(-len(names) // panels)
    few = len(names) <= 12
    narrow = few and len(names) * len(systems) <= 20
    figure = Figure(figsize=(NARROW if narrow else WIDE, 3.0 + 2.5 * (panels - 1)), layout="constrained")
    for panel, axis in enumerate(figure.subplots(panels, 1, sharey=True, squeeze=False)[:, 0]):
        shown = names[panel * length : (panel + 1) * length]
        for place, name in enumerate(shown):
            low, high = ends(first[name]["chance"])
            axis.fill_between([place - 0.5, place + 0.5], low, high, color=BAND, linewidth=0)
            axis.axvline(place + 0.5, color="0.94", linewidth=0.8)
        axis.axhline(chance, color="0.45", linewidth=0.8, linestyle=":")
        # The first system last, so that it lies on top.
        for order, system in reversed(list(enumerate(systems))):
            style = style_of(system["name"])
            entries = {entry["contact"]: entry for entry in system["contacts"]}
            shift = (order - (len(systems) - 1) / 2) * (0.8 / len(systems))
            for place, name in enumerate(shown):
                entry = entries.get(name)
                if entry is None:
                    continue
                if few or not order:
                    x = [place + shift] * 2
                    axis.plot(x, ends(entry["interval"]), color=style.color, linewidth=1.2 if order else 2)
                q = entry["q"] if entry["q"] is not None else 1.0
                axis.plot(
                    [place + shift],
                    numbers([entry["score"]]),
                    style.marker,
                    color=style.color,
                    markersize=(4 if order else 6.5) if few else (3 if order else 5),
                    markerfacecolor=style.color if order or q <= false_discovery else "white",
                    alpha=0.85 if order else 1.0,
                )
        upright = length <= 6 or (few and max(map(len, names)) <= 8)
        labels = [plain(name, 18) for name in shown]
        axis.set_xticks(range(len(shown)), labels, rotation=0 if upright else 90, fontsize=8)
        axis.set(xlim=(-0.6, length - 0.4), ylabel=metric)
        axis.tick_params(axis="x", length=0)
        axis.spines[["top", "right"]].set_visible(False)
    legend(figure, systems, lines=False)
    return figure


def plot_few_shot(
    few_shot: Mapping[str, Any], systems: Sequence[Mapping[str, Any]], *, metric: str, chance: float
) -> "Figure":
    """Return a figure of the score against the number of training windows, with a band over draws of them.

    few_shot: the result's entry: "sizes" and, per system, "mean", "low" and "high". systems: names and labels.
    """
    figure, axis = _curves(few_shot["sizes"], few_shot["systems"], systems, metric=metric, chance=chance)
    axis.set_xscale("log")
    axis.set_xticks(few_shot["sizes"], [f"{size:,}" for size in few_shot["sizes"]])
    axis.minorticks_off()
    axis.set_xlabel("training windows (log scale)")
    return figure


def plot_layers(
    layers: Mapping[str, Any], systems: Sequence[Mapping[str, Any]], *, metric: str, chance: float
) -> "Figure":
    """Return a figure of the score of every layer of the encoders; layer 0 is what goes into the first one.

    layers: the result's entry: "layers" and, per system, "mean", "low" and "high". systems: names and labels.
    """
    figure, axis = _curves(layers["layers"], layers["systems"], systems, metric=metric, chance=chance)
    axis.set_xticks(layers["layers"])
    axis.set_xlabel("layer (0: before the first)")
    return figure


def plot_roc(roc: Mapping[str, Any], systems: Sequence[Mapping[str, Any]], *, positive: str) -> "Figure":
    """Return a figure of the share of windows of `positive` that are found against the share of false alarms."""
    figure, axis = _square()
    axis.plot([0, 1], [0, 1], color="0.45", linewidth=0.8, linestyle=":")
    drawn = [system for system in systems if system["name"] in roc]
    for system in reversed(drawn):
        curve = roc[system["name"]]
        style = style_of(system["name"])
        axis.plot(
            numbers(curve["false_positive"]),
            numbers(curve["true_positive"]),
            color=style.color,
            linestyle=style.dashes,
            linewidth=2.2 if system["role"] == "model" else 1.3,
        )
    axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axis.set_xlabel("false alarms (share of the other class)")
    axis.set_ylabel(f"found (share of {plain(positive, 24)})")
    legend(figure, drawn, markers=False)
    return figure


def plot_confusion(confusion: Mapping[str, Any]) -> "Figure":
    """Return a figure of true classes (rows) against predicted ones: shares of the row, counts in brackets."""
    classes, counts = confusion["classes"], numbers(confusion["counts"])
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure, axis = _square()
    axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    size = 10 if len(classes) <= 4 else 7
    for row, column in np.ndindex(*counts.shape):
        text = f"{share[row, column]:.0%}\n({counts[row, column]:,.0f})"
        color = "white" if share[row, column] > 0.55 else "0.15"
        axis.text(column, row, text, ha="center", va="center", color=color, fontsize=size)
    labels = [plain(name, 16) for name in classes]
    axis.set_xticks(range(len(classes)), labels, rotation=0 if len(classes) <= 4 else 90)
    axis.set_yticks(range(len(classes)), labels)
    axis.set(xlabel="predicted", ylabel="true")
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return figure


def plot_scatter(scatter: Mapping[str, Any]) -> "Figure":
    """Return a figure of predictions for windows that were held out, against what was measured."""
    target, prediction = numbers(scatter["target"]), numbers(scatter["prediction"])
    figure, axis = _square()
    both = np.concatenate([target, prediction])
    both = both[np.isfinite(both)]
    ends = [both.min(), both.max()] if len(both) else [0, 1]
    axis.plot(ends, ends, color="0.45", linewidth=0.8, linestyle=":")
    style = style_of("pretrained")
    axis.plot(target, prediction, style.marker, color=style.color, markersize=3.5, alpha=0.5, markeredgewidth=0)
    axis.set(xlabel="measured", ylabel="predicted")
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def sort_contacts(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of contacts from the highest score to the lowest, those without a score at the end."""
    # A key of names too: equal scores must not depend on the order that they came in.
    scored = [(np.inf if entry["score"] is None else -entry["score"], entry["contact"]) for entry in entries]
    return [name for _, name in sorted(scored)]


def _rows(count: int) -> tuple["Figure", "Axes"]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(NARROW, 0.9 + 0.34 * count), layout="constrained")
    axis = figure.subplots()
    axis.set_ylim(count - 0.4, -0.6)  # the first at the top
    axis.locator_params(axis="x", nbins=6)
    axis.tick_params(axis="y", length=0)
    axis.spines[["top", "right", "left"]].set_visible(False)
    return figure, axis


def _square() -> tuple["Figure", "Axes"]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(NARROW, 4.6), layout="constrained")
    return figure, figure.subplots()


def _curves(
    x: Sequence[float],
    curves: Mapping[str, Any],
    systems: Sequence[Mapping[str, Any]],
    *,
    metric: str,
    chance: float,
) -> tuple["Figure", "Axes"]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(NARROW, 4.2), layout="constrained")
    axis = figure.subplots()
    axis.axhline(chance, color="0.45", linewidth=0.8, linestyle=":")
    drawn = [system for system in systems if system["name"] in curves]
    for system in reversed(drawn):
        curve, style, model = curves[system["name"]], style_of(system["name"]), system["role"] == "model"
        low, high = numbers(curve["low"]), numbers(curve["high"])
        axis.fill_between(x, low, high, color=style.color, alpha=0.2 if model else 0.1, linewidth=0)
        axis.plot(
            x,
            numbers(curve["mean"]),
            color=style.color,
            linestyle=style.dashes,
            linewidth=2.2 if model else 1.3,
            marker=style.marker,
            markersize=5,
        )
    axis.set_ylabel(metric)
    axis.spines[["top", "right"]].set_visible(False)
    legend(figure, drawn)
    return figure, axis


def legend(figure: "Figure", systems: Sequence[Mapping[str, Any]], *, lines: bool = True, markers: bool = True) -> None:
    """Add the systems' names below the axes, with how they are drawn there."""
    from matplotlib.lines import Line2D

    handles = []
    for system in systems:
        style = style_of(system["name"])
        handle = Line2D([], [], color=style.color, markersize=5, label=plain(system["label"]))
        handle.set(linestyle=style.dashes if lines else "none", marker=style.marker if markers else "")
        handles.append(handle)
    columns = 2 if figure.get_figwidth() < WIDE else 4
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=8)


def _embolden(axis: "Axes", rows: Sequence[bool]) -> None:
    for label, bold in zip(axis.get_yticklabels(), rows, strict=True):
        label.set_fontweight("bold" if bold else "normal")


def numbers(values: Any) -> NDArray[np.float64]:
    """Return numbers as an array, NaN for None."""
    return np.array(values, dtype=float)


def ends(interval: Sequence[float | None] | None) -> NDArray[np.float64]:
    """Return both ends of an interval, NaN where there is none."""
    return numbers((None, None) if interval is None else interval)


def plain(text: str, length: int = 40) -> str:
    """Return a name as it is drawn: dollars are no mathematics, and a long name is cut."""
    text = text if len(text) <= length else text[: length - 1] + "…"
    return text.replace("$", r"\$")
