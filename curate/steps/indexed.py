"""`dedup_minhash` with an index: candidates from its postings, proof from its shingle sets, and what the run adds to it.

An indexed document is known by a number: its place in the version, oldest segment first. In the graph of edges it is the
row -1 - number. It has no edge to another document, so it stays, and all that is near it goes (`curate.kernels.assignment`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.duplicate_index import Blocks, Index, check_settings
from curate.figures import figures_of, with_figures
from curate.ranges import ranges
from curate.schema import ROW
from curate.steps.duplicate_groups import BUCKETS, EDGES, GATHERED, lists
from curate.steps.sketches import Sketcher
from curate.steps.survivors import RANK_FIELDS

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

NONE = -1  # in the column `indexed`: a group of this run
POSTINGS_LOOKED = 128  # documents of a band hash that are candidates, of all segments together
LOOKED_UP = 1 << 16  # hashes at a time: 200 MB of candidates at most
COMPARED = 128  # indexed documents that a document is compared with: those that share the most bands
FETCHED_SHINGLES = 1 << 22  # held at a time: 32 MB

BUCKETS_INDEXED = BUCKETS.append(pa.field("indexed", pa.int64()))
GATHERED_INDEXED = pa.schema(
    [*GATHERED, pa.field("to", pa.int64()), pa.field("similarity", pa.float64()), pa.field("partner", pa.string())]
)
SETS = pa.schema([pa.field(ROW, pa.int64()), pa.field("id", pa.string()), pa.field("shingles", pa.large_list(pa.uint64()))])
POSTINGS = pa.schema([pa.field("key", pa.uint64()), pa.field(ROW, pa.int64())])


class Reader:
    """A version opened for reading."""

    def __init__(self, root: str, name: str, made_for: dict[str, Any]) -> None:
        version = Index(root).version(name)
        check_settings(version, made_for)
        self._segments = [(Blocks(version.root, s, "sets"), Blocks(version.root, s, "postings")) for s in version.segments]
        self._base = np.cumsum([0, *(s["documents"] for s in version.segments)])

    def candidates(self, key: U64, row: I64) -> Iterator[tuple[I64, I64, int]]:
        """(row, number) of documents and the indexed ones that share one of their band hashes, and how many lists were cut.

        In pieces of LOOKED_UP hashes: of a template that fills an index each could have POSTINGS_LOOKED candidates.
        """
        order = np.argsort(key, kind="stable")
        for start in range(0, len(key), LOOKED_UP):
            some = order[start : start + LOOKED_UP]
            yield self._looked_up(key[some], row[some])

    def _looked_up(self, key: U64, row: I64) -> tuple[I64, I64, int]:
        """Candidates of some hashes, in order; the newest segments first, as far as POSTINGS_LOOKED goes."""
        rows, numbers, cut = [row[:0]], [row[:0]], 0
        left = np.full(len(key), POSTINGS_LOOKED)
        for segment in range(len(self._segments) - 1, -1, -1):
            sets, postings = self._segments[segment]
            firsts, lasts = postings.keys
            lows, highs = np.searchsorted(key, firsts, "left"), np.searchsorted(key, lasts, "right")
            for at in np.flatnonzero(lows < highs).tolist():
                here, batch = slice(lows[at], highs[at]), postings.read(at)
                held = batch.column("key").to_numpy()
                start, end = np.searchsorted(held, key[here], "left"), np.searchsorted(held, key[here], "right")
                count = np.minimum(end - start, left[here])
                cut += int((end - start > count).sum())
                left[here] -= count
                place = ranges(start, count)
                rows.append(np.repeat(row[here], count))
                numbers.append(self._base[segment] + _numbers(sets, batch.column(ROW).to_numpy()[place]))
        return np.concatenate(rows), np.concatenate(numbers), cut

    def fetch(self, numbers: I64) -> tuple[I64, U64, pa.Array]:
        """(offsets, shingles, ids) of these documents. numbers: sorted, each once."""
        offsets, values, ids = [np.zeros(1, np.int64)], [np.zeros(0, np.uint64)], [pa.array([], pa.string())]
        for segment, (sets, _) in enumerate(self._segments):
            inside = numbers[(numbers >= self._base[segment]) & (numbers < self._base[segment + 1])] - self._base[segment]
            block_of = np.searchsorted(sets.starts, inside, "right") - 1
            for at in np.unique(block_of).tolist():
                batch, local = sets.read(at), inside[block_of == at] - sets.starts[at]
                some, found = lists(pa.chunked_array([batch.column("shingles")]), local)
                offsets.append(some[1:] + offsets[-1][-1])
                values.append(found)
                ids.append(batch.column("id").take(pa.array(local)))
        return np.concatenate(offsets), np.concatenate(values), pa.concat_arrays(ids)


@lru_cache(maxsize=2)
def _reader(root: str, name: str, made_for: tuple[tuple[str, Any], ...]) -> Reader:
    return Reader(root, name, dict(made_for))


def open_reader(root: str, name: str | None, made_for: dict[str, Any]) -> Reader | None:
    """The version, opened once a process; None for an empty index."""
    return _reader(root, name, tuple(made_for.items())) if name else None


def _numbers(sets: Blocks, rows: I64) -> I64:
    """Places in the segment of documents by their rows."""
    firsts = np.array([block["first"] for _, _, block in sets.all], np.int64)
    block_of = np.searchsorted(firsts, rows, "right") - 1
    found = np.empty(len(rows), np.int64)
    for at in np.unique(block_of).tolist():
        here = block_of == at
        found[here] = sets.starts[at] + np.searchsorted(sets.read(at).column(ROW).to_numpy(), rows[here])
    return found


def bucket_records(reader: Reader | None, groups: pa.Table, records: pa.Table) -> Iterator[pa.Table]:
    """The groups of this run, then a record for each pair of a document and an indexed candidate, with how many lists were cut."""
    whole = groups.append_column("indexed", pa.array(np.full(len(groups), NONE))).cast(BUCKETS_INDEXED)
    yield with_figures(whole, {**figures_of(groups), "index_buckets_cut": 0})
    if reader is None:
        return
    for row, number, cut in reader.candidates(records.column("key").to_numpy(), records.column(ROW).to_numpy()):
        n = len(row)
        columns = [pa.array(row), pa.array(np.zeros(n, np.uint64)), pa.array(np.zeros(n, bool)), pa.array(number)]
        yield with_figures(pa.table(columns, schema=BUCKETS_INDEXED), {"index_buckets_cut": cut})


def of_this_run(side: pa.Table) -> pa.Table:
    """Groups of documents of this run."""
    return side.filter(pc.equal(side.column("indexed"), NONE))


def of_own_rows(verdicts: pa.Table) -> pa.Table:
    """Verdicts without those on indexed documents."""
    return verdicts.filter(pc.greater_equal(verdicts.column(ROW), 0)).replace_schema_metadata(verdicts.schema.metadata)


def widened(gathered: pa.Table) -> pa.Table:
    """Shingle sets with the columns that edges to indexed documents have, empty."""
    extra = list(GATHERED_INDEXED)[len(GATHERED) :]
    return pa.table([*gathered.columns, *(pa.nulls(len(gathered), f.type) for f in extra)], schema=GATHERED_INDEXED)


def candidate_pairs(rows: I64, side: pa.Table) -> tuple[I64, I64, int]:
    """(position, number) of the pairs to compare in a batch: COMPARED for each document; and for how many more were left out.

    side: records of `bucket_records` sorted by row
    """
    named = side.column(ROW).to_numpy()
    if not len(rows):
        return named[:0], named[:0], 0
    low, high = int(np.searchsorted(named, rows[0], "left")), int(np.searchsorted(named, rows[-1], "right"))
    here = side.slice(low, high - low)
    here = here.filter(pc.not_equal(here.column("indexed"), NONE))
    place = np.searchsorted(rows, here.column(ROW).to_numpy())
    inside = rows[np.minimum(place, len(rows) - 1)] == here.column(ROW).to_numpy()
    place, number = place[inside], here.column("indexed").to_numpy()[inside]
    pairs, shared = np.unique(np.stack([place, number], axis=1), axis=0, return_counts=True)
    order = np.lexsort((pairs[:, 1], -shared, pairs[:, 0]))
    pairs = pairs[order]
    starts = np.flatnonzero(np.append(True, pairs[1:, 0] != pairs[:-1, 0])) if len(pairs) else np.zeros(0, np.int64)
    size = np.diff(np.append(starts, len(pairs)))
    wanted = np.arange(len(pairs)) - np.repeat(starts, size) < COMPARED
    pairs = pairs[wanted]
    return pairs[:, 0], pairs[:, 1], int((size > COMPARED).sum())


def nearest_indexed(
    reader: Reader, own: tuple[I64, U64], document: I64, number: I64, threshold: float, contained: bool
) -> Iterator[pa.Table]:
    """(document, number, similarity, id) of documents that an indexed one is near to; a bounded number of sets at a time.

    own: (offsets, shingles) of the documents; document: positions in `own`, ascending
    """
    from curate.kernels.index_pairs import nearest
    from curate.kernels.shingles import ShingleSets

    at = 0
    while at < len(document):
        end = min(len(document), at + (COMPARED << 5))
        end = int(np.searchsorted(document, document[end - 1], "right"))  # a document's pairs stay together
        wanted, back = np.unique(number[at:end], return_inverse=True)
        offsets, values, ids = reader.fetch(wanted)
        mine, local = np.unique(document[at:end], return_inverse=True)
        first, last = own[0][mine[0]], own[0][mine[-1] + 1]
        some = own[0][mine[0] : mine[-1] + 2] - first
        best, similarity = nearest(
            ShingleSets(some, own[1][first:last]),
            ShingleSets(offsets, values),
            mine[local] - mine[0],
            back.astype(np.int64),
            threshold,
            contained,
        )
        found = np.flatnonzero(best >= 0)
        yield pa.table(
            {
                "document": found + mine[0],
                "number": wanted[best[found]],
                "similarity": similarity[found],
                "id": ids.take(pa.array(best[found])),
            }
        )
        at = end


def near_indexed(
    reader: Reader | None, sketcher: Sketcher, batch: pa.RecordBatch, side: pa.Table, threshold: float, contained: bool
) -> tuple[pa.Table, dict[str, int]]:
    """Proven edges from the batch's documents to indexed ones, in the form that travels, and what was compared and left out.

    side: records of `bucket_records` sorted by row
    """
    rows = batch.column(ROW).to_numpy()
    place, number, partly = candidate_pairs(rows, side)
    parts = [GATHERED_INDEXED.empty_table()]
    inside, local = np.unique(place, return_inverse=True)
    same_id = 0
    if reader is not None and len(inside):
        some = batch.take(pa.array(inside))
        own = sketcher.sets(some.column("text"))
        for found in nearest_indexed(reader, own, local, number, threshold, contained):
            ids = pc.cast(some.column("id"), pa.string()).take(found.column("document").combine_chunks())
            same_id += int(pc.sum(pc.equal(ids, found.column("id"))).as_py() or 0)
            parts.append(edge_records(found, rows[inside]))
    table = pa.concat_tables(parts)
    figures = {
        "pairs_compared_with_index": len(place),
        "near_indexed_documents": len(table),
        "documents_compared_with_index_in_part": partly,
        "near_indexed_documents_of_the_same_id": same_id,
    }
    return table, figures


def edge_records(found: pa.Table, rows: I64) -> pa.Table:
    """Proven edges to indexed documents, in the form that travels with the shingle sets."""
    row = rows[found.column("document").to_numpy()]
    n = len(row)
    empty = pa.LargeListArray.from_arrays(pa.array(np.zeros(n + 1, np.int64)), pa.array(np.zeros(0, np.uint64)))
    key = row.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)  # any partition will do
    columns = [pa.array(key), pa.array(row), pa.nulls(n, pa.string()), *(pa.nulls(n, f.type) for f in RANK_FIELDS), empty]
    return pa.table(
        [*columns, pa.array(-1 - found.column("number").to_numpy()), found.column("similarity"), found.column("id")],
        schema=GATHERED_INDEXED,
    )


def split_edges(records: pa.Table) -> tuple[pa.Table, pa.Table]:
    """(shingle sets of groups, edges to indexed documents) of what the gathering phase sent."""
    proven = records.column("to").is_valid()
    edges = records.filter(proven)
    n = len(edges)
    zero, no = pa.array(np.zeros(n, np.uint64)), pa.array(np.zeros(n, bool))
    columns = [edges.column(ROW), edges.column("to"), edges.column("similarity"), no, zero, edges.column("partner")]
    made = pa.table([*columns, *(pa.nulls(n, f.type) for f in RANK_FIELDS)], schema=EDGES)
    return records.filter(pc.invert(proven)).select(GATHERED.names), made


def sorted_postings(records: pa.Table) -> pa.Table:
    """Band hashes in order, those of one hash in the order of the documents."""
    return records.take(np.lexsort((records.column(ROW).to_numpy(), records.column("key").to_numpy())))
