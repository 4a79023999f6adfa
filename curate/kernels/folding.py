"""Character table of the near-duplicate word split: lower case and class of every code point, in two stages.

    python -m curate.kernels.folding     # writes folding.npz beside this file

Made from Python's own `str.lower`, `str.isalnum`, `str.isspace` (Unicode 14.0, Python 3.11) and shipped as data, so that
shingles do not change with the Python version. `str.lower` differs from a plain per-code-point map in two places:

- U+0130 (I with dot) becomes two code points, `i` and U+0307, which is no word character: flag ENDS says that the word
  ends after the `i`. Exact.
- Capital sigma becomes final sigma at the end of a word. We write every final sigma as the plain one, so Greek words that
  differ in nothing else are equal here. The difference is on purpose.
"""

from __future__ import annotations

import sys
import unicodedata
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

WORD = 1  # str.isalnum() or '_', not CJK: part of a longer word
CJK = 2  # the same within Hiragana, Katakana or a Han block: a word by itself
SPACE = 4  # str.isspace()
ENDS = 8  # a word ends after it
FLAG_BITS = 4  # an entry is (lower case - code point) << FLAG_BITS | flags

CJK_RANGES = ((0x3040, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF))
BLOCK = 256
STAGE1_SIZE = 0x2000  # four UTF-8 bytes can spell up to 0x1FFFFF: broken text must not index outside the table

U16 = npt.NDArray[np.uint16]
I32 = npt.NDArray[np.int32]


def entry(code: int) -> int:
    """Table entry of one code point, by Python's own methods."""
    lower = "\u03c3" if code == 0x03C2 else chr(code).lower()
    first = lower[0]
    flags = SPACE if first.isspace() else 0
    if first.isalnum() or first == "_":
        flags |= CJK if any(low <= ord(first) <= high for low, high in CJK_RANGES) else WORD
    if len(lower) > 1:
        flags |= ENDS
    return (ord(first) - code) << FLAG_BITS | flags


def build() -> tuple[U16, I32]:
    """Return (stage1 u16[0x2000]: block of code point >> 8, stage2 i32[256 * blocks]); block 0 is ASCII and Latin-1."""
    codes = np.array([0 if 0xD800 <= c < 0xE000 else entry(c) for c in range(sys.maxunicode + 1)], np.int32)
    blocks: dict[bytes, int] = {}
    stage1 = np.zeros(STAGE1_SIZE, np.uint16)
    empty = np.zeros(BLOCK, np.int32)
    rows = [*codes.reshape(-1, BLOCK), *[empty] * (STAGE1_SIZE - len(codes) // BLOCK)]
    for at, row in enumerate(rows):
        stage1[at] = blocks.setdefault(row.tobytes(), len(blocks))
    return stage1, np.frombuffer(b"".join(blocks), np.int32)


@cache
def tables() -> tuple[U16, I32]:
    """Return the shipped (stage1, stage2), read-only."""
    with np.load(Path(__file__).with_suffix(".npz")) as file:
        stage1, stage2 = file["stage1"], file["stage2"]
    stage1.setflags(write=False)
    stage2.setflags(write=False)
    return stage1, stage2


def unicode_version() -> str:
    """Unicode version the shipped table was made from."""
    with np.load(Path(__file__).with_suffix(".npz")) as file:
        return str(file["unicode"])


if __name__ == "__main__":
    first, second = build()
    np.savez_compressed(Path(__file__).with_suffix(".npz"), stage1=first, stage2=second, unicode=unicodedata.unidata_version)
