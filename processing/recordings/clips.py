"""Cut a recording into clips and say which clips are fit to learn from.

Clips are (clips, samples) of one contact, in microvolts; rates in hertz. Nothing here reads files.
"""

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from .artefacts import run_edges
from .inspection import inspect_contact
from .quality import FLAT_SD_UV, contact_problem
from .recording import Recording, RecordingHeader

# Rounding after a resampler leaves zeros that are not quite zero; no amplifier resolves a thousandth of a microvolt.
ZERO_UV = 1e-3
# The shortest wavelet of the superlets lasts 24 ms, and over zeros alone it has no magnitude.
ZERO_RUN_S = 0.02
# In a short clip one spike-and-wave complex is a large share of the time, so more of it is allowed than of a recording.
CLIP_SPIKING_SHARE = 0.1
REASONS = ("not finite", "flat", "zeros", "clipped", "spiking", "artefact")


def cut_clips(
    recording: Recording, *, clip_s: float = 5.0, stride_s: float | None = None
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield (contact index, clips) for each good contact, clips (clips, samples).

    stride_s: seconds from one clip's start to the next; by default clip_s, so that clips do not overlap.
    Clip k starts at sample k · stride; what is left at the end is not used. The clips are read-only views.
    Raises ValueError when the recording is shorter than one clip.
    """
    samples, stride = clip_and_stride(recording, clip_s=clip_s, stride_s=stride_s)
    return (
        (index, sliding_window_view(recording.data[index], samples)[::stride])
        for index, name in enumerate(recording.contacts)
        if name not in recording.bad
    )


def clip_and_stride(recording: RecordingHeader, *, clip_s: float, stride_s: float | None) -> tuple[int, int]:
    """Return the samples of a clip and of a stride: 10240 and 10240 for 5 s at 2048 Hz."""
    rate = recording.sampling_rate
    samples = round(clip_s * rate)
    stride = samples if stride_s is None else round(stride_s * rate)
    if samples < 1 or stride < 1:
        raise ValueError(
            f"Clips of {clip_s} s every {clip_s if stride_s is None else stride_s} s at {rate:g} Hz have no "
            "samples; use a longer clip_s or stride_s."
        )
    if recording.num_samples < samples:
        raise ValueError(
            f"The recording lasts {recording.duration_s:.2f} s and a clip {clip_s:g} s; use a smaller clip_s."
        )
    return samples, stride


def check_clips(clips: NDArray[np.floating], *, sampling_rate: float = 2048.0) -> NDArray[np.str_]:
    """Return for each clip of (clips, samples) in µV why it should not be used, "" when it should.

    Reasons, the first that holds: "not finite"; "flat" (standard deviation under 0.05 µV, or most of it one value);
    "zeros" (a stretch of zeros longer than 20 ms); "clipped" (over 1 % of the time in runs at its own maximum or
    minimum); "spiking" (over 10 % of the time beyond 20 robust standard deviations).
    sampling_rate: Hz, of the clips; the model's by default.
    After a filter, zeros and clipping may be hidden: `recording_clip_problems` also knows what the reader saw.
    """
    if clips.ndim != 2:
        raise ValueError(f"clips are {clips.shape}; give (clips, samples), and one clip as clip[None].")
    return np.array([_clip_problem(clip, sampling_rate) for clip in clips], dtype=f"<U{max(map(len, REASONS))}")


def recording_clip_problems(
    recording: Recording, index: int, *, clip_s: float = 5.0, stride_s: float | None = None
) -> NDArray[np.str_]:
    """Return the reasons of `check_clips` for all clips of one contact, and "artefact" where the raw signal had one.

    Clips are those of `cut_clips`. An artefact is a stretch that was missing, zero, held or clipped before filtering,
    with what the filters since have smeared around it.
    """
    samples, stride = clip_and_stride(recording, clip_s=clip_s, stride_s=stride_s)
    clips = sliding_window_view(recording.data[index], samples)[::stride]
    return clip_problems(recording, index, clips, np.arange(len(clips)) * stride)


def clip_problems(
    recording: RecordingHeader, index: int, clips: NDArray[np.floating], starts: NDArray[np.integer]
) -> NDArray[np.str_]:
    """Return the reasons of `recording_clip_problems` for some clips of one contact, wherever they were read from.

    recording: what the clips were cut from, or its header. index: of the contact. clips: (clips, samples) in µV.
    starts: (clips,), the sample of the recording that each clip starts with.
    """
    reasons = check_clips(clips, sampling_rate=recording.sampling_rate)
    stretches = (
        np.array(recording.artefacts.get(recording.contacts[index], ())).reshape(-1, 2) * recording.sampling_rate
    )
    stretches = stretches[np.argsort(stretches[:, 0])]
    # A clip touches a stretch when, of those that start before its end, the one that lasts longest reaches into it.
    latest = np.concatenate([[-np.inf], np.maximum.accumulate(stretches[:, 1])])
    touched = latest[np.searchsorted(stretches[:, 0], starts + clips.shape[1])] > starts
    reasons[touched & (reasons == "")] = "artefact"
    return reasons


def _clip_problem(clip: NDArray[np.floating], sampling_rate: float) -> str:
    if not np.isfinite(clip).all():
        return "not finite"
    if clip.std(dtype=np.float64) < FLAT_SD_UV:
        return "flat"
    zero = np.abs(clip) <= ZERO_UV
    if zero.sum() > ZERO_RUN_S * sampling_rate:
        start, stop = run_edges(zero)
        if (stop - start).max() > ZERO_RUN_S * sampling_rate:
            return "zeros"
    findings = dict(inspect_contact(np.where(zero, 0.0, clip), sampling_rate).findings)
    if findings["spiking_share"] <= CLIP_SPIKING_SHARE:
        findings["spiking_share"] = 0.0
    return contact_problem(findings)
