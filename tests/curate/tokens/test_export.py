"""Exports: every form read back, token for token, by its own reader."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from curate.cli.app import build_app
from curate.errors import DataError, RecipeError
from curate.tokens import export_forms
from curate.tokens.export import export
from curate.tokens.shard import TokenShardWriter
from tests.reference import megatron

METADATA = {
    "curate.tokenizer_sha256": "a" * 64,
    "curate.vocab_size": "70000",
    "curate.bos_id": "",
    "curate.eos_id": "0",
    "curate.document": "ids eos",
}
ROWS = [[[5, 0], [], [1, 2, 3, 0]], [[0], [65535, 7, 0, 0, 9], [4]]]  # two shards; EOS inside a document is no end


def dataset(folder: Path, width: pa.DataType, rows: list[list[list[int]]] = ROWS, **metadata: str) -> Path:
    folder.mkdir(parents=True)
    for number, lists in enumerate(rows):
        tokens = pa.array(lists, pa.large_list(width))
        batch = pa.record_batch({
            "id": pa.array([f"{number}/{i}" for i in range(len(lists))]), "source": pa.array(["s"] * len(lists)),
            "tokens": tokens, "n_tokens": pa.array([len(x) for x in lists], pa.int32()),
        }).replace_schema_metadata(METADATA | {f"curate.{k}": v for k, v in metadata.items()})  # fmt: skip
        writer = TokenShardWriter(folder, f"part-{number:05d}", batch.schema, {}, batch_tokens=3)
        writer.write(batch)
        writer.close()
    return folder


@pytest.fixture(params=[pa.uint16(), pa.uint32()], ids=["uint16", "uint32"])
def web(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return dataset(tmp_path / "run" / "web", request.param)


FLAT = [row for shard in ROWS for row in shard]


@pytest.mark.parametrize("chunk", [2, 1 << 20])
def test_megatron(web: Path, tmp_path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_forms, "CHUNK", chunk)
    made = export(str(web), "megatron", tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["export.json", "web.bin", "web.idx"]
    assert megatron.read(tmp_path / "out" / "web") == (FLAT, list(range(7)))
    assert (made.documents, made.tokens, made.tokenizer["document"]) == (6, 13, "ids eos")


def test_megatron_has_the_bytes_that_datatrove_writes(web: Path, tmp_path: Path) -> None:
    pytest.importorskip("datatrove")
    from datatrove.pipeline.tokens.megatron_tokenizer import MegatronTokenizedFile

    made = export(str(web), "megatron", tmp_path / "out")
    theirs = MegatronTokenizedFile(str(tmp_path), "theirs", token_size=made.bytes_per_token)
    for row in FLAT:
        theirs.write(row)
    theirs.close()
    for suffix in ("bin", "idx"):
        assert (tmp_path / "out" / f"web.{suffix}").read_bytes() == (tmp_path / f"theirs.{suffix}").read_bytes()


def test_datatrove(web: Path, tmp_path: Path) -> None:
    pytest.importorskip("datatrove")
    from datatrove.io import get_datafolder
    from datatrove.pipeline.tokens.merger import get_data_reader, load_doc_ends

    made = export(str(web), "datatrove", tmp_path / "out")
    folder = get_datafolder(str(tmp_path / "out"))
    kind = np.dtype("<u2" if made.bytes_per_token == 2 else "<u4")
    found = []
    for name in ("00000.ds", "00001.ds"):
        ends = load_doc_ends(folder.open(f"{name}.index", "rb"))
        reader = get_data_reader(folder.open(name, "rb"), ends, nb_bytes=made.bytes_per_token)
        found += [np.frombuffer(content[0] if isinstance(content, tuple) else content, kind).tolist() for content in reader]
        assert (tmp_path / "out" / f"{name}.metadata").read_text().split("\n")[:2] == [f"sha256:{'a' * 64}|{kind.itemsize}", str(ends[-1])]
    assert found == FLAT


def test_datatrove_files_are_those_that_it_writes(web: Path, tmp_path: Path) -> None:
    pytest.importorskip("datatrove")
    from datatrove.pipeline.tokens.tokenizer import TokenizedFile

    made = export(str(web), "datatrove", tmp_path / "out")
    theirs = TokenizedFile(str(tmp_path), "theirs.ds", token_size=made.bytes_per_token, save_final_metadata=False)
    for row in ROWS[1]:
        theirs.write(row, None)
    theirs.close()
    for suffix in ("", ".index"):
        assert (tmp_path / "out" / f"00001.ds{suffix}").read_bytes() == (tmp_path / f"theirs.ds{suffix}").read_bytes()


def test_parquet(web: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_forms, "FILE_TOKENS", 6)
    export(str(web), "parquet", tmp_path / "out", column="input_ids")
    files = sorted((tmp_path / "out").glob("*.parquet"))
    assert [f.name for f in files] == ["web-00000.parquet", "web-00001.parquet", "web-00002.parquet"]
    table = pa.concat_tables([pq.read_table(f) for f in files])
    assert table.column_names == ["id", "source", "input_ids", "n_tokens"]
    assert table.column("input_ids").to_pylist() == FLAT
    assert pq.read_schema(files[0]).metadata[b"curate.eos_id"] == b"0"


def test_ids_that_megatron_can_not_hold(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="ids below 2\\^31"):
        export(str(dataset(tmp_path / "web", pa.uint32(), [[[1 << 31]]])), "megatron", tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["web"]  # nothing half-written stays


def test_what_can_not_be_exported(tmp_path: Path) -> None:
    web = dataset(tmp_path / "web", pa.uint16())
    with pytest.raises(RecipeError, match=r"--to must be one of .* Did you mean 'megatron'"):
        export(str(web), "megatronn", tmp_path / "out")
    with pytest.raises(DataError, match="is no folder"):
        export(str(tmp_path / "none"), "megatron", tmp_path / "out")
    (tmp_path / "text").mkdir()
    with pytest.raises(DataError, match="holds no token shards"):
        export(str(tmp_path / "text"), "megatron", tmp_path / "out")
    os.rename(dataset(tmp_path / "other", pa.uint16(), ROWS[:1], eos_id="1") / "part-00000-00000.arrow", web / "part-00009.arrow")
    with pytest.raises(DataError, match="tokenized differently \\(eos_id: '1' and '0'\\)"):
        export(str(web), "megatron", tmp_path / "out")


def test_command(tmp_path: Path) -> None:
    web = dataset(tmp_path / "run" / ".data" / "web@abc", pa.uint16())
    (tmp_path / "run" / "web").symlink_to(web)
    (tmp_path / "run" / "manifest.json").write_text(json.dumps({"datasets": {"web": {"digest": "d1"}}}))
    command = ["export", str(tmp_path / "run" / "web"), "--to", "megatron", "-o", str(tmp_path / "out"), "--json"]
    done = CliRunner().invoke(build_app(command), command)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout.strip().splitlines()[-1])
    assert (told["dataset"], told["dataset_digest"], told["documents"], told["tokens"]) == ("web", "d1", 6, 13)
    assert json.loads((tmp_path / "out" / "export.json").read_text())["files"] == told["files"]
    again = CliRunner().invoke(build_app(command), command)
    assert isinstance(again.exception, RecipeError)
    assert "exists" in str(again.exception)
    assert CliRunner().invoke(build_app(command), [*command, "--force"]).exit_code == 0
    assert struct.unpack("<Q", (tmp_path / "out" / "web.idx").read_bytes()[18:26]) == (6,)
