"""Drop documents that are lists, menus or repeated lines, as FineWeb's own rules do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from curate.kernels.words import WordSplit
from curate.schema import with_columns
from curate.step import BatchFn, Context, Outcome, Step
from curate.steps.bounds import Bound, judge, judged_columns, ratio

_SIGNALS: dict[str, pa.DataType] = {
    "fineweb_lines": pa.int64(),
    "fineweb_terminal_punctuation_fraction": pa.float64(),
    "fineweb_short_line_fraction": pa.float64(),
    "fineweb_duplicate_line_char_fraction": pa.float64(),
    "fineweb_newlines_per_word": pa.float64(),
}


class FineWeb(Step):
    """Drop documents that are lists, menus or repeated lines.

    Reads `text`; adds columns only in `mode: annotate`. Depends on nothing but the document. About 1500 MB/s per core
    beside the word split, which steps share. A number equal to its bound survives.

    Equal to datatrove's FineWebQualityFilter given the same words. Lines lie between '\\n'; blank ones don't count, and
    a document that has no others is dropped. A line ends well if its very last character is in datatrove's
    TERMINAL_PUNCTUATION (marks of many scripts): white space after it spoils that, as in datatrove. Duplicate
    characters are those of lines equal to an earlier one, divided by the text without newlines. FineWeb-2 raised
    `max_duplicate_line_chars` to 0.1.
    """

    name: ClassVar[str] = "fineweb"
    summary: ClassVar[str] = "drop lists, menus and repeated lines (FineWeb's own rules)"
    origin: ClassVar[str] = "Penedo et al. 2024, FineWeb (arXiv:2406.17557), 3.5; datatrove 0.10 FineWebQualityFilter"

    mode: Literal["drop", "annotate"] = Field("drop", description="annotate: add columns, drop nothing")
    words: WordSplit = Field("unicode", description="word split; max_newlines_per_word depends on it")
    min_terminal_punctuation: float | None = Field(
        0.12, ge=0, le=1, description="smallest share of lines ending in terminal punctuation; null: no bound"
    )
    allow_no_terminal_punctuation: bool = Field(False, description="keep documents where no line ends in terminal punctuation at all")
    max_short_lines: float | None = Field(0.67, ge=0, le=1, description="largest share of short lines; null: no bound")
    short_line_chars: int = Field(30, ge=0, le=1_000_000, description="lines of at most that many characters are short")
    max_duplicate_line_chars: float | None = Field(
        0.01, ge=0, le=1, description="largest share of characters in repeated lines; null: no bound"
    )
    max_newlines_per_word: float | None = Field(0.3, ge=0, le=1e9, description="most newlines per word; null: no bound")

    def adds(self) -> Mapping[str, pa.DataType]:
        """In annotate mode: decision, reason and the five numbers."""
        if self.mode == "drop":
            return {}
        return {"fineweb_keep": pa.bool_(), "fineweb_reason": pa.string(), **_SIGNALS}

    def drops(self) -> tuple[str, ...]:
        """Reasons of the bounds that are set, in the order in which they are tested."""
        if self.mode == "annotate":
            return ()
        reasons = (
            ("fineweb.few_terminal_punctuation", self.min_terminal_punctuation),
            ("fineweb.short_lines", self.max_short_lines),
            ("fineweb.duplicate_lines", self.max_duplicate_line_chars),
            ("fineweb.newlines", self.max_newlines_per_word),
        )
        return ("fineweb.empty", *(reason for reason, bound in reasons if bound is not None))

    def bind(self, ctx: Context) -> BatchFn:
        """Return the batch function."""
        from curate.kernels.textstats import newline_counts

        def run(batch: pa.RecordBatch) -> Outcome:
            text = batch.column("text")
            counts = newline_counts(text, self.short_line_chars)
            doc = ctx.words(text, self.words).doc
            terminal = ratio(counts.terminal, counts.lines)
            short = ratio(counts.short, counts.lines)
            duplicate = ratio(counts.duplicate_chars, counts.chars - counts.newlines)
            newlines = ratio(counts.newlines, np.diff(doc))
            tested = np.where(terminal == 0, np.nan, terminal) if self.allow_no_terminal_punctuation else terminal
            bounds = (
                Bound("fineweb.empty", counts.lines.astype(float), at_least=1),
                Bound("fineweb.few_terminal_punctuation", tested, at_least=self.min_terminal_punctuation),
                Bound("fineweb.short_lines", short, at_most=self.max_short_lines),
                Bound("fineweb.duplicate_lines", duplicate, at_most=self.max_duplicate_line_chars),
                Bound("fineweb.newlines", newlines, at_most=self.max_newlines_per_word),
            )
            verdict = judge(bounds, len(batch), measure=self.mode == "drop")
            if self.mode == "drop":
                return Outcome(batch, verdict)
            signals = dict(zip(_SIGNALS, (counts.lines, terminal, short, duplicate, newlines), strict=True))
            return Outcome(with_columns(batch, judged_columns(self.name, verdict, signals)))

        return run
