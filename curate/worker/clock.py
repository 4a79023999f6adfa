"""Where a task's seconds go that no step accounts for: reading, making the steps ready, emitting records, writing."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


class Clock:
    """Wall seconds by activity."""

    def __init__(self) -> None:
        self.spent: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, activity: str) -> Iterator[None]:
        """Count the block as this activity."""
        started = time.perf_counter()
        yield
        self.spent[activity] += time.perf_counter() - started

    def over(self, activity: str, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items, counting the time that each takes to come."""
        iterator = iter(items)
        while True:
            with self(activity):
                item = next(iterator, None)
            if item is None:
                return
            yield item
