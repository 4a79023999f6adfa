"""Signatures equal those of the installed datatrove and datasketch, number by number, on real text of many languages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curate.steps.foreign_signatures import ForeignSketcher
from curate.steps.sketches import Sketch
from tests.conftest import read_rows
from tests.reference.shingles import ngrams


@pytest.fixture(scope="module")
def texts(real_data: Path) -> list[str]:
    """Licences, Wikipedia, MDN in many languages, Chinese poems; a few short and odd ones."""
    found = [
        "",
        "one",
        "one two three four",
        "one two three four five",
        "1.5 and 2,300 \u00e9t\u00e9 na\u00efve \u0130stanbul",
        "\u4e2d\u6587" * 9,
    ]
    for name, step in [("dedup/license_rules_docs.jsonl.gz", 60), ("text/mdn_multi.jsonl.zst", 150), ("text/zh_poetry.jsonl.zst", 2000)]:
        found += [str(row["text"])[:4000] for i, row in enumerate(read_rows(real_data / name)) if i % step == 0]
    return found


def ours(signature: str, texts: list[str], words: str = "word", seed: int = 1, bands: int = 14, rows: int = 8) -> Any:
    made = ForeignSketcher(Sketch(words, False, 5, bands, rows, seed, signature)).signatures(pa.array(texts, pa.large_string()))
    return made.tolist()


@pytest.mark.parametrize(("signature", "kind"), [("datatrove", "xxhash"), ("datatrove-sha1", "sha1")])
@pytest.mark.parametrize("words", ["word", "whitespace"])
def test_datatrove(texts: list[str], tmp_path: Path, signature: str, kind: Any, words: str) -> None:
    pytest.importorskip("datatrove")
    import xxhash
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
    from datatrove.utils.hashing import HashConfig

    try:
        theirs = MinhashDedupSignature(str(tmp_path), MinhashConfig(hash_config=HashConfig(hash_fc=kind)))
    except ImportError:
        pytest.skip("datatrove's tokenizer is not installed")
    if kind == "xxhash":  # xxhash 4 takes bytes only, datatrove gives text
        theirs._hash_func = lambda shingle: xxhash.xxh64_intdigest(shingle.encode())
    if words == "whitespace":
        theirs.word_tokenizer = type("Split", (), {"word_tokenize": staticmethod(str.split)})()
    found = ours(signature, texts, words)
    compared = 0
    with np.errstate(over="ignore"):
        for text, signature_of in zip(texts, found, strict=True):
            shingles = theirs.get_shingles(text)
            if shingles.size:
                assert signature_of == [v for bucket in theirs.get_signature(shingles) for v in bucket]
                compared += 1
            else:
                assert set(signature_of) == {2**64 - 1}
    print(f"{signature}, {words}: {compared} signatures of {len(texts)} documents are equal")
    assert compared > 80


@pytest.mark.parametrize("seed", [1, 42])
def test_datasketch(texts: list[str], seed: int) -> None:
    datasketch = pytest.importorskip("datasketch")
    if not hasattr(datasketch.MinHash(), "scheme"):
        pytest.skip("datasketch before 2.0 has other permutations")
    found = ours("datasketch", texts, seed=seed, bands=16)
    for text, signature in zip(texts, found, strict=True):
        theirs = datasketch.MinHash(num_perm=128, seed=seed)
        grams = [gram for gram in ngrams(text, 5) if len(gram) == 5]
        theirs.update_batch([" ".join(gram).encode() for gram in grams])
        assert signature == theirs.hashvalues.tolist()
    print(f"seed {seed}: {len(texts)} signatures are equal")
