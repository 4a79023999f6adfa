"""`decontaminate`: planted items are found, unrelated text is not, files and fields are read as documented."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from pydantic import ValidationError

from curate.apply import outcomes, run_step
from curate.errors import DataError, StepError
from curate.kernels.shingles import word_hashes
from curate.step import Outcome
from curate.steps import benchmark_index
from curate.steps.benchmark_items import read_items, read_questions, translated
from curate.steps.contamination_evidence import places
from curate.steps.decontamination import Decontaminate
from tests.conftest import read_rows
from tests.reference.shingles import words

QUESTION = "A farmer keeps seventeen brown hens; each of them lays four eggs a week. How many eggs are there after three weeks?"
OTHER = "The lighthouse keeper climbed two hundred steps every evening to light the lamp before the fishing boats came home."


@pytest.fixture
def benchmark(tmp_path: Path) -> str:
    rows = [
        {"id": 1, "question": QUESTION, "answer": "17 * 4 * 3 = 204"},
        {"question": "Which river runs through the old town of Heidelberg?"},
    ]
    path = tmp_path / "hens.jsonl"
    path.write_text("\n" + "\n".join(json.dumps(r) for r in rows) + "\n")
    return str(path)


def judge(step: Decontaminate, *texts: str | None) -> Outcome:
    (outcome,) = outcomes(step, [pa.record_batch({"text": pa.array(texts, pa.large_string())})])
    return outcome


def planted() -> dict[str, str]:
    words = QUESTION.split()
    return {
        "verbatim": QUESTION,
        "inside": f"{OTHER}\n{QUESTION}\n{OTHER}",
        "upper case": QUESTION.upper(),
        "punctuation": QUESTION.replace(";", " --").replace(".", "!").replace("?", ""),
        "white space": QUESTION.replace(" ", " \n\t "),
        "code block": f"```\n# {QUESTION}\n```",
        "half of it": " ".join(words[:14]),
    }


@pytest.mark.parametrize("how", planted())
def test_planted_items_are_found(benchmark: str, how: str) -> None:
    verdict = judge(Decontaminate(against=(benchmark,)), OTHER, planted()[how]).verdict
    assert verdict is not None and verdict.value is not None and verdict.partner is not None
    assert verdict.keep.to_pylist() == [True, False]
    assert verdict.reason.to_pylist() == [None, "decontaminate.contaminated"]
    assert verdict.partner.to_pylist() == [None, "hens.jsonl:2"]
    words = len(QUESTION.split())
    assert verdict.value.to_pylist() == [None, 2 / (words - 12) if how == "half of it" else 1.0]


def test_one_word_less_than_an_ngram_is_kept(benchmark: str) -> None:
    words = QUESTION.split()
    verdict = judge(Decontaminate(against=(benchmark,)), " ".join(words[:12]), " ".join(words[:13]), "", None).verdict
    assert verdict is not None
    assert verdict.keep.to_pylist() == [True, False, True, True]


@pytest.mark.parametrize(("bound", "kept"), [(0.19, False), (0.2, False), (0.21, True), (None, False)])
def test_min_coverage(tmp_path: Path, bound: float | None, kept: bool) -> None:
    (tmp_path / "b.txt").write_text("a b c d e f g")  # five 3-grams
    verdict = judge(Decontaminate(against=(str(tmp_path / "b.txt"),), ngram=3, min_coverage=bound), "x a b c y").verdict
    assert verdict is not None
    assert verdict.keep.to_pylist() == [kept]


@pytest.mark.parametrize(("least", "kept"), [(8, False), (9, False), (10, True), (None, True)])
def test_short_items(benchmark: str, least: int | None, kept: bool) -> None:
    """The second question has nine words."""
    text = "Quiz: which river runs through the OLD town of Heidelberg? The Neckar."
    verdict = judge(
        Decontaminate(against=(benchmark,), min_item_words=least), text, text.replace("old", "new").replace("OLD", "NEW")
    ).verdict
    assert verdict is not None and verdict.partner is not None
    assert verdict.keep.to_pylist() == [kept, True]
    assert verdict.partner.to_pylist() == [None if kept else "hens.jsonl:3", None]


def test_annotate_drops_nothing(benchmark: str) -> None:
    step = Decontaminate(against=benchmark, mode="annotate", min_coverage=0.9)
    words = " ".join(QUESTION.split()[:14])
    result = run_step(step, pa.table({"text": pa.array([OTHER, QUESTION, words], pa.large_string())}))
    assert result.column("contamination_item").to_pylist() == [None, "hens.jsonl:2", "hens.jsonl:2"]
    assert result.column("contamination_score").to_pylist() == [0.0, 1.0, 2 / (len(QUESTION.split()) - 12)]
    assert result.column("decontaminate_keep").to_pylist() == [True, False, True]
    assert result.column("decontaminate_reason").to_pylist() == [None, "decontaminate.contaminated", None]
    assert {name: result.schema.field(name).type for name in step.adds()} == dict(step.adds())
    assert step.drops() == ()


def test_chinese_by_character(tmp_path: Path) -> None:
    item = "\u5728\u519c\u4e1a\u751f\u4ea7\u4e2d\u88ab\u5f53\u4f5c\u6781\u5176\u91cd\u8981\u7684\u52b3\u52a8\u5bf9\u8c61"  # 18 characters
    (tmp_path / "zh.txt").write_text(item, encoding="utf-8")
    verdict = judge(Decontaminate(against=str(tmp_path / "zh.txt")), item[:13], item[:12], f"\u3001{item}\u3002").verdict
    assert verdict is not None
    assert verdict.keep.to_pylist() == [False, True, False]


def test_unrelated_text_is_kept(benchmark: str) -> None:
    rng = np.random.default_rng(1)
    words = np.array(sorted(set(QUESTION.split())))
    texts = [" ".join(rng.choice(words, 40)) for _ in range(2_000)]
    verdict = judge(Decontaminate(against=benchmark), *texts).verdict
    assert verdict is not None
    assert verdict.keep.true_count == 2_000


def test_files_of_every_form_hold_the_same_items(tmp_path: Path) -> None:
    rows = [{"question": "one"}, {"question": "two\nlines"}]
    lines = "\n".join(json.dumps(r) for r in rows).encode()
    (tmp_path / "a.jsonl").write_bytes(lines)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines))
    (tmp_path / "a.jsonl.zst").write_bytes(zstandard.compress(lines[:20]) + zstandard.compress(lines[20:]))
    (tmp_path / "a.json").write_text(json.dumps(rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    for name in ("a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.json", "a.parquet"):
        assert list(read_items([str(tmp_path / name)], None)) == [(f"{name}:1", "one"), (f"{name}:2", "two\nlines")]
    (tmp_path / "a.txt").write_text("one\n\ntwo\n")
    assert list(read_items([str(tmp_path / "a.txt")], None)) == [("a.txt:1", "one"), ("a.txt:3", "two")]


@pytest.mark.parametrize(
    ("row", "fields", "text"),
    [
        ({"question": "q", "answer": "a", "passage": "p"}, None, "q"),
        ({"Question": "q", "A": "x"}, None, "q"),
        ({"instruction": "i", "input": "x", "output": "o"}, None, "i\nx"),
        ({"turns": ["t1", "t2"], "id": 3}, None, "t1\nt2"),
        ({"context": "c", "answer": "a"}, None, "c"),
        ({"foo": "f", "bar": ["b", 1], "n": 2}, None, "f\nb"),
        ({"question": "q", "answer": "a"}, ("answer", "question"), "q\na"),
        ({"question": ""}, None, ""),
    ],
)
def test_fields(tmp_path: Path, row: dict[str, object], fields: tuple[str, ...] | None, text: str) -> None:
    (tmp_path / "f.jsonl").write_text(json.dumps(row))
    assert [i.text for i in read_items([str(tmp_path / "f.jsonl")], fields)] == [text]


def test_names_tell_files_apart(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "test.txt").write_text("item")
    step = Decontaminate(against=(str(tmp_path / "*" / "test.txt"),))
    assert [a.uri for a in step.assets()] == [str(tmp_path / "x" / "test.txt"), str(tmp_path / "y" / "test.txt")]
    assert [i.name for i in read_items([a.uri for a in step.assets()], None)] == ["x/test.txt:1", "y/test.txt:1"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.jsonl", None, "does not exist"),
        ("a.csv", b"x", "expected a name that ends in"),
        ("a.jsonl", b'{"question": "x"', "line 1: expected JSON"),
        ("a.jsonl", b"[1]", "expected a JSON object, got list"),
        ("a.json", b"{}", "expected a JSON list"),
        ("a.jsonl.gz", b"no gzip", "can't be read"),
        ("a.jsonl.zst", b"no zstd", "can't be read"),
        ("a.parquet", b"no parquet", "can't be read"),
        ("a.jsonl", b'{"question": "too short"}', "none of at least 8 words"),
        ("a.jsonl", b"", "0 items"),
    ],
)
def test_unusable_files_are_named(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        judge(Decontaminate(against=str(path)), "x")
    assert name in str(caught.value)


def test_missing_field_is_named(benchmark: str) -> None:
    with pytest.raises(DataError, match=r"none of the fields \['prompt'\]. It has: answer, id, question"):
        judge(Decontaminate(against=benchmark, fields="prompt"), "x")


@pytest.mark.parametrize(
    "bad", [{"ngram": 2}, {"ngram": 201}, {"min_coverage": 0}, {"min_coverage": 1.01}, {"min_item_words": 2}, {"against": ()}]
)
def test_settings_have_bounds(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Decontaminate(**{"against": ("x.jsonl",), **bad})
    Decontaminate(against="x.jsonl", ngram=3, min_coverage=1, min_item_words=3)


def test_gsm8k_planted_in_real_documents_and_train_against_test(real_data: Path) -> None:
    path = real_data / "benchmarks" / "gsm8k_test.jsonl.gz"
    questions = [str(r["question"]) for r in read_rows(path)]
    rows = read_rows(real_data / "text" / "wiki_demo.jsonl.gz")
    pages = [str(max((v for v in r.values() if isinstance(v, str)), key=len)) for r, _ in zip(rows, range(200), strict=False)]
    step = Decontaminate(against=str(path))
    documents = [f"{pages[i % len(pages)][:2000]}\n{q}\n{pages[(i + 1) % len(pages)][:2000]}" for i, q in enumerate(questions)]
    verdict = judge(step, *documents).verdict
    assert verdict is not None and verdict.partner is not None and verdict.value is not None
    assert verdict.keep.true_count == 0
    assert verdict.partner.to_pylist() == [f"gsm8k_test.jsonl.gz:{i + 1}" for i in range(len(questions))]
    assert judge(step, *pages).verdict.keep.true_count == len(pages)  # type: ignore[union-attr]
    train = [f"{r['question']}\n{r['answer']}" for r in read_rows(real_data / "benchmarks" / "gsm8k_train.jsonl.gz")]
    against = judge(step, *train).verdict
    assert against is not None and against.partner is not None and against.value is not None
    hits = [(i, p, v) for i, (p, v) in enumerate(zip(against.partner.to_pylist(), against.value.to_pylist(), strict=True)) if p]
    for row, item, share in hits:
        print(f"train row {row + 1} ~ {item}, share {share:.2f}: {train[row][:100]!r}")
    assert len(hits) <= 5


def edit(text: str, *places: int) -> str:
    words = text.split()
    for at in places:
        words[at] = "edited"
    return " ".join(words)


@pytest.mark.parametrize(("near", "kept"), [(0.6, False), (1.0, True), (None, True)])
def test_near_copies(benchmark: str, near: float | None, kept: bool) -> None:
    verdict = judge(Decontaminate(against=benchmark, near=near), edit(QUESTION, 3, 10, 17)).verdict
    assert verdict is not None and verdict.value is not None
    assert verdict.keep.to_pylist() == [kept]
    assert verdict.value.to_pylist() == [None if kept else 19 / 22]


def test_near_words_must_stand_in_one_place(benchmark: str) -> None:
    words = QUESTION.split()
    far = " ".join(words[:9]) + f" {OTHER} {OTHER} " + " ".join(words[9:18])
    verdict = judge(Decontaminate(against=benchmark), far, " ".join(words[:9]) + " well " + " ".join(words[9:18])).verdict
    assert verdict is not None
    assert verdict.keep.to_pylist() == [True, False]


def test_coverage_is_tulus_rule(benchmark: str) -> None:
    step = Decontaminate(against=benchmark, method="coverage")
    assert (step.ngram, step.min_coverage, step.near) == (8, 0.5, None)
    words = QUESTION.split()
    verdict = judge(step, " ".join(words[:10]), " ".join(words[:11])).verdict
    assert verdict is not None
    assert verdict.keep.to_pylist() == [True, False]


@pytest.mark.parametrize(("margin", "left"), [(0, "Vor \u00fc.\n\u4e2d nach"), (2, "Vor \u00fc\nnach"), (1000, "")])
def test_cut_leaves_whole_characters(benchmark: str, margin: int, left: str) -> None:
    step = Decontaminate(against=benchmark, mode="cut", margin=margin, min_kept=None)
    outcome = judge(step, f"Vor \u00fc. {QUESTION[:-1]} \u4e2d nach", OTHER, None)
    assert outcome.batch.column("text").to_pylist() == [left, OTHER, None]
    assert outcome.verdict is not None and outcome.verdict.keep.to_pylist() == [True] * 3


@pytest.mark.parametrize(("least", "kept"), [(len(OTHER) + 1, True), (len(OTHER) + 2, True), (len(OTHER) + 3, False), (None, True)])
def test_cut_drops_documents_with_too_little_left(benchmark: str, least: int | None, kept: bool) -> None:
    outcome = judge(Decontaminate(against=benchmark, mode="cut", margin=0, min_kept=least), f"{OTHER} {QUESTION}")
    assert outcome.batch.column("text").to_pylist() == [OTHER + "\n?"]
    assert outcome.verdict is not None and outcome.verdict.keep.to_pylist() == [kept]


def test_cut_refuses_turns_of_another_form(benchmark: str) -> None:
    batch = pa.record_batch({"text": pa.array([QUESTION], pa.large_string()), "messages": pa.array([[]], pa.list_(pa.string()))})
    with pytest.raises(StepError, match="no list of turns"):
        outcomes(Decontaminate(against=benchmark, mode="cut"), [batch])


def test_short_questions_need_an_answer_or_a_label(tmp_path: Path) -> None:
    path = tmp_path / "truthfulqa.jsonl"
    path.write_text(
        json.dumps({"Question": "Who dug the old canal?", "Best Answer": "Monks dug it", "Correct Answers": "Monks; Nobody knows"})
    )
    step = Decontaminate(against=str(path))
    texts = [
        "Who dug the old canal? It is said that monks did.",
        "Q: Who dug the old canal?",
        "Who dug the old canal? Well, a king.",
        "Monks dug it",
    ]
    verdict = judge(step, *texts).verdict
    assert verdict is not None
    assert verdict.keep.to_pylist() == [False, False, True, True]


def test_questions_of_three_or_four_words_need_labels_on_both_sides(tmp_path: Path) -> None:
    path = tmp_path / "truthfulqa.jsonl"
    path.write_text(json.dumps({"Question": "Can hens swim?", "Best Answer": "No; ...", "Correct Answers": "..."}))
    step = Decontaminate(against=str(path))
    texts = ["Q: Can hens swim?\nA: Like ducks.", "user: Can hens swim? assistant: yes", "Q: Can hens swim? Yes.", "Can hens swim? A: yes"]
    verdict = judge(step, *texts).verdict
    assert verdict is not None
    assert verdict.keep.to_pylist() == [False, False, True, True]


def test_an_answer_without_words_is_none(tmp_path: Path) -> None:
    path = tmp_path / "truthfulqa.jsonl"
    path.write_text(json.dumps({"Question": "Who dug the old canal?", "Best Answer": "???"}))
    with pytest.raises(DataError, match="1 items, none of at least 8 words"):
        judge(Decontaminate(against=str(path)), "Who dug the old canal? Nobody asked him that.")


HENS = '''
def count_hens(all_hens: List[str]) -> int:
    """ Tell how many hens of the yard are brown and how many speckled
    >>> count_hens(["a", "b"])
    2
    """
'''


def test_code_is_found_in_other_languages(tmp_path: Path) -> None:
    path = tmp_path / "humaneval.jsonl"
    path.write_text(json.dumps({"task_id": "HumanEval/0", "prompt": HENS, "canonical_solution": "    return 2"}))
    step = Decontaminate(against=str(path))
    texts = [
        "// Tell how many hens of the yard are brown and how many speckled\nfn hens(x: &[String]) -> usize {",
        "/* Count hens\n >>> countHens([a, b])\n 2 */\nconst countHens = (allHens) => {",
        "Tell how many geese there are.",
    ]
    verdict = judge(step, *texts).verdict
    assert verdict is not None
    assert verdict.keep.to_pylist() == [False, True, True]


def test_variants_of_a_prompt() -> None:
    doc = ' Tell how many hens of the yard are brown and how many speckled\n    >>> %s(["a", "b"])\n    2\n    '
    camel = HENS.replace("count_hens", "countHens").replace("all_hens", "allHens")
    prose = doc.partition(">>>")[0]
    assert translated(HENS) == [camel, doc % "count_hens", doc % "countHens", prose]


@pytest.mark.parametrize(
    ("file", "row", "expected"),
    [
        ("mmlu_test.jsonl", {"question": "q", "choices": ["a", "b"], "answer": 1}, ("q", ("b",))),
        ("cmmlu.jsonl", {"Question": "q", "A": "a", "B": "b", "C": "c", "D": "d", "Answer": "C"}, ("q", ("c",))),
        ("arc_easy.jsonl", {"question": "q", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "A"}, ("q", ("a",))),
        ("self_instruct_x.jsonl", {"instruction": "q", "instances": [{"input": "i", "output": "o"}, {"input": "j"}]}, ("q\ni", ())),
        ("self_instruct_x.jsonl", {"instruction": "q", "instances": []}, ("q", ())),
        ("gsm8k_test.jsonl", {"question": "q", "answer": "long reasoning"}, ("q", ())),
        ("mine.jsonl", {"question": "q", "answer": "a"}, ("q", ())),
    ],
)
def test_named_mappings(tmp_path: Path, file: str, row: dict[str, object], expected: tuple[str, tuple[str, ...]]) -> None:
    (tmp_path / file).write_text(json.dumps(row))
    assert [(item.text, answers) for item, answers in read_questions([str(tmp_path / file)], None)] == [expected]


def test_solutions_are_items_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "humaneval.jsonl"
    path.write_text(json.dumps({"prompt": "def f(x):", "canonical_solution": "    return x + 1\n" * 7}))
    assert [i.name for i in read_items([str(path)], None)] == ["humaneval.jsonl:1", "humaneval.jsonl:1 canonical_solution"]
    with pytest.raises(ValidationError, match="Did you mean 'gsm8k'"):
        Decontaminate(against=str(path), mapping="gsm8")


def test_evidence_quotes_both_sides_and_counts_documents(benchmark: str) -> None:
    batch = pa.record_batch(
        {"id": ["a", "b"], "source": ["web", None], "text": pa.array([f"Before it. {QUESTION} After it.", OTHER], pa.large_string())}
    )
    (outcome,) = outcomes(Decontaminate(against=benchmark), [batch])
    (row,) = outcome.evidence
    assert (row["document"], row["source"], row["item"], row["rule"]) == ("a", "web", "hens.jsonl:2", "ngram")
    assert (row["before"], row["match"], row["after"]) == ("Before it. ", QUESTION[:-1], "? After it.")
    assert (row["item_before"], row["item_match"], row["item_after"]) == ("", QUESTION[:-1], "?")
    assert outcome.counts == {"web": {"hens.jsonl": 1}}
    facts = Decontaminate(against=benchmark).facts()["checked_against"]
    assert facts == {"hens.jsonl": {"items": 2, "usable": 2}}


def test_the_index_is_kept_and_a_broken_one_is_made_again(benchmark: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark_index, "cache_folder", lambda: tmp_path / "cache" / "kernels")
    first = Decontaminate(against=benchmark)._benchmarks()
    (kept,) = (tmp_path / "cache" / "benchmarks").iterdir()
    again = Decontaminate(against=benchmark)._benchmarks()
    assert (again.names, again.texts) == (first.names, first.texts)
    assert all(np.array_equal(a, b) for a, b in zip(again.index, first.index, strict=True))
    kept.write_bytes(b"half")
    assert Decontaminate(against=benchmark)._benchmarks().texts == first.texts
    Decontaminate(against=benchmark, ngram=8)._benchmarks()
    assert len(list(kept.parent.iterdir())) == 2


@pytest.mark.parametrize("text", ["", "a", "\u4e2d\u6587 ab_c 12", "\u0130stanbul \u0130", "x\u0301y -- z", "\U0001f600 a \U00020000b"])
def test_places_are_those_of_the_words(text: str) -> None:
    found = places(text)
    assert len(found.start) == len(word_hashes(pa.array([text], pa.large_string())).hash) == len(words(text))
    assert all(0 <= a < b <= len(text) for a, b in zip(found.start, found.end, strict=True))
