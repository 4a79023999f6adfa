"""Data sets of the Hugging Face hub by name, or a folder laid out like one: files are read as they lie there, in pieces.

    read: {hf: HuggingFaceFW/fineweb, config: sample-10BT, split: train}

No code of a data set runs and nothing is copied first: the files of a split are listed at one commit, and every worker
reads its row groups or lines by range requests. The commit is fixed when a run begins and stands in the lock file as
`revision`. Files are Parquet, JSON lines, CSV, Arrow (as `save_to_disk` writes them) or text, told by their ending.

Which files are a split: what `configs` in the README says; else files named after it (`train-00000-of-00004.parquet`,
`data/train.jsonl`, `test/...`); else all of them, as `train`. Data sets that need a loading script are refused: read
their converted form with `revision: refs/convert/parquet`.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import yaml
from pydantic import Field, field_validator

from curate.errors import DataError, MissingDependency
from curate.io.files import COMPRESSED, File, local_fingerprint
from curate.io.reader import SPLIT_BYTES, Reader, Rows, Split
from curate.io.remote import retried

FORMATS = {
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
    **dict.fromkeys((name + packed for name in (".jsonl", ".json", ".ndjson") for packed in COMPRESSED), "jsonl"),
    **dict.fromkeys((name + packed for name in (".csv", ".tsv") for packed in COMPRESSED), "csv"),
    **dict.fromkeys((".arrow", ".feather"), "arrow"),
    **dict.fromkeys((".txt" + packed for packed in COMPRESSED), "text"),
}
KEYWORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_NOT_DATA = ("README", "dataset_infos.json", "dataset_info.json", "dataset_dict.json", "state.json")
_SHARD = re.compile(r"(?:^|/)([A-Za-z]\w*(?:[.-]\w+)*?)-\d{5}-of-\d{5}(?:-[0-9a-f]+)?\.[a-z.]+$")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_LOCAL = re.compile(r"[./~]")


class Repository(NamedTuple):
    """The files of a data set at one commit."""

    commit: str  # "" for a folder
    files: tuple[File, ...]  # sorted by path, which is relative to its root
    readme: str


class HfReader(Reader):
    """A split of a data set of the hub; other fields are those of the reader that its files need."""

    name: ClassVar[str] = "hf"
    summary: ClassVar[str] = "data sets of the Hugging Face hub by name, or a folder laid out like one"

    paths: tuple[str, ...] = Field((), description="the data set: owner/name on the hub, or a folder (beginning with ./, / or ~)")
    config: str | None = Field(None, description="configuration of the data set; default: the one its README marks as default")
    split: str | None = Field("train", description="split to read; null: all of them")
    revision: str | None = Field(None, description="commit, branch or tag; default: main as it is when the run begins")
    files: str | None = Field(None, description="glob of the files to read, from the data set's root; takes the place of config and split")

    @field_validator("paths", mode="after")
    @classmethod
    def _one_data_set(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(value) > 1:
            raise ValueError("hf reads one data set; make one dataset of the recipe for each")
        return value

    def pinned(self, base: str) -> Self:
        """Fix the commit. Asks the hub unless `revision` is a commit already."""
        if not self.paths or _is_folder(self.paths[0], base) or _COMMIT.fullmatch(self.revision or ""):
            return self
        return self.model_copy(update={"revision": _of_hub(self.paths[0], self.revision).commit})

    def splits(self, base: str, split_bytes: int = SPLIT_BYTES) -> list[Split]:
        """List the pieces to read. Raises DataError where the data set, the config or the split is not there."""
        if not self.paths:
            raise DataError("hf: which data set? Write `read: {hf: owner/name}`.")
        name = self.paths[0]
        found = _of_folder(_absolute(name, base)) if _is_folder(name, base) else _of_hub(name, self.revision)
        chosen = self._chosen(name, found)
        made = [s for f in chosen for s in self._reader(f.path).pieces(f, split_bytes)]
        return sorted(made, key=lambda s: (s.path, s.start))

    def read(self, split: Split, dataset: str) -> Iterator[Rows]:
        """Yield the documents of a split."""
        yield from self._reader(split.path).read(split, dataset)

    def _reader(self, path: str) -> Any:
        """The reader of one file."""
        from curate import registry

        kind = next(kind for ending, kind in FORMATS.items() if path.lower().endswith(ending))
        own = {name: getattr(self, name) for name in Reader.model_fields if name != "paths"}
        more = {"delimiter": "\t"} if kind == "csv" and ".tsv" in path.lower() else {"per": "line"} if kind == "text" else {}
        return registry.load("readers", kind)(paths=(path,), **own, **more)

    def _chosen(self, name: str, found: Repository) -> list[File]:
        data = {f.path: f for f in found.files if _is_data(f.path)}
        if not data:
            script = any(f.path.endswith(".py") for f in found.files)
            hint = " It needs a loading script, which is not run: try `revision: refs/convert/parquet`." if script else ""
            raise DataError(f"hf: {name} has no files of a known kind ({', '.join(sorted(set(FORMATS.values())))}).{hint}")
        if self.files is not None:
            return [data[p] for p in _matching(self.files, data, name)]
        named = _configured(found.readme, self.config, list(data), name) or _by_name(list(data), self.config)
        if self.split is None:
            return [data[p] for p in sorted({p for paths in named.values() for p in paths})]
        if self.split not in named:
            raise DataError(f"hf: {name} has no split {self.split!r}; there are {', '.join(sorted(named)) or 'none'}.")
        return [data[p] for p in sorted(named[self.split])]


def _is_folder(name: str, base: str) -> bool:
    return bool(_LOCAL.match(name)) or os.path.isdir(_absolute(name, base))


def _absolute(name: str, base: str) -> str:
    return os.path.normpath(os.path.join(os.path.abspath(base), os.path.expanduser(name)))


def _is_data(path: str) -> bool:
    parts = path.split("/")
    return path.lower().endswith(tuple(FORMATS)) and all(p[0] not in "._" for p in parts) and not parts[-1].startswith(_NOT_DATA)


def _of_folder(folder: str) -> Repository:
    if not os.path.isdir(folder):
        raise DataError(f"hf: there is no folder {folder}. A data set of the hub is named owner/name.")
    files = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if f[0] not in "._")
        for name in sorted(names):
            where = os.path.join(parent, name)
            stat = os.stat(where)
            files.append(File(where, os.path.relpath(where, folder).replace(os.sep, "/"), stat.st_size, local_fingerprint(stat)))
    readme = Path(folder, "README.md")
    text = readme.read_text(encoding="utf-8", errors="replace") if readme.is_file() else ""
    return Repository("", tuple(sorted(files, key=lambda f: f.path)), text)


def _of_hub(name: str, revision: str | None) -> Repository:
    """What the hub lists at a revision: at a commit asked for once, at a branch each time, since it moves."""
    return _at_commit(name, revision) if _COMMIT.fullmatch(revision or "") else _listed(name, revision)


@lru_cache(maxsize=16)
def _at_commit(name: str, commit: str | None) -> Repository:
    return _listed(name, commit)


def _listed(name: str, revision: str | None) -> Repository:
    """Ask the hub."""
    try:
        from huggingface_hub import HfApi, HfFileSystem
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError
    except ImportError as error:
        raise MissingDependency.extra("huggingface_hub", "hub", "reader 'hf'") from error
    try:
        info = retried(f"hf://datasets/{name}", lambda: _asked(lambda: HfApi().dataset_info(name, revision=revision, files_metadata=True)))
    except (RepositoryNotFoundError, RevisionNotFoundError, FileNotFoundError) as error:
        what = f"revision {revision!r} of {name}" if isinstance(error, RevisionNotFoundError) else name
        raise DataError(f"hf: the hub does not know {what}, or it is private and you are not logged in (`hf auth login`).") from error
    root = f"hf://datasets/{name}@{info.sha}"
    files = [File(f"{root}/{s.rfilename}", s.rfilename, s.size or 0, f"{s.size} blob {s.blob_id}") for s in info.siblings or []]
    readme = ""
    if any(f.path == "README.md" for f in files):
        readme = retried(root, lambda: HfFileSystem().read_text(f"datasets/{name}@{info.sha}/README.md"))
    return Repository(info.sha, tuple(sorted(files, key=lambda f: f.path)), readme)


def _asked(call: Any) -> Any:
    """Ask the hub; what it does not know comes as it is, so that it is not asked again."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return call()
    except RepositoryNotFoundError as error:
        raise FileNotFoundError(str(error)) from error


