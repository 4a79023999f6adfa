"""tokenize: columns, BOS and EOS, names of tokenizers, metadata."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from curate.apply import run_step
from curate.context import WorkContext
from curate.errors import RecipeError
from curate.schema import ROW, with_columns
from curate.step import BatchFn
from curate.steps.tokenization import Tokenize, documents
from tests.curate.tokens.small import EOS, TEXTS, byte_bpe, byte_fallback, document_batch, tokenized, unigram, wordpiece
from tests.reference import packing as naive


@pytest.fixture(scope="module")
def bpe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return byte_bpe(tmp_path_factory.mktemp("bpe") / "tokenizer.json")


def test_a_document_is_its_ids_and_eos(bpe: Path) -> None:
    texts = [*TEXTS[:4], "", None]
    batch = tokenized(bpe, texts)
    library = Tokenizer.from_file(str(bpe))
    expected = [[*library.encode(t or "", add_special_tokens=False).ids, 0] for t in texts]
    assert batch.column("tokens").to_pylist() == expected
    assert batch.column("n_tokens").to_pylist() == [len(e) for e in expected]
    assert expected[-1] == [0]
    assert batch.schema.names == ["id", "source", "tokens", "n_tokens"]
    assert batch.schema.field("tokens").type == pa.large_list(pa.uint16())
    assert batch.schema.field("n_tokens").type == pa.int32()


def test_settings_of_bos_and_eos(bpe: Path) -> None:
    ids = Tokenizer.from_file(str(bpe)).encode(TEXTS[0]).ids
    assert tokenized(bpe, [TEXTS[0], ""], eos=False).column("tokens").to_pylist() == [ids, []]
    assert tokenized(bpe, [TEXTS[0], ""], bos=True, bos_token="<pad>").column("tokens").to_pylist() == [[1, *ids, 0], [1, 0]]
    assert tokenized(bpe, [TEXTS[0]], eos_token="<|im_start|>").column("tokens").to_pylist() == [[*ids, 401]]


def test_spelt_eos_is_text(bpe: Path) -> None:
    (ids,) = tokenized(bpe, [f"one{EOS}two"]).column("tokens").to_pylist()
    assert ids.count(0) == 1
    assert ids[-1] == 0
    assert Tokenizer.from_file(str(bpe)).decode(ids[:-1], skip_special_tokens=False) == f"one{EOS}two"


def test_metadata_names_the_tokenizer(bpe: Path) -> None:
    import hashlib

    batch = tokenized(bpe, ["x"], bos=True, bos_token="<pad>")
    metadata = {k.decode(): v.decode() for k, v in batch.schema.metadata.items()}
    assert metadata == {
        "curate.tokenizer_sha256": hashlib.sha256(bpe.read_bytes()).hexdigest(),
        "curate.vocab_size": "403",
        "curate.bos_id": "1",
        "curate.eos_id": "0",
        "curate.document": "bos ids eos",
        "curate.template": "$A",
    }


@pytest.fixture(scope="module")
def bound(bpe: Path) -> BatchFn:
    return Tokenize(tokenizer=str(bpe)).bind(WorkContext())


@given(st.lists(st.integers(0, 100), max_size=5))
@settings(max_examples=25, deadline=None)
def test_any_split_into_batches(bound: BatchFn, cuts: list[int]) -> None:
    whole = with_columns(document_batch([*TEXTS]), {ROW: pa.array(np.arange(100))})
    edges = sorted({0, *cuts, 100})
    parts = [bound(whole.slice(a, b - a)).batch for a, b in pairwise(edges)]
    assert pa.Table.from_batches(parts).combine_chunks() == pa.Table.from_batches([bound(whole).batch]).combine_chunks()


def test_empty_batch_and_other_columns_stay(bpe: Path) -> None:
    table = pa.table({"id": pa.array([], pa.string()), "text": pa.array([], pa.large_string()), "lang_code": pa.array([], pa.string())})
    done = run_step(Tokenize(tokenizer=str(bpe)), table)
    assert done.schema.names == ["id", "lang_code", "tokens", "n_tokens"]
    assert len(done) == 0


@given(st.lists(st.lists(st.integers(0, 65535), max_size=6), max_size=8), st.sampled_from([None, 3]), st.sampled_from([None, 7]))
@settings(max_examples=100, deadline=None)
def test_documents_equal_to_the_naive_twin(rows: list[list[int]], bos: int | None, eos: int | None) -> None:
    ids = np.array([i for row in rows for i in row], np.uint32)
    ends = np.concatenate([[0], np.cumsum([len(r) for r in rows])]).astype(np.int64)
    tokens, sizes = documents(ids, ends, bos, eos, np.uint16)
    expected = naive.documents(rows, bos, eos)
    assert tokens.to_pylist() == expected
    assert sizes.to_pylist() == [len(e) for e in expected]


@pytest.mark.parametrize(("size", "width"), [(65536, pa.uint16()), (65537, pa.uint32())])
def test_width_of_ids(size: int, width: pa.DataType, tmp_path: Path) -> None:
    path = byte_bpe(tmp_path / "tokenizer.json")
    library = Tokenizer.from_file(str(path))
    library.add_tokens([f"zz{i}qq" for i in range(size - 403)])
    library.save(str(path))
    batch = tokenized(path, [f"zz{size - 404}qq"], engine="tokenizers")
    assert batch.schema.field("tokens").type == pa.large_list(width)
    assert batch.column("tokens").to_pylist() == [[size - 1, 0]]


def test_eos_is_found_or_asked_for(tmp_path: Path, bpe: Path) -> None:
    assert tokenized(unigram(tmp_path / "u.json"), [""]).column("tokens").to_pylist() == [[1]]
    assert tokenized(wordpiece(tmp_path / "w.json"), [""]).column("tokens").to_pylist() == [[1]]
    assert tokenized(byte_fallback(tmp_path / "f.json"), [""], bos=True, engine="tokenizers").column("tokens").to_pylist() == [[1, 2]]
    with pytest.raises(
        RecipeError, match=r"tell the tokenizer's BOS token: no token with a known name.*Set bos_token.*<\|endoftext\|>, <pad>"
    ):
        tokenized(bpe, ["x"], bos=True)
    with pytest.raises(RecipeError, match=r"eos_token '<pat>' is not in the tokenizer's vocabulary\. Did you mean '<pad>'"):
        tokenized(bpe, ["x"], eos_token="<pat>")
    with pytest.raises(RecipeError, match=r"eos_token 'qqqqq' .* Its special tokens: <\|endoftext\|>"):
        tokenized(bpe, ["x"], eos_token="qqqqq")
    library = Tokenizer.from_file(str(bpe))
    library.add_special_tokens(["</s>"])
    library.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(RecipeError, match=r"several tokens may be it \(<\|endoftext\|>, </s>\)"):
        tokenized(tmp_path / "tokenizer.json", ["x"])
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": {"content": "</s>"}}))
    assert tokenized(tmp_path, [""]).column("tokens").to_pylist() == [[403]]


def test_tokenizer_by_path_or_by_name(bpe: Path) -> None:
    by_path, by_folder, by_name = (Tokenize(tokenizer=t) for t in (str(bpe), str(bpe.parent), "tok"))
    assert by_path.models() == by_folder.models() == ()
    assert [a.uri for a in by_path.assets()] == [a.uri for a in by_folder.assets()] == [str(bpe)]
    assert by_name.models() == ("tok",)
    assert by_name.assets() == ()
    bound = by_name.bind(WorkContext(models={"tok": str(bpe.parent)}))
    assert bound(document_batch([TEXTS[0]])).batch == tokenized(bpe, [TEXTS[0]])


def test_tokenizer_that_is_nowhere(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="can't be read as a tokenizer"):
        tokenized(tmp_path / "none.json", ["x"])


def test_declared_columns(bpe: Path) -> None:
    step = Tokenize(tokenizer=str(bpe))
    assert set(step.adds()) == {"tokens", "n_tokens"}
    assert step.removes() == {"text", "meta"}


def test_a_folder_in_the_working_folder_does_not_hide_a_node(bpe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tok").mkdir()
    (tmp_path / "tok" / "tokenizer.json").write_bytes(b"{}")
    monkeypatch.chdir(tmp_path)
    step = Tokenize(tokenizer="tok")
    assert step.models() == ("tok",) and step.assets() == ()
    assert Tokenize(tokenizer=str(tmp_path / "tok")).models() == ()
