from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels import hashing
from curate.kernels.compiled import kernel, ro, rw
from curate.kernels.compiled import types as nb
from curate.kernels.strings import views
from tests.reference import words as naive


@kernel(nb.void(ro(nb.uint64), rw(nb.uint64), rw(nb.uint64), rw(nb.uint8)))
def _exercise(values, mixed, combined, seen):  # type: ignore[no-untyped-def]  # a probe of inlined functions
    size = hashing.table_size(len(values))
    table = np.zeros(size, np.uint64)
    state = np.uint64(0)
    for i in range(len(values)):
        mixed[i] = hashing.mix64(values[i])
        state = hashing.combine(state, values[i])
        combined[i] = state
        seen[i] = hashing.seen_before(table, size - 1, values[i])


@kernel(nb.void(ro(nb.uint8), nb.int64, nb.int64, rw(nb.uint64)), allocates=False)
def _three_ways(data, start, end, out):  # type: ignore[no-untyped-def]  # the same
    out[0], out[1], out[2] = hashing.hash_range(data, start, end), hashing.hash_word(data, start, end), hashing.hash_piece(data, start, end)


def three_ways(data: bytes, start: int, end: int) -> list[int]:
    out = np.zeros(3, np.uint64)
    _three_ways(np.frombuffer(data, np.uint8), start, end, out)
    return out.tolist()


def hashes(texts: list[str]) -> list[int]:
    data, offsets = views(pa.array(texts, pa.large_string()))
    out = np.zeros(len(texts), np.uint64)
    hashing.hash_strings(data, offsets, out)
    return out.tolist()


@given(st.lists(st.text(max_size=40), max_size=8))
def test_hash_of_strings_is_the_naive_one(texts: list[str]) -> None:
    assert hashes(texts) == [naive.hash_bytes(text.encode()) for text in texts]


def test_hash_does_not_depend_on_what_follows() -> None:
    # Tails are read eight bytes at once where the buffer goes on, byte by byte at its end.
    for size in range(20):
        text = "abcdefghijklmnopqrstuvwxyz"[:size]
        assert hashes([text, "\x7f" * 9])[0] == hashes([text])[0]


def test_hash_is_fixed() -> None:
    assert hashes(["", "a", "the quick brown fox"]) == [167625702850156988, 6196312504080071000, 10650438232805136977]


@given(st.lists(st.sampled_from([0, 1, 2, 2**63, 2**64 - 1, 12345]) | st.integers(0, 2**64 - 1), max_size=60))
def test_mix_combine_and_seen(values: list[int]) -> None:
    given_ = np.array(values, np.uint64)
    mixed, combined, seen = np.zeros_like(given_), np.zeros_like(given_), np.zeros(len(values), np.uint8)
    _exercise(given_, mixed, combined, seen)
    assert mixed.tolist() == [naive.mix64(v) for v in values]
    state, states, keys, found = 0, [], set(), []
    for v in values:
        state = naive.combine(state, v)
        states.append(state)
        found.append(int(max(v, 1) in keys))
        keys.add(max(v, 1))
    assert combined.tolist() == states
    assert seen.tolist() == found


def test_short_texts_do_not_collide() -> None:
    texts = [a + b for a in map(chr, range(32, 400)) for b in map(chr, range(32, 400))]
    found = np.array(hashes(texts), np.uint64)
    assert len(np.unique(found)) == len(texts)
    # Either half alone behaves like a random 32-bit hash: about n^2 / 2^33 = 2 collisions.
    for half in (found >> np.uint64(32), found & np.uint64(0xFFFFFFFF)):
        assert len(texts) - len(np.unique(half)) < 12


def test_words_and_pieces_by_size() -> None:
    """A word's hash is the naive one for every size; that of a piece hangs on all its bytes, on its size and on nothing else."""
    content = bytes(range(1, 131))
    pieces = set()
    for size in range(130):
        alone = three_ways(content[:size], 0, size)
        assert alone[0] == alone[1] == naive.hash_bytes(content[:size])
        assert three_ways(b"\xff" * 5 + content[:size] + b"\x07" * 40, 5, 5 + size) == alone
        changed = [content[:k] + b"\0" + content[k + 1 : size] for k in range(size)]
        pieces |= {alone[2], *(three_ways(data, 0, size)[2] for data in changed)}
    assert len(pieces) == sum(size + 1 for size in range(130))
