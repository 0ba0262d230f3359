"""Read files of torch.save without executing anything of them, and without believing their numbers.

Such a file is a pickle and, beside it, the bytes of the tensors: members of a ZIP archive since torch 1.6, before that
one after the other behind the pickle. The still older tar archives are refused.
"""

import math
import sys
from collections import OrderedDict
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import torch

from .checked_zip import open_checked
from .restricted_pickle import ADVICE, MAX_BYTES, PLAIN, Named, RefusedPickle, inert, read_pickle, shown

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of the format before ZIP
MAX_DIMENSIONS = 16
MAX_VIEWS = 4  # bytes of all tensors for each byte of the file: some tensors share their bytes, as tied weights do

_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_OMEGACONF = {
    "base": ("Metadata", "ContainerMetadata", "UnionNode"),
    "dictconfig": ("DictConfig",),
    "listconfig": ("ListConfig",),
    "tupleconfig": ("TupleConfig",),
    "nodes": (
        "AnyNode",
        "BooleanNode",
        "BytesNode",
        "FloatNode",
        "IntegerNode",
        "InterpolationResultNode",
        "LiteralNode",
        "NoneNode",
        "StringNode",
    ),
}
SETTINGS: dict[str, Callable[..., Any] | None] = {
    f"omegaconf.{module}.{name}": inert(f"omegaconf.{module}.{name}")
    for module, names in _OMEGACONF.items()
    for name in names
}


class _Storage:
    """The bytes that tensors of a file share."""

    def __init__(self, content: bytearray, dtype: torch.dtype):
        # A buffer of no bytes is refused by frombuffer.
        self.values = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)


class _Tensors:
    """What stands for torch's functions while one file is read."""

    def __init__(self, load: Callable[[str, int], bytearray], file_bytes: int):
        self._load = load
        self._left = MAX_VIEWS * file_bytes

    @property
    def admitted(self) -> dict[str, Callable[..., Any] | None]:
        functions: dict[str, Callable[..., Any] | None] = {
            "torch._utils._rebuild_tensor": self.tensor,
            "torch._utils._rebuild_tensor_v2": self.tensor,
            "torch._utils._rebuild_parameter": self.parameter,
            "torch.Size": lambda *sizes: tuple(sizes[0]) if sizes and isinstance(sizes[0], tuple) else (),
            "torch.device": inert("torch.device"),
        }
        names = [f"torch.{name}" for name in _DTYPES] + [str(dtype) for dtype in _DTYPES.values()]
        return PLAIN | SETTINGS | functions | dict.fromkeys(names)

    def storage(self, identity: Any) -> _Storage:
        """Return what a persistent id stands for: ("storage", type, key, device, number of elements)."""
        if not isinstance(identity, tuple) or not identity or identity[0] != "storage":
            raise RefusedPickle(f"it refers to something else than bytes of tensors; {ADVICE}")
        if len(identity) == 6 and identity[5] is None:  # the old format's place for views of storages
            identity = identity[:5]
        kind, key, count = (*identity[1:3], identity[-1]) if len(identity) == 5 else (None, None, None)
        dtype = _DTYPES.get(kind.name.removeprefix("torch.")) if isinstance(kind, Named) else None
        if dtype is None or not isinstance(key, str) or not _is_size(count):
            raise RefusedPickle(f"it refers to bytes of tensors in a way that torch.save does not; {ADVICE}")
        return _Storage(self._load(key, count * dtype.itemsize), dtype)

    def tensor(self, *arguments: Any) -> torch.Tensor:
        """Return the tensor of (storage, offset, sizes, strides, …), if it lies within the storage."""
        if not 4 <= len(arguments) <= 7 or not isinstance(arguments[0], _Storage):
            raise RefusedPickle(f"it makes a tensor in a way that torch.save does not; {ADVICE}")
        storage, offset, sizes, strides = arguments[:4]
        self._refuse_hooks(arguments[5:])
        if not isinstance(sizes, tuple) or not isinstance(strides, tuple) or len(sizes) != len(strides):
            raise RefusedPickle(f"it makes a tensor without a stride for each size; {ADVICE}")
        if len(sizes) > MAX_DIMENSIONS or not all(map(_is_size, (offset, *sizes, *strides))):
            raise RefusedPickle(
                f"it makes a tensor of more than {MAX_DIMENSIONS} dimensions, or with a size, stride or offset that is "
                f"negative or no whole number; {ADVICE}"
            )
        count, held = math.prod(sizes), storage.values.numel()
        last = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
        if count > held or offset > held or (count and last >= held):
            raise RefusedPickle(
                f"it makes a tensor of {count:,} elements, up to number {last + 1:,} of a storage that holds {held:,}; "
                f"{ADVICE}"
            )
        self._left -= count * storage.values.itemsize
        if self._left < 0:
            raise RefusedPickle(f"its tensors together are more than {MAX_VIEWS} times as large as the file; {ADVICE}")
        return torch.as_strided(storage.values, sizes, strides, offset)

    def parameter(self, *arguments: Any) -> torch.Tensor:
        if len(arguments) != 3 or not isinstance(arguments[0], torch.Tensor):
            raise RefusedPickle(f"it makes a parameter in a way that torch.save does not; {ADVICE}")
        self._refuse_hooks(arguments[2:])
        return arguments[0]

    def _refuse_hooks(self, values: tuple) -> None:
        """Refuse what is not empty among backward hooks and metadata: it would run, or change what the numbers mean."""
        if any(value is not None and (type(value) not in (dict, OrderedDict) or value) for value in values):
            raise RefusedPickle(f"it has a tensor with backward hooks or conjugate bits; {ADVICE}")


