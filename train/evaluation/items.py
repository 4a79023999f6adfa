"""Rows of task files in one shape, told by their fields.

fields of a row                                  kind
text                                             text         perplexity, bits per byte; domain: `source`, `domain` or the file
text, label                                      choice       classification: the labels of the file are the choices
query | question, choices, gold | answer | label choice       multiple choice (llm-foundry, MMLU, ARC's own form, HellaSwag)
Question, Best Answer, Incorrect Answers         choice       TruthfulQA
context_options, continuation, gold              choice       one ending after several beginnings (Winograd)
context, continuation                            continuation the likeliest token each time must give it (LAMBADA)
context | question, answer [aliases]             answer       generated, compared with references
prompt, test, entry_point | text, test_list      code         generated, run against unit tests (HumanEval, MBPP)
prompt | instruction [input] | question          judged       generated, compared by a judge; only where a task names one
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Item:
    """One item of a task. What it holds follows from the task's kind."""

    kind: str
    prompt: str = ""  # what stands before the answer; of `text` the whole document
    choices: tuple[str, ...] = ()  # texts that are compared, without the blank before them
    gold: tuple[int, ...] = ()  # right choices; the first one is the best
    contexts: tuple[str, ...] = ()  # one for each choice, where they differ; else ()
    answers: tuple[str, ...] = ()  # references of a generated answer, or the one continuation
    domain: str = ""
    row: Mapping[str, Any] = field(default_factory=dict)  # all of it, for verifiers

    def shown(self) -> str:
        """The item with its right answer: an example for few-shot prompts."""
        if self.contexts:
            return join(self.contexts[self.gold[0]], self.answers[0])
        if self.choices:
            return join(self.prompt, self.choices[self.gold[0]])
        return join(self.prompt, self.answers[0]) if self.answers else self.prompt


class NotAnItem(ValueError):
    """A row that is no item; the text says why."""


def join(context: str, continuation: str) -> str:
    """Both with one blank between them, unless there is white space already or the context is empty."""
    return context + delimiter(context, continuation) + continuation


def delimiter(context: str, continuation: str) -> str:
    """What stands between the two."""
    return "" if not context or context[-1].isspace() or continuation[:1].isspace() else " "


def item_of(row: Any) -> Item:
    """The item in a row. Raises NotAnItem."""
    if not isinstance(row, Mapping):
        raise NotAnItem(f"an object is expected, got {type(row).__name__}")
    for fields, make in _FORMS:
        if all(any(name in row for name in names.split("|")) for names in fields):
            return make(row)
    raise NotAnItem(f"no known form of a task; fields are: {', '.join(map(str, row)) or '(none)'}")


def judged_item(row: Any, against: str | None) -> Item:
    """A bare prompt for models whose answers a judge compares. against: field with an answer to compare with. Raises NotAnItem."""
    if not isinstance(row, Mapping):
        raise NotAnItem(f"an object is expected, got {type(row).__name__}")
    prompt = _text(row, "prompt", "instruction", "question")
    more = row.get("input") if "instruction" in row and "prompt" not in row else None
    if isinstance(more, str) and more.strip():
        prompt = f"{prompt}\n\n{more}"
    return Item("judged", prompt, answers=(_text(row, against),) if against is not None else (), domain=_domain(row), row=row)


def _text(row: Mapping[str, Any], *names: str) -> str:
    for name in names:
        value = row.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            value = repr(value)
        if isinstance(value, str):
            return value
    raise NotAnItem(f"text is expected under {' or '.join(repr(n) for n in names)}")


def _choices(row: Mapping[str, Any]) -> Item:
    given = row["choices"] if "choices" in row else row["endings"]
    labels: list[Any] | None = None
    if isinstance(given, Mapping):  # ARC's own form: {"text": [...], "label": ["A", ...]}
        labels, given = list(given.get("label", ())), given.get("text")
    if not isinstance(given, list) or len(given) < 2 or not all(isinstance(c, str) for c in given):
        raise NotAnItem("choices must be a list of two texts or more")
    gold = next((row[k] for k in ("gold", "answer", "answerKey", "label") if k in row), None)
    place = _place(gold, given, labels)
    if "query" in row:
        return Item("choice", _text(row, "query"), tuple(given), place, domain=_domain(row), row=row)
    if "endings" in row:
        return Item("choice", _text(row, "ctx", "context", "question"), tuple(given), place, domain=_domain(row), row=row)
    lines = [f"{LETTERS[i]}. {choice}" for i, choice in enumerate(given)]
    prompt = "\n".join([_text(row, "question").strip(), *lines, "Answer:"])
    return Item("choice", prompt, tuple(LETTERS[: len(given)]), place, domain=_domain(row), row=row)


