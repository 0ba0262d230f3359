"""Open a checkpoint of the authors' code: weights, the settings that it was trained with, and its hash.

Nothing of it is executed (`brainbert.processing.restricted_pickle`).
"""

import hashlib
import lzma
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile, ZipInfo, is_zipfile

import torch

from brainbert.processing.checked_zip import open_checked
from brainbert.processing.restricted_pickle import Inert, RefusedPickle, shown
from brainbert.processing.torch_files import read_torch_file

CHECKPOINTS = (".pth", ".pt", ".ckpt", ".tar")  # names in an archive
MAX_BYTES = 8 * 2**30  # of a checkpoint; the released ones have half a gigabyte
MAX_RATIO = 50  # to which an archive may have compressed it; weights reach about 1.1
MAX_SETTINGS = 10_000
MAX_PARENTS = 20
FrontEnd = Literal["stft", "superlet"]


@dataclass(frozen=True, kw_only=True)
class OriginalCheckpoint:
    """What a checkpoint of the authors' code holds that a model needs.

    weights: by the authors' names, without the prefix of DataParallel. settings: of model_cfg, plain values.
    run: the settings of the whole run, among them preprocessor and task (masks): model_cfg is a node of them, and in a
        checkpoint that their runner wrote it refers to them.
    front_end: what these, or else the name of the file, say; None where neither does.
    sha256, size: of the checkpoint, in bytes.
    """

    weights: dict[str, torch.Tensor]
    settings: dict[str, Any]
    run: dict[str, Any]
    front_end: FrontEnd | None
    sha256: str
    size: int


def read_original(path: Path, *, member: str | None = None) -> OriginalCheckpoint:
    """Read a checkpoint: {"model", "optim", "scheduler", "model_cfg"}, or a state dict alone.

    path: of the checkpoint, or of an ordinary ZIP that holds it. member: its name there, where there are several.
    Raises ValueError when it is none, when an archive holds several and none is named, and for anything in it that is
    neither tensor nor plain value nor OmegaConf node.
    """
    path = Path(path)
    with _checkpoint_in(path, member) as (checkpoint, name):
        content = read_torch_file(checkpoint, name=name)
        weights, settings, whole = _parts(content, name)
        preprocessor = whole.get("preprocessor")
        # "spec_name", where theirs is a front end with an encoder behind it.
        said = preprocessor.get("spec_name", preprocessor.get("name")) if isinstance(preprocessor, dict) else None
        return OriginalCheckpoint(
            weights=weights,
            settings=settings,
            run=whole,
            front_end=_front_end_in(said if isinstance(said, str) else name),
            sha256=_sha256(checkpoint),
            size=checkpoint.stat().st_size,
        )


@contextmanager
def _checkpoint_in(path: Path, member: str | None) -> Iterator[tuple[Path, str]]:
    """Give the file of the checkpoint and its name, unpacked from an archive for as long as it is needed."""
    found = _members(path)
    if found is None:
        if member is not None:
            raise ValueError(f"{path.name} is no archive that holds {member}: leave out --member.")
        yield path, path.name
        return
    chosen = [each for each in found if each.filename == member or (member is None and len(found) == 1)]
    if len(chosen) != 1:
        raise ValueError(f"{path.name} holds {_names(found)}: name one of them with --member.")
    (entry,) = chosen
    if entry.flag_bits & 1 or entry.file_size > min(MAX_BYTES, MAX_RATIO * max(entry.compress_size, 1)):
        raise RefusedPickle(
            f"{shown(entry.filename)} in {path.name} is encrypted, or would grow to {entry.file_size:,} bytes, which "
            "no checkpoint needs; nothing of it was read: unpack it yourself if you trust it."
        )
    with tempfile.TemporaryDirectory() as folder:  # under a name of ours, whatever the archive calls it
        unpacked = Path(folder) / "checkpoint.pth"
        _unpack(path, entry, unpacked)
        yield unpacked, entry.filename


def _names(members: list[ZipInfo]) -> str:
    names = [shown(each.filename) for each in members[:5]]
    return ", ".join(names) + (f" and {len(members) - 5} more" if len(members) > 5 else "") or "no checkpoint"


