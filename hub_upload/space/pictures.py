"""Pictures as SVG for the page: their text takes the page's font and colour, so that they fit a dark theme, too.

Each is drawn for a column of 350 to 450 pixels, which a phone has and of which a laptop has two side by side.
"""

import io
import re
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_IN = 4.4
PANEL_IN = 4.9
_INK = "#010203"  # becomes the page's text colour
_HIDDEN = "#d98200"  # marks that can be seen on light and dark
_TIME = ("#2a78d6", "#9b5fc0", "#e0791e")  # early to late, on light and dark alike
_LIMIT_Z = 3.0
_COLUMNS = 700  # of a trace: more than a phone or half a laptop has pixels
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 9.5,
    "axes.edgecolor": _INK,
    "axes.facecolor": "none",
    "axes.labelcolor": _INK,
    "axes.linewidth": 0.6,
    "text.color": _INK,
    "text.parse_math": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 4,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_ONE_AT_A_TIME = threading.Lock()  # matplotlib's settings belong to the process


def signal_picture(
    voltage: NDArray[np.floating], image: NDArray[np.floating], *, encoder_front: Any, start_s: float
) -> str:
    """Return the voltage (samples,) in µV above the spectrogram (frames, bins) in z units that the model sees of it.

    encoder_front: the feature extractor, which knows rate, frequencies and where frames lie. start_s: of the window.
    """
    rate = float(encoder_front.sampling_rate)
    seconds = (start_s, start_s + len(voltage) / rate)

    def draw(figure: "Figure") -> None:
        trace, spectrogram, scale = _stack(figure, heights=(0.9, 2.0), scale_rows=(1,))
        times, values = _envelope(voltage, rate=rate)
        trace.plot(start_s + times, values, linewidth=0.6, color="#2a78d6")
        trace.set(ylabel="µV", xlim=seconds, title="Voltage, conditioned")
        trace.tick_params(labelbottom=False)
        trace.yaxis.set_major_formatter(_short)
        drawn = _draw_image(spectrogram, image, encoder_front, start_s=start_s)
        spectrogram.set(xlim=seconds, xlabel="time (s)", title="Spectrogram, as the model sees it")
        _label_scale(figure, drawn, scale)

    return _svg(draw, height_in=PANEL_IN, label="Voltage of the window, and its spectrogram as the model sees it")


def reconstruction_picture(
    images: Mapping[str, NDArray[np.floating]],
    mask: NDArray[np.bool_],
    *,
    encoder_front: Any,
    start_s: float,
    seconds: float,
) -> str:
    """Return spectrograms (frames, bins), titled by their keys, one below the other, with hidden cells framed."""

    def draw(figure: "Figure") -> None:
        *axes, scale = _stack(figure, heights=(1.0,) * len(images), scale_rows=tuple(range(len(images))))
        for axis, (title, image) in zip(axes, images.items(), strict=True):
            drawn = _draw_image(axis, image, encoder_front, start_s=start_s)
            _mark_hidden(axis, mask, encoder_front, start_s=start_s)
            axis.set(xlim=(start_s, start_s + seconds), title=title)
            axis.tick_params(labelbottom=axis is axes[-1])
        axes[-1].set_xlabel("time (s)")
        _label_scale(figure, drawn, scale)

    return _svg(draw, height_in=PANEL_IN, label="; ".join(images))


def trajectory_picture(embeddings: NDArray[np.floating], seconds: NDArray[np.floating], *, title: str) -> str:
    """Return the path of embeddings (steps, hidden) over their first two principal components, coloured by time.

    seconds: (steps,). Steps that are not finite are left out.
    """
    usable = np.isfinite(embeddings).all(-1)
    points, shares = principal_components(embeddings[usable])
    times = seconds[usable]

    def draw(figure: "Figure") -> None:
        from matplotlib.collections import LineCollection
        from matplotlib.colors import LinearSegmentedColormap

        axis = figure.add_axes((0.18, 0.14, 0.65, 0.78))
        scale = figure.add_axes((0.86, 0.24, 0.02, 0.58))
        early_to_late = LinearSegmentedColormap.from_list("time", _TIME)
        pieces = np.stack([points[:-1], points[1:]], axis=1)
        lines = LineCollection(list(pieces), cmap=early_to_late, linewidths=0.8, alpha=0.6)
        lines.set_array(times[:-1])
        axis.add_collection(lines)
        drawn = axis.scatter(points[:, 0], points[:, 1], c=times, cmap=early_to_late, s=9, linewidths=0)
        for index, name in ((0, "start"), (-1, "end")):
            axis.plot(*points[index], "o", markersize=6, markerfacecolor="none", markeredgecolor=_INK)
            axis.annotate(name, points[index], xytext=(6, 5), textcoords="offset points")
        axis.margins(0.08)
        axis.locator_params(nbins=5)
        for each in (axis.xaxis, axis.yaxis):
            each.set_major_formatter(_short)
        axis.set(
            xlabel=f"component 1 ({shares[0]:.0%} of the variance)",
            ylabel=f"component 2 ({shares[1]:.0%})",
            title=title,
        )
        _label_scale(figure, drawn, scale, label="s")

    return _svg(draw, height_in=3.3, label=f"{title}: first two principal components, coloured by time")


