"""A tokenizer's file as we use it: its digest, its size, its special tokens, and how a text that spells one stays text.

tokenizer.json of the tokenizers library, SentencePiece's .model and .tiktoken files are read.

By default the tokenizers library turns the characters `<|endoftext|>` of a document into the special token: whoever
writes a page can end a document. Its switch `encode_special_tokens` prevents that match, but not a second one: where the
model's own vocabulary holds the special token, WordPiece, Unigram and BPE with `ignore_merges` still find it as an ordinary
piece. So special tokens get another name inside the tokenizer, one that no text spells, and keep their ids.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curate.errors import RecipeError
from curate.registry import nearest
from curate.tokens.sentencepiece_file import CONTROL, UNKNOWN, read_sentencepiece
from curate.tokens.tiktoken_file import byte_letters, from_tiktoken

FILE = "tokenizer.json"
CONFIG = "tokenizer_config.json"
PREFIX = "curate."  # of the keys that describe a tokenizer in a shard's metadata

# Well-known names, the first of a tokenizer's own that is found is only taken when it is the only one found.
KNOWN_EOS = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|eos|>", "[EOS]", "<end_of_text>", "<|end▁of▁sentence|>")
KNOWN_BOS = ("<|begin_of_text|>", "<s>", "<bos>", "<|bos|>", "[BOS]", "<begin_of_text>", "<|startoftext|>", "<|begin▁of▁sentence|>")


@dataclass(frozen=True)
class Vocabulary:
    """What a tokenizer's file says."""

    sha256: str  # of the file's bytes; of a .tiktoken file with the split that was chosen for it
    size: int  # largest id + 1, added tokens included
    ids: Mapping[str, int] = field(repr=False)
    special: Mapping[str, int]  # special tokens and the unknown token
    config: Mapping[str, Any] = field(repr=False)  # as tokenizer.json has it; empty where only SentencePiece gives its ids
    unknown: str | None  # the token for what the vocabulary can't spell
    named: Mapping[str, str]  # "eos_token" and "bos_token" as tokenizer_config.json beside it has them
    sentencepiece: bytes | None = field(default=None, repr=False)  # the model, where that library must encode
    reason: str = ""  # and why

    def token_id(self, role: str, given: str | None) -> int:
        """Id of the EOS or BOS token. role: "eos" or "bos". Raises RecipeError with the candidates where it is not certain."""
        specials = ", ".join(self.special) or "none"
        if given is not None:
            if given not in self.ids:
                near = nearest(given, list(self.special)) or f" Its special tokens: {specials}."
                raise RecipeError(f"tokenize.{role}_token {given!r} is not in the tokenizer's vocabulary.{near}")
            return self.ids[given]
        named = self.named.get(f"{role}_token")
        if named is not None and named in self.ids:
            return self.ids[named]
        found = [token for token in (KNOWN_EOS if role == "eos" else KNOWN_BOS) if token in self.special]
        if len(found) != 1:
            several = f"several tokens may be it ({', '.join(found)})" if found else "no token with a known name is there"
            raise RecipeError(
                f"tokenize can't tell the tokenizer's {role.upper()} token: {several}. "
                f"Set {role}_token to one of its special tokens ({specials}), or {role}: false."
            )
        return self.ids[found[0]]

    def spelt(self, count: int = 400) -> list[str]:
        """About `count` pieces, evenly spread, as the text that they stand for; those that are no text alone are left out."""
        pieces = list(self.ids)[:: max(1, len(self.ids) // count)]
        return list(filter(None, map(_as_text, pieces)))

    def template(self) -> str:
        """What the file itself puts around one text, such as "<s> $A </s>"; "$A" where it adds nothing."""
        return _template(self.config.get("post_processor") or {}) or "$A"


def load_vocabulary(path: str, split: str | None = None) -> Vocabulary:
    """Read a tokenizer.json, a SentencePiece .model or a .tiktoken file.

    split: how text is cut before merging, for a .tiktoken file whose name does not say it
    Raises RecipeError where the file is none of them.
    """
    file = Path(path)
    try:
        content = file.read_bytes()
        if file.suffix == ".model":
            return _from_sentencepiece(file, content)
        if file.suffix == ".tiktoken":
            config = from_tiktoken(content, file.stem, split)
        else:
            config = json.loads(content)
        digest = hashlib.sha256(content + (f"\nsplit {split}".encode() if file.suffix == ".tiktoken" and split else b"")).hexdigest()
        return _vocabulary(digest, config, _named(file))
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = {".model": "a SentencePiece model", ".tiktoken": "a .tiktoken file"}.get(
            file.suffix, "a tokenizer.json of the tokenizers library"
        )
        raise RecipeError(f"{path} can't be read as {what}: {error}") from error


def _vocabulary(digest: str, config: dict[str, Any], named: Mapping[str, str]) -> Vocabulary:
    ids = _ids(config)
    special = {t["content"]: t["id"] for t in config.get("added_tokens") or [] if t["special"]}
    unknown = _unknown(config["model"])
    if unknown is not None and unknown in ids:
        special[unknown] = ids[unknown]
    return Vocabulary(digest, max(ids.values(), default=-1) + 1, ids, special, config, unknown, named)


def _from_sentencepiece(file: Path, content: bytes) -> Vocabulary:
    model, digest = read_sentencepiece(content), hashlib.sha256(content).hexdigest()
    reason = model.unlike()
    if reason is None:
        return _vocabulary(digest, model.config(), _named(file))
    ids = {text: number for number, (text, _, _) in enumerate(model.pieces)}
    special = {text: ids[text] for text, _, kind in model.pieces if kind in (CONTROL, UNKNOWN)}
    unknown = next((text for text, _, kind in model.pieces if kind == UNKNOWN), None)
    return Vocabulary(digest, len(model.pieces), ids, special, {}, unknown, _named(file), content, reason)


def plain_config(vocabulary: Vocabulary) -> dict[str, Any]:
    """The tokenizer's configuration without any way from text to a special token; all ids stay.

    Truncation, padding, post-processing and dropout go too: they would cut or pad documents, and BOS and EOS are ours to add.
    """
    # Holds a NUL, spaces and the digest: no normaliser or split leaves such a piece, and no text has it by chance.
    names = {token: f" \0 {vocabulary.sha256} {number} \0 " for token, number in vocabulary.special.items()}
    config = {**vocabulary.config, "truncation": None, "padding": None, "post_processor": None}
    config["added_tokens"] = [
        {**t, "special": t["special"] or t["content"] in names, "content": names.get(t["content"], t["content"])}
        for t in config.get("added_tokens") or []
    ]
    model = config["model"] = dict(config["model"])
    if model.get("dropout") is not None:
        model["dropout"] = None  # merges left out at random are for training a model's robustness; shards are the same every time
    if isinstance(model["vocab"], dict):
        model["vocab"] = {names.get(token, token): number for token, number in model["vocab"].items()}
    else:
        model["vocab"] = [[names.get(token, token), score] for token, score in model["vocab"]]
    if model.get("unk_token") is not None:
        model["unk_token"] = names.get(model["unk_token"], model["unk_token"])
    if model.get("merges"):
        pairs = [m.split(" ") if isinstance(m, str) else m for m in model["merges"]]
        model["merges"] = [p for p in pairs if p[0] not in names and p[1] not in names and p[0] + p[1] not in names]
    return config


def without_special(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration with ordinary added tokens only."""
    return config | {"added_tokens": [t for t in config.get("added_tokens") or [] if not t["special"]]}


def _ids(config: dict[str, Any]) -> dict[str, int]:
    vocab = config["model"]["vocab"]
    ids = dict(vocab) if isinstance(vocab, dict) else {token: number for number, (token, _) in enumerate(vocab)}
    return ids | {t["content"]: t["id"] for t in config.get("added_tokens") or []}


def _unknown(model: dict[str, Any]) -> str | None:
    if isinstance(model["vocab"], list):
        return model["vocab"][model["unk_id"]][0] if model.get("unk_id") is not None else None
    return model.get("unk_token")


def _named(file: Path) -> dict[str, str]:
    try:
        config = json.loads((file.parent / CONFIG).read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise RecipeError(f"{file.parent / CONFIG} is not JSON: {error}") from error
    found = {role: config.get(role) for role in ("eos_token", "bos_token")}
    return {role: token["content"] if isinstance(token, dict) else token for role, token in found.items() if token}


def _as_text(piece: str) -> str | None:
    """The text of a piece of a byte-level or SentencePiece vocabulary; None where it is a part of a character."""
    numbers = [_BYTE_OF.get(letter) for letter in piece]
    if any(number is None for number in numbers):
        return piece.replace("\u2581", " ")
    try:
        return bytes(number for number in numbers if number is not None).decode("utf-8")
    except UnicodeDecodeError:
        return None


_BYTE_OF = {letter: number for number, letter in enumerate(byte_letters())}


def _template(processor: dict[str, Any]) -> str:
    if processor.get("type") == "Sequence":
        return next(filter(None, map(_template, processor.get("processors") or [])), "")
    if processor.get("type") == "TemplateProcessing":
        names = [part.get("SpecialToken", {}).get("id") or "$A" for part in processor.get("single") or []]
        return " ".join(names)
    if processor.get("type") in ("BertProcessing", "RobertaProcessing"):
        return f"{processor['cls'][0]} $A {processor['sep'][0]}"
    return ""
