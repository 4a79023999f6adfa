"""`gs://` through gcsfs, against a server that answers listings, metadata and ranges as the JSON API of Cloud Storage does."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

import fsspec
import pytest

from curate import registry
from curate.errors import DataError
from curate.io.remote import RemoteFile

BUCKET = "bucket"


class Storage(BaseHTTPRequestHandler):
    """One bucket. `trouble`: statuses that the next downloads are answered with."""

    protocol_version = "HTTP/1.1"
    objects: ClassVar[dict[str, bytes]] = {}
    trouble: ClassVar[list[int]] = []
    ranges: ClassVar[list[str]] = []

    def log_message(self, *_: Any) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        _, _, rest = url.path.partition("/b/")
        bucket, _, name = (unquote(part) for part in rest.partition("/o"))
        name = name.removeprefix("/")
        media = query.get("alt") == "media"
        if media and self.trouble:
            self._answer(self.trouble.pop(0), b'{"error": {"message": "try later"}}')
        elif bucket != BUCKET or (name and name not in self.objects):
            self._answer(404, b'{"error": {"code": 404, "message": "The specified bucket does not exist."}}')
        elif media:
            self._media(self.objects[name])
        elif name:
            self._answer(200, json.dumps(self._about(name)).encode())
        else:
            self._answer(200, json.dumps(self._listing(query)).encode())

    def _about(self, name: str) -> dict[str, Any]:
        content = self.objects[name]
        return {"kind": "storage#object", "name": name, "bucket": BUCKET, "size": str(len(content)), "generation": str(len(content)),
                "etag": f"e{len(content)}", "updated": "2026-01-01T00:00:00.000Z", "timeCreated": "2026-01-01T00:00:00.000Z"}  # fmt: skip

    def _listing(self, query: dict[str, str]) -> dict[str, Any]:
        """Two objects a page."""
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        below = sorted(name for name in self.objects if name.startswith(prefix))
        folders = {prefix + n[len(prefix) :].partition("/")[0] + "/" for n in below if delimiter and "/" in n[len(prefix) :]}
        names = [n for n in below if not any(n.startswith(f) for f in folders)]
        first = int(query.get("pageToken", 0))
        page: dict[str, Any] = {"kind": "storage#objects", "items": [self._about(n) for n in names[first : first + 2]]}
        return page | ({"prefixes": sorted(folders)} if folders else {}) | ({"nextPageToken": str(first + 2)} if names[first + 2 :] else {})

    def _media(self, content: bytes) -> None:
        given = self.headers["Range"] or ""
        self.ranges.append(given)
        first, _, last = given.removeprefix("bytes=").partition("-") if given else ("0", "", "")
        piece = content[int(first) : int(last) + 1 if last else None]
        self._answer(206 if given else 200, piece, {"Content-Range": f"bytes {first}-{int(first) + len(piece) - 1}/{len(content)}"})

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Storage]]:
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # what asks for the kind of a bucket over gRPC
    gcsfs = pytest.importorskip("gcsfs", minversion="2025")
    lines = [json.dumps({"text": f"{i} " + "z" * 200}) for i in range(400)]
    Storage.objects = {
        "in/a.jsonl": ("\n".join(lines) + "\n").encode(),
        "in/b.jsonl": gzip.compress("\n".join(lines[:50]).encode()),
        "in/c.jsonl": b'{"text": "last"}\n',
        "in/deep/d.jsonl": b'{"text": "below"}\n',
        "large.bin": bytes(i * 7 % 251 for i in range(3_000_000)),
    }
    Storage.trouble, Storage.ranges = [], []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Storage)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings = {"endpoint_url": f"http://127.0.0.1:{server.server_port}", "token": "anon"}
    for protocol in ("gs", "gcs"):
        monkeypatch.setitem(fsspec.config.conf, protocol, settings)
    gcsfs.GCSFileSystem.clear_instance_cache()
    yield Storage
    server.shutdown()
    server.server_close()
    gcsfs.GCSFileSystem.clear_instance_cache()


def documents(path: str, split_bytes: int = 1 << 28) -> tuple[int, list[str]]:
    """(splits, texts)."""
    reader = registry.load("readers", "jsonl")(paths=(path,))
    splits = reader.splits("/", split_bytes)
    return len(splits), [text for s in splits for rows in reader.read(s, "d") for text in rows.batch.column("text").to_pylist()]


def test_listings_splits_and_compressed_files(storage: type[Storage], tmp_path: Path) -> None:
    for name, content in storage.objects.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    for pattern in ("in/*.jsonl", "in/a.jsonl", "in/**/*.jsonl"):
        there, here = documents(f"gs://{BUCKET}/{pattern}", 20_000), documents(str(tmp_path / pattern), 20_000)
        assert there == here and there[0] > 3


def test_a_large_object_is_read_in_ranges_and_again_after_503(storage: type[Storage]) -> None:
    storage.trouble[:] = [503]
    content = storage.objects["large.bin"]
    with RemoteFile(f"gs://{BUCKET}/large.bin", block_bytes=1 << 20) as file:
        assert file.size == len(content)
        assert file.seek(2_000_000) and file.read(1000) == content[2_000_000:2_001_000]
        assert file.seek(0) == 0 and file.read() == content
    assert not storage.trouble and len(storage.ranges) >= 3
    assert all(asked.startswith("bytes=") for asked in storage.ranges)


def test_what_is_not_there_is_told(storage: type[Storage]) -> None:
    with pytest.raises(DataError, match=r"gs://nobucket/in/.*can't be listed .*Check the address"):
        documents("gs://nobucket/in/*.jsonl")
    with pytest.raises(DataError, match="nothing to read at 'gs://bucket/none"):
        documents(f"gs://{BUCKET}/none.jsonl")


def test_an_object_that_changes_stops_the_run(storage: type[Storage]) -> None:
    reader = registry.load("readers", "jsonl")(paths=(f"gs://{BUCKET}/in/c.jsonl",))
    (split,) = reader.splits("/")
    storage.objects["in/c.jsonl"] += b'{"text": "more"}\n'
    fsspec.filesystem("gs").clear_instance_cache()
    with pytest.raises(DataError, match="changed since the run listed"):
        list(reader.read(split, "d"))
