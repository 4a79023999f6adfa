"""Bitmaps of 64 bytes: bit k says something of byte k. What they find costs no branch a byte.

LLVM makes one comparison and one move of mask bits for every vector register of bytes; the code is the same on every
machine. Callers make sure that 64 bytes are there. Where a branch decides between two bitmaps LLVM takes them apart byte by byte: mask
them with all bits or none instead.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import intrinsic

from curate.kernels.compiled import leaf
from curate.kernels.compiled import types as nb

BLOCK = 64  # bytes


def _bytes_between(_: Any, data: Any, at: Any, low: Any, high: Any) -> Any:
    """Type and code of bytes_between(data: u8[], at: i64, low: u8, high: u8) -> u64: low <= data[at + k] <= high."""
    from llvmlite import ir

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte, word = ir.IntType(8), ir.IntType(64)
        row = ir.VectorType(byte, 64)
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        value = builder.load(builder.bitcast(builder.gep(array.data, [arguments[1]]), row.as_pointer()))
        value.align = 1

        def spread(scalar: Any) -> Any:
            one = builder.insert_element(ir.Constant(row, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
            return builder.shuffle_vector(one, ir.Constant(row, ir.Undefined), ir.Constant(ir.VectorType(ir.IntType(32), 64), [0] * 64))

        span = builder.sub(arguments[3], arguments[2])
        inside = builder.icmp_unsigned("<=", builder.sub(value, spread(arguments[2])), spread(span))
        return builder.bitcast(inside, word)

    return nb.uint64(data, nb.int64, nb.uint8, nb.uint8), generate


def _first_bit(_: Any, bits: Any) -> Any:
    """Type and code of first_bit(bits: u64) -> i64: position of the lowest bit that is set; 64 where none is."""
    from llvmlite import ir

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return nb.int64(nb.uint64), generate


def _last_bit(_: Any, bits: Any) -> Any:
    """Type and code of last_bit(bits: u64) -> i64: position of the highest bit that is set; -1 where none is."""
    from llvmlite import ir

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.sub(ir.Constant(ir.IntType(64), 63), builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0)))

    return nb.int64(nb.uint64), generate


def _count_bits(_: Any, bits: Any) -> Any:
    """Type and code of count_bits(bits: u64) -> i64: how many bits are set."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return nb.int64(nb.uint64), generate


def _copy32(_: Any, source: Any, at: Any, target: Any, to: Any) -> Any:
    """Type and code of copy32(source: u8[], at: i64, target: u8[], to: i64): 32 bytes at once, from and to any address, no bounds check."""
    from llvmlite import ir

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        row = ir.VectorType(ir.IntType(8), 32)
        places = []
        for k in (0, 2):
            array = context.make_array(signature.args[k])(context, builder, arguments[k])
            places.append(builder.bitcast(builder.gep(array.data, [arguments[k + 1]]), row.as_pointer()))
        value = builder.load(places[0])
        value.align = 1
        builder.store(value, places[1], align=1)
        return context.get_dummy_value()

    return nb.void(source, nb.int64, target, nb.int64), generate


bytes_between: Any = intrinsic(_bytes_between)
first_bit: Any = intrinsic(_first_bit)
last_bit: Any = intrinsic(_last_bit)
count_bits: Any = intrinsic(_count_bits)
copy32: Any = intrinsic(_copy32)


@leaf
def bytes_equal(data: Any, at: int, byte: Any) -> Any:
    """u64: bit k says that data[at + k] is `byte`."""
    return bytes_between(data, at, byte, byte)


@leaf
def letters(data: Any, at: int, lower: Any) -> Any:
    """u64: bit k says that data[at + k] is the ASCII letter `lower` in either case."""
    return bytes_between(data, at, lower, lower) | bytes_between(data, at, lower - 32, lower - 32)


@leaf
def low_bits(n: int) -> Any:
    """u64 with the lowest n bits set, 0 <= n <= 64."""
    return ~np.uint64(0) if n >= BLOCK else (np.uint64(1) << np.uint64(n)) - np.uint64(1)