def read_torch_file(source: Path, *, name: str | None = None) -> Any:
    """Return what torch.save wrote: plain containers, tensors on the CPU, and stand-ins (Inert) for settings.

    source: of both formats, ZIP and the one before it. name: what messages call it; by default its path.
    Nothing of the file is executed, and no more memory taken than a few times its size.
    Raises RefusedPickle in one sentence for anything else, FileNotFoundError for a file that is not there.
    """
    name = shown(name or source)
    if source.is_dir():
        raise RefusedPickle(f"{name} is a folder: give a file that torch.save wrote.")
    with source.open("rb") as file:
        try:
            return _read(file, source.stat().st_size)
        except RefusedPickle as refused:
            raise RefusedPickle(f"{name} is refused: {refused}.") from None


def _read(file: BinaryIO, size: int) -> Any:
    head = file.read(512)
    file.seek(0)
    if not head:
        raise RefusedPickle("it is empty: copy or download it again")
    if head.startswith(b"PK"):
        return _read_zip(file, size)
    if head[257:262] == b"ustar":
        raise RefusedPickle(
            "it is a tar archive, torch's format before version 0.1.10: load and save it again with a newer torch"
        )
    if len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < size:
        raise RefusedPickle("it is a safetensors file: nothing has to be converted to read it")
    if not head.startswith(b"\x80"):
        raise RefusedPickle("it is neither a ZIP archive nor a binary pickle, and torch.save writes one of them")
    return _read_legacy(file, size)


def _read_zip(file: BinaryIO, size: int) -> Any:
    with open_checked(file) as archive:
        members = {member.filename: member for member in archive.infolist()}
        pickles = [each for each in members if each.count("/") == 1 and each.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise RefusedPickle("it is a ZIP archive without the data.pkl of torch.save")
        folder = pickles[0].removesuffix("data.pkl")
        if f"{folder}constants.pkl" in members:
            raise RefusedPickle("it is a TorchScript program, not a checkpoint: save its state dict with torch.save")
        for member in members.values():
            if member.compress_type != ZIP_STORED or member.compress_size != member.file_size:
                raise RefusedPickle(
                    f"its member {shown(member.filename)} is compressed, and torch.save compresses none"
                )
        order = _content(archive, f"{folder}byteorder") if f"{folder}byteorder" in members else b"little"
        if order != sys.byteorder.encode():
            raise RefusedPickle(f"its numbers are {shown(order.decode('latin-1'))}-endian, and this machine's are not")
        if members[pickles[0]].file_size > MAX_BYTES:
            raise RefusedPickle(f"its pickle has more than {MAX_BYTES:,} bytes; {ADVICE}")
        contents: dict[str, bytearray] = {}

        def load(key: str, count: int) -> bytearray:
            path = f"{folder}data/{key}"
            if path not in members or members[path].file_size != count:
                there = f"holds {members[path].file_size}" if path in members else "holds none"
                raise RefusedPickle(f"a tensor claims {shown(count)} bytes called {shown(key)}, and it {there}")
            if key not in contents:
                contents[key] = bytearray(_content(archive, path))
            return contents[key]

        tensors = _Tensors(load, size)
        return read_pickle(
            BytesIO(_content(archive, pickles[0])), admitted=tensors.admitted, load_persistent=tensors.storage
        )


def _content(archive: ZipFile, name: str) -> bytes:
    try:
        return archive.read(name)
    except (BadZipFile, EOFError, UnicodeDecodeError, NotImplementedError, RuntimeError) as error:
        # A wrong checksum; another name, or flags, at that place than in the table of contents.
        raise RefusedPickle(f"its member {shown(name)} is damaged ({shown(error)})") from None


def _read_legacy(file: BinaryIO, size: int) -> Any:
    """Five pickles (a magic number, a version, the system, the value, the keys of its storages), then the storages."""
    pickles = BytesIO(file.read(MAX_BYTES))
    if read_pickle(pickles) != LEGACY_MAGIC:
        raise RefusedPickle(f"it is a pickle, but not one of torch.save; {ADVICE}")
    version, system = read_pickle(pickles), read_pickle(pickles)
    if (
        version != 1001
        or not isinstance(system, dict)
        or system.get("little_endian") is not (sys.byteorder == "little")
    ):
        raise RefusedPickle("it was written by another version of torch, or on a machine with another byte order")
    contents: dict[str, bytearray] = {}
    left = size

    def load(key: str, count: int) -> bytearray:
        nonlocal left
        if key not in contents:
            left -= count
            if left < 0:
                raise RefusedPickle(f"its tensors claim more bytes than the {size} of the file")
            contents[key] = bytearray(count)  # filled below: the tensors' bytes come after the pickles
        if len(contents[key]) != count:
            raise RefusedPickle(f"two tensors disagree how long the storage {shown(key)} is")
        return contents[key]

    tensors = _Tensors(load, size)
    value = read_pickle(pickles, admitted=tensors.admitted, load_persistent=tensors.storage)
    keys = read_pickle(pickles)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or sorted(keys) != sorted(contents):
        raise RefusedPickle("the list of its tensors does not fit its pickle: it is damaged")
    file.seek(pickles.tell())
    for key in keys:
        content = contents[key]
        count = int.from_bytes(file.read(8), "little")
        if not content and not count:
            continue
        if not count or len(content) % count or file.readinto(content) != len(content):  # type: ignore[attr-defined]
            raise RefusedPickle("it ends early or its tensors are damaged: copy or download it again")
    return value


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**62
