"""What a model card is made of: the JSON files of a model folder, and those that are made for the card.

Reports are reduced to numbers of recordings, subjects and contacts: names of these stay out of a published folder.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from brainbert.modeling_brainbert import PRESETS, BrainBertFeatureExtractor

WEIGHTS = "model.safetensors"
RECORD, CONVERSION = "training_record.json", "conversion_report.json"
ESTIMATORS = ("pca95", "participation_ratio", "two_nn")
_DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}  # of safetensors, and as PyTorch says it
_MOST_HEADER = 100 << 20  # bytes, as safetensors has it
_REPORT = ("title", "verdict", "task", "model", "recordings", "split", "systems", "differences", "null", "bootstrap")
_SETTINGS = ("reference", "notch", "line_frequency", "ends", "stride_s", "anchor")  # of a report: names of contacts not
PATH = re.compile(r"(?:^|[\s(\"'=])(?:~?/[\w.-]+/\S*|[A-Za-z]:\\\S+|\\\\\S+|file:\S+)")


def read_json(path: Path) -> Any:
    """Return what a JSON file holds. Raises ValueError where it is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise ValueError(f"{path.name} is no JSON file: give the folder or the file as it was written.") from None


def read_folder(folder: Path) -> dict[str, Any]:
    """Return file → content of the JSON files of a model folder that a card cites.

    Raises ValueError for a folder that lacks what a model folder has.
    """
    for name in (WEIGHTS, "config.json", "preprocessor_config.json"):
        if not (folder / name).is_file():
            raise ValueError(f"{folder} holds no {name}: give the folder of a saved model, such as run/model.")
    names = ("config.json", "preprocessor_config.json", RECORD, CONVERSION)
    return {name: read_json(folder / name) for name in names if (folder / name).is_file()}


def describe_model(folder: Path, config: Mapping[str, Any], extractor: BrainBertFeatureExtractor) -> dict[str, Any]:
    """Return what is known of the weights and of their input by looking: sizes, hashes, the shortest input."""
    header, start = _read_header(folder / WEIGHTS)
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    inside = "brainbert." if any(name.startswith("brainbert.") for name in tensors) else ""
    encoder = {name.removeprefix(inside): entry for name, entry in tensors.items() if name.startswith(inside)}
    shortest = next(samples for samples in count(1) if extractor.num_frames(samples) >= extractor.minimum_frames)
    presets = [
        name
        for name, sizes in PRESETS.items()
        if all(config.get(key) == value for key, value in sizes.items() if "prob" not in key)
    ]
    return {
        "preset": presets[0] if presets else None,
        "weights": {
            "file": WEIGHTS,
            "bytes": (folder / WEIGHTS).stat().st_size,
            "sha256": _sha256(folder / WEIGHTS),
            "parameters": _parameters(tensors),
            "dtypes": sorted({_DTYPES.get(entry["dtype"], entry["dtype"]) for entry in tensors.values()}),
        },
        # As decoding reports name them: a hash of names and values.
        "encoder": {"sha256": _encoder_sha256(folder / WEIGHTS, encoder, start), "parameters": _parameters(encoder)},
        "input": {
            "front_end": extractor.fingerprint,
            "minimum_frames": extractor.minimum_frames,
            "minimum_recording_s": extractor.minimum_recording_s,
            "shortest_samples": shortest,
            "lowest_hz": extractor.frequencies[0],
            "highest_hz": extractor.frequencies[-1],
        },
    }


def _read_header(path: Path) -> tuple[dict[str, Any], int]:
    """Return the header of a safetensors file, and where its numbers start."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(_MOST_HEADER, path.stat().st_size):
            raise ValueError(f"{path.name} is no safetensors file: save the model again.")
        try:
            return json.loads(file.read(length)), 8 + length
        except ValueError:
            raise ValueError(f"{path.name} is no safetensors file: save the model again.") from None


def _parameters(tensors: Mapping[str, Any]) -> int:
    return sum(math.prod(entry["shape"]) for entry in tensors.values())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _encoder_sha256(path: Path, tensors: Mapping[str, Any], start: int) -> str:
    """Return what `brainbert.processing.decoding.weights_sha256` gives for the encoder, without loading it."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for name, entry in sorted(tensors.items()):
            digest.update(name.encode())
            begin, end = entry["data_offsets"]
            file.seek(start + begin)
            digest.update(file.read(end - begin))
    return digest.hexdigest()


