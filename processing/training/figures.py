"""Pictures of a clip, and what front ends or a model make of it; of a training run, and how its error fell."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_reconstruction(
    voltage: NDArray[np.floating],
    images: dict[str, NDArray[np.floating]],
    *,
    mask: NDArray[np.bool_],
    sampling_rate: float,
    frequencies: list[float],
    first_frame_s: float,
    frame_duration_s: float,
    title: str,
) -> "Figure":
    """Return a figure of one clip: its voltage, then one spectrogram per entry of `images`, all on the same scale.

    voltage: (samples,) in µV at `sampling_rate` Hz. images: title → (frames, bins) in z units.
    mask: (frames, bins), outlined in every image. frequencies: hertz of each bin.
    first_frame_s, frame_duration_s: centre of the first frame after the first sample, and the step, in seconds.
    """
    from matplotlib.figure import Figure  # not pyplot: no window, no global state

    figure = Figure(figsize=(10, 1.8 + 1.8 * len(images)), layout="constrained")
    axes = figure.subplots(len(images) + 1, 1, sharex=True, gridspec_kw={"height_ratios": [0.8] + [1.0] * len(images)})
    axes[0].plot(np.arange(len(voltage)) / sampling_rate, voltage, linewidth=0.5, color="0.15")
    axes[0].set(ylabel="µV", title=title, xlim=(0, len(voltage) / sampling_rate))
    frames = len(mask)
    step_hz = frequencies[1] - frequencies[0]
    left = first_frame_s - frame_duration_s / 2
    extent = (left, left + frames * frame_duration_s, frequencies[0] - step_hz / 2, frequencies[-1] + step_hz / 2)
    fine = np.kron(mask.T, np.ones((16, 16)))  # so that the outline follows the edges of the cells
    for axis, (name, image) in zip(axes[1:], images.items(), strict=True):
        drawn = axis.imshow(
            image.T, origin="lower", aspect="auto", extent=extent, cmap="RdBu_r", vmin=-3, vmax=3, interpolation="none"
        )
        axis.contour(fine, levels=[0.5], origin="lower", extent=extent, colors="black", linewidths=0.6)
        axis.set(ylabel="Hz", facecolor="0.9")  # grey where the front end drops frames at the ends
        axis.set_title(name, fontsize=10, loc="left")
    axes[-1].set_xlabel("time (s)")
    figure.colorbar(drawn, ax=axes[1:].tolist(), label="magnitude (z units)", shrink=0.6)
    return figure


class TimeFrequencyImage(NamedTuple):
    """What a front end makes of a clip, and where its cells lie."""

    values: NDArray[np.floating]  # (frames, bins)
    frequencies: list[float]  # Hz, of each bin, evenly spaced
    first_frame_s: float  # centre of the first frame after the first sample
    frame_duration_s: float  # from one frame to the next


def plot_front_ends(
    voltage: NDArray[np.floating],
    images: dict[str, TimeFrequencyImage],
    *,
    sampling_rate: float,
    highest_hz: float,
    limits: tuple[float, float],
    label: str,
    title: str,
) -> "Figure":
    """Return a figure of one clip: its voltage, then one image per entry of `images`, on the same axes and colours.

    voltage: (samples,) in µV at `sampling_rate` Hz. images: title → image. highest_hz: where the drawing ends.
    limits: the values at both ends of the colours. label: what the values are.
    """
    from matplotlib.figure import Figure  # not pyplot: no window, no global state

    figure = Figure(figsize=(10, 1.6 + 2.1 * len(images)), layout="constrained")
    axes = figure.subplots(len(images) + 1, 1, sharex=True, gridspec_kw={"height_ratios": [0.6] + [1.0] * len(images)})
    axes[0].plot(np.arange(len(voltage)) / sampling_rate, voltage, linewidth=0.6, color="0.15")
    axes[0].set(ylabel="µV", xlim=(0, len(voltage) / sampling_rate))
    axes[0].set_title(title, fontsize=10, loc="left")
    for axis, (name, image) in zip(axes[1:], images.items(), strict=True):
        half_s = image.frame_duration_s / 2
        half_hz = (image.frequencies[1] - image.frequencies[0]) / 2
        last_s = image.first_frame_s + (len(image.values) - 1) * image.frame_duration_s
        drawn = axis.imshow(
            image.values.T,
            origin="lower",
            aspect="auto",
            extent=(
                image.first_frame_s - half_s,
                last_s + half_s,
                image.frequencies[0] - half_hz,
                image.frequencies[-1] + half_hz,
            ),
            cmap="viridis",
            vmin=limits[0],
            vmax=limits[1],
            interpolation="none",
        )
        axis.set(ylabel="Hz", xlim=(0, len(voltage) / sampling_rate), ylim=(0, highest_hz), facecolor="0.9")
        axis.set_title(name, fontsize=10, loc="left")
    axes[-1].set_xlabel("time (s)")
    figure.colorbar(drawn, ax=axes[1:].tolist(), label=label, extend="both" if limits[0] else "max", shrink=0.6)
    return figure


def plot_learning_curve(
    curve: Sequence[Mapping[str, float]], losses: Sequence[Mapping[str, float]] = (), *, title: str = ""
) -> "Figure":
    """Return a figure of a run: the held-out masked error over all cells and over those with content, beside baselines.

    curve: one entry a validation: "step", "minutes", and "l1" and "content" of "model", "mean" and "interpolation"
        ("model l1", …), mean absolute errors in z units. The baselines are drawn as the last entry has them.
    losses: entries with "step" and the parts of the training loss, "l1" and "content", drawn faintly behind.
    Raises ValueError for a curve without entries.
    """
    from matplotlib.figure import Figure  # not pyplot: no window, no global state
    from matplotlib.ticker import MaxNLocator

    if not curve:
        raise ValueError("The curve is empty: validate at least once before drawing it.")
    steps = np.array([0, *(entry["step"] for entry in curve)])
    minutes = np.array([0, *(entry["minutes"] for entry in curve)])
    figure = Figure(figsize=(10, 7), layout="constrained")
    axes = figure.subplots(2, 1, sharex=True)
    colors = {"model": "#0072b2", "mean": "0.35", "interpolation": "#d55e00"}  # Okabe and Ito: safe for colour-blind
    for axis, part, cells in zip(axes, ("l1", "content"), ("all cells", "cells with content"), strict=True):
        last = {who: curve[-1][f"{who} {part}"] for who in colors}
        drawn = [entry[f"model {part}"] for entry in curve]
        # A model that has diverged is drawn as far as it goes.
        finite = [value for value in (*drawn, *last.values()) if np.isfinite(value)] or [0.0]
        low, high = min(finite), max(finite)
        margin = max(0.08 * (high - low), 0.01)
        axis.set(xlim=(0, steps[-1]), ylim=(low - margin, high + margin), ylabel="masked error (z units)")
        behind = [entry["step"] for entry in losses], [entry[part] for entry in losses]
        axis.plot(*behind, color=colors["model"], alpha=0.25, linewidth=0.8)
        for who in ("mean", "interpolation"):
            axis.axhline(last[who], color=colors[who], linewidth=1.2, linestyle="--" if who == "mean" else "-.")
        marker = "o" if len(drawn) <= 50 else ""
        axis.plot(steps[1:], drawn, color=colors["model"], linewidth=2, marker=marker, markersize=4, clip_on=False)
        axis.set_title(f"{cells}, held out" + (" (faint: while training)" if losses else ""), fontsize=10, loc="left")
        axis.spines[["top", "right"]].set_visible(False)
        # Labels stand right of the axes, a line apart, in the order of their values.
        values = np.nan_to_num(list(last.values()), nan=high, posinf=high)
        heights = (values - low + margin) / (high - low + 2 * margin)
        for who, height in zip(colors, spread(heights, 0.075), strict=True):
            axis.annotate(
                f"{who} {last[who]:.3f}",
                (1.015, height),
                xycoords="axes fraction",
                va="center",
                color=colors[who],
                fontweight="bold" if who == "model" else None,
            )
    axes[-1].set_xlabel("step")
    axes[-1].xaxis.set_major_formatter("{x:,.0f}")
    unit, divisor = ("h", 60) if minutes[-1] >= 180 else ("min", 1)
    times = MaxNLocator(8).tick_values(0, minutes[-1] / divisor)
    times = times[times <= minutes[-1] / divisor]
    axes[0].secondary_xaxis("top").set_xticks(
        np.interp(times * divisor, minutes, steps), [f"{time:g} {unit}" for time in times]
    )
    figure.suptitle(title)
    return figure


def spread(heights: NDArray[np.floating], gap: float) -> NDArray[np.floating]:
    """Return heights moved apart to at least `gap`, in their order, each cluster around its own middle."""
    order = np.argsort(heights, kind="stable")
    clusters: list[list[float]] = []
    for height in heights[order]:
        clusters.append([float(height)])
        while len(clusters) > 1 and bottom(clusters[-1], gap) < bottom(clusters[-2], gap) + gap * len(clusters[-2]):
            clusters[-2:] = [clusters[-2] + clusters[-1]]
    moved = np.empty_like(heights)
    moved[order] = [bottom(cluster, gap) + gap * place for cluster in clusters for place in range(len(cluster))]
    return moved


def bottom(cluster: list[float], gap: float) -> float:
    """Return where the lowest of a cluster of labels stands, when they are `gap` apart around their middle."""
    return float(np.mean(cluster)) - gap * (len(cluster) - 1) / 2
