"""Text to ids: the narrow door to the fast encoder, with the library that defines the ids as its judge and its stand-in.

gigatoken encodes the Arrow buffers where they lie, at more than ten times the speed. It is used for a tokenizer only if it
gives the ids of the tokenizers library on some thousand hostile strings (`probe_texts`; once on a machine, see `proven.py`), and while it runs, about one
document in 1,024, chosen by its bytes, is encoded by both; a difference stops the run. This is evidence, not proof: a
difference that neither shows would stay.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.errors import StepError
from curate.kernels.strings import I64, U8, views
from curate.tokens import proven
from curate.tokens.libraries import U32, Fast, Judge, SentencePiece, Tokenizers
from curate.tokens.probe import probe_texts
from curate.tokens.vocabulary import Vocabulary, plain_config, without_special

CHECK_ONE_IN = 1024


class Encoder:
    """Encodes columns of text with one tokenizer. Never emits a special token, but for the unknown one."""

    def __init__(self, vocabulary: Vocabulary, engine: str = "auto", check_one_in: int = CHECK_ONE_IN) -> None:
        self.size = vocabulary.size
        self._forbidden = np.zeros(vocabulary.size, bool)
        self._forbidden[[number for token, number in vocabulary.special.items() if token != vocabulary.unknown]] = True
        self._check_one_in = check_one_in
        self._fast: Fast | None = None
        self._judge: Judge
        if vocabulary.sentencepiece is not None:
            self._judge = SentencePiece(vocabulary.sentencepiece, vocabulary.reason)
            self.refused = vocabulary.reason
            return
        config = plain_config(vocabulary)
        model = json.dumps(config["model"])  # the bulk of it, written once
        self._judge = Tokenizers(_written(config, model))
        _check_ids(self._judge, config)
        self.refused = "by choice"
        if engine == "auto":
            self._fast, self.refused = _open_fast(self._judge, vocabulary, _written(without_special(config), model))

    @property
    def library(self) -> str:
        """Which library encodes: "gigatoken", "tokenizers" or "sentencepiece"."""
        return self._judge.name if self._fast is None else self._fast.name

    def encode(self, column: pa.Array) -> tuple[U32, I64]:
        """Return (ids u32[t], offsets i64[n+1], offsets[0] = 0) of n texts; a null is an empty text."""
        data, offsets = views(column)
        if len(offsets) == 1:
            return np.zeros(0, np.uint32), np.zeros(1, np.int64)
        if self._fast is None:
            ids, ends = self._judge.encode(_texts(data, offsets, range(len(offsets) - 1)))
        else:
            ids, ends = self._fast.encode(data, offsets)
            self._compare(self._fast, data, offsets, ids, ends)
        self._refuse_special(data, offsets, ids, ends)
        return ids, ends

    def _refuse_special(self, data: U8, offsets: I64, ids: U32, ends: I64) -> None:
        if not len(ids):
            return
        # Special tokens mostly stand at one end of the vocabulary: the extremes rule them out at the speed of memory.
        low, high = int(ids.min()), int(ids.max())
        if high >= len(self._forbidden):
            raise StepError(f"The tokenizer gave the id {high}; its vocabulary ends at {len(self._forbidden) - 1}.")
        if not self._forbidden[low : high + 1].any():
            return
        found = np.flatnonzero(self._forbidden[ids])
        if len(found):
            row = int(np.searchsorted(ends, found[0], "right")) - 1
            text = _texts(data, offsets, [row])[0]
            raise StepError(f"The tokenizer made a special token out of text. Row {row} of the batch begins {text[:200]!r}.")

    def _compare(self, fast: Fast, data: U8, offsets: I64, ids: U32, ends: I64) -> None:
        """Encode some of the documents with the judge too. Raises StepError at a difference."""
        rows = np.flatnonzero(_drawn(data, offsets, self._check_one_in)).tolist()
        if not rows:
            return
        expected, bounds = self._judge.encode(_texts(data, offsets, rows))
        for at, row in enumerate(rows):
            right, got = expected[bounds[at] : bounds[at + 1]], ids[ends[row] : ends[row + 1]]
            if not np.array_equal(right, got):
                raise StepError(
                    f"{fast.name} and {self._judge.name} encode this text differently: {_around_difference(self._judge, right, got)}. "
                    "Set engine: tokenizers on this step, and please report the text."
                )


def _open_fast(judge: Judge, vocabulary: Vocabulary, config_json: str) -> tuple[Fast | None, str]:
    """gigatoken where the probe finds no difference, else None and why."""
    try:
        fast = Fast(config_json)
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        return None, str(error).partition("\n")[0]
    added = [t["content"] for t in vocabulary.config.get("added_tokens") or []]
    texts = probe_texts(vocabulary.special, added, pieces=vocabulary.spelt())
    mark = proven.mark_of(texts, vocabulary.sha256, config_json)
    if proven.is_noted(mark):
        return fast, ""
    expected, expected_ends = judge.encode(texts)
    got, ends = fast.encode(*views(pa.array(texts, pa.large_string())))
    for row in range(len(texts)):
        if not np.array_equal(expected[expected_ends[row] : expected_ends[row + 1]], got[ends[row] : ends[row + 1]]):
            return None, f"other ids for {texts[row][:80]!r}"
    proven.note(mark)
    return fast, ""


def _written(config: dict[str, Any], model: str) -> str:
    """The configuration as JSON, with the model as it is written already."""
    return json.dumps({k: v for k, v in config.items() if k != "model"})[:-1] + f', "model": {model}}}'


def _check_ids(judge: Tokenizers, config: dict[str, Any]) -> None:
    for token in config.get("added_tokens") or []:
        got = judge.library.token_to_id(token["content"])
        if got != token["id"]:
            raise StepError(
                f"The tokenizers library gives the added token {token['content']!r} the id {got}, "
                f"tokenizer.json says {token['id']}. Save the tokenizer again with the library and use that file."
            )


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


def _around_difference(judge: Judge, expected: U32, got: U32) -> str:
    shared = min(len(expected), len(got))
    differs = np.flatnonzero(expected[:shared] != got[:shared])
    at = int(differs[0]) if len(differs) else shared
    text = judge.decode(expected[max(0, at - 8) : at + 8])
    return f"near {text!r}, from token {at} on {judge.name} has {expected[at : at + 6].tolist()}, gigatoken {got[at : at + 6].tolist()}"
