"""Self-Instruct: new instructions from a few seeds, in the manner of the paper's pipeline."""

from __future__ import annotations

import random
import re
import string
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from curate.errors import DataError
from curate.figures import with_figures
from curate.schema import ROW, with_columns
from curate.step import Asset, Context, DocumentsFn, Incoming, Outcome, Phase, RecordsFn, Verdict
from formats.batches import from_batch, to_batch
from formats.generation import models
from formats.generation.model_step import ModelStep
from formats.generation.prompts import Prompt, user_prompt
from formats.json_text import loads
from formats.records import Message, Record
from formats.rouge import Accepted, rarity, words

BLOCKED = ("image", "images", "graph", "graphs", "picture", "pictures", "file", "files", "map", "maps", "draw", "plot", "go to")
REASONS = ("cut_off", "too_short", "too_long", "blocked_word", "program", "punctuation", "not_ascii", "too_near")
NOT_FILLED = "self_instruct.not_filled"
_ROWS = pa.schema([pa.field(ROW, pa.int64())])
_MADE = pa.schema([pa.field(ROW, pa.int64()), pa.field("instruction", pa.large_string())])
_NUMBERED = re.compile(r"(?:^|\n)\s*\d+\s?[.)]\s+")
_BLOCKED_WORD = re.compile(rf"\b(?:{'|'.join(BLOCKED)})\b", re.IGNORECASE)


class SelfInstruct(ModelStep):
    """Fill empty records (`read: {slots: ...}`) with new instructions: each request shows a model some seeds and some of what it made before.

    A request has `seed_shots` seeds and `made_shots` instructions made so far, shuffled and numbered, and asks to go on with the list. Of its answer every
    instruction counts that has more than 3 and at most 150 words, none of the paper's words for what a language model can't do (image, graph, file ...),
    does not begin with "Write a program", punctuation or a character outside of ASCII, and whose ROUGE-L with all seeds and all accepted ones is at most
    `max_rouge`; an answer that was cut off counts for nothing. Requests are sent in waves of `wave`; the next one draws from what the last one gave.
    When the slots are full, or after `max_requests` for each slot, it ends; slots left over are dropped as `not_filled`. What was rejected is counted by
    reason in the manifest. A rerun takes its answers from the journal.

    Where we differ: chat models are asked in a user turn (`plain_prompts: text` gives the list to a base model as the paper did); letters keep their case
    (the script lower-cases all but the first); instances are made by `generate`, without the split into classification and other tasks.
    """

    name: ClassVar[str] = "self_instruct"
    summary: ClassVar[str] = "new instructions from seeds: in-context mix, filters, ROUGE-L novelty"
    origin: ClassVar[str] = (
        "Wang et al. 2023 (arXiv:2212.10560), section 2.2; bootstrap_instructions.py: 8 shots, 2 of them made, T 0.7, top_p 0.5"
    )

    seeds: str = Field(min_length=1, description="JSON lines with `instruction` or `prompt`", json_schema_extra={"path": True})
    seed_shots: int = Field(6, ge=1, le=100, description="seeds in a request; more while nothing is made yet, so that the sum stays")
    made_shots: int = Field(2, ge=0, le=100, description="instructions made before in a request")
    max_rouge: float | None = Field(0.7, gt=0, lt=1, description="highest ROUGE-L with a seed or an accepted instruction; null: any")
    min_words: int | None = Field(4, ge=1, le=10_000, description="fewest words")
    max_words: int | None = Field(150, ge=1, le=10_000, description="most words")
    block_words: bool = Field(
        True, description="reject instructions with one of the paper's words, and those that begin with 'Write a program'"
    )
    ascii_start: bool = Field(
        True, description="reject instructions that begin with a character outside of ASCII; false for other languages"
    )
    wave: int = Field(64, ge=1, le=10_000, description="requests between two looks at what was made")
    max_requests: float = Field(2.0, gt=0, le=1000, description="most requests for each slot")
    plain_prompts: Literal["chat", "text"] = Field("chat", description="ask in a user turn, or give a base model the list to continue")
    temperature: float | None = Field(0.7, ge=0, le=10, description="the script's")
    top_p: float | None = Field(0.5, gt=0, le=1, description="the script's")
    presence_penalty: float | None = Field(2.0, ge=-2, le=2, description="the script's")
    stop: tuple[str, ...] = Field(
        ("\n\n", "\n16", "16.", "16 ."), max_length=64, description="the script's: the list ends at 15 or at an empty line"
    )

    def drops(self) -> tuple[str, ...]:
        """One reason: slots that were not filled."""
        return (NOT_FILLED,)

    def assets(self) -> tuple[Asset, ...]:
        """The seeds, and the model's files."""
        return (Asset(self.seeds, "seed tasks"), *super().assets())

    def phases(self) -> tuple[Phase, ...]:
        """Count the slots, fill them."""
        return (
            Phase("slots", over="documents", to="everything", schema=_ROWS, columns=frozenset({"id"})),
            Phase("write", over="everything", to="documents", schema=_MADE, note="one task", whole_machine=self.is_local()),
        )

    def bind_phase(self, phase: str, ctx: Context) -> DocumentsFn | RecordsFn:
        """Return the function of that phase."""
        if phase == "write":
            return lambda records: self._write(records, ctx)
        return lambda batch, side: pa.table([batch.column(ROW)], schema=_ROWS)

    def _write(self, records: pa.Table, ctx: Context) -> Iterator[pa.Table]:
        rows: list[int] = sorted(records.column(ROW).to_pylist())
        pool = _Pool(self, read_seeds(self.seeds))
        backend = models.make_backend(self.model, ctx)
        figures: Counter[str] = Counter()
        most = max(1, int(self.max_requests * len(rows)))
        while len(pool.made) < len(rows) and figures["questions"] < most:
            count = min(self.wave, most - figures["questions"])
            bodies = [self._request(pool, ctx.seed, figures["questions"] + n).encoded() for n in range(count)]
            with closing(self.answered(bodies, 1, backend, str(ctx.seed), ctx)) as journal:
                for number in range(count):
                    answer = journal.get(number)
                    if answer is not None:
                        figures["answers"] += 1
                        pool.take(answer.text or "", answer.finish)
                figures.update({"questions": count, "tokens_in": journal.tokens_in, "tokens_out": journal.tokens_out})
            ctx.say(
                min(1.0, len(pool.made) / len(rows)),
                f"{len(pool.made):,}/{len(rows):,} instructions from {figures['questions']:,} requests",
            )
        found = pool.made[: len(rows)]
        rejected = {f"rejected_{reason}": n for reason, n in sorted(pool.rejected.items())}
        table = pa.table([pa.array(rows[: len(found)], pa.int64()), pa.array(found, pa.large_string())], schema=_MADE)
        yield with_figures(table, {**figures, **rejected, "accepted": len(pool.made)})

    def _request(self, pool: _Pool, seed: int, number: int) -> Prompt:
        """Request `number`: a function of the seed, the number and what was made before."""
        dice = random.Random(f"{seed}:{number}")
        made = dice.sample(pool.made, min(self.made_shots, len(pool.made)))
        shots = [*made, *dice.sample(pool.seeds, min(self.seed_shots + self.made_shots - len(made), len(pool.seeds)))]
        dice.shuffle(shots)
        lines = "\n".join(f"{n}. {' '.join(text.split()).rstrip(':')}" for n, text in enumerate(shots, 1))
        if self.plain_prompts == "text":
            return Prompt(text=f"Come up with a series of tasks:\n{lines}\n{len(shots) + 1}.")
        asked = f"Here is the start of a numbered list of varied tasks for an assistant. Go on with it from {len(shots) + 1} to 15, one task a line."
        return user_prompt(f"{asked} Write the list alone.\n\n{lines}", self.system)

    def apply(self, batch: pa.RecordBatch, delivered: pa.Table) -> Outcome:
        """Write the instructions into their records."""
        texts = delivered.column("instruction").to_pylist()
        made = [Record([Message("user", t)], meta=r.meta) if t else r for r, t in zip(from_batch(batch), texts, strict=True)]
        columns = to_batch(made)
        reason = pa.array([None if t else NOT_FILLED for t in texts], pa.string())
        return Outcome(
            with_columns(batch, {n: columns.column(n) for n in ("text", "messages", "plain")}), Verdict(reason.is_null(), reason)
        )

    def findings(self, figures: Mapping[str, int]) -> dict[str, Any]:
        """Requests, what was accepted and rejected, tokens, cost."""
        return {k: v for k, v in super().findings(figures).items() if v not in ({}, [])}

    def forecast(self, incoming: Incoming, seed: int) -> list[str]:
        """Requests at most."""
        most = max(1, int(self.max_requests * incoming.rows))
        bound = (
            ""
            if self.max_tokens is None
            else f", at most {most * self.max_tokens:,} tokens of answers{self._money(0, most * self.max_tokens)}"
        )
        return [f"self_instruct: {incoming.rows:,} slots, at most {most:,} requests{bound}"]


