"""The clock adds up what happens inside its blocks, by name, and hands every item on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from curate.worker import clock as module
from curate.worker.clock import Clock


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    now = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    yield now


def test_blocks_and_items_are_counted(ticks: list[float]) -> None:
    clock = Clock()

    def slow() -> Iterator[str]:
        for item in "abc":
            ticks[0] += 2.0
            yield item

    seen = []
    for item in clock.over("read", slow()):
        seen.append(item)
        with clock("write"):
            ticks[0] += 0.5
        ticks[0] += 10.0
    assert seen == ["a", "b", "c"]
    assert dict(clock.spent) == {"read": 6.0, "write": 1.5}
