"""Where every figure of a card comes from: a JSON file of the model folder and the place in it.

What a card shows is `Cited`, and its template can print nothing else. So `evaluation/card_sources.json` is complete,
and `source_problems` can read the files again and look.
"""

import ast
import json
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard

SOURCES = "evaluation/card_sources.json"

_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "min": min,
    "max": max,
    "len": len,
    "sum": lambda values: sum(values.values() if isinstance(values, Mapping) else values),
}
# What Markdown, and HTML in it, would take for their own.
_MARKUP = re.compile(r"([\\`*\[\]<>|~]|(?<!\w)_|_(?!\w))")


class Cited:
    """A value with the places that it comes from; what is inside it is cited in the same way.

    value: as JSON has it. formula: of the names in `places`, each "file#/pointer".
    """

    def __init__(self, value: Any, places: Mapping[str, str], formula: str = "a"):
        self.value = value
        self.places = dict(places)
        self.formula = formula

    def __getitem__(self, key: str | int) -> "Cited":
        value = self.value[key]
        token = str(key).replace("~", "~0").replace("/", "~1")
        return Cited(value, {"a": f"{self.places['a']}/{token}"})

    def __iter__(self) -> Iterator["Cited"]:
        return (self[key] for key in (self.value if isinstance(self.value, Mapping) else range(len(self.value))))

    def __len__(self) -> int:
        return len(self.value)

    def __contains__(self, key: str) -> bool:
        return key in self.value

    def __bool__(self) -> bool:
        return bool(self.value)

    def pairs(self) -> list[tuple["Shown", "Cited"]]:
        """Return the keys of an object, ready to be shown, with what they hold."""
        return [(show(self[key], "key"), self[key]) for key in self.value]

    def has(self, *keys: str) -> bool:
        """Tell whether all of these are there and not null."""
        return all(self.value.get(key) is not None for key in keys)


class Shown:
    """A cited value in the words in which the card shows it."""

    def __init__(self, text: str, cited: Cited, form: str):
        self.text = text
        self.source = {"shown": text, "form": form, **cited.places}
        if cited.formula != "a":
            self.source["formula"] = cited.formula


def show(cited: Cited, form: str) -> Shown:
    """Return a cited value in one of the forms of `_FORMS`, such as "count:clip" or "number:3"."""
    return Shown(_in_words(cited.value, form, cited.places["a"]), cited, form)


def derive(formula: str, **parts: Cited) -> Cited:
    """Return what a formula of cited values gives: numbers, + − * /, min, max, len and sum; None where a part is.

    Each part must have come from one place.
    """
    places = {name: part.places["a"] for name, part in parts.items()}
    return Cited(_calculate(formula, {name: part.value for name, part in parts.items()}), places, formula)


def source_problems(folder: Path) -> list[str]:
    """Return what is wrong with the sources of a card, one sentence each: none when every figure is in its file."""
    try:
        card = (folder / "README.md").read_text(encoding="utf-8")
        listed = json.loads((folder / SOURCES).read_text(encoding="utf-8"))["sources"]
    except (OSError, ValueError, KeyError, TypeError):
        return [f"There is no README.md with its {SOURCES}: make the card with brainbert.hub_upload.model_card."]
    found: list[str] = []
    files: dict[str, Any] = {}
    position = 0
    for source in listed:
        places = {name: place for name, place in source.items() if name not in ("shown", "form", "formula")}
        values = {}
        try:
            for name, place in places.items():
                file, _, pointer = place.partition("#")
                values[name] = _look_up(_read(folder, file, files), pointer)
            now = _in_words(_calculate(source.get("formula", "a"), values), source["form"], places["a"])
        except (OSError, LookupError, ValueError, TypeError, ArithmeticError):
            found.append(
                f"The card shows {source['shown']!r}, and {', '.join(places.values())} has it not: make it again."
            )
            continue
        if now != source["shown"]:
            found.append(
                f"The card shows {source['shown']!r}, and {', '.join(places.values())} gives {now!r}: make it again."
            )
        # Whole: 0.833 is not shown by 0.8339.
        match = re.compile(rf"(?<![\d.,−]){re.escape(source['shown'])}(?![.,]?\d)").search(card, position)
        if match is None:
            found.append(f"The card does not show {source['shown']!r} where its sources say: make the card again.")
        else:
            position = match.end()
    return found + _metadata_problems(folder, files)


