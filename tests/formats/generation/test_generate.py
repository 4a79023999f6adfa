"""The step `generate`, with functions and recordings as models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import curate
from curate.cli.planning import plan_record
from curate.errors import DataError, RecipeError
from curate.recipe import load_recipe
from formats.batches import from_batch
from formats.generation.generate import Generate
from formats.generation.prompts import digest, prompt_of, seed_of
from formats.records import Candidate, Message, Record, text_of, text_view
from tests.formats.generation.asked import register, run, user


def echo(messages: Any, seed: int, **sampling: Any) -> dict[str, Any]:
    said = messages if isinstance(messages, str) else messages[-1]["content"]
    if said == "empty":
        raise ValueError("nothing to say")
    return {"text": f"{said} {seed}", "finish_reason": "length" if seed % 2 else "stop", "tokens_in": 2, "tokens_out": 3}


def test_candidates_have_their_provenance(tmp_path: Path) -> None:
    step = Generate(model=register("echo", echo), samples=3, temperature=0.5, max_tokens=9, round=2)
    given = user("hello", meta={"k": 1})
    (made, *_), reasons, outcome = run(step, [given], tmp_path, seed=7)
    prompt = prompt_of(given)
    assert prompt is not None
    seeds = [seed_of("7:2", digest(prompt.encoded()), s) for s in range(3)]
    assert made.candidates == [
        Candidate(
            [Message("assistant", f"hello {seed}")], model="echo", finish_reason="length" if seed % 2 else "stop",
            extra={"sampling": {"temperature": 0.5, "max_tokens": 9}}, sample=s, seed=seed, round=2, tokens=3,
        )
        for s, seed in enumerate(seeds)
    ]  # fmt: skip
    assert (made.messages, made.meta, reasons) == (given.messages, {"k": 1}, [None])
    assert outcome.batch.column("text")[0].as_py() == text_view(made)
    assert sum((outcome.counts or {})["s"].values()) == 3


def test_what_becomes_of_rows(tmp_path: Path) -> None:
    model = register("echo", echo)
    answered = Record([Message("system", "s"), Message("user", "q"), Message("assistant", "known")])
    pool = user("p", candidates=[Candidate([Message("assistant", "old")], model="m")])
    text = Record(text="once upon", plain=True)
    rows = [answered, pool, text, user("empty"), Record(), Record([Message("assistant", "only")])]
    made, reasons, _ = run(Generate(model=model, max_failed=1.0), rows, tmp_path)
    assert reasons == [None, None, None, "generate.no_answer", "generate.no_prompt", "generate.no_prompt"]
    assert [m.role for m in made[0].messages] == ["system", "user"] and made[0].meta["reference"] == "known"
    assert [c.model for c in made[1].candidates] == ["m", "echo"]
    assert made[2].messages == [Message("user", "once upon")] and not made[2].plain
    made, _, _ = run(Generate(model=model, reference="candidate", plain_prompts="text"), rows[:3], tmp_path)
    assert [c.model for c in made[0].candidates] == ["reference", "echo"] and text_of(made[0].candidates[0].messages[0]) == "known"
    assert made[2].plain and text_of(made[2].candidates[0].messages[0]).startswith("once upon ")


def test_content_does_not_depend_on_order_or_batches(tmp_path: Path) -> None:
    step = Generate(model=register("echo", echo), samples=2)
    rows = [user(f"p{n}") for n in range(20)]
    first, _, _ = run(step, rows, tmp_path / "a", seed=1)
    turned, _, _ = run(step, rows[::-1], tmp_path / "b", seed=1)
    assert [r.candidates for r in first] == [r.candidates for r in turned[::-1]]
    other, _, _ = run(step, rows, tmp_path / "a", seed=2)
    assert [c.seed for r in first for c in r.candidates] != [c.seed for r in other for c in r.candidates]


def test_failures_stop_the_run_and_keep_the_rest(tmp_path: Path) -> None:
    calls: list[str] = []

    def counted(messages: Any, seed: int, **sampling: Any) -> Any:
        calls.append(messages[-1]["content"])
        return echo(messages, seed)

    model = {**register("counted", counted), "concurrency": 1}
    rows = [user("a"), user("empty"), user("b")]
    with pytest.raises(DataError, match=r"failed \(1 plugin: ValueError: nothing to say\)"):
        run(Generate(model=model), rows, tmp_path)
    _, reasons, _ = run(Generate(model=model, max_failed=0.5), rows, tmp_path)
    assert reasons == [None, "generate.no_answer", None]
    assert sorted(calls) == ["a", "b", "empty", "empty"]
    _, reasons, _ = run(Generate(model=model, ask=False), [*rows, user("new")], tmp_path)
    assert reasons == [None, "generate.no_answer", None, "generate.no_answer"]
    assert len(calls) == 4


def test_langchain_like_objects(tmp_path: Path) -> None:
    class Said:
        def __init__(self) -> None:
            self.content = "from a chain"
            self.usage_metadata = {"input_tokens": 1, "output_tokens": 2}
            self.response_metadata = {"finish_reason": "stop"}

    class Runnable:
        def invoke(self, messages: Any) -> Said:
            assert messages == [{"role": "user", "content": "q"}]
            return Said()

    (made, *_), _, _ = run(Generate(model=register("chain", Runnable())), [user("q")], tmp_path)
    assert (text_of(made.candidates[0].messages[0]), made.candidates[0].tokens) == ("from a chain", 2)


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="max_cost needs price"):
        Generate(model="m", max_cost=1)
    with pytest.raises(RecipeError, match="no plugin defines 'nobody'"):
        Generate(model={"plugin": "nobody"}).assets()
    with pytest.raises(RecipeError, match="neither a model of the recipe nor a folder"):
        run(Generate(model="nowhere"), [user("q")])


def test_mistakes_in_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"prompt": "q"}\n')
    form = "read: {jsonl: p.jsonl, format: prompt}\nsteps:\n  - generate: {model: MODEL}\n"
    for model, message in (
        ("nobody", "reads 'nobody', which is no node of this recipe"),
        ("{server: 'http://u:p@h/v1', name: m}", "model.server must not hold a user name"),
        ("{server: 'http://h/v1', nmae: m}", "model has no setting 'nmae'. Did you mean 'name'?"),
        ("{recorded: none.jsonl}", "there is no file or folder 'none.jsonl'"),
        ("5", "model must be text or {server: URL, name: ...}"),
    ):
        (tmp_path / "r.yaml").write_text(form.replace("MODEL", model))
        with pytest.raises(RecipeError) as error:
            load_recipe(str(tmp_path / "r.yaml"))
        assert message in str(error.value)
        assert all(p.line == 3 for p in error.value.problems)


def test_the_plan_says_what_it_costs(tmp_path: Path) -> None:
    rows = [{"prompt": "x" * 300} for _ in range(40)]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (tmp_path / "r.yaml").write_text(
        "datasets:\n  prompts: {read: {jsonl: p.jsonl, format: prompt}}\n  pool:\n    from: prompts\n    steps:\n"
        "      - generate: {model: {server: 'http://h/v1', name: m}, samples: 8, max_tokens: 500, price: {input: 1, output: 10}, max_cost: 1}\n"
    )
    lines = plan_record(load_recipe(str(tmp_path / "r.yaml")), tmp_path / "out", ())["steps"]["pool"]
    assert lines == [
        "generate: 40 prompts x 8 = 320 answers",
        "  about 32k tokens of prompts, at most 160k of answers, cost 1.63",
        "  stops at cost 1.00",
    ]
    kept = tmp_path / "out" / ".kept" / "generate" / "x"
    kept.mkdir(parents=True)
    (kept / "runs.jsonl").write_text(json.dumps({"answered": 10, "tokens_in": 1000, "tokens_out": 2000}) + "\n")
    lines = plan_record(load_recipe(str(tmp_path / "r.yaml")), tmp_path / "out", ())["steps"]["pool"]
    assert lines[2].startswith("  by the 10 answers of earlier runs here: 32k and 64k tokens, cost 0.67")


PLUGIN = """
from formats.generation.plugin import answers


