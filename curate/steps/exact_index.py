"""`dedup_exact` with an index: the hash of every value that a document stayed for, with that document's id.

A file holds values in the order of their hashes, so a partition of a run meets the few blocks that its hashes fall into.
16 bytes a document, 4 and its id; no row, no text.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.duplicate_index import Blocks, Index, check_settings
from curate.ranges import ranges

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

VALUES = pa.schema([pa.field("key", pa.uint64()), pa.field("hash", pa.uint64()), pa.field("id", pa.string())])


class Values:
    """A version opened for reading."""

    def __init__(self, root: str, name: str, made_for: dict[str, Any]) -> None:
        version = Index(root).version(name)
        check_settings(version, made_for)
        self._segments = [Blocks(version.root, segment, "values") for segment in version.segments]

    def ids(self, key: U64, lane: U64) -> pa.StringArray:
        """Id of the indexed document of each value, null where there is none; of two documents (merged indexes) the older segment's.

        key, lane: u64[n], sorted by both, each pair once. One block is looked at at a time.
        """
        asked = np.arange(len(key))
        at_value, ids = [asked[:0]], [pa.array([], pa.string())]
        for blocks in self._segments:
            firsts, lasts = blocks.keys
            low, high = np.searchsorted(key[asked], firsts, "left"), np.searchsorted(key[asked], lasts, "right")
            known = [asked[:0]]
            for at in np.flatnonzero(low < high).tolist():
                batch, some = blocks.read(at), asked[low[at] : high[at]]
                value, place = _equal(key[some], lane[some], batch)
                known.append(some[value])
                ids.append(batch.column("id").take(pa.array(place)))
            at_value += known
            asked = np.setdiff1d(asked, np.concatenate(known), assume_unique=True)
        return _placed(np.concatenate(at_value), pa.concat_arrays(ids), len(key))


def _equal(key: U64, lane: U64, batch: pa.RecordBatch) -> tuple[I64, I64]:
    """(place among the values asked for, place in the block) of those that the block holds. Two hashes may share their key."""
    held, other = batch.column("key").to_numpy(), batch.column("hash").to_numpy()
    start = np.searchsorted(held, key, "left")
    count = np.searchsorted(held, key, "right") - start
    value = np.repeat(np.arange(len(key)), count)
    place = ranges(start, count)
    same = other[place] == lane[value]
    return value[same], place[same]


def _placed(at: I64, ids: pa.StringArray, n: int) -> pa.StringArray:
    """Ids at their places among n, null at the others."""
    take, absent = np.zeros(n, np.int64), np.ones(n, bool)
    take[at], absent[at] = np.arange(len(at)), False
    return ids.take(pa.array(take, mask=absent))


@lru_cache(maxsize=2)
def _opened(root: str, name: str, made_for: str) -> Values:
    return Values(root, name, json.loads(made_for))


def open_values(root: str, name: str | None, made_for: dict[str, Any]) -> Values | None:
    """The version, opened once a process; None for an empty index."""
    return _opened(root, name, json.dumps(made_for, sort_keys=True)) if name else None


def sorted_values(records: pa.Table) -> pa.Table:
    """Records of a partition in the order of their hashes."""
    return records.take(pa.array(np.lexsort((records.column("hash").to_numpy(), records.column("key").to_numpy())))).combine_chunks()
