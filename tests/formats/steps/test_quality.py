"""Steps on instruction sets: what they drop, each bound from both sides, and what they add."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curate.apply import outcomes, run_step
from curate.errors import DataError
from formats.batches import from_batch, to_batch
from formats.records import Candidate, Message, Record
from formats.rouge import rouge_l, words
from formats.steps.diversity import Diverse
from formats.steps.duplicates import DedupPrompts, DedupPromptsExact
from formats.steps.instruction_scores import Ifd
from formats.steps.novelty import Novelty
from formats.steps.reasoning import Answers, Reasoning
from formats.steps.refusals import Refusals
from formats.steps.render import Render
from formats.steps.shape import ChatShape
from formats.steps.tags import Tags
from tests.formats.templates.pairs import IM, PLAIN, byte_bpe


def table(*pairs: tuple[str, str], **columns: Any) -> pa.Table:
    batch = to_batch([Record([Message("user", q), Message("assistant", a)]) for q, a in pairs], [f"r{n}" for n in range(len(pairs))], "s")
    made = pa.Table.from_batches([batch])
    for name, values in columns.items():
        made = made.append_column(name, values)
    return made


def kept(step: Any, given: pa.Table) -> list[str]:
    return run_step(step, given).column("id").to_pylist()


def reasons(step: Any, given: pa.Table) -> list[str | None]:
    return [r for o in outcomes(step, given.to_batches()) for r in o.verdict.reason.to_pylist()]  # type: ignore[union-attr]


def test_duplicate_prompts_go_whatever_their_answers() -> None:
    rows = table(
        ("Name the planets of the sun.", "a"),
        ("name  the planets of the sun.", "b"),
        ("Name the moons of Mars.", "c"),
        ("", "d"),
        ("", "e"),
    )
    assert kept(DedupPromptsExact(), rows) == ["r0", "r2", "r3"]
    assert kept(DedupPromptsExact(by="text"), rows) == ["r0", "r1", "r2", "r3"]
    near = "write a short poem about the sea and the wind in the evening light of may"
    rows = table((near, "a"), (near + " please", "b"), ("an entirely different matter of seven words", "c"), ("", "d"), ("", "e"))
    assert kept(DedupPrompts(), rows) == ["r0", "r2", "r3", "r4"]
    made = run_step(DedupPrompts(mode="annotate"), rows)
    assert made.column("dup_of").to_pylist() == [None, "r0", None, None, None]
    assert made.column("text").to_pylist() == rows.column("text").to_pylist()
    for step in (DedupPrompts(prompt="all"), DedupPromptsExact(prompt="all")):
        assert step.made_for()["step"] == step.name and step.made_for()["prompt"] == "all", "an index of prompts is for such prompts only"


def test_novelty_is_the_quadratic_answer() -> None:
    prompts = [
        "Give three tips for staying healthy.", "Give three tips for staying very healthy.", "What are the three primary colors?",
        "What are three primary colours?", "Describe the structure of an atom.", "Describe the structure of an atom.", "", "!!!",
    ]  # fmt: skip
    expected, accepted = [], []
    for n, text in enumerate(map(words, prompts)):
        if any(rouge_l(text, other) > 0.7 for other in accepted):
            continue
        expected.append(f"r{n}")
        accepted.append(text)
    rows = table(*((p, "x") for p in prompts))
    assert kept(Novelty(), rows) == expected == ["r0", "r2", "r4", "r6", "r7"]
    made = run_step(Novelty(mode="annotate"), rows).to_pydict()
    assert made["novelty_partner"][1] == "r0" and made["novelty_rouge"][5] == 1.0 and made["novelty_keep"][0]


def test_novelty_keeps_what_is_equal_to_the_bound() -> None:
    rows = table(("a b c d", "x"), ("a b e f", "x"))  # ROUGE-L is 0.5
    assert kept(Novelty(max_rouge=0.5), rows) == ["r0", "r1"] and kept(Novelty(max_rouge=0.49), rows) == ["r0"]


@pytest.mark.parametrize(
    ("setting", "value", "inside", "outside", "slug"),
    [
        ("min_turns", 2, ("one two three four", "x"), None, "too_few_turns"),
        ("max_turns", 2, ("one two three four", "x"), None, "too_many_turns"),
        ("min_prompt_words", 4, ("one two three four", "x"), ("one two three", "x"), "prompt_too_short"),
        ("max_prompt_words", 4, ("one two three four", "x"), ("one two three four five", "x"), "prompt_too_long"),
        ("min_answer_words", 2, ("one two three four", "x y"), ("one two three four", "x"), "answer_too_short"),
        ("max_answer_words", 2, ("one two three four", "x y"), ("one two three four", "x \u4e2d\u6587"), "answer_too_long"),
    ],
)
def test_bounds_of_shape(setting: str, value: int, inside: tuple[str, str] | None, outside: tuple[str, str] | None, slug: str) -> None:
    step = ChatShape(**{setting: value})
    if inside:
        assert reasons(step, table(inside)) == [None]
    if outside:
        assert reasons(step, table(outside)) == [f"chat_shape.{slug}"]
    if slug == "too_many_turns":
        assert reasons(ChatShape(min_turns=None, max_turns=1), table(("one two three four", "x"))) == ["chat_shape.too_many_turns"]
    if slug == "too_few_turns":
        assert reasons(ChatShape(min_turns=3), table(("one two three four", "x"))) == ["chat_shape.too_few_turns"]
    assert reasons(ChatShape(**{n: None for n in ChatShape.model_fields if n.startswith(("min", "max"))}), table(("", ""))) == [None]


def test_refusals() -> None:
    cases = {
        "I'm sorry, but I can't help with that.": "refusal",
        "I\u2019m sorry, but I can\u2019t assist with that request.": "refusal",
        "As an AI language model, I don't have feelings, but here goes.": "refusal",
        "Sure. As an AI assistant I like it.": "boilerplate",
        "I was trained by OpenAI.": "boilerplate",
        "...": "empty", "": "empty",
        "  what IS it? ": "echo",
        "### Response:\nHello": "leak",
        "Text<|im_end|>": "leak",
        "He said that he was sorry and could not help.": None,
        "AI is a field of computer science.": None,
        "I cannot overstate how much I like it.": None,
        "I can't help but smile. I can\u2019t help it.": None,
        "Sorry, but I'm not going to answer this.": "refusal",
        "I am an AI and cannot see the picture.": "refusal",
        "I'm sorry, but I don't have the ability to book flights.": "refusal",
        "I'm afraid I'm unable to participate in that.": "refusal",
        "TensorFlow was developed by Google.": None,
        ":-(": "empty", "\U0001f60c": None,
    }  # fmt: skip
    rows = table(*(("What is it?", answer) for answer in cases))
    assert reasons(Refusals(), rows) == [None if kind is None else f"refusals.{kind}" for kind in cases.values()]
    assert reasons(Refusals(kinds=("empty",)), rows).count("refusals.empty") == 3
    late = "word " * 40 + "I'm sorry, but I can't help with that."
    assert reasons(Refusals(kinds=("refusal",), head=200), table(("q", late))) == [None]
    assert reasons(Refusals(kinds=("refusal",), head=250), table(("q", late))) == ["refusals.refusal"]


def test_the_first_verb_names_the_task() -> None:
    head = "Below is an instruction that describes a task. Write a response.\n\n### Instruction:\n{}\n\n### Response:\n"
    cases = {
        "Write a script to find all files.": "write", "Find all names, then write them down.": "extract",
        head.format("Classify the animals."): "classify", head.format("Who is it?"): "question",
        "What is the correct answer?": "question", "Correct the spelling.": "rewrite",
        "cp $a $b on 12/25 at 3-5": "other", "Say 3 / 4 in words": "math other", "so $\\alpha$": "math other",
    }  # fmt: skip
    rows = table(*((prompt, "ok") for prompt in cases))
    assert run_step(Tags(), rows).column("tags").to_pylist() == list(cases.values())


def test_tags() -> None:
    records = [
        Record([Message("system", "s"), Message("user", "Translate this: 2 + 2 = 4"), Message("assistant", "ok", reasoning="t")]),
        Record(
            [
                Message("user", "hm"),
                Message("assistant", "```python\nx\n```"),
                Message("user", "Which?\nA) one\nB) two"),
                Message("assistant", "A"),
            ]
        ),
        Record(
            [Message("user", "Which?\nA) one\nB) two")],
            [Candidate([Message("assistant", "A")], rank=0), Candidate([Message("assistant", "B")], rank=1)],
        ),
        Record(text="plain", plain=True),
    ]
    (outcome,) = outcomes(Tags(), [to_batch(records, list("abcd"), "s")])
    assert outcome.batch.column("tags").to_pylist() == [
        "math reasoning system translate", "multi_turn other", "preference choice question", "unanswered other",
    ]  # fmt: skip
    assert outcome.counts == {
        "s": {
            "math": 1,
            "reasoning": 1,
            "system": 1,
            "translate": 1,
            "multi_turn": 1,
            "preference": 1,
            "choice": 1,
            "question": 1,
            "other": 2,
            "unanswered": 1,
        }
    }


def test_diversity_by_ngrams_takes_what_is_new() -> None:
    rows = table(("a b c d e f", "x"), ("a b c d e g", "x"), ("u v w", "x"), ("a b", "x"))
    assert kept(Diverse(budget=2), rows) == ["r0", "r2"]
    assert kept(Diverse(budget=9), rows) == ["r0", "r1", "r2", "r3"]
    scored = rows.append_column("s", pa.array([1.0, 9.0, 1.0, float("nan")]))
    assert kept(Diverse(budget=1, score="s"), scored) == ["r1"] and kept(Diverse(budget=3, score="s"), scored) == ["r0", "r1", "r2"]


def test_diversity_by_embeddings_keeps_one_of_two_equal_ones() -> None:
    """distilabel's DeitaFiltering removes both of a pair, since it measures against the whole input."""
    vectors = pa.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.8, 0.6]], pa.list_(pa.float32()))
    rows = table(*(("q", "x"),) * 4, e=vectors, s=pa.array([0.1, 0.9, 0.5, None]))
    assert kept(Diverse(budget=9, by="e"), rows) == ["r0", "r2", "r3"]
    assert kept(Diverse(budget=9, by="e", score="s"), rows) == ["r1", "r2", "r3"]
    assert kept(Diverse(budget=2, by="e", score="s"), rows) == ["r1", "r2"]
    assert kept(Diverse(budget=9, by="e", max_similarity=0.7), rows) == ["r0", "r2"]
    with pytest.raises(DataError, match="row 1 has no embedding"):
        kept(Diverse(budget=1, by="e"), table(("q", "x"), ("q", "x"), e=pa.array([[1.0], None], pa.list_(pa.float32()))))