@answers("shout")
def shout(messages, seed, **sampling):
    return messages[-1]["content"].upper()
"""


def test_a_recipe(tmp_path: Path) -> None:
    """A recording, a pool that is selected from, an edit of a later step, a plugin: the whole way through the engine."""
    prompts = [{"prompt": f"prompt {n}"} for n in range(30)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(p) + "\n" for p in prompts))
    recorded = [{**p, "answers": ["good", {"text": "cut", "finish_reason": "length"}]} for p in prompts[:29]]
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(r) + "\n" for r in recorded))
    (tmp_path / "mine.py").write_text(PLUGIN)
    recipe = tmp_path / "r.yaml"
    form = (
        "datasets:\n  prompts: {read: {jsonl: prompts.jsonl, format: prompt}}\n  pool:\n    from: prompts\n    steps:\n"
        "      - generate: {model: MODEL, samples: 2, max_failed: 0.1}\n"
    )
    recipe.write_text(form.replace("MODEL", "{recorded: answers.jsonl}"))
    first = curate.run(recipe, out=tmp_path / "out", workers=1)
    figures = first["pool"].figures
    assert (figures["rows_in"], figures["rows_out"], figures["dropped"]) == (30, 29, {"generate.no_answer": 1})
    found = first.manifest["datasets"]["pool"]["findings"]["generate"]
    assert (found["answers"], found["questions"], found["finish"]) == (58, 60, {"length": 29, "stop": 29})
    assert "2 of 60 answers are missing" in found["warnings"][0]
    assert "recorded: answers.jsonl" in (tmp_path / "out" / "recipe.lock.yaml").read_text()
    records = [r for b in first["pool"].table().to_batches() for r in from_batch(b)]
    assert {tuple(c.finish_reason for c in r.candidates) for r in records} == {("stop", "length")}
    recipe.write_text(recipe.read_text() + "      - chat_shape: {min_turns: 1, min_prompt_words: 1}\n")
    again = curate.run(recipe, out=tmp_path / "out", workers=1)
    assert again.tasks == {"run": 1, "reused": 3}  # prompts are not asked again
    recipe.write_text(form.replace("MODEL", "{plugin: shout}"))
    shouted = curate.run(recipe, out=tmp_path / "out", workers=1, plugins=[tmp_path / "mine.py"])
    one = from_batch(shouted["pool"].table().to_batches()[0])[0]
    assert [text_of(c.messages[0]) for c in one.candidates] == [text_of(one.messages[0]).upper()] * 2
