"""Evol-Instruct: prompts made harder or wider by a model, and the rules that throw failed evolutions away."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, get_args

import pyarrow as pa
from pydantic import Field

from curate.schema import with_columns
from curate.step import BatchFn, Context, Outcome, Step, Verdict
from formats.batches import from_batch, to_batch
from formats.generation.journal import Answer
from formats.generation.model_step import AskStep
from formats.generation.prompts import Prompt, user_prompt
from formats.records import Candidate, Message, Record, text_of
from formats.steps.prompts import READS, prompt_of

Operator = Literal["constraints", "deepen", "concretise", "reasoning", "complicate_input", "breadth"]
OPERATORS: tuple[Operator, ...] = get_args(Operator)
_HOW: Mapping[Operator, str] = {
    "constraints": "Add one more constraint or requirement to it.",
    "deepen": "Ask for more: make the question it raises deeper and broader.",
    "concretise": "Put specific concepts in the place of general ones.",
    "reasoning": "If a few simple thoughts would answer it, change it so that it needs several steps of reasoning.",
    "complicate_input": "Add data that has to be worked with: a table, code, a formula, JSON or XML, as fits.",
}
_DEPTH = (
    "Rewrite the task between the lines so that it is somewhat harder for an AI system, yet reasonable, and clear to people. {how} "
    "Keep everything in it that is not prose (tables, code, inputs). Add 10 to 20 words, no more. Do not answer the task, do not comment: "
    "write the new task alone.\n\n---\n{prompt}\n---"
)
_BREADTH = (
    "Write a new task of the same field as the one between the lines, but a rarer one, of about its length and difficulty. It has to be reasonable, "
    "and clear to people. Do not answer it, do not comment: write the new task alone.\n\n---\n{prompt}\n---"
)
_LEAKS = re.compile(
    r"#?(?:the )?(?:given|rewritten|created|new) prompt#?|the (?:new|rewritten) task\b|task between the lines", re.IGNORECASE
)
_EQUAL = (
    "Here are two tasks for an assistant. Do they have the same constraints and requirements, and the same depth and breadth of what is asked? "
    "Write the one word Equal or the words Not Equal.\n\nFirst task:\n{first}\n\nSecond task:\n{second}"
)
_STOP_TEXT = """
a about after again all also am an and any are as at be because been before being between both but by can could did do does doing down
during each few for from further had has have having he her here hers him his how i if in into is it its just me more most my no nor
not now of off on once only or other our out over own same she should so some such than that the their them then there these they this
those through to too under until up very was we were what when where which while who whom why will with would you your
"""
STOP_WORDS = frozenset(_STOP_TEXT.split())


class EvolInstruct(AskStep):
    """Replace the prompt by an evolved one: harder by one of five operators, or another one of its field (`breadth`).

    The operator is drawn by the prompt's own digest and `draw`, each with equal chance, as in the paper. Records of more than one user turn, and answers
    that they have, are not for this step. Dropped: an evolution that was cut off, that is the prompt unchanged, or that speaks of "the given prompt" and the
    like (the paper's rule 4). Rule 1 (no gain) is the step `evol_gain`, rules 2 and 3 look at answers: `evol_answers`. The parent and the operator
    stay in `meta.evolved`. The paper's four rounds are four datasets, each `from` the one before; blend them with their parents.
    """

    name: ClassVar[str] = "evol_instruct"
    summary: ClassVar[str] = "evolve prompts in depth and breadth with a model"
    origin: ClassVar[str] = (
        "Xu et al. 2023 (WizardLM, arXiv:2304.12244), section 3; openai_access.py: T 1, top_p 0.95, 2,048 tokens. Wording our own"
    )
    no_prompt: ClassVar[str] = "not_one_turn"

    operators: tuple[Operator, ...] = Field(OPERATORS, min_length=1, max_length=6, description="operators to draw from")
    draw: int = Field(0, ge=0, le=1 << 31, description="another number draws other operators")
    top_p: float | None = Field(0.95, gt=0, le=1, description="of the paper's script")
    max_tokens: int | None = Field(2048, ge=1, le=1 << 24, description="most tokens of one answer")

    def reasons(self) -> tuple[str, ...]:
        """Why an evolution is thrown away."""
        return ("cut_off", "empty", "unchanged", "leaked_words")

    def _operator(self, dice: int) -> Operator:
        return self.operators[(dice ^ (self.draw * 0x9E3779B97F4A7C15)) % (1 << 64) % len(self.operators)]

    def question(self, record: Record, dice: int) -> Prompt | None:
        """The request for one evolution."""
        if sum(m.role == "user" for m in record.messages) != 1:
            return None
        operator = self._operator(dice)
        form = _BREADTH if operator == "breadth" else _DEPTH.replace("{how}", _HOW[operator])
        return user_prompt(form.replace("{prompt}", prompt_of(record)), self.system)

    def take(self, record: Record, answer: Answer, dice: int) -> Record | str:
        """The record with the evolved prompt."""
        text, parent = (answer.text or "").strip().strip("-").strip(), prompt_of(record)
        reason = (
            "cut_off" if answer.finish == "length" else "empty" if not text else "unchanged" if _same(text, parent)
            else "leaked_words" if _LEAKS.search(text) and not _LEAKS.search(parent) else None
        )  # fmt: skip
        if reason is not None:
            return reason
        turns = [Message("user", text) if m.role == "user" else m for m in record.messages if m.role != "assistant"]
        evolved = {"from": parent, "operator": self._operator(dice)}
        return Record(turns, tools=record.tools, id=record.id, source=record.source, meta={**record.meta, "evolved": evolved})


class EvolGain(AskStep):
    """Drop evolved prompts that a model finds equal to their parent: the elimination rule 1 of Evol-Instruct.

    Reads `meta.evolved.from`. Answers other than Equal and Not Equal are dropped as `unclear`.
    """

    name: ClassVar[str] = "evol_gain"
    summary: ClassVar[str] = "drop evolved prompts without gain over their parent, by a model"
    origin: ClassVar[str] = "Xu et al. 2023 (WizardLM), section 3.2, elimination rule 1. Wording our own"
    no_prompt: ClassVar[str] = "no_parent"

    temperature: float | None = Field(0.0, ge=0, le=10, description="0: the likeliest token each time")
    max_tokens: int | None = Field(16, ge=1, le=1 << 24, description="most tokens of one answer")

    def reasons(self) -> tuple[str, ...]:
        """The two outcomes that drop."""
        return ("no_gain", "unclear")

    def question(self, record: Record, dice: int) -> Prompt | None:
        """The comparison."""
        evolved = record.meta.get("evolved")
        parent = evolved.get("from") if isinstance(evolved, dict) else None
        if not isinstance(parent, str):
            return None
        return user_prompt(_EQUAL.replace("{first}", parent).replace("{second}", prompt_of(record)), self.system)

    def take(self, record: Record, answer: Answer, dice: int) -> Record | str:
        """Keep what is not equal."""
        said = re.findall(r"\b(not\s+equal|equal)\b", (answer.text or "").lower())
        if len(set(said)) != 1:
            return "unclear"
        return record if said[0] != "equal" else "no_gain"


class EvolAnswers(Step):
    """Remove answers that show that an evolved prompt could not be answered: the elimination rules 2 and 3 of Evol-Instruct.

    Rule 2: an answer of fewer than `min_apology_words` words with "sorry" in it. Rule 3: an answer of punctuation and stop words alone (English).
    Looks at every candidate, or at the last turn where there are none; a record without an answer left is dropped by its first answer's reason.
    """

    name: ClassVar[str] = "evol_answers"
    summary: ClassVar[str] = "remove apologies and empty talk among answers to evolved prompts"
    origin: ClassVar[str] = "Xu et al. 2023 (WizardLM), section 3.2, elimination rules 2 and 3: fewer than 80 words"

    min_apology_words: int = Field(80, ge=1, le=100_000, description="an answer with 'sorry' in it stays from so many words on")

    def reads(self) -> frozenset[str]:
        """Columns that must exist before this step."""
        return READS

    def drops(self) -> tuple[str, ...]:
        """Every drop reason it can give."""
        return ("evol_answers.apology", "evol_answers.empty_talk")

    def bind(self, ctx: Context) -> BatchFn:
        """Nothing to load."""
        return self._run

    def _run(self, batch: pa.RecordBatch) -> Outcome:
        made: list[Record] = []
        reasons: list[str | None] = []
        for record in from_batch(batch):
            given = record.candidates or (
                [Candidate(record.messages[-1:])] if record.messages and record.messages[-1].role == "assistant" else []
            )
            found = [self._wrong(candidate) for candidate in given]
            good = [candidate for candidate, wrong in zip(given, found, strict=True) if wrong is None]
            if record.candidates and len(good) < len(given):
                record = Record(record.messages, good, record.tools, record.text, record.plain, record.id, record.source, record.meta)
            made.append(record)
            reasons.append(f"evol_answers.{found[0]}" if given and not good else None)
        columns = to_batch(made)
        reason = pa.array(reasons, pa.string())
        return Outcome(with_columns(batch, {n: columns.column(n) for n in ("text", "candidates")}), Verdict(reason.is_null(), reason))

    def _wrong(self, candidate: Candidate) -> str | None:
        text = "\n".join(text_of(m) for m in candidate.messages).lower()
        if any(m.tool_calls for m in candidate.messages):
            return None
        if "sorry" in text and len(text.split()) < self.min_apology_words:
            return "apology"
        found: list[Any] = re.findall(r"\w+", text)
        return "empty_talk" if all(word in STOP_WORDS for word in found) else None


def _same(a: str, b: str) -> bool:
    return re.findall(r"\w+", a.lower()) == re.findall(r"\w+", b.lower())
