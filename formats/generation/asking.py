"""Prompts in, answers in the journal: opens it, asks for what is missing, says what became of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from curate.errors import DataError
from curate.fingerprint import digest as digest_of
from formats.generation.backend import Backend, CapReached, Desk, Sampling, Say, TooManyFailed
from formats.generation.journal import Journal, Questions
from formats.generation.prompts import Prompt, digest
from formats.generation.spending import Price, Spending
from formats.json_text import loads

VERSION = 1  # of the journal's names: a change asks everything anew
NAME_CHARS = 16


@dataclass(frozen=True)
class Limits:
    """What may be spent, and how much may fail."""

    max_tokens: int | None = None  # of prompts and answers, over all attempts
    max_cost: float | None = None
    price: Price | None = None
    max_failed: float = 0.0  # share of the questions
    finish_at_cap: bool = False  # False: the run stops there; True: it goes on with the answers that are there


def folder_of(kept: Path, backend: Backend, sampling: Sampling, base: str) -> Path:
    """Where answers of this model with these parameters lie. The number of samples is no part of it: more can be asked later."""
    identity = [VERSION, backend.identity(), sampling.model_dump(mode="json", exclude_none=True), base]
    return kept / digest_of(identity)[:NAME_CHARS]


def open_journal(folder: Path, bodies: Sequence[bytes], samples: int) -> Journal:
    """The journal for these prompts; to be entered."""
    return Journal(folder, Questions([digest(body) for body in bodies], samples))


def ask_missing(
    journal: Journal, bodies: Callable[[int], bytes], backend: Backend, sampling: Sampling, base: str, limits: Limits, say: Say
) -> Spending:
    """Ask for every answer that the journal lacks. Raises DataError at a cap and where too much failed; answers are kept in any case."""
    total = len(journal.questions)
    spending = Spending(
        total, journal.answered, journal.tokens_in, journal.tokens_out, longest=sampling.max_tokens,
        price=limits.price, max_tokens=limits.max_tokens, max_cost=limits.max_cost,
    )  # fmt: skip
    if journal.answered == total:
        return spending
    desk = Desk(journal, spending, bodies, base, int(limits.max_failed * total), say)
    started = time.monotonic()
    ended = "done"
    try:
        backend.run(desk, sampling)
    except CapReached as error:
        ended = "cap"
        if not limits.finish_at_cap:
            raise DataError(_at_cap(spending, limits)) from error
    except TooManyFailed as error:
        ended = "failures"
        raise DataError(_failures(spending, limits)) from error
    except BaseException:
        ended = "stopped"
        raise
    finally:
        desk.progress()
        journal.log({
            "ended": ended, "answers": spending.new, "answered": spending.answered, "of": total, "requests": spending.requests, "retried": dict(spending.retried),
            "failed": dict(spending.failed), "tokens_in": spending.tokens_in, "tokens_out": spending.tokens_out, "cost": spending.cost(),
            "seconds": round(time.monotonic() - started, 3),
        })  # fmt: skip
    return spending


def ask(
    prompts: Sequence[Prompt], backend: Backend, sampling: Sampling, kept: Path, *, base: str = "", samples: int = 1,
    limits: Limits | None = None, say: Say | None = None,
) -> list[list[str | None]]:  # fmt: skip
    """Texts of `samples` answers to each prompt; None where one failed. For steps that need a model's words, such as judges.

    kept: `ctx.kept(name)`, where answers stay. base: what seeds depend on beside prompt and sample.
    """
    bodies = [prompt.encoded() for prompt in prompts]
    with open_journal(folder_of(kept, backend, sampling, base), bodies, samples) as journal:
        ask_missing(journal, bodies.__getitem__, backend, sampling, base, limits or Limits(), say or (lambda share, text: None))
        found = [journal.get(q) for q in range(len(journal.questions))]
    texts = [None if answer is None else answer.text or "" for answer in found]
    return [texts[at : at + samples] for at in range(0, len(texts), samples)]


def mean_answer(folder: Path) -> tuple[int, float, float] | None:
    """(answers, mean tokens of a prompt, of an answer) of earlier attempts in a run's folder, from their logs; None where there are none."""
    answers = tokens_in = tokens_out = 0
    for log in sorted(folder.glob("*/runs.jsonl")):
        last = loads(log.read_bytes().splitlines()[-1])
        answers, tokens_in, tokens_out = answers + last.get("answered", 0), tokens_in + last["tokens_in"], tokens_out + last["tokens_out"]
    return (answers, tokens_in / answers, tokens_out / answers) if answers else None


def _at_cap(spending: Spending, limits: Limits) -> str:
    cap = f"max_cost {limits.max_cost:g}" if limits.max_cost is not None else f"max_total_tokens {limits.max_tokens:,}"
    return (
        f"generate stopped at its cap ({cap}): {spending.line()}. The answers are kept. Raise the cap and run the same command to go on, "
        "or set at_cap: finish to go on with what is there."
    )


def _failures(spending: Spending, limits: Limits) -> str:
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in spending.failed.most_common())
    return (
        f"generate: more than {limits.max_failed:.2%} of {spending.total:,} questions failed ({reasons}); {spending.answered:,} are answered and "
        "kept. Mend the cause and run the same command, which asks for the others alone, or raise max_failed to go on without them."
    )
