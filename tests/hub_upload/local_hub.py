"""A Hub on this machine, in memory, for tests: what huggingface_hub, transformers and datasets ask of the real one.

Large files are kept at another address, as the Hub keeps them. There is no Xet: clients need HF_HUB_DISABLE_XET=1. Nor
are there pull requests, gates, organisations, or lists in pages.
"""

import json
import re
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from hub_repository import Refusal, Repository, card_problems

TOKENS = {"hf_test": ("lab", "write"), "hf_read": ("lab", "read"), "hf_other": ("visitor", "write")}
_ID = r"(?P<id>(?:[\w.-]+/)?[\w.-]+?)"
_VERBS = "revision|tree|paths-info|refs|commits|resolve|settings|preupload|commit|branch|tag|auth-check"
ADDRESSES = (
    rf"/api/(?P<kind>model|dataset|space)s/{_ID}(?:/(?P<verb>{_VERBS})(?:/(?P<revision>[^/]+)(?:/(?P<path>.+))?)?)?",
    rf"/(?:(?P<kind>dataset|space)s/)?{_ID}/(?P<verb>resolve|raw)/(?P<revision>[^/]+)/(?P<path>.+)",
    rf"/(?:(?P<kind>dataset|space)s/)?{_ID}\.git/info/lfs/objects/(?P<verb>batch|verify)",
)


class Asked(NamedTuple):
    """A request: what of its address is not there is an empty text."""

    method: str
    address: str
    headers: Any  # of an HTTP message: names in any case
    body: bytes
    query: dict[str, str]
    kind: str = ""
    id: str = ""
    verb: str = ""
    revision: str = ""
    path: str = ""


class Answer(NamedTuple):
    body: Any = b""  # what is no bytes goes out as JSON
    status: int = 200
    headers: dict[str, str] | None = None


@dataclass
class Drop:
    method: str
    path_part: str
    after_bytes: int
    times: int


