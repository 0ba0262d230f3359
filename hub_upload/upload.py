"""Bring planned files to the Hub in one commit, and say in a sentence what happened when that does not succeed.

Large files are sent before the commit and show nowhere without it: until the Hub has taken the commit, a repository
is as it was.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from huggingface_hub import CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile

from .planned_files import PlannedFile, addition, refuse_changed
from .publishable_files import Kind

_AGAIN = "run the same command again"


def upload(
    files: Sequence[PlannedFile],
    repository: str,
    *,
    kind: Kind,
    private: bool,
    tag: str | None,
    message: str,
    mirror: bool,
    endpoint: str | None,
    token: str | None,
) -> str:
    """Create the repository if there is none, add all files in one commit, look at it, tag it, and return its URL.

    private: of a new repository; that of an existing one is not changed. tag: refused when it exists, before anything
    is sent. mirror: the same commit deletes what is there and not among `files`.
    Raises ValueError: not logged in, no right to write, a repository or a file that changed meanwhile, a connection
    lost; the sentence says in which state the repository is.
    """
    hub = _Repository(HfApi(endpoint=endpoint, token=token), repository, kind)
    additions = [addition(file) for file in files]
    with hub.failures():
        hub.api.whoami()
        hub.open(private=private, tag=tag)
    with hub.failures():
        # First the large files, then another look at all of them, so that what is committed is what was looked at.
        hub.api.preupload_lfs_files(repository, additions, repo_type=kind)
        refuse_changed(list(files))
        deletions = [CommitOperationDelete(path) for path in hub.paths_beside(files)] if mirror else []
    try:
        with hub.failures():
            commit = hub.api.create_commit(
                repository,
                [*additions, *deletions],
                commit_message=message,
                repo_type=kind,
                parent_commit=hub.before,
                revision="main",
            )
            sha = commit.oid
    except ValueError as error:
        # The answer may be lost although the commit was made.
        if not (sha := hub.own_commit(files)):
            raise ValueError(" ".join(str(error).split())) from error
    with hub.failures(f"the commit {sha[:8]} is made and whole, but was not looked at; {_AGAIN} to do so"):
        if differences := hub.differences(files, sha):
            raise ValueError(f"The Hub's copy of {differences[0]} is not the file that was sent: {_AGAIN}.")
    if tag:
        with hub.failures(f"the commit {sha[:8]} is made and whole, only the tag {tag} is missing; {_AGAIN} to set it"):
            hub.api.create_tag(repository, tag=tag, revision=sha, repo_type=kind)
    return f"{hub.api.endpoint}/{'' if kind == 'model' else f'{kind}s/'}{repository}/commit/{sha}"


class _Repository:
    """A repository, as it was before, and what may be said of it after a failure."""

    def __init__(self, api: HfApi, name: str, kind: Kind):
        self.api, self.name, self.kind = api, name, kind
        self.before: str | None = None
        self.created = False

    def open(self, *, private: bool, tag: str | None) -> None:
        try:
            info: Any = self.api.repo_info(self.name, repo_type=self.kind)
        except RepositoryNotFoundError:
            self.api.create_repo(
                self.name,
                repo_type=self.kind,
                private=private,
                exist_ok=True,
                space_sdk="gradio" if self.kind == "space" else None,
            )
            self.created = True
            info = self.api.repo_info(self.name, repo_type=self.kind)
        if bool(info.private) != private:
            now, asked = ("private", "public") if info.private else ("public", "private")
            print(
                f"{self.name} is {now}, not {asked}, and stays so: change that in its settings on the Hub.",
                file=sys.stderr,
            )
        self.before = info.sha
        refs = self.api.list_repo_refs(self.name, repo_type=self.kind)
        if tag in {ref.name for ref in [*refs.tags, *refs.branches]}:
            raise ValueError(f"{self.name} has a tag or branch {tag} already: give another --tag; nothing was sent.")

    def paths_beside(self, files: Sequence[PlannedFile]) -> list[str]:
        planned = {file.path for file in files} | {".gitattributes"}  # which says what is LFS
        return sorted(path for path in self._entries("main") if path not in planned)

    def differences(self, files: Sequence[PlannedFile], sha: str) -> list[str]:
        """Return the paths whose content at `sha` is not what was planned."""
        there = self._entries(sha)
        return [file.path for file in files if not _same(file, there.get(file.path))]

    def own_commit(self, files: Sequence[PlannedFile]) -> str | None:
        """Return the last commit if it follows what was there and holds the files, or None."""
        try:
            commits = self.api.list_repo_commits(self.name, repo_type=self.kind)
            follows = len(commits) > 1 and commits[1].commit_id == self.before
            sha = commits[0].commit_id
            return sha if follows and not self.differences(files, sha) else None
        except Exception as error:
            if not _is_of_hub(error):
                raise
            return None

    @contextmanager
    def failures(self, state: str | None = None) -> Iterator[None]:
        """Turn what the client raises into one sentence, and one on the state of the repository: `state`, or asked."""
        try:
            yield
        except Exception as error:
            if not _is_of_hub(error):
                raise
            raise ValueError(f"{self._reason(error)}; {state or self._state()}.") from error

    def _reason(self, error: Exception) -> str:
        if isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception):
            return self._reason(error.__cause__)  # while a large file was sent
        if isinstance(error, LocalTokenNotFoundError):
            return "You are not logged in to the Hub: run hf auth login, or set HF_TOKEN to a token that may write"
        if not isinstance(error, HfHubHTTPError):
            return f"The connection to {self.api.endpoint} failed ({type(error).__name__})"
        status = error.response.status_code
        said = " ".join((error.server_message or "").split())
        return {
            401: "The Hub does not accept the token (401): run hf auth login again, or set HF_TOKEN to another",
            403: f"The token may not write to {self.name} (403): use one with write access to it",
            404: f"The Hub has no {self.kind} {self.name} that this token can see (404): check name, --kind and token",
            409: f"{self.name} is being changed by somebody else (409): look at it first",
            412: f"{self.name} was changed by somebody else meanwhile (412): look at it first",
            429: "The Hub asks for patience (429): wait some minutes",
        }.get(status, f"The Hub answered {status}{f' ({said})' if said else ''}")

    def _state(self) -> str:
        if self.before is None:
            return f"nothing was sent{f', but {self.name} was created and is empty' if self.created else ''}"
        try:
            info: Any = self.api.repo_info(self.name, repo_type=self.kind)
        except Exception as error:
            if not _is_of_hub(error):
                raise
            return f"whether {self.name} was changed could not be asked: look at it, then {_AGAIN}"
        if info.sha != self.before:
            return f"{self.name} has another commit, {info.sha[:8]}: look at it, then {_AGAIN}"
        return f"{self.name} {'was created and is empty' if self.created else 'is as it was'}: {_AGAIN}"

    def _entries(self, revision: str) -> dict[str, RepoFile]:
        tree = self.api.list_repo_tree(self.name, recursive=True, revision=revision, repo_type=self.kind)
        return {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}


def _same(file: PlannedFile, entry: RepoFile | None) -> bool:
    if entry is None or entry.size != file.size:
        return False
    return entry.lfs.sha256 == file.sha256 if entry.lfs else entry.blob_id == file.git_sha1


def _is_of_hub(error: Exception) -> bool:
    """Tell whether the client or its transport, httpx under one name or another, raised it."""
    http_error = HfHubHTTPError.__bases__[0]
    if isinstance(error, RuntimeError):  # of the threads that send large files
        return isinstance(error.__cause__, Exception) and _is_of_hub(error.__cause__)
    return isinstance(error, (http_error, LocalTokenNotFoundError, ConnectionError, TimeoutError))
