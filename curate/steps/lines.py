"""Remove lines, paragraphs or runs of sentences that stand in an earlier place of the corpus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curate.figures import with_figures
from curate.schema import ROW
from curate.step import Context, CorpusStep, DocumentsFn, Outcome, Phase, RecordsFn
from curate.steps.document_fields import column_of
from curate.steps.exact import scopes
from curate.steps.text_cuts import CUTS, annotated, columns_of, cut, cut_records

EMPTY, WORDS, UNITS = "dedup_lines.empty", "dedup_lines.too_few_words", "dedup_lines.too_few_units"

_SPANS = pa.schema([pa.field("key", pa.uint64()), pa.field("hash", pa.uint64()), pa.field(ROW, pa.int64()), pa.field("unit", pa.int32())])
_REPEATS = pa.schema([pa.field(ROW, pa.int64()), pa.field("unit", pa.int32())])


class DedupLines(CorpusStep):
    """Remove every line, paragraph or sentence (or run of `span` of them) that stands in an earlier place; the first one stays.

    Earlier is by sorted path, then row, then place in the text. Spans are compared by a 128-bit hash after folding (`normalize`), overlap,
    and are looked for inside a document too. A document of fewer units than `span` is left alone, and so are spans without a
    character after folding. Where units go, white space behind them goes along; text is cut between characters.

    A document that nothing of its text is left of is dropped; `min_words` and `min_units` drop what became too short, never
    documents that lost nothing.

    A sentence ends at . ? ! and their kin in other scripts before white space, and at the end of a line (`curate.kernels.sentences`):
    datatrove asks spaCy, so its sentences differ. With `unit: line` and the same folding, equal to its sentence deduplication of
    0.10.1, but that blank lines are no units and lines of a span are hashed apart, not joined by blanks. 10 to 15 MB/s per core for all phases.

    mode: annotate adds `dedup_lines_removed`, the share of bytes that would go, and leaves text and rows alone.
    """

    name: ClassVar[str] = "dedup_lines"
    summary: ClassVar[str] = "remove lines, paragraphs or runs of sentences seen before"
    origin: ClassVar[str] = (
        "C4 (Raffel et al. 2020, 2.2: 3 sentences); CCNet (Wenzek et al. 2020, 3.1: paragraphs); datatrove SentenceDedup"
    )
    shorthand: ClassVar[str | None] = "unit"

    unit: Literal["line", "paragraph", "sentence"] = Field("line", description="what is compared; paragraphs stand between blank lines")
    span: int = Field(1, ge=1, le=100, description="units in a row that are compared together; C4: 3 sentences")
    normalize: tuple[Literal["case", "whitespace", "punctuation", "digits"], ...] = Field(
        ("case", "whitespace", "punctuation", "digits"), description="what is folded before comparing, as in dedup_exact; (): bytes"
    )
    min_span_chars: int = Field(1, ge=1, le=10**6, description="characters from which a span is compared; shorter ones stay")
    min_words: int | None = Field(None, ge=1, le=10**6, description="words that a document must have left where some went; datatrove: 50")
    min_units: int | None = Field(None, ge=1, le=10**6, description="units that a document must have left where some went; datatrove: 3")
    within: str | None = Field(
        None, min_length=1, description="column or meta.KEY whose values are deduplicated apart; null: everything together"
    )
    mode: Literal["drop", "annotate"] = Field("drop", description="drop: remove spans and documents; annotate: only add columns")

    def reads(self) -> frozenset[str]:
        """Columns that must exist before this step."""
        return frozenset({"text", column_of(self.within or "text")})

    def adds(self) -> Mapping[str, pa.DataType]:
        """Columns that exist after it, with their types."""
        return columns_of(self.name) if self.mode == "annotate" else {}

    def drops(self) -> tuple[str, ...]:
        """Every drop reason it can give."""
        if self.mode == "annotate":
            return ()
        return (EMPTY, *((WORDS,) if self.min_words else ()), *((UNITS,) if self.min_units else ()))

    def phases(self) -> tuple[Phase, ...]:
        """Hash spans, bring equal ones together, find what goes from each document."""
        needs = frozenset({"text", column_of(self.within or "text")})
        return (
            Phase("spans", over="documents", to="key", schema=_SPANS, key="key", columns=needs, note="28 bytes a span"),
            Phase("repeats", over="partition", to="documents", schema=_REPEATS),
            Phase("cuts", over="documents", to="documents", schema=CUTS, reads=("repeats",), columns=needs),
        )

    def bind_phase(self, phase: str, ctx: Context) -> DocumentsFn | RecordsFn:
        """Return the function of that phase."""
        if phase == "repeats":
            return _repeats
        if phase == "cuts":
            return lambda batch, side: self._cuts(batch, side["repeats"], ctx)
        return lambda batch, side: self._spans(batch)

    def _hashed(self, batch: pa.RecordBatch) -> Any:
        """(units, first unit of each span i64[s], lanes u64[s, 2], whether an equal span stands before it in its document bool[s])."""
        from curate.kernels.content_hash import joined, range_hashes
        from curate.kernels.strings import views
        from curate.kernels.text_units import units

        data, offsets = views(batch.column("text"))
        found = units(data, offsets, self.unit)
        lanes = range_hashes(data, found.starts, found.stops, self.normalize)
        nothing = range_hashes(data, np.zeros(1, np.int64), np.zeros(1, np.int64), self.normalize)
        size, count = self.span, np.diff(found.doc)
        first = np.arange(len(lanes))
        first = first[first + size <= np.repeat(found.doc[1:], count)]
        some = np.concatenate([np.zeros(1, np.int64), np.cumsum((lanes != nothing).any(axis=1))])
        worth = some[first + size] > some[first]
        if self.min_span_chars > 1:
            worth &= _chars(data, found.starts[first], found.stops[first + size - 1]) >= self.min_span_chars
        first = first[worth]
        spans = range_hashes(lanes.view(np.uint8).ravel(), first * 16, (first + size) * 16) if size > 1 else lanes[first]
        doc = np.repeat(np.arange(len(count)), count)[first]
        if self.within:
            spans = joined(spans, scopes(batch, self.within)[doc])
        return found, first, spans, seen_inside(doc, spans)

    def _spans(self, batch: pa.RecordBatch) -> pa.Table:
        """One record for each different span of a document."""
        found, first, lanes, inside = self._hashed(batch)
        first, lanes = first[~inside], lanes[~inside]
        doc = np.searchsorted(found.doc, first, side="right") - 1
        row = batch.column(ROW).to_numpy()[doc]
        columns = [np.ascontiguousarray(lanes[:, 0]), np.ascontiguousarray(lanes[:, 1]), row, (first - found.doc[doc]).astype(np.int32)]
        return pa.table([pa.array(c) for c in columns], schema=_SPANS)

    def _cuts(self, batch: pa.RecordBatch, repeats: pa.Table, ctx: Context) -> pa.Table:
        """What goes from each document that has a repeated span."""
        found, first, _, inside = self._hashed(batch)
        rows = batch.column(ROW).to_numpy()
        row = repeats.column(ROW).to_numpy()
        low, high = np.searchsorted(row, [rows[0], rows[-1] + 1]) if len(rows) else (0, 0)  # both are in order of rows
        place = np.searchsorted(rows, row[low:high])
        named = rows[place] == row[low:high]
        unit = repeats.column("unit").to_numpy()[low:high]
        starts = np.concatenate([(found.doc[place] + unit)[named], first[inside]])
        gone = np.zeros(len(found.starts) + 1, np.int64)
        np.add.at(gone, starts, 1)
        np.add.at(gone, starts + self.span, -1)
        goes = np.cumsum(gone)[:-1] > 0
        records = cut_records(batch, found.doc, found.offsets, goes)
        return with_figures(self._judged(batch, records, found.doc, goes, ctx), {"units": len(goes), "units_removed": int(goes.sum())})

    def _judged(self, batch: pa.RecordBatch, records: pa.Table, doc: Any, goes: Any, ctx: Context) -> pa.Table:
        """The records with the reason why what is left is dropped, where it is, and the number that decided."""
        if not len(records):
            return records
        at = np.searchsorted(batch.column(ROW).to_numpy(), records.column(ROW).to_numpy())
        left = cut(batch.column("text").take(pa.array(at)), records)
        reason = pc.if_else(pc.equal(pc.binary_length(pc.utf8_trim_whitespace(left)), 0), EMPTY, pa.scalar(None, pa.string()))
        value = pa.nulls(len(records), pa.float64())
        kept = np.concatenate([np.zeros(1, np.int64), np.cumsum(~goes)])
        bounds = [(self.min_words, WORDS, np.diff(ctx.words(left, "unicode").doc) if self.min_words else None),
                  (self.min_units, UNITS, (kept[doc[1:]] - kept[doc[:-1]])[at])]  # fmt: skip
        for bound, name, number in bounds:
            if bound is not None and number is not None:
                low = pc.and_(reason.is_null(), pa.array(number < bound))
                reason = pc.if_else(low, name, reason)
                value = pc.if_else(low, pa.array(number.astype(np.float64)), value)
        names = records.schema.names
        records = records.set_column(names.index("reason"), CUTS.field("reason"), reason)
        return records.set_column(names.index("value"), CUTS.field("value"), value)

    def apply(self, batch: pa.RecordBatch, delivered: pa.Table) -> Outcome:
        """Cut the spans out and drop what is too short, or add the columns."""
        if self.mode == "annotate":
            return annotated(self.name, batch, delivered)
        done = batch.set_column(batch.schema.get_field_index("text"), "text", cut(batch.column("text"), delivered))
        return super().apply(done, delivered)


def seen_inside(doc: Any, lanes: Any) -> Any:
    """bool[s]: whether an equal span stands before it in the same document."""
    order = np.lexsort((lanes[:, 1], lanes[:, 0], doc))  # stable: equal spans in order of place
    same = (doc[order][1:] == doc[order][:-1]) & (lanes[order][1:] == lanes[order][:-1]).all(axis=1)
    seen = np.zeros(len(doc), bool)
    seen[order[1:]] = same
    return seen


def _chars(data: Any, starts: Any, stops: Any) -> Any:
    """i64[s]: code points in each range."""
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum((data & 0xC0) != 0x80)])
    return before[stops] - before[starts]


def _repeats(records: pa.Table) -> pa.Table:
    """All spans of a partition that equal an earlier one."""
    key, lane, row = (records.column(name).to_numpy() for name in ("key", "hash", ROW))
    order = np.lexsort((row, lane, key))
    same = (key[order][1:] == key[order][:-1]) & (lane[order][1:] == lane[order][:-1])
    return records.select([ROW, "unit"]).take(pa.array(order[1:][same])).cast(_REPEATS)
