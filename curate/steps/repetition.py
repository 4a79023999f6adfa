"""Drop documents that repeat themselves: lines, paragraphs and n-grams of words (Gopher)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from curate.kernels.strings import views
from curate.kernels.words import WordSplit
from curate.schema import with_columns
from curate.step import BatchFn, Context, Measured, Outcome, Step, Verdict

# One row a share, in the order in which they are tested: drop reason, column, setting.
_SHARES = (
    ("duplicate_paragraphs", "gopher_duplicate_paragraph_fraction", "max_duplicate_paragraph_fraction"),
    ("duplicate_paragraph_chars", "gopher_duplicate_paragraph_char_fraction", "max_duplicate_paragraph_char_fraction"),
    ("duplicate_lines", "gopher_duplicate_line_fraction", "max_duplicate_line_fraction"),
    ("duplicate_line_chars", "gopher_duplicate_line_char_fraction", "max_duplicate_line_char_fraction"),
    *((f"top_{n}_gram", f"gopher_top_{n}gram_fraction", f"max_top_{n}gram_fraction") for n in (2, 3, 4)),
    *((f"duplicate_{n}_gram", f"gopher_duplicate_{n}gram_fraction", f"max_duplicate_{n}gram_fraction") for n in range(5, 11)),
)
_SEGMENTS = 4  # the first four are about lines and paragraphs and need no words
_EMPTY = "gopher_repetition.empty"

Shares = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Measure = Callable[[pa.LargeStringArray], tuple[Shares, Flags]]  # of a column: f64[n, 13], and which texts are empty


def _share(default: float, of: str) -> float | None:
    bound: float | None = Field(default, ge=0, le=1, description=f"largest share of {of}; null: no bound")
    return bound


class GopherRepetition(Step):
    """Drop documents that repeat themselves.

    Reads `text`; adds columns only in `mode: annotate`. Depends on nothing but the document. 130 to 250 MB/s per core
    beside the word split, which steps share. A share equal to its bound survives.

    `semantics` names whose reading of the paper's table is used (docs/quality.md has them side by side). Each is equal to
    its tool given the same words: `datatrove` to GopherRepetitionFilter, which the others are stricter than, DCLM and dolma
    about twice, because they count the first copy of a repeated line too. Empty text is dropped for `datatrove`, blank text
    for `dclm` and `nemo`, nothing for `dolma`, which only tags. `nemo` drops texts of under ten words: their n-grams count as
    repeated. The bounds were set with other splits than ours: spaCy's (datatrove), UAX #29 (dclm, near to `unicode`), white
    space (dolma, nemo).
    """

    name: ClassVar[str] = "gopher_repetition"
    summary: ClassVar[str] = "drop documents with repeated lines, paragraphs or n-grams (Gopher)"
    origin: ClassVar[str] = "Rae et al. 2021 (arXiv:2112.11446), Table A1; datatrove 0.10 GopherRepetitionFilter"

    mode: Literal["drop", "annotate"] = Field("drop", description="annotate: add columns, drop nothing")
    semantics: Literal["datatrove", "dclm", "dolma", "nemo"] = Field("datatrove", description="whose reading of Gopher's table")
    words: WordSplit = Field("unicode", description="word split; the n-gram bounds depend on it")
    max_duplicate_paragraph_fraction: float | None = _share(0.3, "paragraphs that repeat an earlier one")
    max_duplicate_paragraph_char_fraction: float | None = _share(0.2, "characters in repeated paragraphs")
    max_duplicate_line_fraction: float | None = _share(0.3, "lines that repeat an earlier one")
    max_duplicate_line_char_fraction: float | None = _share(0.2, "characters in repeated lines")
    max_top_2gram_fraction: float | None = _share(0.2, "characters in the most frequent 2-gram")
    max_top_3gram_fraction: float | None = _share(0.18, "characters in the most frequent 3-gram")
    max_top_4gram_fraction: float | None = _share(0.16, "characters in the most frequent 4-gram")
    max_duplicate_5gram_fraction: float | None = _share(0.15, "characters in repeated 5-grams")
    max_duplicate_6gram_fraction: float | None = _share(0.14, "characters in repeated 6-grams")
    max_duplicate_7gram_fraction: float | None = _share(0.13, "characters in repeated 7-grams")
    max_duplicate_8gram_fraction: float | None = _share(0.12, "characters in repeated 8-grams")
    max_duplicate_9gram_fraction: float | None = _share(0.11, "characters in repeated 9-grams")
    max_duplicate_10gram_fraction: float | None = _share(0.1, "characters in repeated 10-grams")

    def adds(self) -> Mapping[str, pa.DataType]:
        """In annotate mode: decision, reason and the 13 shares."""
        if self.mode == "drop":
            return {}
        signals = {column: pa.float64() for _, column, _ in _SHARES}
        return {"gopher_repetition_keep": pa.bool_(), "gopher_repetition_reason": pa.string(), **signals}

    def drops(self) -> tuple[str, ...]:
        """Reasons of the bounds that are set, in the order in which they are tested."""
        if self.mode == "annotate":
            return ()
        empty = () if self.semantics == "dolma" else (_EMPTY,)
        return (*empty, *(f"{self.name}.{reason}" for reason, _, setting in _SHARES if getattr(self, setting) is not None))

    def bind(self, ctx: Context) -> BatchFn:
        """Return the batch function."""
        settings = [getattr(self, setting) for _, _, setting in _SHARES]
        bounds = np.array([np.inf if bound is None else bound for bound in settings])
        everything = self.mode == "annotate"
        measure = (
            _datatrove(ctx, self.words, bounds, everything) if self.semantics == "datatrove" else _other(ctx, self.words, self.semantics)
        )

        def run(batch: pa.RecordBatch) -> Outcome:
            shares, empty = measure(batch.column("text"))
            verdict = _judge(shares, bounds, empty, measure=not everything)
            if not everything:
                return Outcome(batch, verdict)
            rows = np.ascontiguousarray(shares.T)
            columns = {column: pa.array(rows[k]) for k, (_, column, _) in enumerate(_SHARES)}
            return Outcome(
                with_columns(batch, {"gopher_repetition_keep": verdict.keep, "gopher_repetition_reason": verdict.reason, **columns})
            )

        return run


def _datatrove(ctx: Context, split: str, bounds: Shares, everything: bool) -> Measure:
    """Measure in datatrove's reading; without `everything`, nothing behind the first share above its bound."""
    from curate.kernels.repetition import ngram_shares
    from curate.kernels.segments import DATATROVE, segment_shares

    def measure(text: pa.LargeStringArray) -> tuple[Shares, Flags]:
        data, offsets = views(text)
        n = len(offsets) - 1
        shares, segments, chars = np.zeros((n, len(_SHARES))), np.zeros((n, _SEGMENTS)), np.zeros(n, np.int64)
        segment_shares(data, offsets, DATATROVE, chars, segments, chars)
        shares[:, :_SEGMENTS] = segments
        over = (segments > bounds[:_SEGMENTS]).any(axis=1) | (chars == 0)
        if everything or (np.isfinite(bounds[_SEGMENTS:]).any() and not over.all()):
            words = ctx.words(text, split)
            skip = (chars == 0 if everything else over).astype(np.uint8)
            ngram_shares(data, words.doc, words.start, words.size, words.raw, words.chars, chars, skip, bounds, everything, shares)
        return shares, chars == 0

    return measure


