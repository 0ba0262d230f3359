"""From a recording as it was read to one that the model expects, in the one order that is right."""

from typing import Literal, TypeVar

from .artefacts import fill_gaps
from .filters import remove_line_noise
from .grids import Grids
from .inspection import SPIKING_SD
from .quality import CLIPPED_SHARE, FLAT_SD_UV, HELD_SHARE, SPIKING_SHARE, QualityReport, assess_quality
from .recording import Recording, RecordingHeader, mark_bad
from .reference import Reference, plan_bipolar, plan_common_average, plan_laplacian
from .resample import resample

_Header = TypeVar("_Header", bound=RecordingHeader)


def condition(
    recording: Recording,
    *,
    line_frequency_hz: float | None,
    reference: Literal["laplacian", "bipolar", "common-average", "none"] = "laplacian",
    ends: Literal["drop", "one-sided"] = "drop",
    grids: Grids | None = None,
    edges: Literal["all", "interior"] = "all",
    notch: Literal["causal-notch", "zero-phase-fir"] = "causal-notch",
    sampling_rate: float = 2048.0,
) -> Recording:
    """Mark bad contacts, fill gaps, remove line noise, re-reference and resample: what the weights were trained on.

    line_frequency_hz: 50 or 60; None leaves line noise in, and the history says so.
    reference: along shafts (see reference.py); "none" keeps the one of the recording.
    ends, grids, edges: for the Laplacian, see `laplacian`.
    notch: see `remove_line_noise`. sampling_rate: Hz, the model's by default.
    The pass band and the artefacts are measured before anything is filtered, and travel with the result; each filter
    widens the artefacts by its reach. `left_out` says which contacts are gone or bad, and why.
    Warns as `assess_quality` does.
    Raises ValueError when no good contact is left, and what the steps raise.
    """
    refuse_request(recording, reference=reference, grids=grids, edges=edges)
    recording = with_quality(recording, assess_quality(recording))
    recording = fill_gaps(recording)
    if line_frequency_hz is None:
        recording = recording.with_step("remove_line_noise", {"method": "none"})
    else:
        recording = remove_line_noise(recording, line_frequency_hz, method=notch)
    plan = plan_reference_called(reference, recording.header, ends=ends, grids=grids, edges=edges)
    if plan is not None:
        recording = plan.header.with_data(plan.apply(recording.data))
    return resample(recording, sampling_rate)


def refuse_request(recording: RecordingHeader, *, reference: str, grids: Grids | None, edges: str) -> None:
    """Raise ValueError for an unknown reference, grids with another than the Laplacian, or a second conditioning."""
    references = ("laplacian", "bipolar", "common-average", "none")
    if reference not in references:
        raise ValueError(f"reference is {reference!r}; use one of {', '.join(references)}.")
    if reference != "laplacian" and (grids is not None or edges != "all"):
        raise ValueError(f"grids and edges are for the Laplacian and reference is {reference!r}; leave them out.")
    done = [entry["step"] for entry in recording.history if entry["step"] in ("condition", "resample")]
    if done:
        raise ValueError(f"The recording already went through {done[0]}; condition the recording as it was read.")


def with_quality(recording: _Header, report: QualityReport) -> _Header:
    """Return the recording with bad contacts marked, artefacts and pass band as in the report.

    Raises ValueError when no good contact is left.
    """
    if len(report.bad) == len(recording.contacts):
        reasons = ", ".join(f"{name}: {reason}" for name, reason in list(report.bad.items())[:6])
        raise ValueError(
            f"No good contact is left ({reasons}); look at assess_quality(recording), and cut away the parts of the "
            "file where nothing was recorded."
        )
    thresholds = {
        "flat_sd_uv": FLAT_SD_UV,
        "held_share": HELD_SHARE,
        "clipped_share": CLIPPED_SHARE,
        "spiking": [SPIKING_SD, SPIKING_SHARE],
    }
    return mark_bad(recording, report.bad).with_step(
        "quality",
        {"thresholds": thresholds, "band_hz": list(report.band_hz or ())},
        artefacts=report.artefacts,
        band_hz=report.band_hz,
    )


def plan_reference_called(
    reference: str,
    header: RecordingHeader,
    *,
    ends: Literal["drop", "one-sided"],
    grids: Grids | None,
    edges: Literal["all", "interior"],
) -> Reference | None:
    """Return the reference of this name for a recording, None for "none"; raises what planning it raises."""
    if reference == "laplacian":
        return plan_laplacian(header, ends=ends, grids=grids, edges=edges)
    if reference == "bipolar":
        return plan_bipolar(header)
    return plan_common_average(header) if reference == "common-average" else None
