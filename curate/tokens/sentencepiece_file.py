"""A SentencePiece .model file: its pieces, and the configuration of a tokenizer.json that gives the same ids where there is one.

The file is a protocol buffer (sentencepiece_model.proto of SentencePiece 0.2): pieces with score and type, the trainer's
settings, and the normaliser with its compiled table. BPE models that leave text as it is (Llama, Mistral, Gemma) become a
configuration: the tokenizers library and gigatoken give SentencePiece's ids with it. For the others it does not: its table
works on graphemes and so leaves "e" and a combining accent apart, which SentencePiece joins (1,250 of 5,200 hostile
strings differ), and its Unigram splits runs of spaces in another way. `unlike` says why; those are encoded by the sentencepiece library.

BPE has no pre_tokenizer: SentencePiece merges over the whole text, so that runs of spaces are pieces of their own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from curate.tokens.merges import recovered_merges

SPACE = "\u2581"
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
KINDS = {1: "unigram", 2: "bpe", 3: "word", 4: "char"}
Field = tuple[int, int | bytes]


@dataclass
class SentencePieceModel:
    """What the file holds; defaults are those of the protocol buffer."""

    pieces: list[tuple[str, float, int]] = field(default_factory=list)  # text, score, type
    kind: str = "unigram"
    whitespace_as_suffix: bool = False
    byte_fallback: bool = False
    charsmap: bytes = b""
    dummy_prefix: bool = True
    remove_extra: bool = True
    escape: bool = True

    def unlike(self) -> str | None:
        """Why the tokenizers library can't give its ids; None where it can."""
        if self.kind != "bpe":
            return f"it is a {self.kind} model"
        if self.charsmap:
            return "it normalises text by a table"
        if self.remove_extra or not self.escape or self.whitespace_as_suffix:
            return "it treats white space in its own way"
        if self.dummy_prefix and any(kind == USER_DEFINED for _, _, kind in self.pieces):
            return "it has pieces of the user beside a space before every text"
        return None

    def config(self) -> dict[str, Any]:
        """The configuration, as tokenizer.json has it, of a model that `unlike` has nothing against."""
        prefix = [{"type": "Prepend", "prepend": SPACE}] if self.dummy_prefix else []
        tail = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if self.dummy_prefix else []
        spaces = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
        back = {"type": "Replace", "pattern": {"String": SPACE}, "content": " "}
        # A better score is merged first. User-defined pieces are found before merging, bytes stand in where nothing else fits.
        ranks = {text: -score for text, score, kind in self.pieces if kind == NORMAL}
        return {
            "version": "1.0",
            "added_tokens": [
                {"id": number, "content": text, "single_word": False, "lstrip": False, "rstrip": False,
                 "normalized": kind == USER_DEFINED, "special": kind == CONTROL}
                for number, (text, _, kind) in enumerate(self.pieces) if kind in (CONTROL, USER_DEFINED)
            ],
            "normalizer": {"type": "Sequence", "normalizers": [*prefix, spaces]},
            "pre_tokenizer": None,
            "decoder": {"type": "Sequence", "decoders": [back, {"type": "ByteFallback"}, {"type": "Fuse"}, *tail]},
            "model": {
                "type": "BPE",
                "unk_token": next((text for text, _, kind in self.pieces if kind == UNKNOWN), None),
                "fuse_unk": True,
                "byte_fallback": self.byte_fallback,
                "vocab": {text: number for number, (text, _, _) in enumerate(self.pieces)},
                "merges": [list(parts) for parts in recovered_merges(ranks)],
            },
        }  # fmt: skip


def read_sentencepiece(content: bytes) -> SentencePieceModel:
    """Read the file. Raises ValueError where it is none."""
    model = SentencePieceModel()
    for number, value in _fields(content):
        if number == 1 and isinstance(value, bytes):
            piece = dict(_fields(value))
            text, score = piece.get(1, b""), piece.get(2, b"\0\0\0\0")
            if not isinstance(text, bytes) or not isinstance(score, bytes):
                raise ValueError("it is no SentencePiece model: a piece without text or score")
            model.pieces.append((text.decode("utf-8"), float(struct.unpack("<f", score)[0]), _number(piece, 3, NORMAL)))
        elif number == 2 and isinstance(value, bytes):
            trainer = dict(_fields(value))
            model.kind = KINDS.get(_number(trainer, 3, 1), "unknown")
            model.whitespace_as_suffix = bool(_number(trainer, 24, 0))
            model.byte_fallback = bool(_number(trainer, 35, 0))
        elif number == 3 and isinstance(value, bytes):
            normalizer = dict(_fields(value))
            charsmap = normalizer.get(2, b"")
            model.charsmap = charsmap if isinstance(charsmap, bytes) else b""
            model.dummy_prefix = bool(_number(normalizer, 3, 1))
            model.remove_extra = bool(_number(normalizer, 4, 1))
            model.escape = bool(_number(normalizer, 5, 1))
    if not model.pieces:
        raise ValueError("it is no SentencePiece model: there are no pieces in it")
    return model


def _number(message: dict[int, int | bytes], key: int, otherwise: int) -> int:
    value = message.get(key, otherwise)
    return value if isinstance(value, int) else otherwise


def _fields(data: bytes) -> Iterator[Field]:
    """(number, value) of every field of a protocol buffer message; later ones win where a field may stand once."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        wire, size = key & 7, 0
        if wire == 0:
            number, at = _varint(data, at)
            yield key >> 3, number
            continue
        if wire == 2:
            size, at = _varint(data, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"it is no SentencePiece model: wire type {wire} at byte {at}")
        if at + size > len(data):
            raise ValueError(f"it is no SentencePiece model, or cut short: a field of {size} bytes at byte {at} of {len(data)}")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise ValueError("it is no SentencePiece model, or cut short")
