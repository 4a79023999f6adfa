"""Text to ids: the narrow door to the fast encoder, with the tokenizers library as its judge and its stand-in.

gigatoken encodes the Arrow buffers where they lie, at more than ten times the speed. It is used for a tokenizer only if it
gives the ids of the tokenizers library on some thousand hostile strings (`probe_texts`), and while it runs, about one
document in 512, chosen by its bytes, is encoded by both; a difference stops the run. This is evidence, not proof: a
difference that neither shows would stay.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.errors import StepError
from curate.kernels.strings import I64, U8, views
from curate.tokens.probe import probe_texts
from curate.tokens.vocabulary import Vocabulary, plain_config, without_special

U32 = npt.NDArray[np.uint32]
CHECK_ONE_IN = 512


class Encoder:
    """Encodes columns of text with one tokenizer. Never emits a special token, but for the unknown one."""

    def __init__(self, vocabulary: Vocabulary, engine: str = "auto", check_one_in: int = CHECK_ONE_IN) -> None:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # a worker owns one core
        import tokenizers

        config = plain_config(vocabulary)
        self._slow = tokenizers.Tokenizer.from_str(json.dumps(config))
        self._slow.encode_special_tokens = True
        self._check_ids(vocabulary, config)
        self._forbidden = np.zeros(vocabulary.size, bool)
        self._forbidden[[number for token, number in vocabulary.special.items() if token not in _unknown_tokens(vocabulary)]] = True
        self._check_one_in = check_one_in
        self._fast: Any
        self._fast, self.refused = self._open_fast(vocabulary, config) if engine == "auto" else (None, "by choice")

    @property
    def library(self) -> str:
        """Which library encodes: "gigatoken" or "tokenizers"."""
        return "tokenizers" if self._fast is None else "gigatoken"

    def encode(self, column: pa.Array) -> tuple[U32, I64]:
        """Return (ids u32[t], offsets i64[n+1], offsets[0] = 0) of n texts; a null is an empty text."""
        data, offsets = views(column)
        if len(offsets) == 1:
            return np.zeros(0, np.uint32), np.zeros(1, np.int64)
        if self._fast is None:
            ids, ends = self._encode_slow(_texts(data, offsets, range(len(offsets) - 1)))
        else:
            ids, ends = _encode_fast(self._fast, data, offsets)
            self._compare(data, offsets, ids, ends)
        if len(ids) and bool(self._forbidden[ids].any()):
            row = int(np.searchsorted(ends, np.flatnonzero(self._forbidden[ids])[0], "right")) - 1
            text = _texts(data, offsets, [row])[0]
            raise StepError(f"The tokenizer made a special token out of text. Row {row} of the batch begins {text[:200]!r}.")
        return ids, ends

    def _encode_slow(self, texts: Sequence[str]) -> tuple[U32, I64]:
        rows = [np.array(e.ids, np.uint32) for e in self._slow.encode_batch_fast(list(texts), add_special_tokens=False)]
        ends = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=ends[1:])
        return (np.concatenate(rows) if rows else np.zeros(0, np.uint32)), ends

    def _compare(self, data: U8, offsets: I64, ids: U32, ends: I64) -> None:
        """Encode some of the documents with the tokenizers library too. Raises StepError at a difference."""
        rows = np.flatnonzero(_drawn(data, offsets, self._check_one_in))
        for row, text in zip(rows.tolist(), _texts(data, offsets, rows.tolist()), strict=True):
            expected, _ = self._encode_slow([text])
            got = ids[ends[row] : ends[row + 1]]
            if not np.array_equal(expected, got):
                raise StepError(
                    f"gigatoken and tokenizers encode this text differently: {_around_difference(self._slow, expected, got)}. "
                    "Set engine: tokenizers on this step, and please report the text."
                )

    def _open_fast(self, vocabulary: Vocabulary, config: dict[str, Any]) -> tuple[Any, str]:
        """gigatoken's encoder where the probe finds no difference, else None and why."""
        import gigatoken

        try:
            fast = gigatoken.Tokenizer.from_json(json.dumps(without_special(config)))
        except (RuntimeError, ValueError, TypeError, KeyError) as error:
            return None, str(error).partition("\n")[0]
        added = [t["content"] for t in vocabulary.config.get("added_tokens") or []]
        texts = probe_texts(vocabulary.special, added)
        expected, expected_ends = self._encode_slow(texts)
        got, ends = _encode_fast(fast, *views(pa.array(texts, pa.large_string())))
        for row in range(len(texts)):
            if not np.array_equal(expected[expected_ends[row] : expected_ends[row + 1]], got[ends[row] : ends[row + 1]]):
                return None, f"other ids for {texts[row][:80]!r}"
        return fast, ""

    def _check_ids(self, vocabulary: Vocabulary, config: dict[str, Any]) -> None:
        for token in config.get("added_tokens") or []:
            if self._slow.token_to_id(token["content"]) != token["id"]:
                raise StepError(
                    f"The tokenizers library gives the added token {token['content']!r} the id {self._slow.token_to_id(token['content'])}, "
                    f"tokenizer.json says {token['id']}. Save the tokenizer again with the library and use that file."
                )


def _encode_fast(fast: Any, data: U8, offsets: I64) -> tuple[U32, I64]:
    """Encode the texts of (data, offsets) without making Python objects of them."""
    import awkward as ak

    content = ak.contents.NumpyArray(data, parameters={"__array__": "byte"})
    texts = ak.contents.ListOffsetArray(ak.index.Index64(offsets), content, parameters={"__array__": "bytestring"})
    layout = ak.to_packed(fast.encode_batch(ak.Array(texts), parallel=False)).layout
    return np.asarray(layout.content.data, np.uint32), np.asarray(layout.offsets.data, np.int64)


def _texts(data: U8, offsets: I64, rows: Sequence[int] | range) -> list[str]:
    return [bytes(data[offsets[row] : offsets[row + 1]]).decode("utf-8") for row in rows]


def _drawn(data: U8, offsets: I64, one_in: int) -> npt.NDArray[np.bool_]:
    """Mark about one text in `one_in`, by its length and eight of its bytes: wherever it stands, it is drawn or not."""
    start, size = offsets[:-1], np.diff(offsets)
    key = size.astype(np.uint64)
    for part in range(8):
        at = start + size * part // 8
        byte = np.where(size > 0, data[np.minimum(at, len(data) - 1)], 0).astype(np.uint64)
        key = (key ^ byte) * np.uint64(0x9E3779B97F4A7C15)  # wraps around
        key ^= key >> np.uint64(29)
    drawn: npt.NDArray[np.bool_] = key % np.uint64(one_in) == 0
    return drawn


def _around_difference(slow: Any, expected: U32, got: U32) -> str:
    shared = min(len(expected), len(got))
    differs = np.flatnonzero(expected[:shared] != got[:shared])
    at = int(differs[0]) if len(differs) else shared
    text = slow.decode(expected[max(0, at - 8) : at + 8].tolist(), skip_special_tokens=False)
    return f"near {text!r}, from token {at} on tokenizers has {expected[at : at + 6].tolist()}, gigatoken {got[at : at + 6].tolist()}"


def _unknown_tokens(vocabulary: Vocabulary) -> set[str]:
    model = vocabulary.config["model"]
    if model.get("unk_id") is not None:
        return {model["vocab"][model["unk_id"]][0]}
    return {model["unk_token"]} if model.get("unk_token") is not None else set()
