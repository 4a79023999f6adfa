"""Token shards: same bytes for any split, zero-copy streams, digests that are checked."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import DataError
from curate.schema import ROW
from curate.tokens.mapped import open_shard
from curate.tokens.shard import TokenShardWriter

METADATA = {"curate.tokenizer_sha256": "a" * 64, "curate.eos_id": "0"}
SIZES = [3, 0, 5, 1, 1, 0, 0, 9, 2, 4, 4, 1]


def batch(sizes: list[int] = SIZES) -> pa.RecordBatch:
    values = np.arange(sum(sizes), dtype=np.uint16)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    columns = {
        "id": pa.array([f"d{i}" for i in range(len(sizes))], pa.string()),
        "source": pa.array(["s"] * len(sizes), pa.string()),
        ROW: pa.array(range(len(sizes)), pa.int64()),
        "tokens": pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(values)),
        "n_tokens": pa.array(sizes, pa.int32()),
    }
    return pa.record_batch(columns).replace_schema_metadata(METADATA)


def write(folder: Path, parts: list[pa.RecordBatch], **sizes: int) -> list[Path]:
    folder.mkdir(exist_ok=True)
    writer = TokenShardWriter(folder, "part", parts[0].schema, {"dataset": "web", "a": "b"}, **sizes)
    for part in parts:
        writer.write(part)
    return writer.close()


def test_streams_and_columns(tmp_path: Path) -> None:
    (path,) = write(tmp_path / "a", [batch()])
    assert path.name == "part-00000.arrow"
    shard = open_shard(path, "a" * 64)
    assert (shard.tokens, shard.batches) == (30, 1)
    stream = shard.stream(0)
    assert stream.tokens.tolist() == list(range(30))
    assert not stream.tokens.flags.owndata
    assert not stream.tokens.flags.writeable
    assert np.diff(stream.offsets).tolist() == SIZES
    assert stream.batch.schema.names == ["id", "source", "tokens", "n_tokens"]
    assert shard.metadata == {**METADATA, "dataset": "web", "a": "b"}


def test_cut_by_tokens(tmp_path: Path) -> None:
    paths = write(tmp_path / "a", [batch()], batch_tokens=8)
    shard = open_shard(paths[0])
    # A record batch ends with the document that reaches 8 tokens.
    assert [np.diff(shard.stream(i).offsets).tolist() for i in range(shard.batches)] == [[3, 0, 5], [1, 1, 0, 0, 9], [2, 4, 4], [1]]
    assert shard.starts == [0, 8, 19, 29, 30]
    assert [shard.rows_before(i) for i in range(4)] == [0, 3, 8, 11]
    assert [s for i in range(4) for s in shard.stream(i).tokens.tolist()] == list(range(30))
    assert [p.name for p in write(tmp_path / "b", [batch()], batch_tokens=8, file_bytes=1)] == [f"part-{i:05d}.arrow" for i in range(4)]


@given(st.lists(st.integers(0, len(SIZES)), max_size=6), st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_bytes_do_not_depend_on_the_split(tmp_path_factory: pytest.TempPathFactory, cuts: list[int], batch_tokens: int) -> None:
    folder = tmp_path_factory.mktemp("s")
    edges = [0, *sorted(cuts), len(SIZES)]
    whole = write(folder / "a", [batch()], batch_tokens=batch_tokens, file_bytes=300)
    parts = write(folder / "b", [batch().slice(a, b - a) for a, b in pairwise(edges)], batch_tokens=batch_tokens, file_bytes=300)
    assert [p.name for p in parts] == [p.name for p in whole]
    assert [p.read_bytes() for p in parts] == [p.read_bytes() for p in whole]


def test_no_documents_is_one_empty_file(tmp_path: Path) -> None:
    (path,) = write(tmp_path / "a", [batch([])])
    shard = open_shard(path)
    assert (shard.tokens, shard.batches) == (0, 0)
    assert pa.ipc.open_file(pa.memory_map(str(path))).read_all().num_rows == 0


def test_documents_without_tokens(tmp_path: Path) -> None:
    (path,) = write(tmp_path / "a", [batch([0, 0])])
    assert open_shard(path).tokens == 0
    assert len(open_shard(path).stream(0).tokens) == 0


def test_another_tokenizer_is_refused(tmp_path: Path) -> None:
    (path,) = write(tmp_path / "a", [batch()])
    with pytest.raises(DataError, match=r"another tokenizer \(sha256 aaaaaaaaaaaa\.\.\., expected bbbbbbbbbbbb\.\.\.\)"):
        open_shard(path, "b" * 64)


def test_not_a_shard(tmp_path: Path) -> None:
    file = tmp_path / "x.arrow"
    file.write_bytes(b"no")
    with pytest.raises(DataError, match="can't be opened as a token shard"):
        open_shard(file)
    with pa.ipc.new_file(file, pa.schema([("text", pa.string())])):
        pass
    with pytest.raises(DataError, match="is not a token shard"):
        open_shard(file)
    with pytest.raises(DataError, match="can't be opened"):
        open_shard(tmp_path / "none.arrow")


def test_arrays_outlive_the_shard(tmp_path: Path) -> None:
    (path,) = write(tmp_path / "a", [batch()])
    shard = open_shard(path)
    tokens = shard.stream(0).tokens
    del shard
    assert tokens.tolist() == list(range(30))
