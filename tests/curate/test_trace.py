"""From a training step back to documents: `curate trace`, `curate verify`, and a thousand positions encoded again."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from typer.testing import CliRunner

import curate as toolkit
from curate.cli.app import build_app
from curate.errors import DataError, RecipeError
from curate.loader import open_mix
from curate.tokens.mapped import open_shard
from tests.curate.engine_case import WORDS

RECIPE = """
name: traced
seed: 3
datasets:
  docs: {read: {jsonl: "in.jsonl"}, steps: [dedup_exact]}
  tokens: {from: docs, steps: [{tokenize: {tokenizer: tok}}]}
  direct: {read: {jsonl: "in.jsonl"}, steps: [{sample: {fraction: 0.5}}, {tokenize: {tokenizer: tok}}]}
  first:
    mix:
      seq_len: 64
      stages: [{tokens: 8k, weights: {tokens: 0.7, direct: 0.3}}, {tokens: 8k, weights: {tokens: 1, direct: 1}, anneal: cosine}]
      packing: best_fit
      held_out: 0.1
      batch_windows: 8
  later: {mix: {seq_len: 64, stages: [{tokens: 4k, weights: [tokens]}], packing: best_fit, held_out: 0.1, continues: first, continues_at: 16}}
models:
  tok: {train: tokenizer, data: docs, vocab_size: 320}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("traced")
    make = random.Random(4)
    texts = {f"d{i}": " ".join(make.choices(WORDS, k=make.randint(1, 90))) for i in range(600)}
    texts["d7"] = texts["d3"]
    (folder / "in.jsonl").write_text("".join(json.dumps({"id": i, "text": t, "lang": "en"}) + "\n" for i, t in texts.items()))
    (folder / "r.yaml").write_text(RECIPE)
    toolkit.run(folder / "r.yaml", out=folder / "out", workers=1)
    return folder / "out", texts


def command(*words: object) -> tuple[int, dict[str, object], str]:
    done = CliRunner().invoke(build_app([str(words[0])]), [str(w) for w in words])
    lines = done.stdout.strip().splitlines()
    return done.exit_code, json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}, str(done.exception or done.stdout)


def test_documents_of_a_step(run: tuple[Path, dict[str, str]]) -> None:
    out, texts = run
    mix = open_mix(out / "first")
    _, told, _ = command("trace", out, "--mix", "first", "--step", 2, "--rank", 1, "--world-size", 4, "--json")
    assert [w["window"] for w in told["windows"]] == [18, 19]  # type: ignore[union-attr, index]
    documents = told["documents"]
    assert isinstance(documents, list)
    assert {d["id"] for d in documents} == {p.id for k in (18, 19) for p in mix.trace(k)}
    for d in documents:
        assert (d["text"], d["source"]) == (texts[d["id"]], "docs" if d["dataset"] == "tokens" else "direct")
        assert d["text_from"] == ("docs" if d["dataset"] == "tokens" else "tokens")
        steps = [(v["dataset"], v["step"], v["fate"]) for v in d["verdicts"]]
        of_tokens = [("docs", "dedup_exact", "passed"), ("tokens", "tokenize", "passed")]
        assert steps == (of_tokens if d["dataset"] == "tokens" else [("direct", "sample", "passed"), ("direct", "tokenize", "passed")])
        assert d["columns"]["n_tokens"] >= max(p["first"] + p["stop"] - p["start"] for p in d["passages"])
    whole = command("trace", out, "--mix", "first", "--step", 2)[2]
    assert "first step 2: windows 16 to 23" in whole and "dedup_exact: passed" in whole


