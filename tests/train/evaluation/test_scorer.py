"""A tiny model asked by the scorer: against one token at a time, against lm-eval, and as the command does it."""

from __future__ import annotations

import gzip
import json
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="train needs torch")
transformers = pytest.importorskip("transformers", reason="train needs transformers")

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from curate.cli.app import build_app  # noqa: E402
from tests.formats.generation.conftest import Start, start  # noqa: E402, F401  a fixture
from tests.train.evaluation.test_judging import Judge  # noqa: E402
from train.evaluation.evaluate import evaluate, load  # noqa: E402
from train.evaluation.scorer import Scorer, _windows  # noqa: E402
from train.evaluation.tasks import TaskSettings, load_task  # noqa: E402

TEXT = "The cat sat on the mat. A dog ran to the door; it barked at 3 birds.\nWho knows why? Nobody does, they say. " * 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 2 layers with random weights, large enough to have opinions, and its tokenizer."""
    out = tmp_path_factory.mktemp("model")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<end>"], initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([TEXT], trainer)
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>").save_pretrained(out)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=400, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=512, eos_token_id=0, bos_token_id=None, initializer_range=0.4,
    )  # fmt: skip
    transformers.utils.logging.disable_progress_bar()
    transformers.LlamaForCausalLM(config).save_pretrained(out)
    return out


@pytest.fixture(scope="module")
def scorer(folder: Path) -> Iterator[Scorer]:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    yield Scorer(model, transformers.AutoTokenizer.from_pretrained(folder), max_length=64)


def slow_logprob(scorer: Scorer, ids: list[int], first: int, window: int) -> float:
    """Sum over ids[first:], each with at most `window` tokens before it, one forward pass a token."""
    total = 0.0
    with torch.no_grad():
        for at in range(first, len(ids)):
            logits = scorer.model(input_ids=torch.tensor([ids[max(0, at - window) : at]]), use_cache=False).logits[0, -1]
            total += float(torch.log_softmax(logits.double(), -1)[ids[at]])
    return total


def test_continuations_one_token_at_a_time(scorer: Scorer) -> None:
    pairs = [
        ("The cat sat", "on the mat."),
        ("The cat sat ", "on"),
        ("", "A dog"),
        ("Who knows\n", "why?"),
        ("A dog", "ran"),
        ("A dog", "sat"),
    ]
    found = scorer.continuations(pairs)
    for (context, continuation), one in zip(pairs, found, strict=True):
        joined = context + (" " if context and not context[-1].isspace() else "") + continuation
        prefix = [0] if not context else []
        before = prefix + scorer.encode(context.rstrip())
        ids = prefix + scorer.encode(joined)
        assert one.tokens == len(ids) - len(before)
        assert one.logprob == pytest.approx(slow_logprob(scorer, ids, len(before), 64), abs=1e-4)
    small = Scorer(scorer.model, scorer.tokenizer, batch_tokens=8, max_length=64)
    assert [x.logprob for x in small.continuations(pairs)] == pytest.approx([x.logprob for x in found], abs=1e-4)
    assert not scorer.model.training


def test_what_is_too_long_loses_its_beginning(scorer: Scorer) -> None:
    ids = scorer.encode(TEXT + "end")
    after = scorer.pair(TEXT, "end")[1]
    [found] = scorer.continuations([(TEXT, "end")])
    kept = ids[-65:]
    assert len(ids) > 65 and found.logprob == pytest.approx(slow_logprob(scorer, kept, 65 - len(after), 64), abs=1e-4)


@pytest.mark.parametrize("stride", [1, 20, 64])
def test_documents_one_token_at_a_time(scorer: Scorer, stride: int) -> None:
    texts = [TEXT, "A dog", "", "\u00e9"]
    found = scorer.documents(texts, stride)
    for text, one in zip(texts, found, strict=True):
        ids = [0, *scorer.encode(text)]
        seen = 0.0
        for window, scored in _windows(ids, 64, stride):
            seen -= slow_logprob(scorer, list(window), len(window) - scored, 64)
        assert (one.tokens, one.bytes) == (len(ids) - 1, len(text.encode()))
        assert one.nats == pytest.approx(seen, abs=1e-3)
    if stride == 1:
        ids = [0, *scorer.encode(TEXT)]
        assert found[0].nats == pytest.approx(-slow_logprob(scorer, ids, 1, 64), abs=1e-3)


def test_windows_score_every_token_once_and_never_lack_context() -> None:
    for count in range(2, 40):
        for stride in (1, 3, 8):
            ids = list(range(count))
            scored = [t for window, n in _windows(ids, 8, stride) for t in window[len(window) - n :]]
            assert scored == ids[1:]
            assert all(
                len(window) <= 9 and len(window) - n >= (8 - stride + 1 if window[0] else 1) for window, n in _windows(ids, 8, stride)
            )


def write(path: Path, rows: list[Any]) -> str:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), "utf-8")
    return str(path)


def same_as_lm_eval(scorer: Scorer, files: list[str], limit: int | None) -> int:
    """Assert that each item's picks and likelihoods are lm-eval's; returns the number of items."""
    pytest.importorskip("lm_eval", reason="lm-eval is in the extra eval")
    from train.evaluation.harness import ask_lm_eval

    tasks = [load_task(TaskSettings(file=f, limit=limit), ".") for f in files]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of lm-eval and of what it imports
        theirs = ask_lm_eval(scorer.model, scorer.tokenizer, tasks)
    whole = Scorer(scorer.model, scorer.tokenizer)
    for ours, other in zip(evaluate(whole, tasks), theirs, strict=True):
        assert [r.get("pick") for r in ours.rows] == [r.get("pick") for r in other.rows]
        assert [r["acc"] for r in ours.rows] == [r["acc"] for r in other.rows]
        for a, b in zip(ours.rows, other.rows, strict=True):
            assert a.get("logprobs", a.get("logprob")) == pytest.approx(b.get("logprobs", b.get("logprob")), abs=1e-3)
        for name in ("acc", "acc_norm", "acc_bytes"):
            assert ours.figures.get(name) == pytest.approx(other.figures.get(name, ours.figures.get(name)))
    return sum(len(t.items) for t in tasks)


def test_lm_eval_gives_the_same(scorer: Scorer, tmp_path: Path) -> None:
    choice = [
        {"query": f"Who sat on mat {i}? Answer:{' ' * (i % 2)}", "choices": ["The cat", "A dog", f"{i} birds"], "gold": i % 3}
        for i in range(8)
    ]
    same_prompt = [{"query": f"Why {i}?", "choices": ["yes", "no"], "gold": i % 2} for i in range(8)]
    ending = [{"context": f"The cat sat on the {'m' * i}", "continuation": "mat."} for i in range(1, 8)]
    files = [write(tmp_path / f"{n}.jsonl", rows) for n, rows in (("choice", choice), ("closed", same_prompt), ("ending", ending))]
    assert same_as_lm_eval(scorer, files, None) == 23


def test_lm_eval_gives_the_same_on_public_sets(scorer: Scorer, real_data: Path) -> None:
    files = [
        str(real_data / f"benchmarks/llm_foundry/{name}.jsonl.gz")
        for name in ("arc_easy", "arc_challenge", "piqa", "boolq", "lambada_openai")
    ]
    assert same_as_lm_eval(scorer, files, 40) == 200


def test_the_command(folder: Path, tmp_path: Path) -> None:
    with gzip.open(tmp_path / "texts.jsonl.gz", "wt", encoding="utf-8") as out:
        out.writelines(json.dumps({"text": TEXT[i:], "source": "ab"[i % 2]}) + "\n" for i in range(4))
    write(tmp_path / "choice.jsonl", [{"query": f"Q{i}", "choices": ["yes", "no"], "gold": i % 2} for i in range(5)])
    write(tmp_path / "sums.jsonl", [{"question": f"{i} + 1 =", "answer": str(i + 1)} for i in range(3)])
    write(tmp_path / "code.jsonl", [{"prompt": "def f():\n", "test": "def check(f):\n    assert f() == 1\n", "entry_point": "f"}])
    tasks = tmp_path / "tasks.yaml"
    tasks.write_text(
        "- texts.jsonl.gz\n- choice.jsonl\n- {file: sums.jsonl, metric: math, max_tokens: 4, samples: 2, temperature: 1.0}\n"
        "- {file: code.jsonl, max_tokens: 4}\n",
        "utf-8",
    )
    command = ["eval", str(folder), "--tasks", str(tasks), "--out", str(tmp_path / "out"), "--json"]
    result = CliRunner().invoke(build_app(command), command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout.splitlines()[-1])["models"][str(folder)]
    assert figures["texts"]["main"] == "bits_per_byte" and set(figures["texts"]["domains"]) == {"a", "b"}
    assert figures["texts"]["bytes"] == sum(len(TEXT[i:]) for i in range(4))
    assert (
        figures["choice"]["classification"]["confusion"][0][0] + figures["choice"]["classification"]["confusion"][1][1]
        == 5 * figures["choice"]["acc"]
    )
    assert figures["sums"]["pass@k"].keys() == {"1", "2"} and figures["code"]["code"] in (0.0, 1.0)
    again = {r.task: r for r in load(tmp_path / "out")}
    assert len(again["sums"].rows) == 3 and len(again["sums"].rows[0]["answers"]) == 2
    assert math.fsum(again["texts"].values()) / sum(again["texts"].weights()) == pytest.approx(figures["texts"]["bits_per_byte"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["no/such/model", "--tasks", "x.jsonl"], "no files"),
        (["MODEL", "--tasks", "choice.jsonl", "--harness", "other"], "--harness is 'other'"),
    ],
)
def test_mistakes_are_named(folder: Path, arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from curate.errors import CurateError

    monkeypatch.chdir(tmp_path)
    write(tmp_path / "choice.jsonl", [{"query": "Q", "choices": ["yes", "no"], "gold": 0}])
    command = ["eval", *(str(folder) if a == "MODEL" else a for a in arguments)]
    with pytest.raises(CurateError) as caught:
        CliRunner().invoke(build_app(command), command, catch_exceptions=False)
    assert says.split()[-1] in str(caught.value) or "x.jsonl" in str(caught.value)


def test_a_judge_compares_two_models(folder: Path, tmp_path: Path, start: Start) -> None:  # noqa: F811
    """Both write answers, the server that judges likes the longer one; replies stay, so a second command asks for nothing."""
    other = tmp_path / "other"
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.lm_head.weight.copy_(model.lm_head.weight.roll(1, 0))
    model.save_pretrained(other)
    transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(other)
    url, stub = start(Judge())
    write(tmp_path / "prompts.jsonl", [{"prompt": f"The cat {word}"} for word in ("sat", "ran", "knows", "barked")])
    (tmp_path / "tasks.yaml").write_text(
        f"- {{name: help, file: prompts.jsonl, max_tokens: 6, judge: {{model: {{server: '{url}', name: j}}}}}}", "utf-8"
    )
    command = ["eval", str(folder), str(other), "--tasks", str(tmp_path / "tasks.yaml"), "--json"]
    result = CliRunner().invoke(build_app(command), command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout.splitlines()[-1])["models"]
    assert figures[str(folder)]["help"] == {"main": "win_rate", "win_rate": 0.5, "items": 4, "baseline": True}
    fates = [row["fate"] for row in load(other / "evaluation")[0].rows]
    mine = figures[str(other)]["help"]
    assert mine["wins"] == fates.count("win") and sum(mine[k] for k in ("wins", "losses", "changed_with_order", "same_answers")) == 4
    assert stub.stats["requests"] == 2 * (4 - fates.count("same")) > 0
    asked = stub.stats["requests"]
    CliRunner().invoke(build_app(command), command, catch_exceptions=False)
    assert stub.stats["requests"] == asked
