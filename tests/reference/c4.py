"""The naive twins of `curate.kernels.c4lines`: the rules of C4 as datatrove and as DCLM read them, with our sentence rule."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

MARKS = ".?!\u061f\u06d4\u0964"
WIDE_MARKS = "\u3002\uff01\uff1f"
CLOSERS = "\"')]\u00bb\u2019\u201d\u300d\u300f\uff09"
_RUN = re.compile(f"[{MARKS}{WIDE_MARKS}][{re.escape(MARKS + WIDE_MARKS + CLOSERS)}]*")
_CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")
_POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")


def sentences(line: str) -> list[str]:
    """Cut a line behind every run of marks that ends a sentence; blank pieces don't count."""
    pieces, begin = [], 0
    for run in _RUN.finditer(line):
        after = line[run.end() : run.end() + 1]
        if not after or after.isspace() or any(mark in run.group() for mark in WIDE_MARKS):
            pieces.append(line[begin : run.end()])
            begin = run.end()
    return [piece for piece in [*pieces, line[begin:]] if piece.strip()]


@dataclass
class Rules:
    """Settings under the names of the step."""

    terminal_punctuation: bool = True
    remove_citations: bool = True
    drop_lorem_ipsum: bool = True
    remove_javascript_lines: bool = True
    drop_curly_bracket: bool = True
    remove_policy_lines: bool = True
    min_words_per_line: int | None = 3
    max_word_chars: int | None = 1000
    min_sentences: int | None = 5
    max_page_chars: int | None = None
    semantics: str = "datatrove"


@dataclass
class Page:
    """What became of a page: reason of the drop or "", the text it has then, lines by fate."""

    reason: str
    text: str
    counts: dict[str, int] = field(default_factory=dict)


COUNTS = ("sentences", "lines", "kept", "long_word", "no_end_mark", "few_words", "lorem_ipsum", "javascript", "curly_bracket", "policy")


def _line(raw: str, rules: Rules) -> tuple[str, int, bool]:
    """The line as it would stay, its words, whether one is too long."""
    words = raw.split()
    long = rules.max_word_chars is not None and any(len(word) > rules.max_word_chars for word in words)
    line = raw if rules.semantics == "dclm" else raw.strip()
    if rules.remove_citations:
        line = _CITATION.sub("", line)
    return line, len(line.split()) if rules.semantics == "dclm" else len(words), long


def _ends_well(line: str, rules: Rules) -> bool:
    if rules.semantics == "dclm":
        stripped = line.rstrip()
        return stripped.endswith((".", "?", "!", '"')) and not stripped.endswith("...")
    return line.endswith((".", "?", "!", '"', "'")) and not line.endswith("...")


def clean(text: str, rules: Rules, everything: bool = False) -> Page:
    """Apply the rules; `everything` counts on behind the line that drops the page."""
    counts = dict.fromkeys(COUNTS, 0)
    kept: list[str] = []
    reason = "c4.too_long" if rules.max_page_chars is not None and len(text) > rules.max_page_chars else ""
    raws = text.split("\n")
    if rules.semantics == "dclm":
        raws = raws[:-1] if not raws[-1] else raws  # an empty last line changes nothing and is not counted
    else:
        raws = text.splitlines()
    for raw in raws:
        if reason and not everything:
            break
        line, words, long = _line(raw, rules)
        lower = line.lower()
        counts["lines"] += 1
        if long:
            counts["long_word"] += 1
        elif rules.semantics == "dclm" and not line:
            counts["kept"] += 1
            kept.append(line)
        elif rules.terminal_punctuation and not _ends_well(line, rules):
            counts["no_end_mark"] += 1
        elif rules.min_words_per_line is not None and words < rules.min_words_per_line:
            counts["few_words"] += 1
        elif rules.drop_lorem_ipsum and "lorem ipsum" in lower:
            counts["lorem_ipsum"] += 1
            reason = reason or "c4.lorem_ipsum"
        elif rules.remove_javascript_lines and "javascript" in lower:
            counts["javascript"] += 1
        elif rules.drop_curly_bracket and "{" in line:
            counts["curly_bracket"] += 1
            reason = reason or "c4.curly_bracket"
        elif rules.remove_policy_lines and any(phrase in lower for phrase in _POLICY):
            counts["policy"] += 1
        else:
            counts["kept"] += 1
            counts["sentences"] += len(sentences(line)) if everything or rules.min_sentences is not None else 0
            kept.append(line)
    if not reason and rules.min_sentences is not None and counts["sentences"] < rules.min_sentences:
        reason = "c4.too_few_sentences"
    return Page(reason, text if reason else "\n".join(kept).strip(), counts)
