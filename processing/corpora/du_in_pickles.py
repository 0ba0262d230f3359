"""The pickles of Du-IN: lists of epochs with NumPy arrays, and the names of contacts. Nothing of them is executed.

NumPy writes an array as the name of a function of its own, a shape, a dtype and bytes. Here the names give stand-ins,
and an array is made of its bytes once the rest fits together: of numbers, of as many bytes as shape and dtype need.
"""

import math
import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..restricted_pickle import ADVICE, PLAIN, Inert, Limits, RefusedPickle, inert, read_pickle, shown

EPOCH_SAMPLES = 3000  # 3 s at 1000 Hz
# A run of 300 epochs of 200 contacts as float64 is 1.4 GB, with its silent stretch (data_n) twice that.
LIMITS = Limits(bytes=2**33, opcodes=5_000_000, values=5_000_000, handed=2**33)
_RECONSTRUCTED, _FROM_BUFFER, _SCALAR, _DTYPE = "an array", "an array of a buffer", "a number of NumPy", "a dtype"
_CORES = ("numpy.core", "numpy._core")  # before NumPy 2, and since
_ADMITTED = {
    **PLAIN,
    "utils.DotDict.DotDict": PLAIN["collections.OrderedDict"],  # a dict whose keys are attributes
    **{f"{core}.multiarray._reconstruct": inert(_RECONSTRUCTED) for core in _CORES},
    **{f"{core}.numeric._frombuffer": inert(_FROM_BUFFER) for core in _CORES},
    **{f"{core}.multiarray.scalar": inert(_SCALAR) for core in _CORES},
    "numpy.dtype": inert(_DTYPE),
    "numpy.ndarray": None,
}
_NUMBERS = re.compile(r"[iuf][1248]")
_TEXT = re.compile(r"U[1-9]\d{0,2}")
_ADVICE = "nothing of it was executed: download the file again from where it is published"
_LONGEST_NAME = 64


def is_plain_name(name: object) -> bool:
    """Return whether this is short text without anything that leads to another folder or cannot be printed."""
    return (
        isinstance(name, str)
        and 0 < len(name) <= _LONGEST_NAME
        and name.isprintable()
        and name.strip() == name
        and not re.search(r"[/\\:]|^\.", name)
    )


def read_contacts(path: Path, *, place: str) -> list[str]:
    """Return the names of the contacts in an `info` file.

    place: what the file is called within a sentence. Raises ValueError for anything else than a list of plain names.
    """
    info = _read(path, place=place)
    names = info.get("ch_names") if isinstance(info, dict) else None
    if names is None:
        raise ValueError(f"{_first(place)} has no 'ch_names'; it is a dictionary with them: download it again.")
    names = [_plain(name) for name in names] if isinstance(names, list | tuple) else []
    wrong = next((name for name in names if not is_plain_name(name)), None)
    if not names or wrong is not None or len(set(names)) < len(names):
        raise ValueError(
            f"{_first(place)} has 'ch_names' that are no list of different plain names"
            f"{'' if wrong is None else f' ({shown(repr(wrong), length=60)})'}: download it again."
        )
    return names


def read_epochs(path: Path, *, contacts: int, place: str) -> tuple[list[str], Iterator[NDArray[Any]]]:
    """Return the words of a `data` file, and its epochs one after the other, each (contacts, 3000) in the file's unit.

    The file is in memory until the last epoch is taken. contacts: how many its info names. place: as above.
    Raises ValueError for epochs without a word or without 3000 samples of each contact.
    """
    items = _read(path, place=place)
    if not isinstance(items, list) or not items:
        raise ValueError(
            f"{_first(place)} is no list of epochs; it has a dictionary for each of them: download it again."
        )
    words: list[str] = []
    arrays: list[NDArray[Any]] = []
    for number, item in enumerate(items, start=1):
        missing = [key for key in ("name", "data_s") if not isinstance(item, dict) or key not in item]
        if missing:
            raise ValueError(
                f"Epoch {number} of {place} has no {missing[0]!r}; each has 'name' and 'data_s': download it again."
            )
        word = _plain(item["name"])
        if not is_plain_name(word):
            raise ValueError(
                f"Epoch {number} of {place} has the word {shown(repr(word), length=60)}, which is no plain name; "
                "download it again."
            )
        try:
            array = _array(item["data_s"])
        except RefusedPickle as refused:
            raise ValueError(f"Epoch {number} of {place} is refused: {refused}; {_ADVICE}.") from None
        if array.shape != (contacts, EPOCH_SAMPLES):
            raise ValueError(
                f"Epoch {number} of {place} is {array.shape} and its info names {contacts} contacts; an epoch is "
                f"(contacts, {EPOCH_SAMPLES}), 3 s at 1000 Hz: download both again."
            )
        words.append(word)
        arrays.append(array)
    # References to one array are short, and each becomes an epoch of its own.
    if sum(array.nbytes for array in arrays) > path.stat().st_size:
        raise ValueError(f"{_first(place)} refers to the same samples more than once; {_ADVICE}.")
    return words, _taken(arrays)


