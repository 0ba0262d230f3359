"""Pictures of a clip: its voltage, and what front ends or a model make of it."""

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
