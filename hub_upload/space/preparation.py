"""Read an uploaded recording and bring it to what the model expects: the program that `child.run_limited` starts.

    python -m brainbert.hub_upload.space.preparation FOLDER

FOLDER/task.json says what is wanted; FOLDER/result.json, CONDITIONED and the sentence of a refusal are what it leaves.
"""

import json
import re
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .child import RESULT, TASK, limit_this_process

if TYPE_CHECKING:  # imported after the limits are set
    from brainbert.processing.recordings import Recording, RecordingStream

CONDITIONED = "conditioned.npy"  # (contacts, samples) float32 in µV at the model's rate
MAX_MINUTES = 10
MAX_VALUES = 2**26  # contacts × samples at the faster of both rates: 256 MiB of float32
RATES_HZ = (100.0, 100_000.0)
# Hints for those who call functions, and what they are on the page.
_ON_THE_PAGE = {
    r"name them: contacts=\[\.\.\.\] or contacts=\{[^}]*\}": "name them under “Channels”",
    r"Give contacts=\[\.\.\.\] to choose yourself": "Name others under “Channels” to choose yourself",
    r"use common_average, or rename": "choose the common average or none, or rename",
    r"use ends='one-sided' for pairs, a common average, or rename": "choose another reference, or rename",
    r"use a common average, or rename": "choose another reference, or rename",
    r"use by='all', or rename": "choose another reference, or rename",
    r"look at assess_quality\(recording\), and cut": "cut",
    r"use them as they are \(reference='none'\)": "choose the reference “none”",
    r", and give read_recording\(\.\.\., unit=\.\.\.\) if it is wrong": ", and correct it under “Unit”",
}


