"""Write the card of a model folder, with pictures, reports and metadata: python -m brainbert.hub_upload.model_card.

    python -m brainbert.hub_upload.model_card run/model --license cc-by-4.0 --report report --repository user/name

The card is made of the folder's JSON files and of decoding reports. It replaces README.md and what an earlier card left
in evaluation, figures and .eval_results; the same input gives the same bytes.
"""

import argparse
import json
import math
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard

from brainbert.modeling_brainbert import BrainBertFeatureExtractor
from brainbert.processing.atomic import written_whole
from brainbert.processing.program import HelpFormatter, run

from .card_facts import (
    RECORD,
    describe_corpora,
    describe_model,
    described_corpora,
    read_folder,
    read_json,
    reduce_report,
)
from .card_figures import draw
from .card_metadata import check_license, check_repositories, make_entries, make_metadata, split_benchmark
from .card_sources import SOURCES
from .card_text import fill


def write_model_card(
    folder: Path,
    *,
    license: str,
    license_name: str | None = None,
    license_link: str | None = None,
    name: str | None = None,
    repository: str | None = None,
    reports: Sequence[Path] = (),
    benchmarks: Sequence[str | None] = (),
    corpora: Sequence[Path] = (),
    datasets: Sequence[str] = (),
    base_model: str | None = None,
    authors: Sequence[str] = (),
    contact: str | None = None,
) -> Path:
    """Write README.md, evaluation/, figures/ and .eval_results/ of a model folder; return the path of README.md.

    license: of the weights, as the Hub names it; "other" with license_name and license_link. repository: "user/name" on
    the Hub. reports: report.json of examples/decode.py, or its folder. benchmarks: for each report the Hub's data set
    that it is of, "user/name:task", or None; none at all where no report is of one. corpora: folders of corpora that
    the model was trained on. datasets, base_model: repositories on the Hub.

    Everything is made before anything is written. Raises ValueError for a folder that is no model's, an unknown
    licence, reports of other weights, and names of recordings, subjects or contacts in what would be published.
    """
    check_license(license, license_name=license_name, license_link=license_link)
    check_repositories([each for each in (repository, base_model, *datasets) if each])
    if len(benchmarks) not in (0, len(reports)):
        raise ValueError(f"{len(reports)} reports and {len(benchmarks)} benchmarks: give one for each report, or none.")
    files = read_folder(folder)
    extractor = BrainBertFeatureExtractor.from_dict(files["preprocessor_config.json"])
    model = describe_model(folder, files["config.json"], extractor) | {"versions": {"brainbert": version("brainbert")}}
    record = files.get(RECORD)
    named: dict[str, Any] = {}
    of_benchmark: dict[str, str] = {}
    for number, path in enumerate(reports):
        reduced = reduce_report(read_json(path / "report.json" if path.is_dir() else path), model, record)
        named[_free_name(reduced["title"], named)] = reduced
        if benchmarks and (benchmark := benchmarks[number]):
            split_benchmark(benchmark)
            of_benchmark[next(reversed(named))] = benchmark
    known = None if record is None else [each["fingerprint"] for each in described_corpora(record)]
    about_corpora = describe_corpora(corpora, known) if corpora else None
    given = {
        "name": name or (f"BrainBERT, {model['preset']}" if model["preset"] else "BrainBERT"),
        "license": license,
        "license_name": license_name,
        "license_link": license_link,
        "repository": repository,
        "datasets": list(datasets),
        "base_model": base_model,
        "authors": list(authors),
        "contact": contact,
        "reports": {each: each for each in named},
    }
    files |= {"evaluation/model.json": model, SOURCES: {"given": given}}
    files |= {f"evaluation/{each}.json": report for each, report in named.items()}
    if about_corpora:
        files["evaluation/corpora.json"] = {"corpora": about_corpora}
    body, sources = fill(files, list(named), benchmarks=bool(of_benchmark))
    metadata, in_metadata = make_metadata(given, named, of_benchmark)
    card = ModelCard(f"---\n{metadata.to_yaml()}\n---\n\n{body}")
    pictures = draw(record, named)
    entries = make_entries(named, of_benchmark, repository=repository)
    made = [each for each in files if each.startswith("evaluation/") and each != SOURCES]
    names = sorted([*made, *pictures, *entries])
    contents = {each: _as_json(files[each]) for each in made} | {each: text.encode() for each, text in entries.items()}
    contents |= {each: picture for each, (picture, _) in pictures.items()}
    contents[SOURCES] = _as_json(
        {
            "given": given,
            "files": names,
            "pictures": {each: place for each, (_, place) in pictures.items()},
            "metadata": in_metadata,
            "sources": sources,
        }
    )
    contents["README.md"] = str(card).encode()
    before = _written_before(folder)
    for each, content in contents.items():
        with written_whole(folder / each) as temporary:
            temporary.write_bytes(content)
    for each in before - contents.keys():
        (folder / each).unlink(missing_ok=True)
    return folder / "README.md"


