"""Novelty of prompts by ROUGE-L, as Self-Instruct keeps new instructions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from curate.schema import ROW, with_columns
from curate.step import Context, CorpusStep, DocumentsFn, Outcome, Phase, RecordsFn
from formats.steps.prompts import READS, Which, prompts

_PROMPTS = pa.schema([pa.field(ROW, pa.int64()), pa.field("id", pa.string()), pa.field("prompt", pa.large_string())])
_FOUND = pa.schema(
    [pa.field(ROW, pa.int64()), pa.field("reason", pa.string()), pa.field("value", pa.float64()), pa.field("partner", pa.string())]
)
_COLUMNS: Mapping[str, pa.DataType] = {
    "novelty_keep": pa.bool_(),
    "novelty_reason": pa.string(),
    "novelty_rouge": pa.float64(),
    "novelty_partner": pa.string(),
}
REASON = "novelty.too_near"


class Novelty(CorpusStep):
    """Drop a record whose prompt has a ROUGE-L of more than `max_rouge` with one that was kept before, in order of rows.

    The result is that of comparing every prompt with every kept one; only pairs that share rare words are scored (`formats/rouge.py`). The
    most similar kept prompt is stored as partner. Records without a prompt, or whose prompt has no words, are kept.
    Compares all prompts in one task, and the time grows with the square of their number: 1,000 real prompts of 33 words took 0.3 CPU
    seconds, 4,000 took 2.1. For more than some 50,000 put `dedup_prompts` before it, or instead. Misses rewordings: ROUGE-L counts words.
    """

    name: ClassVar[str] = "novelty"
    summary: ClassVar[str] = "keep prompts that are new by ROUGE-L against all kept before"
    origin: ClassVar[str] = "Wang et al. 2023 (Self-Instruct) and its bootstrap_instructions.py: 0.7; words of rouge_score 0.1.2"
    shorthand: ClassVar[str | None] = "max_rouge"

    max_rouge: float = Field(0.7, gt=0, lt=1, description="highest ROUGE-L F with a kept prompt that is still new")
    prompt: Which = Field("first", description="which user turns are compared: the first, the last before the answer, all of them")
    mode: Literal["drop", "annotate"] = Field("drop", description="drop what is not new, or only add columns")

    def reads(self) -> frozenset[str]:
        """Columns that must exist before this step."""
        return READS

    def adds(self) -> Mapping[str, pa.DataType]:
        """Columns that exist after it, with their types."""
        return _COLUMNS if self.mode == "annotate" else {}

    def drops(self) -> tuple[str, ...]:
        """One reason."""
        return (REASON,) if self.mode == "drop" else ()

    def phases(self) -> tuple[Phase, ...]:
        """Collect the prompts, compare them in order."""
        return (
            Phase("prompts", over="documents", to="everything", schema=_PROMPTS, columns=READS),
            Phase("compare", over="everything", to="documents", schema=_FOUND),
        )

    def bind_phase(self, phase: str, ctx: Context) -> DocumentsFn | RecordsFn:
        """Return the function of that phase."""
        if phase == "compare":
            return self._compare

        def collect(batch: pa.RecordBatch, side: Mapping[str, pa.Table]) -> pa.Table:
            return pa.table([batch.column(ROW), batch.column("id").cast(pa.string()), prompts(batch, self.prompt)], schema=_PROMPTS)

        return collect

    def _compare(self, records: pa.Table) -> pa.Table:
        import math

        from formats.rouge import Accepted, rarity, words

        records = records.sort_by(ROW)
        texts = [words(text or "") for text in records.column("prompt").to_pylist()]
        rows, ids = records.column(ROW).to_pylist(), records.column("id").to_pylist()
        accepted = Accepted(math.nextafter(self.max_rouge, 1), rarity(texts))  # what is equal to the bound survives
        kept: list[str] = []
        found = []
        for row, identity, text in zip(rows, ids, texts, strict=True):
            score, at = accepted.nearest(text)
            if at >= 0:
                found.append((row, REASON, score, kept[at]))
                continue
            if text:
                accepted.add(text)
                kept.append(identity)
        columns = list(zip(*found, strict=True)) or [(), (), (), ()]
        return pa.table([pa.array(c, f.type) for c, f in zip(columns, _FOUND, strict=True)], schema=_FOUND)

    def apply(self, batch: pa.RecordBatch, delivered: pa.Table) -> Outcome:
        """Drop what is not new, or add the columns."""
        if self.mode == "drop":
            return super().apply(batch, delivered)
        reason, value, partner = (delivered.column(c).combine_chunks() for c in ("reason", "value", "partner"))
        return Outcome(with_columns(batch, dict(zip(_COLUMNS, (reason.is_null(), reason, value, partner), strict=True))))