def prepare(task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Read and condition the recording that a task names, and return what the page shows of it.

    task: "file" (a bare name in the folder; None for the sample), "sampling_rate" (the model's), "line_frequency",
        "reference", "ends"; None unless the visitor gave them: "given_rate" (of arrays that do not say theirs),
        "channels" (names), "unit" (where a header is wrong).
    Returns contacts with their state, rate, duration, notes, artefacts; the names of the rows of CONDITIONED.
    Raises ValueError and OSError for what cannot be read; a reference that cannot be made is a "problem" in the result.
    """
    from brainbert.processing.recordings import MontageError, assess_quality, condition, left_out

    notes: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        recording = _read(task, folder, notes)
        report = assess_quality(recording)
        result = {
            "sampling_rate": recording.sampling_rate,
            "duration_s": recording.duration_s,
            "band_hz": report.band_hz and list(report.band_hz),
            "quality": {str(row["contact"]): str(row["reason"]) for row in report.table},
            "sd_uv": {str(row["contact"]): float(str(row["sd_uv"])) for row in report.table},
            "contacts": [],
            "left_out": {},
            "problem": "",
        }
        try:
            conditioned = condition(
                recording,
                line_frequency_hz=task["line_frequency"] or None,
                reference=task["reference"],
                ends=task["ends"] if task["reference"] == "laplacian" else "drop",
                sampling_rate=task["sampling_rate"],
            )
        except MontageError as error:
            result["problem"] = on_the_page(error)
        except ValueError as error:
            if len(report.bad) < len(recording.contacts):
                raise
            result["problem"] = on_the_page(error)
        else:
            result |= _keep(conditioned, folder, left_out(conditioned))
    notes += [on_the_page(said) for said in report.warnings]
    if recording.sampling_rate != task["sampling_rate"]:
        notes.append(f"Resampled from {recording.sampling_rate:g} Hz to the model's {task['sampling_rate']:g} Hz.")
    for warning in caught:
        if issubclass(warning.category, UserWarning) and (said := on_the_page(warning.message)) not in notes:
            notes.append(said)
    return result | {"notes": notes}


def on_the_page(message: object) -> str:
    """Return a sentence of `brainbert.processing` with what it says about functions in the words of the page."""
    said = " ".join(str(message).split())
    for pattern, words in _ON_THE_PAGE.items():
        said = re.sub(pattern, words, said)
    return said


def _read(task: dict[str, Any], folder: Path, notes: list[str]) -> "Recording":
    from brainbert.processing.recordings import open_recording
    from brainbert.processing.recordings.formats import check_references

    from . import sample
    from .arrays import recording_of

    recording: Recording | RecordingStream
    if task["file"] is None:
        recording = recording_of(sample.arrays(), "the sample", given_rate=None)
    elif Path(task["file"]).suffix.lower() in (".npz", ".npy"):
        # Takes three seconds, because the endpoint that it belongs to computes; other files do without.
        from ..handler import read_array

        arrays = read_array((folder / task["file"]).read_bytes())
        recording = recording_of(arrays, task["file"], given_rate=task["given_rate"])
    else:
        for part in check_references(folder / task["file"]):
            if not part.is_file():
                raise ValueError(
                    f"{task['file']} names {part.name}, which did not come with it: upload the .vhdr, .eeg and .vmrk "
                    "files together, under the names that the header has."
                )
        # Given an id, the file is not read through for a hash of it.
        recording = open_recording(
            folder / task["file"], contacts=task["channels"], unit=task["unit"], recording_id="upload"
        )
        notes += _chosen(recording.history[0])
    check_rate(recording.sampling_rate)
    samples = longest(recording.num_samples, recording.sampling_rate, len(recording.contacts), task["sampling_rate"])
    if samples < recording.num_samples:
        notes.append(
            f"Only the first {_minutes(samples / recording.sampling_rate)} of {_minutes(recording.duration_s)} were "
            "read: this page is for a look."
        )
    return recording.with_data(recording.read(0, samples))


def _chosen(step: Mapping[str, Any]) -> list[str]:
    """Return how the contacts were told from other channels, where that was a guess or left something out."""
    guessed, left_out = "guessed" in str(step["types"]), int(step["channels_left_out"])
    if not guessed and not left_out:
        return []
    return [
        ("Contacts were guessed from their names. " if guessed else "")
        + (f"{left_out} other channel{'s were' if left_out > 1 else ' was'} left out. " if left_out else "")
        + "Name others under “Channels” to choose yourself."
    ]


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} minutes" if seconds >= 90 else f"{seconds:.0f} s"


def longest(samples: int, rate: float, contacts: int, model_rate: float) -> int:
    """Return how many of a recording's samples are read: MAX_MINUTES of them, fewer of many contacts."""
    affordable = MAX_VALUES / contacts / max(1.0, model_rate / rate)
    return max(1, min(samples, int(MAX_MINUTES * 60 * rate), int(affordable)))


def check_rate(rate: float) -> None:
    """Raise ValueError for a rate that no intracranial recording has, NaN included."""
    low, high = RATES_HZ
    if not low <= rate <= high:
        raise ValueError(
            f"The sampling rate is {rate:g} Hz and recordings from {low:g} to {high:g} Hz are taken: correct the rate."
        )


def _keep(conditioned: "Recording", folder: Path, gone: dict[str, str]) -> dict[str, Any]:
    import numpy as np

    good = [row for row, name in enumerate(conditioned.contacts) if name not in conditioned.bad]
    np.save(folder / CONDITIONED, conditioned.data[good], allow_pickle=False)
    names = [conditioned.contacts[row] for row in good]
    return {
        "contacts": names,
        "left_out": gone,
        "artefacts": {name: [list(s) for s in conditioned.artefacts.get(name, ())] for name in names},
    }


def main() -> None:
    """Do the task of the folder in argv[1]; whatever happens, leave an object in RESULT."""
    folder = Path(sys.argv[1])
    task = json.loads((folder / TASK).read_text(encoding="utf-8"))
    limit_this_process(**task["limits"])
    try:
        result = prepare(task, folder)
    except MemoryError:
        result = {"refusal": "The recording takes more memory than this page has: cut it, or use your own machine."}
    except (ValueError, OSError) as error:
        said = on_the_page(error)
        result = {"refusal": said.replace(f"{folder}/", "").replace(str(folder), "its folder")}
    except Exception as error:  # a reader's own mistake on a file that nobody foresaw
        result = {"refusal": f"{task['file']!r} cannot be read ({type(error).__name__}): export it anew."}
    part = folder / f"{RESULT}.part"
    part.write_text(json.dumps(result), encoding="utf-8")
    part.replace(folder / RESULT)


if __name__ == "__main__":
    main()