def _place(gold: Any, given: list[str], labels: list[Any] | None) -> tuple[int, ...]:
    """Number of the right choice, given as a number, a label, a letter, or the text itself."""
    if isinstance(gold, str) and labels and gold in labels:
        return (labels.index(gold),)
    if isinstance(gold, str) and gold in given:
        return (given.index(gold),)
    if isinstance(gold, str) and re.fullmatch(r"\d{1,3}", gold):
        gold = int(gold)
    if isinstance(gold, str) and len(gold) == 1 and gold.upper() in LETTERS:
        gold = LETTERS.index(gold.upper())
    if isinstance(gold, bool) or not isinstance(gold, int) or not 0 <= gold < len(given):
        raise NotAnItem(f"the right choice is {gold!r}, expected a number from 0 to {len(given) - 1}, its letter or its text")
    return (gold,)


def _truthful(row: Mapping[str, Any]) -> Item:
    best = _text(row, "Best Answer").strip()
    right = list(dict.fromkeys([best, *_listed(row.get("Correct Answers"))]))
    wrong = [a for a in _listed(row.get("Incorrect Answers")) if a not in right]
    if not wrong:
        raise NotAnItem("no incorrect answers")
    prompt = f"Q: {_text(row, 'Question').strip()}\nA:"
    return Item("choice", prompt, (*right, *wrong), tuple(range(len(right))), domain=_domain(row), row=row)


def _listed(value: Any) -> list[str]:
    parts = value if isinstance(value, list) else str(value or "").split(";")
    return list(dict.fromkeys(p for p in (str(part).strip() for part in parts) if p))


def _beginnings(row: Mapping[str, Any]) -> Item:
    options, ending = row["context_options"], _text(row, "continuation")
    if not isinstance(options, list) or len(options) < 2 or not all(isinstance(o, str) for o in options):
        raise NotAnItem("context_options must be a list of two texts or more")
    return Item("choice", "", (ending,) * len(options), _place(row["gold"], options, None), tuple(options), (ending,), _domain(row), row)


def _continuation(row: Mapping[str, Any]) -> Item:
    return Item("continuation", _text(row, "context"), answers=(_text(row, "continuation"),), domain=_domain(row), row=row)


def _answer(row: Mapping[str, Any]) -> Item:
    aliases = row.get("aliases")
    more = [a for a in aliases if isinstance(a, str)] if isinstance(aliases, list) else []
    found = tuple(dict.fromkeys([_text(row, "answer", "target"), *more]))
    return Item("answer", _text(row, "context", "question", "input", "prompt"), answers=found, domain=_domain(row), row=row)


def _label(row: Mapping[str, Any]) -> Item:
    label = row["label"]
    if isinstance(label, bool) or not isinstance(label, (str, int)):
        raise NotAnItem(f"label is {type(label).__name__}, expected text or a whole number")
    return Item("choice", _text(row, "text"), answers=(str(label),), domain=_domain(row), row=row)  # choices: all labels of the file


def _document(row: Mapping[str, Any]) -> Item:
    return Item("text", _text(row, "text"), domain=_domain(row), row=row)


def _human_eval(row: Mapping[str, Any]) -> Item:
    return Item("code", _text(row, "prompt"), answers=(str(row.get("canonical_solution", "")),), domain=_domain(row), row=row)


def _mbpp(row: Mapping[str, Any]) -> Item:
    tests = row["test_list"]
    if not isinstance(tests, list) or not tests:
        raise NotAnItem("test_list must be a list of assertions")
    prompt = f'"""\n{_text(row, "text", "prompt").strip()}\n{tests[0]}\n"""\n'  # the form of Austin et al. 2021 as code, with one test
    return Item("code", prompt, answers=(str(row.get("code", "")),), domain=_domain(row), row=row)


def _domain(row: Mapping[str, Any]) -> str:
    return next((str(row[k]) for k in ("domain", "source", "category", "task", "config") if isinstance(row.get(k), str) and row[k]), "")


# In order: (fields that must be there, each perhaps by one of several names; what makes the item).
_FORMS: tuple[tuple[tuple[str, ...], Callable[[Mapping[str, Any]], Item]], ...] = (
    (("Question", "Best Answer", "Incorrect Answers"), _truthful),
    (("context_options", "continuation", "gold"), _beginnings),
    (("choices|endings", "query|question|ctx", "gold|answer|answerKey|label"), _choices),
    (("prompt", "test", "entry_point"), _human_eval),
    (("test_list", "text|prompt"), _mbpp),
    (("context", "continuation"), _continuation),
    (("context|question|input|prompt", "answer|target"), _answer),
    (("text", "label"), _label),
    (("text",), _document),
)
