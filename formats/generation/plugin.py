"""A Python function as the model: `--plugin mine.py` with

    from formats.generation.plugin import answers

    @answers("mine")
    def mine(messages, seed, temperature=None, **sampling):
        return "text"

`messages` are dicts of role and content, or one string for plain prompts. It returns a text, a mapping {text, finish_reason, tokens_in, tokens_out},
or an object with `content` as LangChain's messages have; `answers("mine")(runnable)` takes an object with `invoke`, which
gets the messages alone. Calls run in threads, so it has to be safe for that, or to say `concurrency: 1`.
"""

from __future__ import annotations

import inspect
import queue
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from curate.errors import RecipeError
from curate.registry import nearest
from formats.generation.backend import Desk, Question, Sampling, TooManyFailed
from formats.generation.journal import Answer
from formats.generation.models import PluginModel


class Answering(NamedTuple):
    """A function that answers, and the file it is from."""

    call: Callable[..., Any]
    path: str
    curate_plugin: bool = True  # so that a plugin without steps is one


_known: dict[str, Answering] = {}


def answers(name: str) -> Callable[[Any], Answering]:
    """Register a function, or an object with `invoke`, under a name for `model: {plugin: NAME}`."""
    path = inspect.stack()[1].filename

    def register(function: Any) -> Answering:
        invoke = getattr(function, "invoke", None)
        call = (lambda messages, seed, **sampling: invoke(messages)) if invoke is not None else function
        _known[name] = Answering(call, path)
        return _known[name]

    return register


def function_of(name: str) -> Answering:
    """The registered function. Raises RecipeError."""
    if name not in _known:
        near = nearest(name, list(_known))
        raise RecipeError(
            f"model: no plugin defines {name!r}.{near} Give the file with --plugin; it marks the function with @answers({name!r})."
        )
    return _known[name]


class PluginBackend:
    """Calls the function in threads."""

    def __init__(self, model: PluginModel) -> None:
        self._model, self._function = model, function_of(model.plugin)

    def identity(self) -> object:
        """Name and content of the file."""
        from curate.fingerprint import file_digest

        return {"plugin": self._model.plugin, "file": file_digest(self._function.path)}

    def run(self, desk: Desk, sampling: Sampling) -> None:
        """Call it for every question. See Backend."""
        todo: queue.SimpleQueue[Question | None] = queue.SimpleQueue()
        done: queue.SimpleQueue[tuple[Question, Answer | Exception]] = queue.SimpleQueue()
        given = sampling.given()
        threads = [threading.Thread(target=self._work, args=(todo, done, given), daemon=True) for _ in range(self._model.concurrency)]
        for thread in threads:
            thread.start()
        flying = 0
        try:
            while True:
                while flying < self._model.concurrency and (question := desk.next()) is not None:
                    if not desk.send(question):
                        desk.put_back(question)
                        break
                    todo.put(question)
                    flying += 1
                if not flying:
                    return
                question, made = done.get()
                flying -= 1
                desk.spending.requests += 1
                if isinstance(made, Answer):
                    desk.answer(question, made)
                else:
                    desk.fail(question, f"plugin: {type(made).__name__}: {made}"[:200])
                desk.progress()
        except TooManyFailed:
            for question, made in (done.get() for _ in range(flying)):  # calls under way are paid for
                if isinstance(made, Answer):
                    desk.answer(question, made)
            raise
        finally:
            for _ in threads:
                todo.put(None)

    def _work(
        self,
        todo: queue.SimpleQueue[Question | None],
        done: queue.SimpleQueue[tuple[Question, Answer | Exception]],
        given: dict[str, object],
    ) -> None:
        while (question := todo.get()) is not None:
            prompt = question.prompt
            made: Answer | Exception = ValueError("never called")
            for _ in range(1 + self._model.retries):
                try:
                    said = self._function.call(prompt.messages if prompt.messages is not None else prompt.text, seed=question.seed, **given)
                    made = as_answer(said)
                    break
                except Exception as error:  # noqa: BLE001  a user's function: anything may be raised, it is shown as the reason
                    made = error
            done.put((question, made))


def as_answer(said: Any) -> Answer:
    """What a function returned as an answer. Raises TypeError for what is none."""
    if isinstance(said, str):
        return Answer(said, "stop")
    if isinstance(said, Mapping) and isinstance(said.get("text"), str):
        return Answer(
            said["text"], str(said.get("finish_reason") or "stop"), int(said.get("tokens_in") or 0), int(said.get("tokens_out") or 0)
        )
    content = getattr(said, "content", None)
    if isinstance(content, str):
        usage = getattr(said, "usage_metadata", None) or {}
        reason = (getattr(said, "response_metadata", None) or {}).get("finish_reason")
        return Answer(content, str(reason or "stop"), int(usage.get("input_tokens") or 0), int(usage.get("output_tokens") or 0))
    raise TypeError(f"must return text, a mapping with 'text', or an object with 'content', got {type(said).__name__}")
