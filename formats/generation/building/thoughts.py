"""Eliciting chains of thought: what is added to a prompt so that a model reasons before it answers, and taken away again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from curate.schema import with_columns
from curate.step import BatchFn, Context, Outcome, Step, counted
from formats.batches import from_batch, to_batch
from formats.records import Message, Record
from formats.steps.prompts import READS

Style = Literal["step_by_step", "boxed", "hashes", "think_tags"]
STYLES: Mapping[Style, str] = {
    "step_by_step": "Let's think step by step.",
    "boxed": "Please reason step by step, and put your final answer within \\boxed{}.",
    "hashes": "Reason step by step. End with a line that holds #### and the final answer.",
    "think_tags": "Write your reasoning between <think> and </think>, then the answer.",
}
_GAP = "\n\n"


class ChainOfThought(Step):
    """Add a request to reason to the last user turn; with `remove` take it away again, so that a model learns to reason without being asked.

        steps: [{chain_of_thought: boxed}, {generate: ...}, ..., {chain_of_thought: {style: boxed, remove: true}}]

    Where the turn ends in the request already (or, with `remove`, does not), the record stays as it is; both are counted. Records without a user turn too.
    """

    name: ClassVar[str] = "chain_of_thought"
    summary: ClassVar[str] = "ask for reasoning in the prompt, and take the request away again"
    origin: ClassVar[str] = (
        "Kojima et al. 2022 (arXiv:2205.11916), table 1: step_by_step; model card of Qwen2.5-Math: boxed; GSM8K's own form: hashes"
    )
    shorthand: ClassVar[str | None] = "style"

    style: Style = Field("step_by_step", description="which request")
    text: str | None = Field(None, min_length=1, max_length=10_000, description="a request of your own in its place")
    remove: bool = Field(False, description="take the request away instead of adding it")

    def reads(self) -> frozenset[str]:
        """Columns that must exist before this step."""
        return READS

    def bind(self, ctx: Context) -> BatchFn:
        """Nothing to load."""
        ending = _GAP + (self.text or STYLES[self.style])

        def run(batch: pa.RecordBatch) -> Outcome:
            given = from_batch(batch)
            made = [self._changed(record, ending) for record in given]
            figures = [(row, 0 if new is not old else 1) for row, (new, old) in enumerate(zip(made, given, strict=True))]
            columns = to_batch(made)
            changed = with_columns(batch, {name: columns.column(name) for name in ("text", "messages")})
            return Outcome(changed, None, counted(batch.column("source"), ("changed", "left"), figures))

        return run

    def _changed(self, record: Record, ending: str) -> Record:
        at = next((n for n in range(len(record.messages) - 1, -1, -1) if record.messages[n].role == "user"), -1)
        content = record.messages[at].content if at >= 0 else None
        if content is None or content.endswith(ending) is not self.remove:
            return record
        new = content.removesuffix(ending) if self.remove else content + ending
        turn = record.messages[at]
        changed = Message("user", new, name=turn.name, loss=turn.loss, spans=turn.spans, extra=turn.extra)
        messages = [*record.messages[:at], changed, *record.messages[at + 1 :]]
        return Record(messages, record.candidates, record.tools, record.text, record.plain, record.id, record.source, record.meta)
