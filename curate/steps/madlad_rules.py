"""Drop documents with too many questionable sentences (MADLAD-400)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, model_validator

from curate.kernels.strings import views
from curate.schema import with_columns
from curate.step import Asset, BatchFn, Context, Outcome, Signal, Step
from curate.steps.bounds import Bound, judge, judged_columns, ratio
from curate.steps.fasttext_file import load
from curate.steps.languages import lid_176_path

I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]

Rule = Literal["list_case", "length", "technical", "cursed", "language"]
_RULES: tuple[Rule, ...] = ("list_case", "length", "technical", "cursed", "language")


class Madlad(Step):
    """Drop documents with too many questionable sentences.

    Reads `text`; adds columns only in `mode: annotate`. Depends on nothing but the document. About 90 MB/s per core.

    A sentence is questionable where one of the rules says so: list_case (more than half of at least twelve tokens begin with a
    capital), length (fewer than 20 or more than 500 characters), technical (over a fifth of its characters are digits or one
    of { } + / ( ) >), cursed (a string or pattern of the paper's list: "Facebook", "mp3", lorem ipsum, runs of single letters),
    language (its language, found with a score of at least `min_language_score`, is another than the whole document's).
    A document stays with at least five sentences and at most a fifth of them questionable.

    The rule `language` is off unless named: the paper has a model of its own for 498 languages, and lid.176 guesses at
    sentences of a few words. OLMo 3 uses `rules: [list_case, cursed]`.
    Lengths are characters as the paper says, where datamap counts bytes; the paper names its trouble with CJK, whose
    sentences end in other marks and are shorter: leave `length` out there. `cursed` drops sentences that merely speak of
    Facebook, downloads or developers, and list_case German ones with many nouns.
    """

    name: ClassVar[str] = "madlad"
    summary: ClassVar[str] = "drop documents with few sentences or many questionable ones (MADLAD-400)"
    origin: ClassVar[str] = "Kudugunta et al. 2023 (arXiv:2309.04662), section 2.3; allenai/datamap-rs for the split into sentences"

    mode: Literal["drop", "annotate"] = Field("drop", description="annotate: add columns, drop nothing")
    rules: tuple[Rule, ...] = Field(_RULES[:4], min_length=1, max_length=5, description="which rules make a sentence questionable")
    min_sentences: int | None = Field(5, ge=0, le=1_000_000, description="fewest sentences; null: no bound")
    max_questionable: float | None = Field(0.2, ge=0, le=1, description="largest share of questionable sentences; null: no bound")
    max_capital_tokens: float = Field(0.5, ge=0, le=1, description="list_case: largest share of tokens that begin with a capital")
    min_list_tokens: int = Field(12, ge=1, le=100_000, description="list_case: sentences of fewer tokens are not tested")
    min_chars: int = Field(20, ge=0, le=1_000_000, description="length: fewest characters of a sentence")
    max_chars: int = Field(500, ge=1, le=1_000_000_000, description="length: most characters of a sentence")
    max_technical: float = Field(0.2, ge=0, le=1, description="technical: largest share of technical characters")
    min_language_score: float = Field(0.5, ge=0, le=1, description="language: lowest score of a sentence's language that counts")
    model: str | None = Field(
        None, description="language: a fastText model (.bin, .ftz); null: lid.176.ftz", json_schema_extra={"path": True}
    )

    @model_validator(mode="after")
    def _sensible(self) -> Madlad:
        if self.min_chars > self.max_chars:
            raise ValueError(f"min_chars {self.min_chars} is above max_chars {self.max_chars}")
        return self

    def adds(self) -> Mapping[str, pa.DataType]:
        """In annotate mode: decision, reason, sentences, shares of questionable ones, over all and by rule."""
        if self.mode == "drop":
            return {}
        shares = {f"madlad_{rule}": pa.float64() for rule in _RULES if rule in self.rules}
        return {
            "madlad_keep": pa.bool_(),
            "madlad_reason": pa.string(),
            "madlad_sentences": pa.int64(),
            "madlad_questionable": pa.float64(),
            **shares,
        }

    def drops(self) -> tuple[str, ...]:
        """Reasons of the bounds that are set."""
        if self.mode == "annotate":
            return ()
        bounds = (("madlad.few_sentences", self.min_sentences), ("madlad.questionable", self.max_questionable))
        return tuple(reason for reason, bound in bounds if bound is not None)

    def signals(self) -> tuple[Signal, ...]:
        """Sentences, and the share of questionable ones."""
        return (Signal("madlad_sentences", "min_sentences", "at_least"), Signal("madlad_questionable", "max_questionable", "at_most"))

    def assets(self) -> tuple[Asset, ...]:
        """The language model, where one is asked."""
        return (Asset(self.model or str(lid_176_path()), "model"),) if "language" in self.rules else ()

    def bind(self, ctx: Context) -> BatchFn:
        """Return the batch function; loads the language model."""
        from curate.kernels import patterns
        from curate.kernels import questionable as kernel
        from curate.kernels.characters import character_bits

        bits = character_bits()
        machine = patterns.build([c.encode() for c in kernel.CURSED_STRINGS])
        table = (machine.step, machine.byte_class, machine.ends, machine.further)
        rules = sum(1 << k for k, rule in enumerate(_RULES) if rule in self.rules)
        settings = (self.max_capital_tokens, self.min_list_tokens, self.min_chars, self.max_chars, self.max_technical)
        in_other_languages = self._bind_language()

        def run(batch: pa.RecordBatch) -> Outcome:
            data, offsets = views(batch.column("text"))
            n = len(batch)
            counts = np.zeros((n, kernel.COLUMNS), np.int64)
            kernel.judge_sentences(data, offsets, bits, *table, rules, *settings, in_other_languages(data, offsets), counts)
            sentences = np.ascontiguousarray(counts[:, kernel.SENTENCES])
            share = ratio(counts[:, kernel.QUESTIONABLE], sentences)
            tested = np.where(np.diff(offsets) == 0, np.nan, sentences)  # empty text is kept
            bounds = (
                Bound("madlad.few_sentences", tested, at_least=self.min_sentences),
                Bound("madlad.questionable", share, at_most=self.max_questionable),
            )
            verdict = judge(bounds, n)
            if self.mode == "drop":
                return Outcome(batch, verdict)
            shares = {
                f"madlad_{rule}": ratio(counts[:, kernel.LIST_CASE + k], sentences) for k, rule in enumerate(_RULES) if rule in self.rules
            }
            signals = {"madlad_sentences": sentences, "madlad_questionable": share, **shares}
            return Outcome(with_columns(batch, judged_columns(self.name, verdict, signals)))

        return run

    def _bind_language(self) -> Callable[[U8, I64], npt.NDArray[np.bool_]]:
        """What tells of every sentence, blank ones too, whether it is in another language than its document; of none without the rule."""
        if "language" not in self.rules:
            return lambda data, offsets: np.zeros(0, bool)
        from curate.kernels.langid import Identifier
        from curate.kernels.questionable import sentences

        identifier = Identifier(load(self.model or str(lid_176_path())))

        def foreign(data: U8, offsets: I64) -> npt.NDArray[np.bool_]:
            nothing = np.zeros(0, np.int64)
            stops, document = np.zeros((2, sentences(data, offsets, nothing, nothing)), np.int64)
            sentences(data, offsets, stops, document)
            whole, _ = identifier(data, offsets)
            label, score = identifier(data, np.concatenate([offsets[:1], stops]))
            other: npt.NDArray[np.bool_] = (label >= 0) & (score >= self.min_language_score) & (label != whole[document])
            return other

        return foreign
