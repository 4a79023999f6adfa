"""Processes that compute on a CPU: what is set, and that the user's settings stay."""

from __future__ import annotations

import ctypes
import os

import pytest

from curate.executors import cpu_compute


class Libc:
    """Notes what it is asked for."""

    def __init__(self, refused: list[int] | None = None) -> None:
        self.asked: list[tuple[int, int]] = []
        self._refused = refused or []

    def mallopt(self, name: int, value: int) -> int:
        self.asked.append((name, value))
        return int(value not in self._refused)


@pytest.mark.parametrize(
    ("given", "waiting", "asked"),
    [
        ({}, "PASSIVE", [(-3, 1 << 28), (-1, 1 << 30)]),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE", [(-3, 1 << 28), (-1, 1 << 30)]),
        ({"MALLOC_TRIM_THRESHOLD_": "0"}, "PASSIVE", []),
        ({"LD_PRELOAD": "libjemalloc.so"}, "PASSIVE", []),
    ],
)
def test_what_the_user_set_stays(
    given: dict[str, str], waiting: str, asked: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (cpu_compute.WAITING, *cpu_compute.MALLOC):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    libc = Libc()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: libc)
    monkeypatch.setattr(cpu_compute.sys, "platform", "linux")
    cpu_compute.set_up()
    assert os.environ["OMP_WAIT_POLICY"] == waiting and libc.asked == asked


def test_a_library_without_mallopt_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cpu_compute.WAITING, "PASSIVE")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    cpu_compute.set_up()
    assert not cpu_compute.keep_memory()


@pytest.mark.parametrize(
    ("refused", "given", "asked", "pool"),
    [
        ([], {}, [1 << 28, 1 << 30], "system"),
        ([1 << 28], {}, [1 << 28, 1 << 25, 1 << 30], "system"),  # glibc before 2.35 takes no larger block than 32 MB
        ([1 << 28, 1 << 25], {}, [1 << 28, 1 << 25], None),
        ([], {"ARROW_DEFAULT_MEMORY_POOL": "mimalloc"}, [1 << 28, 1 << 30], "mimalloc"),
        ([], {"LD_PRELOAD": "libjemalloc.so"}, [], None),
    ],
)
def test_arrow_uses_the_memory_that_is_kept(
    refused: list[int], given: dict[str, str], asked: list[int], pool: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (cpu_compute.ARROW_POOL, *cpu_compute.MALLOC):
        monkeypatch.setenv(name, "")  # so that it is put back afterwards
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    libc = Libc(refused)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: libc)
    monkeypatch.setattr(cpu_compute.sys, "platform", "linux")
    cpu_compute.set_up_worker()
    assert [value for _, value in libc.asked] == asked
    assert os.environ.get(cpu_compute.ARROW_POOL) == pool
