"""The text that `curate init` writes: a commented recipe for the data that was looked at."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from curate.detect import Finding

HEAD = """\
# A recipe: text in, curated dataset out. Check it with `curate validate {file}`, look first with
# `curate run {file} --sample 1000`, then `curate run {file}`.
# All steps: `curate steps`; one of them: `curate steps gopher_quality`.
{seen}name: {name}
seed: 17

datasets:
  web:
{read}    max_quarantine: 0.001     # more unreadable rows than this share fail the run
    steps:
{steps}
"""

READ = """\
    # jsonl (.gz and .zst too), parquet, arrow, csv, text, markdown, warc, wet, arc, hf, code or installed_docs. `text` names the field with the text.
"""

ENGLISH = """\
      - clean                                   # Unicode, mojibake, control characters, HTML left-overs, white space
      - language: {keep: [en], min_score: 0.65}
      - gopher_repetition
      - gopher_quality
      - c4: {terminal_punctuation: false}       # FineWeb's choice; true is C4's own
      - fineweb
"""

CHINESE = """\
      - clean                                   # Unicode, mojibake, control characters, HTML left-overs, white space
      - language: {keep: [zh], min_score: 0.69} # FineWeb-2's threshold for cmn_Hani
      - gopher_repetition
      # Every Han character is a word: bounds on the mean length of words and English stop words are off.
      - gopher_quality: {min_mean_word_length: null, max_mean_word_length: null, min_stop_words: null}
      - fineweb: {max_duplicate_line_chars: 0.1, max_short_lines: null, min_terminal_punctuation: 0.05}
"""

OTHERS = """\
      - clean                                   # Unicode, mojibake, control characters, HTML left-overs, white space
      - language: {{keep: {codes}, min_score: fineweb2}}  # thresholds of FineWeb-2, by language
      - by_language: fineweb2                   # Gopher's and FineWeb's filters, each document with its language's settings
"""

TAIL = """\
      - dedup_exact
      - dedup_minhash: {{ngram: {ngram}, threshold: 0.8, keep: longest}}
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

RECORDS = """\
      - chat_shape                              # turns, roles and lengths that training can use
      - dedup_prompts_exact
      # - decontaminate: {against: ["benchmarks/*.jsonl"], ngram: 13}
"""


def starter(
    name: str, file: str, data: str, found: Finding | None = None, languages: Sequence[str] = (), text: str = "text", reader: str = "jsonl"
) -> str:
    """The recipe. data: the input, as the recipe shall say it; found: what was seen there, None where nothing was looked at."""
    codes = list(languages) or ([found.main_language] if found is not None and found.main_language else ["en"])
    if found is not None and found.records is not None:
        read = f"    read: {{{found.reader}: {json.dumps(data)}, format: {found.records}}}\n"
        return HEAD.format(file=file, name=name, seen=_seen(found), read=read, steps=RECORDS.rstrip("\n"))
    steps = ENGLISH if codes == ["en"] else CHINESE if codes == ["zh"] else OTHERS.format(codes=json.dumps(codes))
    ngram = 10 if codes == ["zh"] else 5
    return HEAD.format(
        file=file,
        name=name,
        seen=_seen(found),
        read=READ + _read(data, found, text, reader),
        steps=steps + TAIL.format(ngram=ngram).rstrip("\n"),
    )


def _read(data: str, found: Finding | None, text: str, reader: str) -> str:
    options = {"text": text} if found is None else {k: v for k in ("text", "id", "source") if (v := getattr(found, k)) is not None}
    if found is not None and found.reader in ("text", "warc", "wet", "arc"):
        options = {}
    said = {(found.reader if found is not None else reader): data, **options}
    return f"    read: {{{', '.join(f'{k}: {json.dumps(v, ensure_ascii=False)}' for k, v in said.items())}}}\n"


def _seen(found: Finding | None) -> str:
    """What was looked at, as comments."""
    if found is None:
        return ""
    from curate.report.words import size

    lines = [f"{found.files:,} {found.reader} file(s), {size(found.bytes)}; {found.rows:,} rows of a sample were looked at."]
    if found.fields:
        lines.append("Fields: " + ", ".join(f"{n} ({k})" for n, k in list(found.fields.items())[:20]) + ".")
    if found.records is not None:
        lines.append(f"The rows are in the format {found.records}, not plain text.")
    if found.languages:
        lines.append("Languages: " + ", ".join(f"{code} {share:.0%}" for code, share in list(found.languages.items())[:8]) + ".")
    if found.median_chars and found.records is None:
        short = (
            "; most would be dropped by bounds on words made for web pages: look with `curate tune` first"
            if found.median_chars < 250
            else ""
        )
        lines.append(f"Half of the documents are shorter than {found.median_chars:,} characters{short}.")
    if found.skipped:
        lines.append(f"Left out: files ending in {', '.join(found.skipped[:8])}.")
    return "".join(f"# {line}\n" for line in (" ".join(line.split()) for line in lines))