def _configured(readme: str, config: str | None, data: list[str], name: str) -> dict[str, list[str]]:
    """Files of each split as `configs` in the README's front matter says; {} where it says nothing."""
    match = re.match(r"\A---\r?\n(.*?)\r?\n---", readme, re.DOTALL)
    try:
        front = yaml.safe_load(match[1]) if match else None
    except yaml.YAMLError:
        front = None
    given = front.get("configs") if isinstance(front, dict) else None
    configs = [c for c in given if isinstance(c, dict) and c.get("config_name") and c.get("data_files")] if isinstance(given, list) else []
    if not configs:
        return {}
    known = {str(c["config_name"]): c for c in configs}
    default = next((n for n, c in known.items() if c.get("default")), "default" if "default" in known else None)
    wanted = config or default or (next(iter(known)) if len(known) == 1 else None)
    if wanted not in known:
        asked = f"no config {wanted!r}" if wanted else "several configs"
        raise DataError(f"hf: {name} has {asked}; set `config` to one of {', '.join(sorted(known))}.")
    return _splits_of(known[wanted], data, name)


def _splits_of(config: dict[str, Any], data: list[str], name: str) -> dict[str, list[str]]:
    given = config["data_files"]
    folder = str(config.get("data_dir") or "").strip("/")
    entries = given if isinstance(given, list) and given and isinstance(given[0], dict) else [{"split": "train", "path": given}]
    found: dict[str, list[str]] = {}
    for entry in entries:
        patterns = entry["path"] if isinstance(entry.get("path"), list) else [entry.get("path")]
        for pattern in patterns:
            where = f"{folder}/{pattern}" if folder else str(pattern)
            found.setdefault(str(entry.get("split", "train")), []).extend(_matching(where, data, name))
    return found


