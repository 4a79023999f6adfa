"""Every answer the moment it comes: append-only files of JSON lines, one line for each answer.

    <folder>/answers-00000.jsonl    one file for each attempt at the work; no attempt writes to another's
    <folder>/runs.jsonl             what each attempt did: answers, requests, retries, tokens, seconds

A line is handed to the system by one write before the next answer is looked at, so a killed process loses no more than the
answers that were in flight; fsync follows within a second, for power cuts. A torn last line is no line. The folder is named by
a digest of the model and the sampling parameters, the lines name the prompt by its digest: answers are found again whatever the order of
prompts, however many there are, and after any edit of other steps.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import numpy as np

from curate.errors import StoreError
from formats.json_text import encode

FSYNC_EVERY_S = 1.0
_PIECE = 1 << 16  # questions that are listed at a time
_FILE_BITS = 40  # of a place: file number above, byte offset below


class Answer(msgspec.Struct, omit_defaults=True):
    """What a model said to one prompt."""

    text: str | None
    finish: str  # "stop", "length", "tool_calls", "content_filter", or the server's own word
    tokens_in: int = 0
    tokens_out: int = 0
    reasoning: str | None = None
    calls: list[Any] | None = None  # tool calls, as OpenAI's API gives them
    model: str | None = None  # as the server calls itself


class _Line(msgspec.Struct):
    prompt: str  # digest, hex
    sample: int
    answer: Answer


class _Head(msgspec.Struct):
    """What is needed of a line when a journal is opened."""

    prompt: str
    sample: int
    answer: _Figures


class _Figures(msgspec.Struct):
    finish: str
    tokens_in: int = 0
    tokens_out: int = 0


_line = msgspec.json.Decoder(_Line)


class Questions:
    """Which answers are wanted: `samples` for each prompt. Question q = row * samples + place.

    Rows whose prompts are equal want other samples of that prompt: the second row samples K to 2K-1, and so on.
    """

    def __init__(self, digests: Sequence[bytes], samples: int) -> None:
        self.digests, self.samples = digests, samples
        self._first: dict[bytes, int] = {}
        self._more: dict[bytes, list[int]] = {}
        self._repeat: dict[int, int] = {}
        for row, name in enumerate(digests):
            first = self._first.setdefault(name, row)
            if first != row:
                rows = self._more.setdefault(name, [first])
                self._repeat[row] = len(rows)
                rows.append(row)

    def __len__(self) -> int:
        return len(self.digests) * self.samples

    def name(self, question: int) -> tuple[bytes, int]:
        """(digest of the prompt, number of the sample)."""
        row, place = divmod(question, self.samples)
        return self.digests[row], self._repeat.get(row, 0) * self.samples + place

    def find(self, prompt: bytes, sample: int) -> int:
        """The question of that name; -1 where nobody asks it."""
        row = self._first.get(prompt, -1)
        repeat, place = divmod(sample, self.samples)
        if repeat and row >= 0:
            rows = self._more.get(prompt, [row])
            row = rows[repeat] if repeat < len(rows) else -1
        return -1 if row < 0 else row * self.samples + place


class Journal:
    """The answers of one model with one set of parameters. Opening it reads every line; a file is begun with the first new answer."""

    def __init__(self, folder: Path, questions: Questions) -> None:
        self.folder, self.questions = folder, questions
        self.places = np.full(len(questions), -1, np.int64)
        self.lengths = np.zeros(len(questions), np.int32)
        self.tokens_in = self.tokens_out = 0
        self.finish: Counter[str] = Counter()
        self._files: list[int] = []  # read descriptors
        self._out = -1
        self._at = 0
        self._stop = threading.Event()
        self._dirty = False
        self._syncing: threading.Thread | None = None

    def __enter__(self) -> Journal:
        for path in sorted(self.folder.glob("answers-*.jsonl")) if self.folder.is_dir() else []:
            self._load(path)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Flush what was written; answers can't be read any more."""
        self._stop.set()
        if self._syncing is not None:
            self._syncing.join()
            os.fsync(self._out)
        for descriptor in [*self._files, *([self._out] if self._out >= 0 else [])]:
            os.close(descriptor)
        self._files, self._out = [], -1

    @property
    def answered(self) -> int:
        """Questions that have an answer."""
        return int((self.places >= 0).sum())

    def missing(self) -> Iterator[int]:
        """Questions without an answer, samples of one prompt together: servers share the work on a prompt."""
        found = np.flatnonzero(self.places < 0)
        for start in range(0, len(found), _PIECE):
            yield from found[start : start + _PIECE].tolist()

    def add(self, question: int, answer: Answer) -> None:
        """Write an answer down. It is safe from this process's death when this returns."""
        self.add_many([(question, answer)])

    def add_many(self, answers: Sequence[tuple[int, Answer]]) -> None:
        """Write several answers with one write."""
        if self._out < 0:
            self._begin()
        lines, noted = [], []
        at = self._at
        for question, answer in answers:
            prompt, sample = self.questions.name(question)
            line = encode(_Line(prompt.hex(), sample, answer)) + b"\n"
            lines.append(line)
            noted.append((question, at, len(line), answer))
            at += len(line)
        content = b"".join(lines)
        try:
            written = os.write(self._out, content)
            while written < len(content):  # only for a full disk, which the next write then reports
                written += os.write(self._out, content[written:])
        except OSError as error:
            raise StoreError(f"An answer could not be written below {self.folder}: {error.strerror}. Answers so far are kept.") from error
        self._at, self._dirty = at, True
        for question, place, length, answer in noted:
            self._note(question, len(self._files) - 1, place, length)
            self._count(answer)

    def get(self, question: int) -> Answer | None:
        """The answer to a question, or None."""
        place = int(self.places[question])
        if place < 0:
            return None
        data = os.pread(self._files[place >> _FILE_BITS], int(self.lengths[question]), place & ((1 << _FILE_BITS) - 1))
        return _line.decode(data).answer

    def log(self, entry: dict[str, Any]) -> None:
        """Add a line on this attempt to runs.jsonl."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / "runs.jsonl", "ab") as file:
            file.write(encode(entry) + b"\n")

    def _load(self, path: Path) -> None:
        number = len(self._files)
        self._files.append(os.open(path, os.O_RDONLY))
        decode = msgspec.json.Decoder(_Head).decode
        at = 0
        with open(path, "rb") as file:
            for line in file:
                with contextlib.suppress(msgspec.DecodeError, ValueError):  # torn by a power cut
                    head = decode(line)
                    question = self.questions.find(bytes.fromhex(head.prompt), head.sample) if line.endswith(b"\n") else -1
                    if question >= 0 and self.places[question] < 0:
                        self._note(question, number, at, len(line))
                        self._count(head.answer)
                at += len(line)

    def _note(self, question: int, file: int, place: int, length: int) -> None:
        self.places[question] = (file << _FILE_BITS) | place
        self.lengths[question] = length

    def _count(self, answer: Answer | _Figures) -> None:
        self.finish[answer.finish] += 1
        self.tokens_in += answer.tokens_in
        self.tokens_out += answer.tokens_out

    def _begin(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        number = len(list(self.folder.glob("answers-*.jsonl")))
        while self._out < 0:
            path = self.folder / f"answers-{number:05d}.jsonl"
            with contextlib.suppress(FileExistsError):
                self._out = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
                self._files.append(os.open(path, os.O_RDONLY))
            number += 1
        self._syncing = threading.Thread(target=self._sync, daemon=True)
        self._syncing.start()

    def _sync(self) -> None:
        while not self._stop.wait(FSYNC_EVERY_S):
            if self._dirty:
                self._dirty = False
                os.fsync(self._out)
