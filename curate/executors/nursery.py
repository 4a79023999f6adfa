"""A process that has imported what every task needs and forks the workers: those imports take each a second of CPU otherwise.

It has one thread (`start_alone` sees to it), so that forking is safe, and a worker is as a fresh process is after the same imports.
It dies with the run, and its workers die with it. Linux only; elsewhere, and for a single worker, each is a fresh interpreter.

The control socket carries one message a packet: to the nursery a number, with the worker's end of its pipe; back (number,
process id, exit code), once when the worker was forked, with RUNS for the code, and once when it ended.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable

NUMBER, REPLY = struct.Struct("<q"), struct.Struct("<qqq")
RUNS = 1 << 32  # no exit code
AVAILABLE = sys.platform == "linux"


class Nursery:
    """Our end: asks for workers and hears how they end."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-P", "-m", "curate.executors.process", str(theirs.fileno()), "nursery"]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()
        self._asked = 0
        self.heard: dict[int, tuple[int, int]] = {}  # number -> (process id, exit code or RUNS)

    def fork(self, descriptor: int) -> Forked:
        """A new worker whose end of the pipe is `descriptor`; returns before it is there."""
        self._asked += 1
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the nursery just died: so did the worker
            socket.send_fds(self._control, [NUMBER.pack(self._asked)], [descriptor])
        return Forked(self, self._asked)

    def lives(self) -> bool:
        """False once it ended: its workers ended with it."""
        return self._process.poll() is None

    def hear(self, wait: bool) -> bool:
        """Take a message; False where there is none and, with `wait`, there will be none: it ended."""
        message = b""
        try:
            message = self._control.recv(REPLY.size, 0 if wait else socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            pass
        if not message:
            self._process.wait()
            return False
        number, process, code = REPLY.unpack(message)
        self.heard[number] = (process, code)
        return True

    def exit_code(self) -> int:
        """How it ended; waits until it did."""
        return self._process.wait()

    def stop(self) -> None:
        """End all of its workers, then it. One that still imports is ended at once; else it reaps its workers, so that their time is counted."""
        while self.hear(wait=False):
            pass
        if len(self.heard) < self._asked:
            self._process.kill()
        for process, code in self.heard.values():
            if code == RUNS:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
        while any(code == RUNS for _, code in self.heard.values()) and self.hear(wait=True):
            pass
        self._control.close()
        self._process.wait()


class Forked:
    """A worker of a nursery, with what a supervisor asks of a `Popen`."""

    def __init__(self, nursery: Nursery, number: int) -> None:
        self._nursery, self._number = nursery, number

    def poll(self) -> int | None:
        """The exit code, or None while it runs or is not forked yet."""
        while self._nursery.lives() and self._nursery.hear(wait=False):
            pass
        code = self._nursery.heard.get(self._number, (0, RUNS))[1]
        if code != RUNS:
            return code
        return None if self._nursery.lives() else self._nursery.exit_code()

    def kill(self) -> None:
        """End it, if it still runs; waits until it is forked."""
        while self.poll() is None and self._number not in self._nursery.heard and self._nursery.hear(wait=True):
            pass
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._nursery.heard[self._number][0], signal.SIGKILL)

    def wait(self) -> int:
        """The exit code; waits until it ended. That of the nursery where that ended first."""
        while (code := self.poll()) is None:
            self._nursery.hear(wait=True)
        return code


def start_alone() -> None:
    """Before pyarrow is imported: jemalloc is not used here, and would start a thread."""
    os.environ["JE_ARROW_MALLOC_CONF"] = "background_thread:false"


def rear(control: socket.socket, work: Callable[[int], None]) -> None:
    """The nursery's end: fork a worker for each message, tell how it ended; until the other end closes. work: takes the worker's pipe."""
    woken, wakes = socket.socketpair()
    wakes.setblocking(False)
    signal.set_wakeup_fd(wakes.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    numbers: dict[int, int] = {}
    while True:
        ready = select.select([control, woken], [], [])[0]
        if woken in ready:
            woken.recv(4096)
            for process, code in _ended():
                control.send(REPLY.pack(numbers.pop(process), process, code))
        if control in ready:
            message, descriptors, _, _ = socket.recv_fds(control, NUMBER.size, 1)
            if not message:
                return
            (number,) = NUMBER.unpack(message)
            process = _forked(descriptors[0], [control, woken, wakes], work)
            os.close(descriptors[0])
            numbers[process] = number
            control.send(REPLY.pack(number, process, RUNS))


def _ended() -> list[tuple[int, int]]:
    """(process id, exit code) of the workers that ended since the last call."""
    found = []
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            found.append((ended[0], os.waitstatus_to_exitcode(ended[1])))
    return found


def _forked(pipe: int, ours: list[socket.socket], work: Callable[[int], None]) -> int:
    """Fork; the child works until its pipe closes, and never returns from here."""
    from curate.executors.process import die_with_parent

    nursery = os.getpid()
    sys.stderr.flush()
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        die_with_parent()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for end in ours:
            end.close()
        if os.getppid() == nursery:  # else it died before we asked to die with it
            work(pipe)
        code = 0
    except BaseException:  # noqa: BLE001  nothing of the child may run in the nursery's frames
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
