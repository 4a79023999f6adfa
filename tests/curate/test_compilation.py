"""A recipe's kernels are found without importing them, and no others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from curate import compilation
from curate.kernels import cache
from curate.recipe import load_recipe

RECIPE = """
read: {{jsonl: "in.jsonl"}}
steps:
  - language: {{keep: null}}
  - gopher_repetition: {{words: {words}}}
"""


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "is_compiled", lambda name: False)


def needed(folder: Path, words: str) -> list[str]:
    (folder / "in.jsonl").write_text('{"text": "some words"}\n' * 3)
    recipe = folder / f"{words}.yaml"
    recipe.write_text(RECIPE.format(words=words))
    return compilation.to_compile(load_recipe(str(recipe), (), ()))


def test_what_a_run_loads_was_announced(tmp_path: Path) -> None:
    """The steps on a table, in a fresh process: every kernel module that they import is on the list."""
    code = (
        "import sys, pyarrow as pa, curate\n"
        "table = pa.table({'text': ['some words of text, twice', 'some more']})\n"
        "curate.steps.gopher_repetition(curate.steps.language(table, keep=None))\n"
        "import curate.io.jsonl, curate.kernels.json_lines\n"
        "print(*[m.removeprefix('curate.kernels.') for m in sys.modules if m.startswith('curate.kernels.')])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name for name in done.stdout.split() if compilation._has_kernels(name)}
    listed = set(needed(tmp_path, "unicode"))
    assert "unicode_words" in loaded and loaded <= listed
    assert not {"scan", "c4lines", "minhash", "spacy_words", "fasttext_train"} & listed


def test_settings_bring_their_kernels(tmp_path: Path) -> None:
    assert set(needed(tmp_path, "spacy_en")) - set(needed(tmp_path, "unicode")) >= {"spacy_words", "spacy_rules"}


@pytest.mark.parametrize(("weights", "expected"), [("{tokens: 1}", {"interleave"}), ("{tokens: 1, more: 2}", {"interleave", "foresight"})])
def test_stages_of_other_weights_bring_the_look_ahead(tmp_path: Path, weights: str, expected: set[str]) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "some words"}\n')
    recipe = tmp_path / "mix.yaml"
    recipe.write_text(f"""
models: {{tok: {{train: tokenizer, data: web, vocab_size: 400}}}}
datasets:
  web: {{read: {{jsonl: "in.jsonl"}}}}
  tokens: {{from: web, steps: [{{tokenize: {{tokenizer: tok}}}}]}}
  more: {{from: web, steps: [{{tokenize: {{tokenizer: tok}}}}]}}
  order: {{mix: {{seq_len: 64, stages: [{{tokens: 4k, weights: {{tokens: 1}}}}, {{tokens: 4k, weights: {weights}}}]}}}}
""")
    assert expected == {"interleave", "foresight"} & set(compilation.to_compile(load_recipe(str(recipe), (), ())))


def test_the_table_names_kernels() -> None:
    assert all(compilation._has_kernels(name) for name in compilation.ONLY_WITH)


def test_a_module_is_compiled_where_it_was_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATE_CACHE", str(tmp_path))
    cache.cache_folder.cache_clear()
    cache.module_folder.cache_clear()
    try:
        assert not cache.is_compiled("scan")
        cache.note_compiled("scan")
        assert cache.is_compiled("scan") and not cache.is_compiled("langid")
    finally:
        cache.cache_folder.cache_clear()
        cache.module_folder.cache_clear()


def test_all_modules_are_those_of_the_folder_that_hold_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "is_compiled", lambda name: name == "scan")
    found = compilation.all_modules()
    assert "minhash" in found and "spacy_words" in found
    assert not {"scan", "compiled", "cache", "strings"} & set(found)
    assert all("@kernel(" in cache.source_of(name).read_text("utf-8") for name in found)
