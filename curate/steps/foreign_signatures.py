"""Shingles and signatures as datatrove and datasketch make them, for corpora and indexes that theirs are mixed with.

    datatrove        its text normalisation, its word split (words: word, with its English tokenizer) or str.split()
                     (words: whitespace), n-grams joined by a blank, xxhash of 64 bits: MinhashConfig() of 0.10.1
    datatrove-sha1   the same with the first 64 bits of SHA-1, as FineWeb was made
    datasketch       our default words joined by a blank, SHA-1 of 32 bits, permutations "affine32": MinHash() of 2.0.0

A document of fewer words than a shingle has no shingle and is never a duplicate, as in datatrove. These go through Python
one document at a time: 1 to 4 MB/s, where our own signatures take 250.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.errors import MissingDependency
from curate.steps.sketches import I64, U64, Sketch

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_WORD = re.compile(f"(?=\\w)[{_CJK}]|(?:(?![{_CJK}])\\w)+")


class ForeignSketcher:
    """Band hashes and shingle sets from the shingle hashes of another tool."""

    def __init__(self, sketch: Sketch) -> None:
        from curate.kernels import foreign_minhash

        self._sketch, self._kernels = sketch, foreign_minhash
        self._words = _datatrove_words(sketch.words) if sketch.signature.startswith("datatrove") else _own_words
        self._hash = _hasher(sketch.signature)

    def bands(self, text: pa.Array) -> tuple[U64, npt.NDArray[np.bool_]]:
        """Band hashes u64[n, bands], and which documents have shingles."""
        doc, hashes = self.shingles(text)
        return self._kernels.fold_bands(self._signatures(doc, hashes), self._sketch.bands, self._sketch.rows), doc[1:] > doc[:-1]

    def signatures(self, text: pa.Array) -> U64:
        """u64[n, bands * rows]: the numbers that the other tool has in its signatures."""
        return self._signatures(*self.shingles(text))

    def sets(self, text: pa.Array) -> tuple[I64, U64]:
        """Sorted sets of the same shingle hashes."""
        doc, hashes = self.shingles(text)
        sets = [np.unique(hashes[doc[d] : doc[d + 1]]) for d in range(len(doc) - 1)]
        return np.cumsum([0, *(len(s) for s in sets)]), np.concatenate([np.zeros(0, np.uint64), *sets])

    def shingles(self, text: pa.Array) -> tuple[I64, U64]:
        """(offsets i64[n+1], hash of every shingle in text order)"""
        n, found, ends = self._sketch.ngram, [], [0]
        for document in text.to_pylist():
            words = self._words(document or "")
            found += [self._hash(" ".join(words[i : i + n]).encode()) for i in range(len(words) - n + 1)]
            ends.append(len(found))
        return np.array(ends, np.int64), np.array(found, np.uint64)

    def _signatures(self, doc: I64, hashes: U64) -> U64:
        s = self._sketch
        make = self._kernels.datasketch_signatures if s.signature == "datasketch" else self._kernels.datatrove_signatures
        return make(doc, hashes, s.seed, s.bands * s.rows)


def _own_words(text: str) -> list[str]:
    return _WORD.findall(text.lower().replace("\u03c2", "\u03c3"))  # as curate.kernels.folding has it


def _datatrove_words(split: str) -> Callable[[str], list[str]]:
    try:
        from datatrove.utils.text import simplify_text
        from datatrove.utils.word_tokenizers import load_word_tokenizer
    except ImportError as error:
        raise MissingDependency("signature: datatrove needs datatrove: pip install 'curate[datatrove]'") from error
    if split == "whitespace":
        return lambda text: str(simplify_text(text)).split()
    tokenizer = load_word_tokenizer("eng")
    return lambda text: list(tokenizer.word_tokenize(simplify_text(text)))


def _hasher(signature: str) -> Callable[[bytes], int]:
    if signature == "datatrove":
        import xxhash

        return xxhash.xxh64_intdigest
    size = 8 if signature == "datatrove-sha1" else 4
    return lambda shingle: int.from_bytes(hashlib.sha1(shingle, usedforsecurity=False).digest()[:size], "little")
