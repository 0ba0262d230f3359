"""Find what must not leave the lab in the files of a folder: paths of a machine, marks of a person, listed names.

Everything is found by its form, so a person's name in running text is not: for names and codes there is a list.
"""

import json
import re
import struct
import unicodedata
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml  # type: ignore[import-untyped]

Form = Literal["code", "prose", "data"]  # source, a card, JSON or another file's metadata

_ROOTS = (
    "home|Users|root|mnt|media|tmp|data|work|workspace|scratch|cluster|gpfs|lustre|beegfs|nfs|net|afs|srv|storage|"
    "project|projects|export|Volumes|private/var|var/folders|var/tmp|homes|ihome|oak|hpc|lab|labs|opt|u"
)
# No letter, dot or slash before it: https://host/data/x and shards/data/x name no machine.
_PATHS = {
    "POSIX": re.compile(rf"(?<![\w.:/~#}}\])>*-])/(?:{_ROOTS})/[\w.~$@+-][^\s\"'`<>|)\]]*"),
    "home of a user": re.compile(r"(?<![\w.:/~#])/[\w./-]*/(?:home|Users)/[\w.-]+[^\s\"'`<>|)\]]*"),
    "URL": re.compile(r"\b(?:file:/{1,3}|s3://|gs://|smb://|sftp://)[^\s\"'`<>)]+"),
    "Windows": re.compile(r"(?<![A-Za-z0-9])[A-Za-z]:(?:\\{1,2}|/)[^\s\"'\\/:*?<>|]{2,}[\\/][^\s\"'`<>|]*"),
    "server": re.compile(r"(?<![\\\w])(?:\\\\|\\{4})[A-Za-z0-9][\w.-]+\\{1,2}[\w$][\w$.-]*"),
}
# In source, "error:\nsome/thing" looks like a drive and "\\w+\d" like a server.
_CODE_PATHS = ("POSIX", "home of a user", "URL")
_PATH_KEY = re.compile(
    r"path|file|folder|directory|\bdir\b|source|checkpoint|output|\bout\b|corpora|corpus|data", re.IGNORECASE
)
_ABSOLUTE = re.compile(r"/[^/\s]+/\S")

# Keys, as letters only, whose value says who somebody is. Sex, age and handedness are left to the consent of the study.
_PERSONAL_KEYS = {
    *("patient", "patientname", "patientid", "patientcode", "subjectname", "participantname", "personname", "fullname"),
    *("firstname", "lastname", "surname", "familyname", "givenname", "maidenname", "initials"),
    *("birthday", "birthdate", "dateofbirth", "dob", "patientbirthdate"),
    *("hospital", "hospitalid", "hospitalnumber", "hospitalname", "medicalrecordnumber", "mrn", "casenumber"),
    *("socialsecuritynumber", "ssn", "insurancenumber", "phone", "phonenumber", "telephone"),
    *("measdate", "recordingdate", "dateofrecording", "acquisitiondate", "acquisitiontime", "startdatetime"),
    *("startdate", "acqtime", "surgerydate", "dateofsurgery", "admissiondate", "dateofadmission"),
}
_PERSON = {"subject", "patient", "participant", "person", "subjectinfo"}
_NOTHING = {
    "removed",
    "not",
    "no",
    "replaced",
    "dropped",
    "pseudonym",
    "pseudonymised",
    "pseudonymized",
    "hash",
    "",
    "x",
    "xx",
    "unknown",
    "none",
    "null",
    "na",
    "n/a",
    "anonymous",
    "anonymised",
    "anonymized",
    "–",
    "-",
}
_PERSONAL_LINE = re.compile(
    r"\b(patient(?:'s)?[ _-]?(?:name|id|code)|date of birth|birth[ _-]?date|d\.?o\.?b\.?|surname|"
    r"(?:first|last)[ _-]name|hospital[ _-](?:id|number)|medical record number|mrn)\b"
    r"[\"'*]*\s*[:=]\s*[\"'*]*(\w[\w.-]+)",
    re.IGNORECASE,
)
_YEAR, _MONTH, _DAY = r"(?:19|20)\d\d", r"(?:0[1-9]|1[0-2])", r"(?:0[1-9]|[12]\d|3[01])"
_TIMESTAMP = re.compile(rf"\b{_YEAR}-{_MONTH}-{_DAY}[T ]\d\d:\d\d(?::\d\d)?")
_DATE = re.compile(rf"{_YEAR}-{_MONTH}-{_DAY}|{_DAY}[./]{_MONTH}[./]{_YEAR}|{_DAY}-[A-Za-z]{{3}}-{_YEAR}")
_COMPACT_DATE = re.compile(rf"(?<!\d){_YEAR}[-_]?{_MONTH}[-_]?{_DAY}(?!\d)")
_DATE_OF_WORK = re.compile(
    r"releas|version|publish|access|created|modified|retriev|download|finished|trained|^date$", re.IGNORECASE
)
_MAIL = re.compile(r"(?<![\w.+-])(?!git@)[\w.+-]+@(?!example\.|users\.noreply\.)[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}\b")
_CONTACT_LINE = re.compile(r"contact|correspond|e-?mail|mailto|author|maintain", re.IGNORECASE)
_RECORDING_FILE = re.compile(r"[\w.-]+\.(?:edf|bdf|vhdr|eeg|fif|nwb|mefd|trc|lay|ncs|nsx|ns[1-6]|nev)\b", re.IGNORECASE)

