"""Count how often strings of a list stand in documents, with the automaton of patterns.py. n documents."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from curate.kernels.characters import character_bits
from curate.kernels.compiled import kernel, ro, ro2, rw, types
from curate.kernels.patterns import Machine, stands
from curate.kernels.strings import I64, views

_u8, _i32, _i64 = types.uint8, types.int32, types.int64


@kernel(types.void(ro(_u8), ro(_i64), ro2(_i32), ro(_u8), ro(_i32), ro(_i32), ro(_i32), _i64, ro(_u8), rw(_i64)), allocates=False)
def _count(
    data: Any, offsets: Any, step: Any, byte_class: Any, ends: Any, further: Any, size: Any, borders: Any, bits: Any, found: Any
) -> None:
    for d in range(offsets.size - 1):
        low, high = offsets[d], offsets[d + 1]
        state = np.int32(0)
        for at in range(low, high):
            state = step[state, byte_class[data[at]]]
            hit = state
            while hit:
                p = ends[hit]
                if p >= 0 and stands(data, low, at + 1 - size[p], at + 1, high, borders, bits):
                    found[d] += 1
                    break
                hit = further[hit]


def occurrences(text: pa.Array, machine: Machine, borders: int) -> I64:
    """i64[n]: at how many places of each document a string of the list ends; of several that end in one place one counts.

    borders: WORD_BORDERS or ANYWHERE of patterns.py, for all strings of the list
    """
    data, offsets = views(text)
    found = np.zeros(len(offsets) - 1, np.int64)
    if len(machine.size):
        _count(data, offsets, *machine, borders, character_bits(), found)
    return found
