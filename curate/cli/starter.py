"""The text that `curate init` writes."""

from __future__ import annotations

STARTER = """\
# A recipe: text in, curated dataset out. Check it with `curate validate {file}`, look first with
# `curate run {file} --sample 1000`, then `curate run {file}`.
# All steps: `curate steps`; one of them: `curate steps gopher_quality`.
name: {name}
seed: 17

datasets:
  web:
    # jsonl (.gz and .zst too), parquet, arrow, csv, text or installed_docs. `text` names the field with the text.
    read: {{jsonl: {data}, text: text}}
    max_quarantine: 0.001     # more unreadable rows than this share fail the run
    steps:
      - clean                                   # Unicode, mojibake, control characters, HTML left-overs, white space
      - language: {{keep: [en], min_score: 0.65}}
      - gopher_repetition
      - gopher_quality
      - c4: {{terminal_punctuation: false}}       # FineWeb's choice; true is C4's own
      - fineweb
      - dedup_exact
      - dedup_minhash: {{threshold: 0.8, keep: longest}}
      # Name the benchmarks you will evaluate on, one JSON object per line, and take out the mark of comment:
      # - decontaminate: {{against: ["benchmarks/*.jsonl"], ngram: 13}}
      - pii: {{email: tag, ip: tag, phone: tag, card: tag, iban: tag, key: drop_document}}

# To train on it, take out the marks of comment:
#  web_tokens: {{from: web, steps: [{{tokenize: {{tokenizer: tok}}}}]}}
#  pretrain_mix:
#    mix: {{seq_len: 2048, stages: [{{tokens: 100M, weights: {{web_tokens: 1.0}}}}], max_epochs: {{web_tokens: 4}}}}
#models:
#  tok: {{train: tokenizer, data: web, vocab_size: 32000}}
"""


def starter(name: str, file: str, data: str) -> str:
    """The starter recipe. data: glob of the input files, as the recipe shall say it."""
    import json

    return STARTER.format(name=name, file=file, data=json.dumps(data))
