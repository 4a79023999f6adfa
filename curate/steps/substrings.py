"""Cut out exact runs of words or bytes that stand anywhere else in the corpus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from curate.figures import with_figures
from curate.schema import ROW
from curate.step import Context, CorpusStep, DocumentsFn, Outcome, Phase, RecordsFn
from curate.steps.repeated_runs import ANCHORS, DECIDED, REPEATED, RUNS, decide, repeated
from curate.steps.text_cuts import CUTS, annotated, columns_of, cut, range_records

EMPTY = "dedup_substrings.empty"


class _Found(NamedTuple):
    """Anchors of a batch and what is needed to say where their runs stand."""

    tokens: Any  # what is hashed: bytes, `width` a token
    width: int
    doc: Any  # i64[n+1]: tokens of document d are doc[d]..doc[d+1]
    owner: Any  # i64[a]: document of each anchor
    start: Any  # i64[a]: of the document's anchors
    anchors: Any
    lanes: Any  # u64[a, 2]: hash of all tokens that its runs cover
    inside: Any  # bool[a]: equal ones stand earlier in the document


class DedupSubstrings(CorpusStep):
    """Cut out every run of at least `min_length` words or bytes that stands in an earlier place; the first one stays.

    What goes is exact: a word (byte) goes if and only if it is part of a run of `min_length` of them that equals a run at an earlier
    place (sorted path, then row, then place; runs may overlap), as a suffix array of the whole corpus would find. With
    `keep_first: false`, if the run stands anywhere else. Runs are compared by 128-bit hashes, words by their bytes (64-bit
    hash); white space between words does not count. Runs don't cross documents.

    Only anchors of runs are shuffled (a sample that equal runs share), with a hash of their surroundings; where surroundings of one anchor differ, the runs
    themselves. No phase needs more than a partition, or a batch of documents. About 15 MB/s per core by words, 4 by bytes.

    The white space behind a run of words goes with it. A run of bytes is cut between characters: a character that is not
    wholly in it stays. A document that nothing is left of is dropped. mode: annotate adds `dedup_substrings_removed`, the share of bytes
    that would go, and leaves text and rows alone.
    """

    name: ClassVar[str] = "dedup_substrings"
    summary: ClassVar[str] = "cut out exact runs of words or bytes seen before"
    origin: ClassVar[str] = "Lee et al. 2022 (arXiv:2107.06499), section 4.1: suffix array, 50 tokens; the same runs, found by anchors"
    shorthand: ClassVar[str | None] = "min_length"

    min_length: int = Field(50, ge=2, le=10_000, description="words or bytes from which a repeated run goes; Lee et al.: 50 BPE tokens")
    unit: Literal["word", "byte"] = Field(
        "word", description="word: between white space; byte: any place of the UTF-8 text, for languages without blanks and code"
    )
    keep_first: bool = Field(True, description="the first copy of a run stays; false: all copies go")
    mode: Literal["drop", "annotate"] = Field("drop", description="drop: cut runs out; annotate: only add columns")

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.unit == "byte" and self.min_length < 16:
            raise ValueError(f"min_length must be at least 16 with unit: byte, got {self.min_length}")
        return self

    def reads(self) -> frozenset[str]:
        """Columns that must exist before this step."""
        return frozenset({"text"})

    def adds(self) -> Mapping[str, pa.DataType]:
        """Columns that exist after it, with their types."""
        return columns_of(self.name) if self.mode == "annotate" else {}

    def drops(self) -> tuple[str, ...]:
        """Every drop reason it can give."""
        return (EMPTY,) if self.mode == "drop" else ()

    def phases(self) -> tuple[Phase, ...]:
        """Bring equal anchors together, decide by their surroundings, compare runs where these differ, find what goes."""
        return (
            Phase("anchors", over="documents", to="key", schema=ANCHORS, key="key", note="41 bytes an anchor"),
            Phase("decide", over="partition", to="documents", schema=DECIDED),
            Phase("runs", over="documents", to="key", schema=RUNS, key="key", reads=("decide",)),
            Phase("compare", over="partition", to="documents", schema=REPEATED),
            Phase("cuts", over="documents", to="documents", schema=CUTS, reads=("decide", "compare")),
        )

    def bind_phase(self, phase: str, ctx: Context) -> DocumentsFn | RecordsFn:
        """Return the function of that phase."""
        if phase == "decide":
            return lambda records: decide(records, self.keep_first)
        if phase == "compare":
            return lambda records: repeated(records, self.keep_first)
        if phase == "anchors":
            return lambda batch, side: self._anchors(batch, ctx)
        if phase == "runs":
            return lambda batch, side: self._runs(batch, side["decide"], ctx)
        return lambda batch, side: self._cuts(batch, side["decide"], side["compare"], ctx)

    def _found(self, batch: pa.RecordBatch, ctx: Context) -> _Found:
        from curate.kernels.anchors import anchors
        from curate.kernels.content_hash import range_hashes
        from curate.kernels.strings import views
        from curate.steps.lines import seen_inside

        text = batch.column("text")
        if self.unit == "word":
            words = ctx.words(text, "whitespace")
            values, doc = words.raw, words.doc
            tokens, width = values.view(np.uint8), 8
        else:
            data, offsets = views(text)
            tokens, width, doc = data[offsets[0] : offsets[-1]], 1, offsets - offsets[0]
            values = tokens.astype(np.uint64)
        found = anchors(values, np.ascontiguousarray(doc), self.min_length)
        lanes = range_hashes(tokens, found.first * width, (found.last + self.min_length) * width)
        owner = np.repeat(np.arange(len(doc) - 1), np.diff(found.doc))
        return _Found(tokens, width, doc, owner, found.doc, found, lanes, seen_inside(owner, lanes))

    def _anchors(self, batch: pa.RecordBatch, ctx: Context) -> pa.Table:
        """One record for each anchor of a document with surroundings not seen before in it."""
        found = self._found(batch, ctx)
        take = np.flatnonzero(~found.inside)
        again = _stands_again(found)[take]
        row = batch.column(ROW).to_numpy()[found.owner[take]]
        columns = [found.anchors.key[take], found.lanes[take, 0], found.lanes[take, 1], row, take - found.start[found.owner[take]], again]
        return pa.table([pa.array(c) for c in columns], schema=ANCHORS)

    def _runs(self, batch: pa.RecordBatch, decided: pa.Table, ctx: Context) -> pa.Table:
        """One record for each run at an anchor whose surroundings were not decisive."""
        from curate.kernels.content_hash import range_hashes

        found = self._found(batch, ctx)
        _, open_ = _named(batch, decided, found)
        first, count = found.anchors.first[open_], (found.anchors.last - found.anchors.first + 1)[open_]
        run = np.repeat(first - np.cumsum(count) + count, count) + np.arange(int(count.sum()))
        owner = np.repeat(found.owner[open_], count)
        lanes = range_hashes(found.tokens, run * found.width, (run + self.min_length) * found.width)
        row = batch.column(ROW).to_numpy()[owner]
        columns = [np.ascontiguousarray(lanes[:, 0]), np.ascontiguousarray(lanes[:, 1]), row, run - found.doc[owner]]
        return pa.table([pa.array(c) for c in columns], schema=RUNS)

    def _cuts(self, batch: pa.RecordBatch, decided: pa.Table, compared: pa.Table, ctx: Context) -> pa.Table:
        """What goes from each document."""
        found = self._found(batch, ctx)
        whole, _ = _named(batch, decided, found)
        whole = np.concatenate([whole, np.flatnonzero(found.inside)])
        place, at = _rows(batch, compared)
        run = found.doc[place] + compared.column("run").to_numpy()[at]
        covered = np.zeros(len(found.tokens) // found.width + 1, np.int64)
        np.add.at(covered, found.anchors.first[whole], 1)
        np.add.at(covered, found.anchors.last[whole] + self.min_length, -1)
        np.add.at(covered, run, 1)
        np.add.at(covered, run + self.min_length, -1)
        goes = np.cumsum(covered)[:-1] > 0
        records = self._ranges(batch, found, goes, ctx)
        figures = {f"{self.unit}s": len(goes), f"{self.unit}s_removed": int(goes.sum())}
        return with_figures(self._judged(batch, records), figures)

    def _ranges(self, batch: pa.RecordBatch, found: _Found, goes: Any, ctx: Context) -> pa.Table:
        """Runs of tokens that go as ranges of bytes."""
        from curate.kernels.strings import views

        data, offsets = views(batch.column("text"))
        edge = np.zeros(len(goes) + 1, bool)
        edge[found.doc] = True  # runs end with their document
        before, after = np.concatenate([[False], goes[:-1]]), np.concatenate([goes[1:], [False]])
        opens = np.flatnonzero(goes & (~before | edge[:-1]))
        closes = np.flatnonzero(goes & (~after | edge[1:]))
        owner = np.searchsorted(found.doc, opens, side="right") - 1
        if self.unit == "word":
            start = ctx.words(batch.column("text"), "whitespace").start
            last = closes + 1 == found.doc[owner + 1]
            stops = np.where(last, offsets[owner + 1], start[np.minimum(closes + 1, max(len(start) - 1, 0))])
            return range_records(batch, owner, start[opens], stops, offsets)
        starts, stops = offsets[0] + opens, offsets[0] + closes + 1
        for _ in range(3):  # a character has at most three bytes behind its first
            starts += (starts < stops) & (data[np.minimum(starts, len(data) - 1)] & 0xC0 == 0x80)
            stops -= (stops < offsets[owner + 1]) & (stops > starts) & (data[np.minimum(stops, len(data) - 1)] & 0xC0 == 0x80)
        some = stops > starts
        return range_records(batch, owner[some], starts[some], stops[some], offsets)

    def _judged(self, batch: pa.RecordBatch, records: pa.Table) -> pa.Table:
        """The records with the reason where nothing is left."""
        if not len(records):
            return records
        at = np.searchsorted(batch.column(ROW).to_numpy(), records.column(ROW).to_numpy())
        left = cut(batch.column("text").take(pa.array(at)), records)
        nothing = pc.equal(pc.binary_length(pc.utf8_trim_whitespace(left)), 0)
        reason = pc.if_else(nothing, EMPTY, pa.scalar(None, pa.string()))
        return records.set_column(records.schema.names.index("reason"), CUTS.field("reason"), reason)

    def apply(self, batch: pa.RecordBatch, delivered: pa.Table) -> Outcome:
        """Cut the runs out and drop what is empty, or add the columns."""
        if self.mode == "annotate":
            return annotated(self.name, batch, delivered)
        done = batch.set_column(batch.schema.get_field_index("text"), "text", cut(batch.column("text"), delivered))
        return super().apply(done, delivered)


def _stands_again(found: _Found) -> Any:
    """bool[a]: whether equal surroundings stand later in the document."""
    from curate.steps.lines import seen_inside

    return seen_inside(found.owner[::-1], found.lanes[::-1])[::-1]


def _rows(batch: pa.RecordBatch, records: pa.Table) -> tuple[Any, Any]:
    """(row of the batch, number) of each record that names a row of the batch; both are in order of rows."""
    rows, named = batch.column(ROW).to_numpy(), records.column(ROW).to_numpy()
    low, high = np.searchsorted(named, [rows[0], rows[-1] + 1]).tolist() if len(rows) else (0, 0)
    place = np.searchsorted(rows, named[low:high])
    ours = rows[place] == named[low:high]
    return place[ours], np.arange(low, high)[ours]


def _named(batch: pa.RecordBatch, decided: pa.Table, found: _Found) -> tuple[Any, Any]:
    """(anchors of which all runs go, anchors whose runs are to be compared)."""
    place, at = _rows(batch, decided)
    anchor = found.start[place] + decided.column("anchor").to_numpy()[at]
    goes, open_ = (decided.column(name).to_numpy()[at] for name in ("goes", "open"))
    return anchor[goes], anchor[open_]
