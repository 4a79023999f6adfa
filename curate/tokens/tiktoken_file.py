"""A .tiktoken file as the configuration of a tokenizer.json.

The file has one line a token, base64 and rank, and nothing else: how text is split before merging and which special tokens
there are stand in the code of whoever published it. For the names of OpenAI's files (tiktoken 0.14, tiktoken_ext/openai_public)
they are known here; any other file needs `split`. Nothing is guessed: a wrong split gives wrong ids without an error.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Literal, NamedTuple

from curate.errors import RecipeError
from curate.registry import nearest
from curate.tokens.merges import recovered_merges

SplitName = Literal["gpt2", "cl100k", "o200k", "llama3", "qwen2"]

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_O200K_TAIL = r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
GPT2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
O200K = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_CONTRACTIONS}?|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_CONTRACTIONS}?" + _O200K_TAIL
# tiktoken 0.14 writes it with possessive quantifiers; the tokenizers library would read `{1,3}+` as "one or more times" and `$` as
# the end of any line. At the end of a text it differs from Llama 3's: white space with a line break in it is one piece.
CL100K = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+\z|\s*[\r\n]|\s+(?!\S)|\s"
# As gigatoken knows it.
CL100K_FAST = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s+"
SPLITS: dict[str, str] = {"gpt2": GPT2, "cl100k": CL100K, "o200k": O200K, "llama3": LLAMA3, "qwen2": QWEN2}


class _Known(NamedTuple):
    split: str
    special: dict[str, int]


_END = "<|endoftext|>"
_FIM = ("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>")
KNOWN = {
    "r50k_base": _Known("gpt2", {_END: 50256}),
    "p50k_base": _Known("gpt2", {_END: 50256}),
    "p50k_edit": _Known("gpt2", {_END: 50256, **dict(zip(_FIM, range(50281, 50284), strict=True))}),
    "cl100k_base": _Known("cl100k", {_END: 100257, **dict(zip(_FIM, range(100258, 100261), strict=True)), "<|endofprompt|>": 100276}),
    "o200k_base": _Known("o200k", {_END: 199999, "<|endofprompt|>": 200018}),
}


def from_tiktoken(content: bytes, name: str, split: str | None) -> dict[str, Any]:
    """Return the configuration, as tokenizer.json has it.

    name: of the file, without its ending; split: how text is cut before merging, or None where the name says it
    Raises RecipeError for a name that says nothing, ValueError where the content is no such file.
    """
    known = KNOWN.get(name)
    if split is None and known is None:
        near = nearest(name, list(KNOWN))
        raise RecipeError(
            f"{name}.tiktoken does not say how text is split before merging, and its name is none of {', '.join(KNOWN)}.{near} "
            f"Set split to one of {', '.join(SPLITS)}."
        )
    ranks = _ranks(content)
    letters = byte_letters()
    spelt = {token: "".join(letters[byte] for byte in token) for token in ranks}
    merges = [[spelt[left], spelt[right]] for left, right in recovered_merges(ranks)]
    special = known.special if known is not None and split in (None, known.split) else {}
    special = {token: number for token, number in special.items() if number not in ranks.values() and number < len(ranks) + 1024}
    return {
        "version": "1.0",
        "added_tokens": [
            {"id": number, "content": token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
            for token, number in special.items()
        ],
        "normalizer": None,
        "pre_tokenizer": byte_level(SPLITS[split or (known.split if known else "")]),
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        # tiktoken takes a piece that is a token as it is, whether merges reach it or not.
        "model": {"type": "BPE", "ignore_merges": True, "vocab": {spelt[t]: rank for t, rank in ranks.items()}, "merges": merges},
    }


def byte_level(pattern: str) -> dict[str, Any]:
    """The pre_tokenizer of tokenizer.json that cuts text by a pattern and spells bytes as letters."""
    plain = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    if pattern == GPT2:
        return plain | {"use_regex": True}
    return {
        "type": "Sequence",
        "pretokenizers": [{"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}, plain],
    }


def _ranks(content: bytes) -> dict[bytes, int]:
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error) as error:
            raise ValueError(f"line {number} is not 'base64 rank': {line[:60]!r}") from error
    missing = [byte for byte in range(256) if bytes([byte]) not in ranks]
    if missing:
        raise ValueError(f"{len(missing)} of the 256 single bytes have no rank, the first one {missing[0]}")
    if len(set(ranks.values())) != len(ranks):
        raise ValueError("two tokens have the same rank")
    return ranks


def byte_letters() -> list[str]:
    """The letter that byte-level vocabularies write for each byte (GPT-2's table): itself where it is printable."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]
