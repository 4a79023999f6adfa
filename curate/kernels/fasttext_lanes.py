"""Vectors of integers for the kernels that run fastText models: a word cut out of text, and eight n-grams at a time.

Everything here takes positions as unsigned 64-bit numbers and checks no bounds: arrays have room for what is read and written
beyond the last element that counts. On a CPU with narrower registers LLVM cuts the vectors up, with the same result.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

KEY = 32  # bytes of a word that are read at once
BLOCK = 64  # bytes looked at for white space at once; `tail` u8[2 * BLOCK] has the last BLOCK - 1 bytes of data, or all, and zeros
OCTET = 8  # n-grams


def _ir() -> Any:
    from llvmlite import ir

    return ir


def _vector(width: int, bits: int, values: Any) -> Any:
    """A constant vector of `width` integers of `bits` bits."""
    ir = _ir()
    return ir.Constant(ir.VectorType(ir.IntType(bits), width), list(values))


def _everywhere(builder: Any, value: Any, width: int, bits: int) -> Any:
    """The lowest `bits` bits of an i64, in every element of a vector."""
    ir = _ir()
    one = value if value.type.width == bits else builder.trunc(value, ir.IntType(bits))
    kind = ir.VectorType(one.type, width)
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), one, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), _vector(width, 32, [0] * width))


def _array(context: Any, builder: Any, signature: Any, arguments: Any, k: int) -> Any:
    return context.make_array(signature.args[k])(context, builder, arguments[k])


def _octet(builder: Any, array: Any, at: Any) -> Any:
    """Address of eight 32-bit numbers."""
    ir = _ir()
    return builder.bitcast(builder.gep(array.data, [at]), ir.VectorType(ir.IntType(32), OCTET).as_pointer())


def _address(context: Any, builder: Any, data: Any, at: Any, tail: Any, size: int) -> Any:
    """Address of `size` bytes (at most BLOCK) of data from `at` on; beyond its end are zeros. tail: see BLOCK."""
    ir = _ir()
    number, rest = ir.IntType(64), ir.Constant(ir.IntType(64), BLOCK - 1)
    short = builder.icmp_unsigned("<", data.nitems, rest)
    base = builder.select(short, ir.Constant(number, 0), builder.sub(data.nitems, rest))
    inside = builder.icmp_unsigned("<=", builder.add(at, ir.Constant(number, size)), data.nitems)
    return builder.select(inside, builder.gep(data.data, [at]), builder.gep(tail.data, [builder.sub(at, base)]))


def _typed_white(_: Any, data: Any, at: Any, tail: Any) -> Any:
    """Type and code of white_space(data: u8[], at, tail: u8[]) -> u64: which of 64 bytes are white space (space, \t \n \v \f \r, NUL)."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        ir = _ir()
        data, tail = (_array(context, builder, signature, arguments, k) for k in (0, 2))
        address = _address(context, builder, data, arguments[1], tail, BLOCK)
        read = builder.load(builder.bitcast(address, ir.VectorType(ir.IntType(8), BLOCK).as_pointer()), align=1)
        control = builder.icmp_unsigned("<", builder.sub(read, _vector(BLOCK, 8, [9] * BLOCK)), _vector(BLOCK, 8, [5] * BLOCK))
        others = (builder.icmp_unsigned("==", read, _vector(BLOCK, 8, [byte] * BLOCK)) for byte in (32, 0))
        return builder.bitcast(builder.or_(builder.or_(*others), control), ir.IntType(BLOCK))

    return types.uint64(data, types.uint64, tail), generate


def _typed_key(_: Any, data: Any, at: Any, tail: Any, size: Any, into: Any, to: Any) -> Any:
    """Type and code of word_key(data: u8[], at, tail: u8[], size, into: u64[], to).

    into[to : to + 4] = the bytes data[at : at + min(size, KEY)], then zeros.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        ir = _ir()
        data, tail, into = (_array(context, builder, signature, arguments, k) for k in (0, 2, 4))
        kind = ir.VectorType(ir.IntType(8), KEY)
        address = _address(context, builder, data, arguments[1], tail, KEY)
        read = builder.load(builder.bitcast(address, kind.as_pointer()), align=1)
        most = ir.Constant(ir.IntType(64), KEY)
        n = builder.select(builder.icmp_unsigned("<", arguments[3], most), arguments[3], most)
        counts = builder.icmp_signed(">", _everywhere(builder, n, KEY, 8), _vector(KEY, 8, range(KEY)))
        key = builder.select(counts, read, ir.Constant(kind, None))
        builder.store(key, builder.bitcast(builder.gep(into.data, [arguments[5]]), kind.as_pointer()), align=8)
        return context.get_dummy_value()

    return types.void(data, types.uint64, tail, types.uint64, into, types.uint64), generate


def _typed_widen(_: Any, value: Any, into: Any, to: Any) -> Any:
    """Type and code of widen(value: u64, into: u32[], to): into[to : to + 8] = the bytes of value, the lowest first."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        ir = _ir()
        wide = builder.zext(builder.bitcast(arguments[0], ir.VectorType(ir.IntType(8), OCTET)), ir.VectorType(ir.IntType(32), OCTET))
        builder.store(wide, _octet(builder, _array(context, builder, signature, arguments, 1), arguments[2]), align=4)
        return context.get_dummy_value()

    return types.void(types.uint64, into, types.uint64), generate