# With a letter: ten digits are a number of a patient or of a citizen, and of our hashes only one in a hundred.
_PSEUDONYM = re.compile(r"(?=.*[a-f])[0-9a-f]{10}(?:[0-9a-f]{6}|[0-9a-f]{54})?")
_SECRET = re.compile(
    r"\bhf_[A-Za-z0-9]{20,}|-----BEGIN [A-Z ]*PRIVATE KEY|\bAKIA[A-Z0-9]{16}\b|\bgh[pousr]_[A-Za-z0-9]{30,}"
)
_SPELLINGS = {"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe", "æ": "ae", "ß": "ss"}
_MOST_TEXT = 2**20  # bytes of a compressed PNG text that are looked at


@dataclass(frozen=True)
class Forbidden:
    """Names and codes that must not occur in what is published: a list of the lab, one a line, # for comments."""

    terms: tuple[tuple[int, re.Pattern[str]], ...] = ()

    @classmethod
    def read(cls, path: Path) -> "Forbidden":
        """Read the list; raises ValueError when it is not UTF-8 text or names nothing."""
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError:
            raise ValueError(f"{path} is not UTF-8 text: save the list of names as UTF-8, one a line.") from None
        terms = []
        for number, line in enumerate(lines, 1):
            if not line.lstrip().startswith("#") and (term := _term(line)):
                terms.append((number, term))
        if not terms:
            raise ValueError(f"{path} lists no name or code: give one a line.")
        return cls(tuple(terms))

    def lines_in(self, text: str) -> list[int]:
        """Return the lines of the list whose term occurs in `text`, in any case."""
        folded = _folded(text) if self.terms else ""
        return [number for number, term in self.terms if term.search(folded)]

    def masked(self, text: str) -> str:
        """Return `text` with every listed term as three dots; a line that shows one only when folded goes whole."""
        lines = []
        for line in text.split("\n"):
            for _, term in self.terms:
                line = re.sub(term.pattern, "…", line, flags=re.IGNORECASE)
            lines.append("…" if self.lines_in(line) else line)
        return "\n".join(lines)


def traces_in_text(text: str, *, form: Form, forbidden: Forbidden) -> list[str]:
    """Return what `text` gives away, as noun phrases: "a path of a machine (/home/…)"."""
    found = []
    if path := machine_path(text, form=form):
        found.append(f"a path of a machine ({_short(path)})")
    if match := _SECRET.search(text):
        found.append(f"a token or key ({match[0][:8]}…, which must be revoked)")
    if form != "code":
        if (match := _PERSONAL_LINE.search(text)) and match[2].lower() not in _NOTHING:
            found.append(f"a person's detail ({_short(match[0])})")
        if match := _TIMESTAMP.search(text):
            found.append(f"a date with a clock time ({match[0]})")
        for line in text.splitlines():
            match = _MAIL.search(line)
            if match and not (form == "prose" and _CONTACT_LINE.search(line)):
                found.append(f"an e-mail address outside a contact line ({match[0]})")
                break
    return found + [f"the name or code of line {number} of the forbidden list" for number in forbidden.lines_in(text)]


def traces_in_values(
    content: Any, *, forbidden: Forbidden, with_dates: bool = True, key: str = "", parent: str = ""
) -> Iterator[str]:
    """Yield what the keys and values of JSON or YAML give away.

    with_dates: dates without a clock time, too; what the Hub reads may have them, as the date of a result.
    """
    if isinstance(content, Mapping):
        for name, value in content.items():
            yield from traces_in_text(str(name), form="data", forbidden=forbidden)
            yield from traces_in_values(value, forbidden=forbidden, with_dates=with_dates, key=str(name), parent=key)
        return
    letters, owner = (re.sub(r"[^a-z]", "", name.lower()) for name in (key, parent))
    personal = letters in _PERSONAL_KEYS or (letters == "name" and owner in _PERSON)
    text = "" if content is None else str(content)
    if letters == "patient" and (not isinstance(content, str) or is_pseudonym(text)):
        personal = False  # how many patients there were, or a name that says nothing
    if personal and text.strip().lower() not in _NOTHING:
        yield f"a person's detail ({_short(f'{key}: {text}')})"
    elif isinstance(content, list):
        for value in content:
            yield from traces_in_values(value, forbidden=forbidden, with_dates=with_dates, key=key, parent=parent)
    elif isinstance(content, str):
        yield from traces_in_text(content, form="data", forbidden=forbidden)
        if with_dates and _DATE.fullmatch(content.strip()) and not _DATE_OF_WORK.search(key):
            yield f"a date ({_short(f'{key}: {content}')})"
        if match := _RECORDING_FILE.search(content):
            yield f"the name of a recording's file ({_short(match[0])})"
        if _PATH_KEY.search(key) and _ABSOLUTE.match(content) and not machine_path(content, form="data"):
            yield f"a path of a machine ({_short(content)})"


