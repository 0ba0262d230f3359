"""The pictures of a model card: PNG, legible on a phone, and the same bytes for the same numbers."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 5.6  # inches: on a phone of 350 points, letters of 10 points are still 6 high
DPI = 180
STYLE = {"font.size": 10, "axes.titlesize": 10, "axes.spines.top": False, "axes.spines.right": False}
WHO = {"model": ("#0072b2", "-"), "mean": ("0.4", "--"), "interpolation": ("#d55e00", "-.")}  # Okabe and Ito
ESTIMATORS = {
    "pca95": "PCA, 95 %",
    "participation_ratio": "participation ratio",
    "two_nn": "TwoNN",
}


def draw(record: Mapping[str, Any] | None, reports: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[bytes, str]]:
    """Return file → PNG and "file#/pointer" of what is drawn: the learning curve, scores and dimension of each report.

    record: of the training. reports: name → reduced report.
    """
    import matplotlib.style

    drawn: dict[str, tuple[bytes, str]] = {}
    # What a user has set for figures of their own must not reach these.
    with matplotlib.style.context(["default", STYLE]):
        if record and record.get("curve"):
            curve = plot_curve(record["curve"], record.get("losses") or [])
            drawn["figures/learning_curve.png"] = _png(curve), "training_record.json#/curve"
        for name, report in reports.items():
            place = f"evaluation/{name}.json#"
            drawn[f"figures/{name}.png"] = _png(plot_systems(report["systems"], report["task"])), f"{place}/systems"
            if report["dimension"]:
                drawn[f"figures/{name}-dimension.png"] = (
                    _png(plot_dimension(report["dimension"])),
                    f"{place}/dimension",
                )
    return drawn


def plot_curve(curve: Sequence[Mapping[str, float]], losses: Sequence[Mapping[str, float]]) -> "Figure":
    """Return a figure of the held-out masked error over the steps, beside the baselines; faintly, while training.

    curve, losses: of the training record, errors in z units.
    """
    from matplotlib.figure import Figure  # not pyplot: no window, no global state

    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    axes = figure.subplots(2, 1, sharex=True)
    steps = [entry["step"] for entry in curve]
    for axis, part, cells in zip(
        axes, ("l1", "content"), ("all hidden cells", "hidden cells with content"), strict=True
    ):
        axis.plot(
            [entry["step"] for entry in losses],
            [entry[part] for entry in losses],
            color=WHO["model"][0],
            alpha=0.35,
            linewidth=0.9,
            label="while training",
        )
        last = {who: curve[-1][f"{who} {part}"] for who in WHO}
        drawn = _numbers([entry[f"model {part}"] for entry in curve])
        shown = _numbers([*drawn, *last.values()])
        shown = shown[np.isfinite(shown)] if np.isfinite(shown).any() else np.zeros(1)
        margin = max(0.1 * float(np.ptp(shown)), 0.01)
        axis.set(xlim=(0, steps[-1]), ylim=(shown.min() - margin, shown.max() + margin), ylabel="error (z units)")
        axis.set_title(f"{cells}, held out", loc="left")
        for who, (color, dashes) in WHO.items():
            if who == "model":
                axis.plot(steps, drawn, color=color, linewidth=2, marker="o" if len(steps) <= 30 else "", label=who)
            else:
                axis.axhline(last[who], color=color, linestyle=dashes, linewidth=1.4, label=who)
    axes[-1].set_xlabel("step")
    axes[-1].xaxis.set_major_formatter("{x:,.0f}")
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, columnspacing=1.2, frameon=False
    )
    return figure


def plot_systems(systems: Sequence[Mapping[str, Any]], task: Mapping[str, Any]) -> "Figure":
    """Return a figure of the score of every system, with its interval on top of its chance interval."""
    from matplotlib.figure import Figure  # not pyplot: no window, no global state

    figure = Figure(figsize=(WIDTH, 1.1 + 0.36 * len(systems)), layout="constrained")
    axis = figure.subplots()
    for row, system in enumerate(systems):
        model = system["role"] == "model"
        color = WHO["model"][0] if model else "0.35"
        low, high = _numbers(system["chance"] or [None, None])
        axis.fill_betweenx([row - 0.36, row + 0.36], low, high, color="0.9", linewidth=0)
        axis.plot(_numbers(system["interval"] or [None, None]), [row, row], color=color, linewidth=2.2)
        axis.plot(_numbers([system["score"]]), [row], "o" if model else "s", color=color, markersize=7)
    axis.axvline(task["chance"], color="0.45", linewidth=0.8, linestyle=":")
    labels = axis.set_yticks(range(len(systems)), [_plain(system["label"]) for system in systems])
    for label, system in zip(labels, systems, strict=True):
        label.label1.set_fontweight("bold" if system["role"] == "model" else "normal")
    axis.set(ylim=(len(systems) - 0.4, -0.6), xlabel=f"{task['metric']} (bar: 95 % interval; grey: chance)")
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    return figure


def plot_dimension(rows: Sequence[Mapping[str, Any]]) -> "Figure":
    """Return a figure of median and quartiles over contacts of each estimate of the intrinsic dimension."""
    from matplotlib.figure import Figure  # not pyplot: no window, no global state

    figure = Figure(figsize=(WIDTH, 1.3 + 0.34 * len(rows)), layout="constrained")
    axes = figure.subplots(1, len(ESTIMATORS), sharey=True)
    for axis, (estimator, title) in zip(axes, ESTIMATORS.items(), strict=True):
        for row, entry in enumerate(rows):
            color = WHO["model"][0] if entry["system"] == "pretrained" else "0.35"
            if entry[estimator]:
                axis.plot(entry[estimator]["quartiles"], [row, row], color=color, linewidth=3, alpha=0.5)
                axis.plot([entry[estimator]["median"]], [row], "o", color=color, markersize=7)
        axis.set_title(title, fontsize=9, loc="left")
        axis.set_xlim(
            0, max((1.15 * entry[estimator]["quartiles"][1] for entry in rows if entry[estimator]), default=1)
        )
        axis.tick_params(axis="y", length=0)
    axes[0].set_yticks(range(len(rows)), [_plain(entry["label"]) for entry in rows])
    axes[0].set_ylim(len(rows) - 0.4, -0.6)
    figure.supxlabel("dimensions (dot: median of contacts; bar: quartiles)", fontsize=9)
    return figure


def _numbers(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], dtype=float)


def _plain(text: str, most: int = 30) -> str:
    """Return a label that matplotlib does not take for a formula, and that leaves room for what it labels."""
    text = text.replace("$", r"\$")
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _png(figure: "Figure") -> bytes:
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI, metadata={"Software": None})
    return drawn.getvalue()
