"""Serve a model folder on this machine as an Inference Endpoint would, for curl, programs and a browser.

python -m brainbert.hub_upload.serve model --port 8080
curl -X POST --data-binary @voltage.npy -H 'Content-Type: application/octet-stream' 'localhost:8080/?sampling_rate=2048'
"""

import argparse
import json
import logging
from importlib import resources
from pathlib import Path
from typing import Any

import uvicorn
from anyio import CapacityLimiter, fail_after, to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from brainbert.processing.program import HelpFormatter, run

from .handler import MAX_BYTES, EndpointHandler, RefusedInput

MAX_JSON_BYTES = 16 * 2**20  # numbers in Python take ten times their text
MAX_BRACKETS = 2000  # lists and objects in JSON, which take twenty times theirs: voltage and statistics of 512 contacts
WAITING = 16  # requests, arriving or arrived, while one is computed; more are sent away
ARRIVING_S = 60.0  # seconds that a request may take to arrive
# The Hub's endpoints hand over the bytes of audio, whatever they are, and refuse application/octet-stream.
JSON, BYTES = "application/json", ("application/octet-stream", "application/x-npy", "application/zip", "audio/x-audio")

logger = logging.getLogger(__name__)


def application(folder: Path | str) -> Starlette:
    """Return the web application of a model folder: POST / answers, GET / is a page to try it, GET /health says ok."""
    handler = EndpointHandler(str(folder))
    page = resources.files(__package__).joinpath("serve.html").read_text(encoding="utf-8")
    one_at_a_time, present = CapacityLimiter(1), 0

    async def answer(request: Request) -> Response:
        nonlocal present
        if present > WAITING:
            raise HTTPException(503, "The endpoint is busy: try again in some seconds.", {"Retry-After": "5"})
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != JSON and kind not in BYTES:
            raise HTTPException(415, f"The content type is none that is read: use {JSON} or {BYTES[0]}.")
        present += 1
        try:
            body = await _body(request, MAX_JSON_BYTES if kind == JSON else MAX_BYTES)
            # JSON is parsed there, too: one at a time, because what comes of it is much larger than its text.
            return await to_thread.run_sync(computed, kind, body, dict(request.query_params), limiter=one_at_a_time)
        finally:
            present -= 1

    def computed(kind: str, body: bytes, query: dict[str, str]) -> Response:
        data: dict[str, Any] = {"inputs": body} if kind != JSON else _parsed(body)
        if query and isinstance(parameters := data.get("parameters") or {}, dict):
            data["parameters"] = {**query, **parameters}
        try:
            return JSONResponse(handler.answer(data))
        except RefusedInput as error:  # not raised further: with its traceback the body would stay in memory
            return JSONResponse({"error": str(error)}, 400)

    async def show(_: Request) -> Response:
        return HTMLResponse(page)

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    return Starlette(
        routes=[
            Route("/", answer, methods=["POST"]),
            Route("/", show, methods=["GET"]),
            Route("/health", health, methods=["GET"]),
        ],
        exception_handlers={HTTPException: _refused, Exception: _failed},
    )


async def _body(request: Request, limit: int) -> bytes:
    """Return the body, of which no more than `limit` bytes are kept."""
    too_large = HTTPException(413, f"The request is larger than {limit:,} bytes: send a shorter stretch.")
    if (length := request.headers.get("content-length", "")).isdecimal() and int(length[:20]) > limit:
        raise too_large
    body = bytearray()
    try:
        with fail_after(ARRIVING_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise too_large
    except TimeoutError:
        raise HTTPException(408, f"The request took longer than {ARRIVING_S:g} s to arrive: send less.") from None
    except ClientDisconnect:
        raise HTTPException(400, "The request broke off.") from None
    return bytes(body)


def _parsed(body: bytes) -> dict[str, Any]:
    if body.count(b"[") + body.count(b"{") > MAX_BRACKETS:
        raise HTTPException(400, f"The JSON holds over {MAX_BRACKETS:,} lists: give voltage as (contacts, samples).")
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise HTTPException(400, "The body is no JSON: send an object with inputs and parameters.") from None
    if not isinstance(data, dict):
        raise HTTPException(400, "The body is no JSON object: send one with inputs and parameters.")
    return data


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)


async def _failed(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": "The request failed for a reason of ours: the server's log has it."}, 500)


def main() -> None:
    args = parse_arguments()
    if not (args.folder / "config.json").is_file():
        raise ValueError(f"{args.folder} holds no config.json and is no model folder: give a folder such as run/model.")
    served = application(args.folder)
    print(f"Serving {args.folder} at http://{args.host}:{args.port}; Ctrl-C ends it.", flush=True)
    uvicorn.run(served, host=args.host, port=args.port, log_level="warning", timeout_keep_alive=5, limit_concurrency=64)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=HelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="of a model, whose own code is run")
    parser.add_argument("--port", type=int, default=8080, help="to listen on")
    parser.add_argument("--host", default="127.0.0.1", help="to listen on; 0.0.0.0 lets other machines in, unprotected")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
