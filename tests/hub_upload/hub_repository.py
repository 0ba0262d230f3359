"""A repository of the test Hub, and what the Hub says about one.

A repository is a list of commits, and a commit is a complete list of files: it is added whole or not at all, and what
is asked for by its name, a sha, stays as it is.
"""

import base64
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha1, sha256
from typing import Any, NamedTuple

import yaml

LARGE = ("arrow", "bin", "ckpt", "gz", "h5", "npy", "npz", "onnx", "parquet", "pkl", "pt", "pth", "safetensors", "zip")
LARGE_FROM = 10_000_000  # bytes; of text: what is binary is always kept as a large file


class Refusal(Exception):
    """An error as the Hub reports it: clients read the code, people the sentence."""

    def __init__(self, status: int, sentence: str, code: str = "", commit: str = ""):
        super().__init__(sentence)
        self.status = status
        named = {"X-Error-Message": sentence, "X-Error-Code": code, "X-Repo-Commit": commit}
        self.headers = {name: value for name, value in named.items() if value}


class File(NamedTuple):
    content: bytes
    is_large: bool

    @property
    def large_id(self) -> str:
        return sha256(self.content).hexdigest()

    @property
    def git_id(self) -> str:
        content = self.content
        if self.is_large:  # git keeps no more of it than this
            content = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.large_id}\n".encode()
            content += f"size {len(self.content)}\n".encode()
        return sha1(b"blob %d\0" % len(content) + content).hexdigest()

    @property
    def etag(self) -> str:
        return self.large_id if self.is_large else self.git_id

    def describe(self, path: str, large: str, git: str) -> dict[str, Any]:
        """Return what a list says of it; large, git: how that list calls a sha256, and the name that git gives it."""
        size = len(self.content)
        described = {"type": "file", "path": path, "rfilename": path, "size": size, git: self.git_id}
        return described | ({"lfs": {large: self.large_id, "size": size, "pointerSize": 134}} if self.is_large else {})


class Commit(NamedTuple):
    sha: str
    parent: str | None
    title: str
    date: str
    files: dict[str, File]


