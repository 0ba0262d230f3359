"""Say why a folder may not be published yet: a model, Parquet shards of a corpus, or a Space.

Nothing is executed, unpickled or followed; nothing is asked of the network. Each problem is a sentence with its remedy.
"""

import ast
import os
import re
import stat
from pathlib import Path, PurePosixPath
from typing import Any, get_args

from huggingface_hub.repocard import REGEX_YAML_BLOCK

from .card_sources import SOURCES, source_problems
from .private_traces import Forbidden, parsed
from .publishable_arrays import dtypes_of
from .publishable_files import Kind, file_problems

_EXPORT = "python examples/export_corpus.py CORPUS --out PARQUET"
_CARD_REMEDY = {
    "model": "write one with python -m brainbert.hub_upload.model_card",
    "dataset": f"export the corpus again, {_EXPORT}",
    "space": "add one with `sdk: gradio` in its metadata",
}
_DTYPES_SAID = {"BF16": "bfloat16|bf16", "F16": "float16|fp16|half"}


def problems_of(folder: Path, *, kind: Kind, forbidden: Forbidden | None = None) -> list[str]:
    """Return why `folder` may not be published as it is, a sentence each; none: it may.

    forbidden: names and codes that no file may hold. They are not repeated in what is returned.
    Raises ValueError when `folder` is none, or for another kind.
    """
    if kind not in get_args(Kind):
        raise ValueError(f"kind is {kind!r}: give model, dataset or space.")
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder: give the one to publish.")
    forbidden = forbidden or Forbidden()
    if kind == "dataset" and (any(folder.glob("*.arrow")) or (folder / "state.json").exists()):
        return [f"{folder.name} is a corpus to work on: publish its export, {_EXPORT}."]
    if kind == "model" and (folder / "run.json").exists() and (folder / "model" / "config.json").exists():
        return [f"{folder.name} is the folder of a run: publish the folder model in it."]
    paths, problems = _walk(folder)
    for path in paths:
        problems += file_problems(folder, path, kind=kind, forbidden=forbidden)
    names = {str(path) for path in paths}
    checks = {"model": _model_problems, "dataset": _dataset_problems, "space": _space_problems}
    problems += checks[kind](folder, names, *_card(folder, kind, problems))
    return [forbidden.masked(problem) for problem in dict.fromkeys(problems)]


def files_of(folder: Path) -> list[PurePosixPath]:
    """Return the regular files in `folder`, sorted, relative to it; links are not followed."""
    return _walk(folder)[0]


def read_card(folder: Path) -> tuple[dict[str, Any], str]:
    """Return metadata and text of README.md; raises ValueError, and OSError when there is none."""
    content = (folder / "README.md").read_text(encoding="utf-8")
    block = REGEX_YAML_BLOCK.search(content)
    metadata = (parsed(block[2], suffix=".yaml") or {}) if block else {}
    if not isinstance(metadata, dict):
        raise ValueError("its metadata are not names with values")
    return metadata, content[block.end() :] if block else content


def _walk(folder: Path) -> tuple[list[PurePosixPath], list[str]]:
    paths, problems = [], []
    for root, folders, files in os.walk(folder):
        for path in (Path(root) / name for name in [*folders, *files]):
            relative, mode = PurePosixPath(path.relative_to(folder).as_posix()), path.lstat().st_mode
            if stat.S_ISLNK(mode):
                problems.append(f"{relative} is a link: put a copy of the file in its place.")
            elif stat.S_ISREG(mode):
                paths.append(relative)
            elif not stat.S_ISDIR(mode):
                problems.append(f"{relative} is neither a file nor a folder: remove it.")
    return sorted(paths), sorted(problems)


