"""Magpie: an aligned model writes user turns when it is given nothing but the start of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, NamedTuple

from pydantic import Field

from formats.generation.backend import Sampling
from formats.generation.journal import Answer
from formats.generation.model_step import AskStep
from formats.generation.prompts import Prompt
from formats.records import Message, Record


class PreQuery(NamedTuple):
    """A template up to where the user speaks, without BOS (servers add it), and what ends the turn."""

    before: str
    system: str  # with {system} in it
    ends: tuple[str, ...]


_IM = PreQuery("<|im_start|>user\n", "<|im_start|>system\n{system}<|im_end|>\n", ("<|im_end|>", "<|im_start|>", "<|endoftext|>"))
TEMPLATES: Mapping[str, PreQuery] = {
    "chatml": _IM,
    "llama3": PreQuery(
        "<|start_header_id|>user<|end_header_id|>\n\n", "<|start_header_id|>system<|end_header_id|>\n\n{system}<|eot_id|>",
        ("<|eot_id|>", "<|end_of_text|>", "<|start_header_id|>"),
    ),
    "gemma": PreQuery("<start_of_turn>user\n", "<start_of_turn>user\n{system}<end_of_turn>\n", ("<end_of_turn>", "<eos>", "<start_of_turn>")),
    "mistral": PreQuery("[INST]", "{system}", ("[/INST]", "</s>")),
    "phi3": PreQuery("<|user|>\n", "<|system|>\n{system}<|end|>\n", ("<|end|>", "<|endoftext|>", "<|assistant|>")),
    "zephyr": PreQuery("<|user|>\n", "<|system|>\n{system}</s>\n", ("</s>", "<|assistant|>")),
}  # fmt: skip


class Magpie(AskStep):
    """Fill empty records (`read: {slots: ...}`) with user turns that an aligned model writes by itself after its template's start of one.

    All requests are equal but for their seeds. With `one_line` a turn ends at its first line break, as the paper's script has it. Dropped: turns that are empty,
    cut off, shorter than `min_words`, or end in a colon (their input is missing). `generate` with temperature 0 gives the paper's answers. Servers
    are asked through /completions. Tags for quality and difficulty are a judge's matter, near-duplicates that of `diverse` and `dedup_prompts`;
    the script's last filter, the longest answers, we leave out: it selects for length.
    """

    name: ClassVar[str] = "magpie"
    summary: ClassVar[str] = "user turns that an aligned model writes after its own template's start of one"
    origin: ClassVar[str] = (
        "Xu et al. 2024 (Magpie, arXiv:2406.08464), section 2; exp/gen_ins.py: T 1, top_p 1, 512 tokens, stop at a line break"
    )

    template: Literal["chatml", "llama3", "gemma", "mistral", "phi3", "zephyr"] = Field(
        "chatml", description="the model's chat template (Qwen: chatml)"
    )
    pre_query: str | None = Field(
        None, min_length=1, max_length=100_000, description="text in place of the template's start of a user turn"
    )
    one_line: bool = Field(True, description="end a turn at its first line break")
    min_words: int | None = Field(None, ge=1, le=10_000, description="fewest words of a turn")
    top_p: float | None = Field(1.0, gt=0, le=1, description="the script's")
    max_tokens: int | None = Field(512, ge=1, le=1 << 24, description="most tokens of a turn")

    def reasons(self) -> tuple[str, ...]:
        """Why a turn is thrown away."""
        return ("empty", "cut_off", "too_short", "ends_in_colon")

    def sampling(self) -> Sampling:
        """With the template's ends among the stop texts."""
        ends = TEMPLATES[self.template].ends if self.pre_query is None else ()
        stops = tuple(dict.fromkeys([*self.stop, *ends, *(["\n"] if self.one_line else [])]))
        return super().sampling().model_copy(update={"stop": stops})

    def question(self, record: Record, dice: int) -> Prompt | None:
        """The start of a user turn."""
        form = TEMPLATES[self.template]
        system = form.system.replace("{system}", self.system) if self.system is not None and self.pre_query is None else ""
        return Prompt(text=system + (self.pre_query or form.before))

    def take(self, record: Record, answer: Answer, dice: int) -> Record | str:
        """The turn as a prompt."""
        text = (answer.text or "").strip()
        reason = (
            "cut_off" if answer.finish == "length" else "empty" if not text
            else "too_short" if self.min_words is not None and len(text.split()) < self.min_words else "ends_in_colon" if text.endswith(":") else None
        )  # fmt: skip
        if reason is not None:
            return reason
        return Record([Message("user", text)], id=record.id, source=record.source, meta=record.meta)