def _typed_count_down(_: Any, into: Any, to: Any, value: Any) -> Any:
    """Type and code of count_down(into: u32[], to, value: u64): into[to : to + 8] = value, value - 1, ..."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        numbers = builder.sub(_everywhere(builder, arguments[2], OCTET, 32), _vector(OCTET, 32, range(OCTET)))
        builder.store(numbers, _octet(builder, _array(context, builder, signature, arguments, 0), arguments[1]), align=4)
        return context.get_dummy_value()

    return types.void(into, types.uint64, types.uint64), generate


def _hash(widest: int) -> Any:
    """The function for characters of at most `widest` bytes."""

    def typed(_: Any, planes: Any, to: Any, source: Any, bytes_: Any, plane: Any, widths: Any) -> Any:
        """Type and code of hash_octet(planes: u32[], to, source, bytes_, plane, widths).

        Eight hashes at `to` = those at `source` and one character more each: its bytes are at bytes_ and every `plane` from there, how
        many they are at widths.
        """

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            planes = _array(context, builder, signature, arguments, 0)
            prime = _vector(OCTET, 32, [16777619] * OCTET)
            h, at = builder.load(_octet(builder, planes, arguments[2]), align=4), arguments[3]
            width = builder.load(_octet(builder, planes, arguments[5]), align=4)
            for k in range(widest):
                more = builder.mul(builder.xor(h, builder.load(_octet(builder, planes, at), align=4)), prime)
                h = builder.select(builder.icmp_signed(">", width, _vector(OCTET, 32, [k] * OCTET)), more, h) if k else more
                at = builder.add(at, arguments[4])
            builder.store(h, _octet(builder, planes, arguments[1]), align=4)
            return context.get_dummy_value()

        number = types.uint64
        return types.void(planes, number, number, number, number, number), generate

    return intrinsic(typed)


def _typed_bucket(_: Any, planes: Any, at: Any, left: Any, gram: Any, inverse: Any, buckets: Any, nowhere: Any) -> Any:
    """Type and code of to_buckets(planes: u32[], at, left, gram, inverse, buckets, nowhere), in place at `at`.

    Eight hashes modulo buckets (below 2^31); `nowhere` where the number at `left` is below gram. inverse: (2^32 - 1) // buckets, so
    that the upper half of h * inverse is h // buckets or one less.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        ir = _ir()
        planes = _array(context, builder, signature, arguments, 0)
        narrow, wide = ir.VectorType(ir.IntType(32), OCTET), ir.VectorType(ir.IntType(64), OCTET)
        gram, inverse, buckets, nowhere = (_everywhere(builder, arguments[k], OCTET, 32) for k in (3, 4, 5, 6))
        h = builder.load(_octet(builder, planes, arguments[1]), align=4)
        product = builder.mul(builder.zext(h, wide), builder.zext(inverse, wide))
        quotient = builder.trunc(builder.lshr(product, _vector(OCTET, 64, [32] * OCTET)), narrow)
        rest = builder.sub(h, builder.mul(quotient, buckets))
        less = builder.sub(rest, buckets)
        rest = builder.select(builder.icmp_unsigned("<", less, rest), less, rest)
        left = builder.load(_octet(builder, planes, arguments[2]), align=4)
        result = builder.select(builder.icmp_unsigned(">=", left, gram), rest, nowhere)
        builder.store(result, _octet(builder, planes, arguments[1]), align=4)
        return context.get_dummy_value()

    number = types.uint64
    return types.void(planes, number, number, number, number, number, number), generate


white_space: Any = intrinsic(_typed_white)
word_key: Any = intrinsic(_typed_key)
widen: Any = intrinsic(_typed_widen)
count_down: Any = intrinsic(_typed_count_down)
hash_narrow, hash_two, hash_four = (_hash(widest) for widest in (1, 2, 4))
to_buckets: Any = intrinsic(_typed_bucket)
