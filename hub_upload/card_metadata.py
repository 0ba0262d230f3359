"""What the Hub reads of a model card: licence, tags, data sets, and results in both of its formats."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml  # type: ignore[import-untyped]
from huggingface_hub import EvalResult, EvalResultEntry, ModelCardData, eval_result_entries_to_yaml
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

TAGS = (
    "brainbert",
    "intracranial-eeg",
    "ieeg",
    "seeg",
    "ecog",
    "neuroscience",
    "self-supervised-learning",
)
METRICS = {"AUROC": "roc_auc", "Pearson r": "pearsonr"}  # as huggingface.co/metrics names them
_BENCHMARK = re.compile(r"(?P<dataset>[^:]+):(?P<task>[\w.-]+)")


def check_license(license: str, *, license_name: str | None, license_link: str | None) -> None:
    """Raise ValueError for what the Hub takes as no licence: neither an identifier, nor "other" with name and link."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", license):
        raise ValueError(
            f"The licence {license!r} is no identifier: give one of the Hub's, such as cc-by-4.0, or other."
        )
    if license == "other" and not (license_name and license_link):
        raise ValueError('The licence "other" needs a name and a link: give --license-name and --license-link too.')
    if license != "other" and (license_name or license_link):
        raise ValueError(f'A name or link of a licence belongs to "other": leave it out of {license}.')
    if license_name and not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", license_name):
        raise ValueError(f"The name of the licence is {license_name!r}: use small letters, digits, - and . only.")


def check_repositories(names: Sequence[str]) -> None:
    """Raise ValueError for a name that no repository of the Hub can have."""
    for name in names:
        try:
            validate_repo_id(name)
        except HFValidationError:
            raise ValueError(f"{name!r} is no name of a repository on the Hub: give one such as user/name.") from None


def make_metadata(
    given: Mapping[str, Any], reports: Mapping[str, Mapping[str, Any]], benchmarks: Mapping[str, str]
) -> tuple[ModelCardData, list[str]]:
    """Return the metadata of a card, and the places, "file#/pointer", of the values of its results in their order.

    given: name, license and what else the caller said. reports: name → reduced report. benchmarks: name of a report →
    id of the Hub's data set that it is of.
    """
    results, places = [], []
    for name, report in reports.items():
        for place in _encoder_and_best_control(report["systems"]):
            results.append(_result(name, report, report["systems"][place], benchmarks.get(name)))
            places.append(f"evaluation/{name}.json#/systems/{place}/score")
    metadata = ModelCardData(
        license=given["license"],
        license_name=given.get("license_name"),
        license_link=given.get("license_link"),
        library_name="transformers",
        pipeline_tag="feature-extraction",
        tags=list(TAGS),
        datasets=given.get("datasets") or None,
        base_model=given.get("base_model"),
        metrics=sorted({_metric_id(report["task"]["metric"]) for report in reports.values()}) or None,
        model_name=given["name"],
        eval_results=results or None,
    )
    return metadata, places


def _encoder_and_best_control(systems: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return where they are; none when the encoder has no score. Its score says nothing without its controls."""
    scored = [place for place, system in enumerate(systems) if system["score"] is not None]
    controls = [place for place in scored if systems[place]["role"] == "control"]
    best = sorted(controls, key=lambda place: systems[place]["score"])[-1:]
    return [0, *best] if 0 in scored else []


def _result(name: str, report: Mapping[str, Any], system: Mapping[str, Any], benchmark: str | None) -> EvalResult:
    dataset, task = split_benchmark(benchmark) if benchmark else ("unpublished", name)
    which = "" if system["role"] == "model" else "best control: "
    metric = report["task"]["metric"]
    return EvalResult(
        task_type="feature-extraction",
        task_name=report["title"],
        # Results of one data set and configuration are listed as one: the name of the report keeps them apart.
        dataset_type=dataset,
        dataset_name=report["title"],
        dataset_config=task,
        metric_type=_metric_id(metric),
        metric_name=f"{metric}, {which}{system['label']}",
        metric_value=system["score"],
    )


def _metric_id(metric: str) -> str:
    return METRICS.get(metric) or re.sub(r"\W+", "_", metric.lower())


def split_benchmark(benchmark: str) -> tuple[str, str]:
    """Return data set and task of "user/name:task". Raises ValueError for anything else."""
    found = _BENCHMARK.fullmatch(benchmark)
    if not found:
        raise ValueError(f"{benchmark!r} is no benchmark: give a data set of the Hub and its task, user/name:task.")
    check_repositories([found["dataset"]])
    return found["dataset"], found["task"]


def make_entries(
    reports: Mapping[str, Mapping[str, Any]], benchmarks: Mapping[str, str], *, repository: str | None
) -> dict[str, str]:
    """Return file → YAML of the entries in `.eval_results/`, of those reports that are of a data set of the Hub."""
    files = {}
    for name, benchmark in benchmarks.items():
        dataset, task = split_benchmark(benchmark)
        report = reports[name]
        if not _encoder_and_best_control(report["systems"]):
            raise ValueError(f"The encoder has no score in the report {report['title']!r}: leave its benchmark out.")
        encoder, *best = [report["systems"][place] for place in _encoder_and_best_control(report["systems"])]
        low, high = encoder["interval"] or (None, None)
        notes = [f"{report['task']['metric']} of {encoder['label']}"]
        notes += [f"95 % interval {low:.3f} to {high:.3f}"] if low is not None else []
        notes += [f"best control {control['label']} {control['score']:.3f}" for control in best]
        entry = EvalResultEntry(
            dataset_id=dataset,
            task_id=task,
            value=encoder["score"],
            source_url=f"https://huggingface.co/{repository}/blob/main/evaluation/{name}.json" if repository else None,
            notes="; ".join(notes),
        )
        files[f".eval_results/{name}.yaml"] = yaml.safe_dump(
            eval_result_entries_to_yaml([entry]), sort_keys=False, allow_unicode=True, width=1000
        )
    return files
