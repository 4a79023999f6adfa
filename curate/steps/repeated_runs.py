"""The partition phases of `dedup_substrings`: who shares an anchor, who shares a run. Records are hashes and places.

Equal runs have the same anchor, so all copies of a run meet. Copies whose surroundings (all tokens of all runs with that anchor) are
equal too are copies throughout: of each such class the first can have runs of its own, the others can't. Only where an anchor
has several classes are single runs compared, those of the first of each class.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from curate.schema import ROW

ANCHORS = pa.schema(
    [
        pa.field("key", pa.uint64()),  # hash of the anchor
        pa.field("hash", pa.uint64()),  # of its surroundings, in two lanes
        pa.field("hash2", pa.uint64()),
        pa.field(ROW, pa.int64()),
        pa.field("anchor", pa.int64()),  # number in the document
        pa.field("again", pa.bool_()),  # equal surroundings stand later in the document; they send no record
    ]
)
DECIDED = pa.schema([pa.field(ROW, pa.int64()), pa.field("anchor", pa.int64()), pa.field("goes", pa.bool_()), pa.field("open", pa.bool_())])
RUNS = pa.schema([pa.field("key", pa.uint64()), pa.field("hash", pa.uint64()), pa.field(ROW, pa.int64()), pa.field("run", pa.int64())])
REPEATED = pa.schema([pa.field(ROW, pa.int64()), pa.field("run", pa.int64())])


def decide(records: pa.Table, keep_first: bool) -> pa.Table:
    """For each anchor of ANCHORS: all of its runs go, or they must be compared; nothing where it stands alone."""
    key, lane, lane2, row, anchor = (records.column(name).to_numpy() for name in ("key", "hash", "hash2", ROW, "anchor"))
    order = np.lexsort((anchor, row, lane2, lane, key))
    key, lane, lane2 = key[order], lane[order], lane2[order]
    other_key = _changes(key)
    other = other_key | _changes(lane) | _changes(lane2)
    group, kind = np.cumsum(other_key) - 1, np.cumsum(other) - 1
    kinds = np.bincount(group[other], minlength=1)
    copies = np.bincount(kind, minlength=1)
    open_ = other & (kinds[group] > 1) if len(order) else other
    goes = ~other
    if not keep_first and len(order):
        again = records.column("again").to_numpy()[order]
        goes = (copies[kind] > 1) | again
    told = goes | open_
    taken = order[told]
    return pa.table([pa.array(c) for c in (row[taken], anchor[taken], goes[told], open_[told])], schema=DECIDED)


def repeated(records: pa.Table, keep_first: bool) -> pa.Table:
    """Runs of RUNS that equal an earlier one, or any other one."""
    key, lane, row, run = (records.column(name).to_numpy() for name in ("key", "hash", ROW, "run"))
    order = np.lexsort((run, row, lane, key))
    other = _changes(key[order]) | _changes(lane[order])
    goes = ~other
    if not keep_first and len(order):
        kind = np.cumsum(other) - 1
        goes = np.bincount(kind)[kind] > 1
    taken = order[goes]
    return pa.table([pa.array(row[taken]), pa.array(run[taken])], schema=REPEATED)


def _changes(values: Any) -> Any:
    """bool[n]: whether a value differs from the one before it; the first one does."""
    return np.concatenate([np.ones(min(1, len(values)), bool), values[1:] != values[:-1]])
