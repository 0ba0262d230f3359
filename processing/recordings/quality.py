"""Say which contacts of a recording, and which of its samples, are not signal.

Signals are (contacts, samples) in microvolts, rates in hertz, stretches in seconds. Nothing here reads files.
Look at a recording before it is filtered: afterwards a lost packet or a clipped wave is no longer flat.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .artefacts import Stretches, marked_samples, merged, runs
from .band import estimate_band, narrow_band_problem
from .recording import Recording

# Below any amplifier's noise: the quietest clinical ones have about 1 µV over 0.5 to 500 Hz.
FLAT_SD_UV = 0.05
# An amplifier never repeats one value for 50 ms; in quantised clean recordings (16 bit) the longest run was 5 samples.
HELD_S = 0.05
# Samples at the very maximum or minimum, in a row: clean recordings have 1, clipped ones 5 and more.
CLIPPED_RUN_SAMPLES = 5
CLIPPED_RUN_S = 0.005
# A contact is bad when more of it than this is missing, zero or held; shorter stretches only cost the clips they touch.
HELD_SHARE = 0.2
CLIPPED_SHARE = 0.01
# Epileptic spikes and seizures are physiology: recordings full of both have up to 0.6 % of their samples beyond 20
# robust standard deviations; spikes of 40 of them once a second reach 3 to 4 %.
SPIKING_SD = 20.0
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


def assess_quality(recording: Recording) -> QualityReport:
    """Look for flat, missing, zero, held, clipped and spiking signal in each contact, and estimate the pass band.

    Returns a report; the recording stays as it is (use `mark_bad(recording, report.bad)`).
    Warns when the band is narrower than the front end's 200 Hz, which reading leaves to this function; and when
    amplitudes suggest a wrong unit, unless the recording comes from `read_recording`, which has said so already.
    """
    table: list[dict[str, object]] = []
    bad: dict[str, str] = {}
    artefacts: dict[str, Stretches] = {}
    for name, signal in zip(recording.contacts, recording.data, strict=True):
        findings, unusable = inspect_contact(signal, recording.sampling_rate)
        reason = recording.bad.get(name) or contact_problem(findings)
        if reason:
            bad[name] = reason
        found = [(a / recording.sampling_rate, b / recording.sampling_rate) for a, b in runs(unusable)]
        stretches = merged([*found, *recording.artefacts.get(name, ())])
        if stretches:
            artefacts[name] = stretches
        table.append({"contact": name, "reason": reason, **findings})
    narrow = wrong_unit = ""
    amplitudes = [float(str(entry["sd_uv"])) for entry in table if entry["contact"] not in bad]
    band = None
    if amplitudes:
        band = estimate_band(replace(recording, bad=bad), warn=False)
        narrow, wrong_unit = narrow_band_problem(band[1]), unit_problem(float(np.median(amplitudes)))
    said_by_reader = any(entry["step"] == "read" for entry in recording.history)
    for message in (narrow, "" if said_by_reader else wrong_unit):
        if message:
            warnings.warn(message, stacklevel=2)
    return QualityReport(
        table=tuple(table),
        bad=bad,
        artefacts=artefacts,
        band_hz=band,
        sampling_rate=recording.sampling_rate,
        num_samples=recording.num_samples,
        warnings=tuple(message for message in (narrow, wrong_unit) if message),
    )


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


def inspect_contact(signal: NDArray[np.floating], sampling_rate: float) -> tuple[dict[str, float], NDArray[np.bool_]]:
    """Measure one contact (samples,) in µV: the numbers of the quality table, and its unusable samples.

    sd_uv is taken over the finite samples; zero, held and clipped are shares of time in runs of one value (held counts
    zeros too); spiking is the share beyond 20 robust standard deviations (1.4826 median absolute deviations).
    """
    values = signal.astype(np.float64)
    finite = np.isfinite(values)
    unusable = ~finite
    findings = dict.fromkeys(("sd_uv", "zero_share", "held_share", "clipped_share", "spiking_share"), 0.0)
    findings["nan_share"] = float(unusable.mean())
    if not finite.any():
        return findings, unusable
    present = values[finite]
    findings["sd_uv"] = float(present.std())
    lowest, highest = present.min(), present.max()

    edges = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1], [True]]))
    lengths, level = np.diff(edges), values[edges[:-1]]
    held = (lengths >= max(HELD_S * sampling_rate, 2)) & np.isfinite(level)
    at_rail = (level == lowest) | (level == highest)
    clipped = at_rail & (lengths >= max(CLIPPED_RUN_S * sampling_rate, CLIPPED_RUN_SAMPLES)) & (lowest < highest)
    samples = len(values)
    findings["zero_share"] = float(lengths[held & (level == 0)].sum() / samples)
    findings["held_share"] = float(lengths[held].sum() / samples)
    findings["clipped_share"] = float(lengths[clipped & (level != 0)].sum() / samples)
    unusable |= np.repeat(held | clipped, lengths)

    middle = np.median(present)
    deviation = np.abs(present - middle)
    robust_sd = 1.4826 * np.median(deviation)
    if robust_sd > 0:
        findings["spiking_share"] = float((deviation > SPIKING_SD * robust_sd).sum() / samples)
    return findings, unusable
