"""The public benchmarks in which BrainBERT stands as a row: their problems, folds and published rows.

Rows of papers are quoted as they are printed there, for comparison: none was run by us.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from ..corpora import dreamt, du_in, mayo_fnusa
from .benchmark import Benchmark, Problem, Published
from .benchmark_folds import participant_folds, rotated_groups, shares_of_classes

_BRAIN4FMS = "Benchmark4BFMs, ZJU-BrainNet, its README: mean over its folds"
_SWAPPED = (
    "Published AUROC: the columns AUCROC and AUPRC of that table are evidently swapped (BrainBERT on MAYO: .469 and "
    ".858), and are given here as they must be meant."
)
_DU_IN = "Zheng et al. 2024, Du-IN (NeurIPS), table 2: 12 subjects"


def mayo_benchmark(
    root: Path,
    *,
    sampling_rate: float,
    name: str | None = None,
    clip_s: Literal[3, 6] = 3,
    resampling: Literal["filtered", "decimated"] = "filtered",
) -> Benchmark:
    """Return pathological activity against the rest in clips of MAYO or FNUSA, in the published groups of patients.

    name: "MAYO" or "FNUSA", where root has both. clip_s, resampling: see `mayo_fnusa.open_clips`.
    Raises ValueError for what `open_clips` refuses.
    """
    name = mayo_fnusa.find_dataset(root, name=name).name
    people = mayo_fnusa.open_clips(root, sampling_rate=sampling_rate, name=name, clip_s=clip_s, resampling=resampling)
    groups = tuple(tuple(f"{name}-{number}" for number in group) for group in mayo_fnusa.GROUPS[name])
    notes = [
        "Published: other folds of the same patients, another front end, a class-weighted loss, and resampling to "
        "1000 Hz by taking every fifth sample without a filter.",
        _SWAPPED,
    ]
    if resampling == "decimated":
        notes.insert(0, "Clips were decimated without a filter, as published: what lies above half the rate is folded.")
    problem = Problem(
        name=name,
        people=people,
        window_s=float(clip_s),
        classes=("rest", "pathological"),
        split_by=partial(rotated_groups, groups=groups, shares=mayo_fnusa.SHARES[name]),
        measures=("auroc", "f1", "f2", "balanced-accuracy", "accuracy"),
    )
    return Benchmark(
        name=f"{name}: pathological activity against the rest",
        problems=[problem],
        published=_of_brain4fms(name),
        source=_BRAIN4FMS,
        spread="the standard deviation over folds",
        notes=tuple(notes),
    )


def _of_brain4fms(name: str) -> list[Published]:
    rows = {
        "MAYO": {
            "BrainBERT": (0.858, 0.407),
            "Brant": (0.920, 0.648),
            "BIOT": (0.888, 0.640),
            "BFM": (0.809, 0.551),
            "MBrain": (0.868, 0.609),
            "BrainWave": (0.876, 0.712),
            "LaBraM": (0.692, 0.040),
            "CBraMod": (0.697, 0.239),
        },
        "FNUSA": {
            "BrainBERT": (0.780, 0.667),
            "Brant": (0.888, 0.745),
            "BIOT": (0.837, 0.713),
            "MBrain": (0.840, 0.705),
        },
    }[name]
    spread = {"MAYO": {"auroc": 0.062, "f2": 0.198, "accuracy": 0.110}, "FNUSA": {"auroc": 0.138, "f2": 0.049}}[name]
    accuracy = {"MAYO": 0.786, "FNUSA": 0.435}[name]
    return [
        Published(
            label=label,
            values={"auroc": auroc, "f2": f2} | ({"accuracy": accuracy} if label == "BrainBERT" else {}),
            spread=spread | ({"accuracy": 0.060} if name == "FNUSA" else {}) if label == "BrainBERT" else {},
        )
        for label, (auroc, f2) in rows.items()
    ]


def du_in_benchmark(
    root: Path,
    *,
    sampling_rate: float,
    subjects: Sequence[str] | None = None,
    contacts: Literal["chosen", "published", "all"] = "chosen",
    most_contacts: int = 10,
    order: Literal["time", "random"] = "time",
    seed: int = 0,
    cache: Path | None = None,
) -> Benchmark:
    """Return the recitation of words, one problem for each subject.

    subjects: such as "001"; all that root has. contacts: the best so many, chosen in training windows; those of the
        publication, which were chosen with all windows; or all.
    order: which windows of a word are for training, validation and test: in time, or at random as published.
    Raises ValueError for what `du_in.open_subject` refuses, and a subject without published contacts.
    """
    problems = []
    for subject in subjects or du_in.find_subjects(root):
        if contacts == "published" and subject not in du_in.PUBLISHED_CONTACTS:
            raise ValueError(
                f"The publication has no contacts of subject {subject}, but of {', '.join(du_in.PUBLISHED_CONTACTS)}: "
                "choose contacts in training windows instead."
            )
        person = du_in.open_subject(
            root,
            subject,
            sampling_rate=sampling_rate,
            contacts=du_in.PUBLISHED_CONTACTS[subject] if contacts == "published" else None,
            cache=cache,
        )
        problems.append(
            Problem(
                name=person.recording.subject,
                people=[person],
                window_s=du_in.EPOCH_S,
                classes=tuple(sorted(set(person.values.tolist()))),
                split_by=partial(shares_of_classes, order=order, seed=seed),
                measures=("accuracy", "cross-entropy"),
                most_contacts=most_contacts if contacts == "chosen" else None,
            )
        )
    notes = [
        "Published: the z-score of each channel over all of its data, the test included; windows of a word divided at "
        "random; the epoch of training chosen with the test among its ties; fixed lists of contacts.",
    ]
    if order == "random":
        notes.insert(0, "Windows were divided at random, as published: early and late ones are on both sides.")
    if contacts == "published":
        notes.insert(0, "Contacts are those of the publication, whose choice has seen the test.")
    return Benchmark(
        name="Du-IN: words that are recited",
        problems=problems,
        heads=("network",),
        subjects=True,
        published=[
            Published(label=label, values={"accuracy": value / 100}, spread={"accuracy": error / 100})
            for label, value, error in (
                ("BrainBERT, one subject", 6.72, 1.59),
                ("BrainBERT, several subjects", 7.50, 1.76),
                ("Brant, one subject", 11.16, 3.56),
                ("Brant, several subjects", 12.42, 4.10),
                ("LaBraM", 11.53, 2.63),
                ("TS-TCC", 24.85, 4.42),
                ("CNN-BiGRU", 32.04, 5.45),
                ("EEG-Conformer", 45.82, 4.66),
                ("Neuro-BERT", 49.51, 4.43),
                ("Du-IN without pretraining", 56.29, 5.20),
                ("Du-IN", 62.70, 4.69),
            )
        ],
        source=_DU_IN,
        spread="the standard error over subjects",
        notes=tuple(notes),
    )


def dreamt_benchmark(
    root: Path,
    *,
    sampling_rate: float,
    tasks: Sequence[str] = ("sleep-wake", "skin-temperature"),
    folds: int = 5,
) -> Benchmark:
    """Return sleep against wake, and the temperature of the skin, in epochs of 30 s, tested on other participants.

    Raises ValueError for what `dreamt.open_dreamt` refuses, and fewer than three participants or folds.
    """
    problems = []
    for task in tasks:
        classes = ("sleep", "wake") if task == "sleep-wake" else None
        problems.append(
            Problem(
                name="Sleep and wake" if classes else "Skin temperature, °C",
                people=dreamt.open_dreamt(root, sampling_rate=sampling_rate, task=task),
                window_s=float(dreamt.EPOCH_S),
                classes=classes,
                split_by=partial(participant_folds, folds=folds),
                measures=("auroc", "balanced-accuracy", "f1") if classes else ("rmse", "r"),
            )
        )
    return Benchmark(
        name="DREAMT: sleep at the wrist",
        problems=problems,
        notes=(
            "This protocol is ours: folds of participants, heads balanced for the share of wake, and the median "
            "temperature of an epoch. We found no published row of BrainBERT whose protocol could be repeated.",
        ),
    )
