"""Say which contacts of a recording, and which of its samples, are not signal.

Signals are (contacts, samples) in microvolts, rates in hertz, stretches in seconds. Nothing here opens files.
Look at a recording before it is filtered: afterwards a lost packet or a clipped wave is no longer flat.
"""

import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from .artefacts import Stretches, in_seconds, marked_samples, merged
from .band import band_beside_gaps, narrow_band_problem
from .inspection import ContactInspector, Inspection
from .recording import AnyRecording, Recording, RecordingStream, blocks

# Below any amplifier's noise: the quietest clinical ones have about 1 µV over 0.5 to 500 Hz.
FLAT_SD_UV = 0.05
# A contact is bad when more of it than this is missing, zero or held; shorter stretches only cost the clips they touch.
HELD_SHARE = 0.2
CLIPPED_SHARE = 0.01
# Epileptic spikes and seizures are physiology: recordings full of both have up to 0.6 % of their samples beyond 20
# robust standard deviations; spikes of 40 of them once a second reach 3 to 4 %.
SPIKING_SHARE = 0.05
# Intracranial signals have 5 to 500 µV; a file in mV or nV that says µV is wrong by a thousand.
PLAUSIBLE_SD_UV = (0.5, 5000.0)


@dataclass(frozen=True, kw_only=True)
class QualityReport:
    """What is wrong with a recording.

    table: one row a contact: "contact", "reason" ("" when good), "sd_uv", "nan_share", "zero_share", "held_share",
        "clipped_share", "spiking_share".
    bad: contact -> reason, for `mark_bad`; contacts that were bad before keep their reason.
    artefacts: contact -> (start, stop) in seconds of stretches that are NaN, infinite, zero, held or clipped.
    band_hz: pass band of the good contacts, Hz; None when there are none.
    warnings: sentences about the recording as a whole.
    """

    table: tuple[Mapping[str, object], ...]
    bad: Mapping[str, str]
    artefacts: Mapping[str, Stretches]
    band_hz: tuple[float, float] | None
    sampling_rate: float
    num_samples: int
    warnings: tuple[str, ...] = ()

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Unusable samples, (contacts, samples): the artefacts, and all of each bad contact."""
        mask = np.zeros((len(self.table), self.num_samples), dtype=bool)
        for row, entry in zip(mask, self.table, strict=True):
            name = str(entry["contact"])
            row[:] = name in self.bad
            row |= marked_samples(
                self.artefacts.get(name, ()), sampling_rate=self.sampling_rate, num_samples=self.num_samples
            )
        return mask

    def to_text(self) -> str:
        """Return the table as text, worst first."""
        lines = [f"{len(self.table)} contacts, {len(self.bad)} bad, {self.num_samples / self.sampling_rate:.1f} s"]
        if self.band_hz:
            lines.append(f"pass band {self.band_hz[0]:.1f} to {self.band_hz[1]:.1f} Hz")
        lines += [f"warning: {text}" for text in self.warnings]
        columns = ("nan_share", "zero_share", "held_share", "clipped_share", "spiking_share")
        width = max(len(str(entry["contact"])) for entry in self.table)
        head = "  ".join(f"{name.removesuffix('_share'):>8}" for name in columns)
        lines.append(f"{'contact':{max(width, 7)}}  {'sd (µV)':>9}  {head}  reason")
        for entry in sorted(self.table, key=lambda entry: entry["reason"] == ""):
            shares = "  ".join(f"{float(str(entry[name])):8.2%}" for name in columns)
            lines.append(
                f"{entry['contact']!s:{max(width, 7)}}  {float(str(entry['sd_uv'])):9.2f}  {shares}  {entry['reason']}"
            )
        return "\n".join(lines)

    __str__ = to_text


def assess_quality(recording: AnyRecording) -> QualityReport:
    """Look for flat, missing, zero, held, clipped and spiking signal in each contact, and estimate the pass band.

    recording: in memory or a stream, which is read once, in blocks; both have the same report.
    In recordings longer than 2^18 samples (128 s at 2048 Hz), spikes are looked for in as many samples of each contact,
    spread over the recording.
    Returns a report; the recording stays as it is (use `mark_bad(recording, report.bad)`).
    Warns when the band is narrower than the front end's 200 Hz, which reading leaves to this function; and when
    amplitudes suggest a wrong unit, unless the recording comes from `read_recording`, which has said so already.
    """
    return quality_report(recording, inspect_contacts(recording, progress=False), stacklevel=3)


def inspect_contacts(recording: AnyRecording, *, progress: bool) -> dict[str, Inspection]:
    """Go once through a recording, in blocks, and return contact -> what was found in it."""
    inspectors = [ContactInspector(recording.num_samples, recording.sampling_rate) for _ in recording.contacts]
    for start, stop in tqdm(
        blocks(recording), desc="checking the signal", unit="block", disable=not progress, file=sys.stderr
    ):
        for inspector, row in zip(inspectors, recording.read(start, stop), strict=True):
            inspector.add(row)
    return {name: inspector.finish() for name, inspector in zip(recording.contacts, inspectors, strict=True)}


def quality_report(
    recording: AnyRecording, inspections: Mapping[str, Inspection], *, stacklevel: int = 2
) -> QualityReport:
    """Return the report of `assess_quality` from what was found in each contact.

    stacklevel: of the warnings.
    """
    table: list[dict[str, object]] = []
    bad: dict[str, str] = {}
    artefacts: dict[str, Stretches] = {}
    for name, inspection in inspections.items():
        reason = recording.bad.get(name) or contact_problem(inspection.findings)
        if reason:
            bad[name] = reason
        found = in_seconds(*inspection.unusable, sampling_rate=recording.sampling_rate)
        stretches = merged([*found, *recording.artefacts.get(name, ())])
        if stretches:
            artefacts[name] = stretches
        table.append({"contact": name, "reason": reason, **inspection.findings})
    narrow = wrong_unit = ""
    amplitudes = [inspections[name].findings["sd_uv"] for name in recording.contacts if name not in bad]
    band = None
    if amplitudes:
        band = _band(recording, inspections, bad)
        narrow, wrong_unit = narrow_band_problem(band[1]), unit_problem(float(np.median(amplitudes)))
    said_by_reader = isinstance(recording, Recording) and any(entry["step"] == "read" for entry in recording.history)
    for message in (narrow, "" if said_by_reader else wrong_unit):
        if message:
            warnings.warn(message, stacklevel=stacklevel)
    return QualityReport(
        table=tuple(table),
        bad=bad,
        artefacts=artefacts,
        band_hz=band,
        sampling_rate=recording.sampling_rate,
        num_samples=recording.num_samples,
        warnings=tuple(message for message in (narrow, wrong_unit) if message),
    )


def _band(
    recording: AnyRecording, inspections: Mapping[str, Inspection], bad: Mapping[str, str]
) -> tuple[float, float]:
    changing = {
        name: (inspection.gaps.start, inspection.gaps.stop)
        for name, inspection in inspections.items()
        if inspection.findings["sd_uv"] > 0
    }
    # `read_recording` has looked at the contacts that the file calls good; a stream comes without that estimate.
    known = {name: gaps for name, gaps in changing.items() if name not in recording.bad}
    if isinstance(recording, RecordingStream) and known:
        recording = replace(recording, band_hz=band_beside_gaps(recording, known))
        if not set(bad) & set(known):
            assert recording.band_hz is not None
            return recording.band_hz
    return band_beside_gaps(recording, {name: gaps for name, gaps in changing.items() if name not in bad})


def unit_problem(typical_sd_uv: float) -> str:
    """Return a warning when a recording's typical standard deviation (µV) is not that of intracranial signal."""
    low, high = PLAUSIBLE_SD_UV
    if low <= typical_sd_uv <= high:
        return ""
    return (
        f"The contacts' median standard deviation is {typical_sd_uv:.3g} µV, outside {low:g} to {high:g} µV: "
        "check the unit in the file, and give read_recording(..., unit=...) if it is wrong."
    )


def contact_problem(findings: Mapping[str, float]) -> str:
    """Return why a contact with these findings is bad, or "" when it is good."""
    if findings["nan_share"] > HELD_SHARE:
        return "not finite"
    if findings["zero_share"] > HELD_SHARE:
        return "zeros"
    if findings["sd_uv"] < FLAT_SD_UV or findings["held_share"] > HELD_SHARE:
        return "flat"
    if findings["clipped_share"] > CLIPPED_SHARE:
        return "clipped"
    if findings["spiking_share"] > SPIKING_SHARE:
        return "spiking"
    return ""
