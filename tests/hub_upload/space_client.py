"""Speak to the page's server as any program can, without a browser."""

import json
from typing import Any

import httpx


class SpaceClient:
    """A caller who knows the protocol of Gradio's queue."""

    def __init__(self, address: str) -> None:
        self.http = httpx.Client(base_url=address, timeout=60)
        self.config: dict[str, Any] = self.http.get("/config").json()

    def event(self, kind: str) -> dict[str, Any]:
        """Return the first event of this kind, such as "upload"."""
        return next(each for each in self.config["dependencies"] if each["targets"][0][1] == kind)

    def upload(self, **files: bytes) -> list[str]:
        """Upload name → content (a dot is written as __), and return the paths that the server says."""
        return self.upload_named({name.replace("__", "."): content for name, content in files.items()})

    def upload_named(self, files: dict[str, bytes]) -> list[str]:
        """Upload file name → content, and return the paths that the server says."""
        reply = self.http.post("/gradio_api/upload", files=[("files", each) for each in files.items()])
        reply.raise_for_status()
        paths: list[str] = reply.json()
        return paths

    def send(self, paths: list[str], *, session: str = "caller", line: int = 0, reference: str = "none") -> str:
        """Hand paths to the page's upload event as the browser would; return all that the server answers."""
        files = [{"path": path, "orig_name": path, "meta": {"_type": "gradio.FileData"}} for path in paths]
        return self.call(self.event("upload"), [files, None, None, "", "", line, reference], session=session)

    def call(self, event: dict[str, Any], data: list[Any], *, session: str = "caller") -> str:
        """Join the queue with an event, and return the answer's last message as text."""
        body = {"fn_index": event["id"], "data": data, "session_hash": session, "trigger_id": event["targets"][0][0]}
        self.http.post("/gradio_api/queue/join", json=body).raise_for_status()
        with self.http.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as stream:
            for line in stream.iter_lines():
                if line.startswith("data:"):
                    message = json.loads(line[5:])
                    if message["msg"] == "process_completed":
                        return json.dumps(message, ensure_ascii=False)
        raise AssertionError("The server ended its answer early.")
