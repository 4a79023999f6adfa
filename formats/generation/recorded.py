"""Answers that were given before, from JSON lines: for tests, and for pools of other tools.

    {"prompt": "What is 2+3?", "answers": ["5", {"text": "It is", "finish_reason": "length"}]}

`prompt` is a string (the last turn of a chat, or the whole of a plain prompt) or the list of messages. Sample s gets answer s; one
that is not there has failed as `not_recorded`.
"""

from __future__ import annotations

from typing import Any

from curate.errors import DataError
from curate.fingerprint import file_digest
from formats.generation.backend import Desk, Question, Sampling
from formats.generation.journal import Answer
from formats.generation.models import RecordedModel
from formats.generation.plugin import as_answer
from formats.generation.prompts import Prompt
from formats.json_text import dumps, loads


class RecordedBackend:
    """Reads the file and plays it."""

    def __init__(self, model: RecordedModel) -> None:
        self._path = model.recorded
        self._answers: dict[str, list[Any]] = {}
        with open(self._path, "rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    self._read(line, number)

    def _read(self, line: bytes, number: int) -> None:
        try:
            row = loads(line)
            self._answers[_key(row["prompt"])] = list(row["answers"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{self._path}:{number}: expected {{prompt, answers}}, got {line[:80].decode(errors='replace')!r}.") from error

    def identity(self) -> object:
        """The file's content."""
        return {"recorded": file_digest(self._path)}

    def run(self, desk: Desk, sampling: Sampling) -> None:
        """Play every question. See Backend."""
        while (question := desk.next()) is not None:
            if not desk.send(question):
                raise AssertionError("nothing is ever in flight here")
            answer = self._find(question)
            if answer is None:
                desk.fail(question, "not_recorded")
            else:
                desk.answer(question, answer)

    def _find(self, question: Question) -> Answer | None:
        for key in _keys(question.prompt):
            found = self._answers.get(key, [])
            if question.sample < len(found):
                return as_answer(found[question.sample])
        return None


def _keys(prompt: Prompt) -> list[str]:
    if prompt.messages is None:
        return [prompt.text or ""]
    last = prompt.messages[-1].get("content")
    return [dumps(prompt.messages), *([last] if isinstance(last, str) else [])]


def _key(prompt: Any) -> str:
    return prompt if isinstance(prompt, str) else dumps(prompt)
