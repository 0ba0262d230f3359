"""The text of a model card: the template, filled with what the folder's JSON files say."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import resources
from itertools import count
from typing import Any

from jinja2 import Environment, StrictUndefined, Template, UndefinedError
from markupsafe import Markup

from .card_facts import CONVERSION, PATH, RECORD, described_corpora
from .card_sources import SOURCES, Cited, Shown, derive, show

TEMPLATE = "model_card.md.j2"
SEEN_BEFORE = "The encoder was pretrained on"  # how examples/decode.py begins its own warning
_BEGIN, _END = "\ue000", "\ue001"  # of private use: around what is cited, until it is listed


def fill(files: Mapping[str, Any], names: Sequence[str], *, benchmarks: bool) -> tuple[str, list[dict[str, str]]]:
    """Return the text of the card, and the sources of all that it shows, in order."""
    cited = {name: Cited(content, {"a": f"{name}#"}) for name, content in files.items()}
    model, given = cited["evaluation/model.json"], cited[SOURCES]["given"]
    record, conversion = cited.get(RECORD), cited.get(CONVERSION)
    corpora = [record["corpora"][place] for place in range(len(described_corpora(record.value)))] if record else []
    reports = [(name, cited[f"evaluation/{name}.json"]) for name in names]
    shown: list[Shown] = []
    try:
        text = _template(shown).render(
            given=given,
            config=cited["config.json"],
            input=cited["preprocessor_config.json"],
            model=model,
            record=record,
            conversion=conversion,
            conversion_keys=_counts(conversion["keys"]) if conversion and conversion.has("keys") else [],
            conversion_settings=_settings(conversion) if conversion else [],
            conditioning=_conditioning(record),
            corpora=cited["evaluation/corpora.json"]["corpora"] if "evaluation/corpora.json" in cited else None,
            corpora_of_record=[(corpus, _hours([corpus])) for corpus in corpora],
            totals=_totals(corpora),
            best=record["best"] if record and record.has("best") else None,
            settings=record["settings"] if record and record.has("settings") else Cited({}, {"a": "#"}),
            curve_drawn=bool(record and record.has("curve") and record["curve"]),
            reports=reports,
            report_names=given["reports"],
            differences=[{each["control"].value: each for each in report["differences"]} for _, report in reports],
            warnings=[list(report["warnings"]) for _, report in reports],
            unseen=[_unseen(report.value) for _, report in reports],
            benchmarks=benchmarks,
            version=_version(record, conversion, model),
        )
    except UndefinedError as error:
        raise ValueError(f"A JSON file of the folder lacks what the card tells ({error}): write it again.") from None
    listed: list[dict[str, str]] = []

    def put(found: re.Match[str]) -> str:
        source, text = shown[int(found[1])].source, shown[int(found[1])].text
        if not source["a"].startswith(f"{SOURCES}#/given/") and PATH.search(text):
            raise ValueError(f"The card would show a path, of {source['a']}: remove it there, and make the card again.")
        listed.append(source)
        return text

    text = re.sub(f"{_BEGIN}([0-9]+){_END}", put, text)
    # A quotation ends with its last line, and paragraphs are one empty line apart.
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"\n>\n+(?!>)", "\n\n", text)).strip() + "\n", listed


def _template(shown: list[Shown]) -> Template:
    """Return the template, which adds to `shown` what it prints, and refuses to print what is not cited."""

    def cite(value: Any) -> Markup:
        if isinstance(value, Markup):  # of a macro, in which all is cited
            return value
        if isinstance(value, Cited):
            value = show(value, "short")
        if not isinstance(value, Shown):
            raise TypeError(f"The template prints {value!r}, which has no source.")
        shown.append(value)
        return Markup(f"{_BEGIN}{len(shown) - 1}{_END}")

    def form(name: str) -> Callable[..., Shown]:
        return lambda cited, argument="": show(cited, f"{name}:{argument}" if argument != "" else name)

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=cite,
    )
    forms = ("number", "signed", "interval", "probability", "count", "short", "raw", "head")
    environment.filters |= {name: form(name) for name in forms} | {"plain": form("short")}
    environment.globals["calc"] = derive
    return environment.from_string(resources.files(__package__).joinpath(TEMPLATE).read_text(encoding="utf-8"))


def _letters() -> Iterator[str]:
    return ("abcdefghijklmnopqrstuvwxyz"[number % 26] + str(number // 26 or "") for number in count())


def _add(parts: Sequence[tuple[str, Sequence[Cited]]], ending: str = "") -> Cited:
    """Return the sum of terms, each a formula with {} for each of its cited values."""
    letters, terms = _letters(), []
    named: dict[str, Cited] = {}
    for formula, values in parts:
        names = [next(letters) for _ in values]
        named.update(zip(names, values, strict=True))
        terms.append(formula.format(*names))
    total = " + ".join(terms)
    return derive(f"({total}){ending}" if ending else total, **named)


def _hours(corpora: Sequence[Cited]) -> Cited:
    # Clips may overlap: each adds no more than the stride.
    return _add([("{} * min({}, {})", (c["clips"]["kept"], c["clip_s"], c["stride_s"])) for c in corpora], " / 3600")


def _totals(corpora: Sequence[Cited]) -> dict[str, Cited] | None:
    if not corpora:
        return None
    totals = {
        what: _add([("{}", (each[what],)) for each in corpora]) for what in ("recordings", "subjects", "contacts")
    }
    return totals | {
        "clips": _add([("{}", (each["clips"]["kept"],)) for each in corpora]),
        "hours": _hours(corpora),
    }


def _conditioning(record: Cited | None) -> Cited | None:
    """Return what all corpora of the training were conditioned with, if they agree."""
    if record is None or not record.has("conditioning"):
        return None
    return record["conditioning"] if record["conditioning"].has("reference", "notch", "line_frequency") else None


def _counts(keys: Cited) -> list[tuple[Shown, Cited]]:
    """Return what a conversion did with the keys of its source, as numbers of them."""
    if not isinstance(keys.value, Mapping):
        return []
    return [
        (name, derive("len(a)", a=value) if isinstance(value.value, list | Mapping) else value)
        for name, value in keys.pairs()
        if isinstance(value.value, list | Mapping | int)
    ]


def _settings(conversion: Cited) -> list[tuple[Shown, Cited]]:
    """Return the settings of a converted checkpoint that are one value; places on somebody's disk are none of them."""
    if not conversion.has("settings") or not isinstance(conversion["settings"].value, Mapping):
        return []
    return [
        (name, value)
        for name, value in conversion["settings"].pairs()
        if isinstance(value.value, str | int | float) and not PATH.search(str(value.value))
    ]


def _unseen(report: Mapping[str, Any]) -> str:
    """Return whether recordings of an evaluation were in pretraining; "said" where its own warnings say so."""
    if any(warning.startswith(SEEN_BEFORE) for warning in report["warnings"]):
        return "said"
    seen = report["recordings"]["seen_in_pretraining"]
    return "unknown" if seen is None else "some" if seen else "none"


def _version(*places: Cited | None) -> Cited:
    """Return the version of this software that made the weights: the first that is known."""
    return next(
        each["versions"]["brainbert"] for each in places if each and "brainbert" in each.value.get("versions", {})
    )
