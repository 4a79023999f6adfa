"""Whether two answers are the same number, or mean the same expression."""

from __future__ import annotations

import re
from fractions import Fraction

from curate.errors import MissingDependency

_PLACES = Fraction(1, 10**6)  # decimals are equal to six places (math-verify 0.9: float_rounding=6)
_MAX_CHARACTERS = 400
_FRACTION = re.compile(r"([-+]?)\s*\\[dt]?frac\s*(?:\{\s*(-?[\d,.]+)\s*\}|(\d))\s*(?:\{\s*(-?[\d,.]+)\s*\}|(\d))")
_NUMBER = re.compile(r"[-+]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d{1,3})?")
_RATIO = re.compile(r"([-+]?\d[\d,]*(?:\.\d+)?)\s*/\s*(\d[\d,]*(?:\.\d+)?)")
_COMMAS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_DRESS = re.compile(r"\\(?:text|mathrm|textbf|mbox)\{[^{}]*\}|\\[,;!: ]|\\\$|[$€£]|\\?%|\\left|\\right|(?:°|\^\\circ|\^\{\\circ\})")
_ANYWHERE = re.compile(r"(?<![\w.])-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:\s*/\s*\d+)?(?!\w)")
_TOWER = re.compile(r"\^\s*\{?\s*-?\d{4,}|\^[^^]*\^|!|\*\*", re.DOTALL)  # what could take sympy forever


def number_of(text: str) -> tuple[Fraction, bool] | None:
    """(value, whether it was written with decimals) of a text that is one number, perhaps with units' signs around; None for others.

    Understands thousands commas, currency and per cent signs (which are taken off: 50% is 50, as GSM8K's answers have it), 1/2, \\frac{1}{2}, 1e3.
    """
    bare = _DRESS.sub("", text).strip().strip("()").strip().rstrip(".").strip()
    if len(bare) > _MAX_CHARACTERS:
        return None
    found = _FRACTION.fullmatch(bare)
    if found:
        top, bottom = _plain(found[2] or found[3]), _plain(found[4] or found[5])
        if top is None or not bottom:
            return None
        return (-1 if found[1] == "-" else 1) * top / bottom, False
    found = _RATIO.fullmatch(bare)
    if found:
        top, bottom = _plain(found[1]), _plain(found[2])
        return None if top is None or not bottom else (top / bottom, False)
    if not _NUMBER.fullmatch(bare):
        return None
    value = _plain(bare)
    return None if value is None else (value, "." in bare or "e" in bare.lower())


def _plain(text: str) -> Fraction | None:
    if "," in text:
        sign, rest = (text[0], text[1:]) if text[0] in "+-" else ("", text)
        if not _COMMAS.fullmatch(rest):
            return None
        text = sign + rest.replace(",", "")
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        return None


def same_number(a: str, b: str) -> bool | None:
    """Whether two texts are equal numbers: exactly, to six places where one is a decimal. None where one is no number."""
    x, y = number_of(a), number_of(b)
    if x is None or y is None:
        return None
    return x[0] == y[0] or ((x[1] or y[1]) and abs(x[0] - y[0]) < _PLACES)


def last_number(text: str) -> str | None:
    """The last number that stands alone in a text."""
    found = None
    for found in _ANYWHERE.finditer(text):  # noqa: B007  the last one counts
        pass
    return None if found is None else found[0]


def load_symbolic() -> None:
    """Raise MissingDependency where math-verify is not there."""
    try:
        import math_verify  # noqa: F401
    except ImportError as error:
        raise MissingDependency.extra("math-verify", "synth", "the verifier math with method: symbolic") from error


def same_expression(answer: str, reference: str) -> bool:
    """Whether math-verify finds the two equal (sets, intervals, equations, algebra). Powers that could take forever are not equal.

    math-verify's own time limits are off: they need the main thread, and a result would depend on the machine's speed. What is refused instead:
    more than 400 characters, exponents of four digits or more, powers of powers, factorials.
    """
    if max(len(answer), len(reference)) > _MAX_CHARACTERS or _TOWER.search(answer) or _TOWER.search(reference):
        return False
    from math_verify import parse, verify

    try:
        # parsing_timeout=0 and timeout_seconds=0 switch the alarms off
        gold, given = (parse(f"${t}$", parsing_timeout=0) for t in (reference, answer))
        return bool(gold) and bool(given) and bool(verify(gold, given, timeout_seconds=0))
    except Exception:  # noqa: BLE001  sympy raises whatever it likes for odd input; then the two are not shown to be equal
        return False
