"""What answers questions. A backend takes them from a `Desk` one by one and hands in each answer when it has it.

Registered in `models.py`: servers with OpenAI's API, transformers and vLLM in this process, Python functions, batch APIs of
providers, recordings. None of them knows of files, records or seeds' origin.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field

from curate.errors import RunError
from formats.generation.journal import Answer, Journal
from formats.generation.prompts import Prompt, prompt_of_bytes, seed_of
from formats.generation.spending import Spending

Say = Callable[[float, str], None]


class Sampling(BaseModel):
    """How answers are drawn. None leaves it to the model: such a parameter is not sent."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    temperature: float | None = Field(default=None, ge=0, le=10, description="0: the likeliest token each time")
    top_p: float | None = Field(default=None, gt=0, le=1, description="smallest set of tokens with this probability")
    top_k: int | None = Field(default=None, ge=1, le=1_000_000, description="the likeliest so many tokens; not in OpenAI's own API")
    min_p: float | None = Field(
        default=None, ge=0, le=1, description="tokens with this share of the likeliest one's probability; not in OpenAI's own API"
    )
    repetition_penalty: float | None = Field(default=None, gt=0, le=10, description="above 1: against repeating; not in OpenAI's own API")
    presence_penalty: float | None = Field(default=None, ge=-2, le=2, description="against tokens that were there")
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2, description="against tokens by how often they were there")
    max_tokens: int | None = Field(default=None, ge=1, le=1 << 24, description="most tokens of an answer")
    stop: tuple[str, ...] = Field(default=(), max_length=64, description="texts that end an answer")

    def given(self) -> dict[str, object]:
        """The parameters that are set, as every API names them."""
        found = self.model_dump(exclude_none=True)
        found["stop"] = list(self.stop)
        return {k: v for k, v in found.items() if k != "stop" or v}


class Question(NamedTuple):
    """One answer that is wanted."""

    number: int  # names it to the Desk
    prompt: Prompt
    seed: int
    sample: int  # which answer to this prompt
    characters: int


class CapReached(Exception):
    """A cap allows no further question."""


class TooManyFailed(Exception):
    """More questions failed than the settings allow."""


@dataclass
class Desk:
    """Where a backend gets questions and leaves answers. Not for several threads at a time."""

    journal: Journal
    spending: Spending
    bodies: Callable[[int], bytes]  # encoded prompt of a row
    base: str  # of seeds
    most_failed: int
    say: Say
    _held: tuple[int, Prompt, int] | None = None  # row, its prompt and the prompt's characters: samples of one prompt follow each other

    def __post_init__(self) -> None:
        self._open = self.journal.missing()
        self._back: list[Question] = []

    def next(self) -> Question | None:
        """The next question; None when there is none left."""
        if self._back:
            return self._back.pop()
        number = next(self._open, None)
        return None if number is None else self.question(number)

    def question(self, number: int) -> Question:
        """The question of that number."""
        row = number // self.journal.questions.samples
        if self._held is None or self._held[0] != row:
            prompt = prompt_of_bytes(self.bodies(row))
            self._held = (row, prompt, prompt.characters())
        _, prompt, characters = self._held
        name, sample = self.journal.questions.name(number)
        return Question(number, prompt, seed_of(self.base, name, sample), sample, characters)

    def put_back(self, question: Question) -> None:
        """Return a question that was not sent."""
        self._back.append(question)

    def send(self, question: Question) -> bool:
        """Book a question as in flight; False where a cap forbids it for now. Raises CapReached where nothing in flight could change that."""
        if not self.spending.allows(question.characters):
            if not self.spending.flying:
                raise CapReached
            return False
        self.spending.send(question.number, question.characters)
        return True

    def answer(self, question: Question, answer: Answer) -> None:
        """Hand in an answer; it is on its way to disk when this returns."""
        self.answer_all([(question, answer)])

    def answer_all(self, answers: list[tuple[Question, Answer]]) -> None:
        """Hand in several answers at once."""
        self.journal.add_many([(q.number, a) for q, a in answers])
        for question, answer in answers:
            self.spending.settle(question.number, answer.tokens_in, answer.tokens_out, question.characters)
            self.spending.answer()

    def fail(self, question: Question, reason: str) -> None:
        """Give a question up. Raises TooManyFailed."""
        self.spending.settle(question.number)
        self.spending.failed[reason] += 1
        if sum(self.spending.failed.values()) > self.most_failed:
            raise TooManyFailed

    def progress(self) -> None:
        """Tell how far it is."""
        self.say(self.spending.answered / max(1, self.spending.total), self.spending.line())


class Backend(Protocol):
    """Something that answers."""

    def identity(self) -> object:
        """Plain data that names the model: its answers are kept under a digest of it."""
        ...

    def run(self, desk: Desk, sampling: Sampling) -> None:
        """Answer or fail every question of the desk. Raises RunError where it can't go on; answers handed in are kept."""
        ...


class Unreachable(RunError):
    """The server does not answer, or refuses everything."""
