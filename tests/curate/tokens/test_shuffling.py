"""The shuffle node: every token once, an order that follows from inputs and seed, long documents cut."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.api import run as run_recipe
from curate.context import WorkContext
from curate.errors import DataError
from curate.kernels.permutation import permuted, round_keys
from curate.node import NodeInput, NodeResult
from curate.tokens import shuffling
from curate.tokens.mapped import open_shard
from curate.tokens.shuffling import ShuffleNode, token_lists
from tests.curate.tokens.small import TEXTS, byte_bpe
from tests.curate.tokens.test_export import METADATA, dataset

ROWS = [[[i] * (i % 7) for i in range(a, b)] for a, b in ((0, 40), (40, 41), (41, 100))]


def given_(folder: Path, name: str = "web") -> NodeInput:
    return NodeInput(name, str(folder), tuple(str(p) for p in sorted(folder.glob("*.arrow"), reverse=True)), "d")


def shuffled(inputs: dict[str, NodeInput], out: Path, seed: int = 1, **settings: Any) -> tuple[list[dict[str, Any]], NodeResult]:
    out.mkdir()
    node = ShuffleNode(**{"data": list(inputs), **settings})
    result = node.run(inputs, out, WorkContext(seed=seed), lambda share, what: None)
    shards = [open_shard(p, METADATA["curate.tokenizer_sha256"]) for p in sorted(out.iterdir())]
    return [row for s in shards for i in range(s.batches) for row in s.stream(i).batch.to_pylist()], result


@pytest.mark.parametrize(("bucket_bytes", "held_bytes"), [(1 << 20, 1 << 20), (60, 1 << 20), (60, 40)])
def test_the_order_is_the_permutation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bucket_bytes: int, held_bytes: int) -> None:
    monkeypatch.setattr(shuffling, "BUCKET_BYTES", bucket_bytes)
    monkeypatch.setattr(shuffling, "HELD_BYTES", held_bytes)
    web = given_(dataset(tmp_path / "web", pa.uint16(), ROWS))
    rows, result = shuffled({"web": web}, tmp_path / "out")
    given = [(f"{n}/{i}", tokens) for n, lists in enumerate(ROWS) for i, tokens in enumerate(lists)]
    places = permuted(np.arange(100), 100, round_keys("shuffle", 1))
    expected = [given[i] for i in np.argsort(places)]
    assert [(row["id"], row["tokens"]) for row in rows] == expected
    assert [row["n_tokens"] for row in rows] == [len(tokens) for _, tokens in expected]
    assert (result.rows_out, result.tokens, result.info["documents"]) == (100, sum(len(t) for _, t in given), 100)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["part-00000.arrow"]


def test_bytes_depend_on_inputs_and_seed_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    web = given_(dataset(tmp_path / "web", pa.uint32(), ROWS))
    shuffled({"web": web}, tmp_path / "a", max_tokens=3)
    monkeypatch.setattr(shuffling, "HELD_BYTES", 40)
    shuffled({"web": web}, tmp_path / "b", max_tokens=3)
    shuffled({"web": web}, tmp_path / "c", max_tokens=3, seed=2)
    content = [(tmp_path / name / "part-00000.arrow").read_bytes() for name in "abc"]
    assert content[0] == content[1] != content[2]


def test_long_documents_are_cut_into_equal_pieces(tmp_path: Path) -> None:
    web = given_(dataset(tmp_path / "web", pa.uint16(), [[list(range(10)), [1, 2, 3], [], list(range(4))]]))
    rows, result = shuffled({"web": web}, tmp_path / "out", max_tokens=4)
    found: dict[str, list[Any]] = {}
    for row in sorted(rows, key=lambda r: (r["id"], r["piece"])):
        found.setdefault(row["id"], []).append((row["piece"], row["pieces"], row["tokens"]))
    assert found == {
        "0/0": [(0, 3, [0, 1, 2]), (1, 3, [3, 4, 5]), (2, 3, [6, 7, 8, 9])],
        "0/1": [(0, 1, [1, 2, 3])],
        "0/2": [(0, 1, [])],
        "0/3": [(0, 1, [0, 1, 2, 3])],
    }
    assert (result.rows_out, result.info["documents"], result.tokens) == (6, 4, 17)
    metadata = open_shard(tmp_path / "out" / "part-00000.arrow").metadata
    assert (metadata["curate.max_tokens"], metadata["curate.shuffle_seed"], metadata["curate.document"]) == ("4", "1", "ids eos")


@given(st.lists(st.integers(0, 40), max_size=12), st.integers(1, 9))
@settings(max_examples=100, deadline=None)
def test_pieces_join_to_the_document(sizes: list[int], most: int) -> None:
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    cut = shuffling._cut(shuffling.Stream(np.arange(offsets[-1], dtype=np.uint16), offsets, None), most)
    lists = token_lists(np.arange(offsets[-1], dtype=np.uint16), cut.start, cut.size).to_pylist()
    assert [t for piece in lists for t in piece] == list(range(offsets[-1]))
    assert all(len(piece) <= most for piece in lists)
    for row, size in enumerate(sizes):
        own = cut.size[cut.row == row]
        assert len(own) == max(1, -(-size // most))
        assert int(own.max()) - int(own.min()) <= 1


def test_several_datasets_and_none(tmp_path: Path) -> None:
    inputs = {n: given_(dataset(tmp_path / n, pa.uint16(), [[[at]] * 30]), n) for at, n in enumerate(("web", "books"))}
    rows, _ = shuffled(inputs, tmp_path / "out")
    order = [row["tokens"][0] for row in rows]
    assert sorted(order) == [0] * 30 + [1] * 30
    assert sum(a != b for a, b in itertools.pairwise(order)) > 15
    empty = given_(dataset(tmp_path / "empty", pa.uint16(), [[]]), "empty")
    assert shuffled({"empty": empty}, tmp_path / "none", max_tokens=5)[0] == []


def test_datasets_that_do_not_fit(tmp_path: Path) -> None:
    web = given_(dataset(tmp_path / "web", pa.uint16()))
    other = given_(dataset(tmp_path / "other", pa.uint16(), eos_id="7"), "other")
    wide = given_(dataset(tmp_path / "wide", pa.uint32()), "wide")
    with pytest.raises(DataError, match="tokenized differently"):
        shuffled({"web": web, "other": other}, tmp_path / "a")
    with pytest.raises(DataError, match=r"other columns \(.*tokens"):
        shuffled({"web": web, "wide": wide}, tmp_path / "b")


def test_in_a_recipe_before_a_mix(tmp_path: Path) -> None:
    tokenizer = byte_bpe(tmp_path / "tokenizer.json")
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"id": str(i), "text": t}) + "\n" for i, t in enumerate(TEXTS)))
    (tmp_path / "r.yaml").write_text(
        f"name: r\ndatasets:\n  web: {{read: {{jsonl: in.jsonl}}, steps: [{{tokenize: {tokenizer}}}]}}\n"
        "  mixed_up: {shuffle: {data: web, max_tokens: 16}}\n"
        "  train: {mix: {seq_len: 16, stages: [{tokens: 320, weights: {mixed_up: 1}}]}}\n"
    )
    # The whole recipe is checked, the mix too; one worker makes what it reads.
    done = run_recipe(tmp_path / "r.yaml", out=tmp_path / "run", only=["mixed_up"], workers=1)
    entry = json.loads((tmp_path / "run" / "manifest.json").read_text())["datasets"]
    assert entry["mixed_up"]["tokens"] == entry["web"]["tokens"] > 0
    assert entry["mixed_up"]["rows_out"] == entry["mixed_up"]["info"]["pieces"] > 100
    assert done is not None
