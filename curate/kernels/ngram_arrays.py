"""An index of n-grams as arrays, apart from the kernels that read it: looking at a kept one does not import numba."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]


class Index(NamedTuple):
    """Words of t items, and where each of their seeds stands."""

    settings: I64  # i64[4]: ngram, seed, whether share counts words, max words of a near window times two per item word
    filter: U64  # u64[f], two bits set for each distinct seed
    slots: U64  # u64[s]: low half of a seed's hash << 32 | place in postings + 1; 0 where empty
    postings: I32  # place of a seed in `words`; the last one of each seed is written as ~place
    words: U32  # u32[m], low halves of the words' hashes, item after item
    flags: U8  # u8[m], COUNTS | TELLING | FOLLOWED
    first: I64  # i64[t+1]: words of item i are words[first[i]:first[i+1]]
    item_at: I32  # i32[m // BLOCK + 1], item of every BLOCK-th word
    grams: I32  # i32[t], what share is of; 1 for an item that matches as a whole only; 0 for one that can't
    near: I32  # i32[t], words that coverage needs; 0: the item is not matched by coverage
    bound: F64  # f64[1], share that a match needs; 0.0: one n-gram
    answer_of: I64  # i64[t+1]: answers of item i are answer_first[answer_of[i]:answer_of[i+1]]
    answer_first: I64  # i64[a+1]: words of an answer
    answers: U32
    labels: U32  # words that stand before or behind a question: q, a, question, answer ...
