"""Where a document's tokens lie: shard, offset, and the windows of every mix that show them.

The order of a mix is a function of the mix alone, so the windows k that hold given tokens are found by asking it for all k.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from curate.errors import DataError
from curate.report.run_folder import RunFolder

CHECKED = 4  # of the windows found, compared with what the loader says is in them
SHOWN = 200  # windows that are told of; the count is whole


class Document(NamedTuple):
    """A row of a token shard."""

    dataset: str
    file: str  # name of the shard
    row: int
    id: str
    start: int  # its first token in the shard
    tokens: int


@dataclass
class Seen:
    """Windows of one mix that hold tokens of the document."""

    mix: str
    windows: list[int]  # k, rising; the first SHOWN
    count: int
    held_out: int = 0  # validation windows that hold some
    steps: dict[str, list[int]] = field(default_factory=dict)  # by model, or by the batch that was given
    note: str = ""


@dataclass
class Tokens:
    """A document's tokens."""

    shard: str  # inside the run
    offset: int  # of its first token in the shard
    count: int
    seen: list[Seen]


def tokens_of(run: RunFolder, name: str, file: str, row: int) -> tuple[Tokens, Document] | None:
    """Where row `row` of a token shard lies, without the windows that show it; None for files of another kind."""
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
    document = Document(name, path.name, row, str(shard.stream(at).batch.column("id")[inside].as_py()), start, tokens.count)
    return tokens, document


def windows_of(run: RunFolder, document: Document, batch: int | None) -> list[Seen]:
    """Windows of every mix that hold tokens of a document. Loads the kernels of the training order: about a second."""
    mixes = [
        mix
        for mix, entry in run.mixes.items()
        if entry["kind"] == "mix" and any(s.get("dataset", s["name"]) == document.dataset for s in entry["info"].get("sources", ()))
    ]
    return [_seen(run, mix, document, batch) for mix in mixes]


def _seen(run: RunFolder, mix: str, document: Document, batch: int | None) -> Seen:
    from curate.loader import open_mix

    try:
        opened = open_mix(run.root / mix)
        tokens = (document.dataset, document.file, document.start, document.tokens)
        hits: list[int] = opened.holding(*tokens).tolist()
        held_out = len(open_mix(run.root / mix, held_out=True).holding(*tokens))
    except DataError as error:  # a mix of another version, or shards that are gone: the rest of the answer stands
        return Seen(mix, [], 0, note=str(error))
    if any(all((p.file, p.row) != (document.file, document.row) for p in opened.trace(k)) for k in hits[:CHECKED]):
        raise DataError(f"{mix}: the windows found for {document.id!r} do not hold it. The mix and its shards are not of one run.")
    seen = Seen(mix, hits[:SHOWN], len(hits), held_out)
    if not hits:
        seen.note = "held out for validation" if held_out else "no training window shows it: the mix takes other windows of this source"
    for who, windows in batches_of(run, mix, opened.seq_len, batch):
        seen.steps[who] = sorted({k // windows for k in seen.windows})
    return seen


def batches_of(run: RunFolder, mix: str, seq_len: int, batch: int | None) -> Iterator[tuple[str, int]]:
    """(who trains, windows of a step) of every model of the run that is trained on the mix with batches of one size."""
    if batch is not None:
        yield f"batch of {batch}", batch
    own = (run.settings(mix).get("mix") or {}).get("batch_windows")
    if isinstance(own, int):
        yield "batch_windows", own
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
