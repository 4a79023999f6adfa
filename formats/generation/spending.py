"""Tokens and money: what was spent, what may be spent, how fast."""

from __future__ import annotations

import time
from collections import Counter

from pydantic import BaseModel, ConfigDict, Field

CHARACTERS_PER_TOKEN = 3.0  # until answers tell; English has 4 to 5, code and other scripts fewer
MILLION = 1_000_000


class Price(BaseModel):
    """Price of a million tokens, in whatever money you count."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    input: float = Field(ge=0, le=100_000, description="for a million tokens of prompts")
    output: float = Field(ge=0, le=100_000, description="for a million tokens of answers")

    def of(self, tokens_in: int, tokens_out: int) -> float:
        """Cost of so many tokens."""
        return (tokens_in * self.input + tokens_out * self.output) / MILLION


class Spending:
    """Counts of one attempt, on top of what earlier ones spent; says whether one more question may be sent.

    A question in flight counts with the most that it can cost, so that no cap is crossed; what it did cost replaces that when it is
    answered. Only the tokens of a prompt are an estimate, from its characters and the ratio seen so far.
    """

    def __init__(self, total: int, answered: int, tokens_in: int, tokens_out: int, *, longest: int | None, price: Price | None = None,
                 max_tokens: int | None = None, max_cost: float | None = None) -> None:  # fmt: skip
        """total, answered: questions in all, and those with an answer. longest: tokens that an answer can have."""
        self.total, self.answered, self.new = total, answered, 0
        self.tokens_in, self.tokens_out = tokens_in, tokens_out
        self.failed: Counter[str] = Counter()
        self.retried: Counter[str] = Counter()
        self.requests = 0
        self.price, self.max_tokens, self.max_cost = price, max_tokens, max_cost
        self._longest = longest
        self._flying: dict[int, tuple[int, int]] = {}  # question -> most tokens of prompt and answer
        self._reserved_in = self._reserved_out = 0
        self._characters = self._seen_tokens = 0
        self._started = time.monotonic()

    @property
    def flying(self) -> int:
        """Questions sent and not settled."""
        return len(self._flying)

    def estimate(self, characters: int) -> int:
        """Tokens of a prompt of so many characters, by what was seen."""
        ratio = self._seen_tokens / self._characters if self._characters else 1 / CHARACTERS_PER_TOKEN
        return int(characters * ratio) + 8

    def allows(self, characters: int) -> bool:
        """Whether a question may be sent without crossing a cap."""
        if self.max_tokens is None and self.max_cost is None:
            return True
        most_in = self.tokens_in + self._reserved_in + self.estimate(characters)
        most_out = self.tokens_out + self._reserved_out + self._most_out()
        if self.max_tokens is not None and most_in + most_out > self.max_tokens:
            return False
        return self.max_cost is None or self.price is None or self.price.of(most_in, most_out) <= self.max_cost

    def send(self, question: int, characters: int) -> int:
        """Note that a question is in flight. Returns the tokens it may take."""
        most = (self.estimate(characters), self._most_out())
        self._flying[question] = most
        self._reserved_in += most[0]
        self._reserved_out += most[1]
        return sum(most)

    def settle(self, question: int, tokens_in: int = 0, tokens_out: int = 0, characters: int = 0) -> None:
        """Note what a question took; nothing for one that failed. characters: of its prompt."""
        most_in, most_out = self._flying.pop(question)
        self._reserved_in -= most_in
        self._reserved_out -= most_out
        self.tokens_in += tokens_in
        self.tokens_out += tokens_out
        if tokens_in and characters:
            self._characters += characters
            self._seen_tokens += tokens_in

    def answer(self) -> None:
        """Count an answer."""
        self.answered += 1
        self.new += 1

    def cost(self) -> float | None:
        """Money spent so far; None without a price."""
        return None if self.price is None else self.price.of(self.tokens_in, self.tokens_out)

    def line(self) -> str:
        """'1,203/16,000 answers, 64 in flight, 1.2M + 340k tokens, cost 0.83, 17.1/s, 12 retries'"""
        rate = self.new / max(1e-3, time.monotonic() - self._started)
        words = [f"{self.answered:,}/{self.total:,} answers"]
        if self.flying:
            words.append(f"{self.flying} in flight")
        words.append(f"{short(self.tokens_in)} + {short(self.tokens_out)} tokens")
        cost = self.cost()
        if cost is not None:
            words.append(f"cost {cost:,.2f}" + (f" of {self.max_cost:,.2f}" if self.max_cost is not None else ""))
        words.append(f"{rate:,.1f}/s")
        if self.retried:
            words.append(f"{sum(self.retried.values()):,} retries")
        if self.failed:
            words.append(f"{sum(self.failed.values()):,} failed")
        return ", ".join(words)

    def _most_out(self) -> int:
        if self._longest is not None:
            return self._longest
        return 2 * self.tokens_out // max(1, self.answered) or 1024  # no bound: twice the mean


def short(count: int) -> str:
    """'812', '34k', '1.2M'"""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= 10 * size:
            return f"{count / size:,.0f}{unit}"
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return str(count)


class Pace:
    """Spreads work over time: at most `per_minute` in any minute, with bursts of a second."""

    def __init__(self, per_minute: int | None) -> None:
        # A burst of b seconds plus a minute at the rate must not exceed the limit.
        self._each = 61.0 / per_minute if per_minute else 0.0
        self._due = 0.0

    def wait(self, amount: float, now: float) -> float:
        """Seconds to wait before this amount may go; it is booked."""
        if not self._each:
            return 0.0
        self._due = max(self._due, now - 1.0)
        wait = max(0.0, self._due - now)
        self._due += amount * self._each
        return wait

    def correct(self, amount: float) -> None:
        """Book what was more (or, negative, less) than was said."""
        self._due += amount * self._each
