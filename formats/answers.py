"""Final answers of chains of thought: what stands in \\boxed{}, after ####, or as the letter of a choice."""

from __future__ import annotations

import re
from typing import Literal

Kind = Literal["boxed", "hashes", "choice", "phrase"]
KINDS: tuple[Kind, ...] = ("boxed", "hashes", "choice", "phrase")
_HASHES = re.compile(r"^[ \t]*####(?!#)[ \t]*(\S[^\n]*)$", re.MULTILINE)
_CHOICE = re.compile(r"(?:answer|choice|option)(?:\s+is)?\s*:?\s*(?:\*\*)?\s*[(\[]?([A-J])[)\]]?(?![\w'])", re.IGNORECASE)
_ALONE = re.compile(r"^[(\[]?([A-J])[)\]]?[.:]?$")
_PHRASE = re.compile(r"(?:final answer|the answer is|answer:)\s*(?:is)?\s*:?\s*([^\n]+)", re.IGNORECASE)
_BRACES = re.compile(r"\\(?:boxed|fbox)(?:\s*\{|\s+([^\s{]))|\\.|[{}]", re.DOTALL)
_NUMBER = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


def final_answer(text: str, kinds: tuple[Kind, ...] = KINDS) -> tuple[str, Kind] | None:
    """(answer, how it was marked) of a solution: the last one of the first kind that is there; None where none is.

    boxed: the last \\boxed{...} or \\fbox{...} with balanced braces. hashes: the last line after ####, as GSM8K marks it. choice: a letter A to J
    named as the answer, or alone on the last line. phrase: what follows "the answer is" up to the end of the line.
    """
    for kind in kinds:
        found = _FINDERS[kind](text)
        if found:
            return found, kind
    return None


def boxed(text: str) -> str | None:
    """Content of the last \\boxed{...} whose braces close; a backslash before a brace makes it text. One pass over the text."""
    opened: list[tuple[int, int] | None] = []  # (place of the command, start of its content), or None for another brace
    last, found = -1, None
    for match in _BRACES.finditer(text):
        token = match[0]
        if match[1] is not None:  # \boxed 5
            last, found = match.start(), match[1]
        elif token == "}":
            held = opened.pop() if opened else None
            if held is not None and held[0] > last:
                last, found = held[0], text[held[1] : match.start()].strip()
        elif token[-1] == "{" and token != "\\{":
            opened.append((match.start(), match.end()) if len(token) > 1 else None)
    return found


def _last(pattern: re.Pattern[str], text: str) -> str | None:
    found = None
    for found in pattern.finditer(text):  # noqa: B007  the last one counts
        pass
    return None if found is None else found[1].strip()


def _choice(text: str) -> str | None:
    named = _last(_CHOICE, text)
    if named:
        return named.upper()
    lines = text.strip().splitlines()
    alone = _ALONE.match(lines[-1].strip().strip("*")) if lines else None
    return None if alone is None else alone[1]


def _phrase(text: str) -> str | None:
    found = _last(_PHRASE, text)
    return None if found is None else found.strip(" *$").rstrip(".").strip(" *$")


_FINDERS = {"boxed": boxed, "hashes": lambda text: _last(_HASHES, text), "choice": _choice, "phrase": _phrase}


def normalised(answer: str) -> str:
    """An answer for comparing: no $ or blanks around it, no thousands commas, no \\text{}, no full stop at the end.

    For equality of spellings only; whether 1/2 is 0.5 is a verifier's question.
    """
    text = re.sub(r"\\(?:text|mathrm|textbf)\{([^{}]*)\}", r"\1", answer)
    text = text.replace("\\!", "").replace("\\,", "").replace("\\$", "").replace("$", "").replace("\\%", "%")
    return " ".join(_NUMBER.sub("", text).strip().rstrip(".").split())
