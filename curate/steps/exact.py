"""Exact deduplication by text, normalised text or any column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator, Field

from curate.schema import ROW, with_columns
from curate.step import Context, CorpusStep, DocumentsFn, Outcome, Phase, RecordsFn
from curate.steps.survivors import RANK_FIELDS, Keep, claim_order, keep_column, ranks

REASON = "dedup_exact.duplicate"

_HASHES = pa.schema(
    [pa.field("key", pa.uint64()), pa.field("hash", pa.uint64()), pa.field(ROW, pa.int64()), pa.field("id", pa.string()), *RANK_FIELDS]
)
_GROUPS = pa.schema(
    [
        pa.field(ROW, pa.int64()),
        pa.field("reason", pa.string()),
        pa.field("partner", pa.string()),
        pa.field("cluster", pa.string()),
        pa.field("size", pa.int64()),
    ]
)
_COLUMNS: Mapping[str, pa.DataType] = {
    "dedup_exact_keep": pa.bool_(),
    "dedup_exact_reason": pa.string(),
    "exact_dup_cluster": pa.string(),
    "exact_dup_size": pa.int64(),
    "exact_dup_of": pa.string(),
}


def _not_empty(by: str) -> str:
    if not by.strip():
        raise ValueError("must be text, normalized_text or the name of a column, got an empty name")
    return by


class DedupExact(CorpusStep):
    """Keep one document of each group with the same text, normalised text or column value.

    Texts are compared by a 128-bit hash. `normalized_text` is lower-cased and every run of white space counts as one blank.
    By text, two empty documents are equal texts, so one empty document stays. By a column, null and empty values are
    no duplicates of anything. About 2 GB/s per core by text, 180 MB/s by normalised text. Adds, with mode: annotate, the id of the document that stays (`exact_dup_cluster`, and
    `exact_dup_of`, null on that document itself) and the size of the group (`exact_dup_size`).
    """

    name: ClassVar[str] = "dedup_exact"
    summary: ClassVar[str] = "keep one of all documents with the same text or column value"
    origin: ClassVar[str] = "hash of the whole text, as in most pipelines; the policy of who stays is ours"
    shorthand: ClassVar[str | None] = "by"

    by: Annotated[str, AfterValidator(_not_empty)] = Field(
        "text", description="what is compared: text, normalized_text (lower case, white space folded) or the name of a column"
    )
    keep: Keep = "first"
    mode: Literal["drop", "annotate"] = Field("drop", description="drop duplicates, or only add columns that name them")

    @property
    def _column(self) -> str:
        return "text" if self.by == "normalized_text" else self.by

    def reads(self) -> frozenset[str]:
        """Columns that must exist before this step."""
        return frozenset({"text", "id", self._column} | ({keep_column(self.keep) or "text"}))

    def adds(self) -> Mapping[str, pa.DataType]:
        """Columns that exist after it, with their types."""
        return _COLUMNS if self.mode == "annotate" else {}

    def drops(self) -> tuple[str, ...]:
        """Every drop reason it can give."""
        return (REASON,) if self.mode == "drop" else ()

    def phases(self) -> tuple[Phase, ...]:
        """Hash every document, bring equal hashes together, decide."""
        needs = {"id", self._column} | ({keep_column(self.keep) or "id"}) | ({"text"} if self.keep == "longest" else set())
        return (
            Phase("hashes", over="documents", to="key", schema=_HASHES, key="key", columns=frozenset(needs)),
            Phase("groups", over="partition", to="documents", schema=_GROUPS),
        )

    def bind_phase(self, phase: str, ctx: Context) -> DocumentsFn | RecordsFn:
        """Return the function of that phase."""
        if phase == "groups":
            return self._groups
        from curate.kernels.content_hash import content_hashes

        def hashes(batch: pa.RecordBatch, side: Mapping[str, pa.Table]) -> pa.Table:
            values = batch.column(self._column)
            if self._column != "text" and not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
                values = pc.cast(values, pa.large_string())
            lanes = content_hashes(values, normalized=self.by == "normalized_text")
            records = pa.table(
                [
                    pa.array(np.ascontiguousarray(lanes[:, 0])),
                    pa.array(np.ascontiguousarray(lanes[:, 1])),
                    batch.column(ROW),
                    pc.cast(batch.column("id"), pa.string()),
                    *ranks(batch, self.keep),
                ],
                schema=_HASHES,
            )
            if self._column == "text":
                return records
            return records.filter(pc.greater(pc.fill_null(pc.binary_length(values), 0), 0))

        return hashes

    def _groups(self, records: pa.Table) -> pa.Table:
        """Decide on all documents of a partition. Only those that share their hash are sorted."""
        key, lane = records.column("key").to_numpy(), records.column("hash").to_numpy()
        order = np.lexsort((lane, key))
        group = np.zeros(len(order), np.int64)
        if len(order):
            new = (key[order][1:] != key[order][:-1]) | (lane[order][1:] != lane[order][:-1])
            group[order[1:]] = np.cumsum(new)
        shared = np.flatnonzero(np.bincount(group)[group] > 1) if len(group) else group
        members = records.take(pa.array(shared)).append_column("group", pa.array(group[shared]))
        claim = pc.sort_indices(members, sort_keys=[("group", "ascending"), *claim_order(self.keep)])
        members = members.take(claim).combine_chunks()
        _, first, inverse, count = np.unique(members.column("group").to_numpy(), return_index=True, return_inverse=True, return_counts=True)
        stays = first[inverse] == np.arange(len(members))
        winner = members.column("id").take(pa.array(first[inverse]))
        result = pa.table(
            [
                members.column(ROW),
                pc.if_else(pa.array(stays), pa.scalar(None, pa.string()), pa.scalar(REASON)),
                pc.if_else(pa.array(stays), pa.scalar(None, pa.string()), winner),
                winner,
                pa.array(count[inverse], pa.int64()),
            ],
            schema=_GROUPS,
        )
        return result if self.mode == "annotate" else result.filter(pa.array(~stays))

    def apply(self, batch: pa.RecordBatch, delivered: pa.Table) -> Outcome:
        """Drop the duplicates, or add the columns."""
        if self.mode == "drop":
            return super().apply(batch, delivered)
        reason, partner, cluster, size = (delivered.column(c).combine_chunks() for c in ("reason", "partner", "cluster", "size"))
        own = pc.cast(batch.column("id"), pa.string())
        values = [reason.is_null(), reason, pc.if_else(size.is_null(), own, cluster), pc.fill_null(size, 1), partner]
        return Outcome(with_columns(batch, dict(zip(_COLUMNS, values, strict=True))))
