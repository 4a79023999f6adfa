"""Refusals, boilerplate and leaked prompts in answers."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from curate.schema import with_columns
from curate.step import BatchFn, Context, Outcome, Step, Verdict
from formats.batches import from_batch
from formats.steps.prompts import READS, answer_of, prompt_of

# Each is looked for in the first `head` characters of an answer (refusal), anywhere (the others); curly apostrophes count as straight.
_CANT = r"(?:can'?t|cannot|can not|am unable|'?m unable|am not able|'?m not able|won'?t)(?! (?:help|stop|wait) ?(?:but|it\b))"
_DO = (
    r"(?:help|assist|provide|fulfill|comply|answer|support|create|write|generate|engage|do that|discuss|share|participate|tell you|respond|"
    r"access|retrieve|display|perform)"
)
_MODEL = r"an? (?:ai|artificial intelligence|(?:large |ai )?language model|computer program|chatbot)\b"
_REFUSAL = (
    rf"(?:i'?m|i am) (?:really |very |so |truly )?(?:sorry|afraid)[,.]? (?:but )?(?:i |that i )?{_CANT}",
    rf"\bi (?:can'?t|cannot|can not|won'?t|will not) {_DO}(?! but\b| it\b)",
    rf"\b(?:i|we)(?:'?m| am|'?re| are) (?:unable|not able|not allowed|not programmed|not comfortable|not going|not capable) (?:to |of )?{_DO}",
    rf"^(?:sorry|i apologi[sz]e)[,.]? (?:but )?i {_CANT}",
    rf"\b(?:as|i'?m|i am) {_MODEL}.{{0,80}}?\b(?:can'?t|cannot|unable|not able|don'?t|do not|not capable)",
    r"\bi (?:don'?t|do not) have (?:the |any )?(?:capability|ability|access|permission|authori[sz]ation) (?:to|of)\b",
    r"\b(?:goes|would go|is) against (?:my|our|openai'?s|ethical|content) (?:guidelines|programming|policies|policy|principles|use)",
)
_BOILERPLATE = (
    r"\bas an? (?:ai|artificial intelligence)(?: language)?(?: model| assistant)?\b(?!-)",
    r"\bas a (?:large )?language model\b",
    r"\bi(?:'?m| am| was|'?ve been| have been)\b[^.!?\n]{0,80}\b(?:trained|developed|created|made) by (?:openai|anthropic|google|meta ai|deepseek|alibaba)\b",
    r"\bmy (?:knowledge|training)(?: data)? (?:cut[- ]?off|only goes up to|ends in)",
    r"\bi (?:don'?t|do not) have (?:personal|real-time|feelings|emotions|access to (?:real|current|the internet))",
)
_LEAK = (
    r"\b(?:given prompt|rewritten prompt|#rewritten prompt#|#given prompt#|created prompt|#created prompt#)",
    r"<\|(?:im_start|im_end|endoftext|eot_id|start_header_id|end_header_id|assistant|user|system)\|>",
    r"^### (?:instruction|input|response):?\s*$",
)
_KINDS = {"refusal": _REFUSAL, "boilerplate": _BOILERPLATE, "leak": _LEAK}
Kind = Literal["refusal", "boilerplate", "leak", "empty", "echo"]
KINDS: tuple[Kind, ...] = ("empty", "echo", "leak", "refusal", "boilerplate")
_FOLD = str.maketrans("\u2018\u2019\u02bc", "'''")


class Refusals(Step):
    """Drop records whose last answer refuses, speaks of itself as a model, leaks a prompt, repeats the prompt or says nothing.

        empty        punctuation and blanks alone: an emoji is an answer
        echo         the prompt again, and nothing else
        leak         marks of chat templates, headers of prompt templates, words of Evol-Instruct's prompts
        refusal      a refusal in the first `head` characters
        boilerplate  "As an AI language model", makers' names as the speaker's own, a knowledge cut-off

    Patterns are English, and look at words only: a story in which somebody refuses in the first sentence is taken for a refusal, a
    refusal in other words is not. Refusals of harmful requests are wanted in most sets: keep them with `kinds`, or annotate.
    """

    name: ClassVar[str] = "refusals"
    version: ClassVar[int] = 2
    summary: ClassVar[str] = "drop answers that refuse, talk of being a model, leak prompts, echo or say nothing"
    origin: ClassVar[str] = (
        "the elimination rules of Xu et al. 2023 (WizardLM) and phrase lists as in public cleaned sets; the patterns are ours"
    )

    kinds: tuple[Kind, ...] = Field(KINDS, min_length=1, description="what is looked for, of: empty, echo, leak, refusal, boilerplate")
    head: int = Field(200, ge=1, le=1_000_000, description="characters of the answer in which a refusal is looked for")
    mode: Literal["drop", "annotate"] = Field("drop", description="drop, or only add columns")

    def reads(self) -> frozenset[str]:
        """Columns that must exist before this step."""
        return READS

    def adds(self) -> Mapping[str, pa.DataType]:
        """Columns that exist after it, with their types."""
        return {} if self.mode == "drop" else {"refusals_keep": pa.bool_(), "refusals_reason": pa.string()}

    def drops(self) -> tuple[str, ...]:
        """Every drop reason it can give."""
        return tuple(f"refusals.{kind}" for kind in KINDS if kind in self.kinds) if self.mode == "drop" else ()

    def bind(self, ctx: Context) -> BatchFn:
        """Compile the patterns."""
        patterns: dict[str, re.Pattern[str]] = {
            k: re.compile("|".join(f"(?:{p})" for p in v), re.MULTILINE | re.DOTALL) for k, v in _KINDS.items() if k in self.kinds
        }

        def run(batch: pa.RecordBatch) -> Outcome:
            found = [self._kind(prompt_of(r, "last"), answer_of(r), patterns) for r in from_batch(batch)]
            reason = pa.array([None if kind is None else f"refusals.{kind}" for kind in found], pa.string())
            if self.mode == "drop":
                return Outcome(batch, Verdict(reason.is_null(), reason))
            return Outcome(with_columns(batch, {"refusals_keep": reason.is_null(), "refusals_reason": reason}))

        return run

    def _kind(self, prompt: str, answer: str, patterns: Mapping[str, re.Pattern[str]]) -> str | None:
        text = answer.translate(_FOLD).lower().strip()
        for kind in KINDS:
            if kind not in self.kinds:
                continue
            if kind == "empty":
                hit = all(unicodedata.category(c)[0] in "PZC" for c in text)
            elif kind == "echo":
                hit = bool(text) and text == prompt.translate(_FOLD).lower().strip()
            else:
                hit = patterns[kind].search(text[: self.head] if kind == "refusal" else text) is not None
            if hit:
                return kind
        return None
