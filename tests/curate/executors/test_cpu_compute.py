"""Processes that compute on a CPU: what is set, and that the user's settings stay."""

from __future__ import annotations

import ctypes
import os

import pytest

from curate.executors import cpu_compute


class Libc:
    """Notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def mallopt(self, name: int, value: int) -> int:
        self.asked.append((name, value))
        return 1


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
