"""Cut documents into lines or paragraphs that still lie back to back, so that kernels for documents take them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import types

from curate.kernels.compiled import kernel, ro, rw

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]


class Pieces(NamedTuple):
    """Pieces of n documents: piece p is data[offsets[p] : offsets[p + 1]], with the line breaks behind it."""

    offsets: I64  # i64[pieces + 1]
    doc: I64  # i64[pieces]
    chars: I64  # i64[pieces] characters that are not ASCII white space


@kernel(types.int64(ro(types.uint8), ro(types.int64), types.int64, rw(types.int64), rw(types.int64), rw(types.int64)), allocates=False)
def _cut(data: Any, offsets: Any, breaks: Any, starts: Any, doc: Any, chars: Any) -> Any:
    """Find pieces: a new one starts behind `breaks` newlines or more with nothing but white space between them.

    starts, doc, chars i64[pieces]: written where they are long enough. Returns the number of pieces; one at least for each
    document that is not empty.
    """
    pieces = 0
    for d in range(offsets.shape[0] - 1):
        at, stop = offsets[d], offsets[d + 1]
        newlines, begun, found = breaks, False, 0
        while at < stop:
            byte = data[at]
            if byte == 10:
                newlines += 1
            elif not (byte == 32 or 9 <= byte <= 13):
                if not begun or newlines >= breaks:
                    if begun and pieces <= chars.shape[0]:
                        chars[pieces - 1] = found
                    if pieces < starts.shape[0]:
                        starts[pieces], doc[pieces] = (at if begun else offsets[d]), d
                    pieces, begun, found = pieces + 1, True, 0
                newlines = 0
                found += 1 if byte & 0xC0 != 0x80 else 0
            at += 1
        if not begun and stop > offsets[d]:
            if pieces < starts.shape[0]:
                starts[pieces], doc[pieces] = offsets[d], d
            pieces += 1
        if pieces <= chars.shape[0] and stop > offsets[d]:
            chars[pieces - 1] = found
    return pieces


def pieces(data: U8, offsets: I64, breaks: int) -> Pieces:
    """Lines (`breaks` 1) or paragraphs between blank lines (2) of each document of a large_string column."""
    none = np.empty(0, np.int64)
    count = _cut(data, offsets, breaks, none, none, none)
    starts, doc, chars = np.empty(count + 1, np.int64), np.empty(count, np.int64), np.empty(count, np.int64)
    _cut(data, offsets, breaks, starts[:count], doc, chars)
    starts[count] = offsets[-1]
    return Pieces(starts, doc, chars)
