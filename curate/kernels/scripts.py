"""The script that most letters of a document belong to (ISO 15924).

Characters that many scripts share (digits, punctuation, marks, white space) don't count. Han with kana, at least one
in 20 of them, is Jpan; Han alone is Hani, for simplified and traditional writing are one script to Unicode; Korean is Hang,
whatever Han it has. "Zyyy" is text without letters.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from curate.kernels.compiled import kernel, ro, rw
from curate.kernels.compiled import types as nb
from curate.kernels.hashing import load64
from curate.kernels.lanes import ones
from curate.kernels.tables import STAGE, class_at

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

UNKNOWN = 0
JAPANESE = 255  # Han and kana
_KANA_SHARE = 20
_HIGH, _LOWER, _FROM_A, _FROM_Z = (np.uint64(0x0101010101010101 * i) for i in (0x80, 0x20, 0x80 - 0x61, 0x80 - 0x7B))


class ScriptTable(NamedTuple):
    """Number of the script of a code point, in two stages (`tables.py`), and the codes."""

    stage1: U8
    stage2: U8
    codes: tuple[str, ...]


@cache
def table() -> ScriptTable:
    """The table beside this module."""
    with np.load(Path(__file__).with_name("scripts.npz")) as stored:
        codes = tuple(code.decode() for code in stored["codes"].tolist())
        found = ScriptTable(stored["stage1"], stored["stage2"], codes)
    for stage in found[:2]:
        stage.setflags(write=False)
    return found


_SCRIPTS = nb.void(ro(nb.uint8), ro(nb.int64), STAGE, STAGE, nb.int64, nb.int64, nb.int64, nb.int64, rw(nb.int64), rw(nb.uint8))


@kernel(_SCRIPTS, allocates=False)
def _scripts(
    data: Any, offsets: Any, stage1: Any, stage2: Any, latin: Any, han: Any, hiragana: Any, katakana: Any, counts: Any, script: Any
) -> None:  # fmt: skip
    """script u8[n]: number of the commonest script, the lower of equals; counts i64[256]: scratch. ASCII eight bytes at a time."""
    for d in range(offsets.shape[0] - 1):
        counts[:] = 0
        at, stop = offsets[d], offsets[d + 1]
        while at < stop:
            if at + 8 <= stop:
                eight = load64(data, at)
                if eight & _HIGH == 0:
                    low = eight | _LOWER
                    counts[latin] += np.int64(ones((low + _FROM_A) & ~(low + _FROM_Z) & _HIGH))
                    at += 8
                    continue
            number, width = class_at(data, at, stop, stage1, stage2)
            counts[number] += 1
            at += width
        kana = counts[hiragana] + counts[katakana]
        if kana > 0 and kana * _KANA_SHARE >= kana + counts[han]:
            counts[JAPANESE] = kana + counts[han]
            counts[han] = counts[hiragana] = counts[katakana] = 0
        best = UNKNOWN
        counts[UNKNOWN] = 0
        for number in range(1, 256):
            if counts[number] > counts[best]:
                best = number
        script[d] = best


def scripts(data: U8, offsets: I64) -> U8:
    """Number of the script of each document of a large_string column: an index of `codes()`."""
    found = table()
    script = np.empty(len(offsets) - 1, np.uint8)
    named = [found.codes.index(code) for code in ("Latn", "Hani", "Hira", "Kana")]
    _scripts(data, offsets, found.stage1, found.stage2, *named, np.zeros(256, np.int64), script)
    return script


def codes() -> list[str]:
    """ISO 15924 code of every number that `scripts` may give."""
    known = list(table().codes)
    return known + ["Zzzz"] * (JAPANESE - len(known)) + ["Jpan"]
