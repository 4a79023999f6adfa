"""Personal data in a batch of documents: find it, settle overlaps, write the text anew.

Everything here is in bytes of the data buffer; `code_points` turns finds into offsets for people.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from curate.kernels.scan import windows
from curate.kernels.scan_tables import KINDS, hints
from curate.kernels.strings import I64, U8
from curate.steps.pii_actions import Replace, tag
from curate.steps.pii_ids import NUMBER_SHAPES, TOKEN_SHAPES
from curate.steps.pii_numbers import IBAN_LENGTH
from curate.steps.pii_patterns import STARTS_WINDOW, PiiType, search
from curate.steps.pii_secrets import KEY_PREFIXES

if TYPE_CHECKING:
    from curate.steps.pii_presidio import Presidio
    from curate.steps.turns import Turns

MAX_ROUNDS = 12
TAGS_FROM_ROUND = 6
HINTS = hints(KEY_PREFIXES, tuple(c.decode() for c in IBAN_LENGTH), TOKEN_SHAPES, NUMBER_SHAPES)


class Find(NamedTuple):
    """One piece of personal data in a document; positions in bytes from the document's start."""

    start: int
    end: int
    kind: int  # index into `Finder.names`; of the fast engine's a lower one wins where two overlap
    score: float = 0.0  # Presidio's; the fast engine's types have one each


Finds = dict[int, list[Find]]  # by document, sorted by start, without overlaps; documents without finds are absent
TYPE_OF_KIND = tuple("national_id" if kind == "national_number" else kind for kind in KINDS)


class Finder:
    """The engines of a step. `names` has the type of every kind of find; Presidio's come behind the fast engine's.

    Where finds of both engines overlap the fast engine's stays: its checks are stricter.
    """

    def __init__(self, types: Mapping[str, PiiType], presidio: Presidio | None = None) -> None:
        """types: of the fast engine, by kind; empty: it is off."""
        self.types, self._presidio = types, presidio
        self.names = list(TYPE_OF_KIND)
        self.needs_languages = presidio is not None

    def __call__(self, data: U8, offsets: I64, languages: Sequence[str | None]) -> Finds:
        """Find personal data in every document. languages: one per document, for Presidio."""
        found = find(data, offsets, self.types) if self.types else {}
        if self._presidio is None:
            return found
        buffer = data.data
        texts = [str(buffer[offsets[d] : offsets[d + 1]], "utf-8") for d in range(len(offsets) - 1)]
        for doc, spans in enumerate(self._presidio.spans(texts, languages)):
            if spans:
                places = _in_bytes(texts[doc], [(a, z) for a, z, _, _ in spans])
                fast = found.get(doc, [])
                more = [Find(a, z, self._kind(name), score) for (a, z), (_, _, name, score) in zip(places, spans, strict=True)]
                found[doc] = sorted(fast + [f for f in more if not _overlaps(f, fast)])
        return found

    def _kind(self, name: str) -> int:
        if name not in self.names[len(KINDS) :]:
            self.names.append(name)
        return self.names.index(name, len(KINDS))

    def score(self, found: Find) -> float:
        """How sure the engine is."""
        return self.types[KINDS[found.kind]].score if found.kind < len(KINDS) else round(found.score, 4)