@dataclass
class Repository:
    kind: str  # model, dataset or space
    id: str
    private: bool
    sdk: str | None = None
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)  # name → sha
    tags: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rules = "".join(f"*.{ending} filter=lfs diff=lfs merge=lfs -text\n" for ending in LARGE)
        self.add("main", "initial commit", {".gitattributes": File(rules.encode(), False)})

    @property
    def address(self) -> str:
        return self.id if self.kind == "model" else f"{self.kind}s/{self.id}"

    @property
    def files(self) -> dict[str, bytes]:
        """What is on main: path → content."""
        return {path: file.content for path, file in self.at("main").files.items()}

    @property
    def titles(self) -> list[str]:
        """The titles of the commits on main, the last one first."""
        return [commit.title for commit in self.history(self.at("main"))]

    def add(self, branch: str, title: str, files: dict[str, File]) -> Commit:
        parent = self.branches.get(branch)
        named = [(path, file.git_id) for path, file in sorted(files.items())]
        sha = sha1(json.dumps([self.kind, self.id, len(self.commits), title, named]).encode()).hexdigest()
        date = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=len(self.commits))
        self.commits[sha] = Commit(sha, parent, title, date.strftime("%Y-%m-%dT%H:%M:%S.000Z"), files)
        self.branches[branch] = sha
        return self.commits[sha]

    def at(self, revision: str) -> Commit:
        name = re.sub("^refs/(heads|tags)/", "", revision)
        shas = [self.branches.get(name) or self.tags.get(name)]
        if shas == [None] and re.fullmatch("[0-9a-f]{7,40}", name):
            shas = [sha for sha in self.commits if sha.startswith(name)]
        if len(shas) != 1 or shas[0] is None:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.commits[shas[0]]

    def history(self, commit: Commit) -> list[Commit]:
        """Return a commit and those before it, the last one first."""
        commits = [commit]
        while commits[-1].parent:
            commits.append(self.commits[commits[-1].parent])
        return commits

    def commit(self, branch: str, operations: list[dict[str, Any]], stored: dict[str, bytes]) -> Commit:
        """Add one commit; stored: large files that were uploaded, by their sha256."""
        if branch not in self.branches:
            raise Refusal(404, f"Invalid rev id: {branch}", "RevisionNotFound")
        head, title = self.branches[branch], ""
        files = dict(self.commits[head].files)
        for key, value in ((operation["key"], operation["value"]) for operation in operations):
            path = value.get("path", "")
            if key == "header":
                title = value["summary"]
                if value.get("parentCommit", head) != head:
                    raise Refusal(412, "A commit has happened since. Please refresh and try again.")
            elif key == "file":
                files[path] = File(base64.b64decode(value["content"]), False)
            elif key == "lfsFile":
                if value["oid"] not in stored:
                    raise Refusal(400, f"The content of {path} was not uploaded")
                files[path] = File(stored[value["oid"]], True)
            elif key == "deletedFile":
                if files.pop(path, None) is None:
                    raise Refusal(404, f"{path} is not in the repository", "EntryNotFound")
            elif key == "deletedFolder":
                files = {each: file for each, file in files.items() if not each.startswith(path.rstrip("/") + "/")}
            else:
                raise Refusal(400, f"The test Hub does not know the operation {key}")
        return self.add(branch, title, files)

    def entries(self, commit: Commit, expand: bool) -> dict[str, dict[str, Any]]:
        """Return path → description of the folders and files of a commit."""
        folders = {path[: end.start()] for path in commit.files for end in re.finditer("/", path)}
        entries: dict[str, dict[str, Any]] = {
            path: {"type": "directory", "path": path, "size": 0, "oid": sha1(path.encode()).hexdigest()}
            for path in sorted(folders)
        }
        entries |= {path: file.describe(path, "oid", "oid") for path, file in sorted(commit.files.items())}
        if expand:
            history = self.history(commit)
            for path, entry in entries.items():
                last = history[0]
                for before in history[1:]:
                    if _below(path, before) != _below(path, last):
                        break
                    last = before
                entry["lastCommit"] = {"id": last.sha, "title": last.title, "date": last.date}
        return entries

    def information(self, commit: Commit) -> dict[str, Any]:
        """Return what is said of the repository at one commit."""
        metadata = (
            _metadata(commit.files["README.md"].content.decode()) if "README.md" in commit.files else None
        ) or {}
        dates = [each.date for each in self.commits.values()]
        about = {
            "_id": "0" * 24, "id": self.id, "author": self.id.split("/")[0], "sha": commit.sha, "createdAt": dates[0],
            "lastModified": dates[-1], "private": self.private, "gated": False, "disabled": False, "downloads": 0,
            "likes": 0, "tags": list(metadata.get("tags") or []), "cardData": metadata or None,
            "siblings": [file.describe(path, "sha256", "blobId") for path, file in sorted(commit.files.items())],
        }  # fmt: skip
        if self.kind == "model":
            config = json.loads(commit.files["config.json"].content) if "config.json" in commit.files else {}
            about["tags"] += ["custom_code"] if "auto_map" in config else []
            about |= {"config": config} | {k: metadata[k] for k in ("library_name", "pipeline_tag") if k in metadata}
        if self.kind == "space":
            about |= {"sdk": self.sdk, "models": metadata.get("models", []), "datasets": metadata.get("datasets", [])}
        return about

    def refs(self) -> dict[str, Any]:
        named = {"branches": ("heads", self.branches), "tags": ("tags", self.tags)}
        refs = {
            kind: [{"name": name, "ref": f"refs/{part}/{name}", "targetCommit": sha} for name, sha in each.items()]
            for kind, (part, each) in named.items()
        }
        return {**refs, "converts": [], "pullRequests": []}

    def upload_mode(self, asked: dict[str, Any], commit: Commit) -> dict[str, Any]:
        """Tell how a file is to be uploaded, and what is there under its name."""
        path = asked["path"]
        is_binary = b"\0" in base64.b64decode(asked["sample"])
        is_large = path.rsplit(".", 1)[-1] in LARGE or is_binary or asked["size"] >= LARGE_FROM
        oid = commit.files[path].etag if path in commit.files else None
        return {"path": path, "uploadMode": "lfs" if is_large else "regular", "oid": oid, "shouldIgnore": False}


def card_problems(card: str) -> tuple[list[str], list[str]]:
    """Return errors and warnings about a card's metadata: the least of what the Hub checks."""
    try:
        metadata = _metadata(card)
    except yaml.YAMLError as error:
        return [f"The metadata are no YAML: {error}."], []
    if metadata is None:
        return [], ["empty or missing yaml metadata in repo card"]
    if not isinstance(metadata, dict):
        return ["The metadata are no mapping."], []
    errors = []
    for name in ("library_name", "pipeline_tag", "license_name", "license_link", "pretty_name"):
        if not isinstance(metadata.get(name, ""), str):
            errors.append(f'"{name}" must be a string.')
    for name in ("tags", "datasets", "metrics", "license", "language", "base_model"):
        value = metadata.get(name, [])
        if not all(isinstance(each, str) for each in (value if isinstance(value, list) else [value])):
            errors.append(f'"{name}" must be a string or a list of strings.')
    for result in (each for model in metadata.get("model-index", []) for each in model.get("results", [])):
        for part, needed in (("task", "type"), ("dataset", "type"), ("dataset", "name")):
            if needed not in result.get(part, {}):
                errors.append(f'"model-index[].results[].{part}.{needed}" is required.')
        if not all("type" in metric and "value" in metric for metric in result.get("metrics", [{}])):
            errors.append('"model-index[].results[].metrics[]" needs a type and a value.')
    return errors, []


def _metadata(card: str) -> Any:
    found = re.match(r"---[ \t]*\r?\n(.*?)\r?\n?---[ \t]*(?:\r?\n|$)", card, re.DOTALL)
    return yaml.safe_load(found[1]) if found else None


def _below(path: str, commit: Commit) -> dict[str, File]:
    """Return the file, or the files of the folder, of that name."""
    return {name: file for name, file in commit.files.items() if name == path or name.startswith(path + "/")}
