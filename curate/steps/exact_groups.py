"""The decision of `dedup_exact`: of the documents of one value, in the run or in an index, one stays."""

from __future__ import annotations

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


def decide(records: pa.Table, keep: str | KeepBy, indexed: Values | None, all_rows: bool) -> pa.Table:
    """Records of the documents of a partition that go, and with all_rows of those that stay for others too.

    Only documents that share their value are sorted. An indexed document stays, whatever `keep` says, and counts in the size.
    """
    group, first = _values(records)
    held = _held(records, first, indexed)
    known = held.is_valid().to_numpy(zero_copy_only=False)
    shared = np.flatnonzero((np.bincount(group, minlength=len(first)) > 1)[group] | known[group])
    members = records.take(pa.array(shared)).append_column("group", pa.array(group[shared]))
    claim = pc.sort_indices(members, sort_keys=[("group", "ascending"), *claim_order(keep)])
    members = members.take(claim).combine_chunks()
    value, head, inverse, count = np.unique(members.column("group").to_numpy(), return_index=True, return_inverse=True, return_counts=True)
    old = known[value][inverse]
    stays = (head[inverse] == np.arange(len(members))) & ~old
    winner = pc.coalesce(held.take(pa.array(value[inverse])), members.column("id").take(pa.array(head[inverse])))
    none = pa.scalar(None, pa.string())
    result = pa.table(
        [
            members.column(ROW),
            pc.if_else(pa.array(stays), none, pa.scalar(REASON)),
            pc.if_else(pa.array(stays), none, winner),
            winner,
            pa.array(count[inverse] + old, pa.int64()),
        ],
        schema=GROUPS,
    )
    result = result if all_rows else result.filter(pa.array(~stays))
    if indexed is None:
        return result
    again = pc.and_(pa.array(old), pc.equal(winner, members.column("id")))
    return with_figures(
        result,
        {"duplicates_of_indexed_documents": int(old.sum()), "duplicates_of_the_same_id_in_the_index": int(pc.sum(again).as_py() or 0)},
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