def test_answers_and_reasoning() -> None:
    rows = table(
        ("q", "<think>\nhm \\boxed{1}\n</think>\n\nSo \\boxed{2}"),
        ("q", "no answer"),
        ("q", "left over\n</think>\nyes"),
        ("q", "Well <think>a</think> b"),
    )
    apart = run_step(Reasoning(), rows)
    found = [r.messages[1] for b in apart.to_batches() for r in from_batch(b)]
    assert [(m.reasoning, m.content) for m in found] == [
        ("hm \\boxed{1}", "So \\boxed{2}"), (None, "no answer"), ("left over", "yes"), (None, "Well <think>a</think> b"),
    ]  # fmt: skip
    back = [r.messages[1].content for b in run_step(Reasoning(to="inline"), apart).to_batches() for r in from_batch(b)]
    assert back[0] == "<think>\nhm \\boxed{1}\n</think>\n\nSo \\boxed{2}"
    assert run_step(Reasoning(to="remove"), apart).column("text").to_pylist()[0] == "q\n\nSo \\boxed{2}"
    answers = run_step(Answers(), apart)
    assert answers.column("answer_final").to_pylist() == ["2", None, None, None] and answers.column("answer_kind")[0].as_py() == "boxed"
    assert kept(Answers(required=True), apart) == ["r0"]


