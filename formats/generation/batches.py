"""Batch APIs of providers: questions go there in files, answers come hours later, for less money.

An API is a plug-in: an entry point of the group `curate.batch_apis` names a function from `BatchModel` to a `BatchApi`. `openai` comes along: files and
batches as OpenAI, and servers that copy its API, have them.

What was submitted is written to `batches.jsonl` in the journal's folder before anything else happens, so a run that was killed finds its batches
again and waits for them instead of paying twice. A process that dies between the provider's yes and that line loses the batch: no API can be
asked for it by a name of ours. Of a batch that failed in part only the failed questions are sent again, `retries` times.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from curate.errors import RecipeError
from formats.generation.backend import CapReached, Desk, Question, Sampling, Unreachable
from formats.generation.http_client import Address, Connection, Trouble, bearer
from formats.generation.journal import Answer
from formats.generation.models import BatchModel
from formats.generation.server import read_reply, request_body
from formats.json_text import decode_lines, encode, loads

GROUP = "curate.batch_apis"
STATE = "batches.jsonl"
_BOUNDARY = b"curate-0f6c1a52"


class Line(NamedTuple):
    """One question of a batch."""

    name: str  # comes back with the answer
    path: str  # of the API it is for, such as /chat/completions
    body: dict[str, Any]


class BatchApi(Protocol):
    """A provider's batches. Methods raise Trouble where the provider can't be reached: they are called again later."""

    def submit(self, lines: Sequence[Line]) -> str:
        """Hand over a batch; all lines have one path. Returns its name."""
        ...

    def state(self, batch: str) -> Literal["running", "done"]:
        """Whether its answers are there. A batch that failed, ended or was cancelled is done, perhaps without answers."""
        ...

    def answers(self, batch: str) -> Iterable[tuple[str, Answer | str]]:
        """(name, the answer or the reason why there is none) of its lines; lines that are left out have failed."""
        ...


def load_api(model: BatchModel) -> BatchApi:
    """The API that a model names. Raises RecipeError."""
    if model.batch == "openai":
        return OpenAiBatches(model)
    points = {point.name: point for point in entry_points(group=GROUP)}
    if model.batch not in points:
        raise RecipeError(
            f"model.batch: no installed package has the batch API {model.batch!r}. There is: {', '.join(['openai', *points])}."
        )
    made: BatchApi = points[model.batch].load()(model)
    return made


class BatchBackend:
    """Asks in batches."""

    def __init__(self, model: BatchModel, api: BatchApi | None = None) -> None:
        self._model = model
        self._api = api or load_api(model)

    def identity(self) -> object:
        """As of the server itself: what was asked one by one is not asked again in a batch."""
        m = self._model
        return {"server": m.identity or [m.server.rstrip("/"), m.name], "extra": m.extra, "seeds": m.send_seed}

    def run(self, desk: Desk, sampling: Sampling) -> None:
        """Submit, wait, take. See Backend."""
        state = desk.journal.folder / STATE
        flying = self._found(desk, state)
        waiting = {q for batch in flying.values() for q in batch}
        tried: Counter[int] = Counter()
        again: list[Question] = []
        quiet = time.monotonic()
        while True:
            try:
                self._submit(desk, sampling, flying, waiting, again, state)
                if not flying:
                    return
                for batch in [b for b in flying if self._api.state(b) == "done"]:
                    again += self._take(desk, batch, flying.pop(batch), tried)
                    _note(state, {"taken": batch})
                quiet = time.monotonic()
            except Trouble as error:
                if time.monotonic() - quiet > self._model.patience_s:
                    raise Unreachable(
                        f"{self._model.server}: {error}. Batches go on there: run the same command later to take them."
                    ) from error
            desk.progress()
            if flying:
                time.sleep(self._model.poll_s)

    def _submit(
        self, desk: Desk, sampling: Sampling, flying: dict[str, list[int]], waiting: set[int], again: list[Question], state: Path
    ) -> None:
        """Hand over everything that is neither answered nor under way, in batches of `size`."""
        while True:
            asked: list[Question] = []
            while len(asked) < self._model.size:
                question = again.pop() if again else desk.next()
                if question is None:
                    break
                if question.number in waiting:
                    continue
                if not desk.spending.allows(question.characters) and not asked and not flying:
                    raise CapReached
                if not desk.send(question):
                    desk.put_back(question)
                    break
                asked.append(question)
            for chat in (True, False):
                self._hand_over(desk, sampling, [q for q in asked if (q.prompt.messages is not None) is chat], flying, state)
            if len(asked) < self._model.size:
                return

    def _hand_over(self, desk: Desk, sampling: Sampling, asked: list[Question], flying: dict[str, list[int]], state: Path) -> None:
        if not asked:
            return
        lines, given = [], sampling.given()
        for question in asked:
            path, body = request_body(question, self._model.name, given, self._model.extra, self._model.send_seed)
            lines.append(Line(_name(desk, question.number), path, body))
        try:
            batch = self._api.submit(lines)
        except Trouble:
            for question in asked:
                desk.spending.settle(question.number)
                desk.put_back(question)
            raise
        desk.spending.requests += 1
        flying[batch] = [question.number for question in asked]
        _note(state, {"submitted": batch, "names": [line.name for line in lines]})

    def _take(self, desk: Desk, batch: str, asked: list[int], tried: Counter[int]) -> list[Question]:
        """Journal the answers of a batch; the questions to be sent again."""
        open_ = {_name(desk, number): desk.question(number) for number in asked}
        good: list[tuple[Question, Answer]] = []
        reasons: dict[str, str] = {}
        for name, said in self._api.answers(batch):
            if name in open_ and isinstance(said, Answer):
                good.append((open_.pop(name), said))
            elif name in open_:
                reasons[name] = str(said)
        desk.answer_all(good)
        again = []
        for name, question in open_.items():
            tried[question.number] += 1
            reason = reasons.get(name, "left_out")
            if tried[question.number] > self._model.retries:
                desk.fail(question, reason)
            else:
                desk.spending.retried[reason] += 1
                desk.spending.settle(question.number)
                again.append(question)
        return again

    def _found(self, desk: Desk, state: Path) -> dict[str, list[int]]:
        """Batches of earlier attempts whose answers were not taken, with those of their questions that are still wanted."""
        flying: dict[str, list[int]] = {}
        entries = [loads(line) for line in state.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")] if state.exists() else []
        for entry in entries:
            if "taken" in entry:
                flying.pop(entry["taken"], None)
            else:
                numbers = [_number(desk, name) for name in entry["names"]]
                flying[entry["submitted"]] = [n for n in numbers if n >= 0 and desk.journal.places[n] < 0]
        for number in [n for numbers in flying.values() for n in numbers]:
            desk.spending.send(number, desk.question(number).characters)  # it was paid for: caps come too late
        return {batch: numbers for batch, numbers in flying.items() if numbers}


def _name(desk: Desk, number: int) -> str:
    prompt, sample = desk.journal.questions.name(number)
    return f"{prompt.hex()}-{sample}"


def _number(desk: Desk, name: str) -> int:
    prompt, _, sample = name.partition("-")
    return desk.journal.questions.find(bytes.fromhex(prompt), int(sample))


def _note(state: Path, entry: dict[str, Any]) -> None:
    state.parent.mkdir(parents=True, exist_ok=True)
    with open(state, "ab") as file:
        file.write(encode(entry) + b"\n")
        file.flush()
        os.fsync(file.fileno())


class OpenAiBatches:
    """Files and batches of OpenAI's API."""

    def __init__(self, model: BatchModel) -> None:
        self._model, self._key = model, bearer(model.key_env)
        self._address = Address(model.server)

    def submit(self, lines: Sequence[Line]) -> str:
        """Upload the lines, begin the batch."""
        content = b"".join(
            encode({"custom_id": line.name, "method": "POST", "url": f"/v1{line.path}", "body": line.body}) + b"\n" for line in lines
        )
        parts = [
            b'--%s\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n' % _BOUNDARY,
            b'--%s\r\nContent-Disposition: form-data; name="file"; filename="questions.jsonl"\r\n' % _BOUNDARY,
            b"Content-Type: application/jsonl\r\n\r\n%s\r\n--%s--\r\n" % (content, _BOUNDARY),
        ]
        file = self._call("POST", "/files", b"".join(parts), b"multipart/form-data; boundary=" + _BOUNDARY)
        begun = {"input_file_id": loads(file)["id"], "endpoint": f"/v1{lines[0].path}", "completion_window": "24h"}
        return str(loads(self._call("POST", "/batches", encode(begun)))["id"])

    def state(self, batch: str) -> Literal["running", "done"]:
        """Whether it has ended, in whatever way."""
        status = loads(self._call("GET", f"/batches/{batch}"))["status"]
        return "done" if status in ("completed", "failed", "expired", "cancelled") else "running"

    def answers(self, batch: str) -> Iterable[tuple[str, Answer | str]]:
        """Lines of its output and error files."""
        entry = loads(self._call("GET", f"/batches/{batch}"))
        for name in ("output_file_id", "error_file_id"):
            if entry.get(name):
                for row in decode_lines(self._call("GET", f"/files/{entry[name]}/content")):
                    yield row["custom_id"], _said(row)

    def _call(self, method: str, path: str, body: bytes = b"", kind: bytes = b"application/json") -> bytes:
        head = b"Content-Type: %s\r\nAccept: application/json\r\nAccept-Encoding: identity\r\n%s" % (kind, self._key)

        async def once() -> Any:
            connection = Connection(self._address)
            try:
                return await connection.request(method, path, head, body, self._model.timeout_s)
            finally:
                connection.close()

        response = asyncio.run(once())
        if response.status in (401, 403, 404):
            raise Unreachable(
                f"{self._model.server}{path} answered {response.status}. Check server, name and key_env; answers so far are kept."
            )
        if response.status != 200:
            raise Trouble("connection", f"{path} answered {response.status}: {response.body[:200].decode(errors='replace')}")
        return bytes(response.body)


def _said(row: dict[str, Any]) -> Answer | str:
    """A line of a result file: the answer, or why there is none."""
    response = row.get("response") or {}
    if response.get("status_code") != 200:
        return f"http_{response['status_code']}" if response.get("status_code") else "error"
    try:
        return read_reply(encode(response["body"]))
    except (ValueError, KeyError):
        return "malformed"
