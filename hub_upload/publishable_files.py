"""Say what is wrong with one file that is to be published, whatever else its folder holds.

What a file is, its first bytes say before its name does. Nothing is executed, unpickled or followed.
"""

import ast
import contextlib
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

from huggingface_hub.repocard import REGEX_YAML_BLOCK

from .private_traces import (
    Forbidden,
    Form,
    contact_addresses,
    parsed,
    picture_texts,
    traces_in_text,
    traces_in_values,
)
from .publishable_arrays import array_file_problems, safetensors_problems, shard_problems

Kind = Literal["model", "dataset", "space"]

_PROSE = {".md", ".txt", ".cff", ".svg", ".html", ".css", ".bib"}
_CODE = {".py", ".js", ".j2", ".toml", ".cfg"}
_VALUES = {".json", ".yaml", ".yml"}
_TEXT = _PROSE | _CODE | _VALUES
_PICTURES = {".png": b"\x89PNG\r\n\x1a\n", ".jpg": b"\xff\xd8\xff", ".jpeg": b"\xff\xd8\xff", ".webp": b"RIFF"}
_BELONGS: dict[str, set[str]] = {
    "model": {*_TEXT, *_PICTURES, ".safetensors", ".onnx"},
    "dataset": {*_TEXT, *_PICTURES, ".parquet"},
    "space": {*_TEXT, *_PICTURES, ".safetensors", ".npy", ".npz"},
}
_CALLED = {"model": "a model's folder", "dataset": "a data set's folder", "space": "a Space's folder"}
_BARE_NAMES = {"LICENSE", "LICENCE", "NOTICE", ".gitattributes"}
_HIDDEN = {".gitattributes", ".eval_results"}  # what the Hub itself reads
_PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".dill", ".pt2", ".t7"}
_ARCHIVES = (b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"\x28\xb5\x2f\xfd")
_RECORDINGS = {
    *(".edf", ".bdf", ".gdf", ".vhdr", ".vmrk", ".eeg", ".cnt", ".set", ".fif", ".nwb", ".mat", ".h5", ".hdf5"),
    *(".mefd", ".tdat", ".trc", ".lay", ".dat", ".ncs", ".nev", ".ns2", ".ns3", ".ns5", ".ns6"),
}
_LEFTOVERS = re.compile(r"checkpoint[-_s\d]*|step-\d+|__pycache__|runs|tensorboard|wandb|mlruns", re.IGNORECASE)
_MOST_TEXT = 64 * 2**20  # bytes: a longer text is refused, not read


def file_problems(folder: Path, path: PurePosixPath, *, kind: Kind, forbidden: Forbidden) -> Iterator[str]:
    """Yield what is wrong with the regular file `path` of `folder`, a sentence each with its remedy."""
    for number in forbidden.lines_in(str(path)):
        yield f"The name of {path} holds the name or code of line {number} of the forbidden list: rename it."
    for depth, part in enumerate(path.parts):
        top = PurePosixPath(*path.parts[: depth + 1])
        if part.startswith(".") and part not in _HIDDEN:
            yield f"{top} is hidden, so a system's or a program's own, or half-written: remove it."
            return
        if top != path and _LEFTOVERS.fullmatch(part):
            yield f"{top} is left over from working: remove that folder."
            return
    suffix = path.suffix.lower()
    with (folder / path).open("rb") as file:
        head = file.read(16)
    if suffix in _PICKLES or (len(head) > 1 and head[0] == 0x80 and 2 <= head[1] <= 5):
        yield f"{path} is a pickle, which can run code when it is opened: save weights as safetensors, or remove it."
    elif head.startswith(b"PK\x03\x04") and _holds_pickle(folder / path):
        yield f"{path} is an archive with a pickle, which can run code when it is opened: save weights as safetensors."
    elif suffix in _RECORDINGS:
        yield f"{path} has the ending of a recording, and what is published holds none: remove it."
    elif suffix not in _BELONGS[kind] and path.name not in _BARE_NAMES:
        yield f"{path} does not belong in {_CALLED[kind]}: remove it."
    elif head.startswith(_ARCHIVES) and suffix != ".npz":
        yield f"{path} is an archive by its content: remove it, or put its files in its place."
    elif suffix in _PICTURES:
        yield from _picture_problems(folder, path, forbidden)
    elif suffix == ".safetensors":
        yield from safetensors_problems(folder / path, str(path), forbidden=forbidden)
    elif suffix == ".parquet":
        yield from shard_problems(folder / path, str(path), forbidden=forbidden)
    elif suffix in (".npy", ".npz"):
        yield from array_file_problems(folder / path, str(path), forbidden=forbidden)
    elif suffix == ".onnx":
        for trace in traces_in_text(_readable((folder / path).read_bytes()), form="code", forbidden=forbidden):
            yield f"{path} gives away {trace}: export it again without."
    else:
        yield from _text_problems(folder, path, forbidden)


