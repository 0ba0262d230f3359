"""What may be uploaded to the page, under which names it is kept, and how long."""

import os
import time
from pathlib import Path

import pytest

from brainbert.hub_upload.space import session as sessions_module
from brainbert.hub_upload.space import uploads
from brainbert.hub_upload.space.refusal import Refusal
from brainbert.hub_upload.space.session import Sessions


@pytest.fixture
def place(tmp_path):
    (tmp_path / "uploads").mkdir()
    return tmp_path


def put(place: Path, name: str, content: bytes = b"x") -> Path:
    path = place / "uploads" / name
    path.write_bytes(content)
    return path


def take(place: Path, *paths: Path) -> Path:
    return uploads.take(paths, place / "mine", uploaded_to=place / "uploads")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\data\\night 1.edf", "night 1.edf"),
        (".hidden.edf", "hidden.edf"),
        ("a\x00b\n<script>.edf", "a_b__script_.edf"),
        ("Müller.edf", "Müller.edf"),
        ("...", "unnamed"),
        (f"{'n' * 300}.edf", f"{'n' * 116}.edf"),
    ],
)
def test_a_name_is_reduced_to_its_last_part_without_anything_special(given, kept):
    assert uploads.safe_name(given) == kept


def test_an_upload_is_taken_to_a_folder_of_its_own_and_stays_for_another_visitor_with_the_same_file(place):
    path = put(place, "night.edf", b"content")
    for folder in ("mine", "yours"):
        taken = uploads.take([path], place / folder, uploaded_to=place / "uploads")
        assert path.exists()
        assert taken == place / folder / "night.edf"
    path.unlink()
    assert taken.read_bytes() == b"content"


def test_an_upload_is_removed_later_but_not_another_of_the_same_name(place):
    sessions = Sessions()
    try:
        first, second = put(place, "a.edf"), put(place, "b.edf")
        timers = [sessions.forget(first), sessions.forget(second)]
        second.rename(place / "b.edf")
        put(place, "b.edf", b"of another visitor")
        for timer in timers:
            timer.cancel()
            timer.function()
        assert not first.exists()
        assert second.exists()
    finally:
        sessions.close()


def test_the_header_is_the_recording_among_the_files_of_brainvision(place):
    assert take(place, *(put(place, name) for name in ("a.eeg", "a.vmrk", "a.vhdr"))).name == "a.vhdr"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["night.txt"], "no recording that is read here"),
        (["night.nwb"], ".nwb files are not taken here"),
        (["model.pkl"], ".pkl files are not taken here"),
        (["a.eeg", "a.vmrk"], "add its .vhdr file"),
        (["a.edf", "b.edf"], "upload one at a time"),
        (["a.edf", "b.eeg"], "does not belong to a.edf"),
        (["a.edf", "A.edf"], "the same name"),
    ],
)
def test_other_files_are_refused_and_stay_where_they_are(place, names, said):
    paths = [put(place, name) for name in names]
    with pytest.raises(Refusal, match=said):
        take(place, *paths)
    assert all(path.exists() for path in paths)


def test_an_empty_file_is_refused(place):
    with pytest.raises(Refusal, match=r"night.edf is empty"):
        take(place, put(place, "night.edf", b""))


def test_files_that_are_too_large_together_are_refused(place, monkeypatch):
    monkeypatch.setattr(uploads, "MAX_UPLOAD_BYTES", 2**20)
    with pytest.raises(Refusal, match="The upload has 2 MB and at most 1 are taken"):
        take(place, put(place, "a.vhdr", b"x" * 2**20), put(place, "a.eeg", b"x" * 2**20))


def test_paths_that_lead_out_of_the_uploads_are_refused(place):
    secret = place / "secret.edf"
    secret.write_bytes(b"secret")
    link = place / "uploads" / "link.edf"
    link.symlink_to(secret)
    inside_linked = place / "uploads" / "folder"
    inside_linked.symlink_to(place)
    for path in (secret, link, inside_linked / "secret.edf", place / "uploads" / ".." / "secret.edf", Path("/etc")):
        with pytest.raises(Refusal, match="no file that you uploaded"):
            take(place, path)
    assert secret.read_bytes() == b"secret"


def test_recordings_are_removed_after_an_hour_and_when_there_are_many(monkeypatch):
    monkeypatch.setattr(sessions_module, "MAX_SESSIONS", 3)
    sessions = Sessions()
    try:
        old = sessions.new()
        os.utime(old, (time.time() - 3700,) * 2)
        folders = []
        for age in (30, 20, 10):
            folders.append(sessions.new())
            os.utime(folders[-1], (time.time() - age,) * 2)
        assert not old.exists()
        sessions.new()
        assert [folder.exists() for folder in folders] == [False, True, True]
    finally:
        sessions.close()
    assert not sessions.root.exists()


def test_only_folders_of_its_own_are_removed(tmp_path):
    sessions = Sessions()
    try:
        sessions.remove(tmp_path)
        assert tmp_path.exists()
    finally:
        sessions.close()


def test_a_recording_goes_when_its_visitor_closes_the_page():
    sessions = Sessions()
    try:
        mine, yours = sessions.new(), sessions.new()
        sessions.belongs(mine, visitor="me")
        sessions.belongs(yours, visitor="you")
        sessions.leave("me")
        sessions.leave("nobody")
        assert [folder.exists() for folder in (mine, yours)] == [False, True]
    finally:
        sessions.close()
