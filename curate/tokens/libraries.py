"""The libraries behind an encoder: who says what the ids are (tokenizers, sentencepiece), and who is fast (gigatoken)."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from curate.errors import MissingDependency
from curate.kernels.strings import I64, U8
from curate.tokens.tiktoken_file import CL100K, CL100K_FAST

U32 = npt.NDArray[np.uint32]


class Judge(Protocol):
    """A library whose ids are right by definition."""

    name: str

    def encode(self, texts: Sequence[str]) -> tuple[U32, I64]:
        """(ids u32[t], offsets i64[n+1], offsets[0] = 0) of n texts, without special tokens."""
        ...

    def decode(self, ids: U32) -> str:
        """Their text, special tokens shown."""
        ...


class Tokenizers:
    """The tokenizers library, on one thread: a worker owns one core."""

    name = "tokenizers"

    def __init__(self, config_json: str) -> None:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        import tokenizers

        self.library = tokenizers.Tokenizer.from_str(config_json)
        self.library.encode_special_tokens = True

    def encode(self, texts: Sequence[str]) -> tuple[U32, I64]:
        return _flat([e.ids for e in self.library.encode_batch_fast(list(texts), add_special_tokens=False)])

    def decode(self, ids: U32) -> str:
        return str(self.library.decode(ids.tolist(), skip_special_tokens=False))


class SentencePiece:
    """The sentencepiece library, for models whose ids the tokenizers library does not give."""

    name = "sentencepiece"

    def __init__(self, model: bytes, why: str) -> None:
        try:
            import sentencepiece
        except ImportError as error:
            raise MissingDependency.extra("sentencepiece", "sentencepiece", f"this SentencePiece model ({why})") from error
        self.library = sentencepiece.SentencePieceProcessor(model_proto=model)

    def encode(self, texts: Sequence[str]) -> tuple[U32, I64]:
        return _flat(self.library.encode(list(texts), num_threads=1))

    def decode(self, ids: U32) -> str:
        return str(self.library.decode(ids.tolist()))


class Fast:
    """gigatoken: encodes the buffers of a column where they lie. Raises RuntimeError or ValueError for what it does not support."""

    name = "gigatoken"

    def __init__(self, config_json: str) -> None:
        import gigatoken

        self.library = gigatoken.Tokenizer.from_json(config_json.replace(json.dumps(CL100K), json.dumps(CL100K_FAST)))

    def encode(self, data: U8, offsets: I64) -> tuple[U32, I64]:
        """As `Judge.encode`, of the texts in (data, offsets). No Python object is made of a text."""
        import awkward as ak

        content = ak.contents.NumpyArray(data, parameters={"__array__": "byte"})
        texts = ak.contents.ListOffsetArray(ak.index.Index64(offsets), content, parameters={"__array__": "bytestring"})
        layout = ak.to_packed(self.library.encode_batch(ak.Array(texts), parallel=False)).layout
        return np.asarray(layout.content.data, np.uint32), np.asarray(layout.offsets.data, np.int64)


def _flat(rows: list[list[int]]) -> tuple[U32, I64]:
    ends = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(row) for row in rows], out=ends[1:])
    ids = np.empty(int(ends[-1]), np.uint32)
    for at, row in enumerate(rows):
        ids[ends[at] : ends[at + 1]] = row
    return ids, ends
