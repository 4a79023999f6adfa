"""Where personal data may begin, 64 bytes at a time: at the first digit of a group, at an @, at a byte that gives a key away.

A byte gives a key away by itself or by what stands before it: a dash behind a `k` is one of 60,000 bytes of text, a dash
one of fifty. Comparing 64 bytes with forty constants takes a quarter of the time of looking each of them up in a table.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

from curate.kernels.scan_tables import TRIGGERS

BYTES = 64


def _typed_seeds(_: Any, data: Any, at: Any) -> Any:
    """Type and code of seeds(data: u8[], at: i64) -> u64: bit k where something may begin at data[at + k]. Reads data[at - 1 : at + 64]."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        from llvmlite import ir

        byte, vector = ir.IntType(8), ir.VectorType(ir.IntType(8), BYTES)
        start = builder.gep(context.make_array(signature.args[0])(context, builder, arguments[0]).data, [arguments[1]])

        def load(shift: int) -> Any:
            moved = builder.gep(start, [ir.Constant(ir.IntType(64), shift)])
            return builder.load(builder.bitcast(moved, vector.as_pointer()), align=1)

        def all_of(value: int) -> Any:
            return ir.Constant(vector, [ir.Constant(byte, value)] * BYTES)

        def any_of(bytes_: Any, members: bytes) -> Any:
            found = [builder.icmp_unsigned("==", bytes_, all_of(member)) for member in members]
            while len(found) > 1:
                found = [builder.or_(*found[:2]), *found[2:]]
            return found[0]

        def is_digit(bytes_: Any) -> Any:
            return builder.icmp_unsigned("<", builder.sub(bytes_, all_of(ord("0"))), all_of(10))

        here, before = load(0), load(-1)
        seeds = builder.or_(builder.and_(is_digit(here), builder.not_(is_digit(before))), any_of(here, b"@"))
        for trigger, neighbours in TRIGGERS.items():
            there = any_of(here, trigger)
            seeds = builder.or_(seeds, builder.and_(there, any_of(before, neighbours)) if neighbours else there)
        return builder.bitcast(seeds, ir.IntType(BYTES))

    return types.uint64(data, types.int64), generate


seeds: Any = intrinsic(_typed_seeds)
