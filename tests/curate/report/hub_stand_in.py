"""A local stand-in for the hub: what creating a repository, a commit of plain files and the validation of cards need of it."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml

from curate.report.about import LICENCES
from curate.report.card import SIZES


class Hub:
    """What was sent."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.created: list[dict[str, Any]] = []
        self.commits = 0
        self.refuse = False
        self.url = ""


def card_problem(content: str) -> str:
    """What the hub says of a card's front matter; '' where it is well."""
    if not content.startswith("---\n"):
        return "no front matter"
    found = yaml.safe_load(content.split("---\n")[1])
    if found.get("license", "other") not in LICENCES:
        return "license is not one of the known ones"
    if any(size not in {*(name for _, name in SIZES), "n>1T"} for size in found.get("size_categories", [])):
        return "size_categories"
    bad = [c for c in found.get("language", []) if not (isinstance(c, str) and 2 <= len(c) <= 3)]
    return f"language {bad}" if bad else ""


@contextmanager
def hub() -> Iterator[Hub]:
    state = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, answer = _answer(state, self.path, body)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _answer(state: Hub, path: str, body: bytes) -> tuple[int, Any]:
    if state.refuse:
        return 403, {"error": "Forbidden: this token may not write"}
    if path == "/api/validate-yaml":
        problem = card_problem(json.loads(body)["content"])
        return (400, {"error": problem}) if problem else (200, {"errors": [], "warnings": []})
    if path == "/api/repos/create":
        state.created.append(json.loads(body))
        return 200, {"url": f"{state.url}/datasets/someone/case", "name": "someone/case", "id": "1"}
    if "/preupload/" in path:
        files = json.loads(body)["files"]
        return 200, {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]}
    if "/commit/" in path:
        for line in body.splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                state.files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
        state.commits += 1
        return 200, {"commitUrl": f"{state.url}/datasets/someone/case/commit/{'0' * 40}", "commitOid": "0" * 40, "hookOutput": ""}
    return 404, {"error": path}
