"""Data sets of the hub: which files are a split, pinned commits; against a folder and a small server that answers like the hub."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from curate.errors import DataError
from curate.io import hub
from curate.io.hub import HfReader


def texts(reader: HfReader, base: Path, split_bytes: int = 1 << 28) -> list[str]:
    return [t for s in reader.splits(str(base), split_bytes) for r in reader.read(s, "d") for t in r.batch.column("text").to_pylist()]


def table(*values: str) -> pa.Table:
    return pa.table({"text": list(values)})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set as people push them."""
    root = tmp_path / "set"
    (root / "data").mkdir(parents=True)
    pq.write_table(table("a", "b", "c"), root / "data/train-00000-of-00002.parquet", row_group_size=1)
    pq.write_table(table("d"), root / "data/train-00001-of-00002.parquet")
    pq.write_table(table("t"), root / "data/test-00000-of-00001.parquet")
    (root / "extra").mkdir()
    (root / "extra/dev.jsonl").write_text('{"text": "v"}\n')
    (root / "dataset_infos.json").write_text("{}")
    return root


def test_splits_by_name(folder: Path) -> None:
    base = folder.parent
    assert texts(HfReader(paths=("set",)), base) == ["a", "b", "c", "d"]
    assert texts(HfReader(paths=("./set",), split="test"), base) == ["t"]
    assert texts(HfReader(paths=(str(folder),), split="validation"), base) == ["v"]
    assert sorted(texts(HfReader(paths=("set",), split=None), base)) == ["a", "b", "c", "d", "t", "v"]
    assert texts(HfReader(paths=("set",), files="**/*.jsonl"), base) == ["v"]
    assert len(HfReader(paths=("set",)).splits(str(base), 100)) == 4  # row groups
    with pytest.raises(DataError, match="no split 'dev'; there are test, train, validation"):
        HfReader(paths=("set",), split="dev").splits(str(base))
    with pytest.raises(DataError, match="no file of set matches"):
        HfReader(paths=("set",), files="*.csv").splits(str(base))
    with pytest.raises(DataError, match="no folder"):
        HfReader(paths=("./nothing",)).splits(str(base))
    assert HfReader(paths=("set",)).pinned(str(base)).revision is None


@pytest.mark.parametrize(
    ("configs", "settings", "expected"),
    [
        ([{"config_name": "default", "data_files": "extra/*.jsonl"}], {}, ["v"]),
        ([{"config_name": "x", "data_files": [{"split": "train", "path": "data/test-*"}, {"split": "held", "path": ["extra/*", "data/train-00001*"]}]}],
         {"split": "held"}, ["d", "v"]),
        ([{"config_name": "a", "data_files": "data/*"}, {"config_name": "b", "data_files": "extra/*", "default": True}], {}, ["v"]),
        ([{"config_name": "a", "data_files": "data/test*"}, {"config_name": "b", "data_files": "extra/*"}], {"config": "a"}, ["t"]),
        ([{"config_name": "a", "data_dir": "data", "data_files": "test*"}], {}, ["t"]),
    ],
)  # fmt: skip
def test_configs_of_the_readme(folder: Path, configs: list[Any], settings: dict[str, str], expected: list[str]) -> None:
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump({'configs': configs})}---\n# A set\n")
    assert texts(HfReader(paths=("set",), **settings), folder.parent) == expected


def test_a_config_must_be_chosen(folder: Path) -> None:
    configs = [{"config_name": "a", "data_files": "data/*"}, {"config_name": "b", "data_files": "extra/*"}]
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump({'configs': configs})}---\n")
    with pytest.raises(DataError, match="several configs; set `config` to one of a, b"):
        HfReader(paths=("set",)).splits(str(folder.parent))
    with pytest.raises(DataError, match="no config 'c'"):
        HfReader(paths=("set",), config="c").splits(str(folder.parent))


def test_a_script_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set/set.py").write_text("raise SystemExit\n")
    with pytest.raises(DataError, match="loading script, which is not run"):
        HfReader(paths=("set",)).splits(str(tmp_path))