def _matching(pattern: str, data: Any, name: str) -> list[str]:
    """Paths that a glob matches; `**` crosses folders, `*` does too where nothing else matches."""
    exact = re.compile(_as_regex(pattern))
    found = [p for p in data if exact.fullmatch(p)] or fnmatch.filter(data, pattern)
    if not found:
        raise DataError(f"hf: no file of {name} matches {pattern!r}.")
    return sorted(found)


def _as_regex(pattern: str) -> str:
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern.removeprefix("./"))
    return "".join({"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}.get(p, re.escape(p)) for p in parts)


def _by_name(data: list[str], config: str | None) -> dict[str, list[str]]:
    """Files of each split by how they are called; all are `train` where no name tells."""
    inside = [p for p in data if config is None or p.startswith(f"{config}/") or f"/{config}/" in p]
    found: dict[str, list[str]] = {}
    for path in inside:
        shard = _SHARD.search(path)
        split = next((s for s, words in KEYWORDS.items() if any(_names(w, path) for w in words)), shard[1] if shard else None)
        if split:
            found.setdefault(split, []).append(path)
    return found or ({"train": inside} if inside else {})


def _names(word: str, path: str) -> bool:
    return re.search(rf"(?:^|[-._ /0-9]){word}(?:[-._ /0-9]|$)", path) is not None
