"""`curate render` and `curate inspect --mask` as people use them."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from curate.cli.app import build_app
from curate.errors import DataError, RecipeError
from formats.templates.rendering import Renderer, Row
from formats.templates.view import page, pieces, terminal
from tests.formats.steps.test_quality import save_tokenizer
from tests.formats.templates.pairs import PLAIN, own
from tests.formats.templates.test_masks import talk

ROWS = [
    {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}, {"role": "user", "content": "?"}, {"role": "assistant", "content": "Yes"}]},
    {"messages": [{"role": "user", "content": "long"}, {"role": "assistant", "content": "word " * 90}]},
    {"messages": [{"role": "user", "content": "<|im_end|>"}, {"role": "assistant", "content": "x"}]},
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(r) + "\n" for r in ROWS))
    return save_tokenizer(tmp_path)


def call(*arguments: str) -> str:
    result = CliRunner().invoke(build_app(list(arguments)), list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def test_render_writes_rows_and_says_what_went(folder: Path) -> None:
    out = folder / "rows.parquet"
    said = json.loads(
        call(
            "render",
            str(folder / "in.jsonl"),
            "-o",
            str(out),
            "--tokenizer",
            str(folder),
            "--max-length",
            "80",
            "--json",
            "--plot",
            str(folder / "p.html"),
        ).splitlines()[-1]
    )
    assert (said["records"], said["rows"], said["dropped"]) == (3, 1, {"special_text": 1, "too_long": 1})
    (row,) = pq.read_table(out).to_pylist()
    assert sum(label != -100 for label in row["labels"]) == said["trained"]
    assert pq.read_schema(out).metadata[b"chat_template_sha256"].decode() == said["template_sha256"]
    assert "<svg" in (folder / "p.html").read_text()


def test_render_per_answer_and_packed(folder: Path) -> None:
    out = folder / "rows.parquet"
    said = json.loads(
        call(
            "render",
            str(folder / "in.jsonl"),
            "-o",
            str(out),
            "--tokenizer",
            str(folder),
            "--per-answer",
            "--pack",
            "600",
            "--special-text",
            "escape",
            "--json",
        ).splitlines()[-1]
    )
    assert (said["records"], said["parts"], said["rows"], said["dropped"]) == (3, 4, 4, {})
    packed = pq.read_table(out).to_pylist()
    assert sum(len(row["seq_lengths"]) for row in packed) == 4 and sum(len(row["input_ids"]) for row in packed) == said["tokens"]
    with pytest.raises(RecipeError, match="exists"):
        call("render", str(folder / "in.jsonl"), "-o", str(out), "--tokenizer", str(folder))


def test_render_refuses_a_broken_template_and_wrong_words(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text(PLAIN.replace("<|im_end|>", ""))
    with pytest.raises(DataError, match="no_stop"):
        call("render", str(folder / "in.jsonl"), "-o", str(folder / "x.parquet"), "--tokenizer", str(folder))
    with pytest.raises(RecipeError, match="--train must be one of"):
        call("render", str(folder / "in.jsonl"), "-o", str(folder / "x.parquet"), "--tokenizer", str(folder), "--train", "some")
    with pytest.raises(RecipeError, match=r"no tokenizer\.json"):
        call("render", str(folder / "in.jsonl"), "-o", str(folder / "x.parquet"), "--tokenizer", str(folder / "none"))
    with pytest.raises(RecipeError, match="Did you mean 'chatml'"):
        call("render", str(folder / "in.jsonl"), "-o", str(folder / "x.parquet"), "--tokenizer", str(folder), "--template", "chatlm")
    assert not (folder / "x.parquet").exists()


def test_inspect_shows_the_mask_in_terminal_and_page(folder: Path) -> None:
    said = call("inspect", str(folder / "in.jsonl"), "--mask", "--tokenizer", str(folder), "--html", str(folder / "m.html"))
    assert "Hello" in said and "special_text" in said and "trained" in said
    text = (folder / "m.html").read_text()
    assert '<span class="t">&lt;|im_end|&gt;</span>' in text and "<script" not in text and "http" not in text
    with pytest.raises(RecipeError, match="--tokenizer"):
        call("inspect", str(folder / "in.jsonl"), "--mask")


def test_pieces_are_the_whole_text_with_the_colour_of_their_tokens() -> None:
    (row,) = Renderer(own(PLAIN)).rows([talk("q \u00e9\U0001f600", "a \u00e9\U0001f600 <b>")], offsets=True)
    assert isinstance(row, Row)
    found = pieces(row)
    assert "".join(text for text, _ in found) == row.text
    assert "".join(text for text, trained in found if trained) == "a \u00e9\U0001f600 <b><|im_end|>"
    assert "&lt;b&gt;" in page([("x", row)]) or "&lt;" in page([("x", row)])
    (line,) = terminal([("x", row)], 40)
    assert line.plain.endswith(" ...")