def _other(ctx: Context, split: str, semantics: str) -> Measure:
    """Measure in the reading of dclm, dolma or nemo."""
    from curate.kernels import segments as kernel
    from curate.kernels.tuple_grams import characters_of_words, counted_words, tuple_shares

    reading = {"dclm": kernel.DCLM, "dolma": kernel.DOLMA, "nemo": kernel.NEMO}[semantics]

    def measure(text: pa.LargeStringArray) -> tuple[Shares, Flags]:
        data, offsets = views(text)
        n = len(offsets) - 1
        words = ctx.words(text, split)
        counted = counted_words(words, data, reading)
        shares, segments, chars = np.zeros((n, len(_SHARES))), np.zeros((n, _SEGMENTS)), np.zeros(n, np.int64)
        kernel.segment_shares(data, offsets, reading, characters_of_words(counted), segments, chars)
        tuple_shares(data, offsets, counted, reading, chars, shares)
        shares[:, :_SEGMENTS] = segments
        blank = np.diff(words.doc) == 0
        shares[blank] = 0
        return shares, blank & (semantics != "dolma")

    return measure


def _judge(shares: Shares, bounds: Shares, empty: Flags, measure: bool) -> Verdict:
    """The first share above its bound decides. shares: f64[n, 13], bounds: f64[13], empty: bool[n]; measure: as of `bounds.judge`."""
    over = shares > bounds
    over[empty] = False
    keep = ~over.any(axis=1) & ~empty
    first = over.argmax(axis=1)
    names = pa.array([*(f"gopher_repetition.{reason}" for reason, _, _ in _SHARES), _EMPTY])
    reason = names.take(pa.array(np.where(empty, len(_SHARES), first), mask=keep))
    value = pa.array(np.take_along_axis(shares, first[:, None], axis=1)[:, 0], mask=keep | empty)
    if not measure:
        return Verdict(pa.array(keep), reason, value)
    tested = np.where(empty, -1, np.where(keep, len(_SHARES), first))  # the last share that was looked at
    measured = [
        Measured(f"gopher_repetition.{reason}", np.where(tested >= k, shares[:, k], np.nan), None, float(bounds[k]))
        for k, (reason, _, _) in enumerate(_SHARES)
        if np.isfinite(bounds[k])
    ]
    return Verdict(pa.array(keep), reason, value, measured=measured)
