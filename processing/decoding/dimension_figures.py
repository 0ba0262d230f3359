"""Pictures of the intrinsic dimension: by region, and where the contacts are."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .figures import WIDE, legend, numbers, plain, style_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ESTIMATORS = {
    "pca95": "PCA components for 95 % of the variance",
    "participation_ratio": "Participation ratio",
    "two_nn": "TwoNN",
}


def plot_dimension(rows: Sequence[Mapping[str, Any]], systems: Sequence[Mapping[str, Any]]) -> "Figure":
    """Return a figure of the intrinsic dimension by region: a panel an estimator, a box and dots a system.

    rows: "contact", "region" (None: not known), "system" and the estimators. systems: names and labels, in order.
    Boxes are quartiles and median, drawn from five contacts on.
    """
    from matplotlib.figure import Figure  # not pyplot: no window, no global state

    regions = sorted({row["region"] for row in rows if row["region"] is not None})
    regions += [None] * any(row["region"] is None for row in rows)
    drawn = [system for system in systems if any(row["system"] == system["name"] for row in rows)]
    figure = Figure(figsize=(WIDE, 1.4 + len(regions) * max(0.5, 0.24 * len(drawn))), layout="constrained")
    axes = figure.subplots(1, len(ESTIMATORS), sharey=True)
    step = 0.8 / max(len(drawn), 1)
    for axis, (estimator, title) in zip(axes, ESTIMATORS.items(), strict=True):
        for place, region in enumerate(regions):
            for order, system in enumerate(drawn):
                here = [row for row in rows if (row["region"], row["system"]) == (region, system["name"])]
                here.sort(key=lambda row: str(row["contact"]))
                values = numbers([row[estimator] for row in here])
                values = values[np.isfinite(values)]
                style = style_of(system["name"])
                y = place + (order - (len(drawn) - 1) / 2) * step
                if len(values) >= 5:
                    axis.boxplot(
                        values,
                        positions=[y],
                        orientation="horizontal",
                        widths=step * 0.8,
                        showfliers=False,
                        showcaps=False,
                        manage_ticks=False,
                        boxprops={"color": style.color},
                        whiskerprops={"color": style.color},
                        medianprops={"color": style.color, "linewidth": 2.5},
                    )
                # Dots side by side rather than on top of each other, without chance in where they stand.
                offsets = (np.arange(len(values)) % 5 - 2) * step * 0.1 if len(values) > 1 else np.zeros(len(values))
                axis.plot(
                    values, y + offsets, style.marker, color=style.color, markersize=4.5, alpha=0.6, markeredgewidth=0
                )
        axis.set_title(title, fontsize=9, loc="left")
        axis.set_xlabel("dimensions")
        axis.grid(axis="x", color="0.92", linewidth=0.8)
        axis.set_axisbelow(True)
        highest = numbers([row[estimator] for row in rows])
        axis.set_xlim(0, 1.06 * np.nanmax(highest) if np.isfinite(highest).any() else 1)
        axis.spines[["top", "right"]].set_visible(False)
        for border in range(1, len(regions)):
            axis.axhline(border - 0.5, color="0.85", linewidth=0.8)
    names = ["region not known" if region is None else plain(region, 28) for region in regions]
    axes[0].set_yticks(range(len(regions)), names)
    axes[0].set_ylim(len(regions) - 0.45, -0.55)
    legend(figure, drawn, lines=False)
    return figure


def plot_positions(
    rows: Sequence[Mapping[str, Any]],
    positions: Mapping[str, Any],
    *,
    system: str = "pretrained",
    estimator: str = "pca95",
) -> "Figure":
    """Return a figure of the contacts at their positions in mm, from three sides, coloured by intrinsic dimension.

    rows: as in `plot_dimension`. positions: "frame", and "contacts": contact → (x, y, z) in mm.
    """
    from matplotlib.figure import Figure  # not pyplot: no window, no global state

    found = {row["contact"]: row[estimator] for row in rows if row["system"] == system}
    names = sorted(name for name, value in found.items() if value is not None and name in positions["contacts"])
    values = numbers([found[name] for name in names])
    points = numbers([positions["contacts"][name] for name in names]).reshape(-1, 3)
    # One scale for all sides.
    low, high = (points.min(0), points.max(0)) if len(points) else (np.zeros(3), np.ones(3))
    middle, half = (low + high) / 2, max(0.56 * float((high - low).max()), 5.0)
    figure = Figure(figsize=(WIDE, 3.4), layout="constrained")
    axes = figure.subplots(1, 3)
    for axis, (across, up) in zip(axes, ((0, 1), (0, 2), (1, 2)), strict=True):
        # What lies nearer along the third axis is drawn last.
        order = np.argsort(points[:, 3 - across - up], kind="stable")
        drawn = axis.scatter(
            points[order, across], points[order, up], c=values[order], cmap="viridis", s=34, edgecolors="0.3", lw=0.4
        )
        drawn.set_clim(values.min() if len(values) else 0, values.max() if len(values) else 1)
        axis.set(xlabel=f"{'xyz'[across]} (mm)", ylabel=f"{'xyz'[up]} (mm)", facecolor="0.97", aspect="equal")
        axis.set_xlim(middle[across] - half, middle[across] + half)
        axis.set_ylim(middle[up] - half, middle[up] + half)
    axes[0].set_title(f"frame: {plain(str(positions['frame']), 40)}", fontsize=9, loc="left")
    figure.colorbar(drawn, ax=axes.tolist(), label=ESTIMATORS[estimator], shrink=0.85)
    return figure
