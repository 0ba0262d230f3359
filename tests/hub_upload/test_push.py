"""A push is looked at first, then one whole commit, or nothing."""

import hashlib
import socket
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import CommitOperationAdd, HfApi
from safetensors.torch import save_file
from test_publishable import write_model, write_shards

from brainbert.hub_upload import planned_files, push, upload

# argv: folder. Publishes shards by the program and reads them back as anybody would.
PUBLISH_AND_STREAM = r"""
import sys
from brainbert.hub_upload import push

sys.argv = ["push", sys.argv[1], "lab/clips", "--kind", "dataset", "--tag", "v1.0", "--upload"]
push.main()

import datasets
clips = datasets.load_dataset("lab/clips", revision="v1.0", split="train", streaming=True)
print("streamed", sorted(clip["start"] for clip in clips))
"""


@pytest.fixture
def model(tmp_path) -> Path:
    return write_model(tmp_path / "model")


@pytest.fixture
def api(hub) -> HfApi:
    return HfApi(endpoint=hub.url, token=hub.token)


@pytest.fixture
def send(hub, monkeypatch):
    """push() to this Hub, without the seconds that the client waits before it tries again."""
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)

    def send(folder, repository, **settings):
        return push.push(
            folder, repository, **{"endpoint": hub.url, "token": hub.token, "with_handler": False, **settings}
        )

    yield send
    hub.drops.clear()


def run_program(monkeypatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["push", *map(str, arguments)])
    push.main()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def without_rules(repository) -> dict[str, bytes]:
    return {path: content for path, content in repository.files.items() if path != ".gitattributes"}


def last_title(repository) -> str:
    return repository.commits[repository.branches["main"]].title


def test_a_dry_run_touches_no_network_and_shows_every_file_and_the_card(model, monkeypatch, capsys):
    def refuse(*arguments, **settings):
        raise AssertionError("the network was touched")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    run_program(monkeypatch, model, "lab/tiny", "--tag", "v1.0", "--no-endpoint")
    shown = capsys.readouterr().out
    for path, content in contents(model).items():
        line = next(line for line in shown.splitlines() if line.startswith(f"{path} "))
        assert line.split()[1:3] == [f"{len(content):,}", hashlib.sha256(content).hexdigest()[:12]]
    assert "(model, private if it is new, tag v1.0)" in shown
    assert "license: cc-by-4.0" in shown
    assert "# Tiny" in shown
    assert "Problems: none." in shown
    assert f"push {model} lab/tiny --tag v1.0 --no-endpoint --upload" in shown


def test_a_dry_run_lists_the_problems_and_fails(model, monkeypatch, capsys):
    (model / "optimizer.pt").write_bytes(b"")
    with pytest.raises(ValueError, match=r"^1 problem to solve before this can be uploaded\.$"):
        run_program(monkeypatch, model, "lab/tiny", "--no-endpoint", "--upload")
    assert "- optimizer.pt is a pickle" in capsys.readouterr().out


def test_a_dry_run_shows_names_that_are_not_pseudonyms_but_not_forbidden_ones(tmp_path, monkeypatch, capsys):
    shards = write_shards(tmp_path / "shards", recording="night-one")
    run_program(monkeypatch, shards, "lab/clips", "--kind", "dataset")
    assert "not pseudonyms, as recording: night-one." in capsys.readouterr().out
    (tmp_path / "names.txt").write_text("Night One\n")
    with pytest.raises(ValueError, match="to solve"):
        run_program(monkeypatch, shards, "lab/clips", "--kind", "dataset", "--forbid", tmp_path / "names.txt")
    shown = capsys.readouterr().out
    assert "line 1 of the forbidden list" in shown
    assert "night" not in shown.replace(str(tmp_path), "").lower()


def test_the_list_of_forbidden_names_is_not_published_itself(model, monkeypatch):
    (model / "names.txt").write_text("Doe\n")
    with pytest.raises(ValueError, match=r"names\.txt lies in the folder that is published: move it out"):
        run_program(monkeypatch, model, "lab/tiny", "--forbid", model / "names.txt")


@pytest.mark.parametrize(
    ("repository", "tag"), [("tiny", None), ("lab/a b", None), ("lab/tiny", "main"), ("a/b", "v 1")]
)
def test_names_that_the_hub_cannot_have_are_refused(model, send, hub, repository, tag):
    before = len(hub.requests)
    with pytest.raises(ValueError, match=r"is not a name on the Hub|The tag '.*' is none"):
        send(model, repository, tag=tag)
    assert len(hub.requests) == before


