"""Lines, paragraphs and sentences of documents as ranges of bytes that lie back to back, and text without some ranges.

A unit takes the white space behind it along, and the first one the white space before it, so that units make up the document
and what is left of a text without some of them needs no mending. n documents, u units.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numba import types

from curate.kernels.compiled import kernel, ro, rw
from curate.kernels.paragraphs import pieces
from curate.kernels.sentences import _run as end_of_sentence
from curate.kernels.strings import I64, U8
from curate.kernels.whitespace import space_width, strip

Unit = Literal["line", "paragraph", "sentence"]


class Units(NamedTuple):
    """Units of n documents, in order."""

    doc: I64  # i64[n+1]: units of document d are doc[d]..doc[d+1]
    offsets: I64  # i64[u+1]: unit i is data[offsets[i]:offsets[i+1]]
    starts: I64  # i64[u], stops i64[u]: the same without white space at either end
    stops: I64


@kernel(types.int64(ro(types.uint8), ro(types.int64), rw(types.int64), rw(types.int64)), allocates=False)
def _sentences(data: Any, offsets: Any, starts: Any, doc: Any) -> Any:
    """Find where sentences start, by the rule of `curate.kernels.sentences`; a line break ends one too. Return how many there are.

    starts, doc i64[]: written while there is room. A document of white space alone is one unit, an empty one none.
    """
    count = 0
    for d in range(offsets.shape[0] - 1):
        at, end = offsets[d], offsets[d + 1]
        begun, ended = False, True
        while at < end:
            width = space_width(data, at, end)
            if width:
                ended |= data[at] == 10
                at += width
                continue
            if ended:
                if count < starts.shape[0]:
                    starts[count] = at if begun else offsets[d]
                    doc[count] = d
                count += 1
                begun = True
            stops, after = end_of_sentence(data, at, end)
            ended = stops != 0
            at = after
        if not begun and end > offsets[d]:
            if count < starts.shape[0]:
                starts[count], doc[count] = offsets[d], d
            count += 1
    return count


@kernel(types.void(ro(types.uint8), ro(types.int64), rw(types.int64), rw(types.int64)), allocates=False)
def _strip_all(data: Any, offsets: Any, starts: Any, stops: Any) -> None:
    """starts, stops i64[u]: each range without white space at its ends."""
    for i in range(offsets.shape[0] - 1):
        a, b = strip(data, offsets[i], offsets[i + 1])
        starts[i], stops[i] = a, b


@kernel(types.void(ro(types.uint8), ro(types.int64), ro(types.int64), rw(types.uint8)), allocates=False)
def _copy(data: Any, starts: Any, stops: Any, out: Any) -> None:
    """out: data[starts[i]:stops[i]] back to back."""
    at = 0
    for i in range(starts.shape[0]):
        for j in range(starts[i], stops[i]):
            out[at] = data[j]
            at += 1


def units(data: U8, offsets: I64, unit: Unit) -> Units:
    """Cut each document of a large_string column. A line or paragraph (behind a blank line) has text in it, blank ones belong to the one before."""
    if unit == "sentence":
        none = np.empty(0, np.int64)
        count = _sentences(data, offsets, none, none)
        begins, doc = np.empty(count, np.int64), np.empty(count, np.int64)
        _sentences(data, offsets, begins, doc)
        edges = np.append(begins, offsets[-1])
    else:
        found = pieces(data, offsets, 1 if unit == "line" else 2)
        edges, doc = found.offsets, found.doc
    starts, stops = np.empty(len(doc), np.int64), np.empty(len(doc), np.int64)
    _strip_all(data, edges, starts, stops)
    return Units(np.searchsorted(doc, np.arange(len(offsets))), edges, starts, stops)


def without_ranges(data: U8, offsets: I64, owner: I64, starts: I64, stops: I64) -> tuple[U8, I64]:
    """Return (data, offsets) of n documents without the ranges data[starts[i]:stops[i]] of document owner[i].

    Ranges: in order, apart from each other, each inside its document. Where the last one ends the document, white space at the
    end of what is left goes too.
    """
    n = len(offsets) - 1
    # What stays: one piece more than there are ranges in each document; empty pieces do no harm.
    begins = np.sort(np.concatenate([offsets[:-1], stops]), kind="stable")
    ends = np.sort(np.concatenate([offsets[1:], starts]), kind="stable")
    pieces_of = np.bincount(owner, minlength=n) + 1 if len(owner) else np.ones(n, np.int64)
    piece = np.concatenate([np.zeros(1, np.int64), np.cumsum(pieces_of)])
    for d in np.unique(owner[stops == offsets[owner + 1]]).tolist():
        for i in range(int(piece[d + 1]) - 1, int(piece[d]) - 1, -1):
            a, b = strip(data, int(begins[i]), int(ends[i]))
            ends[i] = b if a < b else begins[i]
            if a < b:
                break
    sizes = np.add.reduceat(ends - begins, piece[:-1]) if n else np.zeros(0, np.int64)
    out = np.empty(max(1, int(sizes.sum())), np.uint8)
    _copy(data, begins, ends, out)
    return out, np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
