"""Naive twins of `curate.kernels.words` and `curate.kernels.hashing`: what they must give, in obvious Python."""

from __future__ import annotations

import regex
from datatrove.utils.text import PUNCTUATION_SET

MASK = (1 << 64) - 1
SEED, ODD1, ODD2, ODD3 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93

CJK = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
SPACE = r"\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # str.isspace
UNSPACED = r"(?:(?=\p{LB=SA})[\p{L}\p{M}])"  # letters and marks of Thai, Lao, Burmese, Khmer and their neighbours
LETTERLIKE = rf"(?:(?![{CJK}]|{UNSPACED})[\p{{L}}\p{{M}}\p{{N}}_])"
UNICODE_WORD = regex.compile(
    rf"[{CJK}]|{UNSPACED}(?:(?=\p{{M}}){UNSPACED})*|{LETTERLIKE}+(?:['\u2019.\-]{LETTERLIKE}+)*|(?:(?!{LETTERLIKE}|{UNSPACED})[^{CJK}{SPACE}])+"
)


def split(text: str, kind: str) -> list[str]:
    """Words of one document."""
    return text.split() if kind == "whitespace" else UNICODE_WORD.findall(text)


def flags(word: str) -> int:
    """HAS_LETTER | ALL_SYMBOLS of one word."""
    return (1 if regex.search(r"\p{L}", word) else 0) | (2 if all(c in PUNCTUATION_SET for c in word) else 0)


def fold_multiply(a: int, b: int) -> int:
    """Both halves of the 128-bit product, xored."""
    return (a * b & MASK) ^ (a * b >> 64)


def hash_bytes(content: bytes) -> int:
    """Hash of a byte string, as `hash_range` gives it."""
    whole = len(content) // 8 * 8
    state = (len(content) * SEED & MASK) ^ ODD2
    for at in range(0, whole, 8):
        state = fold_multiply(state ^ int.from_bytes(content[at : at + 8], "little"), ODD1)
    rest = int.from_bytes(content[whole:], "little")
    return fold_multiply(fold_multiply(state ^ rest, ODD3) ^ SEED, ODD1)


def mix64(value: int) -> int:
    """Finaliser of splitmix64."""
    value = (value ^ (value >> 30)) * ODD1 & MASK
    value = (value ^ (value >> 27)) * ODD2 & MASK
    return value ^ (value >> 31)


def combine(state: int, value: int) -> int:
    """Hash of a sequence so far and its next element."""
    return mix64((state * ODD3 + value) & MASK)
