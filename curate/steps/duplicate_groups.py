"""The phases of `dedup_minhash` between its settings and its kernels: records in, records out. Text never travels.

buckets   (key, _row, claim, tie)                       one record a band and document
gather    (_row, group, cut)                            where each document is to be compared
verify    (key = group, _row, id, rank, shingles)       a shingle set for each group a document is in
assign    (_row, to, similarity, same, order, partner)  edges that are proven
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.figures import with_figures
from curate.ranges import ranges
from curate.schema import ROW
from curate.steps.survivors import RANK_FIELDS, KeepBy, claim_order

I64 = npt.NDArray[np.int64]

BLOCK_SHINGLES = 1 << 20  # shingles of whole groups copied together: 8 MB
GROUP_SHINGLES = 1 << 25  # a group with more is compared in slices, each with its strongest documents: 256 MB
PASS_RECORDS = 1 << 22  # band records sorted at a time
_COMPARED = ("pairs_compared", "pairs_at_threshold", "documents_compared_in_part")  # figures, in the order of the kernel's counts
CUT_GROUPS = 2  # parts of cut buckets that a document goes into

_KEY, _ROW = pa.field("key", pa.uint64()), pa.field(ROW, pa.int64())
BANDS_FIRST = pa.schema([_KEY, _ROW])
BANDS = pa.schema([_KEY, _ROW, pa.field("claim", pa.uint64()), pa.field("tie", pa.uint64())])
BUCKETS = pa.schema([_ROW, pa.field("group", pa.uint64()), pa.field("cut", pa.bool_())])
GATHERED = pa.schema([_KEY, _ROW, pa.field("id", pa.string()), *RANK_FIELDS, pa.field("shingles", pa.large_list(pa.uint64()))])
EDGES = pa.schema(
    [
        _ROW,
        pa.field("to", pa.int64()),
        pa.field("similarity", pa.float64()),
        pa.field("same", pa.bool_()),
        pa.field("order", pa.uint64()),
        pa.field("partner", pa.string()),
        *RANK_FIELDS,  # of the partner
    ]
)


def group_buckets(records: pa.Table) -> pa.Table:
    """Name the groups of the documents of a partition's buckets; a range of keys at a time."""
    from curate.kernels.buckets import group

    found, figures = [], {"buckets": 0, "buckets_cut": 0, "largest_bucket": 0}
    for part in _key_ranges(records):
        key, row = part.column("key").to_numpy(), part.column(ROW).to_numpy()
        first = "claim" not in part.column_names
        claim = row.astype(np.uint64) if first else part.column("claim").to_numpy()
        made = group(key, row, claim, np.zeros(len(row), np.uint64) if first else part.column("tie").to_numpy())
        found.append(pa.table([pa.array(made.row), pa.array(made.group), pa.array(made.cut)], schema=BUCKETS))
        figures["buckets"] += made.counts["buckets"]
        figures["buckets_cut"] += made.counts["buckets_cut"]
        figures["largest_bucket"] = max(figures["largest_bucket"], made.counts["largest_bucket"])
    return with_figures(pa.concat_tables([BUCKETS.empty_table(), *found]), figures)