class LocalHub:
    """The Hub while it is open, `with LocalHub() as hub`; the user of its token is "lab".

    url, token: for clients of this process. environment: for child processes, all that they need. requests: (method,
    path), in order. repositories: by (kind, id), such as hub.repositories["model", "lab/tiny"].files. Other tokens:
    "hf_read", which may not write, and "hf_other", another person's.
    """

    token, user = "hf_test", "lab"

    def __enter__(self) -> "LocalHub":
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.requests: list[tuple[str, str]] = []
        self.stored: dict[str, bytes] = {}  # large files by their sha256
        self.drops: list[Drop] = []
        self.lock = threading.RLock()
        self._home = tempfile.TemporaryDirectory()
        handler = type("Handler", (_Handler,), {"hub": self})
        # Another origin for large files: what a client is redirected to on the same one, it takes for the Hub's answer.
        self._servers = [_Server(("127.0.0.1", 0), handler) for _ in range(2)]
        self.url, self.store_url = (f"http://127.0.0.1:{server.server_port}" for server in self._servers)
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        self.environment = {
            "HF_ENDPOINT": self.url,
            "HF_HOME": self._home.name,
            "HF_TOKEN": self.token,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }
        return self

    def __exit__(self, *error: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()
        self._home.cleanup()

    def drop_connection(self, method: str, path_part: str, after_bytes: int = 0, times: int = 1) -> None:
        """Close the connection during the next `times` requests of this kind.

        after_bytes: of the answer's content; with POST and PUT, of what is uploaded, which is then forgotten.
        """
        self.drops.append(Drop(method, path_part, after_bytes, times))

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> Answer:
        """Return the answer to one request; raises Refusal."""
        address = urlsplit(target).path
        query = {name: values[-1] for name, values in parse_qs(urlsplit(target).query).items()}
        asked = Asked(method, address, headers, body, query)
        if address.startswith("/stored/"):
            return self._large_file(asked, address.removeprefix("/stored/"))
        if address == "/api/validate-yaml":  # of anybody
            problems = card_problems(json.loads(body)["content"])
            errors, warnings = ([{"message": problem} for problem in kind] for kind in problems)
            return Answer({"errors": errors, "warnings": warnings}, 400 if errors else 200)
        user, role = "", "none"
        if bearer := headers.get("Authorization"):
            if bearer.removeprefix("Bearer ") not in TOKENS:
                raise Refusal(401, "Invalid credentials in Authorization header")
            user, role = TOKENS[bearer.removeprefix("Bearer ")]
        if address in ("/api/whoami-v2", "/api/repos/create", "/api/repos/delete"):
            if not user:
                raise Refusal(401, "Invalid username or password.")
            if address == "/api/whoami-v2":
                token = {"type": "access_token", "accessToken": {"displayName": "test", "role": role}}
                return Answer({"type": "user", "id": user, "name": user, "fullname": user, "orgs": [], "auth": token})
            return self._create_or_delete(asked, user, role)
        found = next(filter(None, (re.fullmatch(pattern, address) for pattern in ADDRESSES)), None)
        if found is None:
            raise Refusal(404, f"The test Hub does not know {method} {address}")
        asked = asked._replace(**{name: unquote(value) for name, value in found.groupdict().items() if value})
        repository = self._repository(asked.kind or "model", asked.id, user)
        reads = method in ("GET", "HEAD") or asked.verb == "paths-info"
        if not reads and (user != repository.id.split("/")[0] or role != "write"):
            raise Refusal(403, f"You don't have the rights to write to {repository.id} with this token")
        if asked.verb in ("batch", "verify"):
            return self._announce_large_files(asked)
        if asked.verb in ("resolve", "raw"):
            return self._resolve(repository, asked)
        return self._describe(repository, asked) if reads else self._change(repository, asked)

    def _repository(self, kind: str, id: str, user: str) -> Repository:
        repository = self.repositories.get((kind, id))
        if repository is None or (repository.private and user != id.split("/")[0]):
            # The Hub names no code in a 401; its clients then look for "https://" in the address, which is not ours.
            status, sentence = (404, "Repository not found") if user else (401, "Invalid username or password.")
            raise Refusal(status, sentence, "RepoNotFound")
        return repository

    def _create_or_delete(self, asked: Asked, user: str, role: str) -> Answer:
        content = json.loads(asked.body)
        kind, owner = content.get("type") or "model", content.get("organization") or user
        id = f"{owner}/{content['name']}"
        if role != "write" or owner != user:
            raise Refusal(403, f"You don't have the rights to create a {kind} under the namespace {owner!r}")
        if asked.address == "/api/repos/delete":
            self._repository(kind, id, user)
            del self.repositories[kind, id]
            return Answer()
        is_new = (kind, id) not in self.repositories
        if is_new:
            self.repositories[kind, id] = Repository(kind, id, _is_private(content), content.get("sdk"))
        told = {"url": f"{self.url}/{self.repositories[kind, id].address}", "name": id, "id": id}
        return Answer(told) if is_new else Answer({**told, "error": f"You already created this {kind} repo: {id}"}, 409)

    def _announce_large_files(self, asked: Asked) -> Answer:
        content = json.loads(asked.body)
        if asked.verb == "verify":
            if len(self.stored.get(content["oid"], b"")) != content["size"]:
                raise Refusal(404, "The file was not uploaded")
            return Answer({})
        objects = []
        for each in content["objects"]:
            told = {"oid": each["oid"], "size": each["size"]}
            if each["oid"] not in self.stored:
                verify = self.url + asked.address.replace("/batch", "/verify")
                told["actions"] = {
                    "upload": {"href": f"{self.store_url}/stored/{each['oid']}"},
                    "verify": {"href": verify},
                }
            objects.append(told)
        return Answer({"transfer": "basic", "objects": objects})

    def _large_file(self, asked: Asked, oid: str) -> Answer:
        if asked.method == "PUT":
            if sha256(asked.body).hexdigest() != oid:
                raise Refusal(400, "The content is not what its sha256 says")
            self.stored[oid] = asked.body
            return Answer()
        if oid not in self.stored:
            raise Refusal(404, "There is no such file in the store")
        return _content(self.stored[oid], {"ETag": f'"{oid}"'}, asked)

    def _resolve(self, repository: Repository, asked: Asked) -> Answer:
        commit = repository.at(asked.revision)
        if asked.path not in commit.files:
            raise Refusal(404, "Entry not found", "EntryNotFound", commit.sha)
        file = commit.files[asked.path]
        named = {"X-Repo-Commit": commit.sha, "ETag": f'"{file.etag}"'}
        if not file.is_large:
            return _content(file.content, named, asked)
        named |= {"X-Linked-Size": str(len(file.content)), "X-Linked-ETag": f'"{file.etag}"'}
        return Answer(status=302, headers={**named, "Location": f"{self.store_url}/stored/{file.large_id}"})

    def _describe(self, repository: Repository, asked: Asked) -> Answer:
        if asked.verb == "auth-check":
            return Answer()
        if asked.verb == "refs":
            return Answer(repository.refs())
        commit = repository.at(asked.revision or "main")
        if asked.verb == "commits":
            named = [(each.sha, each.title, each.date) for each in repository.history(commit)]
            more = {"message": "", "authors": [{"user": self.user}]}
            return Answer([{"id": sha, "title": title, "date": date, **more} for sha, title, date in named])
        if asked.verb == "tree":
            entries = repository.entries(commit, _is_true(asked.query.get("expand")))
            inside = asked.path + "/" if asked.path else ""
            listed = [path for path in entries if path.startswith(inside)]
            if inside and not listed:
                raise Refusal(404, "Entry not found", "EntryNotFound", commit.sha)
            deep = _is_true(asked.query.get("recursive"))
            return Answer([entries[path] for path in listed if deep or "/" not in path[len(inside) :]])
        if asked.verb == "paths-info":
            form = parse_qs(asked.body.decode())
            entries = repository.entries(commit, _is_true(form.get("expand", [""])[0]))
            return Answer([entries[path] for path in form.get("paths", []) if path in entries])
        return Answer(repository.information(commit))

    def _change(self, repository: Repository, asked: Asked) -> Answer:
        if asked.verb == "commit":
            if asked.query.get("create_pr"):
                raise Refusal(400, "The test Hub has no pull requests")
            operations = [json.loads(line) for line in asked.body.splitlines() if line]
            commit = repository.commit(asked.revision, operations, self.stored)
            url = f"{self.url}/{repository.address}/commit/{commit.sha}"
            return Answer({"success": True, "commitOid": commit.sha, "commitUrl": url, "hookOutput": ""})
        content = json.loads(asked.body or b"{}")
        if asked.verb == "settings":
            repository.private = _is_private(content, repository.private)
            return Answer({})
        if asked.verb == "preupload":
            commit = repository.at(asked.revision)
            return Answer({"files": [repository.upload_mode(each, commit) for each in content["files"]]})
        if asked.verb not in ("branch", "tag"):
            raise Refusal(404, f"The test Hub does not know {asked.method} {asked.address}")
        names = repository.branches if asked.verb == "branch" else repository.tags
        if asked.method == "DELETE":
            if names.pop(asked.revision, None) is None:
                raise Refusal(404, f"Invalid rev id: {asked.revision}", "RevisionNotFound")
            return Answer()
        name, start = content.get("tag"), asked.revision
        if asked.verb == "branch":
            name, start = asked.revision, content.get("startingPoint", "main")
        if name in names:
            raise Refusal(409, f"Reference {name} exists already")
        names[name] = repository.at(start).sha
        return Answer({})


def _is_true(text: str | None) -> bool:
    return (text or "").lower() in ("true", "1")


def _is_private(content: dict[str, Any], before: bool = False) -> bool:
    if "visibility" in content:
        return bool(content["visibility"] != "public")
    return bool(content.get("private", before))


def _content(content: bytes, named: dict[str, str], asked: Asked) -> Answer:
    """Return a file, or the one range of it that was asked for."""
    named = {**named, "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", asked.headers.get("Range", ""))
    if not found or found[0] == "bytes=-":
        return Answer(content, 200, named)
    first, last = int(found[1] or 0), min(int(found[2] or len(content)), len(content) - 1)
    if not found[1]:  # so many of the last bytes
        first, last = max(0, len(content) - int(found[2])), len(content) - 1
    if first > last:
        return Answer(b"", 416, {"Content-Range": f"bytes */{len(content)}"})
    return Answer(content[first : last + 1], 206, {**named, "Content-Range": f"bytes {first}-{last}/{len(content)}"})


class _Server(ThreadingHTTPServer):
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay quiet: a client that hung up has an error of its own."""


class _Handler(BaseHTTPRequestHandler):
    hub: LocalHub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for a sign of life from the client

    def log_message(self, *arguments: object) -> None:
        pass

    def _handle(self) -> None:
        path, uploads = urlsplit(self.path).path, self.command in ("POST", "PUT")
        with self.hub.lock:
            self.hub.requests.append((self.command, path))
            drops = [d for d in self.hub.drops if d.times and d.method == self.command and d.path_part in path]
            drop = drops[0] if drops else None
            if drop:
                drop.times -= 1
        body = self._body(drop.after_bytes if drop and uploads else None)
        if not (drop and uploads):
            self._send(self._answer(body), drop.after_bytes if drop else None)
        if drop:
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(2)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _handle

    def _answer(self, body: bytes) -> Answer:
        try:
            with self.hub.lock:
                return self.hub.answer(self.command, self.path, self.headers, body)
        except Refusal as refusal:
            return Answer({"error": str(refusal)}, refusal.status, refusal.headers)
        except Exception as error:  # a mistake of the test Hub or of the request: the client shows it
            return Answer({"error": f"The test Hub failed: {type(error).__name__}: {error}"}, 400)

    def _send(self, answer: Answer, most: int | None) -> None:
        headers, content = answer.headers or {}, answer.body
        if not isinstance(content, bytes):
            headers, content = {"Content-Type": "application/json", **headers}, json.dumps(content).encode()
        self.send_response(answer.status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value.replace("\n", " "))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[:most])

    def _body(self, most: int | None) -> bytes:
        """Read what was sent, or its first bytes: its length is said once, or before each piece."""
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            length = int(self.headers.get("Content-Length", 0))
            return self.rfile.read(length if most is None else min(most, length))
        body = b""
        while (most is None or len(body) < most) and (length := int(self.rfile.readline().split(b";")[0], 16)):
            body += self.rfile.read(length)
            self.rfile.readline()
        if most is None:
            self.rfile.readline()
        return body
