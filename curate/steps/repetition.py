"""Drop documents that repeat themselves: lines, paragraphs and n-grams of words (Gopher)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from curate.kernels.strings import views
from curate.schema import with_columns
from curate.step import BatchFn, Context, Outcome, Step, Verdict

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


def _share(default: float, of: str) -> float | None:
    bound: float | None = Field(default, ge=0, le=1, description=f"largest share of {of}; null: no bound")
    return bound


class GopherRepetition(Step):
    """Drop documents that repeat themselves.

    Reads `text`; adds columns only in `mode: annotate`. Depends on nothing but the document. 80 to 100 MB/s per core
    beside the word split, which steps share. A share equal to its bound survives; empty text is dropped, as in datatrove.

    Equal to datatrove's GopherRepetitionFilter given the same words. Other tools read the same table in other ways:
    DCLM and dolma count the first copy of a repeated line too, DCLM divides by the characters of words, so that the
    same bounds are about twice as strict there.
    """

    name: ClassVar[str] = "gopher_repetition"
    summary: ClassVar[str] = "drop documents with repeated lines, paragraphs or n-grams (Gopher)"
    origin: ClassVar[str] = "Rae et al. 2021 (arXiv:2112.11446), Table A1; datatrove 0.10 GopherRepetitionFilter"

    mode: Literal["drop", "annotate"] = Field("drop", description="annotate: add columns, drop nothing")
    words: Literal["unicode", "whitespace"] = Field("unicode", description="word split; the n-gram bounds depend on it")
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
        return (_EMPTY, *(f"{self.name}.{reason}" for reason, _, setting in _SHARES if getattr(self, setting) is not None))

    def bind(self, ctx: Context) -> BatchFn:
        """Return the batch function; compiles the kernels."""
        from curate.kernels.repetition import ngram_shares, segment_shares

        settings = [getattr(self, setting) for _, _, setting in _SHARES]
        bounds = np.array([np.inf if bound is None else bound for bound in settings])
        everything = self.mode == "annotate"

        def run(batch: pa.RecordBatch) -> Outcome:
            text = batch.column("text")
            data, offsets = views(text)
            n = len(batch)
            shares, chars = np.zeros((n, len(_SHARES))), np.zeros(n, np.int64)
            segments = np.zeros((n, _SEGMENTS))
            segment_shares(data, offsets, segments, chars)
            shares[:, :_SEGMENTS] = segments
            over = (segments > bounds[:_SEGMENTS]).any(axis=1) | (chars == 0)
            if everything or (np.isfinite(bounds[_SEGMENTS:]).any() and not over.all()):
                words = ctx.words(text, self.words)
                skip = (chars == 0 if everything else over).astype(np.uint8)
                ngram_shares(data, words.doc, words.start, words.size, words.raw, words.chars, chars, skip, bounds, everything, shares)
            verdict = _judge(shares, bounds, chars == 0)
            if not everything:
                return Outcome(batch, verdict)
            columns = {column: pa.array(shares[:, k]) for k, (_, column, _) in enumerate(_SHARES)}
            return Outcome(
                with_columns(batch, {"gopher_repetition_keep": verdict.keep, "gopher_repetition_reason": verdict.reason, **columns})
            )

        return run


def _judge(shares: npt.NDArray[np.float64], bounds: npt.NDArray[np.float64], empty: npt.NDArray[np.bool_]) -> Verdict:
    """The first share above its bound decides. shares: f64[n, 13], bounds: f64[13], empty: bool[n]."""
    over = shares > bounds
    over[empty] = False
    keep = ~over.any(axis=1) & ~empty
    first = over.argmax(axis=1)
    names = pa.array([*(f"gopher_repetition.{reason}" for reason, _, _ in _SHARES), _EMPTY])
    reason = names.take(pa.array(np.where(empty, len(_SHARES), first), mask=keep))
    value = pa.array(np.take_along_axis(shares, first[:, None], axis=1)[:, 0], mask=keep | empty)
    return Verdict(pa.array(keep), reason, value)
