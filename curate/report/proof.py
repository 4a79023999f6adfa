"""Proof that a run is what its manifest says: files by checksum, tokens by ledger, the order of every mix laid out again."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from curate.errors import CurateError
from curate.fingerprint import file_checksum
from curate.loader import read_mix
from curate.mix_certificate import certify
from curate.mix_order import FILE
from curate.report.run_folder import RunFolder

Note = Callable[[str], None]


def verify(run: RunFolder, only: str | None = None, *, content: bool = True, note: Note = lambda text: None) -> dict[str, Any]:
    """{"files", "bytes", "content", "mixes": {NAME: certificate}, "problems": [...]}. Problems are sentences; none means proven.

    content: read every file and compare its checksum (xxh128); else only that it is there with its size
    only: a mix; the files that are compared are then its own and those of its datasets
    """
    told: dict[str, Any] = {"run": str(run.root), "content": content, "files": 0, "bytes": 0, "mixes": {}, "problems": []}
    mixes = [name for name, entry in run.mixes.items() if entry["kind"] == "mix" and only in (None, name)]
    if only is not None and not mixes:
        told["problems"].append(f"the manifest has no mix {only!r}")
    nodes = {**run.manifest["datasets"], **run.manifest["models"]}
    for name, entry in nodes.items():
        if only is None or name in _read_by(run, mixes):
            note(f"files of {name}")
            _files(run, name, entry, content, told)
    for name in mixes:
        note(f"order of {name}")
        try:
            told["mixes"][name] = _mix(run, name, told["problems"])
        except CurateError as error:
            told["problems"].append(f"{name}: {error}")
    return told


def _read_by(run: RunFolder, mixes: list[str]) -> set[str]:
    return set(mixes) | {source["dataset"] for name in mixes for source in run.mixes[name]["info"]["sources"]}


def _files(run: RunFolder, name: str, entry: dict[str, Any], content: bool, told: dict[str, Any]) -> None:
    for about in entry["files"]:
        path = run.root / name / about["name"]
        told["files"] += 1
        try:
            size = path.stat().st_size
            told["bytes"] += size
            if size != about["bytes"]:
                told["problems"].append(f"{name}/{about['name']} has {size:,} bytes, the manifest says {about['bytes']:,}")
            elif content and file_checksum(str(path)) != about["xxh128"]:
                told["problems"].append(f"{name}/{about['name']} has other content than the manifest's checksum says")
        except OSError as error:
            told["problems"].append(f"{name}/{about['name']} can't be read: {error.strerror}")


def _mix(run: RunFolder, name: str, problems: list[str]) -> dict[str, Any]:
    """Lay the order out again. Everything is compared: datasets with the manifest, the result with what the run wrote down."""
    folder = run.root / name
    mix = read_mix(folder / FILE)
    for dataset in mix["datasets"]:
        now = run.manifest["datasets"].get(dataset["name"], {})
        if now.get("digest") != dataset["digest"]:
            problems.append(f"{name} was made of another version of {dataset['name']} than the manifest has")
        counted = sum(s["tokens"] for s in mix["sources"] if s["dataset"] == dataset["name"]) + mix["unused"].get(dataset["name"], 0)
        if not counted == dataset["tokens"] == now.get("tokens", dataset["tokens"]):
            problems.append(f"{name} accounts for {counted:,} of {dataset['tokens']:,} tokens of {dataset['name']}")
    certificate = certify(mix, folder)
    if certificate["unaccounted"]:
        problems.append(f"{name}: {certificate['unaccounted']:,} tokens or windows of its sources are not accounted for")
    for what, written in (("mix.json", mix["certificate"]), ("the manifest", run.mixes[name]["info"]["certificate"])):
        if json.loads(json.dumps(certificate)) != written:
            problems.append(f"{name}: the order gives other shares than {what} says")
    return {**certificate, "sources": {s["name"]: {"windows": s["windows"], "used": s["used"], **s["ledger"]} for s in mix["sources"]}}


def view(told: dict[str, Any]) -> RenderableType:
    """For people."""
    read = "read and compared with their checksums" if told["content"] else "there with their sizes"
    parts: list[RenderableType] = [Text(f"{told['files']:,} files, {told['bytes']:,} bytes, {read}")]
    for name, proof in told["mixes"].items():
        parts.append(Text.assemble((name, "bold"), f"  {proof['windows']:,} windows; at most {proof['worst_of_64']:g} windows off plan in any 64, "
                                   f"{proof['worst_since_start']:g} since the start"))  # fmt: skip
        table = Table(box=None, pad_edge=False)
        for title in ("stage", "source", "planned", "realised", "windows", "off in 64"):
            table.add_column(title, justify="left" if title in ("stage", "source") else "right")
        for number, stage in enumerate(proof["stages"]):
            for place, (source, s) in enumerate(stage["sources"].items()):
                first = f"{number}: {stage['tokens']:,} tokens" if place == 0 else ""
                worst = f"{stage['worst_of_64']:g}" if place == 0 else ""
                table.add_row(first, source, f"{s['planned']:.4%}", f"{s['realised']:.4%}", f"{s['windows']:,}", worst)
        parts.append(table)
    parts += [Text(problem, style="red") for problem in told["problems"]] or [Text("everything is as the manifest says", style="green")]
    return Group(*parts)
