r"""The `unicode` and `whitespace` splits of `words`.

`unicode`, as a regular expression, with C for the CJK blocks, T for letters and marks of scripts that put no space between
words (Thai, Lao, Burmese, Khmer and their neighbours: line-break class SA), S for white space, W for [\p{L}\p{M}\p{N}_]
without C and T:
    [C] | [T](?:(?=\p{M})[T])* | W+(?:['\u2019\-.]W+)* | (?:(?![C]|[T]|W)[^S])+

Without a dictionary nobody can tell words apart in T, so each letter with its marks counts as one, as Unicode's word
boundaries (UAX #29) have it; a Thai word has two to three of them.
Rough speed: 350 to 700 MB/s per core, Korean 200.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.kernels import tables
from curate.kernels.blocks import bytes_between, count_bits, first_bit
from curate.kernels.build_tables import two_stages
from curate.kernels.compiled import kernel, leaf, ro, rw
from curate.kernels.compiled import types as nb
from curate.kernels.hashing import hash_three, hash_word, load64
from curate.kernels.tables import JOINER, LETTER, SINGLE, SPACE, SYMBOL, WORD, ClassTable, class_at
from curate.kernels.words import ALL_SYMBOLS, HAS_LETTER, Columns

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

# Line-break class SA in Unicode 16, letters and marks among other things: Thai, Lao, Burmese, Khmer, Tai Le, New Tai Lue,
# Tai Tham, extensions of Burmese, Tai Viet, Ahom. Their digits are not of it.
UNSPACED = (
    (0x0E01, 0x0E3A), (0x0E40, 0x0E4E), (0x0E81, 0x0ECE), (0x0EDC, 0x0EDF), (0x1000, 0x103F), (0x1050, 0x108F),
    (0x109A, 0x109F), (0x1780, 0x17D3), (0x17D7, 0x17D7), (0x17DC, 0x17DD), (0x1950, 0x19C9), (0x1A20, 0x1A7C), (0x1AA0, 0x1AAD),
    (0xA9E0, 0xA9EF), (0xA9FA, 0xA9FE), (0xAA60, 0xAADF), (0x11700, 0x1172B), (0x11740, 0x11746),
)  # fmt: skip
KIND = WORD | SINGLE | SPACE
_U = np.uint64
_LOW4, _LOW6, _MIDDLE6 = _U(15), _U(63), _U(63 << 6)  # of a character of three bytes, read as a little-endian number
UNSPACED_KIND = WORD | SINGLE  # with LETTER for a letter, without for a mark


@cache
def _unspaced_classes() -> ClassTable:
    """The shared table with SINGLE on letters and marks of scripts that put no space between words."""
    stage1, stage2 = tables.classes()
    bits = stage2.reshape(-1, 256)[stage1[: 0x110000 >> 8]].reshape(-1)
    for first, last in UNSPACED:
        part = bits[first : last + 1]
        part[(part & WORD) != 0] |= np.uint8(SINGLE)
    table = ClassTable(*two_stages(bits))
    for stage in table:
        stage.setflags(write=False)
    return table


@leaf
def _end_of_word(data: U8, at: int, end: int, bits: int, stage1: U8, stage2: U8) -> Any:
    """(end, bits some have, bits all have, code points) of the word whose first character, with these bits, ends at `at`."""
    some, every, count = bits, bits, 1
    if bits & SINGLE:
        while at < end and bits & WORD:  # marks of a script without spaces
            bits, width = class_at(data, at, end, stage1, stage2)
            if bits & (KIND | LETTER) != UNSPACED_KIND:
                break
            some |= bits
            every &= bits
            count += 1
            at += width
        return at, some, every, count
    run = bits & WORD
    while at < end:
        bits, width = class_at(data, at, end, stage1, stage2)
        if bits & KIND != run:
            # Only a joiner directly before another word character goes on.
            if run == 0 or not bits & JOINER or at + width >= end:
                break
            after, _ = class_at(data, at + width, end, stage1, stage2)
            if after & KIND != WORD:
                break
        some |= bits
        every &= bits
        count += 1
        at += width
    return at, some, every, count


@kernel(
    nb.UniTuple(nb.int64, 2)(  # type: ignore[no-untyped-call]  # numba has none
        ro(nb.uint8), nb.int64, nb.int64, tables.STAGE, tables.STAGE, nb.boolean,
        nb.int64, rw(nb.int64), rw(nb.int32), rw(nb.uint64), rw(nb.int32), rw(nb.uint8),
    ),
    allocates=False,
)  # fmt: skip
def _by_character(
    data: U8, at: int, end: int, stage1: U8, stage2: U8, forced: bool, words: int, start: I64, size: I32, raw: U64, chars: I32, flags: U8
) -> tuple[int, int]:
    """Split data[at:end] up to the first word that may be ASCII or is a run; return (where that is, words).

    That is what Chinese, Japanese and Thai hold: characters by themselves and marks between them. forced: take the first
    word whatever it is. Stops before the first word that has no room.
    """
    room = len(start)
    while at < end:
        while words < room and at + 3 <= end and at + 8 <= data.shape[0]:  # one CJK character after another
            eight = load64(data, at)
            code = np.int64((eight & _LOW4) << _U(12) | (eight >> _U(2)) & _MIDDLE6 | (eight >> _U(16)) & _LOW6)
            bits = np.int64(stage2[np.int64(stage1[code >> 8]) << 8 | code & 255])
            if (np.int64(eight & _U(0xF0)) != 0xE0) | (bits & KIND != SINGLE):
                break
            start[words] = at
            size[words] = 3
            raw[words] = hash_three(eight)
            chars[words] = 1
            flags[words] = (HAS_LETTER if bits & LETTER else 0) | (ALL_SYMBOLS if bits & SYMBOL else 0)
            words += 1
            at += 3
            forced = False
        if at == end:
            break
        bits, width = class_at(data, at, end, stage1, stage2)
        if bits & SPACE:
            at += width
            continue
        if words == room or ((width == 1 or bits & KIND == WORD) and not forced):
            break
        begin = at
        at, some, every, count = _end_of_word(data, at + width, end, bits, stage1, stage2)
        start[words] = begin
        size[words] = at - begin
        raw[words] = hash_word(data, begin, at)
        chars[words] = count
        flags[words] = (HAS_LETTER if some & LETTER else 0) | (ALL_SYMBOLS if every & SYMBOL else 0)
        words += 1
        forced = False
    return at, words


@leaf
def _ascii(data: U8, at: int, n: int, blank: Any) -> Any:
    """Bitmaps of the ASCII characters in data[at:at+n], n < 64: (word, space, letter, symbol, joiner, others).

    Of the first five, bits of other bytes mean nothing. Where 64 bytes are not there, all count as others. blank: all bits
    where words end at white space alone, else none; with a branch on it LLVM takes bitmaps apart byte by byte.
    """
    zero, valid = np.uint64(0), (np.uint64(1) << np.uint64(n)) - np.uint64(1)
    if at + 64 > data.shape[0]:
        return zero, zero, zero, zero, zero, valid
    letter = bytes_between(data, at, 0x41, 0x5A) | bytes_between(data, at, 0x61, 0x7A)
    figure = letter | bytes_between(data, at, 0x30, 0x39)
    space = valid & (bytes_between(data, at, 0x09, 0x0D) | bytes_between(data, at, 0x1C, 0x20))
    word = (~blank & (figure | bytes_between(data, at, 0x5F, 0x5F))) | (blank & ~space)
    joiner = ~blank & (bytes_between(data, at, 0x2D, 0x2E) | bytes_between(data, at, 0x27, 0x27))
    return word, space, letter, ~figure, joiner, valid & bytes_between(data, at, 0x80, 0xFF)


@leaf
def _accented(data: U8, at: int) -> Any:
    """u64: bit k < 63 says that a letter of U+00C0 to U+00FF starts at data[at + k]: Western languages have few others beyond ASCII."""
    if at + 64 > data.shape[0]:
        return np.uint64(0)
    second = bytes_between(data, at, 0x80, 0xBF) & ~(bytes_between(data, at, 0x97, 0x97) | bytes_between(data, at, 0xB7, 0xB7))
    return bytes_between(data, at, 0xC3, 0xC3) & second >> np.uint64(1)


@leaf
def _run(data: U8, at: int, p: int, n: int, end: int, bits: int, width: int, other: int, stage1: U8, stage2: U8) -> Any:
    """(end, first bytes) of the run of characters with these bits that begins at byte p of the block, as (i64, bitmap)."""
    one = np.uint64(1)
    same, leads = bits, np.uint64(0)
    while True:
        leads |= one << np.uint64(p)
        p += width
        if p >= n or not other >> np.uint64(p) & one or same & JOINER:
            break
        bits, width = class_at(data, at + p, end, stage1, stage2)
        if bits != same or p + width > n:
            break
    return p, leads


@leaf
def _write(
    data: U8, at: int, starts: Any, ends: Any, leads: int, letter: int, symbol: int,
    words: int, start: I64, size: I32, raw: U64, chars: I32, flags: U8,
) -> Any:  # fmt: skip
    """Write the words between the bits of starts and ends; return (number of words, starts that have no end)."""
    one = np.uint64(1)
    while ends:
        begin, stop = first_bit(starts), first_bit(ends)
        bits = (one << np.uint64(stop)) - (one << np.uint64(begin))
        starts &= starts - one
        ends &= ends - one
        w = _U(words)  # without a sign: numba looks at others for those that count from the end
        start[w] = at + begin
        size[w] = stop - begin
        raw[w] = hash_word(data, at + begin, at + stop)
        chars[w] = count_bits(leads & bits)
        flags[w] = (HAS_LETTER if letter & bits else 0) | (0 if bits & ~symbol else ALL_SYMBOLS)
        words += 1
    return words, starts


@kernel(
    nb.int64(
        ro(nb.uint8), ro(nb.int64), tables.STAGE, tables.STAGE, nb.int64,
        rw(nb.int64), rw(nb.int64), rw(nb.int32), rw(nb.uint64), rw(nb.int32), rw(nb.uint8),
    ),
    allocates=False,
)  # fmt: skip
def _split(
    data: U8, offsets: I64, stage1: U8, stage2: U8, first: int, doc: I64, start: I64, size: I32, raw: U64, chars: I32, flags: U8
) -> int:
    """Split documents from `first` on; return n, or the document whose words did not fit (none of it counts).

    A document is read in blocks of up to 63 bytes as bitmaps, one bit a byte: classes of ASCII come from comparisons,
    those of other characters from the table, one by one. A block begins where a word or white space does; what it does
    not see the end of is left to the next block, and a word that fills a block to `_by_character`.
    data: u8[nbytes]; offsets: i64[n+1]; doc: i64[n+1] with doc[first] set; the other five: room for words, written.
    """
    room = len(start)
    words = doc[first]
    zero, one = np.uint64(0), np.uint64(1)
    blank = ~zero if stage2[ord("-")] & WORD else zero  # split at white space alone
    for d in range(first, len(offsets) - 1):
        at, end = offsets[d], offsets[d + 1]
        long = False  # the word at `at` does not end in the block
        while at < end:
            if long or data[at] >= 0x80:
                at, words = _by_character(data, at, end, stage1, stage2, long, words, start, size, raw, chars, flags)
                if at == end:
                    break
                if words == room:
                    return d
                long = False
            n = min(np.int64(63), end - at)
            last = at + n == end
            valid = (one << np.uint64(n)) - one
            word, space, letter, symbol, joiner, other = _ascii(data, at, n, blank)
            leads, wide_joiner = valid, zero  # leads: first bytes of characters
            if other:
                keep = ~other
                word, letter, symbol, leads = word & keep, letter & keep, symbol & keep, leads & keep
                firsts = _accented(data, at) & valid >> one
                pairs = firsts | firsts << one
                word, letter, leads, other = word | pairs, letter | pairs, leads | firsts, other & ~pairs
                while other:
                    p = first_bit(other)
                    bits, width = class_at(data, at + p, end, stage1, stage2)
                    if p + width > n or bits & SINGLE:
                        last = p + width <= n
                        n = p
                        break
                    if bits & JOINER:
                        if width == 1:
                            joiner |= one << np.uint64(p)
                        else:
                            wide_joiner |= one << np.uint64(p)
                    begin, same = p, bits
                    p, firsts = _run(data, at, p, n, end, bits, width, other, stage1, stage2)
                    leads |= firsts
                    chunk = (one << np.uint64(p)) - (one << np.uint64(begin))
                    other &= ~chunk
                    word |= chunk if same & WORD else zero
                    space |= chunk if same & SPACE else zero
                    letter |= chunk if same & LETTER else zero
                    symbol |= chunk if same & SYMBOL else zero
            if not last and n > 3:  # whether a joiner at the very end joins is seen from the next block
                n -= np.int64(joiner >> np.uint64(n - 1) & one)
                n -= np.int64(3 * (wide_joiner >> np.uint64(n - 3) & one))
            valid = (one << np.uint64(n)) - one
            word &= valid
            joined = wide_joiner & word << one & word >> np.uint64(3)
            word |= joiner & word << one & word >> one | joined | joined << one | joined << np.uint64(2)
            rest = valid & ~(word | space)
            starts = (word & ~(word << one)) | (rest & ~(rest << one))
            held = word | rest
            ends = held << one & (~held | starts) & (valid << one | one if last else valid)
            if words + count_bits(ends) > room:
                return d
            words, starts = _write(data, at, starts, ends, leads, letter, symbol, words, start, size, raw, chars, flags)
            if starts == zero:
                at += n
            elif starts & one == zero:
                at += first_bit(starts)
            else:
                long = True
        doc[d + 1] = words
    return len(offsets) - 1


def split_from(data: U8, offsets: I64, first: int, doc: I64, columns: Columns, blank: bool) -> int:
    """Split documents from `first` on, as `words.split_words` asks for; blank: at white space alone."""
    stage1, stage2 = tables.blank_split_classes() if blank else _unspaced_classes()
    return int(_split(data, offsets, stage1, stage2, first, doc, *columns))
