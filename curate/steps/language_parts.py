"""Parts of the step `language`: which bound holds for which language, lists of languages as columns, shares by paragraph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

if TYPE_CHECKING:
    from curate.kernels.langid import Identifier
    from curate.kernels.paragraphs import Pieces

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

DEFAULT = "default"  # in a mapping of bounds: of every language that it does not name


class Found(NamedTuple):
    """What is known of n documents. Labels are numbers; the last one, L, is "undetermined"."""

    label: I64  # i64[n]
    score: F64  # f64[n]
    mixed: npt.NDArray[np.bool_] | None = None  # bool[n]
    shares: pa.ListArray | None = None  # of struct {code, share}


def bounds(codes: Sequence[str], given: float | Mapping[str, float] | None) -> F64:
    """Lowest score for each label, f64[L + 1]; -1 where there is no bound."""
    if given is None:
        return np.full(len(codes), -1.0)
    if isinstance(given, Mapping):
        return np.array([given.get(code, given.get(DEFAULT, -1.0)) for code in codes])
    return np.full(len(codes), float(given))


def ranked(codes: pa.StringArray, label: npt.NDArray[np.int32], number: F64, name: str) -> pa.ListArray:
    """A list of {code, <name>} for each document from labels i32[n, k] and numbers f64[n, k]; -1 ends a list."""
    here = label >= 0
    offsets = np.zeros(len(label) + 1, np.int32)
    np.cumsum(here.sum(1), out=offsets[1:])
    fields = [codes.take(pa.array(label[here])), pa.array(number[here])]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.StructArray.from_arrays(fields, ["code", name]))


def by_pieces(
    identifier: Identifier, data: npt.NDArray[np.uint8], cut: Pieces, n: int, codes: pa.StringArray, lowest: F64, fewest: int, mixed_below: float
) -> Found:  # fmt: skip
    """Judge every piece, and add up by document.

    lowest: f64[L + 1], below which a piece is undetermined; fewest: characters below which it is
    A document's language is the one with most characters; its score the mean over its pieces, by characters. It is mixed
    where that language has less than `mixed_below` of the characters whose language was determined.
    """
    unknown = len(codes) - 1
    label, score = identifier(data, cut.offsets)
    sure = (label >= 0) & (score >= lowest[label]) & (cut.chars >= fewest)
    at = np.where(sure, label, unknown).astype(np.int64)
    keys, place = np.unique(cut.doc * len(codes) + at, return_inverse=True)
    chars = np.bincount(place, cut.chars, len(keys))
    weighed = np.bincount(place, cut.chars * score, len(keys))
    doc, found = keys // len(codes), keys % len(codes)
    # Determined languages first, most characters first, then by number: the first of each document is its language.
    order = np.lexsort((found, -chars, found == unknown, doc))
    order = order[chars[order] > 0]
    doc, found, chars, weighed = doc[order], found[order], chars[order], weighed[order]
    whole = np.bincount(doc, chars, n)
    determined = np.bincount(doc, np.where(found == unknown, 0.0, chars), n)
    first = np.flatnonzero(np.diff(doc, prepend=-1))
    main, mean, mixed = np.full(n, unknown, np.int64), np.zeros(n), np.zeros(n, bool)
    known = first[found[first] != unknown]
    main[doc[known]] = found[known]
    mean[doc[known]] = weighed[known] / chars[known]
    mixed[doc[known]] = chars[known] < mixed_below * determined[doc[known]]
    offsets = np.zeros(n + 1, np.int32)
    np.cumsum(np.bincount(doc, minlength=n), out=offsets[1:])
    fields = [codes.take(pa.array(found)), pa.array(chars / whole[doc])]
    return Found(main, mean, mixed, pa.ListArray.from_arrays(pa.array(offsets), pa.StructArray.from_arrays(fields, ["code", "share"])))