def principal_components(embeddings: NDArray[np.floating]) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """Return the first two principal components (steps, 2), and the shares of the variance that they hold."""
    centred = np.asarray(embeddings, dtype=np.float64) - embeddings.mean(0)
    directions, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    points = np.zeros((len(centred), 2))
    count = min(2, len(sizes))
    points[:, :count] = directions[:, :count] * sizes[:count]
    variance = np.zeros(2)
    variance[:count] = sizes[:count] ** 2
    total = max(float((sizes**2).sum()), np.finfo(float).tiny)
    return points, (float(variance[0] / total), float(variance[1] / total))


def _stack(figure: "Figure", *, heights: Sequence[float], scale_rows: Sequence[int]) -> list["Axes"]:
    """Return axes below each other, and last one for the colours beside those in `scale_rows`."""
    top, bottom, gap = (inches / figure.get_figheight() for inches in (0.26, 0.44, 0.32))
    unit = (1 - top - bottom - gap * (len(heights) - 1)) / sum(heights)
    axes, edges, upper = [], [], 1 - top
    for height in heights:
        axes.append(figure.add_axes((0.15, upper - height * unit, 0.72, height * unit)))
        edges.append((upper - height * unit, upper))
        upper -= height * unit + gap
    low, high = edges[scale_rows[-1]][0], edges[scale_rows[0]][1]
    middle, half = (low + high) / 2, min(0.5 * (high - low), 0.6 / figure.get_figheight())
    return [*axes, figure.add_axes((0.893, middle - half, 0.018, 2 * half))]


def _draw_image(axis: "Axes", image: NDArray[np.floating], front: Any, *, start_s: float) -> Any:
    low, high = _band(front)
    left = start_s + front.first_frame_s - front.frame_duration_s / 2
    axis.set(ylabel="Hz", facecolor="#80808030")  # grey where the front end drops frames at the ends
    return axis.imshow(
        image.T,
        origin="lower",
        aspect="auto",
        extent=(left, left + len(image) * front.frame_duration_s, low, high),
        cmap="RdBu_r",
        vmin=-_LIMIT_Z,
        vmax=_LIMIT_Z,
        interpolation="none",
    )


def _mark_hidden(axis: "Axes", mask: NDArray[np.bool_], front: Any, *, start_s: float) -> None:
    """Mark what is hidden at the edges of an image: stretches of time above it, bands of frequency on its right."""
    low, high = _band(front)
    bin_hz = (high - low) / mask.shape[1]
    left = start_s + front.first_frame_s - front.frame_duration_s / 2
    right = left + len(mask) * front.frame_duration_s
    how: dict[str, Any] = {"color": _HIDDEN, "linewidth": 2.6, "clip_on": False, "solid_capstyle": "butt"}
    for first, last in _runs(mask.min(0)):
        axis.plot([right] * 2, [low + first * bin_hz, low + last * bin_hz], **how)
    for first, last in _runs(mask.min(1)):
        axis.plot([left + frame * front.frame_duration_s for frame in (first, last)], [high] * 2, **how)


def _runs(hidden: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], hidden.astype(int), [0]])))
    return [(int(first), int(last)) for first, last in edges.reshape(-1, 2)]


def _band(front: Any) -> tuple[float, float]:
    frequencies = front.frequencies
    step = frequencies[1] - frequencies[0] if len(frequencies) > 1 else 1.0
    return frequencies[0] - step / 2, frequencies[-1] + step / 2


def _short(value: float, _: float | None = None) -> str:
    return f"{value:.4g}".replace("-", "−")


def _label_scale(figure: "Figure", drawn: Any, axis: "Axes", *, label: str = "z") -> None:
    bar = figure.colorbar(drawn, cax=axis)
    axis.set_title(label, loc="center", pad=5)
    bar.outline.set_linewidth(0.4)
    if label == "z":
        bar.set_ticks([-_LIMIT_Z, 0, _LIMIT_Z])


def _envelope(voltage: NDArray[np.floating], *, rate: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return seconds and values of a trace: of each column of pixels the least and the greatest value."""
    size = max(1, len(voltage) // _COLUMNS)
    count = len(voltage) // size
    pieces = np.asarray(voltage[: count * size], dtype=np.float64).reshape(count, size)
    values = np.stack([pieces.min(1), pieces.max(1)], axis=1).reshape(-1)
    return np.repeat((np.arange(count) + 0.5) * size / rate, 2), values


def _svg(draw: Any, *, height_in: float, label: str) -> str:
    import matplotlib
    from matplotlib.figure import Figure  # not pyplot: no window, no global state

    with _ONE_AT_A_TIME, matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH_IN, height_in), facecolor="none", dpi=100)
        draw(figure)
        written = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(written, format="svg", metadata=nothing, transparent=False)
    text = written.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    # Without a size of its own it takes the column's width.
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r"'DejaVu Sans'[^;\"]*", "inherit", text)
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)  # it would hold for all of the page
    return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
