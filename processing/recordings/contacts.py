"""Read contact names: which shaft a contact sits on, which number it has there, and who its neighbours are.

Names are all that most recordings say about geometry. Contacts are numbered along a shaft or a strip, so a neighbour
is the contact with the next number, never the next name that happens to be in the file.
"""

import re
from collections.abc import Iterable, Mapping

# What acquisition systems write in front of a name (Nihon Kohden: POL) and behind it (the recording reference).
_PREFIX = re.compile(r"^(?:POL|EEG|SEEG|ECOG|IEEG|DBS)\s+", re.IGNORECASE)
_SUFFIX = re.compile(r"\s*-\s*(?:Ref|Reference)\d*$", re.IGNORECASE)
_SHAFT_NUMBER = re.compile(r"^(?P<shaft>.*?[^\d\s_-])[\s_-]*(?P<number>\d{1,3})$")
_SHAFT_NUMBER_REGION = re.compile(r"^(?P<shaft>[^\d].*?)_(?P<number>\d{1,3})(?:_[A-Za-z]+)+$")

# The letters and numbers of the 10-20 and 10-10 systems (Nuwer 2018, Clin Neurophysiol 129:1526), with the old names
# T3 to T6, ear lobes, mastoids and sphenoidal leads; nets count E1 on, and X1 on are spare inputs. A shaft may be
# called F too: see `guess_contacts`.
_SCALP_NUMBERS: Mapping[str, frozenset[int]] = {
    **{
        shaft: frozenset(range(1, 11))
        for shaft in ("AF", "F", "FT", "FC", "C", "T", "TP", "CP", "P", "PO", "O", "E", "X")
    },
    **{shaft: frozenset({1, 2}) for shaft in ("FP", "A", "M", "SP", "CB", "PG", "LOC", "ROC", "I")},
}
_NOT_BRAIN = re.compile(
    "ECG|EKG|EMG|EOG|DC|TRIG|TRIGGER|STI|STIM|EVENT|MARK|MARKER|REF|GND|GROUND|PULSE|PULS|PLETH|SPO2|OSAT|SAO2|RESP|"
    "RR|HR|BEAT|PHOTIC|BP|PR|MIC|AUX|MISC|ANNOTATIONS|STATUS|TEMP|CHIN|LEG|R?L?DELT|TIB|ABD|CHEST|NASAL|THOR|CH|CHAN|"
    "CHANNEL|EEG|BIO|EXG|GSR|ERG"
)
# A depth electrode has at most 18 contacts (DIXI D08); longer rows under a scalp letter are placeholders such as C127.
_LONGEST_SHAFT = 18


class MontageError(ValueError):
    """The contacts cannot be referenced as asked: their names carry no neighbours, or they are referenced already."""


def clean_name(name: str) -> str:
    """Strip what the acquisition system added to a contact's name.

    `POL G3-Ref` becomes `G3`, `EEG LA1-REF` becomes `LA1`; asterisks and hashes (marks of a noisy contact) go.
    """
    return _SUFFIX.sub("", _PREFIX.sub("", name.strip())).strip().strip("*#").strip()


def split_bipolar(name: str) -> tuple[str, str] | None:
    """Return the two contacts of a bipolar name (`LA1-LA2`, `A'3-4`), or None when the name is of a single contact."""
    first, hyphen, second = clean_name(name).rpartition("-")
    first, second = first.strip(), second.strip()
    if not hyphen or not re.search(r"\d$", first):
        return None
    if second.isdigit():
        place = _place(first)
        return (first, f"{place[0]}{second}") if place else None
    return (first, second) if _place(first) and _place(second) else None


def parse_contact(name: str) -> tuple[str, int] | None:
    """Return (shaft, number) of a contact, or None when its name holds none or is bipolar.

    `LT1aIb4` is (`LT1aIb`, 4), `A'12` is (`A'`, 12), `LA01` is (`LA`, 1), `POL G3-Ref` is (`G`, 3), `LFP_RIGHT_0` is
    (`LFP_RIGHT`, 0), and `ECOG_L_1_SMC_AT`, where region and maker follow the number, is (`ECOG_L`, 1).
    """
    return None if split_bipolar(name) else _place(clean_name(name))


def _place(name: str) -> tuple[str, int] | None:
    match = _SHAFT_NUMBER.match(name) or _SHAFT_NUMBER_REGION.match(name)
    return (match["shaft"], int(match["number"])) if match else None


def neighbours(names: Iterable[str]) -> dict[str, tuple[str | None, str | None]]:
    """Map each contact to the contacts with number n - 1 and n + 1 on its shaft; None where there is no such contact.

    Raises MontageError when two names claim the same place (`LA1` and `LA01`).
    """
    names = list(names)
    places = {name: parse_contact(name) for name in names}
    at_place: dict[tuple[str, int], str] = {}
    for name, place in places.items():
        if place is None:
            continue
        if place in at_place:
            raise MontageError(
                f"Contacts {at_place[place]!r} and {name!r} are both number {place[1]} of shaft {place[0]!r}; "
                "rename one of them, or read without it."
            )
        at_place[place] = name
    return {
        name: (None, None)
        if place is None
        else (at_place.get((place[0], place[1] - 1)), at_place.get((place[0], place[1] + 1)))
        for name, place in places.items()
    }


def guess_contacts(names: Iterable[str]) -> list[str]:
    """Pick from untyped channel names those that are depth or strip contacts, conservatively.

    A name counts when it has a shaft and a number, at least two contacts share the shaft, the shaft is not a label of
    another signal (ECG, DC, SpO2 ...), and it cannot be read as a scalp electrode: a row called `F` whose numbers are
    all 10-10 numbers is left out, because nothing tells F3 of a depth electrode from F3 of a cap.
    """
    numbers: dict[str, set[int]] = {}
    shaft_of: dict[str, str] = {}
    for name in names:
        pair = split_bipolar(name)
        place = _place(pair[0]) if pair else _place(clean_name(name))
        if place is None:
            continue
        shaft_of[name] = place[0]
        numbers.setdefault(place[0], set()).add(place[1])

    def is_brain(shaft: str) -> bool:
        label = shaft.upper().rstrip("_- ")
        if not label[:1].isalpha() or _NOT_BRAIN.fullmatch(label) or len(numbers[shaft]) < 2:
            return False
        if label not in _SCALP_NUMBERS:
            return True
        return not numbers[shaft] <= _SCALP_NUMBERS[label] and max(numbers[shaft]) <= _LONGEST_SHAFT

    return [name for name, shaft in shaft_of.items() if is_brain(shaft)]