def _in_bytes(text: str, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Places in code points, sorted, as places in UTF-8."""
    if text.isascii():
        return spans
    result, at, count = [], 0, 0
    for start, end in spans:
        first = count + len(text[at:start].encode())
        count = first + len(text[start:end].encode())
        at = end
        result.append((first, count))
    return result


def find(data: U8, offsets: I64, types: Mapping[str, PiiType]) -> Finds:
    """Find personal data of the given types in every document. Documents without windows cost no Python at all."""
    by_kind = [types.get(name) for name in KINDS]
    wanted = sum(1 << k | kind.scan for k, kind in enumerate(by_kind) if kind is not None)
    found = windows(data, offsets, wanted, HINTS)
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
        return list(search(kind, text, max(start, past), end))
    if start < past:
        return []
    match = kind.pattern.match(text, start, min(end + 2, len(text)))
    span = kind.span_of(text, match) if match else None
    return [span] if span else []


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


class Rewritten(NamedTuple):
    """What became of a batch's text: new bytes of the changed documents, finds as they lie in the resulting text."""

    changed: dict[int, bytes]
    finds: Finds  # in the new text where a document changed; only types that were not replaced
    dropped: dict[int, tuple[str, int]]  # documents with a find of a dropping type: (type, how many)
    counted: list[tuple[int, int]]  # (document, kind) of everything found, in order of documents


def rewrite(
    data: U8,
    offsets: I64,
    finder: Finder,
    languages: Sequence[str | None],
    replacements: Mapping[str, Replace],
    dropping: frozenset[str],
    turns: Turns | None = None,
) -> Rewritten:
    """Replace finds until nothing more is found, so that a second run over the result changes nothing.

    A replacement can uncover a find that its neighbour hid (the longer of two overlapping ones was replaced). Only changed
    documents are looked at again, at most MAX_ROUNDS times; in the later ones tags are written, whatever the action.
    turns: of rows that are conversations; what is found in the view of one is replaced in its turns too.
    """
    finds = finder(data, offsets, languages)
    result = Rewritten({}, {}, {}, [])
    buffer = data.data
    texts = {d: buffer[offsets[d] : offsets[d + 1]] for d in finds}
    numbers, spoken = list(range(len(offsets) - 1)), list(languages)
    for round_number in range(MAX_ROUNDS):
        writes = replacements if round_number < TAGS_FROM_ROUND else {name: tag(name) for name in replacements}
        again: dict[int, bytes] = {}
        for doc, here in finds.items():
            names = [finder.names[f.kind] for f in here]
            result.finds[doc] = [f for f, name in zip(here, names, strict=True) if name not in replacements]
            drops = [f.kind for f, name in zip(here, names, strict=True) if name in dropping]
            if drops:
                result.dropped[doc] = (finder.names[min(drops)], drops.count(min(drops)))
                result.changed.pop(doc, None)  # a dropped document keeps its text
                result.counted.extend((doc, f.kind) for f in here)
                continue
            if turns is None:
                text, written = replaced(texts[doc], here, names, writes)
            else:
                text, written = replaced_in_turns(turns, doc, texts[doc], here, names, writes)
            result.counted.extend((doc, f.kind) for f in (here if round_number == 0 else written))
            if written:
                again[doc] = text
        result.changed.update(again)
        if not again:
            break
        spoken = [spoken[numbers.index(d)] for d in again] if finder.needs_languages else [None] * len(again)
        numbers = list(again)
        sizes = np.cumsum([0, *(len(t) for t in again.values())], dtype=np.int64)
        inner = finder(np.frombuffer(b"".join(again.values()) or b"\0", np.uint8), sizes, spoken)
        finds = {numbers[d]: here for d, here in inner.items()}
        texts = {d: memoryview(again[d]) for d in finds}
        for doc in numbers:
            result.finds[doc] = []
    result.counted.sort(key=lambda pair: pair[0])
    return result


def replaced(text: memoryview, finds: list[Find], names: list[str], writes: Mapping[str, Replace]) -> tuple[bytes, list[Find]]:
    """The text with finds of the types in `writes` written anew, and those finds that this changed."""
    pieces: list[bytes | memoryview] = []
    done: list[Find] = []
    at = 0
    for f, name in zip(finds, names, strict=True):
        if name in writes:
            old = bytes(text[f.start : f.end])
            new = writes[name](old)
            if new != old:
                pieces += (text[at : f.start], new)
                at = f.end
                done.append(f)
    return (b"".join([*pieces, text[at:]]) if done else b""), done


def replaced_in_turns(
    turns: Turns, doc: int, text: memoryview, finds: list[Find], names: list[str], writes: Mapping[str, Replace]
) -> tuple[bytes, list[Find]]:
    """As `replaced`, in the turns of a conversation: each find in the turn it stands in."""
    here = [(f, writes[name]) for f, name in zip(finds, names, strict=True) if name in writes]
    if not here:
        return b"", []
    places = code_points(text, [f for f, _ in here])
    view, done = turns.rewrite(doc, places, lambda n, old: here[n][1](old.encode()).decode())
    return (view.encode() if done else b""), [here[n][0] for n in done]


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
    for start, end, _, _ in finds:
        first = count + _characters(heads[at:start])
        count = first + _characters(heads[start:end])
        at = end
        result.append((first, count))
    return result


def _characters(data: U8) -> int:
    """Code points that begin in UTF-8 `data`."""
    return int(np.count_nonzero((data & 0xC0) != 0x80))
