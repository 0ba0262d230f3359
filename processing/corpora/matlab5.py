"""Read one array of numbers from a MATLAB file (-v6, -v7) that is not trusted.

SciPy's reader, compiled, can be made to crash the process by a few wrong bytes; this one looks at every length first.
Source: MathWorks, MAT-File Format, level 5.
"""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_HEADER = 128  # bytes
_HDF5 = (b"MATLAB 7.3", b"\x89HDF")
_MATRIX, _COMPRESSED = 14, 15
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_COMPLEX, _LOGICAL = 0x800, 0x200


def read_matlab(path: Path, *, variable: str, most_values: int) -> NDArray[Any]:
    """Return a variable of real numbers, of the shape and type that it has in MATLAB.

    most_values: an array with more is refused before it is unpacked, and so is a file that is larger than it could be.
    Raises ValueError that names the file: MATLAB 7.3 and other formats, damaged files, another kind of variable, none.
    """
    # Tags, flags, dimensions and a name are far below 4 kB; other variables may lie beside.
    most_bytes = 8 * most_values + 2**12
    size = path.stat().st_size
    if size > 4 * most_bytes:
        raise ValueError(f"{path.name!r} has {size} bytes, more than {most_values} values need; copy it again.")
    raw = path.read_bytes()
    if raw.startswith(_HDF5):
        raise ValueError(f"{path.name!r} is a MATLAB 7.3 file, which is not read; save it with the option -v7.")
    order = {b"IM": "<", b"MI": ">"}.get(raw[126:_HEADER])
    if order is None:
        raise ValueError(f"{path.name!r} is no MATLAB file, or its beginning is damaged; copy it again.")
    try:
        found = [array for array in _arrays(raw[_HEADER:], order, most_bytes) if array[0] == variable.encode()]
        if len(found) == 1:
            return _values(found[0][1], order, most_values, path)
    except (struct.error, zlib.error, _DamagedError):
        raise ValueError(f"{path.name!r} is damaged or ends too early; copy it again.") from None
    raise ValueError(f"{path.name!r} has {len(found)} variables called {variable!r}; it needs one: copy it again.")


class _DamagedError(Exception):
    """The file contradicts itself."""


def _arrays(raw: bytes, order: str, most_bytes: int) -> list[tuple[bytes, list[tuple[int, bytes]]]]:
    """Return the name and the parts (type, bytes) of each variable; the last part may be cut off in large ones."""
    found = []
    for kind, body in _elements(raw, order):
        if kind == _COMPRESSED:
            unpacking = zlib.decompressobj()
            unpacked = unpacking.decompress(body, most_bytes)
            whole = unpacking.eof  # so its checksum was right
            if not whole and len(unpacked) < most_bytes:
                raise _DamagedError
            (kind, length), body = struct.unpack_from(order + "II", unpacked), unpacked[8:]
            if whole and length != len(body):
                raise _DamagedError
        else:
            whole = True
        if kind == _MATRIX:
            parts = _elements(body, order, whole=whole)
            found.append((parts[2][1] if len(parts) > 2 else b"", parts))
    return found


def _elements(raw: bytes, order: str, *, whole: bool = True) -> list[tuple[int, bytes]]:
    """Return the type and the bytes of elements that lie one after another."""
    found, place = [], 0
    while place < len(raw):
        kind, length = struct.unpack_from(order + "II", raw, place)
        if kind >> 16:  # a small one: type, length and up to 4 bytes in 8
            kind, length, begins, after = kind & 0xFFFF, kind >> 16, place + 4, place + 8
            if length > 4:
                raise _DamagedError
        else:
            begins = place + 8
            after = begins + length + (0 if kind == _COMPRESSED else -length % 8)
        body = raw[begins : begins + length]
        if len(body) < length and whole:
            raise _DamagedError
        found.append((kind, body))
        place = after
    return found


def _values(parts: list[tuple[int, bytes]], order: str, most_values: int, path: Path) -> NDArray[Any]:
    if len(parts) < 4 or len(parts[0][1]) != 8 or len(parts[1][1]) % 4:
        raise _DamagedError
    (flags,) = struct.unpack_from(order + "I", parts[0][1])
    shape = tuple(np.frombuffer(parts[1][1], order + "i4").tolist())
    if flags & 0xFF not in _CLASSES or flags & (_COMPLEX | _LOGICAL):
        raise ValueError(f"{path.name!r} holds no real numbers as {parts[2][1].decode('latin-1')!r}; copy it again.")
    if min(shape, default=-1) < 0:
        raise _DamagedError
    count = int(np.prod(shape, dtype=object))
    if count > most_values:
        raise ValueError(f"{path.name!r} holds {shape} values, more than {most_values}; copy it again.")
    kind, body = parts[3]
    if len(parts) != 4 or kind not in _TYPES or len(body) != count * np.dtype(_TYPES[kind]).itemsize:
        raise _DamagedError
    stored = np.frombuffer(body, order + _TYPES[kind])  # MATLAB stores whole numbers in the smallest type
    return stored.astype(_CLASSES[flags & 0xFF]).reshape(shape, order="F")
