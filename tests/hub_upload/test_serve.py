"""The endpoint on one's own machine: status, limits, and a page."""

import gc
import io
import json
import resource
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import numpy as np
import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.testclient import TestClient

import brainbert.modeling_brainbert  # noqa: F401 (the fixture has no code beside it)
from brainbert.hub_upload import serve

TINY = Path(__file__).parents[1] / "fixtures" / "tiny"
BYTES = {"Content-Type": "application/octet-stream"}
VOLTAGE = (50 * np.random.default_rng(0).standard_normal((2, 2048))).astype(np.float32)


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.fixture(scope="module")
def client():
    with TestClient(serve.application(TINY), raise_server_exceptions=False) as client:
        yield client


def test_json_and_bytes_give_the_same(client):
    by_json = client.post("/", json={"inputs": VOLTAGE.tolist(), "parameters": {"sampling_rate": 2048}})
    by_bytes = client.post("/?sampling_rate=2048", content=npy(VOLTAGE), headers=BYTES)
    assert by_json.status_code == by_bytes.status_code == 200
    np.testing.assert_allclose(by_json.json()["embeddings"], by_bytes.json()["embeddings"], atol=1e-6)


def test_the_page_needs_nothing_from_elsewhere(client):
    page = client.get("/")
    assert page.status_code == 200
    assert "//" not in page.text.replace("<!doctype", "")
    assert client.get("/health").json() == {"status": "ok"}


CASES = [
    (npy(VOLTAGE), BYTES, "?sampling_rate=2048", 200),
    (npy(VOLTAGE), BYTES, "", 400),
    (npy(VOLTAGE), BYTES, "?sampling_rate=512", 400),
    (b"", BYTES, "", 400),
    (b"hello", BYTES, "", 400),
    (b"hello", {"Content-Type": "text/plain"}, "", 415),
    (b"hello", {}, "", 415),
    (b"[" * 100_000 + b"]" * 100_000, {"Content-Type": "application/json"}, "", 400),
    (b'{"inputs": [' + b"[]," * 5000 + b"[]]}", {"Content-Type": "application/json"}, "", 400),
    (b"{", {"Content-Type": "application/json"}, "", 400),
    (b"[1]", {"Content-Type": "application/json"}, "", 400),
    (json.dumps({"inputs": "/etc/passwd"}).encode(), {"Content-Type": "application/json"}, "", 400),
    (bytes(2**16 + 1), BYTES, "", 413),
    (npy(VOLTAGE), {"Content-Type": "audio/x-audio"}, "?sampling_rate=2048", 200),  # as the Hub's endpoints take bytes
    (npy(VOLTAGE * np.nan), BYTES, "?sampling_rate=2048", 400),
    (b'{"inputs": [NaN], "parameters": {"sampling_rate": 2048}}', {"Content-Type": "application/json"}, "", 400),
    (b'{"inputs": "", "parameters": 5}', {"Content-Type": "application/json"}, "?sampling_rate=2048", 400),
    (b'{"inputs": {"\\ud800": 1}}', {"Content-Type": "application/json"}, "", 400),
    (b'{"inputs": ' + b"9" * 5000 + b"}", {"Content-Type": "application/json"}, "", 400),
]


@pytest.mark.parametrize(("content", "headers", "query", "status"), CASES)
def test_every_request_has_its_status_and_a_sentence(client, monkeypatch, content, headers, query, status):
    monkeypatch.setattr(serve, "MAX_BYTES", 2**16)
    answer = client.post(f"/{query}", content=content, headers=headers)
    assert answer.status_code == status, answer.text
    assert ("error" in answer.json()) == (status != 200)


def test_a_body_without_a_length_is_cut_off_at_the_limit(client, monkeypatch):
    monkeypatch.setattr(serve, "MAX_BYTES", 1000)
    answer = client.post("/", content=(bytes(100) for _ in range(20)), headers=BYTES)
    assert answer.status_code == 413


def test_a_request_that_does_not_arrive_is_given_up(monkeypatch):
    monkeypatch.setattr(serve, "ARRIVING_S", 0)
    request = Request({"type": "http", "headers": []}, anyio.sleep_forever)
    with pytest.raises(HTTPException, match="to arrive"):
        anyio.run(serve._body, request, 10)


def test_a_failure_of_ours_is_500_without_details(client, monkeypatch):
    def fail(*_):
        raise RuntimeError("/somewhere/secret.py")

    monkeypatch.setattr(serve.EndpointHandler, "answer", fail)
    answer = client.post("/", content=b"x", headers=BYTES)
    assert answer.status_code == 500
    assert "secret" not in answer.text


def test_two_hundred_mixed_requests_at_once_leave_it_up_and_small(client, monkeypatch):
    monkeypatch.setattr(serve, "MAX_BYTES", 2**16)
    monkeypatch.setattr(serve, "WAITING", 200)

    def send(number):
        content, headers, query, status = CASES[number % len(CASES)]
        return client.post(f"/{query}", content=content, headers=headers).status_code == status

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(send, range(len(CASES))))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert all(pool.map(send, range(200)))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 100 * 1024  # kB
    assert client.get("/health").status_code == 200


def test_who_comes_when_the_queue_is_full_is_asked_to_come_back(client, monkeypatch):
    monkeypatch.setattr(serve, "WAITING", -1)  # and one that is computed: none
    answer = client.post("/?sampling_rate=2048", content=npy(VOLTAGE), headers=BYTES)
    assert answer.status_code == 503
    assert "try again" in answer.json()["error"]


def test_nothing_of_a_refused_request_stays_in_memory(client):
    headers = [(b"content-type", b"application/octet-stream")]
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}
    statuses = []

    async def receive():
        return {"type": "http.request", "body": bytes(2**20)}

    async def send(message):
        statuses.append(message.get("status"))

    async def ten():
        for _ in range(10):
            await client.app(dict(scope), receive, send)

    gc.disable()
    tracemalloc.start()
    try:
        anyio.run(ten)
        current, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert statuses == [400, None] * 10
    assert current < 2 * 2**20  # of 10 MB