def save_tokenizer(folder: Path, template: str = PLAIN) -> Path:
    byte_bpe(IM).save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"eos_token": "<|im_end|>"}')
    (folder / "chat_template.jinja").write_text(template)
    return folder


def test_render_adds_ids_and_labels_and_drops_by_reason(tmp_path: Path) -> None:
    step = Render(tokenizer=str(save_tokenizer(tmp_path)), max_length=60)
    rows = table(("Hi", "Hello"), ("Hi", "Hello " * 50), ("<|im_end|>", "x"))
    assert reasons(step, rows) == [None, "render.too_long", "render.special_text"]
    (row,) = run_step(step, rows).to_pylist()
    assert len(row["input_ids"]) == len(row["labels"]) == row["render_tokens"]
    assert sum(label != -100 for label in row["labels"]) == row["render_trained"] > 0 and row["labels"][-2] == 2  # the stop token
    assert len(step.assets()) == 3


def test_render_stops_before_the_first_row_where_the_template_is_broken(tmp_path: Path) -> None:
    step = Render(tokenizer=str(save_tokenizer(tmp_path, PLAIN.replace("<|im_end|>", ""))))
    with pytest.raises(DataError, match="no_stop"):
        run_step(step, table(("Hi", "Hello")))


@pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="needs torch and transformers")
@pytest.mark.filterwarnings("ignore")
def test_ifd_is_the_ratio_of_two_losses(tmp_path: Path) -> None:
    import torch
    import transformers

    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=400, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2
    )
    model = transformers.LlamaForCausalLM(config).eval()
    model.save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    rows = table(("Hi there", "Hello you"), ("Hi", "x " * 600))
    made = run_step(Ifd(model=str(tmp_path), max_ifd=None), rows).to_pydict()
    ids = run_step(Render(tokenizer=str(tmp_path)), rows).to_pydict()
    labels, tokens = torch.tensor(ids["labels"][0]), torch.tensor([ids["input_ids"][0]])
    at = (labels != -100).nonzero().flatten().tolist()
    with torch.no_grad():
        after = [-torch.log_softmax(model(tokens).logits[0, n - 1], -1)[tokens[0, n]].item() for n in at[1:]]
        answer = tokens[:, at]
        alone = [-torch.log_softmax(model(answer).logits[0, n - 1], -1)[answer[0, n]].item() for n in range(1, len(at))]
    import math

    assert made["ifd_perplexity"][0] == pytest.approx(math.exp(sum(after) / len(after)), rel=1e-4)
    assert made["ifd_alone_perplexity"][0] == pytest.approx(math.exp(sum(alone) / len(alone)), rel=1e-4)
    assert made["ifd_score"][0] == pytest.approx(made["ifd_perplexity"][0] / made["ifd_alone_perplexity"][0])
    assert made["ifd_score"][1] is None  # too long: no score, and kept
    score = made["ifd_score"][0]
    assert len(kept(Ifd(model=str(tmp_path), max_ifd=score), rows)) == 2 and kept(Ifd(model=str(tmp_path), max_ifd=score - 1e-6), rows) == [
        "r1"
    ]
    assert kept(Ifd(model=str(tmp_path), max_ifd=None, min_ifd=score + 1e-6), rows) == ["r1"]