def _members(path: Path) -> list[ZipInfo] | None:
    """Return the checkpoints of an archive; None for what is no archive, or is a checkpoint of torch, which is one."""
    if not path.is_file() or not is_zipfile(path):
        return None
    try:
        with path.open("rb") as file, open_checked(file) as archive:
            entries = archive.infolist()
    except RefusedPickle as refused:
        raise RefusedPickle(f"{path.name} is refused: {refused}.") from None
    if any(entry.filename.rsplit("/", 1)[-1] == "data.pkl" for entry in entries):
        return None
    wanted = [entry for entry in entries if entry.filename.lower().endswith(CHECKPOINTS)]
    return [entry for entry in wanted if not entry.filename.startswith("__MACOSX/")]


def _unpack(path: Path, entry: ZipInfo, to: Path) -> None:
    written = 0
    try:
        with (
            path.open("rb") as archived,
            open_checked(archived) as archive,
            archive.open(entry) as packed,
            to.open("wb") as file,
        ):
            while chunk := packed.read(2**20):
                written += len(chunk)
                if written > entry.file_size:  # what the archive says of itself need not be so
                    raise RefusedPickle(
                        f"{shown(entry.filename)} in {path.name} is larger than it says: fetch it again."
                    )
                file.write(chunk)
    except (
        *(BadZipFile, zlib.error, lzma.LZMAError, UnicodeDecodeError),
        *(NotImplementedError, EOFError, OSError, RuntimeError),
    ):
        raise RefusedPickle(f"{shown(entry.filename)} in {path.name} is damaged: fetch the archive again.") from None


def _parts(content: Any, name: str) -> tuple[dict[str, torch.Tensor], dict[str, Any], dict[str, Any]]:
    whole: Any = {}
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        settings = plain(content.get("model_cfg"), name)
        root = outermost(content.get("model_cfg"))
        whole = plain(root, name) if root is not content.get("model_cfg") else {}
        content = content["model"]
        if not isinstance(settings, dict | None):
            raise ValueError(f"{name}: its model_cfg is no mapping of settings, as the authors' code writes them.")
    else:
        settings = None
    if not isinstance(content, Mapping) or not content or not all(isinstance(key, str) for key in content):
        raise ValueError(f"{name} holds no state dict: give a checkpoint that the authors' code wrote.")
    strange = [key for key, value in content.items() if not isinstance(value, torch.Tensor)]
    if strange:
        raise ValueError(
            f"{name} has no tensor under {', '.join(map(shown, strange[:5]))}: give a checkpoint of the authors' code."
        )
    prefixed = all(key.startswith("module.") for key in content)  # torch.nn.DataParallel
    weights = {key.removeprefix("module.") if prefixed else key: value for key, value in content.items()}
    return weights, settings or {}, whole if isinstance(whole, dict) else {}


def outermost(node: Any) -> Any:
    """Return the outermost of the settings that a node of OmegaConf is in."""
    for _ in range(MAX_PARENTS):
        parent = node.state.get("_parent") if isinstance(node, Inert) and isinstance(node.state, dict) else None
        if not isinstance(parent, Inert):
            return node
        node = parent
    raise RefusedPickle("Its settings are each other's parents; nothing of it was executed.")


def plain(value: Any, name: str) -> Any:
    """Return OmegaConf's nodes, as the reader gives them, as dicts, lists and values.

    Raises ValueError for interpolations and missing values' kin, cycles, and anything else that is no setting.
    """
    left = MAX_SETTINGS

    def of(value: Any, depth: int) -> Any:
        nonlocal left
        left -= 1  # nodes may share their content, and sharing of sharing is a great deal
        if left < 0 or depth > 20:
            raise ValueError(f"{name}: its settings are nested or repeated beyond reason; nothing of it was executed.")
        if isinstance(value, Inert):
            state = value.state if isinstance(value.state, dict) else {}
            if "_content" in state:
                return of(state["_content"], depth + 1)
            if "_val" in state:
                return of(state["_val"], depth + 1)
        elif isinstance(value, Mapping):
            return {str(key): of(each, depth + 1) for key, each in value.items()}
        elif isinstance(value, list | tuple):
            return [of(each, depth + 1) for each in value]
        elif value is None or isinstance(value, bool | int | float | str):
            return value
        raise ValueError(f"{name}: its settings hold something that is no number, text, list or mapping.")

    return of(value, 0)


def _front_end_in(name: str) -> FrontEnd | None:
    name = name.rsplit("/", 1)[-1].lower()
    if "superlet" in name:
        return None if "stft" in name else "superlet"
    return "stft" if "stft" in name else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


__all__ = ["OriginalCheckpoint", "plain", "read_original"]
