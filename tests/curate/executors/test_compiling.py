"""Modules of kernels are handed out once each, after what they import, whatever order the processes finish in."""

from __future__ import annotations

import contextlib
import threading
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from curate.executors.compiling import Schedule, compile_modules
from curate.kernels import cache

NAMES = "abcdefgh"


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, list[str]]:
    """A module imports only names before its own: no cycles."""
    return {name: draw(st.lists(st.sampled_from(NAMES[:i]), unique=True)) if i else [] for i, name in enumerate(NAMES)}


@given(graphs(), st.integers(1, 4), st.randoms(use_true_random=False))
def test_every_module_once_and_after_its_needs(needs: dict[str, list[str]], processes: int, chance: Any) -> None:
    schedule = Schedule(list(NAMES), dict.fromkeys(NAMES, 1), needs)
    done: list[str] = []
    busy: list[str] = []
    while schedule or busy:
        while len(busy) < processes and (name := schedule.take()) is not None:
            assert set(needs[name]) <= set(done)
            busy.append(name)
        finished = busy.pop(chance.randrange(len(busy)))
        done.append(finished)
        schedule.finish(finished)
    assert sorted(done) == list(NAMES)


def test_the_longest_chain_starts_first() -> None:
    needs = {"big": [], "base": [], "middle": ["base"], "top": ["middle"]}
    schedule = Schedule(list(needs), {"big": 50, "base": 10, "middle": 30, "top": 30}, needs)
    assert [schedule.take(), schedule.take(), schedule.take()] == ["base", "big", None]
    schedule.finish("base")
    assert schedule.take() == "middle"


def test_modules_that_import_each_other_do_not_wait_for_ever() -> None:
    needs = {"a": ["b", "c"], "b": ["a", "c"], "c": [], "d": ["a", "b", "c"]}
    schedule = Schedule(list(needs), dict.fromkeys(needs, 1), needs)
    taken = []
    while schedule:
        name = schedule.take()
        assert name is not None
        taken.append(name)
        schedule.finish(name)
    assert taken[0] == "c" and taken[-1] == "d"


def test_every_kernel_module_is_handed_out() -> None:
    names = all_modules_with_kernels()
    schedule = Schedule(names)
    taken = []
    while (name := schedule.take()) is not None:
        taken.append(name)
        schedule.finish(name)
    assert sorted(taken) == names and not schedule


def all_modules_with_kernels() -> list[str]:
    return sorted(p.stem for p in Path(cache.__file__).parent.glob("*.py") if "@kernel(" in p.read_text("utf-8"))


def test_needs_are_read_from_the_sources() -> None:
    assert {"minhash", "shingles", "hashing", "compiled"} <= set(cache.made_of("minhash"))
    assert "minhash" not in cache.made_of("shingles")


def _answer(pipe: Any, answers: int, compiled: list[str]) -> None:
    with contextlib.suppress(EOFError, OSError):  # the other end is closed
        for _ in range(answers):
            compiled.extend(pipe.recv()[1])
            pipe.send(("warm",))
    pipe.close()


def _compile(answers: tuple[int, int]) -> tuple[Any, list[Any], list[str]]:
    compiled: list[str] = []
    ours, threads = [], []
    for count in answers:
        mine, theirs = Pipe()
        ours.append(mine)
        threads.append(threading.Thread(target=_answer, args=(theirs, count, compiled)))
        threads[-1].start()
    needs = {name: [NAMES[i - 1]] if i % 2 else [] for i, name in enumerate(NAMES)}
    dead = compile_modules(Schedule(list(NAMES), dict.fromkeys(NAMES, 1), needs), ours)
    for pipe in ours:
        pipe.close()
    for thread in threads:
        thread.join()
    return dead, ours, compiled


def test_two_processes_share_the_modules() -> None:
    dead, _, compiled = _compile((99, 99))
    assert dead is None
    assert sorted(compiled) == list(NAMES)


def test_a_process_that_dies_is_named() -> None:
    dead, ours, _ = _compile((0, 99))
    assert dead is ours[0]