class _Pool:
    """Seeds and what was made of them."""

    def __init__(self, step: SelfInstruct, seeds: list[str]) -> None:
        self._step, self.seeds = step, seeds
        self.made: list[str] = []
        self.rejected: Counter[str] = Counter()
        texts = [words(s) for s in seeds]
        self._near = Accepted(step.max_rouge + 1e-12, rarity(texts)) if step.max_rouge is not None else None
        for text in texts:
            if self._near is not None:
                self._near.add(text)

    def take(self, answer: str, finish: str) -> None:
        """Add the instructions of an answer that pass."""
        if finish == "length":
            self.rejected["cut_off"] += 1
            return
        for piece in _NUMBERED.split(answer if self._step.plain_prompts == "chat" else f"0. {answer}"):
            text = " ".join(piece.split())
            if not text:
                continue
            reason = self._refused(text)
            if reason:
                self.rejected[reason] += 1
            else:
                self.made.append(text[0].upper() + text[1:])

    def _refused(self, text: str) -> str:
        step, count = self._step, len(text.split())
        if step.min_words is not None and count < step.min_words:
            return "too_short"
        if step.max_words is not None and count > step.max_words:
            return "too_long"
        if step.block_words and _BLOCKED_WORD.search(text):
            return "blocked_word"
        if step.block_words and text.lower().startswith("write a program"):
            return "program"
        if text[0] in string.punctuation:
            return "punctuation"
        if step.ascii_start and not text[0].isascii():
            return "not_ascii"
        if self._near is not None:
            split = words(text)
            if self._near.nearest(split)[1] >= 0:
                return "too_near"
            self._near.add(split)
        return ""


def read_seeds(path: str) -> list[str]:
    """Instructions of a file of JSON lines. Raises DataError where there are none."""
    found = []
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    row = loads(line)
                    text = row.get("instruction", row.get("prompt"))
                except (ValueError, AttributeError):
                    text = None
                if not isinstance(text, str) or not text.strip():
                    raise DataError(f"{path}:{number}: a seed is an object with the text 'instruction' or 'prompt', got {line[:80]!r}.")
                found.append(text)
    if not found:
        raise DataError(f"{path} holds no seed; self_instruct needs at least one, the paper had 175.")
    return found
