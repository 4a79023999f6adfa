"""Call a function on one document after the other where each call has its own limits of CPU time and memory.

The function runs in another process (`guarded_process`). A call that goes on too long, takes too much memory or crashes
costs that process, not this one: the document gets a `Failure`, a fresh process takes the next ones, nothing is lost
and nothing is done twice but the documents that had not been answered. CPU time is what is limited, so a busy machine
does not change which documents fail. Needs Linux (timers, RLIMIT_AS, prctl); the answers do not depend on what was
called before as far as the function itself does not.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from curate.errors import StepError
from curate.steps.guarded_process import ANSWER, FAILED, LENGTH, MEMORY_STATUS, receive
from curate.steps.shared_bytes import SharedBytes

CHUNK_DOCUMENTS, CHUNK_BYTES = 64, 1 << 20
KEPT_BYTES = 8 * CHUNK_BYTES  # a large document's memory is given back, with the process
RECYCLED_AFTER = 4096  # documents a process does: what engines remember and fragment stays bounded


class Failure(NamedTuple):
    """Why there is no answer for a document: "timeout: ..." and the like."""

    error: str


class _Server(NamedTuple):
    """A process that answers, and the memory that it shares."""

    work: socket.socket
    questions: SharedBytes
    answers: SharedBytes


class GuardedCalls:
    """Calls `factory(**arguments)(document)` in a guarded process. Starts it at the first call, ends with its owner."""

    def __init__(self, target: str, arguments: dict[str, Any], cpu_s: float, memory_bytes: int) -> None:
        """target: "module:factory"; the factory returns a function from a memoryview, gone when it returns, to bytes."""
        self._settings = {"target": target, "arguments": arguments, "cpu_s": cpu_s, "memory_bytes": memory_bytes}
        self._memory_bytes = memory_bytes
        self._control: socket.socket | None = None
        self._server: _Server | None = None
        self._served = 0
        self._owned: list[socket.socket] = []  # closed when this object goes

    def __call__(self, documents: Sequence[bytes | memoryview]) -> list[bytes | Failure]:
        """One answer for each document, in order."""
        answers: list[bytes | Failure] = []
        for start, stop in _chunks(documents):
            while len(answers) < stop:
                answers += self._chunk(documents[max(start, len(answers)) : stop])
        return answers

    def _chunk(self, documents: Sequence[bytes | memoryview]) -> list[bytes | Failure]:
        """Answers for the first of them: all, or up to the one that ended the process."""
        server = self._ready()
        _ask(server, documents)
        try:
            server.work.sendall(b".")
            receive(server.work, 1)
        except (EOFError, ConnectionError):
            answers = _answers_of(server)
            if len(answers) == len(documents):
                self._drop()
            else:
                answers.append(self._death())
            return answers
        self._served += len(documents)
        return _answers_of(server)

    def _ready(self) -> _Server:
        """The process, a fresh one where there is none or it did enough."""
        server = self._server
        if server is None or self._served >= RECYCLED_AFTER or len(server.questions) + len(server.answers) > KEPT_BYTES:
            server = self._server = self._fork()
            self._served = 0
        return server

    def _fork(self) -> _Server:
        if self._control is None:
            self._start()
        elif self._server is not None:
            self._drop()
        assert self._control is not None
        ours, theirs = socket.socketpair()
        shared = [SharedBytes.made(2 * CHUNK_BYTES), SharedBytes.made(CHUNK_BYTES)]
        descriptors = [theirs.detach(), *(descriptor for _, descriptor in shared)]
        socket.send_fds(self._control, [b"f"], descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        self._owned[1:] = [ours]
        return _Server(ours, *(memory for memory, _ in shared))

    def _drop(self) -> int:
        """Let the process go and return how it ended."""
        assert self._server is not None and self._control is not None
        self._server.work.close()
        self._server = None
        try:
            status: int = struct.unpack(">i", receive(self._control, 4))[0]
        except (EOFError, ConnectionError) as error:
            self._control = None
            raise StepError(f"{self._settings['target']}: the process that runs it ended. Run again; its messages stand above.") from error
        return status

    def _death(self) -> Failure:
        status = self._drop()
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        if number == signal.SIGPROF:
            return Failure(f"timeout: more than {self._settings['cpu_s']:g} s of CPU time")
        if number == signal.SIGALRM:
            return Failure("timeout: waits for something")
        if not number and os.WEXITSTATUS(status) == MEMORY_STATUS:
            return self._no_memory()
        name = signal.Signals(number).name if number else f"exit status {os.WEXITSTATUS(status)}"
        return Failure(f"crash: the engine ended its process ({name})")

    def _no_memory(self) -> Failure:
        return Failure(f"memory: more than {self._memory_bytes >> 20} MiB")

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-P", "-m", "curate.steps.guarded_process", str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()
        settings = json.dumps(self._settings).encode()
        ours.sendall(LENGTH.pack(len(settings)) + settings)
        self._control = ours
        self._owned[:] = [ours]
        weakref.finalize(self, _end, process, self._owned)


def _end(process: subprocess.Popen[bytes], sockets: list[socket.socket]) -> None:
    for one in sockets:
        one.close()  # both generations end at the end of their sockets
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(1)
    process.kill()
    process.wait()


def _ask(server: _Server, documents: Sequence[bytes | memoryview]) -> None:
    """Lay documents where the process reads them."""
    server.answers.put(0, LENGTH.pack(0))
    at = server.questions.put(0, struct.pack(f"<{len(documents) + 1}Q", len(documents), *map(len, documents)))
    for document in documents:
        at = server.questions.put(at, document)


def _answers_of(server: _Server) -> list[bytes | Failure]:
    """The answers that are there."""
    answers: list[bytes | Failure] = []
    at = LENGTH.size
    for _ in range(LENGTH.unpack(server.answers.get(0, LENGTH.size))[0]):
        kind, size = ANSWER.unpack(server.answers.get(at, ANSWER.size))
        answer = server.answers.get(at + ANSWER.size, size)
        answers.append(Failure(f"failed: {answer.decode()}") if kind == FAILED else answer)
        at += ANSWER.size + size
    return answers


def _chunks(documents: Sequence[bytes | memoryview]) -> Iterator[tuple[int, int]]:
    """(start, stop) of runs with at most CHUNK_DOCUMENTS documents and about CHUNK_BYTES."""
    start = held = 0
    for number, document in enumerate(documents):
        if number > start and (number - start >= CHUNK_DOCUMENTS or held + len(document) > CHUNK_BYTES):
            yield start, number
            start, held = number, 0
        held += len(document)
    if start < len(documents):
        yield start, len(documents)
