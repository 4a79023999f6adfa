"""Exact deduplication by text, normalised text, URL or any columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from curate.schema import ROW, with_columns
from curate.step import Context, CorpusStep, DocumentsFn, Outcome, Phase, RecordsFn
from curate.steps.bloom_stream import SEEN, STREAM, bloom_filter
from curate.steps.canonical_urls import canonical_urls
from curate.steps.document_fields import META, column_of, field_text, scope_text
from curate.steps.exact_groups import GROUPS, HASHES, REASON, decide
from curate.steps.exact_index import VALUES, Values, open_values, sorted_values
from curate.steps.index_versions import AddsToIndex, IndexFolder, IndexVersion, kept, same_id_warning, version_to_read
from curate.steps.survivors import Keep, keep_column, policy, ranks

_COLUMNS: Mapping[str, pa.DataType] = {
    "dedup_exact_keep": pa.bool_(),
    "dedup_exact_reason": pa.string(),
    "exact_dup_cluster": pa.string(),
    "exact_dup_size": pa.int64(),
    "exact_dup_of": pa.string(),
}


def _named(by: str | tuple[str, ...]) -> str | tuple[str, ...]:
    names = (by,) if isinstance(by, str) else by
    if not names or not all(name.strip() for name in names):
        raise ValueError("must be text, normalized_text, url or the name of a column, or a list of these, got an empty name")
    if len(set(names)) != len(names):
        raise ValueError("names a column twice")
    return by


class Bloom(BaseModel):
    """A Bloom filter in the place of the shuffle."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    expected: int = Field(ge=1, le=10**12, description="different values that the filter is made for")
    false_positive: float = Field(
        0.0001, gt=0, le=0.5, description="largest chance that a value not seen before is dropped, once `expected` ones are in"
    )


