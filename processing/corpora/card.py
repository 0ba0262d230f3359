"""The data card of a corpus: what went in, what was done to it, what was left out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import DatasetCard, DatasetCardData

from ..atomic import written_whole

NO_LICENCE = "No licence is stated: add one, and check consent, before sharing."
_TEXT = """# A corpus of intracranial clips

{clips} clips of {clip_s:g} s ({hours:.2f} h, contacts added up), every {stride_s:g} s, at {sampling_rate:g} Hz in µV, \
from {recordings} recordings of {subjects} subjects, {contacts} contacts. Fingerprint `{fingerprint}`.

One row is a clip of one contact: µV = `signal` · `scale` + `offset`, stored as {storage}{storage_error}; `start` is \
the first sample in the conditioned recording. Names of recordings and subjects are pseudonyms unless whoever built \
the corpus chose them; a file whose person was not named counts as a subject of its own. {no_licence}

## Recordings

| recording | subject | session | minutes | recorded at (Hz) | pass band (Hz) | contacts | clips |
|---|---|---|---|---|---|---|---|
{recording_rows}

## What was left out

| recording | contacts | clips |
|---|---|---|
{left_out_rows}

## Conditioning

Steps with their parameters, in order. Recordings with the same steps are listed together.

{histories}
"""


def write_card(
    folder: Path,
    *,
    fingerprint: str,
    settings: Mapping[str, Any],
    totals: Mapping[str, Any],
    reports: Sequence[Mapping[str, Any]],
) -> None:
    """Write README.md, the data card, into the folder of a corpus."""
    error = max(report["storage_error"] for report in reports)
    text = _TEXT.format(
        **settings,
        no_licence=NO_LICENCE,
        fingerprint=fingerprint,
        clips=totals["clips"]["kept"],
        hours=totals["clips"]["kept"] * min(settings["clip_s"], settings["stride_s"]) / 3600,
        recordings=totals["recordings"],
        subjects=totals["subjects"],
        contacts=totals["contacts"],
        storage_error=f" (largest rounding error {error:.1e} of a clip's standard deviation)" if error else "",
        recording_rows="\n".join(map(_recording_row, reports)),
        left_out_rows="\n".join(map(_left_out_row, reports)),
        histories="\n\n".join(_histories(reports)),
    )
    metadata = DatasetCardData(pretty_name="Intracranial clips for BrainBERT", tags=["intracranial-eeg", "brainbert"])
    with written_whole(folder / "README.md") as temporary:
        DatasetCard(f"---\n{metadata}\n---\n\n{text}").save(temporary)


def _recording_row(report: Mapping[str, Any]) -> str:
    band = report["band_hz"]
    cells = (
        report["recording"],
        report["subject"],
        report["session"] or "–",
        f"{report['duration_s'] / 60:.1f}",
        f"{report['original_sampling_rate']:g}",
        f"{band[0]:.1f}–{band[1]:.0f}" if band else "unknown",
        len(report["contacts"]),
        report["clips"]["kept"],
    )
    return "| " + " | ".join(map(_cell, cells)) + " |"


def _left_out_row(report: Mapping[str, Any]) -> str:
    bad = ", ".join(f"{name}: {reason}" for name, reason in report["left_out"].items()) or "none"
    clips = ", ".join(f"{reason}: {n}" for reason, n in sorted(report["clips"].items()) if reason != "kept") or "none"
    return "| " + " | ".join(map(_cell, (report["recording"], bad, clips))) + " |"


def _histories(reports: Sequence[Mapping[str, Any]]) -> list[str]:
    same: dict[str, list[str]] = {}
    for report in reports:
        lines = [
            f"{number}. `{step['step']}` "
            + ", ".join(f"{name} = {value}" for name, value in step.items() if name != "step")
            for number, step in enumerate(report["history"], 1)
        ]
        same.setdefault("\n".join(lines) or "None: the signal was used as given.", []).append(report["recording"])
    return [f"{', '.join(names)}:\n\n{lines}" for lines, names in same.items()]


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
