"""SentencePiece and .tiktoken files: the ids of their own libraries."""

from __future__ import annotations

import base64
import contextlib
import io
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import RecipeError
from curate.tokens.encoder import Encoder
from curate.tokens.merges import recovered_merges
from curate.tokens.probe import probe_texts
from curate.tokens.sentencepiece_file import read_sentencepiece
from curate.tokens.tiktoken_file import byte_letters
from curate.tokens.vocabulary import load_vocabulary
from tests.curate.tokens.small import TEXTS, byte_bpe, tokenized

PROBES = [*probe_texts([], [], 600), *TEXTS, "a\n  ", "  two  spaces ", "\u3000wide\u00a0", "", "12345678 "]


def encoded(path: Path, texts: list[str], split: str | None = None) -> tuple[str, list[list[int]]]:
    encoder = Encoder(load_vocabulary(str(path), split))
    ids, ends = encoder.encode(pa.array(texts, pa.large_string()))
    return encoder.library, [ids[a:b].tolist() for a, b in pairwise(ends)]


def model_file(path: Path, **settings: Any) -> Any:
    sentencepiece = pytest.importorskip("sentencepiece")
    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS), model_writer=made, vocab_size=settings.pop("vocab_size", 400), minloglevel=2, **settings
    )
    path.write_bytes(made.getvalue())
    return sentencepiece.SentencePieceProcessor(model_proto=made.getvalue())


LLAMA = {"model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity", "remove_extra_whitespaces": False}


