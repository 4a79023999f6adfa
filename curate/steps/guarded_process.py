"""The other side of `guarded_calls`: `python -m curate.steps.guarded_process FD`.

Two generations. This process imports the engine once, then forks a server for every socket that it is sent, and tells
how each one ended. It has one thread, so forking is safe, and a new server costs milliseconds where the imports cost a
second. A server does one document after the other under the kernel's own limits: a timer of CPU time whose signal
nobody handles, and a bound on its address space.

Documents and answers lie in memory that a server shares with the one who asks; the socket only says that some are there.
Questions: how many, the size of each (u64), their bytes. Answers: how many are whole (u64), then for each its kind (u8),
its size (u64), its bytes. The number is written last, so answers outlive the server that dies of the next document.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import importlib
import json
import os
import resource
import signal
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

from curate.steps.shared_bytes import SharedBytes

LENGTH = struct.Struct("<Q")
ANSWER = struct.Struct("<BQ")
DONE, FAILED = range(2)
MEMORY_STATUS = 12  # of a process whose memory did not do
PR_SET_PDEATHSIG = 1
WALL_FACTOR, WALL_SLACK_S = 20, 10  # a server that waits instead of computing is ended too, much later
Function = Callable[[memoryview], bytes]  # from a document, which is there until the function returns


def serve_forks(control: socket.socket) -> None:
    """Fork a server for each (socket, questions, answers) that comes, one at a time, and answer with its wait status."""
    size = LENGTH.unpack(receive(control, LENGTH.size))[0]
    settings = json.loads(receive(control, size))
    module, _, name = settings["target"].partition(":")
    function: Function = getattr(importlib.import_module(module), name)(**settings["arguments"])
    gc.collect()
    gc.freeze()
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1, 3)
        if not message:
            return
        child = os.fork()
        if not child:
            control.close()
            _die_with_parent()
            work, questions, answers = socket.socket(fileno=descriptors[0]), *map(SharedBytes, descriptors[1:])
            _serve(work, questions, answers, function, settings["cpu_s"], settings["memory_bytes"])
        for descriptor in descriptors:
            os.close(descriptor)
        _, status = os.waitpid(child, 0)
        control.sendall(struct.pack(">i", status))


def receive(sock: socket.socket, size: int) -> bytes:
    """Exactly `size` bytes. Raises EOFError where the other side is gone."""
    data = sock.recv(size, socket.MSG_WAITALL) if size else b""
    while len(data) < size:
        got = sock.recv(size - len(data), socket.MSG_WAITALL)
        if not got:
            raise EOFError
        data += got
    return data


def _serve(work: socket.socket, questions: SharedBytes, answers: SharedBytes, function: Function, cpu_s: float, memory_bytes: int) -> None:
    """Answer until the socket closes; never returns."""
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()  # noqa: SIM115  the process ends soon
    resource.setrlimit(resource.RLIMIT_AS, (used + memory_bytes, used + memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what engines say of pages they die of; the quarantine says it
    try:
        while receive(work, 1):
            _answer_all(questions, answers, function, cpu_s)
            work.sendall(b".")
    except (EOFError, ConnectionError):
        os._exit(0)
    except MemoryError:
        os._exit(MEMORY_STATUS)
    except OSError as error:
        os._exit(MEMORY_STATUS if error.errno == errno.ENOMEM else 1)
    except BaseException:  # noqa: BLE001  a forked process must not run what its parent has left to do
        os._exit(1)


def _answer_all(questions: SharedBytes, answers: SharedBytes, function: Function, cpu_s: float) -> None:
    """Answer the questions one by one. Raises MemoryError."""
    (count,) = LENGTH.unpack(questions.get(0, LENGTH.size))
    sizes = struct.unpack(f"<{count}Q", questions.get(LENGTH.size, count * LENGTH.size))
    start, at = (1 + count) * LENGTH.size, LENGTH.size
    with questions.view(start + sum(sizes)) as asked:
        for number, size in enumerate(sizes):
            with asked[start : start + size] as document:
                kind, answer = _answer(function, document, cpu_s)
            at = answers.put(answers.put(at, ANSWER.pack(kind, len(answer))), answer)
            answers.put(0, LENGTH.pack(number + 1))
            start += size


def _answer(function: Function, document: memoryview, cpu_s: float) -> tuple[int, bytes]:
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    signal.setitimer(signal.ITIMER_REAL, WALL_FACTOR * cpu_s + WALL_SLACK_S)
    try:
        return DONE, function(document)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  whatever an engine raises on a page is the page's row in the quarantine
        return FAILED, f"{type(error).__name__}: {error}"[:500].encode("utf-8", "replace")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


def _die_with_parent() -> None:
    prctl: Any = ctypes.CDLL(None).prctl
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    """Serve until the control socket closes."""
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=int(sys.argv[1]))
    try:
        serve_forks(control)
    except (EOFError, ConnectionError):
        return


if __name__ == "__main__":
    main()
