"""The Hub on this machine answers the Hub's own client, huggingface_hub, as the real one does."""

from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)


@pytest.fixture
def repository(api, tmp_path) -> SimpleNamespace:
    """A repository "lab/small" with one small and one large file, and their folder."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "notes.txt").write_text("first")
    (folder / "weights.bin").write_bytes(bytes(range(256)) * 4000)  # 1 MB
    api.create_repo("lab/small")
    api.upload_folder(repo_id="lab/small", folder_path=folder)
    yield SimpleNamespace(id="lab/small", folder=folder, cache=tmp_path / "cache")
    api.delete_repo("lab/small")


@pytest.fixture
def no_waiting(monkeypatch):
    """Clients wait for seconds before they try again."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)


# Repositories


def test_a_file_is_large_by_its_ending_or_by_what_is_in_it(hub, api, repository):
    (repository.folder / "figure.png").write_bytes(b"\x89PNG\0")
    api.upload_folder(repo_id=repository.id, folder_path=repository.folder)
    files = {each.rfilename: each for each in api.model_info(repository.id, files_metadata=True).siblings}
    assert {name: bool(each.lfs) for name, each in files.items()} == {
        ".gitattributes": False, "figure.png": True, "notes.txt": False, "weights.bin": True,
    }  # fmt: skip
    assert (
        files["notes.txt"].blob_id == "fe4f02ad058b43f6ed467fdf65b935107529564b"
    )  # printf first | git hash-object --stdin
    assert files["weights.bin"].size == 1_024_000


def test_a_commit_adds_and_deletes_at_once_and_older_commits_stay(api, repository):
    before = api.model_info(repository.id).sha
    operations = [
        CommitOperationAdd("figures/a.txt", b"a"),
        CommitOperationAdd("figures/deep/b.txt", b"b"),
        CommitOperationDelete("notes.txt"),
    ]
    after = api.create_commit(repository.id, operations, commit_message="one").oid
    files = {"figures/a.txt", "figures/deep/b.txt", "weights.bin", ".gitattributes"}
    assert set(api.list_repo_files(repository.id)) == files
    assert set(api.list_repo_files(repository.id, revision=before)) == {"notes.txt", "weights.bin", ".gitattributes"}
    tree = {each.path: each for each in api.list_repo_tree(repository.id, recursive=True, expand=True)}
    assert set(tree) == files | {"figures", "figures/deep"}
    assert {path: tree[path].last_commit.oid == after for path in ("figures", "figures/a.txt", "weights.bin")} == {
        "figures": True, "figures/a.txt": True, "weights.bin": False,
    }  # fmt: skip
    assert {each.path for each in api.list_repo_tree(repository.id, "figures")} == {"figures/a.txt", "figures/deep"}
    assert [each.path for each in api.get_paths_info(repository.id, ["figures", "nothing"])] == ["figures"]
    api.delete_folder("figures", repo_id=repository.id)
    assert set(api.list_repo_files(repository.id)) == {"weights.bin", ".gitattributes"}
    assert [each.title for each in api.list_repo_commits(repository.id)][1:] == [
        "one", "Upload folder using huggingface_hub", "initial commit",
    ]  # fmt: skip


def test_a_commit_on_an_older_parent_is_refused(api, repository):
    parent = api.list_repo_commits(repository.id)[-1].commit_id
    with pytest.raises(HfHubHTTPError, match="A commit has happened since"):
        api.create_commit(
            repository.id, [CommitOperationAdd("a.txt", b"a")], commit_message="late", parent_commit=parent
        )
    assert "a.txt" not in api.list_repo_files(repository.id)


def test_branches_and_tags_name_commits(api, repository):
    first = api.model_info(repository.id).sha
    api.create_tag(repository.id, tag="v1")
    api.create_branch(repository.id, branch="try/this")
    api.create_commit(repository.id, [CommitOperationAdd("a.txt", b"a")], commit_message="a", revision="try/this")
    refs = api.list_repo_refs(repository.id)
    assert {each.name: each.target_commit == first for each in refs.branches} == {"main": True, "try/this": False}
    assert [(each.name, each.target_commit) for each in refs.tags] == [("v1", first)]
    with pytest.raises(HfHubHTTPError, match="Reference v1 exists already"):
        api.create_tag(repository.id, tag="v1")
    api.delete_tag(repository.id, tag="v1")
    assert api.list_repo_refs(repository.id).tags == []


