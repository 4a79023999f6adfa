"""The server backend against a stub that fails on purpose."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from curate.errors import DataError, RecipeError, RunError
from formats.generation.asking import Limits, ask, ask_missing, folder_of, open_journal
from formats.generation.backend import Sampling
from formats.generation.http_client import Address
from formats.generation.models import ServerModel
from formats.generation.prompts import Prompt, digest, seed_of, user_prompt
from formats.generation.server import ServerBackend, read_reply
from formats.generation.spending import Price
from tests.formats.generation.conftest import Start
from tests.formats.generation.stub_server import FAILURES, Stub, words

SAMPLING = Sampling(temperature=0.7, max_tokens=16, stop=("END",))


def backend(url: str, **settings: object) -> ServerBackend:
    return ServerBackend(ServerModel(server=url, name="stub", **{"timeout_s": 0.3, "first_wait_s": 0.005, **settings}))  # type: ignore[arg-type]


def prompts(count: int) -> list[Prompt]:
    return [user_prompt(f"prompt {i}") for i in range(count)]


def expected(prompt: Prompt, base: str, sample: int) -> str:
    assert prompt.messages is not None
    return words(prompt.messages[-1]["content"], seed_of(base, digest(prompt.encoded()), sample))


def test_every_failure_is_survived(start: Start, tmp_path: Path) -> None:
    url, stub = start(latency=0.002, failing=0.4, hang=1.2)
    asked = prompts(60)
    found = ask(asked, backend(url, timeout_s=1), SAMPLING, tmp_path, base="7", samples=4)
    assert found == [[expected(p, "7", s) for s in range(4)] for p in asked]
    assert all(stub.stats[f"chosen_{kind}"] > 0 for kind in FAILURES)
    assert stub.stats["chosen_good"] + stub.stats["chosen_slow"] == 240  # nothing was asked for again that had been answered
    assert stub.stats["largest_flying"] <= 64
    log = json.loads(next(tmp_path.glob("*/runs.jsonl")).read_text())
    assert log["ended"] == "done" and log["answers"] == 240 and log["requests"] == stub.stats["requests"]
    assert log["tokens_in"] == 2400 and log["tokens_out"] == 1200


def test_what_is_sent(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUB_KEY", "sk-secret")
    url, stub = start(latency=0.0)
    stub.keep = True
    chat = Prompt(messages=[{"role": "user", "content": "hi"}], tools=[{"type": "function", "function": {"name": "f"}}])
    model = backend(url, key_env="STUB_KEY", extra={"chat_template_kwargs": {"thinking": False}})
    ask([chat, Prompt(text="once upon")], model, SAMPLING, tmp_path, base="1")
    bodies = sorted(stub.bodies, key=lambda b: "prompt" in b)
    common = {"model": "stub", "temperature": 0.7, "max_tokens": 16, "stop": ["END"], "chat_template_kwargs": {"thinking": False}}
    seed = seed_of("1", digest(chat.encoded()), 0)
    assert bodies[0] == {**common, "messages": chat.messages, "tools": chat.tools, "seed": seed}
    assert {k: v for k, v in bodies[1].items() if k != "seed"} == {**common, "prompt": "once upon"}
    assert {h["authorization"] for h in stub.headers} == {"Bearer sk-secret"}
    assert not any(b"sk-secret" in f.read_bytes() for f in tmp_path.rglob("*") if f.is_file())
    monkeypatch.delenv("STUB_KEY")
    with pytest.raises(RecipeError, match="environment variable STUB_KEY"):
        backend(url, key_env="STUB_KEY")


def test_a_rerun_asks_for_what_is_missing(start: Start, tmp_path: Path) -> None:
    url, stub = start(latency=0.0)
    first = ask(prompts(10), backend(url), SAMPLING, tmp_path, samples=2)
    assert stub.stats["requests"] == 20
    more = ask(prompts(13)[::-1], backend(url), SAMPLING, tmp_path, samples=3)
    assert stub.stats["requests"] == 39  # 13 prompts x 3 samples, 20 of them known
    assert [a[:2] for a in more[::-1][:10]] == first
    ask(prompts(10), backend(url), SAMPLING.model_copy(update={"temperature": 0.8}), tmp_path)
    assert stub.stats["requests"] == 49  # other parameters are other answers


def test_equal_prompts_get_different_samples(start: Start, tmp_path: Path) -> None:
    url, stub = start(latency=0.0)
    found = ask([*prompts(2), *prompts(1)], backend(url), SAMPLING, tmp_path, samples=3)
    assert found[0] + found[2] == [expected(prompts(1)[0], "", s) for s in range(6)]
    assert max(stub.sent.values()) == 1


def test_caps_are_not_crossed(start: Start, tmp_path: Path) -> None:
    url, _ = start(latency=0.002)
    asked = prompts(50)
    bodies = [p.encoded() for p in asked]
    model = backend(url)
    for limits, most in (
        (Limits(max_tokens=300), 20),
        (Limits(max_cost=0.0006, price=Price(input=1, output=1)), 40),
        (Limits(max_tokens=620, finish_at_cap=True), 41),
    ):
        with open_journal(folder_of(tmp_path, model, SAMPLING, ""), bodies, 2) as journal:
            if limits.finish_at_cap:
                ask_missing(journal, bodies.__getitem__, model, SAMPLING, "", limits, lambda share, text: None)
            else:
                with pytest.raises(DataError, match="stopped at its cap"):
                    ask_missing(journal, bodies.__getitem__, model, SAMPLING, "", limits, lambda share, text: None)
            # An answer takes 15 tokens here and may take about 27: the last one that fits is sent.
            assert most - 3 <= journal.answered <= most
            assert journal.tokens_in + journal.tokens_out == 15 * journal.answered


def test_rates(start: Start, tmp_path: Path) -> None:
    url, stub = start(latency=0.0)
    began = time.monotonic()
    ask(prompts(30), backend(url, requests_per_minute=1200), SAMPLING, tmp_path)
    assert time.monotonic() - began >= 30 / 1200 * 60 - 1.2  # 20 a second, with a burst of one second
    assert stub.stats["largest_flying"] <= 30


class Refusing(Stub):
    status = 401

    def choose(self, body: dict[str, object]) -> tuple[str, str]:
        self.stats["requests"] += 1
        return "refused", ""

    def body(self, text: str, asked: dict[str, object]) -> dict[str, object]:
        return {}


def refuse(status: int, words_: str) -> Stub:
    stub = Refusing(latency=0.0)
    from tests.formats.generation import stub_server

    class Connection(stub_server._Connection):
        def _answer(self, failure: str, text: str, body: dict[str, object]) -> None:
            self._finish("failed")
            self._send(status, {"error": {"message": words_}})

    async def begin(port: int = 0) -> object:
        import asyncio

        return await asyncio.get_running_loop().create_server(lambda: Connection(stub), "127.0.0.1", port)

    stub.start = begin  # type: ignore[method-assign, assignment]
    return stub


def test_a_wrong_key_stops_at_once(start: Start, tmp_path: Path) -> None:
    url, stub = start(refuse(401, "no such key"))
    with pytest.raises(RunError, match=r"answered 401 for the model 'stub': 'no such key'.*key_env"):
        ask(prompts(200), backend(url, concurrency=4), SAMPLING, tmp_path)
    assert stub.stats["requests"] <= 8


def test_refused_prompts_fail_and_are_bounded(start: Start, tmp_path: Path) -> None:
    url, stub = start(refuse(400, "too long"))
    with pytest.raises(DataError, match=r"more than 10.00% of 20 questions failed \(.*http_400"):
        ask(prompts(20), backend(url, concurrency=1), SAMPLING, tmp_path, limits=Limits(max_failed=0.1))
    assert stub.stats["requests"] == 3  # two may fail
    with pytest.raises(DataError, match="failed"):  # nothing new is asked after that, by nobody
        ask(prompts(400), backend(url, concurrency=8), SAMPLING, tmp_path)
    assert stub.stats["requests"] <= 3 + 8
    assert ask(prompts(2), backend(url), SAMPLING, tmp_path, limits=Limits(max_failed=1.0)) == [[None], [None]]


def test_patience_ends(start: Start, tmp_path: Path) -> None:
    url, _ = start(refuse(503, "loading"))
    with pytest.raises(RunError, match=r"has given no answer for .* lately http_503: 'loading'"):
        ask(prompts(3), backend(url, patience_s=0.2), SAMPLING, tmp_path)
    with pytest.raises(RunError, match="has given no answer"):
        ask(prompts(3), backend("http://127.0.0.1:9/v1", patience_s=0.1), SAMPLING, tmp_path)


def test_retries_end_in_failure(start: Start, tmp_path: Path) -> None:
    url, stub = start(latency=0.0, failing=1.0, kinds=("500", "malformed"))
    with pytest.raises(DataError, match="failed"):
        ask(prompts(1), backend(url, retries=3), SAMPLING, tmp_path)
    assert stub.stats["requests"] == 4


@pytest.mark.parametrize(
    ("body", "text", "finish"),
    [
        ('{"choices": [{"finish_reason": "stop", "message": {"content": "a"}}]}', "a", "stop"),
        ('{"choices": [{"finish_reason": "length", "text": ""}], "usage": {"prompt_tokens": 3, "completion_tokens": null}}', "", "length"),
        ('{"choices": [{"finish_reason": "content_filter", "message": {"content": null}}]}', None, "content_filter"),
    ],
)
def test_replies(body: str, text: str | None, finish: str) -> None:
    answer = read_reply(body.encode())
    assert (answer.text, answer.finish) == (text, finish)


def test_reasoning_and_calls_are_kept() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"content": None, "reasoning_content": "hm", "tool_calls": [call]}
    answer = read_reply(json.dumps({"choices": [{"finish_reason": "tool_calls", "message": message}], "model": "m-1"}).encode())
    assert (answer.reasoning, answer.calls, answer.model) == ("hm", [call], "m-1")


@pytest.mark.parametrize(
    "body", ["", "{}", '{"choices": []}', '{"choices": [{"message": {"content": "a"}}]}', '{"choices": [{"finish_reason": null}]}']
)
def test_what_is_no_reply(body: str) -> None:
    with pytest.raises(ValueError):
        read_reply(body.encode())


def test_settings_hold_no_secrets() -> None:
    for wrong in ({"server": "https://user:pw@host/v1"}, {"server": "https://host/v1?key=1"}, {"server": "ftp://host/v1"}):
        with pytest.raises(ValueError, match="must"):
            ServerModel(name="m", **wrong)
    with pytest.raises(ValueError, match="key_env"):
        ServerModel(server="https://host/v1", name="m", extra={"Authorization": "Bearer x"})


def test_proxy_is_for_tls_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "inside.example")
    assert Address("https://api.example/v1").proxy == ("proxy.example", 3128)
    assert Address("https://inside.example/v1").proxy is None
    assert Address("http://localhost:8000/v1").proxy is None
