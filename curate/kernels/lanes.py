"""Single machine instructions and vectors of floats, for kernels that are written around them.

Everything here takes positions as unsigned 64-bit numbers and checks no bounds. Vectors have LANES numbers of float32; on a
CPU with narrower registers LLVM cuts them up, with the same result: no sum is reordered.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

LANES = 16


def _native(name: str, *operands: Any) -> Any:
    """The function u64 -> u64 that LLVM calls `name`, one machine instruction."""

    def typed(_: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            from llvmlite import ir

            extra = [ir.Constant(ir.IntType(1), operand) for operand in operands]
            function = builder.module.declare_intrinsic(
                name, [ir.IntType(64)], ir.FunctionType(ir.IntType(64), [ir.IntType(64)] + [e.type for e in extra])
            )
            return builder.call(function, [*arguments, *extra])

        return types.uint64(types.uint64), generate

    return intrinsic(typed)


ones = _native("llvm.ctpop")
trailing_zeros = _native("llvm.cttz", 0)  # 64 for 0


def _typed_add(_: Any, into: Any, to: Any, rows: Any, at: Any) -> Any:
    """Type and code of add_lanes(into: f64[], to: u64, rows: f32[] or u8[], at: u64): into[to : to + LANES] += rows[at :] as float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        from llvmlite import ir

        single, wide = ir.VectorType(ir.FloatType(), LANES), ir.VectorType(ir.DoubleType(), LANES)
        sums, added = (context.make_array(signature.args[k])(context, builder, arguments[k]) for k in (0, 2))
        target = builder.bitcast(builder.gep(sums.data, [arguments[1]]), wide.as_pointer())
        source = builder.load(builder.bitcast(builder.gep(added.data, [arguments[3]]), single.as_pointer()), align=1)
        builder.store(builder.fadd(builder.load(target, align=8), builder.fpext(source, wide)), target, align=8)
        return context.get_dummy_value()

    return types.void(into, types.uint64, rows, types.uint64), generate


def _typed_sum(_: Any, into: Any, to: Any, rows: Any, skip: Any, listed: Any, begin: Any, end: Any, new: Any) -> Any:
    """Type and code of sum_lanes(into: f32[], to, rows: u8[], skip, listed: u64[], begin, end, new: bool).

    into[to : to + LANES] += the float32 numbers at rows[listed[k] + skip :] for k in range(begin, end), one after the other,
    in a register; `new` starts from zeros.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        from llvmlite import ir

        i64, single = ir.IntType(64), ir.VectorType(ir.FloatType(), LANES)
        sums, table, places = (context.make_array(signature.args[k])(context, builder, arguments[k]) for k in (0, 2, 4))
        target = builder.bitcast(builder.gep(sums.data, [arguments[1]]), single.as_pointer())
        before, loop, after = builder.block, builder.append_basic_block("row"), builder.append_basic_block("summed")
        first = builder.select(arguments[7], ir.Constant(single, None), builder.load(target, align=4))
        builder.cbranch(builder.icmp_unsigned(">=", arguments[5], arguments[6]), after, loop)
        builder.position_at_end(loop)
        number, held = builder.phi(i64), builder.phi(single)
        at = builder.add(builder.load(builder.gep(places.data, [number])), arguments[3])
        row = builder.load(builder.bitcast(builder.gep(table.data, [at]), single.as_pointer()), align=1)
        added, following = builder.fadd(held, row), builder.add(number, ir.Constant(i64, 1))
        for phi, start, step in ((number, arguments[5], following), (held, first, added)):
            phi.add_incoming(start, before)
            phi.add_incoming(step, loop)
        builder.cbranch(builder.icmp_unsigned("==", following, arguments[6]), after, loop)
        builder.position_at_end(after)
        result = builder.phi(single)
        result.add_incoming(first, before)
        result.add_incoming(added, loop)
        builder.store(result, target, align=4)
        return context.get_dummy_value()

    return types.void(into, types.uint64, rows, types.uint64, listed, types.uint64, types.uint64, types.boolean), generate


def _typed_add_all(_: Any, into: Any, to: Any, rows: Any, skip: Any, listed: Any, begin: Any, end: Any, step: Any) -> Any:
    """Type and code of add_all(into: f64[], to, rows: f32[], skip, listed: u64[], begin, end, step).

    into[to : to + LANES] += the float32 numbers at rows[2 * listed[k] + skip :] for k in range(begin, end, step), not empty.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        from llvmlite import ir

        i64, single, wide = ir.IntType(64), ir.VectorType(ir.FloatType(), LANES), ir.VectorType(ir.DoubleType(), LANES)
        sums, table, places = (context.make_array(signature.args[k])(context, builder, arguments[k]) for k in (0, 2, 4))
        target = builder.bitcast(builder.gep(sums.data, [arguments[1]]), wide.as_pointer())
        before, loop, after = builder.block, builder.append_basic_block("row"), builder.append_basic_block("added")
        first = builder.load(target, align=8)
        builder.branch(loop)
        builder.position_at_end(loop)
        number, held = builder.phi(i64), builder.phi(wide)
        at = builder.add(builder.shl(builder.load(builder.gep(places.data, [number])), ir.Constant(i64, 1)), arguments[3])
        row = builder.load(builder.bitcast(builder.gep(table.data, [at]), single.as_pointer()), align=4)
        added, following = builder.fadd(held, builder.fpext(row, wide)), builder.add(number, arguments[7])
        for phi, start, next_ in ((number, arguments[5], following), (held, first, added)):
            phi.add_incoming(start, before)
            phi.add_incoming(next_, loop)
        builder.cbranch(builder.icmp_unsigned(">=", following, arguments[6]), after, loop)
        builder.position_at_end(after)
        builder.store(added, target, align=8)
        return context.get_dummy_value()

    number = types.uint64
    return types.void(into, number, rows, number, listed, number, number, number), generate


def _typed_prefetch(_: Any, array: Any, at: Any) -> Any:
    """Type and code of prefetch(array, at: u64): have the cache line of array[at] fetched."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        from llvmlite import ir

        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        address = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        word = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [address.type, word, word, word])
        function = builder.module.declare_intrinsic("llvm.prefetch", [address.type], kind)
        builder.call(function, [address, ir.Constant(word, 0), ir.Constant(word, 3), ir.Constant(word, 1)])
        return context.get_dummy_value()

    return types.void(array, types.uint64), generate


add_all: Any = intrinsic(_typed_add_all)
add_lanes: Any = intrinsic(_typed_add)
prefetch: Any = intrinsic(_typed_prefetch)
sum_lanes: Any = intrinsic(_typed_sum)
