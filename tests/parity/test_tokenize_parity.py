"""tokenize against the tokenizers library on real text: the same ids, document by document."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tokenizers import Tokenizer

from curate.tokens.encoder import Encoder
from curate.tokens.probe import probe_texts
from curate.tokens.training import Split, train_tokenizer
from curate.tokens.vocabulary import load_vocabulary
from tests.conftest import read_rows

SOURCES = ("wikipedia_en_pages", "mdn_multi", "zh_classical_modern", "learnxinyminutes", "bible_multi", "ko_movie_reviews", "novels_eltec")
BYTES_EACH = 500_000


@pytest.fixture(scope="module")
def texts(real_data: Path) -> list[str]:
    found: list[str] = []
    for source in SOURCES:
        size = 0
        for row in read_rows(real_data / "text" / f"{source}.jsonl.zst"):
            text = str(row["text"])[:50_000]
            found.append(text)
            size += len(text.encode())
            if size > BYTES_EACH:
                break
    return found


@pytest.mark.parametrize("split", ["gpt2", "llama3", "qwen2"])
def test_ids(split: Split, texts: list[str], tmp_path: Path) -> None:
    trained = train_tokenizer(texts[::3], vocab_size=8000, pretokenizer=split)
    path = tmp_path / "tokenizer.json"
    path.write_bytes(trained.content)
    encoder = Encoder(load_vocabulary(str(path)))
    assert encoder.library == "gigatoken"
    ids, ends = encoder.encode(pa.array(texts, pa.large_string()))
    library = Tokenizer.from_file(str(path))
    expected = library.encode_batch_fast(texts, add_special_tokens=False)
    different = [i for i, e in enumerate(expected) if not np.array_equal(e.ids, ids[ends[i] : ends[i + 1]])]
    print(
        f"{split}: {len(texts)} documents, {sum(len(t.encode()) for t in texts) / 1e6:.1f} MB, {len(ids)} tokens, {len(different)} differ"
    )
    assert not different


@pytest.mark.parametrize("normalised", [False, True])
def test_ids_of_a_sentencepiece_model(normalised: bool, texts: list[str], tmp_path: Path) -> None:
    """A byte-fallback BPE as Llama 2 has it, and one with SentencePiece's default normalisation."""
    sentencepiece = pytest.importorskip("sentencepiece")
    lines = [line for text in texts[::10] for line in text.split("\n") if 0 < len(line) < 1000][:20_000]
    made, plain = io.BytesIO(), {} if normalised else {"normalization_rule_name": "identity", "remove_extra_whitespaces": False}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=made, vocab_size=6000, model_type="bpe", byte_fallback=True, character_coverage=0.999,
        minloglevel=2, **plain,
    )  # fmt: skip
    path = tmp_path / "tokenizer.model"
    path.write_bytes(made.getvalue())
    encoder = Encoder(load_vocabulary(str(path)))
    assert encoder.library == ("sentencepiece" if normalised else "gigatoken")
    given = [*texts[::7], *probe_texts([], [], 1000)]
    ids, ends = encoder.encode(pa.array(given, pa.large_string()))
    expected = sentencepiece.SentencePieceProcessor(model_proto=made.getvalue()).encode(given)
    different = [i for i, e in enumerate(expected) if not np.array_equal(e, ids[ends[i] : ends[i + 1]])]
    print(f"SentencePiece: {len(given)} texts, {len(ids)} tokens, {len(different)} differ, encoded by {encoder.library}")
    assert not different
