"""Compiling the kernels of a recipe in several processes, each kernel once.

numba compiles under one lock, so a process has one core's worth of it. Importing a kernel module compiles what it imports
too, unless the cache has it; so a module is handed out when all that it imports is compiled, the longest chains first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection, wait

from curate.kernels import cache


class Schedule:
    """Which module to compile next. Ask `take`, tell `finish`.

    needs: what each module imports, directly or not; found in the sources where it is not given
    """

    def __init__(
        self, modules: Sequence[str], sizes: Mapping[str, int] | None = None, needs: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self._sizes = sizes or {name: cache.source_of(name).stat().st_size for name in modules}
        all_needs = {name: set(needs[name] if needs else cache.made_of(name)).intersection(modules) - {name} for name in modules}
        # Modules that import each other, inside functions, need neither to be first.
        self._needs = {name: {other for other in mine if name not in all_needs[other]} for name, mine in all_needs.items()}
        self._order = sorted(modules, key=lambda name: (-self._chain(name), name))

    def _chain(self, name: str) -> int:
        """Bytes of source from here to the end of the longest chain of modules that wait for this one."""
        waiting = [other for other, needs in self._needs.items() if name in needs]
        return self._sizes[name] + max((self._chain(other) for other in waiting), default=0)

    def take(self) -> str | None:
        """A module whose needs are compiled; None where there is none at the moment."""
        for name in self._order:
            if not self._needs[name]:
                self._order.remove(name)
                return name
        return None

    def finish(self, name: str) -> None:
        """Note that it is compiled."""
        for needs in self._needs.values():
            needs.discard(name)

    def __bool__(self) -> bool:
        """True while there are modules that nobody took."""
        return bool(self._order)


def compile_modules(schedule: Schedule, pipes: Sequence[Connection]) -> Connection | None:
    """Hand out modules to the processes at the other ends of the pipes until all are compiled: None, or the pipe of one that died."""
    idle, busy = list(pipes), dict[Connection, str]()
    while schedule or busy:
        while idle and (name := schedule.take()) is not None:
            pipe = idle.pop()
            try:
                pipe.send(("warm", [name]))
            except BrokenPipeError:
                return pipe
            busy[pipe] = name
        for ready in wait(list(busy)):
            assert isinstance(ready, Connection)
            try:
                message = ready.recv()
            except (EOFError, ConnectionResetError):
                return ready
            if message[0] == "ready":  # it just started
                continue
            schedule.finish(busy.pop(ready))
            idle.append(ready)
    return None