def _first(text: str) -> str:
    """Return what a sentence begins with."""
    return text[:1].upper() + text[1:]


def _taken(arrays: list[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    arrays.reverse()
    while arrays:
        yield arrays.pop()


def _read(path: Path, *, place: str) -> Any:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return read_pickle(content, admitted=_ADMITTED, limits=LIMITS)
    except RefusedPickle as refused:
        raise ValueError(f"{_first(place)} is refused: {str(refused).replace(ADVICE, _ADVICE)}.") from None
    except ValueError:  # of mmap
        raise ValueError(f"{_first(place)} is empty: download it again.") from None


def _plain(value: Any) -> Any:
    """Return text that was NumPy's as text, anything else as it is."""
    if isinstance(value, Inert) and value.name == _SCALAR and len(value.arguments) == 2:
        kind, content = value.arguments
        try:
            if _dtype(kind, _TEXT).itemsize == len(content) and isinstance(content, bytes | bytearray):
                return str(np.frombuffer(content, _dtype(kind, _TEXT))[0])
        except (RefusedPickle, ValueError, TypeError):  # of no length, no characters
            return value
    return value


def _array(value: Any) -> NDArray[Any]:
    """Return the array that a stand-in stands for, a read-only view of the bytes read.

    Raises RefusedPickle when it is none, has other values than numbers, or another number of bytes.
    """
    name = value.name if isinstance(value, Inert) else type(value).__name__
    if name == _RECONSTRUCTED and isinstance(value.state, tuple) and len(value.state) == 5:
        _, shape, kind, by_columns, content = value.state
        order = "F" if by_columns is True else "C"
    elif name == _FROM_BUFFER and len(value.arguments) == 4:
        content, kind, shape, order = value.arguments
    else:
        raise RefusedPickle(f"it has {name} where an array of NumPy is expected")
    dtype = _dtype(kind, _NUMBERS)
    sizes = isinstance(shape, tuple) and all(type(size) is int and 0 < size < 2**31 for size in shape)
    if not sizes or not 0 < len(shape) <= 4 or order not in ("C", "F"):
        raise RefusedPickle(f"an array has the shape {shown(shape, length=60)}")
    if not isinstance(content, bytes | bytearray) or len(content) != math.prod(shape) * dtype.itemsize:
        held = f"{len(content):,}" if isinstance(content, bytes | bytearray) else "no"
        raise RefusedPickle(f"an array of shape {shown(shape, length=60)} and {dtype} has {held} bytes")
    array = np.frombuffer(content, dtype)
    array.flags.writeable = False
    return array.reshape(shape, order="F" if order == "F" else "C")


def _dtype(value: Any, accepted: re.Pattern[str]) -> np.dtype[Any]:
    arguments = value.arguments if isinstance(value, Inert) and value.name == _DTYPE else ()
    code = arguments[0] if arguments else None
    if not isinstance(code, str) or not accepted.fullmatch(code):
        raise RefusedPickle(f"an array holds {shown(code, length=60)!r}, and only arrays of numbers are read")
    order = value.state[1] if isinstance(value.state, tuple) and len(value.state) > 1 else "="
    if order not in ("<", ">", "|", "="):
        raise RefusedPickle(f"an array has the byte order {shown(order, length=60)!r}")
    return np.dtype(f"{order}{code}")
