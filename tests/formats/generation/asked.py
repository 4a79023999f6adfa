"""A model made of a Python function, for tests of steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from curate.apply import outcomes
from curate.context import WorkContext
from curate.step import Outcome, Step
from formats.batches import from_batch, to_batch
from formats.generation.plugin import answers
from formats.records import Message, Record


def register(name: str, function: Callable[..., Any]) -> dict[str, Any]:
    """`model:` for a function (messages or text, seed, **sampling)."""
    answers(name)(function)
    return {"plugin": name, "concurrency": 4, "retries": 0}


def user(text: str, **more: Any) -> Record:
    return Record([Message("user", text)], **more)


def run(step: Step, records: list[Record], folder: Path | None = None, seed: int = 0) -> tuple[list[Record], list[str | None], Outcome]:
    """(records after the step, drop reasons, the outcome)."""
    batch = to_batch(records, [str(n) for n in range(len(records))], "s")
    ctx = WorkContext(seed, run=str(folder) if folder else None)
    done = outcomes(step, [batch], ctx)[0]
    reasons = done.verdict.reason.to_pylist() if done.verdict is not None else [None] * len(records)
    return from_batch(done.batch), reasons, done
