"""The decision of `dedup_exact`: of the documents of one value, in the run or in an index, one stays."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.figures import with_figures
from curate.schema import ROW
from curate.steps.exact_index import Values
from curate.steps.survivors import RANK_FIELDS, KeepBy, claim_order

I64 = npt.NDArray[np.int64]

REASON = "dedup_exact.duplicate"
BLOCK_ROWS = 1 << 18  # verdicts made at a time

HASHES = pa.schema(
    [pa.field("key", pa.uint64()), pa.field("hash", pa.uint64()), pa.field(ROW, pa.int64()), pa.field("id", pa.string()), *RANK_FIELDS]
)
GROUPS = pa.schema(
    [
        pa.field(ROW, pa.int64()),
        pa.field("reason", pa.string()),
        pa.field("partner", pa.string()),
        pa.field("cluster", pa.string()),
        pa.field("size", pa.int64()),
    ]
)


def decide(records: pa.Table, keep: str | KeepBy, indexed: Values | None, all_rows: bool) -> Iterator[pa.Table]:
    """Records of the documents of a partition that go, and with all_rows of those that stay for others too.

    Only documents that share their value are sorted. An indexed document stays, whatever `keep` says, and counts in the size.
    All documents of one value are in one partition, so verdicts, which hold two ids each, are given a block at a time.
    """
    group, first = _values(records)
    held = _held(records, first, indexed)
    known = held.is_valid().to_numpy(zero_copy_only=False)
    count = np.bincount(group, minlength=len(first))
    members = _by_claim(records, group, np.flatnonzero((count > 1)[group] | known[group]), keep)
    head = np.zeros(len(first), np.int64)  # the member of each value with the strongest claim
    head[group[members][::-1]] = members[::-1]
    row, ids = records.column(ROW).to_numpy(), records.column("id")
    figures = {"duplicates_of_indexed_documents": 0, "duplicates_of_the_same_id_in_the_index": 0}
    for start in range(0, len(members), BLOCK_ROWS):
        at = members[start : start + BLOCK_ROWS]
        value, old = group[at], known[group[at]]
        stays = (head[value] == at) & ~old
        winner = pc.coalesce(held.take(pa.array(value)), _taken(ids, head[value]))
        if indexed is not None:
            again = pc.and_(pa.array(old), pc.equal(winner, _taken(ids, at)))
            figures["duplicates_of_indexed_documents"] += int(old.sum())
            figures["duplicates_of_the_same_id_in_the_index"] += int(pc.sum(again).as_py() or 0)
        result = _verdicts(row[at], stays, winner, count[value] + old)
        yield result if all_rows else result.filter(pa.array(~stays))
    yield with_figures(GROUPS.empty_table(), figures if indexed is not None else {})


def _by_claim(records: pa.Table, group: I64, members: I64, keep: str | KeepBy) -> I64:
    """Members in the order of their values, of each value in the order of their claims to stay."""
    if keep == "first":
        return members[np.lexsort((records.column(ROW).to_numpy()[members], group[members]))]
    order = claim_order(keep)
    claims = records.select([name for name, _ in order])
    wide = pa.schema([f.with_type(pa.large_string()) if pa.types.is_string(f.type) else f for f in claims.schema])  # more than 2 GB of ids
    claims = claims.cast(wide).take(pa.array(members)).append_column("group", pa.array(group[members]))
    sorted_: I64 = pc.sort_indices(claims, sort_keys=[("group", "ascending"), *order]).to_numpy()
    return members[sorted_]


def _taken(column: pa.ChunkedArray, at: I64) -> pa.Array:
    """Values at these places, chunk by chunk: `take` of a chunked column would join all of it first."""
    starts = np.cumsum([0, *(len(c) for c in column.chunks)])
    chunk_of = np.searchsorted(starts, at, "right") - 1
    order = np.argsort(chunk_of, kind="stable")
    chunks, edges = np.unique(chunk_of[order], return_index=True)
    parts = [pa.array([], column.type)]
    for chunk, places in zip(chunks.tolist(), np.split(order, edges[1:]), strict=True) if len(at) else ():
        parts.append(column.chunk(chunk).take(pa.array(at[places] - starts[chunk])))
    back = np.empty(len(at), np.int64)
    back[order] = np.arange(len(at))
    return pa.concat_arrays(parts).take(pa.array(back))


def _verdicts(row: I64, stays: npt.NDArray[np.bool_], winner: pa.StringArray, size: I64) -> pa.Table:
    none = pa.scalar(None, pa.string())
    return pa.table(
        [
            pa.array(row),
            pc.if_else(pa.array(stays), none, pa.scalar(REASON)),
            pc.if_else(pa.array(stays), none, winner),
            winner,
            pa.array(size, pa.int64()),
        ],
        schema=GROUPS,
    )


def _values(records: pa.Table) -> tuple[I64, I64]:
    """(number of each record's value, a record of each value): values in the order of their hashes."""
    key, lane = records.column("key").to_numpy(), records.column("hash").to_numpy()
    order = np.lexsort((lane, key))
    group = np.zeros(len(order), np.int64)
    new = np.ones(len(order), bool)
    new[1:] = (key[order][1:] != key[order][:-1]) | (lane[order][1:] != lane[order][:-1])
    group[order] = np.cumsum(new) - 1
    return group, order[new]


def _held(records: pa.Table, first: I64, indexed: Values | None) -> pa.StringArray:
    """Id of the indexed document of each value."""
    if indexed is None:
        return pa.nulls(len(first), pa.string())
    return indexed.ids(records.column("key").to_numpy()[first], records.column("hash").to_numpy()[first])
