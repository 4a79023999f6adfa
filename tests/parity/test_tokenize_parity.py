"""tokenize against the tokenizers library on real text: the same ids, document by document."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tokenizers import Tokenizer

from curate.tokens.encoder import Encoder
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