def test_a_push_is_one_commit_in_a_private_repository_with_a_tag(model, send, hub):
    url = send(model, "lab/one", tag="v1.0")
    repository = hub.repositories["model", "lab/one"]
    assert without_rules(repository) == contents(model)
    assert repository.private
    assert len(repository.commits) == 2
    assert last_title(repository) == "Publish v1.0"
    assert repository.tags == {"v1.0": repository.branches["main"]}
    assert url == f"{hub.url}/lab/one/commit/{repository.branches['main']}"


def test_the_handler_of_endpoints_goes_with_a_model_that_has_none(model, send, hub, tmp_path, monkeypatch):
    monkeypatch.setattr(planned_files, "HANDLER", tmp_path / "handler.py")
    (tmp_path / "handler.py").write_text("class EndpointHandler: ...\n")
    send(model, "lab/handled", with_handler=True)
    assert hub.repositories["model", "lab/handled"].files["handler.py"] == b"class EndpointHandler: ...\n"
    (model / "handler.py").write_text("class EndpointHandler: own = True\n")
    send(model, "lab/handled", with_handler=True)
    assert hub.repositories["model", "lab/handled"].files["handler.py"] == b"class EndpointHandler: own = True\n"


def test_nothing_is_sent_while_there_is_a_problem(model, send, hub):
    (model / "README.md").write_text("# Tiny\n")
    before = len(hub.requests)
    with pytest.raises(ValueError, match="no licence of the weights"):
        send(model, "lab/refused")
    assert len(hub.requests) == before


def test_an_existing_tag_is_refused_before_anything_is_sent(model, send, hub):
    send(model, "lab/tagged", tag="v1.0")
    (model / "README.md").write_text((model / "README.md").read_text() + "More.\n")
    before = len(hub.requests)
    with pytest.raises(ValueError, match=r"lab/tagged has a tag or branch v1\.0 already: give another --tag"):
        send(model, "lab/tagged", tag="v1.0")
    assert {method for method, _ in hub.requests[before:]} == {"GET"}


def test_the_visibility_of_an_existing_repository_is_not_changed_but_said(model, send, hub, api, capsys):
    api.create_repo("lab/open", private=False)
    send(model, "lab/open")
    assert not hub.repositories["model", "lab/open"].private
    assert "lab/open is public, not private, and stays so" in capsys.readouterr().err


def test_files_beside_stay_unless_the_folder_is_mirrored(model, send, hub, api):
    send(model, "lab/beside")
    api.create_commit("lab/beside", [CommitOperationAdd("old.md", b"old")], commit_message="By hand")
    send(model, "lab/beside")
    repository = hub.repositories["model", "lab/beside"]
    assert set(without_rules(repository)) == {*contents(model), "old.md"}
    assert len(repository.commits) == 3
    send(model, "lab/beside", mirror=True)
    assert without_rules(repository) == contents(model)
    assert len(repository.commits) == 4


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/preupload/"), ("PUT", "/stored/"), ("POST", "/commit/"), ("POST", "lfs/objects/batch")],
)
def test_a_push_that_is_cut_off_leaves_the_repository_as_it_was_and_can_be_repeated(
    model, send, hub, api, method, path
):
    name = f"lab/cut{path.strip('/').replace('/', '-')}"
    first = api.create_repo(name, private=True) and api.repo_info(name).sha
    save_file({"a": torch.full((100,), float(len(path)))}, model / "model.safetensors")  # not among what is stored
    hub.drop_connection(method, path, after_bytes=10, times=20)
    with pytest.raises(ValueError, match=rf"^The connection to .* failed \(.*\); {name} is as it was: run the same"):
        send(model, name, tag="v1")
    repository = hub.repositories["model", name]
    assert list(repository.commits) == [first]
    assert not repository.tags
    hub.drops.clear()
    send(model, name, tag="v1")
    assert without_rules(repository) == contents(model)
    assert len(repository.commits) == 2
    assert repository.tags == {"v1": repository.branches["main"]}


def test_a_repository_that_was_created_for_nothing_is_said_to_be_empty(model, send, hub):
    hub.drop_connection("POST", "/commit/", times=20)
    with pytest.raises(ValueError, match="lab/fresh was created and is empty: run the same command again"):
        send(model, "lab/fresh")


def test_a_tag_that_was_cut_off_is_set_by_the_same_command(model, send, hub):
    hub.drop_connection("POST", "/tag/", times=20)
    with pytest.raises(ValueError, match=r"is made and whole, only the tag v1 is missing; run the same command again"):
        send(model, "lab/untagged", tag="v1")
    hub.drops.clear()
    send(model, "lab/untagged", tag="v1")
    repository = hub.repositories["model", "lab/untagged"]
    assert len(repository.commits) == 2
    assert repository.tags == {"v1": repository.branches["main"]}


