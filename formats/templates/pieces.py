"""The fast way from rendered texts to ids with places: for byte-level BPE, gigatoken between added tokens, and no offsets asked of anybody.

A token of a byte-level BPE stands for as many bytes as its spelling has letters, so the sum of lengths says where each token lies,
to the byte and blanks included. Added tokens are split off first, as the tokenizers library does. Used only where curate's Encoder finds no
difference between gigatoken and that library, where whole texts with added tokens come out the same, and where no added token takes
white space with it. Every row's lengths must add up to its bytes; one in 512 pieces is encoded by both libraries (curate/tokens/encoder.py).
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from curate.errors import CurateError

PROBED = 400  # texts that are encoded whole by both ways before the fast one is used


class Tokens(NamedTuple):
    """Tokens of one text. ids: int64; ends: int64, bytes from the start of the text."""

    ids: np.ndarray
    ends: np.ndarray

    def inside(self, start: int, end: int) -> tuple[int, int]:
        """(first, after the last) token that lies in a part of the text with all its bytes. start, end: bytes."""
        first = int(np.searchsorted(self.ends[:-1], start, "left")) + 1 if start else 0
        return first, max(first, int(np.searchsorted(self.ends, end, "right")))


class Pieces:
    """Encodes texts with one tokenizer. Made by `open_pieces`."""

    def __init__(self, encoder: Any, added: dict[str, int], sizes: np.ndarray) -> None:
        self._encoder, self._added, self._sizes = encoder, added, sizes
        texts = sorted(added, key=len, reverse=True)
        self._split = re.compile(f"({'|'.join(map(re.escape, texts))})" if texts else "((?!))").split

    def encode(self, texts: Sequence[str]) -> list[Tokens | None]:
        """Tokens of each text; None where they don't add up to its bytes."""
        split = [self._split(text) for text in texts]  # ordinary, added, ordinary, added ... ordinary
        pieces = [piece for parts in split for piece in parts[::2]]
        ids, ends = self._encoder.encode(pa.array(pieces, pa.large_string()))
        counts = np.ones(sum(map(len, split)), np.int64)
        rows = np.cumsum([0, *map(len, split)])
        special = np.ones(len(counts), bool)
        for a, b in pairwise(rows.tolist()):
            special[a:b:2] = False
        counts[~special] = np.diff(ends)
        places = np.concatenate([[0], np.cumsum(counts)])
        flat = np.empty(int(places[-1]), np.int64)
        at = places[:-1][special]
        ordinary = np.ones(len(flat), bool)
        ordinary[at] = False
        flat[ordinary] = ids
        flat[at] = [self._added[piece] for parts in split for piece in parts[1::2]]
        sizes = np.cumsum(self._sizes[flat])
        made: list[Tokens | None] = []
        for text, a, b in zip(texts, places[rows[:-1]].tolist(), places[rows[1:]].tolist(), strict=True):
            found = Tokens(flat[a:b], sizes[a:b] - (int(sizes[a - 1]) if a else 0))
            length = len(text) if text.isascii() else len(text.encode())
            made.append(found if (int(found.ends[-1]) if b > a else 0) == length else None)
        return made


def open_pieces(tokenizer: Any) -> Pieces | None:
    """The fast way for a `tokenizers.Tokenizer`, or None where it is not certain to give the same."""
    config = json.loads(tokenizer.to_str())
    added = config.get("added_tokens") or []
    if config["model"]["type"] != "BPE" or config.get("normalizer") is not None or not _is_byte_level(config.get("pre_tokenizer")):
        return None
    if any(t["lstrip"] or t["rstrip"] or t["single_word"] for t in added) or not set(
        "".join(config["model"]["vocab"])
    ) <= _alphabet() | set("".join(t["content"] for t in added)):
        return None
    try:
        encoder = _encoder(config)
    except CurateError:
        return None
    if encoder is None:
        return None
    sizes = np.zeros(max([*config["model"]["vocab"].values(), *(t["id"] for t in added)]) + 1, np.int64)
    for text, number in config["model"]["vocab"].items():
        sizes[number] = len(text)
    for token in added:
        sizes[token["id"]] = len(token["content"].encode())
    made = Pieces(encoder, {t["content"]: t["id"] for t in added}, sizes)
    return made if _same(made, tokenizer, [t["content"] for t in added]) else None


def _encoder(config: dict[str, Any]) -> Any:
    from curate.tokens.encoder import Encoder
    from curate.tokens.vocabulary import load_vocabulary

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.json"
        path.write_text(json.dumps(config), encoding="utf-8")
        found = Encoder(load_vocabulary(str(path)))
    return found if found.library == "gigatoken" else None


def _is_byte_level(split: Any) -> bool:
    """Whether the last part of a pre-tokenizer is byte-level and adds no blank; other parts may only split."""
    parts = split["pretokenizers"] if split and split["type"] == "Sequence" else [split] if split else []
    others = all(p["type"] in ("Split", "Digits") and p.get("behavior", "Isolated") != "Removed" for p in parts[:-1])
    return bool(parts) and parts[-1]["type"] == "ByteLevel" and not parts[-1]["add_prefix_space"] and others


def _alphabet() -> set[str]:
    from tokenizers import pre_tokenizers

    return set(pre_tokenizers.ByteLevel.alphabet())


def _same(made: Pieces, tokenizer: Any, added: list[str]) -> bool:
    """Whether whole texts with added tokens get the same ids from both."""
    from curate.tokens.probe import probe_texts

    texts = [text for text in probe_texts(added, added) if any(token in text for token in added)]
    texts = texts[:: max(1, len(texts) // PROBED)]
    expected = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    return all(f is not None and f.ids.tolist() == e.ids for f, e in zip(made.encode(texts), expected, strict=True))
