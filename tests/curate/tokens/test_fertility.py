"""Figures of `curate tokenizer report`, counted by hand, and the command."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa
import pytest
from rich.console import Console
from tokenizers import Tokenizer
from typer.testing import CliRunner

from curate.cli.tokenizers import app
from curate.errors import RecipeError
from curate.tokenizer_report import report_on_files
from curate.tokens.encoder import Encoder
from curate.tokens.fertility import Fertility, measure
from curate.tokens.fertility_view import html_page, plot, record, show
from curate.tokens.vocabulary import load_vocabulary
from tests.curate.tokens.small import TEXTS, byte_bpe, wordpiece

BATCH = pa.record_batch({
    "id": ["a", "b", "c", "d"], "text": pa.array(["the fox", "caf\u00e9 caf\u00e9 \u4e2d\u6587", "", None], pa.large_string()),
    "source": ["web", "books", "web", None], "lang_code": ["en", "fr", "en", "und"],
})  # fmt: skip


@pytest.fixture
def found(tmp_path: Path) -> Fertility:
    files = {"bpe": byte_bpe(tmp_path / "tokenizer.json"), "pieces": wordpiece(tmp_path / "w.json")}
    vocabularies = {name: load_vocabulary(str(path)) for name, path in files.items()}
    encoders = {name: Encoder(v) for name, v in vocabularies.items()}
    return measure([BATCH, BATCH.slice(1, 1)], encoders, {"bpe": None, "pieces": 0})


def test_sums_by_source_and_language(found: Fertility, tmp_path: Path) -> None:
    library = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    fox, cafe = (len(library.encode(t).ids) for t in ("the fox", "caf\u00e9 caf\u00e9 \u4e2d\u6587"))
    assert list(found.sources) == ["all", "books", "web", ""]
    books, web, everything = (found.sources[name] for name in ("books", "web", "all"))
    assert (books.documents, books.bytes, books.characters, books.words, books.tokens["bpe"]) == (2, 36, 24, 8, 2 * cafe)
    assert (web.documents, web.bytes, web.words, web.tokens["bpe"]) == (2, 7, 2, fox)
    assert (everything.documents, everything.tokens["bpe"]) == (5, 2 * cafe + fox)
    assert list(found.languages) == ["all", "fr", "en", "und"]
    assert found.languages["fr"].fertility("bpe") == 2 * cafe / 8
    assert found.languages["fr"].bytes_per_token("bpe") == 36 / (2 * cafe)
    assert books.unknown == {"bpe": 0, "pieces": 4}  # each Chinese character
    assert found.tokenizers["bpe"]["vocab_size"] == 403
    assert found.tokenizers["pieces"]["library"] == "tokenizers"


def test_views(found: Fertility) -> None:
    console = Console(record=True, width=120)
    show(console, found)
    told = console.export_text()
    assert "403 ids" in told
    assert re.search(r"books +0.00 +bpe +\d\.\d\d +\d\.\d\d", told)
    page = html_page(found)
    assert "<script" not in page
    assert page.count("<svg") == 4
    assert plot(found.sources, "fertility").count("<rect") == 6  # no bar where there are no words
    plain = json.loads(json.dumps(record(found)))
    assert plain["sources"]["web"]["fertility"]["bpe"] == round(found.sources["web"].fertility("bpe"), 4)


def test_command(tmp_path: Path) -> None:
    (tmp_path / "web.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in TEXTS))
    path = byte_bpe(tmp_path / "tokenizer.json")
    command = ["report", str(tmp_path / "web.jsonl"), "-t", f"a={path}", "-t", f"b={path}", "--no-languages", "--json"]
    done = CliRunner().invoke(app, [*command, "-o", str(tmp_path / "r.html")])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout.strip().splitlines()[-1])
    assert list(told["sources"]) == ["all", "web"]
    assert told["sources"]["web"]["documents"] == 100
    assert told["sources"]["web"]["tokens"]["a"] == told["sources"]["web"]["tokens"]["b"] > 0
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")
    with pytest.raises(RecipeError, match="Two tokenizers have one name"):
        report_on_files([], [("a", str(path)), ("a", str(path))], text="text", max_bytes=1, languages=False)


def test_convert(tmp_path: Path) -> None:
    from tests.curate.tokens.test_foreign_files import tiktoken_file

    tiktoken_file(tmp_path / "x.tiktoken", tmp_path)
    command = ["convert", str(tmp_path / "x.tiktoken"), "--split", "qwen2", "-o", str(tmp_path / "t.json")]
    assert CliRunner().invoke(app, command).exit_code == 0
    text = pa.array(TEXTS[:5], pa.large_string())
    files = load_vocabulary(str(tmp_path / "t.json")), load_vocabulary(str(tmp_path / "x.tiktoken"), "qwen2")
    one, two = (Encoder(v).encode(text)[0].tolist() for v in files)
    assert one == two
    assert isinstance(CliRunner().invoke(app, command).exception, RecipeError)


def test_train_with_weights(tmp_path: Path) -> None:
    for name in ("en", "de"):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({"text": t, "id": f"{name}{i}"}) + "\n" for i, t in enumerate(TEXTS)))
    files = [str(tmp_path / f"{name}.jsonl") for name in ("en", "de")]
    command = ["train", *files, "--vocab-size", "300", "--weight", "en=3", "--weight", "de=1", "-o", str(tmp_path / "t.json")]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "de: each document 0.5 times" in done.output
    assert "en: each document 1.5 times" in done.output
    bad = CliRunner().invoke(app, [*command, "--force", "--weight", "en"])
    assert isinstance(bad.exception, RecipeError)
