"""Candidates of a batch as flat arrays. N: candidates of all rows, one after the other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import DataError
from curate.steps.sampling import draws

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Pool:
    """Arrays over the candidates of a batch."""

    offsets: I64  # rows + 1: candidates of row r are [offsets[r], offsets[r + 1])
    structs: pa.StructArray  # N, the candidates
    texts: pa.LargeStringArray  # N, the answer as one text, reasoning and calls included: what makes two answers the same

    @property
    def group(self) -> I64:
        """N: the row of each candidate."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    @property
    def position(self) -> I64:
        """N: number of each candidate in its row, from 0."""
        return np.arange(len(self.structs)) - np.repeat(self.offsets[:-1], np.diff(self.offsets))

    def scores(self, name: str) -> F64:
        """N: the score of that name, NaN where it is null or missing. Raises DataError where no candidate at all has one of that name."""
        column = _child(self.structs, "scores")
        entries = column.flatten()
        names, values = _child(entries, "name"), _child(entries, "value")
        mine = pc.fill_null(pc.equal(names, name), False).to_numpy(zero_copy_only=False)
        if len(self.structs) and not mine.any():
            known = pc.unique(names).to_pylist()
            raise DataError(
                f"no candidate has a score {name!r}. There are: {', '.join(map(str, known)) or 'none'}. Add a step score with that name."
            )
        owner = np.repeat(np.arange(len(column)), pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False))
        found = np.full(len(column), np.nan)
        found[owner[mine]] = values.to_numpy(zero_copy_only=False)[mine]
        return found

    def identity(self) -> I64:
        """N: equal numbers for equal answers."""
        if not len(self.texts):
            return np.zeros(0, np.int64)
        coded: I64 = self.texts.dictionary_encode().indices.to_numpy().astype(np.int64)
        return coded

    def lengths(self) -> F64:
        """N: tokens where every candidate says how many it has, else code points."""
        tokens = _child(self.structs, "tokens")
        found = tokens if len(tokens) and tokens.null_count == 0 else pc.utf8_length(self.texts)
        numbers: F64 = pc.cast(found, pa.float64()).to_numpy(zero_copy_only=False)
        return numbers

    def cut_off(self) -> Bools:
        """N: the answer ended at the bound on its length."""
        found: Bools = pc.fill_null(pc.equal(_child(self.structs, "finish_reason"), "length"), False).to_numpy(zero_copy_only=False)
        return found

    def empty(self) -> Bools:
        """N: nothing but white space."""
        found: Bools = pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(self.texts)), 0).to_numpy(zero_copy_only=False)
        return found

    def random(self, ids: pa.Array, seed: int) -> F64:
        """N: numbers in [0, 1) that follow from the row's id, the candidate's place and the seed."""
        row = np.floor(draws(ids, seed) * 2.0**53).astype(np.uint64)
        mixed = row[self.group] * np.uint64(0x9E3779B97F4A7C15) + self.position.astype(np.uint64) * np.uint64(0xD1342543DE82EF95)
        mixed = (mixed ^ (mixed >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
        mixed ^= mixed >> np.uint64(32)
        found: F64 = (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return found


def pool_of(batch: pa.RecordBatch) -> Pool:
    """The pool of a batch of records."""
    column = batch.column("candidates")
    counts = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    structs = column.flatten()
    return Pool(np.r_[0, np.cumsum(counts)].astype(np.int64), structs, _texts(structs))


def _child(structs: pa.StructArray, name: str) -> pa.Array:
    return structs.flatten()[structs.type.get_field_index(name)]


def _texts(structs: pa.StructArray) -> pa.LargeStringArray:
    messages = _child(structs, "messages")
    flat = messages.flatten()
    odd = sum(len(c) - c.null_count for c in (_child(flat, n) for n in ("tool_calls", "parts")))
    if len(flat) == len(structs) and not odd and bool(pc.all(pc.equal(pc.list_value_length(messages), 1)).as_py() is not False):
        content = pc.fill_null(_child(flat, "content"), "")
        reasoning = _child(flat, "reasoning")
        if reasoning.null_count == len(reasoning):
            return content
        return pc.binary_join_element_wise(content, pc.fill_null(reasoning, ""), pa.scalar("\x1f", pa.large_string()))
    from formats.batches import read_candidates
    from formats.json_text import dumps
    from formats.records import text_of

    lists = pa.ListArray.from_arrays(pa.array(np.arange(len(structs) + 1), pa.int32()), structs)
    made = []
    for (candidate,) in read_candidates(lists):
        turns = [(text_of(m), m.reasoning, m.tool_calls, m.parts) for m in candidate.messages]
        plain = all(calls is None and parts is None and reasoning is None for _, reasoning, calls, parts in turns)
        made.append("\x1e".join(t[0] for t in turns) if plain else dumps(turns))
    return pa.array(made, pa.large_string())


def clusters(texts: pa.LargeStringArray, offsets: I64, max_similarity: float, ngram: int = 3) -> I64:
    """N: a number for each cluster of answers of a row that are nearly the same, by Jaccard similarity of sets of word n-grams above the bound.

    Clusters are chains of near answers (single linkage). Python for each answer: 10,000 a second or so.
    """
    sets = [_grams(t or "", ngram) for t in texts.to_pylist()]
    found = np.arange(len(sets))
    for start, stop in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        for a in range(start, stop):
            for b in range(start, a):
                if found[a] != found[b] and _jaccard(sets[a], sets[b]) > max_similarity:
                    low, high = sorted((int(found[a]), int(found[b])))
                    found[start:stop][found[start:stop] == high] = low
    return found


def _grams(text: str, n: int) -> frozenset[tuple[str, ...]]:
    words = _WORD.findall(text.lower())
    return frozenset(tuple(words[at : at + n]) for at in range(max(1, len(words) - n + 1)))


def _jaccard(a: frozenset[Any], b: frozenset[Any]) -> float:
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared)


def first_of(keys: Sequence[npt.NDArray[Any]], order: npt.NDArray[Any]) -> Bools:
    """Whether each entry is the first of its key. order: a sort in which equal keys are neighbours, the first one first."""
    if not len(order):
        return np.zeros(0, bool)
    changed = np.zeros(len(order), bool)
    changed[0] = True
    for key in keys:
        ordered = key[order]
        changed[1:] |= ordered[1:] != ordered[:-1]
    found = np.zeros(len(order), bool)
    found[order[changed]] = True
    return found


def places(group: I64, order: npt.NDArray[Any]) -> I64:
    """Place of each entry within its group, from 0. order: a sort by group first."""
    ordered = group[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(order) else np.zeros(0, np.int64)
    inside = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
    found = np.zeros(len(order), np.int64)
    found[order] = inside
    return found
