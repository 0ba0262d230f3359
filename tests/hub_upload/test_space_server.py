"""The page's server, spoken to by a program: what a browser would never send, too."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from space_client import SpaceClient

from brainbert.hub_upload.space import uploads
from brainbert.hub_upload.space.app import serve

LIMIT = 2**20
FIXTURE = Path(__file__).parents[1] / "fixtures" / "tiny"


@pytest.fixture(scope="module")
def client():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", "")  # put back afterwards
        patch.setattr(uploads, "MAX_UPLOAD_BYTES", LIMIT)
        app, address = serve(str(FIXTURE), port=0, wait=False)
        yield SpaceClient(address)
        app.close(verbose=False)


HEADER = """Brain Vision Data Exchange Header File Version 1.0
[Common Infos]
DataFile={data}
MarkerFile={data}.vmrk
DataFormat=BINARY
DataOrientation=MULTIPLEXED
NumberOfChannels=2
SamplingInterval=500
[Binary Infos]
BinaryFormat=INT_16
[Channel Infos]
Ch1=LA1,,0.1,µV
Ch2=LA2,,0.1,µV
"""
MARKERS = b"Brain Vision Data Exchange Marker File, Version 1.0\n[Marker Infos]\n"


def recording(name: str, *, data: str | None = None) -> dict[str, bytes]:
    """Return the files of a BrainVision recording of 8 s; data: what its header says instead of its own."""
    voltage = 300 * np.random.default_rng(0).standard_normal((16000, 2))
    header = HEADER.format(data=data or f"{name}.eeg").encode()
    return {f"{name}.vhdr": header, f"{name}.eeg": voltage.astype("<i2").tobytes(), f"{name}.eeg.vmrk": MARKERS}


@pytest.fixture(scope="module")
def visits(client):
    """What two visitors who came at the same time uploaded, and were answered."""

    def visit(number: int) -> str:
        own = SpaceClient(str(client.http.base_url))
        paths = own.upload_named(recording(f"of visitor {number}"))
        return own.send(paths, session=f"visitor {number}")

    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(visit, range(2)))


def test_an_upload_becomes_pictures(visits):
    for answer in visits:
        assert "Masked reconstruction" in answer
        assert "<svg" in answer


def test_visitors_at_the_same_time_get_their_own_answers(visits):
    for number, answer in enumerate(visits):
        assert f"of visitor {number}.vhdr" in answer
        assert f"of visitor {1 - number}.vhdr" not in answer


@pytest.mark.parametrize("path", ["/etc/passwd", "../../../../etc/passwd", "file:///etc/passwd", str(FIXTURE)])
def test_a_path_that_was_not_uploaded_is_refused_without_a_word_about_paths(client, path):
    answer = client.send([path])
    assert '"success": false' in answer
    assert "passwd" not in answer
    assert os.getcwd() not in answer  # noqa: PTH109


def test_an_address_is_not_fetched(client):
    assert "Addresses are not fetched" in client.send(["http://127.0.0.1:9/x.edf"])


@pytest.mark.usefixtures("visits")
def test_the_recording_of_another_visitor_cannot_be_taken_or_fetched(client):
    theirs = [path for path in Path(os.environ["GRADIO_TEMP_DIR"]).parent.glob("session-*/*") if path.is_file()]
    assert {"conditioned.npy", "of visitor 0.eeg", "of visitor 1.eeg"} <= {path.name for path in theirs}
    for path in theirs:
        assert '"success": false' in client.send([str(path)], session="else")
        assert client.http.get(f"/gradio_api/file={path}").status_code == 403
    for path in ("/etc/passwd", str(FIXTURE / "config.json"), "http://127.0.0.1:9/x"):
        assert client.http.get(f"/gradio_api/file={path}").status_code == 403


def test_a_name_with_folders_is_kept_without_them(client):
    (path,) = client.upload_named({"../../../evil.npz": b"x"})
    assert Path(path).resolve().is_relative_to(Path(os.environ["GRADIO_TEMP_DIR"]).resolve())


def test_no_function_is_offered_to_callers(client):
    assert client.http.get("/gradio_api/info").json() == {"named_endpoints": {}, "unnamed_endpoints": {}}
    assert {each["api_visibility"] for each in client.config["dependencies"]} == {"private"}


def test_a_file_beyond_the_limit_is_refused_while_it_is_sent(client):
    with pytest.raises(httpx.HTTPStatusError, match="413"):
        client.upload_named({"big.edf": bytes(LIMIT + 1)})


def test_settings_that_the_page_does_not_have_are_refused(client):
    paths = client.upload_named({"night.npz": b"x"})
    assert "Masked reconstruction" not in client.send(paths, reference="../x")


def test_bad_files_are_a_sentence_each_and_the_page_stays_up(client):
    for files, said in (
        ({"a.txt": b"x"}, "no recording that is read here"),
        ({"a.npz": b""}, "a.npz is empty"),
        (recording("a", data="../secret.bin"), "only a bare file name beside the header is followed"),
    ):
        answer = client.send(client.upload_named(files))
        assert "bb-refusal" in answer
        assert said in answer
    assert client.http.get("/").status_code == 200
