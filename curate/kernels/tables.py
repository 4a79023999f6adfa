"""Unicode classes as a two-stage table for kernels: one byte of bits for every code point.

The class of code point c is stage2[stage1[c >> 8] * 256 + (c & 255)]; for ASCII it is stage2[c]. The data are made by
`build_tables.py`. Kernels take both stages as arguments: as globals they would be copied into each compiled function.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from curate.kernels.compiled import leaf, ro
from curate.kernels.compiled import types as nb

SPACE = 1  # str.isspace
WORD = 2  # [\p{L}\p{M}\p{N}_] except CJK: runs of these are words
SINGLE = 4  # CJK character: a word by itself
LETTER = 8  # \p{L} (str.isalpha)
SYMBOL = 16  # in datatrove's PUNCTUATION_SET
TERMINAL = 32  # in datatrove's TERMINAL_PUNCTUATION: may end a sentence, in any script
JOINER = 64  # ' \u2019 - . : joins two runs of WORD
LINE_BREAK = 128  # where str.splitlines splits

STAGE = ro(nb.uint8)  # numba type of either stage

U8 = npt.NDArray[np.uint8]


class ClassTable(NamedTuple):
    """Both stages of a class table; read-only arrays."""

    stage1: U8  # u8[0x2000], number of the block of 256
    stage2: U8  # u8[blocks * 256]


@cache
def classes() -> ClassTable:
    """Class bits of every code point."""
    with np.load(Path(__file__).with_name("tables.npz")) as stored:
        table = ClassTable(stored["stage1"], stored["stage2"])
    for stage in table:
        stage.setflags(write=False)
    return table


@cache
def blank_split_classes() -> ClassTable:
    """The same with WORD on every character that is not white space, so that words are what str.split gives."""
    stage1, stage2 = classes()
    spaces = (stage2 & SPACE) != 0
    runs = np.where(spaces, stage2, (stage2 | WORD) & np.uint8(0xFF ^ (SINGLE | JOINER)))
    runs.setflags(write=False)
    return ClassTable(stage1, runs)


@leaf
def class_at(data: U8, at: int, end: int, stage1: U8, stage2: U8) -> Any:
    """(class bits, bytes) of the code point at data[at], at < end.

    A byte that starts no whole sequence before `end` counts as one unassigned character: kernels stay inside the
    document whatever the bytes.
    """
    lead = np.int64(data[at])
    code, width = np.int64(0xFFFD), 1
    if lead < 0x80:
        code = lead
    elif 0xC0 <= lead < 0xE0 and at + 1 < end:
        code, width = (lead & 31) << 6 | np.int64(data[at + 1]) & 63, 2
    elif 0xE0 <= lead < 0xF0 and at + 2 < end:
        code, width = (lead & 15) << 12 | (np.int64(data[at + 1]) & 63) << 6 | np.int64(data[at + 2]) & 63, 3
    elif lead >= 0xF0 and at + 3 < end:
        code = (lead & 7) << 18 | (np.int64(data[at + 1]) & 63) << 12 | (np.int64(data[at + 2]) & 63) << 6 | np.int64(data[at + 3]) & 63
        width = 4
    return np.int64(stage2[np.int64(stage1[code >> 8]) << 8 | code & 255]), width


@leaf
def last_character(data: U8, start: int, end: int) -> Any:
    """Position of the last code point of data[start:end], start < end."""
    at = end - 1
    while at > start and data[at] & 0xC0 == 0x80:
        at -= 1
    return at
