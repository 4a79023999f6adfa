"""What `curate init` sees in files, and the recipe it writes for them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import polars as pl
import pytest

from curate.cli.starter import starter
from curate.cli.starting import init
from curate.detect import look
from curate.errors import RecipeError
from curate.recipe import load_recipe

ENGLISH = "The old bridge over the river will be repaired before the winter, said the engineer in the afternoon. "
GERMAN = "Die alte Brücke über den Fluss wird vor dem Winter repariert, sagte der Ingenieur am Nachmittag. "


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(lines) if path.suffix == ".gz" else lines)
    return path


def test_fields_languages_and_size(tmp_path: Path) -> None:
    for part in range(3):
        rows = [{"doc_id": f"{part}-{n}", "title": "x", "content": ENGLISH * 3, "source": "web", "n": n} for n in range(30)]
        write(tmp_path / f"p{part}.jsonl.gz", [*rows, {"doc_id": f"g{part}", "title": "y", "content": GERMAN, "source": "web", "n": 0}])
    (tmp_path / "notes.txt").write_text("left out", encoding="utf-8")
    found = look(str(tmp_path))
    assert (found.reader, found.files, found.rows) == ("jsonl", 3, 93)
    assert (found.text, found.id, found.source) == ("content", "doc_id", "source")
    assert found.fields == {"doc_id": "text", "title": "text", "content": "text", "source": "text", "n": "number"}
    assert found.main_language == "en" and set(found.languages) == {"en", "de"}
    assert found.median_chars == len(ENGLISH * 3)
    assert found.skipped == (".txt",)
    assert found.bytes == sum(p.stat().st_size for p in tmp_path.glob("*.gz"))
    assert look(str(tmp_path / "*.gz"), text="title").text == "title"


def test_other_formats(tmp_path: Path) -> None:
    frame = pl.DataFrame({"Body": [GERMAN] * 5, "k": [1] * 5})
    frame.write_parquet(tmp_path / "a.parquet")
    frame.write_csv(tmp_path / "a.csv")
    frame.write_csv(tmp_path / "a.tsv", separator="\t")
    frame.write_ipc(tmp_path / "a.arrow")
    for suffix, reader in ((".parquet", "parquet"), (".csv", "csv"), (".tsv", "csv"), (".arrow", "arrow")):
        found = look(str(tmp_path / f"a{suffix}"))
        assert (found.reader, found.text, found.main_language) == (reader, "Body", "de"), suffix
    (tmp_path / "a.txt").write_text(GERMAN, encoding="utf-8")
    assert (look(str(tmp_path / "a.txt")).reader, look(str(tmp_path / "a.txt")).main_language) == ("text", "de")
    write(tmp_path / "chat.jsonl", [{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}] * 5)
    assert look(str(tmp_path / "chat.jsonl")).records == "messages"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.png", b"x", "of no known kind (.png)"),
        ("a.jsonl", b'[{"text": "x"}]', "one JSON list"),
        ("a.jsonl", b'{"n": 1}\n', "No field holds text"),
        ("a.jsonl", b"", "No row of the sample"),
        ("a.parquet", b"PAR1", "can't be read as parquet"),
    ],
)
def test_what_can_not_be_used(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Exception, match=said.replace("(", r"\(").replace(")", r"\)")):
        look(str(tmp_path / name))
    with pytest.raises(RecipeError, match="no file"):
        look(str(tmp_path / "nothing.*"))


@pytest.mark.parametrize("languages", [(), ("en",), ("zh",), ("de", "fr")])
def test_every_starter_is_a_valid_recipe(tmp_path: Path, languages: tuple[str, ...]) -> None:
    data = write(tmp_path / "x.jsonl", [{"text": ENGLISH, "id": n} for n in range(5)])
    (tmp_path / "r.yaml").write_text(starter("mine", "r.yaml", "x.jsonl", look(str(data)), languages), encoding="utf-8")
    recipe = load_recipe(str(tmp_path / "r.yaml"))
    assert recipe.resolved["datasets"]["web"]["read"]["id"] == "id"
    assert (languages or ("en",))[0] in str(recipe.resolved["datasets"]["web"]["steps"][1])


def test_init_writes_paths_from_the_recipes_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d").mkdir()
    write(tmp_path / "d" / "x.jsonl", [{"text": GERMAN}] * 5)
    init(Path("recipes/my recipe.yaml"), "d/*.jsonl", None, None, False, True, False, True)
    recipe = load_recipe("recipes/my recipe.yaml")
    assert recipe.name == "my_recipe"
    node = recipe.nodes["web"]
    assert node.reader.splits(recipe.folder)[0].path == "x.jsonl"  # type: ignore[union-attr]
    with pytest.raises(RecipeError, match="exists"):
        init(Path("recipes/my recipe.yaml"), "d/*.jsonl", None, None, False, True, False, True)
