"""Near-duplicate removal: MinHash proposes, exact similarity decides, chains remove nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from curate.figures import with_figures
from curate.kernels.lsh import Layout, choose_layout, match_probability, mean_recall
from curate.schema import ROW, with_columns
from curate.step import Context, CorpusStep, DocumentsFn, Outcome, Phase, RecordsFn
from curate.steps.document_fields import column_of, scope_text
from curate.steps.duplicate_groups import BANDS, BANDS_FIRST, BUCKETS, EDGES, GATHERED, group_buckets, routes, verify
from curate.steps.duplicate_verdicts import REASON, RESOLVED, transitive_verdicts, verdicts
from curate.steps.index_versions import AddsToIndex, IndexFolder, IndexVersion, kept, same_id_warning, version_to_read
from curate.steps.indexed import (
    BUCKETS_INDEXED,
    GATHERED_INDEXED,
    POSTINGS,
    SETS,
    Reader,
    bucket_records,
    near_indexed,
    of_own_rows,
    of_this_run,
    open_reader,
    sorted_postings,
    split_edges,
    widened,
)
from curate.steps.sketches import Shingle, Sketch, Sketcher, make_sketcher
from curate.steps.survivors import Keep, claims, keep_column, policy, ranks

MIN_MATCH = 0.01  # below this chance of finding a pair at the threshold, settings are a mistake
RECALL = 0.98

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

    Documents that share one of `bands` MinHash bands are candidates: a pair of Jaccard similarity s is one with
    P = 1 - (1 - s^rows)^bands. Give `recall`, and the cheapest bands and rows with P(threshold) >= recall are taken. In the
    order of `keep`, a document is removed only if a document that stays has an exact similarity of at least `threshold`
    with it; the most similar one found is stored as its partner. So every removal has its proof, and nothing is removed
    because of a chain (`closure: transitive` does that, by name).

    Shingles are sets of n-grams of lower-cased `\\w+` words, CJK by character; a document of fewer words is one shingle,
    one without words is never a duplicate.

    What it misses: pairs that share no band (P above); in buckets of thousands, pairs that share nothing rarer. What was
    left out is counted in the manifest under `findings`. Reads text and id; depends on the whole corpus, not on how it is
    cut. 150-250 MB/s per core for the bands, about 170 for all phases.

    Adds, with mode: annotate: `dup_cluster` (id of the document that stays, or its own), `dup_size` (documents that this
    one, or the one that stays for it, stands for), `dup_of` and `dup_similarity` (null where it stays).
    """

    name: ClassVar[str] = "dedup_minhash"
    version: ClassVar[int] = 2
    summary: ClassVar[str] = "remove near-duplicates: MinHash candidates, each checked by exact similarity"
    origin: ClassVar[str] = "Broder 1997; bands and rows as FineWeb (datatrove); checked before removal, which they are not"

    threshold: float = Field(0.8, gt=0, le=1, description="exact similarity from which a document is a duplicate")
    recall: float | None = Field(
        None,
        gt=0,
        le=0.9999,
        description="chance to find a pair at the threshold: chooses bands and rows, or the one that is not given; null: 0.98",
    )
    bands: int | None = Field(None, ge=1, le=256, description="bands of the signature; more find more pairs")
    rows: int | None = Field(None, ge=1, le=64, description="values in a band; more make candidates more similar")
    ngram: int = Field(5, ge=1, le=64, description="words in a shingle; `shingle` says more")
    shingle: Shingle | None = Field(None, description="{words: N} or {chars: N} instead of ngram; characters for CJK, Thai and code")
    words: Literal["word", "unicode", "whitespace"] = Field(
        "word", description="what a word is: `\\w+`, the quality steps' split, str.split()"
    )
    similarity: Literal["jaccard", "containment"] = Field(
        "jaccard", description="containment: share of a document's own shingles that the one that stays has; recall is promised for jaccard"
    )
    verify: bool = Field(True, description="check candidates exactly; false removes on a shared band, and dup_similarity is an estimate")
    within: str | None = Field(
        None,
        min_length=1,
        description="column or meta.KEY whose values are deduplicated apart: source, lang_code; null: everything together",
    )
    keep: Keep = "first"
    closure: Literal["verified", "transitive"] = Field(
        "verified", description="transitive: one document of a whole chain stays; its ends need not be similar"
    )
    max_cluster: int = Field(1000, ge=2, le=10**9, description="with closure: transitive, larger clusters are not closed")
    signature: Literal["curate", "datatrove", "datatrove-sha1", "datasketch"] = Field(
        "curate", description="datatrove, datasketch: shingles and signatures equal to theirs, at the speed of Python"
    )
    index: IndexFolder = None
    index_version: IndexVersion = None
    seed: int = Field(1, ge=0, le=2**63 - 1, description="of the hash functions")
    mode: Literal["drop", "annotate"] = Field("drop", description="drop near-duplicates, or only add columns that name them")

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.recall is not None and self.bands is not None and self.rows is not None:
            raise ValueError("recall chooses bands and rows: give it or both of them")
        if self.shingle is not None and self.ngram != 5:
            raise ValueError("shingle says what ngram says: give one of them")
        if self.signature != "curate" and ((self.shingle and self.shingle.chars) or self.words == "unicode" or self.seed >= 2**32):
            raise ValueError(f"signature: {self.signature} knows shingles of words (word, whitespace) and seeds below 2^32")
        if self.index is None and self.index_version is not None:
            raise ValueError("index_version needs index")
        if self.index is not None and (not self.verify or self.closure != "verified"):
            raise ValueError("index needs verify: true and closure: verified")
        bands, rows = self.layout
        found = match_probability(self.threshold, bands, rows)
        if self.verify and found < MIN_MATCH:
            raise ValueError(
                f"bands {bands} and rows {rows} would find {found:.2g} of the pairs at threshold {self.threshold}, "
                f"at least {MIN_MATCH} is needed: use fewer rows or more bands"
            )
        return self

    @property
    def layout(self) -> Layout:
        """Bands and rows, given or chosen."""
        if self.bands is not None and self.rows is not None:
            return Layout(self.bands, self.rows)
        return choose_layout(self.threshold, self.recall or RECALL, self.bands, self.rows)

    def reads(self) -> frozenset[str]:
        """Columns that must exist before this step."""
        return frozenset({"text", "id", keep_column(self.keep) or "text", column_of(self.within or "text")})

    def adds(self) -> Mapping[str, pa.DataType]:
        """Columns that exist after it, with their types."""
        return _COLUMNS if self.mode == "annotate" else {}

    def drops(self) -> tuple[str, ...]:
        """Every drop reason it can give."""
        return (REASON,) if self.mode == "drop" else ()

    def findings(self, figures: Mapping[str, int]) -> dict[str, Any]:
        """What the manifest says of it: what was promised, what verification rejected, what was left out."""
        bands, rows = self.layout
        promised = {
            "threshold": self.threshold,
            "bands": bands,
            "rows": rows,
            "expected_recall_at_threshold": round(match_probability(self.threshold, bands, rows), 4),
            "expected_recall_above": round(mean_recall(self.threshold, bands, rows), 4),
        }
        rejected = figures.get("pairs_compared", 0) - figures.get("pairs_at_threshold", 0)
        warnings = same_id_warning(figures, "near_indexed_documents_of_the_same_id", "near to")
        if figures.get("removed_by_a_chain"):
            warnings.append(
                f"{figures['removed_by_a_chain']} of {figures['removed']} documents were removed without being near the one that stays "
                "(closure: transitive). closure: verified keeps them."
            )
        if figures.get("clusters_over_the_cap"):
            warnings.append(f"{figures['clusters_over_the_cap']} clusters had more than {self.max_cluster} documents and were not closed.")
        return {**promised, **dict(sorted(figures.items())), "pairs_rejected": rejected, **({"warnings": warnings} if warnings else {})}

    def phases(self) -> tuple[Phase, ...]:
        """Hash bands, find who shares one, bring shingle sets together, compare, decide."""
        bands, rows = self.layout
        note = f"{bands} bands x {rows}, expected recall {match_probability(self.threshold, bands, rows):.3f} at {self.threshold}"
        scope = {column_of(self.within)} if self.within else set()
        ranked = {"text", "id", keep_column(self.keep) or "text"}
        needs = frozenset({"text"} | scope if self.keep == "first" else ranked | scope)
        schema = BANDS_FIRST if self.keep == "first" else BANDS
        indexed = self.index is not None
        gathered = GATHERED_INDEXED if indexed else GATHERED
        adding = (
            Phase("sets", over="documents", to="everything", schema=SETS, reads=("assign",), columns=frozenset({"text", "id"})),
            Phase("keys", over="documents", to="key", schema=POSTINGS, key="key", reads=("assign",), columns=frozenset({"text"} | scope)),
            Phase("postings", over="partition", to="everything", schema=POSTINGS),
        )
        return (
            Phase("bands", over="documents", to="key", schema=schema, key="key", columns=needs, note=note),
            Phase("buckets", over="partition", to="documents", schema=BUCKETS_INDEXED if indexed else BUCKETS),
            Phase("gather", over="documents", to="key", schema=gathered, key="key", reads=("buckets",), columns=frozenset(ranked)),
            Phase("verify", over="partition", to="everything", schema=EDGES),
            Phase("assign", over="everything", to="documents", schema=RESOLVED),
            *(adding if indexed else ()),
        )

    def decides(self) -> str:
        """The phase whose records are verdicts."""
        return "assign"

    def sources(self) -> tuple[str, ...]:
        """Sources that `keep` puts in an order."""
        return policy(self.keep).sources

    def made_for(self) -> dict[str, Any]:
        """Settings that the hashes of an index depend on."""
        return {"step": self.name, **self.sketch()._asdict(), "within": self.within}

    def outside(self) -> AddsToIndex | None:
        """What it reads and writes outside the run: its index."""
        if self.index is None:
            return None
        return AddsToIndex.of(self, self.index, self.index_version, self.made_for(), ("sets", "postings"))

    def _reader(self) -> Reader | None:
        assert self.index is not None
        return open_reader(self.index, version_to_read(self.index, self.index_version), self.made_for())

    def bind_phase(self, phase: str, ctx: Context) -> DocumentsFn | RecordsFn:
        """Return the function of that phase."""
        if phase in ("sets", "keys", "postings"):
            return sorted_postings if phase == "postings" else self._sets(ctx) if phase == "sets" else self._keys(ctx)
        if phase == "buckets":
            return self._buckets if self.index else group_buckets
        if phase == "verify":
            return self._verify
        if phase == "assign":
            return self._assign
        return self._bands(ctx) if phase == "bands" else self._gather(ctx)

    def _verify(self, records: pa.Table) -> Iterator[pa.Table]:
        # Without verification the sets are band hashes, of which one in common is enough.
        wanted = (self.threshold, self.similarity == "containment") if self.verify else (1 / self.layout.bands, True)
        if self.index is not None:
            records, proven = split_edges(records)
            yield proven
        yield from verify(records, self.keep, *wanted)

    def _buckets(self, records: pa.Table) -> Iterator[pa.Table]:
        return bucket_records(self._reader(), group_buckets(records), records)

    def _sets(self, ctx: Context) -> DocumentsFn:
        """Shingle sets of the documents that stay, for the index."""
        sketcher = make_sketcher(self.sketch(), ctx)

        def sets(batch: pa.RecordBatch, side: Mapping[str, pa.Table]) -> pa.Table:
            batch = kept(batch, side["assign"])
            doc, hashes = sketcher.sets(batch.column("text"))
            own = pa.LargeListArray.from_arrays(pa.array(doc), pa.array(hashes))
            table = pa.table([batch.column(ROW), pc.cast(batch.column("id"), pa.string()), own], schema=SETS)
            return table.filter(pa.array(np.diff(doc) > 0))

        return sets

    def _keys(self, ctx: Context) -> DocumentsFn:
        """Band hashes of the documents that stay, for the index."""
        sketcher = make_sketcher(self.sketch(), ctx)

        def keys(batch: pa.RecordBatch, side: Mapping[str, pa.Table]) -> pa.Table:
            batch = kept(batch, side["assign"])
            return self._band_records(sketcher, batch).select(POSTINGS.names)

        return keys

    def _band_records(self, sketcher: Sketcher, batch: pa.RecordBatch) -> pa.Table:
        """Band hashes and rows of the documents that have words."""
        found, has_words = sketcher.bands(batch.column("text"))
        if self.within:
            found = found ^ _scope(scope_text(batch, self.within))[:, None]
        rows = np.repeat(batch.column(ROW).to_numpy()[has_words], found.shape[1])
        return pa.table([pa.array(found[has_words].ravel()), pa.array(rows)], schema=BANDS_FIRST)

    def sketch(self) -> Sketch:
        """What decides band hashes and shingle sets."""
        bands, rows = self.layout
        chars = self.shingle.chars if self.shingle else None
        ngram = chars or (self.shingle.words if self.shingle else None) or self.ngram
        return Sketch(self.words, chars is not None, ngram, bands, rows, self.seed, self.signature)

    def _bands(self, ctx: Context) -> DocumentsFn:
        """One record a band of every document that has words."""
        sketcher = make_sketcher(self.sketch(), ctx)

        def bands(batch: pa.RecordBatch, side: Mapping[str, pa.Table]) -> pa.Table:
            if self.keep == "first":
                return self._band_records(sketcher, batch)
            found, has_words = sketcher.bands(batch.column("text"))
            count = found.shape[1]
            if self.within:
                found = found ^ _scope(scope_text(batch, self.within))[:, None]
            columns = [pa.array(found[has_words].ravel()), pa.array(np.repeat(batch.column(ROW).to_numpy()[has_words], count))]
            columns += [pa.array(np.repeat(c[has_words], count)) for c in claims(batch, self.keep)]
            return pa.table(columns, schema=BANDS)

        return bands

    def _gather(self, ctx: Context) -> DocumentsFn:
        """The shingle set of every candidate, once for each group it is in; a group is the key."""
        sketcher = make_sketcher(self.sketch(), ctx)
        measured = (self.threshold, self.similarity == "containment")

        def gather(batch: pa.RecordBatch, side: Mapping[str, pa.Table]) -> pa.Table:
            found = routes(batch.column(ROW).to_numpy(), side["buckets"] if self.index is None else of_this_run(side["buckets"]))
            proven, figures = (
                (None, {}) if self.index is None else near_indexed(self._reader(), sketcher, batch, side["buckets"], *measured)
            )
            if proven is not None:  # they go for certain, so nobody needs an edge to them
                open_ = np.isin(batch.column(ROW).to_numpy()[found.document], proven.column(ROW).to_numpy(), invert=True)
                found = found._replace(document=found.document[open_], group=found.group[open_])
            inside, at = np.unique(found.document, return_inverse=True)
            batch = batch.take(pa.array(inside))
            text = batch.column("text")
            if self.verify:
                doc, hashes = sketcher.sets(text)
            else:
                hashes = np.sort(sketcher.bands(text)[0], axis=1).ravel()
                doc = np.arange(len(batch) + 1, dtype=np.int64) * self.layout.bands
            own = [batch.column(ROW), pc.cast(batch.column("id"), pa.string()), *ranks(batch, self.keep)]
            own.append(pa.LargeListArray.from_arrays(pa.array(doc), pa.array(hashes)))
            take = pa.array(at)
            table = pa.table([pa.array(found.group), *(column.take(take) for column in own)], schema=GATHERED)
            if proven is None:
                return with_figures(table, found.figures)
            return with_figures(pa.concat_tables([widened(table), proven]), {**found.figures, **figures})

        return gather

    def _assign(self, edges: pa.Table) -> Any:
        annotate = self.mode == "annotate"
        if self.closure == "transitive":
            return transitive_verdicts(edges, self.keep, self.max_cluster, annotate)
        found = (self._estimated(records) for records in verdicts(edges, self.keep, annotate))
        return found if self.index is None else (of_own_rows(records) for records in found)

    def _estimated(self, records: pa.Table) -> pa.Table:
        """Without verification: a share p of equal bands is most likely at s = p^(1/rows)."""
        if self.verify or not len(records):
            return records
        at = records.schema.get_field_index("value")
        value = pc.power(records.column("value"), 1.0 / self.layout.rows)
        return records.set_column(at, records.schema.field("value"), value)

    def apply(self, batch: pa.RecordBatch, delivered: pa.Table) -> Outcome:
        """Drop the near-duplicates, or add the columns."""
        if self.mode == "drop":
            return super().apply(batch, delivered)
        reason, value, partner, size = (delivered.column(field.name).combine_chunks() for field in list(RESOLVED)[1:])
        own = pc.cast(batch.column("id"), pa.string())
        values = [reason.is_null(), reason, pc.coalesce(partner, own), pc.fill_null(size, 1), partner, value]
        return Outcome(with_columns(batch, dict(zip(_COLUMNS, values, strict=True))))


def _scope(values: pa.LargeStringArray) -> Any:
    """u64[n]: a hash of the value that separates documents."""
    from curate.kernels.hashing import hash_strings
    from curate.kernels.strings import views

    out = np.empty(len(values), np.uint64)
    hash_strings(*views(values), out)
    return out