def test_a_commit_whose_answer_was_lost_counts(model, send, hub, monkeypatch):
    create_commit = HfApi.create_commit

    def lose_the_answer(*arguments, **settings):
        create_commit(*arguments, **settings)
        raise ConnectionError("reset by peer")

    monkeypatch.setattr(HfApi, "create_commit", lose_the_answer)
    send(model, "lab/lost", tag="v1")
    repository = hub.repositories["model", "lab/lost"]
    assert len(repository.commits) == 2
    assert repository.tags == {"v1": repository.branches["main"]}


def test_a_change_by_somebody_else_meanwhile_is_not_overwritten(model, send, hub, api, monkeypatch):
    send(model, "lab/shared")
    preupload = HfApi.preupload_lfs_files

    def change_meanwhile(*arguments, **settings):
        monkeypatch.undo()
        api.create_commit("lab/shared", [CommitOperationAdd("README.md", b"theirs")], commit_message="Theirs")
        return preupload(*arguments, **settings)

    monkeypatch.setattr(HfApi, "preupload_lfs_files", change_meanwhile)
    (model / "README.md").write_text((model / "README.md").read_text() + "Ours.\n")
    with pytest.raises(ValueError, match=r"lab/shared was changed by somebody else meanwhile \(412\)"):
        send(model, "lab/shared")
    repository = hub.repositories["model", "lab/shared"]
    assert last_title(repository) == "Theirs"
    assert repository.files["README.md"] == b"theirs"


def test_a_file_that_changes_meanwhile_is_not_published(model, send, hub, api, monkeypatch):
    first = api.create_repo("lab/changing") and api.repo_info("lab/changing").sha
    preupload = HfApi.preupload_lfs_files

    def change_meanwhile(*arguments, **settings):
        preupload(*arguments, **settings)
        (model / "README.md").write_text("nothing checked this")

    monkeypatch.setattr(HfApi, "preupload_lfs_files", change_meanwhile)
    with pytest.raises(ValueError, match=r"^README\.md changed while it was read"):
        send(model, "lab/changing")
    assert hub.repositories["model", "lab/changing"].branches["main"] == first


def test_a_copy_that_differs_on_the_hub_is_noticed(model, send, monkeypatch):
    same = upload._same
    monkeypatch.setattr(upload, "_same", lambda file, entry: file.path != "config.json" and same(file, entry))
    with pytest.raises(ValueError, match=r"The Hub's copy of config\.json is not the file that was sent"):
        send(model, "lab/differs")


@pytest.mark.parametrize(
    ("token", "repository", "said"),
    [
        ("hf_wrong", "lab/no", r"does not accept the token \(401\).*; nothing was sent\.$"),
        ("hf_read", "lab/no", r"token may not write to lab/no \(403\).*; nothing was sent\.$"),
        ("hf_test", "visitor/no", r"token may not write to visitor/no \(403\).*; nothing was sent\.$"),
    ],
)
def test_tokens_that_do_not_do_are_said_in_one_sentence(model, send, token, repository, said):
    with pytest.raises(ValueError, match=said) as refused:
        send(model, repository, token=token)
    assert "\n" not in str(refused.value)


def test_without_a_login_the_way_to_one_is_said(model, send, monkeypatch):
    monkeypatch.setattr("huggingface_hub.hf_api.get_token", lambda: None)
    with pytest.raises(ValueError, match=r"not logged in to the Hub: run hf auth login.*nothing was sent"):
        send(model, "lab/no", token=None)


def test_a_hub_that_is_not_there_is_said_in_one_sentence(model, send):
    with pytest.raises(ValueError, match=r"^The connection to http://127\.0\.0\.1:9 failed \(ConnectError\)"):
        send(model, "lab/no", endpoint="http://127.0.0.1:9")


def test_a_space_is_created_for_gradio(send, hub, tmp_path):
    (tmp_path / "README.md").write_text("---\nsdk: gradio\n---\n")
    (tmp_path / "app.py").write_text("import gradio\n")
    (tmp_path / "requirements.txt").write_text("torch\n")
    assert send(tmp_path, "lab/demo", kind="space").startswith(f"{hub.url}/spaces/lab/demo/commit/")
    assert hub.repositories["space", "lab/demo"].sdk == "gradio"


def test_shards_are_published_by_the_program_and_streamed_back(hub, run_client, tmp_path):
    ended = run_client(PUBLISH_AND_STREAM, write_shards(tmp_path / "shards"))
    assert ended.returncode == 0, ended.stderr
    assert 'clips = load_dataset("lab/clips", revision="v1.0", split="train", streaming=True)' in ended.stdout
    assert f"streamed {[0, 64, 128, 192, 256, 320]}" in ended.stdout
    assert hub.repositories["dataset", "lab/clips"].private
