"""From band hashes to groups: which documents must be compared. Linear in the records; no bucket is quadratic.

A bucket is the documents that share a band hash. The strongest of them (by claim) leads it, and all buckets with one
leader are one group: near-duplicates share many bands, so they meet in one group and not in one for each band. A bucket
of more than WHOLE documents is cut: its LEADERS strongest go into every part, the others each into one.

m records, r pairs (document, group).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curate.kernels.minhash import spread
from curate.kernels.shingles import U64
from curate.kernels.strings import I64

WHOLE, PART, LEADERS = 2048, 1024, 4
SALT = np.uint64(0x8CB92BA72F3D8DD7)


class Groups(NamedTuple):
    """Where each document is to be compared."""

    row: I64  # i64[r]
    group: U64  # u64[r]
    cut: npt.NDArray[np.bool_]  # bool[r]: the group is a part of a bucket; a leader's place in a part does not count as one
    counts: dict[str, int]


def group(key: U64, row: I64, claim: U64, tie: U64) -> Groups:
    """Name the groups of all documents of the records; a bucket of one document gives none.

    claim, tie: u64[m]; the smaller (claim, tie, row) is the stronger. A document may be named twice in one group.
    """
    order = np.argsort(key)
    sorted_keys = key[order]
    shared = np.zeros(len(key), bool)
    equal = sorted_keys[1:] == sorted_keys[:-1]
    shared[1:] |= equal
    shared[:-1] |= equal
    order = order[shared]
    order = order[np.lexsort((row[order], tie[order], claim[order], key[order]))]
    keys = key[order]
    starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])) if len(keys) else np.zeros(0, np.int64)
    sizes = np.diff(np.append(starts, len(keys)))
    rows = row[order]
    leader = spread(rows[starts])
    named, cut = np.repeat(leader, sizes), np.zeros(len(rows), bool)
    extra_rows, extra_groups = [rows[:0]], [named[:0]]
    big = np.flatnonzero(sizes > WHOLE)
    for bucket in big.tolist():  # few: each has more than WHOLE records
        start, size = int(starts[bucket]), int(sizes[bucket])
        parts = 1 << int(np.ceil(np.log2(size / PART)))
        names = spread(leader[bucket] ^ (SALT * np.arange(1, parts + 1, dtype=np.uint64)) ^ np.uint64(parts))
        inside = slice(start, start + size)
        member = spread(tie[order[inside]] ^ claim[order[inside]] ^ SALT) & np.uint64(parts - 1)
        named[inside], cut[inside] = names[member.astype(np.int64)], True
        cut[start : start + LEADERS] = False
        extra_rows.append(np.repeat(rows[start : start + LEADERS], parts))
        extra_groups.append(np.tile(names, LEADERS))
    counts = {"buckets": len(sizes), "buckets_cut": len(big), "largest_bucket": int(sizes.max()) if len(sizes) else 0}
    added = np.concatenate(extra_rows)
    return Groups(
        np.concatenate([rows, added]),
        np.concatenate([named, *extra_groups]),
        np.concatenate([cut, np.zeros(len(added), bool)]),
        counts,
    )
