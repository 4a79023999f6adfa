"""One small run with everything a report tells of: drops with numbers, duplicates, tags, quarantine, tokens, a mix, hostile text."""

from __future__ import annotations

import json
import random
from pathlib import Path

import curate as toolkit

TEXT = """
the of and to in a is that for it was on are with as they be at from this have or by one had not but what all were when we there
can an your which their said if do will each about how up out them then she many some so these would other into has more her two
like him see time could no make than first been its who now people my made over did down only way find use may water long little
very after words called just where most know river bridge winter stone engineer committee afternoon repair village market morning
letter garden
"""
WORDS = TEXT.split()
SCRIPT = "</pre><script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">"

RECIPE = """
name: case
seed: 3
datasets:
  web:
    read: {jsonl: web.jsonl}
    max_quarantine: 0.05
    steps:
      - language: {keep: [en], min_score: 0.3}
      - gopher_quality: {min_words: 30, max_hashes_per_word: 0.1}
      - dedup_exact
      - dedup_minhash
      - decontaminate: {against: [bench.jsonl], ngram: 8}
      - pii: {email: tag}
  web_tokens: {from: web, steps: [{tokenize: {tokenizer: tok}}]}
  order: {mix: {seq_len: 64, stages: [{tokens: 6k, weights: {web_tokens: 1}}]}}
models:
  tok: {train: tokenizer, data: web, vocab_size: 500}
"""


def document(seed: int, words: int = 120) -> str:
    """Made-up English."""
    make = random.Random(seed)
    return ". ".join(" ".join(make.choices(WORDS, k=12)).capitalize() for _ in range(words // 12)) + "."


def write_case(folder: Path) -> Path:
    """The recipe and its inputs."""
    rows = [{"id": f"d{n}", "text": document(n), "url": f"https://example.com/page/{n}"} for n in range(150)]
    rows += [{"id": f"short{n}", "text": document(n, 12)} for n in range(20)]
    rows += [{"id": "copy", "text": rows[7]["text"]}, {"id": "near", "text": rows[8]["text"] + " And then she said so."}]
    rows.append({"id": "script", "text": SCRIPT + " " + document(900, 12)})
    rows.append({"id": "mail", "text": document(901) + " Write to jane.doe@firma-weber.de about the bridge. " + document(902)})
    question = "how many stones did the engineer carry over the old river bridge before winter came to the village"
    rows.append({"id": "leak", "text": document(903, 48) + " " + question + ". " + document(904, 48)})
    rows.append({"id": "hashes", "text": document(905) + " " + "# " * 18})
    lines = [json.dumps(row) for row in rows]
    lines.insert(5, '{"id": "broken", "text": ' + SCRIPT)
    (folder / "web.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "bench.jsonl").write_text(json.dumps({"question": question}) + "\n", encoding="utf-8")
    recipe = folder / "case.yaml"
    recipe.write_text(RECIPE, encoding="utf-8")
    return recipe


def run_case(folder: Path) -> Path:
    """Run it; return the run folder."""
    toolkit.run(write_case(folder), out=folder / "run", workers=1)
    return folder / "run"
