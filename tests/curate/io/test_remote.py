"""Files behind URLs: the same documents as from disk, requests tried again, errors told; a web server and an S3 server."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate import registry
from curate.errors import DataError, MissingDependency
from curate.io import remote
from curate.io.remote import ATTEMPTS, RemoteFile, filesystem, retried
from tests.curate.io.archive_files import warc_record


def documents(kind: str, path: str, split_bytes: int = 1 << 28, **settings: Any) -> tuple[int, list[dict[str, Any]]]:
    """(number of splits, rows)."""
    reader = registry.load("readers", kind)(paths=(path,), **settings)
    rows: list[dict[str, Any]] = []
    splits = reader.splits("/", split_bytes)
    for split in splits:
        for batch, unreadable in reader.read(split, "d"):
            assert not unreadable
            rows += batch.to_pylist()
    return len(splits), rows


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "bucket"
    root.mkdir()
    lines = [json.dumps({"text": f"{i} " + "z" * 200}) for i in range(400)]
    (root / "a.jsonl").write_text("\n".join(lines) + "\n")
    (root / "b.jsonl").write_bytes(gzip.compress("\n".join(lines[:50]).encode()))  # gzip, whatever its name says
    pq.write_table(pa.table({"text": [f"row {i}" for i in range(300)]}), root / "c.parquet", row_group_size=100)
    (root / "d.warc.gz").write_bytes(
        b"".join(gzip.compress(warc_record("response", f"<p>{i}{'y' * i}", f"http://e.org/{i}")) for i in range(90))
    )
    return root


class Flaky(BaseHTTPRequestHandler):
    """Serves a folder with ranges; fails as `trouble` says."""

    root: Path
    trouble: list[str]

    def log_message(self, *_: Any) -> None:
        """Nothing."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.root / self.path.lstrip("/")
        trouble = type(self).trouble.pop(0) if self.command == "GET" and type(self).trouble else ""
        if trouble.isdigit() or not path.is_file():
            self.send_response(int(trouble or 404))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = path.read_bytes()
        given = self.headers["Range"]
        first, _, last = given.partition("=")[2].partition("-") if given else ("0", "", "")
        piece = content[int(first) : int(last) + 1 if last else None]
        self.send_response(206 if given else 200)
        if given:
            self.send_header("Content-Range", f"bytes {first}-{int(first) + len(piece) - 1}/{len(content)}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", str(len(piece)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(piece[: len(piece) // 2] if trouble == "cut" else piece)


@pytest.fixture
def web(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, type[Flaky]]]:
    pytest.importorskip("aiohttp")

    class Server(Flaky):
        root = folder
        trouble: ClassVar[list[str]] = []

    monkeypatch.setattr(remote, "pause", lambda _: None)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", Server
    server.shutdown()
    server.server_close()


def test_https(web: tuple[str, type[Flaky]], folder: Path) -> None:
    url, _ = web
    for kind, name in (("jsonl", "a.jsonl"), ("jsonl", "b.jsonl"), ("parquet", "c.parquet")):
        assert documents(kind, f"{url}/{name}") == documents(kind, str(folder / name))
    assert documents("jsonl", f"{url}/a.jsonl", 20_000) == documents("jsonl", str(folder / "a.jsonl"), 20_000)
    with pytest.raises(DataError, match="can't be listed"):
        documents("jsonl", f"{url}/none.jsonl")


@pytest.mark.parametrize("trouble", [["503"], ["cut"], ["500", "429", "cut", "503"], ["cut"] * (ATTEMPTS - 1)])
def test_what_passes_is_tried_again(web: tuple[str, type[Flaky]], folder: Path, trouble: list[str]) -> None:
    url, server = web
    expected = documents("jsonl", str(folder / "a.jsonl"), 20_000)
    server.trouble[:] = trouble
    assert documents("jsonl", f"{url}/a.jsonl", 20_000) == expected
    assert not server.trouble


@pytest.mark.parametrize(("trouble", "left"), [(["403"] * 9, 8), (["503"] * 9, 9 - ATTEMPTS)])
def test_what_stays_is_told(web: tuple[str, type[Flaky]], trouble: list[str], left: int) -> None:
    url, server = web
    file = RemoteFile(f"{url}/a.jsonl")
    server.trouble[:] = trouble
    with pytest.raises(DataError, match=rf"a.jsonl: .*{trouble[0]}"):
        file.read(10)
    assert len(server.trouble) == left
    file.close()


def test_seeking(web: tuple[str, type[Flaky]], folder: Path) -> None:
    url, _ = web
    content = (folder / "a.jsonl").read_bytes()
    with RemoteFile(f"{url}/a.jsonl") as file:
        assert file.size == len(content) and file.readable() and file.seekable()
        for at in (5000, 0, len(content) - 3, 70_000):
            assert file.seek(at) == at == file.tell()
            assert file.read(10) == content[at : at + 10]
        assert file.seek(-4, 2) == len(content) - 4 and file.read() == content[-4:] and file.read(5) == b""


def test_errors_that_do_not_pass_are_not_repeated() -> None:
    calls = []

    def call(error: Exception) -> Callable[[], None]:
        def failing() -> None:
            calls.append(1)
            raise error

        return failing

    with pytest.raises(FileNotFoundError):
        retried("x", call(FileNotFoundError()))
    with pytest.raises(DataError, match="one"):
        retried("x", call(DataError("one")))
    assert len(calls) == 2
    with pytest.raises(DataError, match="nosuch"):
        filesystem("nosuch://bucket/x")


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    def fail(_: str) -> None:
        raise ImportError("s3fs")

    monkeypatch.setattr(fsspec.core, "url_to_fs", fail)
    with pytest.raises(MissingDependency, match=r"needs the package 's3fs'.*curate\[hub\]"):
        filesystem("s3://bucket/x")


def test_s3(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a server that speaks S3: listing, globs, ranges, versions."""
    pytest.importorskip("s3fs", minversion="2025")
    pytest.importorskip("fastwarc")
    pytest.importorskip("resiliparse")
    server_module = pytest.importorskip("moto.server")
    import s3fs

    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in (("AWS_ENDPOINT_URL", f"http://{host}:{port}"), ("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b"), ("AWS_DEFAULT_REGION", "us-east-1")):  # fmt: skip
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        store = s3fs.S3FileSystem()
        store.mkdir("bucket")
        for path in folder.iterdir():
            store.put_file(str(path), f"bucket/in/{path.name}")
        for kind, pattern in (("jsonl", ""), ("jsonl", "/*.jsonl"), ("parquet", "/c.parquet"), ("warc", "/*.warc.gz")):
            there, here = documents(kind, f"s3://bucket/in{pattern}", 900), documents(kind, f"{folder}{pattern}", 900)
            assert there == here and there[0] > 1 and there[1]
        reader = registry.load("readers", "jsonl")(paths=("s3://bucket/in/b.jsonl",))
        (split,) = reader.splits("/")
        store.pipe_file("bucket/in/b.jsonl", b'{"text": "other"}\n')
        store.invalidate_cache()
        with pytest.raises(DataError, match="changed since the run listed"):
            list(reader.read(split, "d"))
        with pytest.raises(DataError, match="nothing to read"):
            documents("jsonl", "s3://bucket/none/*")
    finally:
        server.stop()
        s3fs.S3FileSystem.clear_instance_cache()
