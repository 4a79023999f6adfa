"""From chosen candidates to rows: records gathered as Arrow arrays, without a Python object per row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.schema import with_columns
from curate.step import Expanded
from formats.records import CANDIDATE, MESSAGE
from formats.selection.pool import I64, Pool

_NO_CANDIDATES = pa.list_(CANDIDATE)
_PROVENANCE = {"model": pa.string(), "round": pa.int32(), "sample": pa.int32(), "seed": pa.int64()}


def answered(batch: pa.RecordBatch, pool: Pool, parents: I64, chosen: I64, extra: Mapping[str, pa.Array]) -> Expanded:
    """A row for each chosen candidate: the prompt's turns and then the candidate's. chosen: numbers in the pool, in order of rows."""
    picked = pool.structs.take(pa.array(chosen))
    rows = _taken(batch, parents, ("text", "candidates"))
    messages = _joined(rows.column("messages"), _child(picked, "messages"))
    columns = {
        "id": _ids(rows.column("id"), parents),
        "messages": messages,
        "candidates": pa.ListArray.from_arrays(pa.array(np.zeros(len(rows) + 1, np.int32)), pa.array([], CANDIDATE), type=_NO_CANDIDATES),
        "text": _views(messages),
        **{f"select_{name}": _child(picked, name).cast(kind) for name, kind in _PROVENANCE.items()},
        **extra,
    }
    return Expanded(with_columns(rows, columns), pa.array(parents, pa.int64()))


def paired(batch: pa.RecordBatch, pool: Pool, parents: I64, better: I64, worse: I64, extra: Mapping[str, pa.Array]) -> Expanded:
    """A row for each pair: the prompt, and two candidates with the ranks 0 and 1."""
    rows = _taken(batch, parents, ("text", "candidates"))
    both = pool.structs.take(pa.array(np.stack([better, worse], 1).ravel()))
    rank = pa.array(np.tile([0, 1], len(better)), pa.int32())
    children = [rank if f.name == "rank" else child for f, child in zip(CANDIDATE, both.flatten(), strict=True)]
    structs = pa.StructArray.from_arrays(children, fields=list(CANDIDATE))
    offsets = pa.array(np.arange(0, 2 * len(better) + 1, 2), pa.int32())
    candidates = pa.ListArray.from_arrays(offsets, structs, type=_NO_CANDIDATES)
    made = with_columns(rows, {"id": _ids(rows.column("id"), parents), "candidates": candidates, **extra})
    turns = _joined(rows.column("messages"), _of_two(children[CANDIDATE.get_field_index("messages")]))
    return Expanded(with_columns(made, {"text": _views(turns)}), pa.array(parents, pa.int64()))


def _taken(batch: pa.RecordBatch, parents: I64, replaced: tuple[str, ...]) -> pa.RecordBatch:
    """The rows of a batch, without the columns that are replaced anyway: a prompt's candidates are most of its bytes, and it may have many pairs."""
    index = pa.array(parents)
    columns = [pa.nulls(len(parents), f.type) if f.name in replaced else batch.column(f.name).take(index) for f in batch.schema]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def _of_two(lists: pa.ListArray) -> pa.ListArray:
    """Turns of the two candidates of each pair, one behind the other. lists: those of better, worse, better, ...; they lie so already."""
    lists = lists if lists.null_count == 0 else pc.fill_null(lists, pa.scalar([], lists.type))
    start = lists.offsets[0].as_py()
    ends = lists.offsets.to_numpy()[::2] - start
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), lists.values.slice(start), type=lists.type)


PROVENANCE_COLUMNS = {f"select_{name}": kind for name, kind in _PROVENANCE.items()}


def _child(structs: pa.StructArray, name: str) -> pa.Array:
    return structs.flatten()[structs.type.get_field_index(name)]


def _ids(ids: pa.Array, parents: I64) -> pa.Array:
    """The prompt's id; a further row of one prompt has its number behind it."""
    first = np.flatnonzero(np.r_[True, parents[1:] != parents[:-1]]) if len(parents) else np.zeros(0, np.int64)
    copy = np.arange(len(parents)) - np.repeat(first, np.diff(np.r_[first, len(parents)]))
    if not copy.any():
        return ids.cast(pa.string())
    further = pc.binary_join_element_wise(ids.cast(pa.string()), pa.array(copy.astype(str), pa.string()), "-")
    return pc.if_else(pa.array(copy > 0), further, ids.cast(pa.string()))


def _joined(a: pa.Array, b: pa.Array) -> pa.ListArray:
    """Lists of turns, one behind the other."""
    lengths = [pc.fill_null(pc.list_value_length(x), 0).to_numpy(zero_copy_only=False).astype(np.int64) for x in (a, b)]
    total = lengths[0] + lengths[1]
    offsets = np.r_[0, np.cumsum(total)]
    index = np.empty(int(offsets[-1]), np.int64)
    before = 0
    for at, length in enumerate(lengths):
        start = offsets[:-1] + (lengths[0] if at else 0)
        inner = np.arange(int(length.sum())) - np.repeat(np.r_[0, np.cumsum(length)[:-1]] if len(length) else length, length)
        index[np.repeat(start, length) + inner] = before + np.arange(int(length.sum()))
        before += int(length.sum())
    flat = pa.concat_arrays([a.flatten(), b.flatten()])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat.take(pa.array(index)), type=pa.list_(MESSAGE))


def _views(messages: pa.ListArray) -> pa.LargeStringArray:
    """`text_view` of records with these turns."""
    flat = messages.flatten()
    plain = all(c.null_count == len(c) for c in (_child(flat, n) for n in ("reasoning", "tool_calls", "parts")))
    if not plain:
        return _slow_views(messages)
    content = pc.fill_null(_child(flat, "content"), "")
    there = pc.not_equal(content, "").to_numpy(zero_copy_only=False)
    counts = np.r_[0, np.cumsum(there)][messages.offsets.to_numpy()]
    lists = pa.LargeListArray.from_arrays(pa.array(counts, pa.int64()), content.filter(pa.array(there)))
    return pc.binary_join(lists, pa.scalar("\n\n", pa.large_string()))


def _slow_views(messages: pa.ListArray) -> pa.LargeStringArray:
    from formats.batches import from_batch
    from formats.records import RECORD, text_view

    n = len(messages)
    given: dict[str, Any] = {"messages": messages, "plain": pa.array([False] * n)}
    columns = [given.get(f.name, pa.nulls(n, f.type)) for f in RECORD]
    return pa.array([text_view(r) for r in from_batch(pa.RecordBatch.from_arrays(columns, schema=RECORD))], pa.large_string())