def _key_ranges(records: pa.Table) -> Iterator[pa.Table]:
    """The records, in ranges of their keys of about PASS_RECORDS: a sort needs several times the memory of what it sorts."""
    passes = -(-len(records) // PASS_RECORDS)
    if passes <= 1:
        yield records
        return
    low = int(pc.min(records.column("key")).as_py())
    width = (int(pc.max(records.column("key")).as_py()) - low) // passes + 1
    for number in range(passes):
        start = pa.scalar(low + number * width, pa.uint64())
        end = pa.scalar(min(low + (number + 1) * width - 1, 2**64 - 1), pa.uint64())
        yield records.filter(pc.and_(pc.greater_equal(records.column("key"), start), pc.less_equal(records.column("key"), end)))


class Routes(NamedTuple):
    """Which documents of a batch go into which groups."""

    document: I64  # position in the batch, ascending
    group: npt.NDArray[np.uint64]
    figures: dict[str, int]


def routes(rows: I64, side: pa.Table) -> Routes:
    """Find the groups of these rows: each once, and of parts of cut buckets CUT_GROUPS at most.

    side: records of `group_buckets`, sorted by row
    """
    named = side.column(ROW).to_numpy()
    low, high = np.searchsorted(named, rows, "left"), np.searchsorted(named, rows, "right")
    size = high - low
    document = np.repeat(np.arange(len(rows)), size)
    at = ranges(low, size)
    group = side.column("group").to_numpy()[at]
    cut = side.column("cut").to_numpy(zero_copy_only=False)[at]
    order = np.lexsort((cut, group, document))  # where a document leads a part it does not count as one
    document, group, cut = document[order], group[order], cut[order]
    new = np.ones(len(order), bool)
    new[1:] = (document[1:] != document[:-1]) | (group[1:] != group[:-1])
    document, group, cut = document[new], group[new], cut[new]
    number = np.cumsum(cut)
    starts = np.flatnonzero(np.append(True, document[1:] != document[:-1])) if len(document) else np.zeros(0, np.int64)
    before = np.repeat((number - cut)[starts], np.diff(np.append(starts, len(document))))
    wanted = ~cut | (number - before <= CUT_GROUPS)
    skipped = document[~wanted]
    figures = {"candidates": len(starts), "sets_sent": int(wanted.sum()), "documents_not_in_all_groups": len(np.unique(skipped))}
    return Routes(document[wanted], group[wanted], figures)


def verify(records: pa.Table, keep: str | KeepBy, threshold: float, contained: bool) -> Iterator[pa.Table]:
    """Compare the documents of all groups of a partition, some groups at a time: edges of each block, with its figures."""
    yield with_figures(EDGES.empty_table(), dict.fromkeys(_COMPARED, 0))
    light = records.drop_columns(["shingles"])
    order = pc.sort_indices(light, sort_keys=[("key", "ascending"), *claim_order(keep)]).to_numpy().astype(np.int64)
    for block in _blocks(records, order):
        edges, counts = _compare_block(light, records, block, keep, threshold, contained)
        yield with_figures(edges, dict(zip(_COMPARED, counts.tolist(), strict=True)))


class Block(NamedTuple):
    """Documents to compare together."""

    rows: I64  # positions in the records, group by group, the strongest first
    groups: I64  # i64[G+1]: first document of each group, in rows
    partly: int  # documents of a group that was sliced: they are not compared with all others of it


def _compare_block(
    light: pa.Table, records: pa.Table, block: Block, keep: str | KeepBy, threshold: float, contained: bool
) -> tuple[pa.Table, I64]:
    from curate.kernels.hashing import hash_strings
    from curate.kernels.near_duplicates import compare
    from curate.kernels.shingles import ShingleSets
    from curate.kernels.strings import views

    found = compare(block.groups, ShingleSets(*lists(records.column("shingles"), block.rows)), threshold, contained)
    strong = light.take(pa.array(block.rows[found.strong])).combine_chunks()
    rows = light.column(ROW).to_numpy()
    to = strong.column(ROW)
    order = np.empty(len(strong), np.uint64)
    hash_strings(*views(pc.cast(strong.column("id"), pa.large_string())), order)
    columns = [
        pa.array(rows[block.rows[found.weak]]),
        to,
        pa.array(found.similarity),
        pa.array(found.same),
        pc.cast(to, pa.uint64()) if keep == "first" else pa.array(order),
        strong.column("id"),
        *(strong.column(f.name) for f in RANK_FIELDS),
    ]
    counts = found.counts.copy()
    counts[2] += block.partly
    return pa.table(columns, schema=EDGES), counts


def _blocks(records: pa.Table, order: I64) -> Iterator[Block]:
    """Cut `order` (records sorted by group and claim) between groups, about BLOCK_SHINGLES or one group a block."""
    if not len(order):
        return
    size = np.concatenate([pc.list_value_length(c).to_numpy(zero_copy_only=False) for c in records.column("shingles").chunks])[order]
    key = records.column("key").to_numpy()[order]
    starts = np.flatnonzero(np.append(True, key[1:] != key[:-1]))
    total = np.add.reduceat(size, starts)
    big = total > GROUP_SHINGLES
    number = (np.cumsum(total) - total) // BLOCK_SHINGLES
    new = np.ones(len(starts), bool)
    new[1:] = (number[1:] != number[:-1]) | big[1:] | big[:-1]
    edges = np.append(starts, len(order))
    cuts = np.append(np.flatnonzero(new), len(starts))
    for first, last in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
        rows = order[edges[first] : edges[last]]
        if big[first]:
            yield from _slices(rows, size[edges[first] : edges[last]])
        else:
            yield Block(rows, edges[first : last + 1] - edges[first], 0)


def _slices(rows: I64, size: I64) -> Iterator[Block]:
    """A group that is too large for memory, in slices of GROUP_SHINGLES: its strongest documents (an eighth of a slice) in each."""
    lead = max(1, int(np.searchsorted(np.cumsum(size), GROUP_SHINGLES // 8)))
    rest, weight = rows[lead:], size[lead:]
    number = (np.cumsum(weight) - weight) // GROUP_SHINGLES
    for n in np.unique(number).tolist():
        part = np.concatenate([rows[:lead], rest[number == n]])
        yield Block(part, np.array([0, len(part)]), 0 if n == 0 else int((number == n).sum()))


def lists(column: pa.ChunkedArray, rows: I64) -> tuple[I64, npt.NDArray[np.uint64]]:
    """Copy the lists of these rows: (offsets i64[len(rows)+1], values u64). `take` would join all chunks first."""
    from curate.kernels.near_duplicates import copy_lists

    chunk_starts = np.cumsum([0, *(len(c) for c in column.chunks)])
    chunk_of = np.searchsorted(chunk_starts, rows, side="right") - 1
    touched = [(c, np.flatnonzero(chunk_of == c)) for c in np.unique(chunk_of)]
    offsets = np.zeros(len(rows) + 1, np.int64)
    for c, places in touched:
        starts = column.chunk(c).offsets.to_numpy()
        local = rows[places] - chunk_starts[c]
        offsets[places + 1] = starts[local + 1] - starts[local]
    np.cumsum(offsets, out=offsets)
    values = np.empty(offsets[-1], np.uint64)
    for c, places in touched:
        chunk = column.chunk(c)
        copy_lists(chunk.offsets.to_numpy(), chunk.values.to_numpy(), rows[places] - chunk_starts[c], places, offsets, values)
    return offsets, values