def test_a_thousand_positions_encode_to_the_same_ids(run: tuple[Path, dict[str, str]]) -> None:
    out, texts = run
    tokenizer = Tokenizer.from_file(str(out / "tok" / "tokenizer.json"))
    eos = tokenizer.token_to_id("<|endoftext|>")
    encoded = {i: [*tokenizer.encode(t, add_special_tokens=False).ids, eos] for i, t in texts.items()}
    choose = random.Random(5)
    for held_out in (False, True):
        mix = open_mix(out / "first", held_out=held_out)
        for _ in range(500):
            k, at = choose.randrange(len(mix)), choose.randrange(64)
            piece = next((p for p in mix.trace(k) if p.start <= at < p.stop), None)
            token = int(mix.window(k)[at])
            assert token == (encoded[piece.id][piece.first + at - piece.start] if piece else mix.pad_id)
            assert piece is not None or at >= mix.sizes([k])[0]


def test_the_windows_that_hold_a_document(run: tuple[Path, dict[str, str]]) -> None:
    mix = open_mix(run[0] / "first")
    pieces = [(k, p) for k in range(len(mix)) for p in mix.trace(k)]
    for _, piece in pieces[::37]:
        if piece.dataset == "tokens":
            expected = sorted({k for k, p in pieces if (p.dataset, p.row) == (piece.dataset, piece.row)})
            offsets = open_shard(run[0] / "tokens" / piece.file).offsets(0)
            first, stop = int(offsets[piece.row]), int(offsets[piece.row + 1])
            assert mix.holding("tokens", piece.file, first, stop - first).tolist() == expected
    assert not len(mix.holding("other", "part-00000.arrow", 0, 5)) and not len(mix.holding("tokens", "part-9.arrow", 0, 5))


def test_proof_of_a_run(run: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    out, _ = run
    code, told, _ = command("verify", out, "--json")
    assert code == 0 and told["problems"] == []
    assert told["mixes"] == {  # type: ignore[comparison-overlap]
        name: {**json.loads((out / name / "mix.json").read_bytes())["certificate"], "sources": told["mixes"][name]["sources"]}  # type: ignore[index]
        for name in ("first", "later")
    }
    manifest = json.loads((out / "manifest.json").read_bytes())
    assert told["mixes"]["first"]["stages"] == manifest["datasets"]["first"]["info"]["certificate"]["stages"]  # type: ignore[index]
    assert json.loads((out / "later" / "mix.json").read_bytes())["continues"]["window"] == 16
    copy = tmp_path / "copy"
    shutil.copytree(out, copy, symlinks=False)
    shard = copy / "tokens" / "part-00000.arrow"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    mix = json.loads((copy / "first" / "mix.json").read_bytes())
    mix["stages"][0]["segments"][0][1] = mix["stages"][0]["segments"][0][1][::-1]
    (copy / "first" / "mix.json").write_text(json.dumps(mix))
    code, told, error = command("verify", copy, "--json")
    assert code != 0
    problems = told["problems"]
    assert isinstance(problems, list)
    assert [p.partition(" has")[0] for p in problems[:2]] == ["tokens/part-00000.arrow", "first/mix.json"]
    assert "not accounted for" in problems[2]
    assert problems[3:] == [f"first: the order gives other shares than {what} says" for what in ("mix.json", "the manifest")]
    assert "problems. The first: tokens/part-00000.arrow has other content" in error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--step", 0), r"has 2 mixes: first, later. Say which: --mix first"),
        (("--mix", "frist", "--step", 0), r"no mix 'frist', only first, later. Did you mean 'first'"),
        (("--mix", "later", "--step", 0), r"neither the mix \(batch_windows\) nor a model says. Give --batch"),
        (("--mix", "first", "--step", 999), r"step 999 is behind its end"),
        (("--mix", "first", "--step", 0, "--rank", 2, "--world-size", 3), r"must divide the 8 windows"),
        (("--mix", "first"), r"either --step K or --window K"),
    ],
)
def test_wrong_questions(run: tuple[Path, dict[str, str]], words: tuple[object, ...], message: str) -> None:
    done = CliRunner().invoke(build_app(["trace"]), ["trace", str(run[0]), *map(str, words)])
    assert isinstance(done.exception, RecipeError | DataError)
    with pytest.raises(RecipeError, match=message):
        raise done.exception
