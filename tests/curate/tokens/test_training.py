"""Training a tokenizer: reproducible bytes, settings, the node."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError
from tokenizers import Tokenizer

from curate.context import WorkContext
from curate.errors import DataError, RecipeError
from curate.node import NodeInput
from curate.tokens.encoder import Encoder
from curate.tokens.node import TokenizerNode
from curate.tokens.samples import drawn, shares
from curate.tokens.training import train_tokenizer
from curate.tokens.vocabulary import load_vocabulary
from tests.curate.tokens.small import EOS, TEXTS, document_batch

PROGRAM = """
import sys
from curate.tokens.training import train_tokenizer
from tests.curate.tokens.small import TEXTS
sys.stdout.buffer.write(train_tokenizer(TEXTS, vocab_size=400 if sys.argv[1] != "unigram" else 150, algorithm=sys.argv[1]).content)
"""


@pytest.mark.parametrize("algorithm", ["bpe", "wordpiece", "unigram"])
def test_same_bytes_from_any_number_of_threads(algorithm: str) -> None:
    made = set()
    for parallel, threads in (("false", "1"), ("true", "2")):
        env = {**os.environ, "TOKENIZERS_PARALLELISM": parallel, "RAYON_NUM_THREADS": threads, "PYTHONPATH": os.getcwd()}
        made.add(subprocess.run([sys.executable, "-c", PROGRAM, algorithm], env=env, capture_output=True, check=True).stdout)
    assert len(made) == 1
    assert Tokenizer.from_str(made.pop().decode()).get_vocab_size() <= 400


def test_order_and_batches_do_not_matter_to_bpe() -> None:
    one = train_tokenizer(iter(TEXTS), vocab_size=350)
    assert one == train_tokenizer([TEXTS[50:], [], TEXTS[:50]], vocab_size=350)
    assert (one.vocab_size, one.eos) == (350, EOS)


@pytest.mark.parametrize("split", ["gpt2", "llama3", "qwen2"])
def test_splits_round_trip_and_encode_fast(split: Any, tmp_path: Path) -> None:
    trained = train_tokenizer(TEXTS, vocab_size=400, pretokenizer=split)
    (tmp_path / "tokenizer.json").write_bytes(trained.content)
    encoder = Encoder(load_vocabulary(str(tmp_path / "tokenizer.json")))
    assert encoder.library == "gigatoken"
    library = Tokenizer.from_str(trained.content.decode())
    for text in ("", "12345 it's Größe\r\n\n  中文 \U0001f600", " x"):
        ids, _ = encoder.encode(pa.array([text], pa.large_string()))
        assert library.decode(ids.tolist()) == text


def test_special_tokens_come_first_and_text_does_not_teach_them() -> None:
    trained = train_tokenizer([EOS * 50, *TEXTS], vocab_size=300, special_tokens=[EOS, "<pad>"])
    library = Tokenizer.from_str(trained.content.decode())
    assert [library.token_to_id(t) for t in (EOS, "<pad>")] == [0, 1]
    assert [t["content"] for t in json.loads(trained.content)["added_tokens"]] == [EOS, "<pad>"]


def test_wordpiece_alphabet_holds_the_inside_of_words() -> None:
    library = Tokenizer.from_str(train_tokenizer(TEXTS, vocab_size=300, algorithm="wordpiece").content.decode())
    assert library.token_to_id("[UNK]") == 0
    assert library.token_to_id("##o") is not None
    assert "[UNK]" not in library.encode("The quick fox").tokens
    assert all(not t["content"].startswith("##") for t in json.loads(library.to_str())["added_tokens"])
    with pytest.raises(TypeError, match="reads the texts twice"):
        train_tokenizer(iter(TEXTS), vocab_size=300, algorithm="wordpiece")


def test_room_and_text_are_needed() -> None:
    assert train_tokenizer(TEXTS, vocab_size=257).vocab_size == 257
    with pytest.raises(RecipeError, match="at least 257"):
        train_tokenizer(TEXTS, vocab_size=256)
    with pytest.raises(RecipeError, match="room for 2 special tokens"):
        train_tokenizer(TEXTS, vocab_size=3, algorithm="wordpiece")
    for algorithm in ("bpe", "wordpiece"):
        with pytest.raises(DataError, match="no text"):
            train_tokenizer(["", ""], vocab_size=300, algorithm=algorithm)


def test_order_does_not_matter_to_unigram() -> None:
    one = train_tokenizer(TEXTS, vocab_size=150, algorithm="unigram")
    assert one == train_tokenizer([TEXTS[50:], [], TEXTS[:50]], vocab_size=150, algorithm="unigram")
    with pytest.raises(RecipeError, match="vocab_size 20 does not suit"):
        train_tokenizer(TEXTS, vocab_size=20, algorithm="unigram")


def test_shares_of_sources() -> None:
    sizes = {"web": 1000, "books": 100, "code": 50}
    assert shares(sizes, 10_000, None) == dict.fromkeys(sizes, 1.0)
    assert shares({"": 1000}, 250, None) == {"": 0.25}
    assert shares(sizes, 110, {"web": 1, "books": 1}) == {"web": 0.055, "books": 0.55}
    assert shares(sizes, 10_000, {"web": 1, "books": 3}) == {"web": 0.275, "books": 8.25}  # as much text as there is, three quarters books
    assert shares({"a": 10**9, "b": 1}, 10**9, {"a": 1, "b": 1})["b"] == 100.0
    with pytest.raises(DataError, match=r"no text has the source 'bookz'\. Did you mean 'books'\? There are: books, code, web"):
        shares(sizes, 10, {"bookz": 1})


def test_drawn_as_often_as_the_share_says() -> None:
    batch = document_batch([f"text {i}" for i in range(400)])
    counts = Counter(drawn(batch, {"s": 2.25}, 5))
    assert set(counts.values()) == {2, 3}
    assert 60 < sum(n == 3 for n in counts.values()) < 140
    assert drawn(batch, {"other": 1.0}, 5) == []
    assert drawn(batch, {"s": 0.25}, 5) == drawn(batch, {"": 0.25}, 5)
    assert [t for t in counts if counts[t] == 3] == drawn(batch, {"": 0.25}, 5)


def test_node_with_weights(tmp_path: Path) -> None:
    batch = document_batch([*TEXTS[:60], *TEXTS[60:]])
    batch = batch.set_column(2, "source", pa.array(["en"] * 60 + ["de"] * 40))
    part = str(tmp_path / "part-00000.parquet")
    pq.write_table(pa.Table.from_batches([batch]), part)
    web = NodeInput("web", str(tmp_path), (part,), "d", 100)
    info = run(TokenizerNode(data="web", vocab_size=300, weights={"de": 1.0}), {"web": web}, tmp_path / "out")
    assert (info["documents"], info["times_read"]) == (40, {"de": 1.0})
    assert (tmp_path / "out" / "tokenizer.json").read_bytes() == train_tokenizer(TEXTS[60:], vocab_size=300).content


@pytest.fixture
def web(tmp_path: Path) -> NodeInput:
    batch = document_batch([*TEXTS, "", None])
    parts = tuple(str(tmp_path / f"part-{i:05d}.parquet") for i in range(2))
    pq.write_table(pa.Table.from_batches([batch.slice(0, 70)]), parts[0])
    pq.write_table(pa.Table.from_batches([batch.slice(70)]), parts[1])
    return NodeInput("web", str(tmp_path), parts, "d", len(batch), 0, sum(len(t.encode()) for t in TEXTS))


def run(node: TokenizerNode, inputs: dict[str, NodeInput], out: Path, seed: int = 0) -> dict[str, Any]:
    out.mkdir()
    return dict(node.run(inputs, out, WorkContext(seed=seed), lambda share, what: None).info)


def test_node_writes_a_tokenizer(web: NodeInput, tmp_path: Path) -> None:
    import hashlib

    node = TokenizerNode(data="web", vocab_size=400)
    assert (node.inputs(), node.is_model) == (("web",), True)
    info = run(node, {"web": web}, tmp_path / "out")
    content = (tmp_path / "out" / "tokenizer.json").read_bytes()
    assert content == train_tokenizer(TEXTS, vocab_size=400).content
    assert info["sha256"] == hashlib.sha256(content).hexdigest()
    assert (info["documents"], info["bytes"], info["vocab_size"], info["share"]) == (100, web.bytes, 400, 1.0)
    assert json.loads((tmp_path / "out" / "tokenizer_config.json").read_bytes())["eos_token"] == EOS
    assert load_vocabulary(str(tmp_path / "out" / "tokenizer.json")).token_id("eos", None) == 0


def test_sample_depends_on_ids_alone(web: NodeInput, tmp_path: Path) -> None:
    node = TokenizerNode(data=["web", "web"], vocab_size=300, max_bytes=web.bytes // 2)
    infos = [run(node, {"web": web}, tmp_path / "a"), run(node, {"web": web}, tmp_path / "b")]
    swapped = NodeInput("web", web.folder, web.parts[::-1], "d", web.rows, 0, 0)  # bytes unknown: counted
    infos.append(run(node, {"web": swapped}, tmp_path / "c"))
    assert infos[0] == infos[1] == infos[2]
    assert 25 < infos[0]["documents"] < 75
    assert run(node, {"web": web}, tmp_path / "d", seed=5)["bytes"] != infos[0]["bytes"]
    files = [sorted((p.name, p.read_bytes()) for p in (tmp_path / x).iterdir()) for x in "abc"]
    assert files[0] == files[1] == files[2]


def test_forecast(web: NodeInput) -> None:
    assert TokenizerNode(data="web", vocab_size=300).forecast({"web": web}, True) == [
        "bpe of 300 ids from 0.0 MB of text (100.0% of the documents)"
    ]
    assert TokenizerNode(data="web", vocab_size=300).forecast({}, False) == [
        "bpe of 300 ids from ~0.0 MB of text (~100.0% of the documents)"
    ]


def test_input_without_text(tmp_path: Path) -> None:
    file = tmp_path / "part-00000.parquet"
    file.write_bytes(b"no")
    with pytest.raises(DataError, match="can't be read as Parquet"):
        run(TokenizerNode(data="x", vocab_size=300), {"x": NodeInput("x", str(tmp_path), (str(file),), "d")}, tmp_path / "out")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"vocab_size": 1}, "greater than or equal to 2"),
        ({"algorithm": "wordpiece", "pretokenizer": "gpt2"}, "pretokenizer is for bpe"),
        ({"algorithm": "unigramm"}, "'bpe', 'wordpiece' or 'unigram'"),
        ({"max_bytes": 999}, "1000"),
        ({"min_frequency": 0}, "1"),
        ({"data": []}, "at least 1"),
    ],
)
def test_settings_that_can_not_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TokenizerNode(**{"data": "web", "vocab_size": 300, **settings})


def test_texts_are_streamed() -> None:
    alive = 0

    def texts() -> Iterator[str]:
        nonlocal alive
        for text in TEXTS:
            alive += 1
            yield text

    assert train_tokenizer(texts(), vocab_size=300).vocab_size == 300
    assert alive == len(TEXTS)


def test_unigram_learns_and_gives_text_back() -> None:
    texts = ["hello world how are you today my friend", "the quick brown fox jumps over the lazy dog"] * 200
    trained = train_tokenizer(texts, vocab_size=60, algorithm="unigram")
    tokenizer = Tokenizer.from_str(trained.content.decode())
    assert tokenizer.decode(tokenizer.encode("hello brown fox").ids) == "hello brown fox"
    assert tokenizer.get_vocab_size() == trained.vocab_size <= 60 and trained.eos == "<|endoftext|>"
    assert tokenizer.token_to_id("<unk>") == 0
