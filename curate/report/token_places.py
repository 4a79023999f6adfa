"""Where a document's tokens lie: shard, offset, and the windows of every mix that show them.

The order of a mix is a function of the mix alone, so the windows k that stand over given tokens are found by asking it
for all k, a million at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from curate.errors import DataError
from curate.report.run_folder import RunFolder

ASKED = 1 << 20  # windows at a time
SHOWN = 200  # windows that are told of; the count is whole


@dataclass
class Seen:
    """Windows of one mix that hold tokens of the document."""

    mix: str
    windows: list[int]  # k, rising; the first SHOWN
    count: int
    steps: dict[str, list[int]] = field(default_factory=dict)  # by model, or by the batch that was given
    note: str = ""


@dataclass
class Tokens:
    """A document's tokens."""

    shard: str  # inside the run
    offset: int  # of its first token in the shard
    count: int
    seen: list[Seen]


def tokens_of(run: RunFolder, name: str, file: str, row: int, batch: int | None) -> Tokens | None:
    """Where row `row` of a token shard lies; None for files of another kind."""
    path = run.root / file
    if path.suffix != ".arrow":
        return None
    from curate.tokens.mapped import open_shard

    shard = open_shard(path)
    at = 0
    while shard.rows_before(at + 1) <= row:
        at += 1
    offsets = shard.offsets(at)
    inside = row - shard.rows_before(at)
    start = shard.starts[at] + int(offsets[inside])
    tokens = Tokens(file, start, int(offsets[inside + 1] - offsets[inside]), [])
    for mix, entry in run.mixes.items():
        if entry["kind"] == "mix" and any(s["name"] == name for s in entry["info"].get("sources", ())):
            tokens.seen.append(_seen(run, mix, name, path, start, tokens.count, batch))
    return tokens


def _seen(run: RunFolder, mix: str, name: str, shard: Path, start: int, count: int, batch: int | None) -> Seen:
    from curate.loader import open_mix

    try:
        opened = open_mix(run.root / mix)
    except DataError as error:  # a mix of another version, or shards that are gone: the rest of the answer stands
        return Seen(mix, [], 0, note=str(error))
    number = next(i for i, source in enumerate(opened.sources) if source["name"] == name)
    before = 0
    for entry in opened.sources[number]["shards"]:
        if entry["file"] == shard.name:
            break
        before += entry["tokens"]
    first, last = (before + start) // opened.seq_len, (before + start + count - 1) // opened.seq_len
    hits: list[int] = []
    for begin in range(0, len(opened) if count else 0, ASKED):
        places = opened.order.places(np.arange(begin, min(begin + ASKED, len(opened))))
        mine = (places.source == number) & (places.window >= first) & (places.window <= last)
        hits += (np.flatnonzero(mine) + begin).tolist()
    seen = Seen(mix, hits[:SHOWN], len(hits))
    if not hits:
        seen.note = "no training window shows it: the mix takes other windows of this source"
    for model, windows in _batches(run, mix, opened.seq_len, batch):
        seen.steps[model] = sorted({k // windows for k in seen.windows})
    return seen


def _batches(run: RunFolder, mix: str, seq_len: int, batch: int | None) -> Iterator[tuple[str, int]]:
    """(who trains, windows of a step) of every model of the run that is trained on the mix with batches of one size."""
    if batch is not None:
        yield f"batch of {batch}", batch
    for name, settings in (run.lock.get("models") or {}).items():
        if isinstance(settings, Mapping) and settings.get("data") == mix and not settings.get("batch_ramp"):
            tokens = _batch_tokens(run, name, settings)
            if tokens:
                yield name, max(1, tokens // seq_len)


def _batch_tokens(run: RunFolder, name: str, settings: Mapping[str, Any]) -> int | None:
    """Tokens of a step: as the training run notes them, else as the recipe says."""
    info = run.manifest["models"].get(name, {}).get("info", {})
    for value in (info.get("batch_tokens"), settings.get("batch_tokens")):
        if isinstance(value, int):
            return value
    notes = run.root / name / "training.json"
    found = json.loads(notes.read_bytes()).get("batch_tokens") if notes.exists() else None
    return found if isinstance(found, int) else None