def _free_name(title: str, taken: Mapping[str, Any]) -> str:
    """Return a file name for a report: its title in small letters, numbered when it is taken."""
    name = "-".join(re.findall(r"[a-z0-9]+", title.lower()))[:60].strip("-") or "report"
    reserved = {*taken, "model", "corpora", "card_sources", "learning-curve"}
    return next(each for number in count(1) if (each := name if number == 1 else f"{name}-{number}") not in reserved)


def _written_before(folder: Path) -> set[str]:
    """Return the files that an earlier card wrote; only names that a card can have."""
    try:
        names = read_json(folder / SOURCES)["files"]
    except (OSError, ValueError, LookupError, TypeError):
        return set()
    allowed = re.compile(r"(?:evaluation|figures|\.eval_results)/[\w.-]+\.(?:json|png|yaml)")
    return {name for name in names if isinstance(name, str) and allowed.fullmatch(name)}


def _as_json(content: Any) -> bytes:
    return (json.dumps(_plain(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _plain(content: Any) -> Any:
    """Return a content with null for what is not finite."""
    if isinstance(content, Mapping):
        return {key: _plain(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_plain(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def main() -> None:
    """Parse the arguments, write the card, say where."""
    parser = argparse.ArgumentParser(
        prog="python -m brainbert.hub_upload.model_card", description=__doc__, formatter_class=HelpFormatter
    )
    parser.add_argument("folder", type=Path, help="of the model, such as run/model; README.md in it is replaced")
    group = parser.add_argument_group("licence of the weights")
    group.add_argument("--license", required=True, help="as the Hub names it, such as cc-by-4.0; or other")
    group.add_argument("--license-name", help="of the licence other")
    group.add_argument("--license-link", help="of the licence other: an address, or a file of the folder")
    group = parser.add_argument_group("what the card tells")
    group.add_argument("--name", help="of the model; if not given, BrainBERT and its preset")
    group.add_argument("--repository", help="user/name on the Hub, for the lines to copy")
    group.add_argument("--report", type=Path, nargs="+", default=[], help="report.json of decode.py, or its folder")
    group.add_argument(
        "--benchmark",
        nargs="+",
        default=[],
        help="for each report the Hub's data set that it is of, user/name:task, or none; for .eval_results",
    )
    group.add_argument("--corpus", type=Path, nargs="+", default=[], help="folders that the model was trained on")
    group.add_argument("--dataset", nargs="+", default=[], help="data sets of the Hub that it was trained on")
    group.add_argument("--base-model", help="user/name of the model that it was made from")
    group.add_argument("--author", nargs="+", default=[], help="who publishes it")
    group.add_argument("--contact", help="where to ask")
    args = parser.parse_args()
    path = write_model_card(
        args.folder,
        license=args.license,
        license_name=args.license_name,
        license_link=args.license_link,
        name=args.name,
        repository=args.repository,
        reports=args.report,
        benchmarks=[None if each == "none" else each for each in args.benchmark],
        corpora=args.corpus,
        datasets=args.dataset,
        base_model=args.base_model,
        authors=args.author,
        contact=args.contact,
    )
    print(f"Wrote {path}.")
    if args.report and not any(each != "none" for each in args.benchmark):
        print("No .eval_results: no report is of a benchmark data set of the Hub (--benchmark).")


if __name__ == "__main__":
    run(main)
