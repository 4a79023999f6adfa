"""Tags of conversations by rules: what kind of record it is, for filters, mixtures and reports."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

import pyarrow as pa

from curate.schema import with_columns
from curate.step import BatchFn, Context, Outcome, Step, counted
from formats.batches import from_batch
from formats.records import Record
from formats.steps.prompts import READS, answer_of, prompt_of
from formats.templates.turns import conversation_of

_CODE = re.compile(r"```|^\s*(?:def |class |import |#include|public |function |SELECT .+ FROM )", re.MULTILINE)
_MATH = re.compile(
    r"\\(?:frac|boxed|sqrt|sum|int)\b|\$[^$\n]*\\[a-z]+[^$\n]*\$|\d\s*[+*=\u00d7\u00f7]\s*\d|\d [-/] \d"
    r"|\b(?:equations?|solve for|integral|derivative|probability)\b",
    re.IGNORECASE,
)
_TASKS = (
    ("translate", r"\btranslat"), ("summarize", r"\b(?:summari[sz]e|summary|tl;?dr)"), ("rewrite", r"\b(?:rewrite|re-?word|rephrase|paraphrase|proofread)\b|\b(?:edit|correct) (?:the|this|these|my|any|all|it|grammar|spelling)\b"),
    ("classify", r"\b(?:classify|categori[sz]e|sentiment|label|which category)"), ("extract", r"\b(?:extract|identify|find all|list all)\b"),
    ("brainstorm", r"\b(?:brainstorm|suggest|ideas?|come up with|generate a list|give (?:me )?(?:\w+ ){0,3}(?:examples|ideas))"),
    ("write", r"\b(?:write|compose|draft|create|design|generate)\b"), ("explain", r"\b(?:explain|describe|why|how (?:does|do|is|are|can))\b"),
    ("question", r"\?|^(?:what|who|when|where|which|is|are|does|do|can)\b"),
)  # fmt: skip
TAGS = (
    "code", "math", "reasoning", "tools", "media", "system", "multi_turn", "preference", "unanswered", "choice", "other", *(name for name, _ in _TASKS),
)  # fmt: skip
_INSTRUCTION = re.compile(r"^### Instruction:\n(.*?)(?=^### |\Z)", re.MULTILINE | re.DOTALL)
_CHOICES = re.compile(r"^\s*[(\[]?[A-D][)\].:]\s+\S", re.MULTILINE)


class Tags(Step):
    """Add `tags`: names separated by blanks, in a fixed order, with one task tag from the words of the first prompt.

    Form: reasoning, tools, media, system, multi_turn, preference, unanswered, code, math, choice. Task, by the verb that comes first:
    translate, summarize, rewrite, classify, extract, brainstorm, write, explain; question where there is none, else other. Of a prompt in
    Alpaca's template its instruction counts. The words are English; tags by a model are
    a matter of `hf_classifier`. The manifest counts every tag by source. `filter: "tags LIKE '%math%'"` keeps one kind.
    """

    name: ClassVar[str] = "tags"
    version: ClassVar[int] = 2
    summary: ClassVar[str] = "tags of conversations by rules: form, code, math, kind of task"
    origin: ClassVar[str] = "rules of our own; InsTag (Lu et al. 2023) has a model for it"

    def reads(self) -> frozenset[str]:
        """Columns that must exist before this step."""
        return READS

    def adds(self) -> Mapping[str, pa.DataType]:
        """Columns that exist after it, with their types."""
        return {"tags": pa.string()}

    def bind(self, ctx: Context) -> BatchFn:
        """Compile the patterns."""
        tasks = [(name, re.compile(pattern, re.IGNORECASE)) for name, pattern in _TASKS]

        def run(batch: pa.RecordBatch) -> Outcome:
            found = [tags_of(record, tasks) for record in from_batch(batch)]
            figures = [(row, TAGS.index(tag)) for row, tags in enumerate(found) for tag in tags]
            made = with_columns(batch, {"tags": pa.array([" ".join(tags) for tags in found], pa.string())})
            return Outcome(made, None, counted(batch.column("source"), TAGS, figures))

        return run


def tags_of(record: Record, tasks: list[tuple[str, re.Pattern[str]]]) -> list[str]:
    """Tags of one record, in the order of TAGS."""
    turns = conversation_of(record) or record.messages
    prompt, answer = prompt_of(record), answer_of(record)
    both = f"{prompt}\n{answer}"
    form = {
        "code": bool(_CODE.search(both)),
        "math": bool(_MATH.search(both)),
        "reasoning": any(m.reasoning for m in turns) or "<think>" in answer,
        "tools": record.tools is not None or any(m.tool_calls for m in turns),
        "media": any(isinstance(p, dict) and p.get("type", "text") != "text" for m in turns for p in m.parts or ()),
        "system": any(m.role == "system" for m in turns),
        "multi_turn": sum(m.role == "user" for m in turns) > 1,
        "preference": len(record.candidates) > 1,
        "unanswered": not answer,
        "choice": len(_CHOICES.findall(prompt)) >= 2,
    }
    found = {name for name, holds in form.items() if holds} | {_task(prompt, tasks)}
    return [name for name in TAGS if name in found]


def _task(prompt: str, tasks: list[tuple[str, re.Pattern[str]]]) -> str:
    """The task whose word stands first; `question` is what is left."""
    asked = _INSTRUCTION.search(prompt)
    text = prompt if asked is None else asked[1]
    *verbs, (last, question) = tasks
    places = [(found.start(), at) for at, (_, pattern) in enumerate(verbs) if (found := pattern.search(text))]
    if places:
        return verbs[min(places)[1]][0]
    return last if question.search(text) else "other"