def described_corpora(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the corpora of a training record, if it has more than their fingerprints."""
    corpora = record.get("corpora") or []
    return corpora if all(isinstance(each, Mapping) and "clips" in each for each in corpora) else []


def describe_corpora(folders: Sequence[Path], fingerprints: Iterable[str] | None) -> list[dict[str, Any]]:
    """Return what the files of corpora add to the training record: rates, bands, what was left out, and why.

    fingerprints: of the corpora that the model was trained on; None where its record does not say.
    Raises ValueError for a folder that is no corpus, or another one.
    """
    found = []
    known = None if fingerprints is None else set(fingerprints)
    for folder in folders:
        if not (folder / "corpus.json").is_file():
            raise ValueError(f"{folder} holds no corpus.json: give the folder of a corpus.")
        fingerprint = read_json(folder / "corpus.json")["fingerprint"]
        if known is not None and fingerprint not in known:
            raise ValueError(
                f"The model was not trained on the corpus {fingerprint}: give the corpora of its training record, "
                f"{', '.join(sorted(known))}."
            )
        reports = [read_json(path) for path in sorted(folder.glob("recording-*.json"))]
        names = [report.get(key) for report in reports for key in ("recording", "subject", "session")]
        names += [each["contact"] for report in reports for each in report.get("contacts") or []]
        names += [name for report in reports for name in report["left_out"]]
        rates = [report["original_sampling_rate"] for report in reports]
        bands = [report["band_hz"] for report in reports if report["band_hz"]]
        found.append(
            {
                "fingerprint": fingerprint,
                "duration_s": sum(report["duration_s"] for report in reports),
                "recorded_at_hz": [min(rates), max(rates)] if rates else None,
                "band_hz": [min(low for low, _ in bands), max(high for _, high in bands)] if bands else None,
                "contacts_left_out": _count(reason for each in reports for reason in each["left_out"].values()),
                "clips_left_out": _sum(
                    {why: n for why, n in report["clips"].items() if why != "kept"} for report in reports
                ),
            }
        )
        _refuse_names(
            found[-1], names, f"The corpus {fingerprint}", "leave --corpus out, or give other reasons for bad contacts."
        )
    return found


def reduce_report(
    report: Mapping[str, Any], model: Mapping[str, Any], record: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return a decoding report without anything about single recordings, subjects and contacts.

    report: report.json of examples/decode.py. model: as `describe_model` gives it. record: of the training.
    Raises ValueError for something else, a report of other weights or another front end, and for names of recordings,
    subjects, contacts, or paths in what would be published.
    """
    if not isinstance(report, Mapping) or any(key not in report for key in _REPORT):
        raise ValueError("This is no decoding report: give report.json of examples/decode.py, or its folder.")
    title, about = report["title"], report["model"]
    if about["sha256"] != model["encoder"]["sha256"]:
        raise ValueError(
            f"The report {title!r} was made with other weights ({about['sha256'][:12]}…) than the folder holds "
            f"({model['encoder']['sha256'][:12]}…): decode with this folder, or leave the report out."
        )
    if about["front_end"] != model["input"]["front_end"]:
        raise ValueError(
            f"The report {title!r} was made with the front end {about['front_end']} and the folder has "
            f"{model['input']['front_end']}: decode with this folder, or leave the report out."
        )
    recordings = report["recordings"]
    seen = _seen(record, [each["id"] for each in recordings])
    reduced = {key: report.get(key) for key in ("title", "verdict", "differences", "null", "bootstrap", "seed")}
    reduced |= {
        "task": report["task"],
        "model": {key: about.get(key) for key in ("sha256", "front_end", "normalization", "scale", "pooling", "layer")},
        "statistics": report.get("statistics"),
        "recordings": {
            "count": len(recordings),
            "subjects": len({each["subject"] for each in recordings}),
            "duration_s": sum(each["duration_s"] for each in recordings),
            "contacts": sum(each["contacts"] for each in recordings),
            "contacts_left_out": _count(why for each in recordings for why in each["left_out"].values()),
            "seen_in_pretraining": seen,
        },
        "left_out": report.get("left_out") or {},
        "split": {**report["split"], "folds": len(report["split"]["folds"])},
        "systems": sorted(
            (_reduce_system(system, report.get("false_discovery")) for system in report["systems"]),
            key=lambda system: system["role"] != "model",
        ),
        "beat_all_controls": _beat_all(report["differences"]),
        "false_discovery": report.get("false_discovery"),
        "dimension": _reduce_dimension(report),
        "warnings": report.get("warnings") or [],
        "settings": {key: value for key, value in (report.get("settings") or {}).items() if key in _SETTINGS},
        "versions": report.get("versions") or {},
    }
    names = [each.get(key) for each in recordings for key in ("id", "subject")]
    names += [name for each in recordings for name in each["left_out"]]
    names += [each["contact"] for system in report["systems"] for each in system.get("contacts") or []]
    names += [row["contact"] for row in report.get("dimension") or []]
    _refuse_names(
        reduced, names, f"The report {title!r}", "decode again with another --title, or other names of labels."
    )
    return reduced


def _seen(record: Mapping[str, Any] | None, recordings: Sequence[str]) -> int | None:
    """Return how many of these recordings the model was pretrained on; None where nobody knows."""
    if not record or any(not isinstance(corpus, Mapping) for corpus in record.get("corpora") or ()):
        return None
    from brainbert.processing.corpora import seen_recordings

    seen = seen_recordings(record, recordings)
    return None if seen is None else len(seen)


def _beat_all(differences: Sequence[Mapping[str, Any]]) -> bool | None:
    """Tell whether the intervals of all differences to controls are above zero; None where there is no control."""
    lows = [(each["interval"] or [None])[0] for each in differences]
    return all(low is not None and low > 0 for low in lows) if lows else None


def _reduce_system(system: Mapping[str, Any], false_discovery: float | None) -> dict[str, Any]:
    contacts = system.get("contacts") or []
    passed = [each for each in contacts if each.get("q") is not None and each["q"] <= (false_discovery or 0)]
    return {
        **{key: value for key, value in system.items() if key != "contacts"},
        "contacts": {"count": len(contacts), "above_chance": len(passed)} if contacts else None,
    }


def _reduce_dimension(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return, for every system, quartiles over contacts of each estimate of the intrinsic dimension."""
    rows = report.get("dimension") or []
    labels = {system["name"]: system["label"] for system in report["systems"]}
    found = []
    for name in dict.fromkeys(row["system"] for row in rows):
        own = [row for row in rows if row["system"] == name]
        entry: dict[str, Any] = {"system": name, "label": labels.get(name, name)}
        for estimator in ESTIMATORS:
            values = sorted(row[estimator] for row in own if row.get(estimator) is not None)
            if not values:
                entry[estimator] = None
                continue
            low, _, high = quantiles(values, method="inclusive") if len(values) > 1 else values * 3
            entry[estimator] = {"median": median(values), "quartiles": [low, high], "contacts": len(values)}
        if any(entry[estimator] for estimator in ESTIMATORS):
            found.append(entry)
    return found


def _refuse_names(content: Any, names: Iterable[Any], what: str, remedy: str) -> None:
    """Raise ValueError when words in a content name a recording, a subject or a contact, or a place on a disk.

    what: whose content it is. remedy: what to do.
    """
    # A number or a letter alone is in every sentence.
    names = {str(name) for name in names if name and len(str(name)) > 1 and not str(name).isdigit()}
    for where, text in _texts(content):
        if PATH.search(text):
            raise ValueError(f"{what} names a path in {where}: {remedy}")
        if any(re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text) for name in names):
            raise ValueError(
                f"{what} names a recording, subject or contact in {where}, which must not be published: {remedy}"
            )


def _texts(content: Any, where: str = "") -> list[tuple[str, str]]:
    """Return where and what of all text in it, names of values included."""
    if isinstance(content, Mapping):
        inside = [(key, value) for key, value in content.items()]
        return [(where, str(key)) for key in content] + [
            found for key, value in inside for found in _texts(value, f"{where} {key}".strip())
        ]
    if isinstance(content, list):
        return [found for value in content for found in _texts(value, where)]
    return [(where, content)] if isinstance(content, str) else []


def _count(reasons: Iterable[str]) -> dict[str, int]:
    return _sum({reason: 1} for reason in reasons)


def _sum(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in counts:
        for name, number in each.items():
            total[name] = total.get(name, 0) + number
    return dict(sorted(total.items()))
