"""Drop documents that don't read like prose: number, length and kind of words and lines (Gopher)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from curate.kernels.words import WordSplit
from curate.schema import with_columns
from curate.step import BatchFn, Context, Outcome, Step
from curate.steps.bounds import Bound, judge, judged_columns, ratio

_SIGNALS: dict[str, pa.DataType] = {
    "gopher_words": pa.int64(),
    "gopher_mean_word_length": pa.float64(),
    "gopher_hashes_per_word": pa.float64(),
    "gopher_ellipses_per_word": pa.float64(),
    "gopher_bullet_line_fraction": pa.float64(),
    "gopher_ellipsis_line_fraction": pa.float64(),
    "gopher_letter_word_fraction": pa.float64(),
    "gopher_stop_words": pa.int64(),
}
_REASONS = (
    ("gopher.too_short", "min_words"),
    ("gopher.too_long", "max_words"),
    ("gopher.short_words", "min_mean_word_length"),
    ("gopher.long_words", "max_mean_word_length"),
    ("gopher.hashes", "max_hashes_per_word"),
    ("gopher.ellipses", "max_ellipses_per_word"),
    ("gopher.bullets", "max_bullet_lines"),
    ("gopher.ellipsis_lines", "max_ellipsis_lines"),
    ("gopher.few_letters", "min_words_with_letters"),
    ("gopher.few_stop_words", "min_stop_words"),
)


class GopherQuality(Step):
    """Drop documents that don't read like prose.

    Reads `text`; adds columns only in `mode: annotate`. Depends on nothing but the document. About 800 MB/s per core
    beside the word split, which steps share. A number equal to its bound survives.

    Equal to datatrove's GopherQualityFilter given the same words, with two differences: 0 is a bound here and turns
    nothing off (null does), and a number that would be 0 / 0 crosses no bound, where datatrove fails. Words that hold
    nothing but symbols (datatrove's PUNCTUATION_SET) are left out of `gopher_words` and the mean length, and counted
    everywhere else. With the `unicode` split a stop word of several CJK characters is never found.

    Stop words count once each and as written; DCLM counts every occurrence, whatever the case (`stop_words_by`,
    `stop_words_case`), dolma every occurrence as written. datatrove set its bounds with spaCy's words, DCLM, dolma and NeMo
    Curator most of theirs with white space.
    """

    name: ClassVar[str] = "gopher_quality"
    summary: ClassVar[str] = "drop documents by number, length and kind of words and lines (Gopher)"
    origin: ClassVar[str] = "Rae et al. 2021 (arXiv:2112.11446), A1.1 Quality Filtering; datatrove 0.10 GopherQualityFilter"

    mode: Literal["drop", "annotate"] = Field("drop", description="annotate: add columns, drop nothing")
    words: WordSplit = Field("unicode", description="word split; all bounds on words depend on it")
    min_words: int | None = Field(50, ge=0, le=1_000_000_000, description="fewest words, without those of symbols only; null: no bound")
    max_words: int | None = Field(100_000, ge=0, le=1_000_000_000, description="most words, without those of symbols only; null: no bound")
    min_mean_word_length: float | None = Field(3, ge=0, le=1e9, description="smallest mean length of words, in characters; null: no bound")
    max_mean_word_length: float | None = Field(10, ge=0, le=1e9, description="largest mean length of words, in characters; null: no bound")
    max_hashes_per_word: float | None = Field(0.1, ge=0, le=1e9, description="most '#' per word; null: no bound")
    max_ellipses_per_word: float | None = Field(0.1, ge=0, le=1e9, description="most '...' and U+2026 per word; null: no bound")
    max_bullet_lines: float | None = Field(
        0.9, ge=0, le=1, description="largest share of lines starting with a bullet or '-'; null: no bound"
    )
    max_ellipsis_lines: float | None = Field(0.3, ge=0, le=1, description="largest share of lines ending with an ellipsis; null: no bound")
    min_words_with_letters: float | None = Field(0.8, ge=0, le=1, description="smallest share of words holding a letter; null: no bound")
    min_stop_words: int | None = Field(2, ge=0, le=10_000, description="fewest stop words; null: no bound")
    stop_words_by: Literal["distinct", "occurrence"] = Field("distinct", description="count a stop word once, or wherever it stands")
    stop_words_case: Literal["exact", "ignore"] = Field("exact", description="ignore: A to Z count as a to z")
    stop_words: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        ("the", "be", "to", "of", "and", "that", "have", "with"), max_length=10_000, description="words of running text"
    )

    def adds(self) -> Mapping[str, pa.DataType]:
        """In annotate mode: decision, reason and the eight numbers."""
        if self.mode == "drop":
            return {}
        return {"gopher_quality_keep": pa.bool_(), "gopher_quality_reason": pa.string(), **_SIGNALS}

    def drops(self) -> tuple[str, ...]:
        """Reasons of the bounds that are set, in the order in which they are tested."""
        if self.mode == "annotate":
            return ()
        return tuple(reason for reason, setting in _REASONS if getattr(self, setting) is not None)

    def bind(self, ctx: Context) -> BatchFn:
        """Return the batch function."""
        from curate.kernels.strings import views
        from curate.kernels.textstats import line_counts, word_counts

        ignore_case = self.stop_words_case == "ignore"
        listed = tuple(word.lower() for word in self.stop_words) if ignore_case else self.stop_words
        distinct = self.stop_words_by == "distinct"

        def run(batch: pa.RecordBatch) -> Outcome:
            text = batch.column("text")
            words = word_counts(ctx.words(text, self.words), listed, distinct, views(text)[0] if ignore_case else None)
            lines = line_counts(text)
            mean_length = ratio(words.solid_chars, words.solid)
            hashes = ratio(lines.hashes, words.words)
            ellipses = ratio(lines.ellipses, words.words)
            bullets = ratio(lines.bullets, lines.lines)
            ends = ratio(lines.ellipsis_ends, lines.lines)
            lettered = ratio(words.with_letter, words.words)
            bounds = (
                Bound("gopher.too_short", words.solid.astype(float), at_least=self.min_words),
                Bound("gopher.too_long", words.solid.astype(float), at_most=self.max_words),
                Bound("gopher.short_words", mean_length, at_least=self.min_mean_word_length),
                Bound("gopher.long_words", mean_length, at_most=self.max_mean_word_length),
                Bound("gopher.hashes", hashes, at_most=self.max_hashes_per_word),
                Bound("gopher.ellipses", ellipses, at_most=self.max_ellipses_per_word),
                Bound("gopher.bullets", bullets, at_most=self.max_bullet_lines),
                Bound("gopher.ellipsis_lines", ends, at_most=self.max_ellipsis_lines),
                Bound("gopher.few_letters", lettered, at_least=self.min_words_with_letters),
                Bound("gopher.few_stop_words", words.listed.astype(float), at_least=self.min_stop_words),
            )
            verdict = judge(bounds, len(batch), measure=self.mode == "drop")
            if self.mode == "drop":
                return Outcome(batch, verdict)
            numbers = (words.solid, mean_length, hashes, ellipses, bullets, ends, lettered, words.listed)
            signals = dict(zip(_SIGNALS, numbers, strict=True))
            return Outcome(with_columns(batch, judged_columns(self.name, verdict, signals)))

        return run
