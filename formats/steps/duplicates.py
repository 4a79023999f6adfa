"""Duplicate prompts: curate's exact and MinHash deduplication, with the prompt in the place of the text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, cast

import pyarrow as pa
from pydantic import Field

from curate.schema import with_columns
from curate.step import Context, CorpusStep, DocumentsFn, Phase, RecordsFn
from curate.steps.exact import DedupExact
from curate.steps.minhash import DedupMinhash
from formats.steps.prompts import READS, Which, prompts


def _with_prompts(step: CorpusStep, phase: str, found: DocumentsFn | RecordsFn, which: Which) -> DocumentsFn | RecordsFn:
    """Phases over documents see the prompt as the text."""
    if next(p for p in step.phases() if p.name == phase).over != "documents":
        return found
    inner = cast(DocumentsFn, found)

    def run(batch: pa.RecordBatch, side: Mapping[str, pa.Table]) -> pa.Table:
        return inner(with_columns(batch, {"text": prompts(batch, which)}), side)

    return run


def _phases(phases: tuple[Phase, ...]) -> tuple[Phase, ...]:
    return tuple(replace(p, columns=p.columns | READS) if p.over == "documents" else p for p in phases)


class DedupPrompts(DedupMinhash):
    """Remove records whose prompt nearly repeats the prompt of one that stays; answers are not looked at.

    All settings are those of `dedup_minhash`, which it is, with the prompt in the place of the text; the bound is on the
    Jaccard similarity of word n-grams, here of 3 words, since prompts are short. Records without a prompt are kept.
    """

    name: ClassVar[str] = "dedup_prompts"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "remove records with nearly the same prompt"
    origin: ClassVar[str] = "dedup_minhash on prompts; distilabel's MinHashDedup has 0.9 on words"

    prompt: Which = Field("first", description="which user turns are compared: the first, the last before the answer, all of them")
    ngram: int = Field(3, ge=1, le=64, description="words in a shingle; `shingle` says more")

    def reads(self) -> frozenset[str]:
        """Columns that must exist before this step."""
        return super().reads() | READS

    def made_for(self) -> dict[str, Any]:
        """Settings that the hashes of an index depend on."""
        return {**super().made_for(), "prompt": self.prompt}

    def phases(self) -> tuple[Phase, ...]:
        """Those of dedup_minhash."""
        return _phases(super().phases())

    def bind_phase(self, phase: str, ctx: Context) -> DocumentsFn | RecordsFn:
        """Return the function of that phase."""
        return _with_prompts(self, phase, super().bind_phase(phase, ctx), self.prompt)


class DedupPromptsExact(DedupExact):
    """Keep one of all records with the same prompt, after folding of case and white space unless `by: text`."""

    name: ClassVar[str] = "dedup_prompts_exact"
    summary: ClassVar[str] = "keep one of all records with the same prompt"
    origin: ClassVar[str] = "dedup_exact on prompts"

    by: str = Field(
        "normalized_text", pattern="^(text|normalized_text)$", description="text, or normalized_text (lower case, white space folded)"
    )
    prompt: Which = Field("first", description="which user turns are compared: the first, the last before the answer, all of them")

    def reads(self) -> frozenset[str]:
        """Columns that must exist before this step."""
        return super().reads() | READS

    def made_for(self) -> dict[str, Any]:
        """Settings that the hashes of an index depend on."""
        return {**super().made_for(), "prompt": self.prompt}

    def phases(self) -> tuple[Phase, ...]:
        """Those of dedup_exact."""
        return _phases(super().phases())

    def bind_phase(self, phase: str, ctx: Context) -> DocumentsFn | RecordsFn:
        """Return the function of that phase."""
        return _with_prompts(self, phase, super().bind_phase(phase, ctx), self.prompt)
