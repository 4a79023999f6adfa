"""The workers of `curate run` start before its command line is read properly: reading takes 0.2 s, and they need 0.7 s to be ready.

Only where the words say plainly how many workers there are to be and where the run goes. The command takes what was started
if it wants just that; what nobody took ends with the command.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from curate.executors.executor import Executor
    from curate.executors.local import LocalExecutor

FLAGS = {"--json", "--quiet", "-q", "--verbose", "-v"}
WITH_VALUE = {"--out", "--only", "--workers", "--executor", "--set", "--sample", "--plugin"}

_started: list[tuple[int | None, LocalExecutor]] = []  # (what --workers said, the executor)


@contextmanager
def starting(arguments: Sequence[str]) -> Iterator[None]:
    """Start the processes that these words of a command line ask for; at the end, end those that nobody took."""
    if (asked := _asked(arguments)) is not None:
        from curate.api import start_early
        from curate.executors.local import LocalExecutor

        recipe, named = asked
        workers = int(named["--workers"]) if "--workers" in named else None
        executor = LocalExecutor(workers)
        start_early(executor, recipe, named.get("--out"), 1 if "--sample" in named else None)
        _started.append((workers, executor))
    try:
        yield
    finally:
        for _, executor in _started:
            executor.__exit__(None, None, None)
        _started.clear()


def take(name: str, workers: int | None) -> Executor:
    """The executor of that name; the one that was started, where it has so many workers."""
    from curate.api import make_executor

    if name == "local" and _started and _started[-1][0] == workers:
        return _started.pop()[1]
    return make_executor(name, workers)


def _asked(arguments: Sequence[str]) -> tuple[str, dict[str, str]] | None:
    """(the recipe, options with their values) of a `curate run` on this machine; None where it is something else, help or a mistake."""
    words, named = [], {}
    rest = iter(arguments)
    for word in rest:
        name, given, value = word.partition("=")
        if name in WITH_VALUE:
            named[name] = value if given else next(rest, "")
        elif word.startswith("-") and word not in FLAGS:
            return None
        elif word not in FLAGS:
            words.append(word)
    plain = len(words) == 2 and words[0] == "run" and named.get("--executor", "local") == "local"
    return (words[1], named) if plain and _is_count(named.get("--workers", "1")) else None


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) > 0
