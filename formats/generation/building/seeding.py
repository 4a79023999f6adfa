"""Prompts from personas, topics and documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from formats.generation.journal import Answer
from formats.generation.model_step import AskStep
from formats.generation.prompts import Prompt, user_prompt
from formats.records import Message, Record, text_of

_ASKS: Mapping[str, str] = {
    "instruction": "a request that {who} might put to an AI assistant",
    "math": "a challenging mathematics problem that {who} might meet. It has one definite answer, and everything needed is in it",
    "reasoning": "a challenging problem of logical reasoning that {who} might meet. It has one definite answer, and everything needed is in it",
    "knowledge": "a question of the kind that needs real knowledge to answer, which {who} might ask",
    "code": "a programming task that {who} might need done, with what goes in and what comes out",
}
_WHO: Mapping[str, str] = {"persona": "the person described below", "topic": "somebody who deals with the topic below"}
_ASK = "Write {what}. Be specific. Do not answer it, do not comment, do not mention the description: write the text of the request alone.\n\n{seed}"
_BACK = (
    "Below is a text. Write the instruction to an assistant to which this text would be a good and complete answer. Name what the text could not do "
    "without (its topic, form, length, audience), but do not quote it. Write the instruction alone.\n\n---\n{text}\n---"
)


def seed_text(record: Record) -> str:
    """The text of a record that holds a persona, a topic or a document: its raw text, or its first turn."""
    return record.text if record.text is not None else text_of(record.messages[0]) if record.messages else ""


class Seeded(AskStep):
    """Turn each record, a persona or a topic, into a prompt that a model writes for it: the seed varies, so the prompts do.

    The record's text (raw, or its first turn) is the seed; it stays in `meta.seed`. Dropped: prompts that are empty or were cut off. Several prompts for a
    seed: repeat the row, equal requests get different samples.
    """

    name: ClassVar[str] = "seeded_prompts"
    summary: ClassVar[str] = "a prompt for each persona or topic, written by a model"
    origin: ClassVar[str] = "Ge et al. 2024 (Persona Hub, arXiv:2406.20094), section 4; openai_synthesize.py: T 0.7. Wording our own"

    seed: Literal["persona", "topic"] = Field("persona", description="what the rows are")
    task: Literal["instruction", "math", "reasoning", "knowledge", "code"] = Field("instruction", description="kind of prompt")
    temperature: float | None = Field(0.7, ge=0, le=10, description="the script's")

    def reasons(self) -> tuple[str, ...]:
        """Why a prompt is thrown away."""
        return ("empty", "cut_off")

    def question(self, record: Record, dice: int) -> Prompt | None:
        """The request for a prompt."""
        text = seed_text(record).strip()
        if not text:
            return None
        what = _ASKS[self.task].replace("{who}", _WHO[self.seed])
        return user_prompt(_ASK.replace("{what}", what).replace("{seed}", f"{self.seed.capitalize()}: {text}"), self.system)

    def take(self, record: Record, answer: Answer, dice: int) -> Record | str:
        """The prompt in place of its seed."""
        text = (answer.text or "").strip()
        if answer.finish == "length" or not text:
            return "cut_off" if text else "empty"
        meta = {**record.meta, "seed": {"kind": self.seed, "text": seed_text(record)}}
        return Record([Message("user", text)], id=record.id, source=record.source, meta=meta)


class Backtranslation(AskStep):
    """Turn each document into a conversation: an instruction that a model writes for it, and the document as the answer.

    Documents outside of `min_words` and `max_words` are dropped as `length`. The paper's second half, keeping pairs that a model rates 5 of 5, is a judge's
    matter (`score`). Temperature and top_p are those of its seed models' decoding.
    """

    name: ClassVar[str] = "backtranslate"
    summary: ClassVar[str] = "documents to conversations: the instruction is written by a model"
    origin: ClassVar[str] = (
        "Li et al. 2023 (Instruction Backtranslation, arXiv:2308.06259), sections 2.1 and 3.1: T 0.7, top_p 0.9. Wording our own"
    )
    no_prompt: ClassVar[str] = "length"

    min_words: int | None = Field(20, ge=1, le=10**7, description="fewest words of a document")
    max_words: int | None = Field(2000, ge=1, le=10**7, description="most words of a document")
    temperature: float | None = Field(0.7, ge=0, le=10, description="the paper's")
    top_p: float | None = Field(0.9, gt=0, le=1, description="the paper's")
    max_tokens: int | None = Field(512, ge=1, le=1 << 24, description="most tokens of an instruction")

    def reasons(self) -> tuple[str, ...]:
        """Why an instruction is thrown away."""
        return ("empty", "cut_off", "quotes")

    def question(self, record: Record, dice: int) -> Prompt | None:
        """The request for an instruction."""
        text = seed_text(record)
        count = len(text.split())
        if count < (self.min_words or 1) or (self.max_words is not None and count > self.max_words):
            return None
        return user_prompt(_BACK.replace("{text}", text), self.system)

    def take(self, record: Record, answer: Answer, dice: int) -> Record | str:
        """Instruction and document as two turns."""
        text, document = (answer.text or "").strip(), seed_text(record)
        if answer.finish == "length" or not text:
            return "cut_off" if text else "empty"
        if len(text) > 200 and text in document:
            return "quotes"
        return Record([Message("user", text), Message("assistant", document)], id=record.id, source=record.source, meta=record.meta)
