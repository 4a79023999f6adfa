"""String columns made of arrays of numbers."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from curate.kernels.strings import from_buffers, views


def written(array: pa.Array) -> bytes:
    """Bytes of an Arrow file that holds the array."""
    sink = pa.BufferOutputStream()
    batch = pa.record_batch({"text": array})
    with pa.ipc.new_file(sink, batch.schema) as file:
        file.write_batch(batch)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("spare", [0, 1, 63, 500])
def test_memory_behind_the_text_does_not_reach_a_file(spare: int) -> None:
    offsets = np.array([0, 3, 3, 5], np.int64)
    files = {written(from_buffers(np.frombuffer(b"abcde" + junk * spare, np.uint8), offsets)) for junk in (b"x", b"\0", b"\xff")}
    assert len(files) == 1


def test_views_gives_back_what_from_buffers_took() -> None:
    offsets = np.array([0, 3, 3, 5], np.int64)
    array = from_buffers(np.frombuffer(b"abcdefgh", np.uint8), offsets)
    assert array.to_pylist() == ["abc", "", "de"]
    data, at = views(array)
    assert (bytes(data), at.tolist()) == (b"abcde", [0, 3, 3, 5])


def test_no_rows() -> None:
    assert from_buffers(np.empty(1, np.uint8), np.zeros(1, np.int64)).to_pylist() == []


def test_nulls_stay_null() -> None:
    taken = from_buffers(np.frombuffer(b"ab", np.uint8), np.array([0, 1, 1, 2], np.int64), pa.array(["a", None, "b"], pa.large_string()))
    assert taken.to_pylist() == ["a", None, "b"]