def _readable(content: bytes) -> str:
    """Return the texts in a binary file, one a line: in UTF-8 where they are, as letters of one byte elsewhere."""
    return "\n".join({content.decode(code, "replace") for code in ("utf-8", "latin-1")})


def _text_problems(folder: Path, path: PurePosixPath, forbidden: Forbidden) -> Iterator[str]:
    if (size := (folder / path).stat().st_size) > _MOST_TEXT:
        yield f"{path} is {size / 1e6:.0f} MB of text, more than 67 MB: that is data, remove it."
        return
    try:
        text = (folder / path).read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        yield f"{path} is not the UTF-8 text that its name says: remove it, or save it again."
        return
    suffix = path.suffix.lower()
    traces: list[str] = []
    if (folder / "README.md").is_file():
        for address in contact_addresses((folder / "README.md").read_text(encoding="utf-8", errors="replace")):
            text = text.replace(address, "")
    if suffix in _VALUES:
        try:
            values = parsed(text, suffix=suffix)
            traces += traces_in_values(values, forbidden=forbidden, with_dates=suffix == ".json")
        except ValueError as error:
            yield f"{path} is not {'JSON' if suffix == '.json' else 'YAML'} ({error}): write it again."
            return
    else:
        # The holders of a licence give their addresses.
        form: Form = "code" if suffix in _CODE or path.stem in _BARE_NAMES else "prose"
        traces += traces_in_text(text, form=form, forbidden=forbidden)
    if suffix == ".py":
        try:
            ast.parse(text)
        except (SyntaxError, ValueError, RecursionError) as error:
            yield f"{path} is not Python ({error}): correct it."
    if path.name == "README.md" and (block := REGEX_YAML_BLOCK.search(text)):
        with contextlib.suppress(ValueError):  # publishable.py says it of the card
            traces += traces_in_values(parsed(block[2], suffix=".yaml"), forbidden=forbidden, with_dates=False)
    yield from (f"{path} gives away {trace}: take it out." for trace in dict.fromkeys(traces))


def _picture_problems(folder: Path, path: PurePosixPath, forbidden: Forbidden) -> Iterator[str]:
    content, suffix = (folder / path).read_bytes(), path.suffix.lower()
    if not content.startswith(_PICTURES[suffix]):
        yield f"{path} is not the picture that its name says: draw it again, or remove it."
        return
    if suffix != ".png":
        marks = (b"Exif\0", b"EXIF", b"http://ns.adobe.com/xap/", b"Photoshop 3.0", b"\xff\xfe\x00")  # and a comment
        if any(mark in content for mark in marks):
            yield f"{path} carries EXIF, XMP, IPTC or a comment (camera, place, date, author): save it anew as a PNG."
        return
    try:
        texts = picture_texts(content)
    except ValueError as error:
        yield f"{path} is damaged ({error}): draw it again."
        return
    if any(text.startswith("EXIF: ") for text in texts):
        yield f"{path} carries EXIF (camera, place, date): save it again without."
    traces = [trace for text in texts for trace in traces_in_text(text, form="data", forbidden=forbidden)]
    yield from (f"{path} gives away {trace} in its metadata: save it again without." for trace in dict.fromkeys(traces))


def _holds_pickle(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(PurePosixPath(name).suffix.lower() in _PICKLES for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError):
        return False
