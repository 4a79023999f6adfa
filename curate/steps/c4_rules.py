"""Clean pages the way C4 was cleaned: drop lines that are no prose, then pages that are no text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curate.kernels.strings import from_buffers, views
from curate.kernels.words import WordSplit, split_words
from curate.schema import with_columns
from curate.step import BatchFn, Context, Measured, Outcome, Step, Verdict

_REASONS = ("c4.too_long", "c4.lorem_ipsum", "c4.curly_bracket", "c4.too_few_sentences")  # by PAGE_... of the kernel
_SENTENCES = 2  # index of min_sentences among the bounds
_SIGNALS = (  # by column of the kernel's counts
    "c4_sentences",
    "c4_lines",
    "c4_lines_kept",
    "c4_lines_long_word",
    "c4_lines_no_end_mark",
    "c4_lines_few_words",
    "c4_lines_lorem_ipsum",
    "c4_lines_javascript",
    "c4_lines_curly_bracket",
    "c4_lines_policy",
)


class C4(Step):
    """Rewrite pages line by line and drop pages by what is left.

    Reads and rewrites `text` (lines are stripped, some go, citations go); a dropped page keeps its old text. In
    `mode: annotate` the text stays and the columns say what would have happened to it; the counts then cover the whole
    page. Depends on nothing but the document. 450 to 1000 MB/s per core.

    Equal to datatrove's C4QualityFilter with `words: spacy_en`, which counts sentences as spaCy does. With the other splits
    the sentence rule is ours (`curate.kernels.sentences`) and the same for every language. The paper speaks of 3 words a
    line and 5 sentences a page, as here; the code of C4 has 5 and 3. DCLM follows the code: `semantics: dclm` reads lines as it
    does (cut at newlines alone, white space kept, empty lines stay, "'" is no end mark, words counted without citations), and
    `preset: c4_dclm` has its bounds. Words of a line are by white space in both. The bad-words list is not part of it.
    """

    name: ClassVar[str] = "c4"
    summary: ClassVar[str] = "drop lines that are no prose, then pages with too little left (C4)"
    origin: ClassVar[str] = "Raffel et al. 2020 (arXiv:1910.10683), section 2.2; datatrove 0.10 C4QualityFilter"
    rewrites_text: ClassVar[bool] = True

    mode: Literal["drop", "annotate"] = Field("drop", description="annotate: add columns; change no text, drop nothing")
    semantics: Literal["datatrove", "dclm"] = Field("datatrove", description="how a line is read: as the paper says, or as C4's code does")
    words: WordSplit = Field("unicode", description="whose sentences: spacy_en for spaCy's (English), the other splits for ours")
    max_page_chars: int | None = Field(None, ge=1, le=2**40, description="longest page, in characters; null: no bound")
    terminal_punctuation: bool = Field(True, description="keep only lines that end in . ? ! \" or ' and not in ...")
    min_words_per_line: int | None = Field(3, ge=0, le=1000, description="fewest words of a line, by white space; null: no bound")
    max_word_chars: int | None = Field(1000, ge=1, le=1_000_000, description="longest word of a line; null: no bound")
    min_sentences: int | None = Field(5, ge=0, le=1_000_000, description="fewest sentences left on a page; null: no bound")
    remove_citations: bool = Field(True, description="take [1], [], [edit] and [citation needed] out of lines")
    remove_javascript_lines: bool = Field(True, description='remove lines that say "javascript"')
    remove_policy_lines: bool = Field(True, description='remove lines that speak of terms of use, privacy or cookies ("use cookies")')
    drop_lorem_ipsum: bool = Field(True, description='drop pages with "lorem ipsum" in a line that stays')
    drop_curly_bracket: bool = Field(True, description='drop pages with "{" in a line that stays')

    def adds(self) -> Mapping[str, pa.DataType]:
        """In annotate mode: decision, reason, sentences, and lines by what would become of them."""
        if self.mode == "drop":
            return {}
        return {"c4_keep": pa.bool_(), "c4_reason": pa.string(), **dict.fromkeys(_SIGNALS, pa.int32())}

    def drops(self) -> tuple[str, ...]:
        """Reasons of the rules that are on."""
        if self.mode == "annotate":
            return ()
        on = (self.max_page_chars is not None, self.drop_lorem_ipsum, self.drop_curly_bracket, self.min_sentences is not None)
        return tuple(reason for reason, wanted in zip(_REASONS, on, strict=True) if wanted)

    def bind(self, ctx: Context) -> BatchFn:
        """Return the batch function."""
        from curate.kernels import c4lines as kernel

        rules = (
            kernel.END_MARK * self.terminal_punctuation
            | kernel.CITATION * self.remove_citations
            | kernel.DCLM * (self.semantics == "dclm")
            | kernel.LOREM_IPSUM * self.drop_lorem_ipsum
            | kernel.JAVASCRIPT * self.remove_javascript_lines
            | kernel.CURLY_BRACKET * self.drop_curly_bracket
            | kernel.POLICY * self.remove_policy_lines
        )
        settings = (self.min_words_per_line, self.max_word_chars, self.min_sentences, self.max_page_chars)
        bounds = [-1 if bound is None else bound for bound in settings]
        everything, least = self.mode == "annotate", self.min_sentences
        by_spacy = self.words == "spacy_en"
        if by_spacy and least is not None:
            bounds[_SENTENCES] = -1  # counted afterwards, in the lines that stay

        def run(batch: pa.RecordBatch) -> Outcome:
            text = batch.column("text")
            data, offsets = views(text)
            n = len(batch)
            cleaned, cleaned_offsets = np.empty(max(1, int(offsets[-1] - offsets[0])), np.uint8), np.zeros(n + 1, np.int64)
            counts, fate = np.zeros((n, kernel.COLUMNS), np.int32), np.zeros(n, np.int8)
            kernel.clean_pages(data, offsets, rules, *bounds, everything, cleaned, cleaned_offsets, counts, fate)
            if by_spacy and least is not None:
                stays = _remaining_lines(text, rules, bounds) if everything else _column(cleaned, cleaned_offsets, text)
                counts[:, kernel.SENTENCES] = _sentences(stays)
                fate[(fate == kernel.PAGE_KEPT) & (counts[:, kernel.SENTENCES] < least)] = kernel.PAGE_FEW_SENTENCES
            keep = fate == kernel.PAGE_KEPT
            reason = pa.array(_REASONS).take(pa.array(fate, mask=keep))
            if everything:
                signals = {name: pa.array(np.ascontiguousarray(counts[:, k])) for k, name in enumerate(_SIGNALS)}
                return Outcome(with_columns(batch, {"c4_keep": pa.array(keep), "c4_reason": reason, **signals}))
            few = fate == kernel.PAGE_FEW_SENTENCES
            value = pa.array(counts[:, kernel.SENTENCES].astype(np.float64), mask=~few)
            new = _column(cleaned, cleaned_offsets, text)
            if by_spacy and few.any():
                new = pc.if_else(pa.array(few), text, new)  # a dropped page keeps its text
            rewritten = with_columns(batch, {"text": new})
            counted = np.where(keep | few, counts[:, kernel.SENTENCES], np.nan)
            measured = [] if least is None else [Measured("c4.too_few_sentences", counted, least, None)]
            return Outcome(rewritten, Verdict(pa.array(keep), reason, value, measured=measured))

        return run


def _column(data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], old: pa.LargeStringArray) -> pa.LargeStringArray:
    """The new texts, null where the old ones are."""
    return from_buffers(data[: max(1, int(offsets[-1]))], offsets, old)


def _remaining_lines(text: pa.LargeStringArray, rules: int, bounds: list[int]) -> pa.LargeStringArray:
    """Every page by the lines that stay, whether the page does or not; lines that drop a page stay."""
    from curate.kernels import c4lines as kernel
    from curate.kernels.phrases import CURLY_BRACKET, LOREM_IPSUM

    data, offsets = views(text)
    n = len(offsets) - 1
    cleaned, cleaned_offsets = np.empty(max(1, int(offsets[-1] - offsets[0])), np.uint8), np.zeros(n + 1, np.int64)
    counts, fate = np.zeros((n, kernel.COLUMNS), np.int32), np.zeros(n, np.int8)
    lines_only = rules & ~(LOREM_IPSUM | CURLY_BRACKET)
    kernel.clean_pages(data, offsets, lines_only, *bounds[:_SENTENCES], -1, -1, False, cleaned, cleaned_offsets, counts, fate)
    return _column(cleaned, cleaned_offsets, text)


def _sentences(text: pa.LargeStringArray) -> npt.NDArray[np.int64]:
    """Sentences of each page as spaCy counts them. Splits for itself: these are not the words that other steps share."""
    from curate.kernels.spacy_sentences import count_sentences

    return count_sentences(text, split_words(text, "spacy_en"))
