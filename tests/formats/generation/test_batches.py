"""Batch APIs: what was submitted is taken once, also by another process; failed questions alone go again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from curate.errors import DataError, RecipeError
from formats.generation.asking import Limits, ask, ask_missing, folder_of, open_journal
from formats.generation.backend import Sampling
from formats.generation.batches import BatchBackend, Line, OpenAiBatches, load_api
from formats.generation.http_client import Trouble
from formats.generation.journal import Answer
from formats.generation.models import BatchModel
from formats.generation.prompts import Prompt, user_prompt
from formats.json_text import decode_lines, encode, loads

SAMPLING = Sampling(temperature=1.0)
PROMPTS = [*(user_prompt(f"p{n}") for n in range(5)), Prompt(text="once")]


class Provider:
    """A provider in memory. Each batch needs a few looks until it is done."""

    def __init__(self, bad: set[str] | None = None) -> None:
        self.batches: dict[str, list[Line]] = {}
        self.looks: dict[str, int] = {}
        self.bad = bad or set()  # texts that fail the first time
        self.deaf = False

    def submit(self, lines: Sequence[Line]) -> str:
        if self.deaf:
            raise Trouble("connection", "nobody there")
        assert len({line.path for line in lines}) == 1
        name = f"batch-{len(self.batches)}"
        self.batches[name] = list(lines)
        return name

    def state(self, batch: str) -> Literal["running", "done"]:
        self.looks[batch] = self.looks.get(batch, 0) + 1
        if self.looks[batch] > 20:
            raise KeyboardInterrupt
        return "done" if self.looks[batch] > 2 and not self.deaf else "running"

    def answers(self, batch: str) -> Iterable[tuple[str, Answer | str]]:
        for line in self.batches[batch]:
            text = said(line)
            if text in self.bad:
                self.bad.discard(text)
                yield line.name, "http_500"
            else:
                yield line.name, Answer(text.upper(), "stop", 1, 1)


def said(line: Line) -> str:
    return str(line.body["prompt"] if "prompt" in line.body else line.body["messages"][-1]["content"])


def model(**settings: Any) -> BatchModel:
    return BatchModel(server="https://api.example/v1", name="m", poll_s=0.001, **settings)


def test_answers_and_failures(tmp_path: Path) -> None:
    provider = Provider(bad={"p1"})
    found = ask(PROMPTS, BatchBackend(model(size=4), provider), SAMPLING, tmp_path, samples=2)
    assert found == [["P0"] * 2, ["P1"] * 2, ["P2"] * 2, ["P3"] * 2, ["P4"] * 2, ["ONCE"] * 2]
    sent = [line.name for lines in provider.batches.values() for line in lines]
    assert len(sent) == 13 and len(set(sent)) == 12  # one failed and went again
    assert all(len(lines) <= 4 for lines in provider.batches.values())


def test_another_process_takes_what_was_submitted(tmp_path: Path) -> None:
    provider = Provider()
    provider.looks = {"batch-0": -30}
    backend = BatchBackend(model(), provider)
    provider.state = _interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        ask(PROMPTS[:5], backend, SAMPLING, tmp_path)
    again = Provider()
    again.batches = provider.batches
    found = ask([*PROMPTS[:5][::-1], user_prompt("new")], BatchBackend(model(), again), SAMPLING, tmp_path)
    assert found == [[f"P{n}"] for n in (4, 3, 2, 1, 0)] + [["NEW"]]
    assert [[said(line) for line in lines] for lines in again.batches.values()] == [[f"p{n}" for n in range(5)], ["new"]]


def _interrupted(batch: str) -> Any:
    raise KeyboardInterrupt


def test_caps_and_last_tries(tmp_path: Path) -> None:
    backend = BatchBackend(model(retries=0), Provider(bad={"p0"}))
    with pytest.raises(DataError, match="1 http_500"):
        ask(PROMPTS, backend, SAMPLING, tmp_path / "a")
    bodies = [p.encoded() for p in PROMPTS]
    sampling = SAMPLING.model_copy(update={"max_tokens": 100})
    backend = BatchBackend(model(), Provider())
    with open_journal(folder_of(tmp_path / "b", backend, sampling, ""), bodies, 1) as journal:
        ask_missing(
            journal, bodies.__getitem__, backend, sampling, "", Limits(max_tokens=320, finish_at_cap=True), lambda share, text: None
        )
        assert 3 <= journal.answered <= 6  # two fit at first, more when it is known how little they took


def test_a_deaf_provider(tmp_path: Path) -> None:
    provider = Provider()
    provider.deaf = True
    with pytest.raises(Exception, match="Batches go on there"):
        ask(PROMPTS[:1], BatchBackend(model(patience_s=0.01), provider), SAMPLING, tmp_path)


def test_the_wire(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, str, bytes, bytes]] = []
    good = {"choices": [{"finish_reason": "stop", "message": {"content": "yes"}}]}
    lines = [
        {"custom_id": "a-0", "response": {"status_code": 200, "body": good}}, {"custom_id": "b-0", "response": {"status_code": 400, "body": {}}},
        {"custom_id": "c-0", "response": {"status_code": 200, "body": {}}}, {"custom_id": "d-0", "response": None, "error": {"code": "expired"}},
    ]  # fmt: skip

    def call(self: Any, method: str, path: str, body: bytes = b"", kind: bytes = b"application/json") -> bytes:
        calls.append((method, path, body, kind))
        if path.endswith("/content"):
            return b"".join(encode(line) + b"\n" for line in lines)
        return encode({"id": f"{path[1:]}-1", "status": "completed", "output_file_id": "o"})

    monkeypatch.setattr(OpenAiBatches, "_call", call)
    api = load_api(model())
    assert api.submit([Line("a-0", "/chat/completions", {"model": "m"})]) == "batches-1"
    (_, _, upload, kind), (_, _, begun, _) = calls
    assert kind.startswith(b"multipart/form-data; boundary=")
    parts = upload.split(b"--" + kind.rpartition(b"=")[2])
    assert parts[1].endswith(b"\r\n\r\nbatch\r\n") and parts[3] == b"--\r\n"
    (line,) = decode_lines(parts[2].partition(b"\r\n\r\n")[2].strip() + b"\n")
    assert line == {"custom_id": "a-0", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m"}}
    assert loads(begun) == {"input_file_id": "files-1", "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    assert api.state("batches-1") == "done"
    found = dict(api.answers("batches-1"))
    assert found == {"a-0": Answer("yes", "stop"), "b-0": "http_400", "c-0": "malformed", "d-0": "error"}
    with pytest.raises(RecipeError, match="no installed package has the batch API 'other'"):
        load_api(model(batch="other"))
