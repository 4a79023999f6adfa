"""Run a command and measure it with all its descendants: wall time, CPU seconds, peak memory of each process."""

from __future__ import annotations

import os
import platform
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SAMPLE_S = 0.2
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Seen:
    """A process as last seen in /proc."""

    command: str
    cpu_s: float  # its own threads, without children
    peak_bytes: int  # VmHWM: resident set, mapped files included


@dataclass
class Usage:
    """What a command used. cpu_s: user and system time of the command and of every descendant that was waited for."""

    wall_s: float
    cpu_s: float
    sampled_cpu_s: float  # from /proc, of every descendant, up to SAMPLE_S of each missing: a check on cpu_s
    stdout: str
    processes: dict[int, Seen] = field(default_factory=dict)

    def peak_mb(self, word: str = "") -> float:
        """Largest peak memory of a process whose command line holds `word`, in 10^6 bytes."""
        return max((p.peak_bytes for p in self.processes.values() if word in p.command), default=0) / 1e6

    def record(self, worker: str = "") -> dict[str, float]:
        """As plain data."""
        return {"wall_s": round(self.wall_s, 3), "cpu_s": round(self.cpu_s, 3), "peak_worker_mb": round(self.peak_mb(worker), 1)}


def measure(command: Sequence[str], log: Path, cores: Sequence[int] | None = None, env: Mapping[str, str] | None = None) -> Usage:
    """Run to the end; SystemExit with the end of its log where it fails.

    cores: processors it and its children may use; None: all of this process
    log: takes stderr
    """
    full = {**os.environ, **(env or {})}
    full.pop("PYTHONDONTWRITEBYTECODE", None)  # not set where people work; with it every process compiles its sources: 0.7 s a run
    allowed = os.sched_getaffinity(0) if cores is None else set(cores)
    output = log.with_suffix(".out")
    seen: dict[int, Seen] = {}
    over = threading.Event()
    with log.open("wb") as err, output.open("wb") as out:
        started = time.perf_counter()
        # Only this thread exists yet, so running Python between fork and exec is safe.
        process = subprocess.Popen(command, stdout=out, stderr=err, env=full, preexec_fn=lambda: os.sched_setaffinity(0, allowed))
        sampler = threading.Thread(target=_sample, args=(process.pid, seen, over))
        sampler.start()
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        over.set()
        sampler.join()
    if process.returncode:
        raise SystemExit(
            f"{' '.join(command)}\nended with {process.returncode}:\n{log.read_text(errors='replace')[-3000:]}{output.read_text()[-1000:]}"
        )
    cpu, sampled = used.ru_utime + used.ru_stime, sum(p.cpu_s for p in seen.values())
    if cpu < 0.95 * sampled - 0.1:  # a descendant died unreaped: what /proc showed is the better figure
        cpu = sampled
    return Usage(wall, cpu, sampled, output.read_text(), seen)


def _sample(root: int, seen: dict[int, Seen], over: threading.Event) -> None:
    while not over.wait(SAMPLE_S):
        for pid in _tree(root):
            with suppress(OSError, IndexError, ValueError):  # it ended while we looked
                seen[pid] = _look(pid, seen.get(pid))


def _tree(root: int) -> Iterator[int]:
    """A process and its descendants."""
    yield root
    with suppress(OSError):
        for task in os.listdir(f"/proc/{root}/task"):
            with suppress(OSError):
                for child in Path(f"/proc/{root}/task/{task}/children").read_text().split():
                    yield from _tree(int(child))


def _look(pid: int, before: Seen | None) -> Seen:
    status = Path(f"/proc/{pid}/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split(maxsplit=1)[0]) * 1024
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    cpu = (int(fields[11]) + int(fields[12])) / TICKS
    command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    if before is not None and before.command == command:
        peak = max(peak, before.peak_bytes)
    return Seen(command, cpu, peak)


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    cpu = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), ""
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": cpu or platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory / 1e9, 1),
        "system": platform.platform(),
        "load_before": round(os.getloadavg()[0], 2),
    }
