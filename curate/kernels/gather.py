"""Stretches of token streams in memory-mapped shards: their tokens, and where documents begin in them.

Without the interpreter lock: a page that is not in memory holds up nobody else. One call does all stretches of a batch. Shards are mapped when a stretch first needs them, so the tables hold addresses
of memory that the caller keeps mapped; the kernel stops at a shard that is not.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core.cgutils import raw_memcpy
from numba.extending import intrinsic

from curate.kernels.compiled import kernel, leaf, ro, rw

# Of a shard's table, i64[record batches + 1, TABLE_COLUMNS]: tokens of the shard before a record batch, address of its first token,
# address of where its documents begin (i64[documents + 1]), documents. The last row has the tokens of the shard.
TABLE_COLUMNS = 4

# Types of at, size, target, before, shards, tables, rows: what both kernels walk along, described at `gather`.
WALK = (*(rw(types.int64) for _ in range(3)), types.int64, types.int64, ro(types.int64), ro(types.int64))


def _word_at(_: Any, address: Any, index: Any) -> Any:
    """Type and code of word_at(address: i64, index: i64) -> i64: the index-th 64-bit word from an address on."""
    from llvmlite import ir

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        words = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        return builder.load(builder.gep(words, [arguments[1]]))

    return types.int64(types.int64, types.int64), generate


def _copy_words(_: Any, out: Any, at: Any, address: Any, count: Any) -> Any:
    """Type and code of copy_words(out: u16[], at: i64, address: i64, count: i64): memcpy to out[at:at + count]."""
    from llvmlite import ir

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        target = builder.gep(array.data, [arguments[1]])
        origin = builder.inttoptr(arguments[2], ir.IntType(16).as_pointer())
        copy: Any = raw_memcpy  # numba has no types
        copy(builder, target, origin, arguments[3], 2)
        return context.get_dummy_value()

    return types.void(out, types.int64, types.int64, types.int64), generate


word_at: Any = intrinsic(_word_at)
copy_words: Any = intrinsic(_copy_words)


@leaf
def _last_not_above(table, rows, step, value):  # type: ignore[no-untyped-def]
    """The last row r of 0..rows-1 with word_at(table, r * step) <= value; words rise, the first is not above."""
    low, high = 0, rows
    while high - low > 1:
        middle = (low + high) // 2
        if word_at(table, middle * step) <= value:
            low = middle
        else:
            high = middle
    return low


@leaf
def _located(before, shards, tables, rows, at):  # type: ignore[no-untyped-def]
    """(table of the shard that holds token `at` of the stream, record batch, token in the shard); the table is 0 where it is not mapped."""
    shard = _last_not_above(before, shards, 1, at)
    table = tables[shard]
    inside = at - word_at(before, shard)
    return table, 0 if table == 0 else _last_not_above(table, rows[shard], TABLE_COLUMNS, inside), inside


@kernel(types.int64(types.int64, types.int64, *WALK, rw(types.uint16)), allocates=False)
def gather(begin, halves, at, size, target, before, shards, tables, rows, out):  # type: ignore[no-untyped-def]
    """Copy stretches begin, begin + 1, ...; return the first that needs a shard which is not mapped, or their number.

    halves: 16-bit words of a token, 1 or 2
    at, size, target: i64[n], first token in the stream of all shards back to back, tokens, place in `out` (tokens).
        Moved on as tokens are copied, so that a call goes on where the last one stopped
    before: address of i64[shards + 1], tokens before each shard
    tables, rows: i64[shards], address of a shard's table (0: not mapped) and its record batches
    out: u16[m], written
    """
    for i in range(begin, at.shape[0]):
        while size[i] > 0:
            table, batch, inside = _located(before, shards, tables, rows, at[i])
            if table == 0:
                return i
            first = word_at(table, batch * TABLE_COLUMNS)
            count = min(size[i], word_at(table, (batch + 1) * TABLE_COLUMNS) - first - (inside - first))
            address = word_at(table, batch * TABLE_COLUMNS + 1) + (inside - first) * halves * 2
            copy_words(out, target[i] * halves, address, count * halves)
            at[i] += count
            size[i] -= count
            target[i] += count
    return at.shape[0]


@kernel(types.int64(types.int64, *WALK, rw(types.int64), rw(types.int64)), allocates=False)
def document_starts(begin, at, size, target, before, shards, tables, rows, out, state):  # type: ignore[no-untyped-def]
    """Note where stretches begin, and documents inside of them; return the first that is not done, or their number.

    at, size, target, before, shards, tables, rows: as in `gather`
    out: i64[m], written: places in the windows, in the order of the stretches, a place perhaps twice
    state: i64[2]: how many are written; how many more must fit, 0 where it is a shard that is missing
    """
    state[1] = 0
    for i in range(begin, at.shape[0]):
        while size[i] > 0:
            table, batch, inside = _located(before, shards, tables, rows, at[i])
            if table == 0:
                return i
            start = inside - word_at(table, batch * TABLE_COLUMNS)
            count = min(size[i], word_at(table, (batch + 1) * TABLE_COLUMNS) - inside)
            offsets = word_at(table, batch * TABLE_COLUMNS + 2)
            documents = word_at(table, batch * TABLE_COLUMNS + 3)
            first = _last_not_above(offsets, documents, 1, start) + 1
            stop = first
            while stop < documents and word_at(offsets, stop) < start + count:
                stop += 1
            written = state[0]
            if written + 1 + stop - first > out.shape[0]:
                state[1] = 1 + stop - first
                return i
            out[written] = target[i]
            for row in range(first, stop):
                out[written + 1 + row - first] = word_at(offsets, row) - start + target[i]
            state[0] = written + 1 + stop - first
            at[i] += count
            size[i] -= count
            target[i] += count
    return at.shape[0]