def traces_in_name(name: str) -> list[str]:
    """Return what the name of a recording, subject or session gives away, beyond what any text may: its date."""
    if is_pseudonym(name):
        return []
    match = _COMPACT_DATE.search(name)
    return [f"a date ({match[0]})"] if match else []


def is_pseudonym(name: str) -> bool:
    """Tell whether `name` is the hash that our readers give instead of a person's or a file's name."""
    return bool(_PSEUDONYM.fullmatch(name))


def contact_addresses(card: str) -> set[str]:
    """Return the e-mail addresses on the contact lines of a card, which may be given elsewhere, too."""
    return {address for line in card.splitlines() if _CONTACT_LINE.search(line) for address in _MAIL.findall(line)}


def machine_path(text: str, *, form: Form) -> str | None:
    """Return the first absolute path in `text` that belongs to one machine, or None."""
    for name, pattern in _PATHS.items():
        if (form != "code" or name in _CODE_PATHS) and (match := pattern.search(text)):
            return match[0]
    home = str(Path.home())
    return home if len(Path(home).parts) > 2 and home in text else None


def picture_texts(content: bytes) -> list[str]:
    """Return the texts that a PNG carries beside its pixels: tEXt, zTXt, iTXt, eXIf.

    Raises ValueError when the chunks are damaged.
    """
    texts, position = [], 8
    while position < len(content):
        if position + 12 > len(content):
            raise ValueError("its last chunk is cut")
        length, name = struct.unpack(">I4s", content[position : position + 8])
        data = content[position + 8 : position + 8 + length]
        if len(data) != length:
            raise ValueError("its last chunk is cut")
        keyword, _, value = data.partition(b"\0")
        if name == b"tEXt":
            texts.append(f"{keyword.decode('latin-1')}: {value.decode('latin-1')}")
        elif name == b"zTXt":
            texts.append(f"{keyword.decode('latin-1')}: {_inflated(value[1:]).decode('latin-1')}")
        elif name == b"iTXt":
            # Compressed or not, method, language, translated keyword, text.
            text = value[2:].split(b"\0", 2)[-1]
            text = _inflated(text) if value[:1] == b"\1" else text
            texts.append(f"{keyword.decode('latin-1')}: {text.decode('utf-8', 'replace')}")
        elif name == b"eXIf":
            texts.append("EXIF: " + re.sub(rb"[^\x20-\x7e]+", b" ", data).decode("ascii"))
        position += 12 + length
    return texts


def parsed(text: str, *, suffix: str) -> Any:
    """Return JSON or YAML as plain values; raises ValueError when it is neither."""
    try:
        return json.loads(text) if suffix == ".json" else yaml.safe_load(text)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise ValueError(str(error).splitlines()[0] if str(error) else type(error).__name__) from None


def _inflated(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, _MOST_TEXT)
    except zlib.error:
        raise ValueError("its compressed text is damaged") from None


def _term(line: str) -> re.Pattern[str] | None:
    """Return what finds a name or code in folded text, None for a line without any.

    "Jane Doe" is found in Jane_Doe.edf, JaneDoe2023 and "Doe, Jane", "Doe" not in "does"; Müller in Mueller, too.
    """
    spelt = "".join(_SPELLINGS.get(letter, letter) for letter in unicodedata.normalize("NFC", line).casefold())
    forms = []
    for text in dict.fromkeys((_folded(line), _folded(spelt))):
        words = re.findall(r"[^\W_]+", text)
        for order in (words, words[::-1]) if len(words) == 2 else (words,):
            if order:
                forms.append(
                    _boundary(order[0][0], "(?<!{})") + r"[\W_]*".join(order) + _boundary(order[-1][-1], "(?!{})")
                )
    return re.compile("|".join(dict.fromkeys(forms))) if forms else None


def _boundary(letter: str, form: str) -> str:
    """Return what may not stand beside a term: digits beside a digit, letters beside a letter of an alphabet."""
    if letter.isdigit():
        return form.format(r"\d")
    return form.format(r"[^\W\d_]") if letter.upper() != letter.lower() else ""  # Chinese has no case and no spaces


def _folded(text: str) -> str:
    """Return `text` without accents and case: a name is written in many ways."""
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter)).casefold()


def _short(text: str, most: int = 40) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"