def _card(folder: Path, kind: Kind, problems: list[str]) -> tuple[dict[str, Any], str]:
    """Return metadata and text of the card, empty when there is none, and add to `problems` what is wrong with it."""
    if not (folder / "README.md").is_file():
        problems.append(f"There is no card, README.md: {_CARD_REMEDY[kind]}.")
        return {}, ""
    try:
        metadata, text = read_card(folder)
    except ValueError as error:
        problems.append(f"The card, README.md, cannot be read ({error}): correct it.")
        return {}, ""
    if not text.strip() and kind != "space":
        problems.append("The card, README.md, has no text: say what this is, and what it is not for.")
    given = _list(metadata.get("license"))
    link = metadata.get("license_link")
    if kind != "space" and (not given or "" in given or "unknown" in given):
        problems.append(
            f"The card says no licence of the {'weights' if kind == 'model' else 'data'}: give one as `license:` in "
            "the metadata of README.md, such as cc-by-4.0 (https://huggingface.co/docs/hub/repositories-licenses)."
        )
    elif not all(isinstance(each, str) and re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", each) for each in given):
        problems.append(f"The licence {metadata['license']!r} is no identifier: give one such as cc-by-4.0, or other.")
    elif "other" in given and not (metadata.get("license_name") and link):
        problems.append('The licence "other" needs license_name and license_link too: add them to README.md.')
    if isinstance(link, str) and not link.startswith("https://") and not (folder / link).is_file():
        problems.append(f"The card's license_link is {link}: give an https address, or add a file of that name.")
    return metadata, text


def _model_problems(folder: Path, names: set[str], metadata: dict[str, Any], text: str) -> list[str]:
    problems = []
    index = _values(folder, "model.safetensors.index.json")
    if not {"model.safetensors", "model.safetensors.index.json"} & names:
        problems.append("There is no model.safetensors: save the model with model.save_pretrained.")
    for name in sorted(set(map(str, _values_in(index.get("weight_map")).values())) - names):
        problems.append(f"model.safetensors.index.json names {name}, which is not here: save the model again.")
    for name, what in (("config.json", "model"), ("preprocessor_config.json", "feature extractor")):
        if name not in names:
            problems.append(f"There is no {name}: save the {what} with save_pretrained.")
    config = _values(folder, "config.json")
    pipelines = _values_in(config.get("custom_pipelines"))
    if config.get("model_type") == "brainbert" and not config.get("auto_map"):
        problems.append("config.json has no auto_map, so AutoModel finds no code: save the model with its code.")
    for source in ("config.json", "preprocessor_config.json"):
        content = _values(folder, source)
        entries = [*_values_in(content.get("auto_map")).values()]
        entries += [_values_in(task).get("impl") for task in _values_in(content.get("custom_pipelines")).values()]
        for entry in dict.fromkeys(str(each) for given in entries for each in _list(given)):
            if "--" in entry:
                problems.append(f"{source} takes {entry} from another repository: save the model with its code.")
            elif f"{entry.rpartition('.')[0]}.py" not in names:
                problems.append(f"{source} names {entry}, whose file is not here: save the model with its code.")
    problems += _missing_imports(folder, names)
    problems += source_problems(folder) if SOURCES in names else []
    if metadata.get("pipeline_tag") == "feature-extraction" and "feature-extraction" not in pipelines:
        problems.append(
            "The card says pipeline_tag: feature-extraction, but config.json has no such custom pipeline, so the lines "
            "that the Hub shows would fail: load the model, and save it again with this version."
        )
    for name in sorted(name for name in names if name.endswith(".safetensors")):
        for dtype in sorted(dtypes_of(folder / name) - {"F32", "I64", "I32", "U8", "BOOL"}):
            # A reader of the card would not expect less: from_pretrained keeps the type that was saved.
            if not re.search(rf"\b(?:{_DTYPES_SAID.get(dtype, dtype)})\b", text, re.IGNORECASE):
                problems.append(f"{name} holds {dtype}, not fp32: save model.float(), or say it in the card.")
    return problems


def _missing_imports(folder: Path, names: set[str]) -> list[str]:
    """Say which of the folder's own modules its code imports and does not find there."""
    problems = []
    for name in sorted(name for name in names if name.endswith(".py") and "/" not in name):
        try:
            tree = ast.parse((folder / name).read_bytes())
        except (SyntaxError, ValueError, RecursionError):
            continue  # said of the file
        for node in ast.walk(tree):
            module = node.module if isinstance(node, ast.ImportFrom) and node.level == 1 else None
            if module and f"{module.replace('.', '/')}.py" not in names:
                problems.append(f"{name} imports .{module}, which is not here: save the model with its code.")
    return problems


def _dataset_problems(folder: Path, names: set[str], metadata: dict[str, Any], text: str) -> list[str]:
    shards = sorted(name for name in names if name.endswith(".parquet"))
    if not shards:
        return [f"There are no Parquet shards: export a corpus, {_EXPORT}."]
    problems = []
    for name in shards:
        if match := re.fullmatch(r"(.*-)\d{5}-of-(\d{5})\.parquet", name):
            part, count = match[1], int(match[2])
            missing = [n for n in range(count) if f"{part}{n:05}-of-{count:05}.parquet" not in names]
            if missing:
                problems.append(f"Of {count} shards {part}* {len(missing)} are not here: export the corpus again.")
    if not text:
        return problems
    patterns = [
        str(pattern)
        for config in _list(metadata.get("configs"))
        for part in _list(_values_in(config).get("data_files"))
        for pattern in _list(_values_in(part).get("path", part))
    ]
    unnamed = [name for name in shards if not any(PurePosixPath(name).match(pattern) for pattern in patterns)]
    if not patterns:
        problems.append("The card names no shards (`configs:` in its metadata): export the corpus again.")
    elif unnamed:
        problems.append(f"The card does not name the shard {unnamed[0]} (`configs:` in its metadata): add it there.")
    for pattern in patterns:
        if not any(PurePosixPath(name).match(pattern) for name in shards):
            problems.append(f"The card names {pattern}, and no shard is called so: export the corpus again.")
    return problems


def _space_problems(folder: Path, names: set[str], metadata: dict[str, Any], text: str) -> list[str]:
    problems = []
    if "README.md" in names and metadata.get("sdk") != "gradio":
        problems.append("The card says no `sdk: gradio` in its metadata: add it, or the Hub runs nothing.")
    for name in (str(metadata.get("app_file") or "app.py"), "requirements.txt"):
        if name not in names:
            problems.append(f"There is no {name}: assemble the Space again.")
    return problems


def _values(folder: Path, name: str) -> dict[str, Any]:
    try:
        return _values_in(parsed((folder / name).read_text(encoding="utf-8"), suffix=".json"))
    except (ValueError, OSError):
        return {}  # said of the file


def _values_in(content: Any) -> dict[str, Any]:
    return content if isinstance(content, dict) else {}


def _list(content: Any) -> list[Any]:
    return content if isinstance(content, list) else [] if content is None else [content]