@pytest.mark.parametrize(
    ("kind", "library"),
    [
        (LLAMA, "gigatoken"),
        ({**LLAMA, "add_dummy_prefix": False, "user_defined_symbols": ["<sep>", "\u2581\u2581"]}, "gigatoken"),
        ({**LLAMA, "byte_fallback": False}, "tokenizers"),
        ({**LLAMA, "user_defined_symbols": ["<sep>"]}, "sentencepiece"),
        ({"model_type": "bpe", "byte_fallback": True}, "sentencepiece"),
        ({"model_type": "unigram", "vocab_size": 120, "hard_vocab_limit": False}, "sentencepiece"),
    ],
)
def test_ids_are_those_of_sentencepiece(kind: dict[str, Any], library: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.model"
    own = model_file(path, **kind)
    texts = [*PROBES, "a<sep>b", "<s></s><unk>"]
    assert encoded(path, texts) == (library, own.encode(texts))
    vocabulary = load_vocabulary(str(path))
    assert vocabulary.size == own.get_piece_size()
    assert (vocabulary.token_id("bos", None), vocabulary.token_id("eos", None)) == (own.bos_id(), own.eos_id())
    assert tokenized(tmp_path, [TEXTS[0]], bos=True).column("tokens").to_pylist() == [[own.bos_id(), *own.encode(TEXTS[0]), own.eos_id()]]


@pytest.mark.parametrize("model_type", ["word", "char"])
def test_words_and_characters_are_left_to_sentencepiece(model_type: str, tmp_path: Path) -> None:
    own = model_file(tmp_path / "x.model", model_type=model_type, vocab_size=90, hard_vocab_limit=False)
    assert encoded(tmp_path / "x.model", TEXTS) == ("sentencepiece", own.encode(TEXTS))


def test_a_file_cut_short_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.model"
    model_file(path, **LLAMA)
    content = path.read_bytes()
    for size in (0, 1, 7, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(RecipeError, match=r"x\.model can't be read as a SentencePiece model"):
            load_vocabulary(str(path))


@given(st.binary(max_size=80))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert read_sentencepiece(content).pieces


def tiktoken_file(path: Path, folder: Path) -> tuple[dict[bytes, int], list[list[str]]]:
    """A .tiktoken file of the small byte-level vocabulary, its ranks, and the merges that made it."""
    config = json.loads(byte_bpe(folder / "b.json").read_text(encoding="utf-8"))
    byte_of = {letter: number for number, letter in enumerate(byte_letters())}
    special = {t["content"] for t in config["added_tokens"]}
    pieces = [bytes(byte_of[c] for c in t) for t in sorted(config["model"]["vocab"], key=config["model"]["vocab"].get) if t not in special]
    path.write_bytes(b"".join(base64.b64encode(piece) + b" %d\n" % rank for rank, piece in enumerate(pieces)))
    return {piece: rank for rank, piece in enumerate(pieces)}, config["model"]["merges"]


@pytest.mark.parametrize(("name", "split"), [("r50k_base", "gpt2"), ("cl100k_base", "cl100k"), ("o200k_base", "o200k")])
def test_ids_are_those_of_tiktoken(name: str, split: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiktoken = pytest.importorskip("tiktoken")
    from tiktoken_ext import openai_public

    monkeypatch.setattr(openai_public, "load_tiktoken_bpe", lambda *a, **k: {})
    path = tmp_path / "mine.tiktoken"
    ranks, merges = tiktoken_file(path, tmp_path)
    own = tiktoken.Encoding("mine", pat_str=getattr(openai_public, name)()["pat_str"], mergeable_ranks=ranks, special_tokens={})
    vocabulary = load_vocabulary(str(path), split)
    assert vocabulary.config["model"]["merges"] == [list(m) for m in merges]
    assert encoded(path, PROBES, split) == ("gigatoken", [own.encode_ordinary(t) for t in PROBES])


def test_a_split_is_known_by_name_or_asked_for(tmp_path: Path) -> None:
    tiktoken_file(tmp_path / "cl100k_base.tiktoken", tmp_path)
    named = load_vocabulary(str(tmp_path / "cl100k_base.tiktoken"))
    assert named.config["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"].startswith("'(?i:[sdmt]")
    (tmp_path / "cl100k_bass.tiktoken").write_bytes((tmp_path / "cl100k_base.tiktoken").read_bytes())
    with pytest.raises(RecipeError, match=r"its name is none of .* Did you mean 'cl100k_base'\? Set split to one of gpt2, cl100k"):
        load_vocabulary(str(tmp_path / "cl100k_bass.tiktoken"))
    digests = {load_vocabulary(str(tmp_path / "cl100k_bass.tiktoken"), split).sha256 for split in ("gpt2", "qwen2")}
    assert len(digests) == 2  # the same file with another split is another tokenizer


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"x", "line 1 is not"),
        (b"YQ== 0\nYg== b\n", "line 2 is not"),
        (b"YQ== 0\n", "255 of the 256 single bytes"),
        (b"", "256 of the 256"),
    ],
)
def test_not_a_tiktoken_file(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.tiktoken").write_bytes(content)
    with pytest.raises(RecipeError, match=message):
        load_vocabulary(str(tmp_path / "x.tiktoken"), "gpt2")


def merged(text: str, ranks: dict[str, float]) -> list[str]:
    """Merge neighbours whose join has a rank, the best first, the leftmost of equals: what both libraries do."""
    parts = list(text)
    while True:
        found = [(ranks[a + b], at) for at, (a, b) in enumerate(pairwise(parts)) if a + b in ranks]
        if not found:
            return parts
        _, at = min(found)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]


@given(st.lists(st.text("ab", min_size=1, max_size=5), min_size=1, max_size=12, unique=True), st.text("ab", max_size=24))
@settings(max_examples=120, deadline=None)
def test_merges_say_the_same_as_ranks(pieces: list[str], text: str) -> None:
    ranks = {piece: float(rank) for rank, piece in enumerate(dict.fromkeys(["a", "b", *pieces]))}
    order = {parts: at for at, parts in enumerate(recovered_merges(ranks))}
    parts = list(text)
    while found := [(order[pair], at) for at, pair in enumerate(pairwise(parts)) if pair in order]:
        _, at = min(found)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    assert parts == merged(text, ranks)
