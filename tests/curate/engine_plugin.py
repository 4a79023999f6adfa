"""Steps for the engine's tests, loaded with --plugin: a rewrite, a filter, one that kills its process, one that is slow."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from curate.schema import with_columns
from curate.step import BatchFn, Context, Outcome, Step, Verdict


class Shout(Step):
    """Upper case."""

    name = "shout"

    def bind(self, ctx: Context) -> BatchFn:
        return lambda batch: Outcome(with_columns(batch, {"text": pc.utf8_upper(batch.column("text"))}))


class LongEnough(Step):
    """Drop short documents."""

    name = "long_enough"
    min_chars: int = 20

    def drops(self) -> tuple[str, ...]:
        return ("long_enough.short",)

    def bind(self, ctx: Context) -> BatchFn:
        def judge(batch: pa.RecordBatch) -> Outcome:
            count = pc.utf8_length(batch.column("text"))
            keep = pc.greater_equal(count, self.min_chars)
            reason = pc.if_else(keep, pa.scalar(None, pa.string()), pa.scalar("long_enough.short"))
            return Outcome(batch, Verdict(keep, reason, count.cast(pa.float64())))

        return judge


class Killer(Step):
    """Kill the process on a document that holds POISON."""

    name = "killer"

    def bind(self, ctx: Context) -> BatchFn:
        def look(batch: pa.RecordBatch) -> Outcome:
            if any("POISON" in text for text in batch.column("text").to_pylist()):
                os.kill(os.getpid(), signal.SIGKILL)
            return Outcome(batch)

        return look


class Trips(Step):
    """Kill the process on the first batch that it ever sees; `once` is the file that remembers."""

    name = "trips"
    once: str

    def bind(self, ctx: Context) -> BatchFn:
        def look(batch: pa.RecordBatch) -> Outcome:
            if len(batch) and not Path(self.once).exists():
                Path(self.once).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return Outcome(batch)

        return look


class Slow(Step):
    """Take a while, so that a test can interrupt."""

    name = "slow"
    seconds: float = 0.05

    def bind(self, ctx: Context) -> BatchFn:
        def wait(batch: pa.RecordBatch) -> Outcome:
            time.sleep(self.seconds if len(batch) else 0)
            return Outcome(batch)

        return wait


class Broken(Step):
    """Fail on every batch that has rows."""

    name = "broken"

    def bind(self, ctx: Context) -> BatchFn:
        def fail(batch: pa.RecordBatch) -> Outcome:
            if len(batch):
                raise ValueError("the moon is not made of cheese")
            return Outcome(batch)

        return fail


class Loses(Step):
    """Break the contract: return fewer rows than it got."""

    name = "loses"

    def bind(self, ctx: Context) -> BatchFn:
        return lambda batch: Outcome(batch.slice(1) if len(batch) else batch)
