"""A tokenizer.json as we use it: its digest, its size, its special tokens, and how a text that spells one stays text.

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

FILE = "tokenizer.json"
CONFIG = "tokenizer_config.json"
PREFIX = "curate."  # of the keys that describe a tokenizer in a shard's metadata

# Well-known names, the first of a tokenizer's own that is found is only taken when it is the only one found.
KNOWN_EOS = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|eos|>", "[EOS]", "<end_of_text>", "<|end▁of▁sentence|>")
KNOWN_BOS = ("<|begin_of_text|>", "<s>", "<bos>", "<|bos|>", "[BOS]", "<begin_of_text>", "<|startoftext|>", "<|begin▁of▁sentence|>")


@dataclass(frozen=True)
class Vocabulary:
    """What a tokenizer.json says."""

    sha256: str  # of the file's bytes
    size: int  # largest id + 1, added tokens included
    ids: Mapping[str, int] = field(repr=False)
    special: Mapping[str, int]  # special tokens and the unknown token
    config: Mapping[str, Any] = field(repr=False)
    named: Mapping[str, str]  # "eos_token" and "bos_token" as tokenizer_config.json beside it has them

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


def load_vocabulary(path: str) -> Vocabulary:
    """Read a tokenizer.json. Raises RecipeError where the file is none."""
    file = Path(path)
    try:
        content = file.read_bytes()
        config = json.loads(content)
        ids = _ids(config)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecipeError(f"{path} can't be read as a tokenizer.json of the tokenizers library: {error}") from error
    special = {t["content"]: t["id"] for t in config.get("added_tokens") or [] if t["special"]}
    unknown = _unknown(config["model"])
    if unknown is not None and unknown in ids:
        special[unknown] = ids[unknown]
    return Vocabulary(hashlib.sha256(content).hexdigest(), max(ids.values(), default=-1) + 1, ids, special, config, _named(file))


def plain_config(vocabulary: Vocabulary) -> dict[str, Any]:
    """The tokenizer's configuration without any way from text to a special token; all ids stay.

    Truncation, padding and post-processing go too: they would cut or pad documents, and BOS and EOS are ours to add.
    """
    config: dict[str, Any] = json.loads(json.dumps(vocabulary.config))
    config["truncation"] = config["padding"] = config["post_processor"] = None
    # Holds a NUL, spaces and the digest: no normaliser or split leaves such a piece, and no text has it by chance.
    names = {token: f" \0 {vocabulary.sha256} {number} \0 " for token, number in vocabulary.special.items()}
    for token in config.get("added_tokens") or []:
        token["special"] = token["special"] or token["content"] in names
        token["content"] = names.get(token["content"], token["content"])
    model = config["model"]
    if isinstance(model["vocab"], dict):
        model["vocab"] = {names.get(token, token): number for token, number in model["vocab"].items()}
    else:
        model["vocab"] = [[names.get(token, token), score] for token, score in model["vocab"]]
    if model.get("unk_token") is not None:
        model["unk_token"] = names.get(model["unk_token"], model["unk_token"])
    if model.get("merges"):
        pairs = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in model["merges"]]
        model["merges"] = [list(p) for p in pairs if not names.keys() & {*p, "".join(p)}]
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
