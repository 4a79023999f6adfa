"""Many fixed strings looked for in one scan (Aho and Corasick 1975), whatever their number.

The automaton is a dense table over the classes of bytes that occur in a pattern, so the scan does one look-up a byte. Time is linear in the text; where strings
end in one another (a, aa, aaa) a place costs as many steps as strings end there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.kernels.characters import WORD, bits_at, bits_before, character_bits
from curate.kernels.compiled import kernel, leaf, ro, ro2, rw, rw2, types
from curate.kernels.strings import views

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]

ANYWHERE, WORD_BORDERS, ALNUM_BORDERS = 0, 1, 2
"""Where a string counts: everywhere; between characters that are no \\w of Python; between bytes other than A-Z a-z 0-9."""

MAX_BYTES = 4_000_000  # of all patterns together: the table has up to 250 times as many bytes


class Machine(NamedTuple):
    """s states, c classes of bytes, p patterns. Read-only arrays."""

    step: npt.NDArray[Any]  # i32[s, c], the next state
    byte_class: U8  # u8[256]
    ends: I32  # i32[s], a pattern that ends in this state, or -1
    further: I32  # i32[s], the next state in which a shorter one ends, or 0
    size: I32  # i32[p], bytes of each pattern


class Found(NamedTuple):
    """n documents, g groups of patterns."""

    distinct: npt.NDArray[Any]  # i64[n, g], how many different patterns of the group occur
    first: npt.NDArray[Any]  # i32[n, g], the pattern of the group whose occurrence ends first, or -1


def build(patterns: Sequence[bytes], fold: bool = False) -> Machine:
    """Make the automaton of these strings (none empty). fold: A-Z in text and patterns count as a-z.

    Raises ValueError where they have more than MAX_BYTES together, or one is empty.
    """
    if sum(map(len, patterns)) > MAX_BYTES or not all(patterns):
        raise ValueError(f"expected strings of together at most {MAX_BYTES:,} bytes, none empty")
    if fold:
        patterns = [p.lower() for p in patterns]  # bytes: ASCII only
    used = sorted(set(b"".join(patterns)))
    byte_class = np.zeros(256, np.uint8)
    byte_class[used] = np.arange(1, len(used) + 1) if len(used) < 256 else np.arange(256)
    if fold:
        byte_class[65:91] = byte_class[97:123]
    width = max(1, min(256, len(used) + 1))
    children: list[dict[int, int]] = [{}]
    ends = [-1]
    for number, pattern in enumerate(patterns):
        state = 0
        for byte in pattern:
            c = int(byte_class[byte])
            following = children[state].get(c)
            if following is None:
                following = children[state][c] = len(children)
                children.append({})
                ends.append(-1)
            state = following
        if ends[state] < 0:
            ends[state] = number
    step, further = _links(children, ends, width)
    machine = Machine(step, byte_class, np.array(ends, np.int32), further, np.array([len(p) for p in patterns], np.int32))
    for array in machine:
        array.setflags(write=False)
    return machine


def _links(children: list[dict[int, int]], ends: list[int], width: int) -> tuple[npt.NDArray[Any], I32]:
    """Complete the tree of prefixes, level by level: (step, further)."""
    step, further = np.zeros((len(children), width), np.int32), np.zeros(len(children), np.int32)
    fail = [0] * len(children)
    level = [0]
    while level:
        following = []
        for state in level:
            if state:
                step[state] = step[fail[state]]
                further[state] = fail[state] if ends[fail[state]] >= 0 else further[fail[state]]
            for c, child in children[state].items():
                fail[child] = int(step[state, c]) if state else 0
                following.append(child)
        for state in level:
            for c, child in children[state].items():
                step[state, c] = child
        level = following
    return step, further


def scan(text: pa.Array, machine: Machine, group: Sequence[int], borders: Sequence[int], groups: int, first_only: bool = False) -> Found:
    """Look for all patterns in every document. group, borders: of each pattern; first_only: stop at a document's first hit."""
    data, offsets = views(text)
    n, p = len(offsets) - 1, len(machine.size)
    found = Found(np.zeros((n, groups), np.int64), np.full((n, groups), -1, np.int32))
    if p:
        kinds = np.array([group, borders], np.uint8)
        seen = np.full(p, -1, np.int64)
        _scan(data, offsets, *machine, kinds, character_bits(), first_only, seen, *found)
    return found


@leaf
def _alnum(b: Any) -> Any:
    return 48 <= b <= 57 or 65 <= b <= 90 or 97 <= b <= 122


@leaf
def stands(data: Any, low: int, start: int, end: int, high: int, border: int, bits: Any) -> Any:
    """Whether data[start:end] in the document data[low:high] has the borders it needs."""
    if border == 0:
        return True
    if border == 2:
        return not ((start > low and _alnum(data[start - 1])) or (end < high and _alnum(data[end])))
    if bits_before(data, low, start, bits) & WORD:
        return False
    after = np.int64(0)
    if end < high:
        after, _ = bits_at(data, end, high, bits)
    return after & WORD == 0


_u8, _i32, _i64 = types.uint8, types.int32, types.int64


@kernel(
    types.void(ro(_u8), ro(_i64), ro2(_i32), ro(_u8), ro(_i32), ro(_i32), ro(_i32), ro2(_u8), ro(_u8), types.boolean, rw(_i64), rw2(_i64), rw2(_i32)),
    allocates=False,
)  # fmt: skip
def _scan(data, offsets, step, byte_class, ends, further, size, kinds, bits, first_only, seen, distinct, first):  # type: ignore[no-untyped-def]
    for d in range(offsets.size - 1):
        low, high = offsets[d], offsets[d + 1]
        state = np.int32(0)
        done = False
        for at in range(low, high):
            state = step[state, byte_class[data[at]]]
            hit = state
            while hit:
                p = ends[hit]
                if p >= 0 and seen[p] != d and stands(data, low, at + 1 - size[p], at + 1, high, kinds[1, p], bits):
                    seen[p] = d
                    g = kinds[0, p]
                    if first[d, g] < 0:
                        first[d, g] = p
                    distinct[d, g] += 1
                    done = first_only
                hit = further[hit]
            if done:
                break
