"""Take lines out of pages that are no text (RefinedWeb, DCLM), and drop pages of which too much went."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from curate.kernels.strings import from_buffers, views
from curate.schema import with_columns
from curate.step import BatchFn, Context, Outcome, Signal, Step
from curate.steps.bounds import Bound, judge, judged_columns, ratio

_COUNTS = (  # by column of the kernel's counts
    "line_rules_lines",
    "line_rules_upper_case_lines",
    "line_rules_digit_lines",
    "line_rules_counter_lines",
    "line_rules_short_lines",
    "line_rules_navigation_lines",
)
_REMOVED_WORDS, _REMOVED_CHARS = "line_rules_removed_words", "line_rules_removed_bytes"


class LineRules(Step):
    """Take lines out of pages that are no text, and drop pages of which too much went.

    Reads and rewrites `text`; a dropped page keeps its old text. In `mode: annotate` the text stays and the columns say
    what would have happened to it. Depends on nothing but the document. About 80 MB/s per core.

    Equal to the line modifiers of DCLM-Baseline in their order, and to its rule that drops a page where more than a
    twentieth of the words went: a page of 300 words with twenty menu lines is dropped, not cleaned. Words for that rule are
    fastText's tokens (between ASCII white space) that begin with a letter or digit. Like DCLM, it drops a page without
    words, and one of which nothing is left. It knows English only: the counters and the three phrases of navigation.
    Capital letters are no sign in scripts without them, and the word rule takes nearly every line of Chinese,
    Japanese or Thai: set `min_words: null` there.
    """

    name: ClassVar[str] = "line_rules"
    summary: ClassVar[str] = "remove lines that are no text; drop pages that lose too many words by it (RefinedWeb, DCLM)"
    origin: ClassVar[str] = "Penedo et al. 2023 (arXiv:2306.01116), appendix G.2; DCLM (arXiv:2406.11794) dclm_baseline_refinedweb.yaml"
    rewrites_text: ClassVar[bool] = True

    mode: Literal["drop", "annotate"] = Field("drop", description="annotate: add columns; change no text, drop nothing")
    max_uppercase: float | None = Field(0.5, ge=0, le=1, description="largest share of upper-case characters in a line; null: no bound")
    max_digits: float | None = Field(0.999999, ge=0, le=1, description="largest share of digits in a line; null: no bound")
    remove_counters: bool = Field(True, description='remove lines such as "3 likes" and "1.2k views"')
    min_words: int | None = Field(2, ge=1, le=1000, description="fewest words of a line, by white space; null: no bound")
    remove_navigation: bool = Field(True, description='take "items in cart", "Read more..." and "Sign-in" out of short lines')
    max_navigation_words: int = Field(10, ge=0, le=1000, description="most words of a line that counts as short")
    max_removed_words: float | None = Field(0.05, ge=0, le=1, description="largest share of its words that a page may lose; null: no bound")
    max_removed_bytes: float | None = Field(None, ge=0, le=1, description="largest share of its bytes that a page may lose; null: no bound")

    def adds(self) -> Mapping[str, pa.DataType]:
        """In annotate mode: decision, reason, shares removed, and lines by what would become of them."""
        if self.mode == "drop":
            return {}
        counts = dict.fromkeys(_COUNTS, pa.int64())
        return {
            "line_rules_keep": pa.bool_(),
            "line_rules_reason": pa.string(),
            _REMOVED_WORDS: pa.float64(),
            _REMOVED_CHARS: pa.float64(),
            **counts,
        }

    def drops(self) -> tuple[str, ...]:
        """Nothing left, then the bounds that are set."""
        if self.mode == "annotate":
            return ()
        bounds = (("line_rules.removed_words", self.max_removed_words), ("line_rules.removed_bytes", self.max_removed_bytes))
        return ("line_rules.nothing_left", *(reason for reason, bound in bounds if bound is not None))

    def signals(self) -> tuple[Signal, ...]:
        """The shares removed."""
        return (Signal(_REMOVED_WORDS, "max_removed_words", "at_most"), Signal(_REMOVED_CHARS, "max_removed_bytes", "at_most"))

    def bind(self, ctx: Context) -> BatchFn:
        """Return the batch function."""
        from curate.kernels import linefix as kernel
        from curate.kernels.characters import character_bits

        bits = character_bits()
        rules = kernel.COUNTERS * self.remove_counters | kernel.NAVIGATION * self.remove_navigation
        shares = [2.0 if bound is None else bound for bound in (self.max_uppercase, self.max_digits)]
        bounds = (-1 if self.min_words is None else self.min_words, self.max_navigation_words)

        def run(batch: pa.RecordBatch) -> Outcome:
            text = batch.column("text")
            data, offsets = views(text)
            n, before = len(batch), np.diff(offsets)
            work, out = np.empty(max(1, int(before.max(initial=0))), np.uint8), np.empty(max(1, int(before.sum())), np.uint8)
            cleaned, counts = np.zeros(n + 1, np.int64), np.zeros((n, kernel.COLUMNS), np.int64)
            kernel.clean_lines(data, offsets, bits, rules, *shares, *bounds, work, out, cleaned, counts)
            words, after = counts[:, kernel.WORDS_BEFORE], np.diff(cleaned)
            gone = ratio(words - counts[:, kernel.WORDS_AFTER], words)
            gone_bytes = ratio(before - after, before)
            left = np.where(before == 0, np.nan, np.minimum(words, after).astype(float))  # empty text is kept
            verdict = judge(
                (
                    Bound("line_rules.nothing_left", left, at_least=1),
                    Bound("line_rules.removed_words", gone, at_most=self.max_removed_words),
                    Bound("line_rules.removed_bytes", gone_bytes, at_most=self.max_removed_bytes),
                ),
                n,
            )
            if self.mode == "annotate":
                signals = {_REMOVED_WORDS: gone, _REMOVED_CHARS: gone_bytes}
                signals |= {name: np.ascontiguousarray(counts[:, k]) for k, name in enumerate(_COUNTS)}
                return Outcome(with_columns(batch, judged_columns(self.name, verdict, signals)))
            new = from_buffers(out[: max(1, int(cleaned[-1]))], cleaned, text)
            return Outcome(with_columns(batch, {"text": _unless_dropped(text, new, verdict.keep)}), verdict)

        return run


def _unless_dropped(old: pa.LargeStringArray, new: pa.LargeStringArray, keep: pa.BooleanArray) -> pa.LargeStringArray:
    """The new text of kept documents, the old one of the others."""
    import pyarrow.compute as pc

    return new if keep.true_count == len(keep) else pc.if_else(keep, new, old)