def test_information_says_what_the_card_says_and_the_kind_of_repository(api, hub):
    card = "---\nlicense: mit\ntags: [brainbert]\nmodels: [lab/original]\n---\n# Text\n"
    api.create_repo("lab/page", repo_type="space", space_sdk="gradio")
    api.upload_file(path_or_fileobj=card.encode(), path_in_repo="README.md", repo_id="lab/page", repo_type="space")
    about = api.space_info("lab/page")
    assert (about.sdk, about.models, about.tags, about.card_data.license) == (
        "gradio", ["lab/original"], ["brainbert"], "mit",
    )  # fmt: skip
    assert not about.private
    api.update_repo_settings("lab/page", repo_type="space", private=True)
    assert api.space_info("lab/page").private
    assert not api.repo_exists("lab/page")  # there is no such model


def test_a_card_with_metadata_that_the_hub_refuses_is_not_committed(api, repository):
    wrong = b"---\ntags: 3\nlicense: [mit, 5]\n---\n"
    with pytest.raises(ValueError, match=r'"tags" must be a string or a list of strings(?s:.*)"license" must be'):
        api.upload_file(path_or_fileobj=wrong, path_in_repo="README.md", repo_id=repository.id)
    with pytest.warns(UserWarning, match="empty or missing yaml metadata in repo card"):
        api.upload_file(path_or_fileobj=b"# Text", path_in_repo="README.md", repo_id=repository.id)
    assert [each.title for each in api.list_repo_commits(repository.id)] == [
        "Upload README.md with huggingface_hub", "Upload folder using huggingface_hub", "initial commit",
    ]  # fmt: skip


# Who may what


def client(hub, token):
    return HfApi(endpoint=hub.url, token=token)


def test_a_token_that_is_not_known_is_refused_everywhere(hub, repository):
    with pytest.raises(HfHubHTTPError, match="Invalid user token"):
        client(hub, "hf_bad").whoami()
    with pytest.raises(HfHubHTTPError, match="Invalid credentials in Authorization header"):
        client(hub, "hf_bad").hf_hub_download(repository.id, "notes.txt", cache_dir=repository.cache)
    with pytest.raises(HfHubHTTPError, match="Invalid credentials in Authorization header"):
        client(hub, "hf_bad").create_repo("lab/more")


@pytest.mark.parametrize(("token", "status"), [(False, 401), ("hf_other", 404)])
def test_a_private_repository_is_not_there_for_others(hub, api, repository, token, status):
    assert client(hub, token).model_info(repository.id).id == repository.id
    api.update_repo_settings(repository.id, private=True)
    with pytest.raises(RepositoryNotFoundError) as raised:
        client(hub, token).model_info(repository.id)
    assert raised.value.response.status_code == status
    with pytest.raises(RepositoryNotFoundError):
        client(hub, token).hf_hub_download(repository.id, "notes.txt", cache_dir=repository.cache)
    api.hf_hub_download(repository.id, "notes.txt", cache_dir=repository.cache)


@pytest.mark.parametrize("token", ["hf_read", "hf_other"])
def test_who_may_only_read_cannot_write(hub, api, repository, token):
    for write in (
        lambda other: other.upload_folder(repo_id=repository.id, folder_path=repository.folder),
        lambda other: other.create_tag(repository.id, tag="v2"),
        lambda other: other.delete_repo(repository.id),
        lambda other: other.create_repo("lab/more"),
    ):
        with pytest.raises(HfHubHTTPError, match="403 Forbidden"):
            write(client(hub, token))
    assert api.list_repo_refs(repository.id).tags == []