class DedupExact(CorpusStep):
    """Keep one document of each group with the same text, normalised text, URL or column values.

    Values are compared by a 128-bit hash. `normalized_text` is lower-cased and every run of white space counts as one blank;
    `normalize` names other foldings. `url` and `meta.url` are compared in a canonical form (`curate.steps.canonical_urls`).
    By text, two empty documents are equal texts, so one empty document stays. By a column, a null or empty value is a
    duplicate of nothing; of several columns, one is enough. About 2 GB/s per core by text, 180 MB/s by normalised text. Adds,
    with mode: annotate, the id of the document that stays (`exact_dup_cluster`, and `exact_dup_of`, null on that document
    itself) and the size of the group (`exact_dup_size`).

    With `index`, values that documents of earlier runs stayed for count too: those documents stay, whatever `keep` says, and
    values of this run are added. 20 bytes a document and its id, on disk.

    With `bloom`, one task reads all hashes in the order of the corpus and remembers them in a filter of fixed size: it drops
    every repeat and a stated share of what is none, keeps the first and can't say which that is (no partner, and mode:
    annotate adds no cluster).
    """

    name: ClassVar[str] = "dedup_exact"
    version: ClassVar[int] = 2
    summary: ClassVar[str] = "keep one of all documents with the same text, URL or column value"
    origin: ClassVar[str] = "hash of the whole text, as in most pipelines; the policy of who stays is ours"
    shorthand: ClassVar[str | None] = "by"

    by: Annotated[str | tuple[str, ...], AfterValidator(_named)] = Field(
        "text",
        description="what is compared: text, normalized_text (lower case, white space folded), url (canonical form), a column, meta.KEY, or a list",
    )
    normalize: tuple[Literal["case", "whitespace", "punctuation", "digits"], ...] = Field(
        (), description="what is folded before comparing: case, whitespace, punctuation (as white space), digits (a run is one 0)"
    )
    within: str | None = Field(
        None,
        min_length=1,
        description="column or meta.KEY whose values are deduplicated apart: source, lang_code; null: everything together",
    )
    keep: Keep = "first"
    bloom: Bloom | None = Field(
        None, description="{expected, false_positive}: a filter of fixed size instead of a shuffle; keeps the first"
    )
    index: IndexFolder = None
    index_version: IndexVersion = None
    mode: Literal["drop", "annotate"] = Field("drop", description="drop duplicates, or only add columns that name them")

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.bloom is not None and self.keep != "first":
            raise ValueError(f"bloom sees documents once, in order: it can only keep the first, got keep: {self.keep}")
        if self.normalize and "normalized_text" in self._names:
            raise ValueError("normalized_text is by: text with normalize: [case, whitespace]; give one of them")
        if self.bloom is not None and self.index is not None:
            raise ValueError("index holds the values that bloom forgets: give one of them")
        if self.index is None and self.index_version is not None:
            raise ValueError("index_version needs index")
        return self

    @property
    def _names(self) -> tuple[str, ...]:
        return (self.by,) if isinstance(self.by, str) else self.by

    @property
    def _needs(self) -> frozenset[str]:
        """Columns of the values and of the scope."""
        names = {column_of("text" if name == "normalized_text" else name) for name in self._names}
        return frozenset(names | ({column_of(self.within)} if self.within else set()))

    def reads(self) -> frozenset[str]:
        """Columns that must exist before this step."""
        return self._needs | {"text", "id", keep_column(self.keep) or "text"}

    def adds(self) -> Mapping[str, pa.DataType]:
        """Columns that exist after it, with their types."""
        if self.mode == "drop":
            return {}
        return dict(list(_COLUMNS.items())[:2]) if self.bloom else _COLUMNS

    def drops(self) -> tuple[str, ...]:
        """Every drop reason it can give."""
        return (REASON,) if self.mode == "drop" else ()

    def findings(self, figures: Mapping[str, int]) -> dict[str, Any]:
        """How full the filter is, or what the index held; warnings where a filter was made for fewer values or files come again."""
        if self.bloom is None:
            warnings = same_id_warning(figures, "duplicates_of_the_same_id_in_the_index", "duplicates of")
            return {**super().findings(figures), **({"warnings": warnings} if warnings else {})}
        from curate.kernels.bloom import false_positive_rate, layout

        size = layout(self.bloom.expected, self.bloom.false_positive)
        rate = false_positive_rate(size, figures.get("values_in_the_filter", 0))
        found = {**dict(sorted(figures.items())), "filter_bytes": size.bits // 8, "false_positive_rate_at_the_end": float(f"{rate:.3g}")}
        if rate <= self.bloom.false_positive:
            return found
        warning = (
            f"the Bloom filter was made for {self.bloom.expected} different values and saw {figures['values_in_the_filter']}: at the end "
            f"{rate:.2g} of new documents were dropped, more than {self.bloom.false_positive}. Set a larger bloom.expected."
        )
        return {**found, "warnings": [warning]}

    def phases(self) -> tuple[Phase, ...]:
        """Hash every document, bring equal hashes together (or all through one filter), decide."""
        needs = self._needs | {"id"} | ({keep_column(self.keep) or "id"}) | ({"text"} if self.keep == "longest" else set())
        if self.bloom is not None:
            return (
                Phase("hashes", over="documents", to="everything", schema=STREAM, columns=self._needs, note="24 bytes a document"),
                Phase("filter", over="everything", to="documents", schema=SEEN),
            )
        adding = (
            Phase("stays", over="documents", to="key", schema=VALUES, key="key", reads=("groups",), columns=self._needs | {"id"}),
            Phase("values", over="partition", to="everything", schema=VALUES),
        )
        return (
            Phase("hashes", over="documents", to="key", schema=HASHES, key="key", columns=needs),
            Phase("groups", over="partition", to="documents", schema=GROUPS),
            *(adding if self.index is not None else ()),
        )

    def decides(self) -> str:
        """The phase whose records are verdicts."""
        return "groups" if self.bloom is None else "filter"

    def sources(self) -> tuple[str, ...]:
        """Sources that `keep` puts in an order."""
        return policy(self.keep).sources

    def made_for(self) -> dict[str, Any]:
        """Settings that the hashes of an index depend on; settings that mean the same are the same here."""
        one = self.by == "normalized_text"
        fold = ("case", "whitespace") if one else sorted(set(self.normalize))
        return {"step": self.name, "by": ["text"] if one else list(self._names), "normalize": list(fold), "within": self.within}

    def outside(self) -> AddsToIndex | None:
        """What it reads and writes outside the run: its index."""
        if self.index is None:
            return None
        return AddsToIndex.of(self, self.index, self.index_version, self.made_for(), ("values",))

    def _indexed(self) -> Values | None:
        return open_values(self.index, version_to_read(self.index, self.index_version), self.made_for()) if self.index else None

    def bind_phase(self, phase: str, ctx: Context) -> DocumentsFn | RecordsFn:
        """Return the function of that phase."""
        if phase == "groups":
            return lambda records: decide(records, self.keep, self._indexed(), self.mode == "annotate")
        if phase == "values":
            return sorted_values
        if phase == "filter":
            assert self.bloom is not None
            return bloom_filter(self.bloom.expected, self.bloom.false_positive, REASON)
        if phase == "stays":
            return self._stays

        def hashes(batch: pa.RecordBatch, side: Mapping[str, pa.Table]) -> pa.Table:
            lanes, valid = self._lanes(batch)
            columns = [pa.array(np.ascontiguousarray(lanes[:, 0])), pa.array(np.ascontiguousarray(lanes[:, 1])), batch.column(ROW)]
            if self.bloom is not None:
                return pa.table(columns, schema=STREAM).filter(valid)
            columns += [pc.cast(batch.column("id"), pa.string()), *ranks(batch, self.keep)]
            return pa.table(columns, schema=HASHES).filter(valid)

        return hashes

    def _stays(self, batch: pa.RecordBatch, side: Mapping[str, pa.Table]) -> pa.Table:
        """Values of the documents that stay, for the index."""
        batch = kept(batch, side["groups"])
        lanes, valid = self._lanes(batch)
        columns = [pa.array(np.ascontiguousarray(lanes[:, n])) for n in (0, 1)]
        return pa.table([*columns, pc.cast(batch.column("id"), pa.string())], schema=VALUES).filter(valid)

    def _lanes(self, batch: pa.RecordBatch) -> tuple[Any, pa.Array]:
        """(u64[n, 2], bool[n]): hash of what is compared, and whether there is something to compare."""
        from curate.kernels.content_hash import NORMALIZED, content_hashes, joined

        lanes: Any = None
        valid = pa.array(np.ones(len(batch), bool))
        for name in self._names:
            values = _values(batch, "text" if name == "normalized_text" else name)
            own = content_hashes(values, fold=NORMALIZED if name == "normalized_text" else self.normalize)
            lanes = own if lanes is None else joined(lanes, own)
            if name not in ("text", "normalized_text"):
                valid = pc.and_(valid, pc.greater(pc.fill_null(pc.binary_length(values), 0), 0))
        if self.within:
            lanes = joined(lanes, scopes(batch, self.within))
        return lanes, valid

    def apply(self, batch: pa.RecordBatch, delivered: pa.Table) -> Outcome:
        """Drop the duplicates, or add the columns."""
        if self.mode == "drop":
            return super().apply(batch, delivered)
        if self.bloom is not None:
            seen = delivered.column("reason").combine_chunks()
            return Outcome(with_columns(batch, {"dedup_exact_keep": seen.is_null(), "dedup_exact_reason": seen}))
        reason, partner, cluster, size = (delivered.column(c).combine_chunks() for c in ("reason", "partner", "cluster", "size"))
        own = pc.cast(batch.column("id"), pa.string())
        values = [reason.is_null(), reason, pc.if_else(size.is_null(), own, cluster), pc.fill_null(size, 1), partner]
        return Outcome(with_columns(batch, dict(zip(_COLUMNS, values, strict=True))))


def _values(batch: pa.RecordBatch, name: str) -> pa.Array:
    """The values of a column or of meta.KEY as text; URLs in their canonical form."""
    values = field_text(batch, name) if name.startswith(META) else batch.column(name)
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        values = pc.cast(values, pa.large_string())
    if name.removeprefix(META) == "url":
        return pa.array(canonical_urls(values.to_pylist()), pa.large_string())
    return values


def scopes(batch: pa.RecordBatch, name: str) -> Any:
    """u64[n, 2]: hash of the value that separates documents; a missing value is one of its own."""
    from curate.kernels.content_hash import content_hashes

    return content_hashes(scope_text(batch, name))
