"""Personal data in a batch of documents: find it, settle overlaps, write the text anew.

Everything here is in bytes of the data buffer; `code_points` turns finds into offsets for people.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from curate.kernels.scan import KINDS, windows
from curate.kernels.strings import I64, U8
from curate.steps.pii_patterns import KEY_PREFIXES, STARTS_WINDOW, PiiType, search

MAX_ROUNDS = 8


class Find(NamedTuple):
    """One piece of personal data in a document; positions in bytes from the document's start."""

    start: int
    end: int
    kind: int  # index into KINDS: a lower one wins where two overlap


Finds = dict[int, list[Find]]  # by document, sorted by start, without overlaps; documents without finds are absent


def find(data: U8, offsets: I64, types: Mapping[str, PiiType]) -> Finds:
    """Find personal data of the given types in every document. Documents without windows cost no Python at all."""
    by_kind = [types.get(name) for name in KINDS]
    wanted = sum(1 << k for k, kind in enumerate(by_kind) if kind is not None)
    found = windows(data, offsets, wanted, KEY_PREFIXES)
    buffer = data.data
    result: Finds = {}
    if not len(found.doc):
        return result
    low, high = offsets[found.doc], offsets[found.doc + 1]
    rows = zip(found.doc.tolist(), found.kind.tolist(), low.tolist(), high.tolist(), found.start.tolist(), found.end.tolist(), strict=True)
    current, past, text = -1, [0] * len(KINDS), buffer[:0]
    for doc, k, first, last, start, end in rows:
        if doc != current:
            current, past, text = doc, [0] * len(KINDS), buffer[first:last]
        kind = by_kind[k]
        assert kind is not None
        for a, z in _in_window(kind, text, start - first, end - first, past[k]):
            past[k] = z
            result.setdefault(doc, []).append(Find(a, z, k))
    for doc, finds in result.items():
        if len(finds) > 1:
            result[doc] = settle(finds)
    return result


def _in_window(kind: PiiType, text: memoryview, start: int, end: int, past: int) -> list[tuple[int, int]]:
    """Finds in a window, given that the last one of this type ended at `past`."""
    if kind.name not in STARTS_WINDOW:
        return list(search(kind, text, start, end))
    if start < past:
        return []
    match = kind.pattern.match(text, start, min(end + 2, len(text)))
    stop = kind.end_of(text, match) if match else -1
    return [(start, stop)] if stop >= 0 else []


def settle(finds: list[Find]) -> list[Find]:
    """Drop every find that overlaps one of a type with priority; return the rest by start.

    Finds of one type never overlap each other, so the kept ones can be merged type by type.
    """
    kept: list[Find] = []
    for k in range(len(KINDS)):
        new = [f for f in finds if f.kind == k]
        if not new:
            continue
        kept = sorted(kept + [f for f in new if not _overlaps(f, kept)]) if kept else new
    return kept


def _overlaps(find: Find, kept: list[Find]) -> bool:
    at = bisect.bisect_right(kept, find.start, key=lambda f: f.start)
    return (at > 0 and kept[at - 1].end > find.start) or (at < len(kept) and kept[at].start < find.end)


def replace(text: memoryview, finds: list[Find], replacements: Mapping[int, bytes | None]) -> bytes:
    """Return the text with each find of a type in `replacements` replaced; None there means: mask it."""
    pieces: list[bytes | memoryview] = []
    at = 0
    for start, end, kind in finds:
        if kind not in replacements:
            continue
        new = replacements[kind]
        pieces += (text[at:start], mask(bytes(text[start:end])) if new is None else new)
        at = end
    return b"".join([*pieces, text[at:]])


def mask(found: bytes) -> bytes:
    """Write '*' for every letter and digit and keep the rest, so that shape and number of code points stay."""
    return "".join("*" if c.isalnum() else c for c in found.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


class Rewritten(NamedTuple):
    """What became of a batch's text: new bytes of the changed documents, finds as they lie in the resulting text."""

    changed: dict[int, bytes]
    finds: Finds  # in the new text where a document changed; only types that were not replaced
    dropped: dict[int, tuple[int, int]]  # documents with a find of a dropping type: (kind, how many)


def rewrite(
    data: U8, offsets: I64, types: Mapping[str, PiiType], replacements: Mapping[int, bytes | None], dropping: frozenset[int]
) -> Rewritten:
    """Replace finds until nothing more is found, so that a second run over the result changes nothing.

    A replacement can uncover a find that its neighbour hid (the longer of two overlapping ones was replaced). Only changed
    documents are looked at again, at most MAX_ROUNDS times.
    """
    finds = find(data, offsets, types)
    result = Rewritten({}, {}, {})
    buffer = data.data
    texts = {d: buffer[offsets[d] : offsets[d + 1]] for d in finds}
    for _ in range(MAX_ROUNDS):
        again: dict[int, bytes] = {}
        for doc, here in finds.items():
            result.finds[doc] = [f for f in here if f.kind not in replacements]
            drops = [f.kind for f in here if f.kind in dropping]
            if drops:
                result.dropped[doc] = (min(drops), drops.count(min(drops)))
                result.changed.pop(doc, None)  # a dropped document keeps its text
            elif any(f.kind in replacements for f in here):
                again[doc] = replace(texts[doc], here, replacements)
        result.changed.update(again)
        if not again:
            break
        numbers = list(again)
        sizes = np.cumsum([0, *(len(t) for t in again.values())], dtype=np.int64)
        inner = find(np.frombuffer(b"".join(again.values()) or b"\0", np.uint8), sizes, types)
        finds = {numbers[d]: here for d, here in inner.items()}
        texts = {d: memoryview(again[d]) for d in finds}
        for doc in numbers:
            result.finds[doc] = []
    return result


def splice(data: U8, offsets: I64, changed: Mapping[int, bytes]) -> tuple[U8, I64]:
    """Return (data, offsets) with the changed documents' new bytes; stretches between them are copied as one."""
    buffer = data.data
    pieces: list[bytes | memoryview] = []
    sizes = np.diff(offsets)
    at = int(offsets[0])
    for doc in sorted(changed):
        pieces += (buffer[at : offsets[doc]], changed[doc])
        at = int(offsets[doc + 1])
        sizes[doc] = len(changed[doc])
    pieces.append(buffer[at : offsets[-1]])
    new_offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return np.frombuffer(b"".join(pieces), np.uint8), new_offsets


def code_points(text: memoryview, finds: list[Find]) -> list[tuple[int, int]]:
    """(start, end) of each find in code points of the document."""
    heads = np.asarray(text)
    result, at, count = [], 0, 0
    for start, end, _ in finds:
        first = count + _characters(heads[at:start])
        count = first + _characters(heads[start:end])
        at = end
        result.append((first, count))
    return result


def _characters(data: U8) -> int:
    """Code points that begin in UTF-8 `data`."""
    return int(np.count_nonzero((data & 0xC0) != 0x80))
