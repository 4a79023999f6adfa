r"""Words of every document as arrays of positions, hashes, lengths and flags: split once, shared by all steps.

`unicode`: a CJK character (Hiragana, Katakana, Han) is a word; `[\p{L}\p{M}\p{N}_]+` joined over single inner
' \u2019 - . that stand directly between two such characters is one word; a run of other characters that are not white
space is one word. "Don't stop-- it's 3.14" is Don't, stop, --, it's, 3.14.
`spacy_en`: what spaCy's English tokenizer gives, datatrove's split. Do, n't, stop--, it, 's, 3.14.
`whitespace`: what str.split() gives.

Thresholds of word statistics depend on the split; docs/words.md compares them. No kernels here, so that steps can name
the splits without loading numba.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.kernels.strings import views

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

WordSplit = Literal["unicode", "spacy_en", "whitespace"]
Columns = list[npt.NDArray[Any]]  # room for start, size, raw, chars, flags

HAS_LETTER = 1  # at least one letter (\p{L})
ALL_SYMBOLS = 2  # every code point is in datatrove's PUNCTUATION_SET

DTYPES = (np.int64, np.int32, np.uint64, np.int32, np.uint8)
SPARE = 128  # words that kernels may ask room for beyond what a document can hold


class Words(NamedTuple):
    """w words of n documents, in text order. Read-only arrays; 25 bytes a word."""

    doc: I64  # i64[n+1], words of document d are doc[d] .. doc[d+1]
    start: I64  # i64[w], absolute position of the first byte in the data buffer
    size: I32  # i32[w], bytes
    raw: U64  # u64[w], hash of the bytes (`hashing.hash_range`)
    chars: I32  # i32[w], code points
    flags: U8  # u8[w], HAS_LETTER | ALL_SYMBOLS


def split_words(text: pa.LargeStringArray, split: str) -> Words:
    """Split every document by a `WordSplit`; null counts as empty.

    Positions are into the data that `strings.views(text)` gives.
    """
    if split not in get_args(WordSplit):
        known = " or ".join(repr(name) for name in get_args(WordSplit))
        raise ValueError(f"split must be {known}, got {split!r}")
    data, offsets = views(text)
    n = len(offsets) - 1
    doc = np.zeros(n + 1, np.int64)
    room = int(offsets[-1] - offsets[0]) // 3 + SPARE  # ordinary text: 3 bytes a word in Chinese, 5 to 6 elsewhere
    columns: Columns = [np.empty(room, dtype) for dtype in DTYPES]
    done = _split_from(split, data, offsets, 0, doc, columns)
    while done < n:  # a document of one-byte words did not fit: no document has more words than bytes
        used = int(doc[done])
        room = max(2 * room, used + int(offsets[done + 1] - offsets[done]) + SPARE)
        for i, column in enumerate(columns):  # one by one, so that only one column exists twice
            columns[i] = np.empty(room, column.dtype)
            columns[i][:used] = column[:used]
        done = _split_from(split, data, offsets, done, doc, columns)
    for column in (doc, *columns):
        column.setflags(write=False)  # several steps share them
    start, size, raw, chars, flags = columns
    w = int(doc[n])
    return Words(doc, start[:w], size[:w], raw[:w], chars[:w], flags[:w])


def _split_from(split: str, data: U8, offsets: I64, first: int, doc: I64, columns: Columns) -> int:
    """Split documents from `first` on; return n, or the document whose words did not fit (none of it counts).

    data: u8[nbytes]; offsets: i64[n+1]; doc: i64[n+1] with doc[first] set. Writes doc and columns.
    """
    if split == "spacy_en":
        from curate.kernels import spacy_words

        return spacy_words.split_from(data, offsets, first, doc, columns)
    from curate.kernels import unicode_words

    return unicode_words.split_from(data, offsets, first, doc, columns, split == "whitespace")