def test_saved_to_disk(tmp_path: Path) -> None:
    root = tmp_path / "saved/train"
    root.mkdir(parents=True)
    with pa.ipc.new_stream(str(root / "data-00000-of-00001.arrow"), table("").schema) as writer:
        writer.write_table(table("one", "two"))
    (root / "state.json").write_text("{}")
    assert texts(HfReader(paths=("saved",)), tmp_path) == ["one", "two"]


class Hub(BaseHTTPRequestHandler):
    """The requests that huggingface_hub makes for a data set `org/set` that lies in a folder."""

    root: Path
    commit = "c" * 40

    def log_message(self, *_: Any) -> None:
        """Nothing."""

    def files(self) -> list[dict[str, Any]]:
        found = []
        for path in sorted(p for p in self.root.rglob("*") if p.is_file()):
            content = path.read_bytes()
            found.append({"type": "file", "rfilename": str(path.relative_to(self.root)), "path": str(path.relative_to(self.root)),
                          "size": len(content), "blobId": hashlib.sha1(content).hexdigest(), "oid": hashlib.sha1(content).hexdigest()})  # fmt: skip
        return found

    def say(self, answer: Any, status: int = 200) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"]))) if self.headers["Content-Length"] else {}
        self.say([f for f in self.files() if f["path"] in wanted.get("paths", [])])

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if "/tree/" in self.path:
            inside = self.path.partition("?")[0].partition(f"/tree/{self.commit}")[2].strip("/")
            self.say([f for f in self.files() if str(Path(f["path"]).parent) == (inside or ".")])
        elif self.path.startswith("/api/datasets/org/set"):
            self.say({"id": "org/set", "sha": self.commit, "siblings": self.files(), "private": False, "gated": False, "disabled": False,
                      "downloads": 0, "likes": 0, "tags": []})  # fmt: skip
        elif "/resolve/" in self.path and (path := self.root / self.path.partition(f"/resolve/{self.commit}/")[2]).is_file():
            self.content(path.read_bytes())
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def content(self, content: bytes) -> None:
        given = self.headers["Range"]
        first, _, last = given.partition("=")[2].partition("-") if given else ("0", "", "")
        piece = content[int(first) : int(last) + 1 if last else None]
        self.send_response(206 if given else 200)
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", self.commit)
        if given:
            self.send_header("Content-Range", f"bytes {first}-{int(first) + len(piece) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(piece)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(piece)


@pytest.fixture
def served(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    """The folder behind a server; its class."""
    pytest.importorskip("huggingface_hub")
    import huggingface_hub.constants as constants
    from huggingface_hub import HfFileSystem

    class Server(Hub):
        root = folder

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    where = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", where)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", where + "/{repo_id}/resolve/{revision}/{filename}")
    HfFileSystem.clear_instance_cache()
    hub._at_commit.cache_clear()
    yield Server
    server.shutdown()
    server.server_close()
    HfFileSystem.clear_instance_cache()
    hub._at_commit.cache_clear()


def test_from_the_hub(served: type[Hub], tmp_path: Path) -> None:
    reader = HfReader(paths=("org/set",)).pinned(str(tmp_path))
    assert reader.revision == served.commit
    assert texts(reader, tmp_path) == ["a", "b", "c", "d"]
    assert texts(reader.model_copy(update={"split": "validation"}), tmp_path) == ["v"]
    local = HfReader(paths=(str(served.root),))
    ids = [[s.path for s in r.splits("/")] for r in (reader, local)]
    assert ids[0] == ids[1]
    with pytest.raises(DataError, match="the hub does not know org/other"):
        HfReader(paths=("org/other",)).splits(str(tmp_path))


def test_the_lock_file_says_the_commit(served: type[Hub], tmp_path: Path) -> None:
    from curate.pinning import pinned
    from curate.recipe import load_recipe

    path = tmp_path / "recipe.yaml"
    path.write_text("datasets:\n  web:\n    read: {hf: org/set, split: test}\n    steps: []\n")
    recipe = load_recipe(str(path))
    fixed = pinned(recipe)
    assert fixed.resolved["datasets"]["web"]["read"]["hf"]["revision"] == served.commit
    assert recipe.resolved["datasets"]["web"]["read"]["hf"]["revision"] is None
    path.write_text(yaml.safe_dump(fixed.resolved))
    again = load_recipe(str(path))
    assert again.nodes["web"] == fixed.nodes["web"] and pinned(again) is again
