"""Write `tables.npz`: one byte of class bits for every Unicode code point, as a two-stage table.

Run by hand (`python -m curate.kernels.build_tables`) when Unicode or datatrove's sets change; needs the packages `regex`
and `datatrove`. Shipping the result keeps word splits equal for every Python version: interpreters carry different
Unicode versions.

Sources of the bits (see `curate.kernels.tables`):
    letters, marks, numbers   the `regex` module's Unicode properties
    white space, line breaks  str.isspace and str.splitlines (the same in Python 3.11 to 3.14)
    symbols, terminal marks   PUNCTUATION_SET and TERMINAL_PUNCTUATION of datatrove 0.10.1, utils/text.py (Apache-2.0)
    CJK                       Hiragana and Katakana, Han with its extensions and compatibility forms
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from curate.kernels import tables

CJK_BLOCKS = ((0x3040, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF))
JOINERS = "'\u2019-."
LINE_BREAKS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
CODE_POINTS = 0x110000
STAGE1_ENTRIES = 0x2000  # a damaged four-byte sequence decodes to at most 0x1FFFFF, and must stay inside the table


def classes() -> npt.NDArray[np.uint8]:
    """Class bits of every code point; 0 for surrogates. u8[0x110000]"""
    import regex  # type: ignore[import-untyped,unused-ignore]  # only where tables are made
    from datatrove.utils.text import PUNCTUATION_SET, TERMINAL_PUNCTUATION  # type: ignore[import-untyped,unused-ignore]  # same

    bits = np.zeros(CODE_POINTS, np.uint8)
    every = "".join(map(chr, (c for c in range(CODE_POINTS) if not 0xD800 <= c < 0xE000)))

    def mark(characters: str | list[str] | set[str], bit: int) -> None:
        bits[[ord(c) for c in characters]] |= np.uint8(bit)

    mark(regex.findall(r"[\p{L}\p{M}\p{N}_]", every), tables.WORD)
    mark(regex.findall(r"\p{L}", every), tables.LETTER)
    mark([c for c in every if c.isspace()], tables.SPACE)
    mark(LINE_BREAKS, tables.LINE_BREAK)
    mark(JOINERS, tables.JOINER)
    mark(PUNCTUATION_SET, tables.SYMBOL)
    mark(TERMINAL_PUNCTUATION, tables.TERMINAL)
    for first, last in CJK_BLOCKS:
        bits[first : last + 1] |= tables.SINGLE
        bits[first : last + 1] &= np.uint8(0xFF ^ tables.WORD)
    return bits


def two_stages(bits: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Share equal blocks of 256: class of c is stage2[stage1[c >> 8] * 256 + (c & 255)]. Block 0 comes first."""
    blocks: dict[bytes, int] = {}
    numbers = [blocks.setdefault(block.tobytes(), len(blocks)) for block in bits.reshape(-1, 256)]
    if len(blocks) > 256:
        raise ValueError(f"{len(blocks)} distinct blocks; the first stage holds bytes")
    stage1 = np.zeros(STAGE1_ENTRIES, np.uint8)
    stage1[: len(numbers)] = numbers
    beyond = blocks.setdefault(bytes(256), len(blocks))
    stage1[len(numbers) :] = beyond
    return stage1, np.frombuffer(b"".join(blocks), np.uint8)


def main() -> None:
    """Write the file beside this module."""
    stage1, stage2 = two_stages(classes())
    np.savez_compressed(Path(__file__).with_name("tables.npz"), stage1=stage1, stage2=stage2)


if __name__ == "__main__":
    main()
