"""Arrow string columns as the two arrays that kernels take, and back.

A `large_string` column of n documents is `data: u8[nbytes]` (UTF-8, back to back) and `offsets: i64[n+1]`; a slice has
offsets[0] > 0. Views are zero-copy. Nulls read as empty text: a null slot has equal offsets in every array that Arrow
builds, and `views` checks it where the column has nulls.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

_EMPTY = np.zeros(1, np.uint8)  # kernels may form the address of byte 0


def views(column: pa.Array | pa.ChunkedArray) -> tuple[U8, I64]:
    """Return (data u8[nbytes], offsets i64[n+1]) of a string column, without copying large_string columns."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if column.type != pa.large_string():
        column = column.cast(pa.large_string())
    if column.null_count:
        column = pc.fill_null(column, "")
    _, offset_buffer, data_buffer = column.buffers()
    n = len(column)
    if n == 0 or offset_buffer is None:
        return _EMPTY, np.zeros(1, np.int64)
    offsets = np.frombuffer(offset_buffer, np.int64)[column.offset : column.offset + n + 1]
    data = np.frombuffer(data_buffer, np.uint8) if data_buffer is not None and data_buffer.size else _EMPTY
    return data, offsets


def from_buffers(data: U8, offsets: I64, validity: pa.Array | None = None) -> pa.LargeStringArray:
    """Build a large_string array on top of (data, offsets); the arrays must not change afterwards.

    What lies in `data` behind the last offset is left out: Arrow's writer would put up to 63 bytes of it into a file as
    padding, so that scratch memory decided the bytes of a shard.
    """
    n = len(offsets) - 1
    bitmap = None
    nulls = 0
    if validity is not None and validity.null_count:
        bitmap = pc.is_valid(validity).buffers()[1]
        nulls = validity.null_count
    return pa.LargeStringArray.from_buffers(n, pa.py_buffer(offsets), pa.py_buffer(data[: int(offsets[-1])]), bitmap, nulls)


def joined(texts: Sequence[bytes | memoryview]) -> pa.LargeStringArray:
    """A large_string array of texts, which must be valid UTF-8: `pa.array`, which grows text by text, takes five times as long."""
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(text) for text in texts], out=offsets[1:])
    return pa.LargeStringArray.from_buffers(len(texts), pa.py_buffer(offsets), pa.py_buffer(b"".join(texts)))


def lengths(offsets: I64) -> I64:
    """Byte length of each document."""
    return np.diff(offsets)
