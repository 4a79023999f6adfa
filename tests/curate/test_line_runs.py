"""Lines, runs and the Bloom filter through the engine: same files for any number of workers."""

from __future__ import annotations

from pathlib import Path

from tests.curate.engine_case import figures, run_json, tree_digest, write_inputs, write_recipe

RECIPE = """
name: case
read: {jsonl: "in*.jsonl"}
steps:
  - dedup_exact: {bloom: {expected: 20000, false_positive: 0.001}}
  - dedup_substrings: {min_length: 3}
  - dedup_lines: {min_words: 2}
"""


def test_same_files_for_any_workers(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    recipe = write_recipe(tmp_path, RECIPE)
    run_json(recipe, tmp_path / "one", "--workers", "1")
    run_json(recipe, tmp_path / "two", "--workers", "2")
    assert tree_digest(tmp_path / "one" / "case") == tree_digest(tmp_path / "two" / "case")
    assert figures(tmp_path / "one") == figures(tmp_path / "two")
    found = figures(tmp_path / "one")["datasets"]["case"]["findings"]
    assert found["dedup_substrings"]["words_removed"] > 0 and found["dedup_exact"]["values_in_the_filter"] > 10_000
