"""The last phase of `dedup_minhash`: from proven edges to who goes, and with whom. One process sees all edges.

Edges stay on disk and are read piece by piece; memory is that of `curate.kernels.assignment` (at most 45 bytes for a
document that has an edge, and 4 an edge) and one block of results. With `closure: transitive` all edges are in memory.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.figures import with_figures
from curate.schema import ROW
from curate.steps.survivors import KeepBy, claim_order

REASON = "dedup_minhash.near_duplicate"
BLOCK_ROWS = 1 << 20  # documents in a block of results

RESOLVED = pa.schema(
    [
        pa.field(ROW, pa.int64()),
        pa.field("reason", pa.string()),
        pa.field("value", pa.float64()),
        pa.field("partner", pa.string()),
        pa.field("size", pa.int64()),
    ]
)


def verdicts(edges: pa.Table, keep: str | KeepBy, all_rows: bool) -> Iterator[pa.Table]:
    """Records of the documents that go, and with all_rows of those that stay for others too."""
    from curate.kernels.assignment import Piece, assign

    batches = [b for b in edges.to_batches() if len(b)]
    if keep != "first":
        batches += [b for b in _between_parts(batches, keep).to_batches() if len(b)]

    def pieces() -> Iterator[Piece]:
        for b in batches:
            yield Piece(*(b.column(n).to_numpy(zero_copy_only=False) for n in (ROW, "to", "similarity", "same", "order")))

    found = assign(pieces)
    yield with_figures(RESOLVED.empty_table(), {"documents_with_a_pair": len(found.rows), "removed": int((~found.stays).sum())})
    starts = np.cumsum([0, *(len(b) for b in batches)])
    for first in range(0, len(found.rows), BLOCK_ROWS):
        block = slice(first, first + BLOCK_ROWS)
        named = np.flatnonzero(~found.stays[block] | (all_rows & (found.size[block] > 1)))
        gone = ~found.stays[block][named]
        rows, edge = found.rows[block][named], found.edge[block][named]
        to, similarity, partner = _look_up(batches, starts, edge[gone])
        size = found.size[block][named].astype(np.int64)
        size[gone] = found.size[np.searchsorted(found.rows, to)]
        yield _records(rows, gone, similarity, partner, size)


def _between_parts(batches: list[pa.RecordBatch], keep: str | KeepBy) -> pa.Table:
    """Edges between equal documents that were the strongest of different parts of a cut bucket.

    Parts are led by the strongest document as the short claims have it (`survivors.claims`), which do not order equal ranks
    by id. The leader is in every part, so it is equal to the exactly strongest one of each: that is what joins them.
    """
    from curate.kernels.unionfind import components

    schema = batches[0].schema if batches else pa.schema([])
    same = [b.filter(b.column("same")) for b in batches]
    pairs = [np.stack([b.column(ROW).to_numpy(), b.column("to").to_numpy()], axis=1) for b in same]
    distinct = np.unique(np.concatenate([np.zeros((0, 2), np.int64), *pairs]), axis=0)
    weak, count = np.unique(distinct[:, 0], return_counts=True)
    bridges = weak[count > 1]
    if not len(bridges):
        return pa.Table.from_batches([], schema)
    found = pa.Table.from_batches([b.filter(pa.array(np.isin(b.column(ROW).to_numpy(), bridges))) for b in same], schema)
    rows, component = components(found.column(ROW).to_numpy(), found.column("to").to_numpy())
    tops = found.append_column("component", pa.array(component[np.searchsorted(rows, found.column("to").to_numpy())]))
    claim = [
        ("component", "ascending"),
        *((("to", d) if c == ROW else ("partner", d) if c == "id" else (c, d)) for c, d in claim_order(keep)),
    ]
    tops = tops.take(pc.sort_indices(tops, sort_keys=claim)).combine_chunks()
    _, first, place = np.unique(tops.column("component").to_numpy(), return_index=True, return_inverse=True)
    best = tops.take(pa.array(first[place])).select(schema.names)
    joined = best.set_column(0, schema.field(0), tops.column("to"))
    return joined.filter(pc.not_equal(joined.column(ROW), joined.column("to"))).cast(schema)


def _records(rows: npt.NDArray[np.int64], gone: npt.NDArray[np.bool_], similarity: npt.NDArray[np.float64], partner: pa.Array,
             size: npt.NDArray[np.int64]) -> pa.Table:  # fmt: skip
    """similarity, partner: of those that go, in their order."""
    place = pa.array(np.cumsum(gone) - 1, mask=~gone)
    reason = pc.if_else(pa.array(gone), pa.scalar(REASON), pa.scalar(None, pa.string()))
    columns = [pa.array(rows), reason, pa.array(similarity, pa.float64()).take(place), partner.take(place), pa.array(size)]
    return pa.table(columns, schema=RESOLVED)


def _look_up(
    batches: list[pa.RecordBatch], starts: npt.NDArray[np.int64], edge: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], pa.Array]:
    """(to, similarity, partner) of edges by their number; `take` of a chunked column would join all of it first."""
    to, similarity = np.empty(len(edge), np.int64), np.empty(len(edge))
    batch_of = np.searchsorted(starts, edge, side="right") - 1
    order = np.argsort(batch_of, kind="stable")
    names = [pa.array([], pa.string())]
    for b in np.unique(batch_of).tolist():
        places = np.flatnonzero(batch_of == b)
        local = edge[places] - starts[b]
        to[places] = batches[b].column("to").to_numpy()[local]
        similarity[places] = batches[b].column("similarity").to_numpy()[local]
        names.append(batches[b].column("partner").take(pa.array(local)))
    back = np.empty(len(edge), np.int64)
    back[order] = np.arange(len(edge))
    return to, similarity, pa.concat_arrays(names).take(pa.array(back))


def transitive_verdicts(edges: pa.Table, keep: str | KeepBy, max_cluster: int, all_rows: bool) -> Iterator[pa.Table]:
    """One document of every connected component stays, the strongest; components of more than max_cluster are not closed.

    Members without an edge to the one that stays are removed too. Their value is what is certain of their similarity: 1 less
    the shortest sum of Jaccard distances on a way to it (1 - Jaccard is a metric: Lipkus 1999), 0 at least.
    """
    from curate.kernels.unionfind import components

    weak, strong = edges.column(ROW).to_numpy(), edges.column("to").to_numpy()
    nodes, component = components(weak, strong)
    size = np.unique(component, return_inverse=True, return_counts=True)
    members = size[2][size[1]]
    closed = np.isin(weak, nodes[members <= max_cluster])
    open_edges, edges = edges.filter(pa.array(~closed)), edges.filter(pa.array(closed))
    yield from verdicts(open_edges, keep, all_rows)
    chosen, figures = _closed(edges, keep, nodes, component, members)
    figures |= {
        "clusters_over_the_cap": len(np.unique(component[members > max_cluster])),
        "removed": int(pc.count(chosen.column("reason")).as_py()),
    }
    yield with_figures(chosen if all_rows else chosen.filter(chosen.column("reason").is_valid()), figures)


def _closed(
    edges: pa.Table, keep: str | KeepBy, nodes: npt.NDArray[np.int64], component: npt.NDArray[np.int64], members: npt.NDArray[np.int64]
) -> tuple[pa.Table, dict[str, int]]:
    weak, strong = edges.column(ROW).to_numpy(), edges.column("to").to_numpy()
    # The strongest of a component has no edge to a stronger one. It is the partner of somebody, so an edge tells its rank and id.
    tops = (
        edges.filter(pa.array(~np.isin(strong, weak)))
        .select(["to", "partner", "rank", "rank_text"])
        .rename_columns([ROW, "id", "rank", "rank_text"])
    )
    tops = tops.append_column("component", pa.array(component[np.searchsorted(nodes, tops.column(ROW).to_numpy())]))
    tops = tops.take(pc.sort_indices(tops, sort_keys=[("component", "ascending"), *claim_order(keep)])).combine_chunks()
    _, first = np.unique(tops.column("component").to_numpy(), return_index=True)
    winners = tops.take(pa.array(first))
    inside = np.isin(nodes, np.concatenate([weak, strong]))
    rows, own, count = nodes[inside], component[inside], members[inside]
    place = np.searchsorted(winners.column("component").to_numpy(), own)
    winner = winners.column(ROW).to_numpy()[place]
    distance = _distances(rows, np.unique(winners.column(ROW).to_numpy()), weak, strong, 1.0 - edges.column("similarity").to_numpy())
    gone = rows != winner
    direct = np.isin(rows, weak[np.isin(strong, winner)])
    value = np.maximum(0.0, 1.0 - distance)
    partner = winners.column("id").take(pa.array(place[gone])).combine_chunks()
    figures = {
        "documents_with_a_pair": len(rows),
        "removed_by_a_chain": int((gone & ~direct).sum()),
        "largest_cluster": int(count.max()) if len(count) else 0,
    }
    return _records(rows, gone, value[gone], partner, count), figures


def _distances(rows: npt.NDArray[np.int64], winners: npt.NDArray[np.int64], weak: npt.NDArray[np.int64], strong: npt.NDArray[np.int64],
               length: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:  # fmt: skip
    """Shortest way of every row to the winner of its component (Bellman and Ford: as many rounds as the longest way has edges)."""
    distance = np.where(np.isin(rows, winners), 0.0, np.inf)
    a, b = np.searchsorted(rows, weak), np.searchsorted(rows, strong)
    while True:
        before = distance.copy()
        np.minimum.at(distance, a, before[b] + length)
        np.minimum.at(distance, b, before[a] + length)
        if (distance == before).all():
            return distance
