"""Steps that build prompts, each with a model made of a function."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import curate
from formats.batches import from_batch
from formats.generation.building.evolution import OPERATORS, EvolAnswers, EvolGain, EvolInstruct
from formats.generation.building.magpie import TEMPLATES, Magpie
from formats.generation.building.seeding import Backtranslation, Seeded
from formats.generation.building.self_instruct import SelfInstruct
from formats.generation.building.thoughts import STYLES, ChainOfThought
from formats.generation.prompts import digest, user_prompt
from formats.records import Candidate, Message, Record, text_of
from formats.rouge import rouge_l, words
from tests.formats.generation.asked import register, run, user

NOUNS = "river engine poem budget garden theorem recipe letter festival compiler bridge planet treaty melody vaccine".split()  # noqa: SIM905
VERBS = "Explain Compare Describe Summarise Invent Criticise Plan Estimate".split()  # noqa: SIM905


def prompt_text(record: Record) -> str:
    return text_of(record.messages[-1])


def lister(seen: list[Any]) -> Any:
    """A model that goes on with a list: new tasks, some of them to be rejected."""

    def said(messages: Any, seed: int, **sampling: Any) -> Any:
        text = messages if isinstance(messages, str) else messages[-1]["content"]
        seen.append((text, sampling))
        if seed % 11 == 0:
            return {"text": "9. Cut off in the midd", "finish_reason": "length"}
        verb, noun, other = VERBS[seed % 8], NOUNS[seed % 15], NOUNS[seed // 7 % 15]
        made = [
            f"{verb} how a {noun} resembles a {other} number {seed}", "Draw a picture of the sea", "Too short", "Write a program that sorts all numbers",
            "? begins with punctuation here", "\u00c9crire une lettre au maire du village", " ".join(["word"] * 151), text.splitlines()[-1].partition(". ")[2],
        ]  # fmt: skip
        return "\n".join(f"{n}. {t}" for n, t in enumerate(made, 9))

    return said


@pytest.fixture
def seeds(tmp_path: Path) -> Path:
    path = tmp_path / "seeds.jsonl"
    path.write_text(
        "".join(
            json.dumps({"instruction": f"Tell a story about the {n} and its {m}"}) + "\n" for n, m in zip(NOUNS, VERBS * 2, strict=False)
        )
    )
    return path


def test_self_instruct(tmp_path: Path, seeds: Path) -> None:
    seen: list[Any] = []
    step = SelfInstruct(model=register("lister", lister(seen)), seeds=str(seeds), wave=10)
    slots = [Record() for _ in range(30)]
    made, reasons, _ = run(step, slots, tmp_path / "run", seed=3)
    texts = [prompt_text(r) for r in made]
    assert reasons == [None] * 30
    given = [json.loads(line)["instruction"] for line in seeds.read_text().splitlines()]
    for number, text in enumerate(texts):
        assert 3 < len(text.split()) <= 150 and not re.search(r"\b(?:picture|draw)\b", text, re.IGNORECASE)
        assert text[0].isascii() and text[0].isalpha() and not text.startswith("Write a program")
        for other in [*given, *texts[:number]]:
            assert rouge_l(words(text), words(other)) <= 0.7
    sampling = seen[0][1]
    assert (sampling["temperature"], sampling["top_p"], sampling["presence_penalty"]) == (0.7, 0.5, 2.0)
    shots = [re.findall(r"^\d+\. (.+)$", text, re.MULTILINE) for text, _ in seen]
    assert all(len(s) == 8 for s in shots)
    kinds = [sum(shot in given for shot in s) for s in shots]
    assert kinds[:10] == [8] * 10 and set(kinds[10:]) <= {6}  # six seeds and two of its own, as soon as there are some
    asked = len(seen)
    again, _, _ = run(step, slots, tmp_path / "run", seed=3)
    assert [prompt_text(r) for r in again] == texts and len(seen) == asked  # all from the journal


def test_self_instruct_gives_up_and_says_why(tmp_path: Path, seeds: Path) -> None:
    step = SelfInstruct(
        model=register("mute", lambda messages, seed, **sampling: "9. Draw a map of the world"), seeds=str(seeds), max_requests=0.5
    )
    _, reasons, outcome = run(step, [Record() for _ in range(8)], tmp_path)
    assert reasons == ["self_instruct.not_filled"] * 8
    table = next(iter(step._write(outcome.batch.select(["_row"]), _Context(tmp_path))))  # type: ignore[arg-type]
    assert json.loads(table.schema.metadata[b"curate.figures"])["rejected_blocked_word"] == 4


class _Context:
    seed = 0

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def kept(self, name: str) -> Path:
        return self.folder / name

    def say(self, share: float, text: str) -> None:
        pass

    def model(self, name: str) -> None:
        return None


def test_evolution(tmp_path: Path) -> None:
    seen: Counter[str] = Counter()

    def evolve(messages: Any, seed: int, **sampling: Any) -> Any:
        text = messages[-1]["content"]
        assert (sampling["top_p"], sampling["max_tokens"]) == (0.95, 2048)
        parent = text.split("---")[1].strip()
        seen["breadth" if "rarer one" in text else "depth"] += 1
        if parent == "same":
            return "Same!"
        if parent == "leak":
            return "#Rewritten Prompt#: leak more"
        if parent == "empty":
            return " "
        return {"text": f"{parent}, in verse", "finish_reason": "length" if parent == "long" else "stop"}

    step = EvolInstruct(model=register("evolve", evolve))
    rows = [user(t) for t in ("same", "leak", "empty", "long")] + [user(f"task {n}", meta={"k": n}) for n in range(60)]
    two = Record([Message("user", "a"), Message("assistant", "b"), Message("user", "c")])
    answered = Record([Message("user", "q"), Message("assistant", "old")])
    made, reasons, _ = run(step, [*rows, two, answered], tmp_path)
    assert reasons[:4] == [f"evol_instruct.{r}" for r in ("unchanged", "leaked_words", "empty", "cut_off")]
    assert reasons[4:64] == [None] * 60 and reasons[64] == "evol_instruct.not_one_turn"
    assert prompt_text(made[10]) == "task 6, in verse"
    assert made[10].meta["k"] == 6 and made[10].meta["evolved"]["from"] == "task 6"
    drawn = Counter(r.meta["evolved"]["operator"] for r in made[4:64])
    assert set(drawn) == set(OPERATORS) and max(drawn.values()) < 25
    assert made[65].messages == [Message("user", "q, in verse")]  # the old answer is none to the new prompt
    only, _, _ = run(EvolInstruct(model=register("evolve", evolve), operators=("deepen",)), rows[4:8], tmp_path)
    assert {r.meta["evolved"]["operator"] for r in only} == {"deepen"}


def test_gain(tmp_path: Path) -> None:
    def judge(messages: Any, seed: int, **sampling: Any) -> str:
        second = messages[-1]["content"].rpartition("Second task:\n")[2]
        return {"new": "Not Equal.", "old": "Equal", "odd": "maybe", "both": "Equal? Not equal!"}[second]

    rows = [user(t, meta={"evolved": {"from": "parent", "operator": "deepen"}}) for t in ("new", "old", "odd", "both")] + [user("new")]
    _, reasons, _ = run(EvolGain(model=register("judge", judge)), rows, tmp_path)
    assert reasons == [None, "evol_gain.no_gain", "evol_gain.unclear", "evol_gain.unclear", "evol_gain.no_parent"]


def test_answers_of_evolved_prompts() -> None:
    def pool(*texts: str) -> Record:
        return user("q", candidates=[Candidate([Message("assistant", t)]) for t in texts])

    rows = [
        pool("Sorry, I can't.", "A real answer."), pool("sorry " + "word " * 78), pool("sorry " + "word " * 79), pool("... and so it is!"), pool("4"),
        user("no answer"), Record([Message("user", "q"), Message("assistant", "I am sorry.")]),
    ]  # fmt: skip
    made, reasons, _ = run(EvolAnswers(), rows)
    assert reasons == [None, "evol_answers.apology", None, "evol_answers.empty_talk", None, None, "evol_answers.apology"]
    assert [text_of(c.messages[0]) for c in made[0].candidates] == ["A real answer."]


def test_magpie(tmp_path: Path) -> None:
    seen: list[Any] = []

    def turn(text: Any, seed: int, **sampling: Any) -> Any:
        seen.append((text, sampling, seed))
        return [f"How do I fold number {seed}?", " ", "Here is my input:", {"text": "cut of", "finish_reason": "length"}, "Why?"][seed % 5]

    step = Magpie(model=register("turn", turn), template="llama3", min_words=2)
    made, reasons, _ = run(step, [Record() for _ in range(80)], tmp_path)
    assert len({seed for _, _, seed in seen}) == 80 and {t for t, _, _ in seen} == {TEMPLATES["llama3"].before}
    assert seen[0][1]["stop"] == [*TEMPLATES["llama3"].ends, "\n"] and seen[0][1]["top_p"] == 1.0
    found = Counter(reasons)
    assert {r: found[r] for r in found if r} == {
        f"magpie.{slug}": found[f"magpie.{slug}"] for slug in ("empty", "ends_in_colon", "cut_off", "too_short")
    }
    assert all(prompt_text(r).startswith("How do I fold") and not r.plain for r, why in zip(made, reasons, strict=True) if why is None)


def test_personas_topics_and_documents(tmp_path: Path) -> None:
    def write(messages: Any, seed: int, **sampling: Any) -> Any:
        text = messages[-1]["content"]
        if text.endswith("nobody"):
            return ""
        return f"[{'math' if 'mathematics' in text else 'text' if 'Below is a text' in text else 'request'}] {text.splitlines()[-1]}"

    model = register("write", write)
    rows = [Record(text="a baker", plain=True), user("a nurse"), user("nobody"), Record(text="", plain=True)]
    made, reasons, _ = run(Seeded(model=model, task="math"), rows, tmp_path)
    assert reasons == [None, None, "seeded_prompts.empty", "seeded_prompts.no_prompt"]
    assert (
        prompt_text(made[0]) == "[math] Persona: a baker"
        and made[0].meta["seed"] == {"kind": "persona", "text": "a baker"}
        and not made[0].plain
    )
    document = "The otter sleeps on its back. " * 10
    made, reasons, _ = run(Backtranslation(model=model), [Record(text=document, plain=True), Record(text="short", plain=True)], tmp_path)
    assert reasons == [None, "backtranslate.length"]
    assert [m.role for m in made[0].messages] == ["user", "assistant"] and text_of(made[0].messages[1]) == document


def test_chain_of_thought_comes_and_goes() -> None:
    pool = user("What is 2+2?", candidates=[Candidate([Message("assistant", "4")])])
    rows = [pool, Record([Message("user", "a"), Message("assistant", "b"), Message("user", "c")]), Record(text="raw", plain=True)]
    asked, _, outcome = run(ChainOfThought(style="boxed"), rows)
    assert text_of(asked[0].messages[0]) == f"What is 2+2?\n\n{STYLES['boxed']}" and text_of(asked[1].messages[0]) == "a"
    assert outcome.counts == {"s": {"changed": 2, "left": 1}}
    twice, _, _ = run(ChainOfThought(style="boxed"), asked)
    back, _, _ = run(ChainOfThought(style="boxed", remove=True), twice)
    assert [(r.messages, r.candidates) for r in back] == [(r.messages, r.candidates) for r in rows]


def test_slots_in_a_recipe(tmp_path: Path) -> None:
    """Prompts from nothing, then answers: one recipe, one recording for both."""
    start = TEMPLATES["chatml"].before
    rows = [{"prompt": start, "answers": ["one question?", "", "another question?"]}]
    rows += [{"prompt": f"{n} question?", "answers": ["an answer"]} for n in ("one", "another")]
    (tmp_path / "said.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (tmp_path / "r.yaml").write_text(
        "read: {slots: {count: 3}}\nsteps:\n  - magpie: {model: {recorded: said.jsonl}}\n  - generate: {model: {recorded: said.jsonl}, temperature: 0}\n"
    )
    result = curate.run(tmp_path / "r.yaml", out=tmp_path / "out", workers=1)
    assert result["r"].figures["dropped"] == {"magpie.empty": 1}
    records = [r for b in result["r"].table().to_batches() for r in from_batch(b)]
    assert [(prompt_text(r), text_of(r.candidates[0].messages[0])) for r in records] == [
        ("one question?", "an answer"),
        ("another question?", "an answer"),
    ]
    assert digest(user_prompt("one question?").encoded()) != digest(user_prompt("another question?").encoded())
