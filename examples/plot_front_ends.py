"""Draw what the front ends make of a clip: voltage, STFT and superlets on the same axes.

    python examples/plot_front_ends.py --out front_ends.png
    python examples/plot_front_ends.py night1.edf --contact LA3 --start-s 60 --out front_ends.png

Without a recording the signal is generated, after the manner of figure 3 of Moca et al. 2021: at 20, 40 and 60 Hz a
packet and a neighbour 10 Hz above it at the same time, then three short packets in a row.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from brainbert.modeling_brainbert import BrainBertFeatureExtractor, stft, superlet
from brainbert.processing.atomic import written_whole
from brainbert.processing.program import HelpFormatter, run
from brainbert.processing.recordings import open_recording, read_recording, resample
from brainbert.processing.training import TimeFrequencyImage, plot_front_ends

RATE = 2048  # Hz
FINE_HOP = 8
FINE_HZ = tuple(float(hertz) for hertz in range(1, 201))
# (start in seconds, hertz, cycles of the long packets). Long ones have 50 µV, short ones 100 µV.
PACKETS = ((0.2, 20, 12), (2.05, 40, 24), (3.45, 60, 36))
SHORT_CYCLES, SHORT_GAP_CYCLES = 4, 2


def main() -> None:
    args = parse_arguments()
    if args.recording:
        voltage, title = read_clip(args.recording, contact=args.contact, start_s=args.start_s)
    else:
        voltage, title = (
            generate_packets(),
            "generated: long packets in pairs 10 Hz apart, then short ones in a row, at 20, 40 and 60 Hz",
        )
    images = transform(torch.tensor(voltage))
    if args.recording:  # 1/f: without normalisation only the lowest bins would be seen
        images = {name: z_score_inside(image) for name, image in images.items()}
    figure = plot_front_ends(
        voltage,
        images,
        sampling_rate=RATE,
        highest_hz=args.highest_hz,
        limits=(-1.5, 4) if args.recording else (0, 50),
        label="magnitude (z units)" if args.recording else "amplitude of a sine (µV)",
        title=title,
    )
    with written_whole(args.out) as temporary:
        figure.savefig(temporary, format=args.out.suffix.lstrip(".") or "png", dpi=110)
    print(f"Saved {args.out}.")


def transform(voltage: torch.Tensor) -> dict[str, TimeFrequencyImage]:
    """Return STFT, superlets as the model has them, and narrower ones drawn finer, all as amplitudes of a sine."""
    of_stft, of_superlets = (BrainBertFeatureExtractor(transform=name) for name in ("stft", "superlet"))
    per_amplitude = RATE**0.5 / (8 * np.pi)
    frame_s = of_stft.frame_duration_s
    fine = superlet(voltage, frequencies=FINE_HZ, order_min=1, order_max=24, base_cycles=3, hop_length=FINE_HOP)
    return {
        "STFT, as the model has it: Hann windows of 0.2 s": TimeFrequencyImage(
            2 * stft(voltage).numpy(), of_stft.frequencies, 0, frame_s
        ),
        "superlets, as the model has them: 1 to 28 wavelets of 3 to 30 cycles": TimeFrequencyImage(
            superlet(voltage).numpy() / per_amplitude, of_superlets.frequencies, 0, frame_s
        ),
        "superlets of longer wavelets, drawn finer: 1 to 24 wavelets of 3 to 72 cycles": TimeFrequencyImage(
            fine.numpy() / per_amplitude, list(FINE_HZ), 0, FINE_HOP / RATE
        ),
    }


def z_score_inside(image: TimeFrequencyImage) -> TimeFrequencyImage:
    """Return the image with mean 0 and standard deviation 1 in each bin, without a quarter of a second at each end.

    There the clip seems to jump to zero, for which the model's front ends drop frames, too.
    """
    cut = round(0.25 / image.frame_duration_s)
    values = image.values[cut:-cut]
    return image._replace(
        values=(values - values.mean(0)) / values.std(0),
        first_frame_s=image.first_frame_s + cut * image.frame_duration_s,
    )


def generate_packets() -> NDArray[np.float64]:
    """Return 5 s of PACKETS at 2048 Hz in µV; they rise and fall as a cosine, the long ones in a fifth."""
    time_s = np.arange(5 * RATE) / RATE

    def packet(start_s: float, hertz: float, cycles: float, *, edge: float, peak: float) -> NDArray[np.float64]:
        since_s, until_s = time_s - start_s, start_s + cycles / hertz - time_s
        rise = np.clip(np.minimum(since_s, until_s) / (edge * cycles / hertz), 0, 1)
        return peak * np.sin(np.pi / 2 * rise) ** 2 * np.sin(2 * np.pi * hertz * since_s)

    voltage = np.zeros_like(time_s)
    for start_s, hertz, cycles in PACKETS:
        for each in (hertz, hertz + 10):
            voltage += packet(start_s, each, cycles * each / hertz, edge=0.2, peak=50)
        for number in range(3):
            before = cycles + SHORT_GAP_CYCLES + number * (SHORT_CYCLES + SHORT_GAP_CYCLES)
            voltage += packet(start_s + before / hertz, hertz, SHORT_CYCLES, edge=0.5, peak=100)
    return voltage


def read_clip(path: Path, *, contact: str | None, start_s: float) -> tuple[NDArray[np.float32], str]:
    """Return 5 s of one contact at 2048 Hz in µV, as recorded otherwise, and a title."""
    name = contact or next(iter(open_recording(path).good), None)
    recording = resample(read_recording(path, contacts=name and [name]), RATE)
    first = round(start_s * RATE)
    if not 0 <= first <= recording.num_samples - 5 * RATE:
        raise ValueError(
            f"5 s from {start_s:g} s on are not within the recording's {recording.duration_s:.1f} s: give another "
            "--start-s."
        )
    title = f"recording {recording.id}, contact {recording.contacts[0]}, from {start_s:g} s, not conditioned"
    return recording.read(first, first + 5 * RATE)[0], title


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], formatter_class=HelpFormatter)
    parser.add_argument(
        "recording",
        type=Path,
        nargs="?",
        help="EDF, BDF, BrainVision, FIF or NWB file; a generated signal if not given",
    )
    parser.add_argument("--out", type=Path, required=True, help="picture: .png, .pdf or .svg")
    parser.add_argument("--contact", help="of the recording; the first good one if not given")
    parser.add_argument("--start-s", type=float, default=0.0, help="where the clip of 5 s begins, in seconds")
    parser.add_argument("--highest-hz", type=float, default=100.0, help="where the drawing ends, up to 200 Hz")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