def test_what_is_missing_is_named(api, repository):
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("lab/nothing")
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("a-name-alone")
    with pytest.raises(RevisionNotFoundError):
        api.snapshot_download(repository.id, revision="v9", cache_dir=repository.cache)
    with pytest.raises(EntryNotFoundError):
        api.hf_hub_download(repository.id, "nothing.txt", cache_dir=repository.cache)
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree(repository.id, "nothing"))
    with pytest.raises(HfHubHTTPError, match="You already created this model repo"):
        api.create_repo(repository.id)
    api.create_repo(repository.id, exist_ok=True)


# Lost connections


def test_a_download_that_is_cut_off_goes_on_where_it_stopped(hub, api, repository, no_waiting):
    hub.drop_connection("GET", "/stored/", after_bytes=600_000)
    path = api.hf_hub_download(repository.id, "weights.bin", cache_dir=repository.cache)
    assert Path(path).read_bytes() == (repository.folder / "weights.bin").read_bytes()
    assert [method for method, path in hub.requests[-2:] if path.startswith("/stored/")] == ["GET", "GET"]


def test_a_download_that_fails_for_good_leaves_nothing_that_passes_for_the_file(hub, api, repository, no_waiting):
    hub.drop_connection("GET", "/stored/", after_bytes=600_000)
    hub.drop_connection("GET", "/stored/", after_bytes=0, times=6)
    with pytest.raises(httpx2.RemoteProtocolError):
        api.snapshot_download(repository.id, cache_dir=repository.cache)
    whole = (repository.folder / "weights.bin").read_bytes()
    assert not list(repository.cache.rglob("weights.bin"))
    assert max(path.stat().st_size for path in repository.cache.rglob("*") if path.is_file()) < 10_000
    folder = Path(api.snapshot_download(repository.id, cache_dir=repository.cache))  # the next one succeeds
    assert (folder / "weights.bin").read_bytes() == whole


@pytest.mark.parametrize(
    ("method", "path_part", "after_bytes"),
    [("PUT", "/stored/", 300_000), ("POST", "/preupload/", 10), ("POST", "/objects/batch", 10)],
)
def test_an_upload_that_is_cut_off_once_is_tried_again(
    hub, api, repository, no_waiting, method, path_part, after_bytes
):
    (repository.folder / "weights.bin").write_bytes(path_part.encode() * 100_000)
    hub.drop_connection(method, path_part, after_bytes=after_bytes)
    api.upload_folder(repo_id=repository.id, folder_path=repository.folder)
    assert hub.repositories["model", repository.id].files["weights.bin"] == path_part.encode() * 100_000


@pytest.mark.parametrize(
    ("method", "path_part", "after_bytes"), [("PUT", "/stored/", 300_000), ("POST", "/commit/main", 50)]
)
def test_an_upload_that_is_cut_off_for_good_leaves_the_repository_as_it_was(
    hub, api, repository, no_waiting, method, path_part, after_bytes
):
    before = hub.repositories["model", repository.id].files, api.model_info(repository.id).sha
    (repository.folder / "notes.txt").write_text("second")
    (repository.folder / "weights.bin").write_bytes(f"never {path_part}".encode() * 50_000)
    hub.drop_connection(method, path_part, after_bytes=after_bytes, times=100)
    with pytest.raises((httpx2.TransportError, RuntimeError)):
        api.upload_folder(repo_id=repository.id, folder_path=repository.folder)
    assert (hub.repositories["model", repository.id].files, api.model_info(repository.id).sha) == before
    hub.drops.clear()
    api.upload_folder(repo_id=repository.id, folder_path=repository.folder)
    assert hub.repositories["model", repository.id].files["notes.txt"] == b"second"


def test_parts_of_a_large_file_can_be_asked_for(hub, repository):
    content = (repository.folder / "weights.bin").read_bytes()
    url = f"{hub.url}/{repository.id}/resolve/main/weights.bin"
    for asked, expected in (
        ("bytes=10-19", content[10:20]),
        ("bytes=1023990-", content[-10:]),
        ("bytes=-5", content[-5:]),
    ):
        answer = httpx2.get(url, headers={"Range": asked}, follow_redirects=True)
        assert (answer.status_code, answer.content) == (206, expected)
    assert httpx2.get(url, headers={"Range": "bytes=1024000-"}, follow_redirects=True).status_code == 416
