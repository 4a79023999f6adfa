"""Near-duplicate removal: MinHash proposes, exact Jaccard similarity decides, chains remove nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from curate.schema import ROW, with_columns
from curate.step import Context, CorpusStep, DocumentsFn, Outcome, Phase, RecordsFn
from curate.steps.survivors import RANK_FIELDS, Keep, claim_order, keep_column, ranks

REASON = "dedup_minhash.near_duplicate"
MIN_MATCH = 0.01  # below this chance of finding a pair at the threshold, settings are a mistake
BLOCK_SHINGLES = 1 << 20  # shingles of whole components copied together when a partition is resolved: 8 MB

_KEY, _ROW = pa.field("key", pa.uint64()), pa.field(ROW, pa.int64())
_BANDS = pa.schema([_KEY, _ROW])
_EDGES = pa.schema([pa.field("a", pa.int64()), pa.field("b", pa.int64())])
_COMPONENTS = pa.schema([_ROW, pa.field("component", pa.int64())])
_HASHES = pa.large_list(pa.uint64())
_GATHERED = pa.schema([_KEY, _ROW, pa.field("id", pa.string()), *RANK_FIELDS, pa.field("bands", _HASHES), pa.field("shingles", _HASHES)])
_RESOLVED = pa.schema(
    [
        _ROW,
        pa.field("reason", pa.string()),
        pa.field("value", pa.float64()),
        pa.field("partner", pa.string()),
        pa.field("cluster", pa.string()),
        pa.field("size", pa.int64()),
    ]
)
_COLUMNS: Mapping[str, pa.DataType] = {
    "dedup_minhash_keep": pa.bool_(),
    "dedup_minhash_reason": pa.string(),
    "dup_cluster": pa.string(),
    "dup_size": pa.int64(),
    "dup_of": pa.string(),
    "dup_similarity": pa.float64(),
}


class DedupMinhash(CorpusStep):
    """Remove documents that nearly repeat one that stays.

    Shingles are sets of n-grams of lower-cased `\\w+` words, CJK by character; a document of fewer words is one shingle,
    one without words is never a duplicate. Documents that share one of `bands` MinHash bands are candidates: a pair of
    similarity s is one with P = 1 - (1 - s^rows)^bands. In the order of `keep`, a document is removed only if a document
    that stays shares a band with it and their exact Jaccard similarity is at least `threshold`; the most similar one is
    stored as its partner. So every removal has its proof, and nothing is removed because of a chain.

    What it misses: pairs that share no band (P above), and partners that share only bands with more than 64 documents that
    stay (a template's) and lie behind the 64 latest of each, or behind the 256 first looked at in all. Reads text and id;
    depends on the whole corpus, not on how it is cut. 150-250 MB/s per core for the bands, about 170 for all phases.

    Adds, with mode: annotate: `dup_cluster` (id of the document that stays, or its own), `dup_size` (documents that this
    one stands for, itself included), `dup_of` and `dup_similarity` (null where it stays).
    """

    name: ClassVar[str] = "dedup_minhash"
    summary: ClassVar[str] = "remove near-duplicates: MinHash candidates, each checked by exact Jaccard similarity"
    origin: ClassVar[str] = "Broder 1997; bands and rows as FineWeb (datatrove); checked before removal, which they are not"

    ngram: int = Field(5, ge=1, le=64, description="words in a shingle")
    threshold: float = Field(0.8, gt=0, le=1, description="exact Jaccard similarity from which a document is a duplicate")
    bands: int = Field(14, ge=1, le=256, description="bands of the signature; more find more pairs")
    rows: int = Field(8, ge=1, le=64, description="values in a band; more make candidates more similar")
    verify: bool = Field(True, description="check candidates exactly; false removes on a shared band, and dup_similarity is an estimate")
    keep: Keep = "first"
    seed: int = Field(1, ge=0, le=2**63 - 1, description="of the hash functions")
    mode: Literal["drop", "annotate"] = Field("drop", description="drop near-duplicates, or only add columns that name them")

    @model_validator(mode="after")
    def _can_find_pairs(self) -> Self:
        found = 1.0 - (1.0 - self.threshold**self.rows) ** self.bands
        if self.verify and found < MIN_MATCH:
            raise ValueError(
                f"bands {self.bands} and rows {self.rows} would find {found:.2g} of the pairs at threshold {self.threshold}, "
                f"at least {MIN_MATCH} is needed: use fewer rows or more bands"
            )
        return self

    def reads(self) -> frozenset[str]:
        """Columns that must exist before this step."""
        return frozenset({"text", "id", keep_column(self.keep) or "text"})

    def adds(self) -> Mapping[str, pa.DataType]:
        """Columns that exist after it, with their types."""
        return _COLUMNS if self.mode == "annotate" else {}

    def drops(self) -> tuple[str, ...]:
        """Every drop reason it can give."""
        return (REASON,) if self.mode == "drop" else ()

    def phases(self) -> tuple[Phase, ...]:
        """Hash bands, connect what shares one, collect the shingles of what is connected, decide."""
        return (
            Phase("bands", over="documents", to="key", schema=_BANDS, key="key"),
            Phase("candidates", over="partition", to="everything", schema=_EDGES),
            Phase("components", over="everything", to="documents", schema=_COMPONENTS),
            Phase("gather", over="documents", to="key", schema=_GATHERED, key="key", reads=("components",), columns=self.reads()),
            Phase("resolve", over="partition", to="documents", schema=_RESOLVED),
        )

    def bind_phase(self, phase: str, ctx: Context) -> DocumentsFn | RecordsFn:
        """Return the function of that phase."""
        import curate.kernels.minhash
        import curate.kernels.near_duplicates
        import curate.kernels.unionfind  # noqa: F401  kernels are compiled or loaded here, not at the first batch

        functions: dict[str, DocumentsFn | RecordsFn] = {
            "bands": self._bands,
            "candidates": _candidates,
            "components": _components,
            "gather": self._gather,
            "resolve": self._resolve,
        }
        return functions[phase]

    def _bands(self, batch: pa.RecordBatch, side: Mapping[str, pa.Table]) -> pa.Table:
        """One record a band of every document that has words."""
        from curate.kernels.minhash import band_hashes

        found = band_hashes(batch.column("text"), self.ngram, self.bands, self.rows, self.seed)
        has_words = found.shingles > 0
        rows = batch.column(ROW).to_numpy()[has_words]
        return pa.table([pa.array(found.hash[has_words].ravel()), pa.array(np.repeat(rows, self.bands))], schema=_BANDS)

    def _gather(self, batch: pa.RecordBatch, side: Mapping[str, pa.Table]) -> pa.Table:
        """What the decision needs of every document that is in a component; a component is the key."""
        from curate.kernels.minhash import band_hashes, spread
        from curate.kernels.shingles import shingles, word_hashes

        connected = side["components"]
        rows, named = batch.column(ROW).to_numpy(), connected.column(ROW).to_numpy()
        at = np.searchsorted(named, rows)
        inside = np.flatnonzero(np.append(named, -1)[at] == rows)
        batch = batch.take(pa.array(inside))
        component = connected.column("component").to_numpy()[at[inside]]
        text = batch.column("text")
        bands = band_hashes(text, self.ngram, self.bands, self.rows, self.seed).hash
        band_starts = np.arange(len(batch) + 1, dtype=np.int64) * self.bands
        doc, hashes = shingles(word_hashes(text), self.ngram) if self.verify else (np.zeros(len(batch) + 1, np.int64), bands[:0].ravel())
        columns = [
            pa.array(spread(component)),
            batch.column(ROW),
            pc.cast(batch.column("id"), pa.string()),
            *ranks(batch, self.keep),
            pa.LargeListArray.from_arrays(pa.array(band_starts), pa.array(bands.ravel())),
            pa.LargeListArray.from_arrays(pa.array(doc), pa.array(hashes)),
        ]
        return pa.table(columns, schema=_GATHERED)

    def _resolve(self, records: pa.Table) -> pa.Table:
        """Decide on all components of a partition, some at a time."""
        keys = [("key", "ascending"), *claim_order(self.keep)]
        light = records.drop_columns(["bands", "shingles"])
        order = pc.sort_indices(light, sort_keys=keys).to_numpy().astype(np.int64)
        done = [_RESOLVED.empty_table()]
        done += [self._resolve_block(light.take(pa.array(block)), records, block) for block in _blocks(records, order)]
        return pa.concat_tables(done)

    def _resolve_block(self, light: pa.Table, records: pa.Table, block: np.ndarray) -> pa.Table:
        """Decide on the documents `block` of `records`, in that order: whole components, one after the other."""
        from curate.kernels.near_duplicates import choose
        from curate.kernels.shingles import ShingleSets

        _, bands = _lists(records.column("bands"), block)
        sets = ShingleSets(*_lists(records.column("shingles"), block)) if self.verify else None
        partner, similarity = choose(bands.reshape(len(block), self.bands), sets, self.threshold)
        if not self.verify:
            similarity = similarity ** (1.0 / self.rows)  # a share p of equal bands is most likely at s = p^(1/rows)
        gone = partner >= 0
        stays = np.where(gone, partner, np.arange(len(block)))
        size = np.bincount(stays, minlength=len(block))[stays]
        cluster = light.column("id").take(pa.array(stays))
        nothing = pa.array(~gone)
        result = pa.table(
            [
                light.column(ROW),
                pc.if_else(nothing, pa.scalar(None, pa.string()), pa.scalar(REASON)),
                pa.array(similarity, mask=~gone),
                pc.if_else(nothing, pa.scalar(None, pa.string()), cluster),
                cluster,
                pa.array(size, pa.int64()),
            ],
            schema=_RESOLVED,
        )
        return result if self.mode == "annotate" else result.filter(pa.array(gone))

    def apply(self, batch: pa.RecordBatch, delivered: pa.Table) -> Outcome:
        """Drop the near-duplicates, or add the columns."""
        if self.mode == "drop":
            return super().apply(batch, delivered)
        reason, value, partner, cluster, size = (delivered.column(field.name).combine_chunks() for field in list(_RESOLVED)[1:])
        own = pc.cast(batch.column("id"), pa.string())
        values = [reason.is_null(), reason, pc.if_else(size.is_null(), own, cluster), pc.fill_null(size, 1), partner, value]
        return Outcome(with_columns(batch, dict(zip(_COLUMNS, values, strict=True))))


def _candidates(records: pa.Table) -> pa.Table:
    """Edges that connect the documents of each bucket of the partition; at most one a document."""
    from curate.kernels.unionfind import forest

    a, b = forest(records.column("key").to_numpy(), records.column(ROW).to_numpy())
    return pa.table([pa.array(a), pa.array(b)], schema=_EDGES)


def _components(edges: pa.Table) -> pa.Table:
    """The component, named by its smallest row, of every document that has an edge."""
    from curate.kernels.unionfind import components

    rows, component = components(edges.column("a").to_numpy(), edges.column("b").to_numpy())
    return pa.table([pa.array(rows), pa.array(component)], schema=_COMPONENTS)


def _blocks(records: pa.Table, order: np.ndarray) -> Iterator[np.ndarray]:
    """Cut `order` (records sorted by key) between components, about BLOCK_SHINGLES shingles or one component a block."""
    if not len(order):
        return
    size = np.concatenate([pc.list_value_length(c).to_numpy(zero_copy_only=False) for c in records.column("shingles").chunks])[order]
    key = records.column("key").to_numpy()[order]
    starts = np.flatnonzero(np.append(True, key[1:] != key[:-1]))
    block = (np.cumsum(size) - size)[starts] // BLOCK_SHINGLES
    cuts = starts[np.flatnonzero(np.append(True, block[1:] != block[:-1]))]
    yield from np.split(order, cuts[1:])


def _lists(column: pa.ChunkedArray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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