def _metadata_problems(folder: Path, files: dict[str, Any]) -> list[str]:
    """Return which results in the metadata are not those of the reports."""
    try:
        results = ModelCard.load(folder / "README.md").data.eval_results or []
        places = json.loads((folder / SOURCES).read_text(encoding="utf-8"))["metadata"]
        reported = [
            _look_up(_read(folder, place.partition("#")[0], files), place.partition("#")[2]) for place in places
        ]
    except (OSError, LookupError, ValueError, TypeError) as error:
        return [f"The card's metadata cannot be traced to its reports ({error}): make the card again."]
    if sorted(result.metric_value for result in results) == sorted(reported):
        return []
    return ["The results in the card's metadata are not those of its reports: make the card again."]


def _read(folder: Path, file: str, files: dict[str, Any]) -> Any:
    """Return the content of a JSON file of the folder, which is kept in `files`."""
    if file not in files:
        if Path(file).is_absolute() or ".." in Path(file).parts:
            raise ValueError(f"{file} is not in the folder.")
        files[file] = json.loads((folder / file).read_text(encoding="utf-8"))
    return files[file]


def _look_up(content: Any, pointer: str) -> Any:
    for token in pointer.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        content = content[int(key) if isinstance(content, list) else key]
    return content


def _calculate(formula: str, values: Mapping[str, Any]) -> Any:
    if formula == "a":
        return values["a"]
    if any(value is None for value in values.values()):
        return None

    def of(node: ast.AST) -> Any:
        match node:
            case ast.Constant(value=int() | float() as number):
                return number
            case ast.Name(id=name):
                return values[name]
            case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _OPERATORS:
                return _OPERATORS[type(sign)](of(left), of(right))
            case ast.Call(func=ast.Name(id=name), args=given, keywords=[]) if name in _FUNCTIONS:
                return _FUNCTIONS[name](*map(of, given))
        raise ValueError(f"The formula {formula!r} holds more than numbers, names, + - * /, min, max, len and sum.")

    return of(ast.parse(formula, mode="eval").body)


def _in_words(value: Any, form: str, place: str) -> str:
    name, _, argument = form.partition(":")
    if name == "key":
        return escape(place.rsplit("/", 1)[1].replace("~1", "/").replace("~0", "~"))
    return _FORMS[name](value, argument)


def escape(text: str) -> str:
    """Return a text as Markdown shows it letter by letter, in one line."""
    return _MARKUP.sub(r"\\\1", " ".join(str(text).split())).replace("&", "&amp;")


def _number(value: float | None, digits: str = "3") -> str:
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:z,.{int(digits or 3)}f}".replace("-", "−")


def _signed(value: float | None, digits: str = "3") -> str:
    text = _number(value, digits)
    return text if value is None or text[0] in "−–" else f"+{text}"


def _interval(ends: list[float | None] | None, digits: str = "3") -> str:
    if ends is None or any(end is None or not math.isfinite(end) for end in ends):
        return "–"
    return " to ".join(_number(end, digits) for end in ends)


def _probability(value: float | None, _: str = "") -> str:
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}" if value >= 0.01 else f"{value:.1g}"


def _count(value: float | None, noun: str = "") -> str:
    if value is None:
        return "–"
    first, of, rest = noun.partition(" of ")
    ending = "" if value == 1 or not noun else "es" if first.endswith("ch") else "s"
    return f"{value:,} {first}{ending}{of}{rest}".strip()


def _short(value: Any, _: str = "") -> str:
    """A setting, as a reader would write it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_short, value)) or "–"
    return f"{value:g}" if isinstance(value, float) else escape(str(value))


_FORMS: dict[str, Callable[[Any, str], str]] = {
    "number": _number,
    "signed": _signed,
    "interval": _interval,
    "probability": _probability,
    "count": _count,
    "short": _short,
    "raw": lambda value, _: str(value),  # inside code, where nothing is escaped
    "head": lambda value, characters: str(value)[: int(characters)],
}
