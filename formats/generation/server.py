"""Answers from a server with OpenAI's API: vLLM, SGLang, llama.cpp, Ollama, `transformers serve`, hosted ones.

One request for each sample, since each has a seed of its own (servers that cache prefixes do the prompt's work once); samples of
a prompt follow each other. `concurrency` requests are on their way at any time, each on its own connection.

What happens to a request that fails:

    429, 503          wait as `Retry-After` says (everybody waits), or longer each time; tried until nothing at all was
                      answered for `patience_s`
    408, 409, 5xx,    tried again `retries` times, waiting 0.5 s, 1 s, 2 s ... up to a minute, with a quarter of that at random
    timeouts, broken
    connections, answers that break off or are no JSON of the API
    401, 403, 404,    stops the run: the key, the URL or the model's name is wrong
    405
    other 4xx         this question fails at once: too long, refused
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from formats.generation.backend import CapReached, Desk, Question, Sampling, TooManyFailed, Unreachable
from formats.generation.http_client import Address, Connection, Trouble, bearer
from formats.generation.http_reply import Response
from formats.generation.journal import Answer
from formats.generation.models import ServerModel
from formats.generation.spending import Pace
from formats.json_text import encode

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 60.0
SAY_EVERY_S = 0.5
_WRONG = {401, 403, 404, 405}
_BUSY = {429, 503}
_AGAIN = {408, 409, 425}


class _Message(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[Any] | None = None


class _Choice(msgspec.Struct):
    finish_reason: str
    message: _Message | None = None
    text: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int | None = 0


class _Reply(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage | None = None
    model: str | None = None


_decode = msgspec.json.Decoder(_Reply).decode


def read_reply(body: bytes) -> Answer:
    """The answer in a reply of the API. Raises ValueError where it is none."""
    reply = _decode(body)
    if not reply.choices:
        raise ValueError("no choices")
    choice, usage = reply.choices[0], reply.usage or _Usage()
    message = choice.message or _Message(content=choice.text)
    if message.content is None and not message.tool_calls and choice.finish_reason != "content_filter" and choice.message is None:
        raise ValueError("neither message nor text")
    reasoning = message.reasoning_content if message.reasoning_content is not None else message.reasoning
    return Answer(
        message.content, choice.finish_reason, usage.prompt_tokens, usage.completion_tokens or 0, reasoning or None, message.tool_calls or None,
        reply.model,
    )  # fmt: skip


def request_body(
    question: Question, model: str, given: dict[str, object], more: dict[str, Any], seeds: bool = True
) -> tuple[str, dict[str, Any]]:
    """(path below the base URL, body) of one question."""
    prompt = question.prompt
    body: dict[str, Any] = {"model": model}
    if prompt.messages is not None:
        path = "/chat/completions"
        body["messages"] = prompt.messages
        if prompt.tools:
            body["tools"] = prompt.tools
    else:
        path = "/completions"
        body["prompt"] = prompt.text
    body |= given
    if seeds:
        body["seed"] = question.seed
    return path, body | more


class ServerBackend:
    """Asks a server."""

    def __init__(self, model: ServerModel) -> None:
        self.model = model
        self._key = bearer(model.key_env)

    def identity(self) -> object:
        """Server and name, or what `identity` says; and what is sent beside the parameters."""
        m = self.model
        return {"server": m.identity or [m.server.rstrip("/"), m.name], "extra": m.extra, "seeds": m.send_seed}

    def run(self, desk: Desk, sampling: Sampling) -> None:
        """Ask everything. See Backend."""
        asyncio.run(_Asking(self.model, self._key, desk, sampling).all())


class _Asking:
    """One run of the event loop."""

    def __init__(self, model: ServerModel, key: bytes, desk: Desk, sampling: Sampling) -> None:
        self._model, self._desk, self._sampling, self._given = model, desk, sampling, sampling.given()
        self._head = (
            b"Content-Type: application/json\r\nAccept: application/json\r\nAccept-Encoding: identity\r\nUser-Agent: curate\r\n" + key
        )
        self._address = Address(model.server)
        self._requests, self._tokens = Pace(model.requests_per_minute), Pace(model.tokens_per_minute)
        self._random = random.Random()  # of waiting times alone
        self._held_until = 0.0
        self._good_at = time.monotonic()
        self._settled = asyncio.Event()
        self._closing = False  # no new questions; what is in flight is waited for

    async def all(self) -> None:
        """Run `concurrency` askers until nothing is left; the first error stops all of them."""
        telling = asyncio.create_task(self._tell())
        askers = [asyncio.create_task(self._ask()) for _ in range(min(self._model.concurrency, max(1, self._desk.spending.total)))]
        try:
            done, _ = await asyncio.wait(askers, return_when=asyncio.FIRST_EXCEPTION)
            error = next((e for t in done if (e := t.exception()) is not None), None)
            if isinstance(error, CapReached | TooManyFailed):  # what is in flight is paid for: wait for it
                self._closing = True
                self._settled.set()
                with contextlib.suppress(CapReached, TooManyFailed, Unreachable):
                    await asyncio.gather(*askers, return_exceptions=True)
            if error is not None:
                raise error
        finally:
            for task in [telling, *askers]:
                task.cancel()
            await asyncio.gather(telling, *askers, return_exceptions=True)

    async def _tell(self) -> None:
        while True:
            self._desk.progress()
            await asyncio.sleep(SAY_EVERY_S)

    async def _ask(self) -> None:
        connection = Connection(self._address)
        try:
            while not self._closing and (question := self._desk.next()) is not None:
                if not self._desk.send(question):
                    self._desk.put_back(question)
                    self._settled.clear()
                    await self._settled.wait()
                    continue
                try:
                    await self._one(connection, question)
                finally:
                    self._settled.set()
        finally:
            connection.close()

    async def _one(self, connection: Connection, question: Question) -> None:
        """Answer one question, or fail it."""
        path, content = request_body(question, self._model.name, self._given, self._model.extra, self._model.send_seed)
        body = encode(content)
        spending = self._desk.spending
        failures = busy = 0
        while True:
            estimate = spending.estimate(question.characters) + (self._sampling.max_tokens or 0)
            await self._pace(estimate)
            spending.requests += 1
            try:
                response = await connection.request("POST", path, self._head, body, self._model.timeout_s)
                if response.status == 200:
                    answer = read_reply(response.body)
                    self._good_at = time.monotonic()
                    self._tokens.correct(answer.tokens_in + answer.tokens_out - estimate)
                    self._desk.answer(question, answer)
                    return
                reason, wait = f"http_{response.status}", _retry_after(response)
            except Trouble as trouble:
                response, reason, wait = None, trouble.kind, None
            except (msgspec.DecodeError, ValueError):
                response, reason, wait = None, "malformed", None
            if response is not None and not self._again(response, reason, question):
                return
            spending.retried[reason] += 1
            if response is not None and response.status in _BUSY:
                busy += 1
                if wait is not None:
                    self._held_until = max(self._held_until, time.monotonic() + min(wait, 3600.0))
            else:
                failures += 1
            self._check_patience(reason, response)
            if failures > self._model.retries:
                self._desk.fail(question, reason)
                return
            await asyncio.sleep(0 if wait is not None else self._wait(max(busy, failures)))

    def _again(self, response: Response, reason: str, question: Question) -> bool:
        """Whether a request that failed may be sent again; a question that the server refuses fails here. Raises Unreachable."""
        if response.status in _WRONG:
            raise Unreachable(
                f"{self._model.server} answered {response.status} for the model {self._model.name!r}: {_words(response)} "
                "Check server, name and key_env; answers so far are kept."
            )
        if response.status in _BUSY or response.status in _AGAIN or response.status >= 500:
            return True
        self._desk.fail(question, reason)
        return False

    def _wait(self, attempt: int) -> float:
        wait = min(LONGEST_WAIT_S, self._model.first_wait_s * 2.0 ** min(attempt - 1, 30))
        return wait * self._random.uniform(1, 1.25)

    async def _pace(self, tokens: int) -> None:
        """Wait until the rates and the server allow another request."""
        while True:
            now = time.monotonic()
            if self._held_until > now:
                await asyncio.sleep(self._held_until - now)
                continue
            wait = max(self._requests.wait(1, now), self._tokens.wait(tokens, now))
            if wait:
                await asyncio.sleep(wait)
            return

    def _check_patience(self, reason: str, response: Response | None) -> None:
        quiet = time.monotonic() - self._good_at
        if quiet > self._model.patience_s:
            said = f": {_words(response)}" if response is not None else ""
            raise Unreachable(
                f"{self._model.server} has given no answer for {quiet:.0f} s (patience_s), lately {reason}{said}. "
                "Answers so far are kept: run the same command when it is back."
            )


def _retry_after(response: Response) -> float | None:
    """Seconds that the server asks to wait; None where it does not say."""
    given = response.header(b"retry-after").decode("latin-1")
    if not given:
        return None
    try:
        return max(0.0, float(given))
    except ValueError:
        with contextlib.suppress(ValueError):
            return max(0.0, parsedate_to_datetime(given).timestamp() - time.time())
        return None


def _words(response: Response) -> str:
    """What the server said, in short."""
    try:
        said = msgspec.json.decode(response.body)
        error = said.get("error", said) if isinstance(said, dict) else said
        text = error.get("message", error) if isinstance(error, dict) else error
    except msgspec.DecodeError:
        text = response.body[:200].decode(errors="replace")
    return repr(str(text)[:200]) + "."
