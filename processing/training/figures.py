"""Pictures of masked reconstruction."""

from typing import TYPE_CHECKING

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
