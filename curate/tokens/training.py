"""Train a tokenizer with the tokenizers library, so that the same texts give the same bytes.

Its BPE trainer is reproducible (equal files from one and two threads). Its WordPiece trainer numbers the characters inside
words in the order of a hash map, so every run breaks ties in another way: we give it that alphabet, sorted. Its Unigram
trainer gave four vocabularies in four runs on one thread, which can't be helped from outside: it is the one result of
curate that a rerun from nothing does not repeat, and it says so. (Inside a run folder it is trained once and reused.)
gigatoken's trainer is not used: its files have not been shown to be equal.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import xxhash

from curate.errors import DataError, RecipeError

Algorithm = Literal["bpe", "wordpiece", "unigram"]
REPRODUCIBLE = ("bpe", "wordpiece")
Split = Literal["gpt2", "llama3", "qwen2"]

# Splits of the published tokenizer.json files of Llama 3 and Qwen2.
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
UNKNOWN = "[UNK]"
UNIGRAM_UNKNOWN = "<unk>"
BYTES = 256


class Trained(NamedTuple):
    """A trained tokenizer."""

    content: bytes  # of tokenizer.json
    vocab_size: int
    eos: str | None  # the first special token given


def train_tokenizer(
    texts: Iterable[str | Sequence[str]],
    *,
    vocab_size: int,
    algorithm: Algorithm = "bpe",
    pretokenizer: Split = "gpt2",
    special_tokens: Sequence[str] = ("<|endoftext|>",),
    min_frequency: int = 2,
) -> Trained:
    """Train on texts, one at a time or in lists; their order does not matter to bpe.

    texts: read once for bpe, twice for wordpiece (which needs a list or another iterable that can be read again)
    vocab_size: special tokens and the 256 bytes (bpe) or the alphabet (wordpiece) counted in
    pretokenizer: the split before merges, for bpe
    Raises RecipeError where the vocabulary has no room, DataError where there is no text to learn from.
    """
    specials = list(dict.fromkeys(special_tokens))
    if algorithm == "bpe":
        tokenizer = _bpe(texts, vocab_size, pretokenizer, specials, min_frequency)
    elif algorithm == "wordpiece":
        tokenizer = _wordpiece(texts, vocab_size, specials, min_frequency)
    else:
        tokenizer = _unigram(texts, vocab_size, specials)
    config = json.loads(tokenizer.to_str())
    config["added_tokens"] = [t for t in config["added_tokens"] if t["content"] in {*specials, UNKNOWN, UNIGRAM_UNKNOWN}]
    content = json.dumps(config, ensure_ascii=False, indent=1).encode() + b"\n"
    return Trained(content, tokenizer.get_vocab_size(), specials[0] if specials else None)


def _bpe(texts: Iterable[str | Sequence[str]], vocab_size: int, pretokenizer: Split, specials: list[str], min_frequency: int) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    if vocab_size < BYTES + len(specials):
        raise RecipeError(
            f"vocab_size must be at least {BYTES + len(specials)} (256 bytes and {len(specials)} special tokens), got {vocab_size}"
        )
    tokenizer = Tokenizer(models.BPE())
    if pretokenizer == "gpt2":
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    else:
        split = pre_tokenizers.Split(Regex(LLAMA3 if pretokenizer == "llama3" else QWEN2), "isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_counted(texts), trainer)
    return tokenizer


def _wordpiece(texts: Iterable[str | Sequence[str]], vocab_size: int, specials: list[str], min_frequency: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    if iter(texts) is texts:
        raise TypeError("wordpiece reads the texts twice: give a list or another iterable that can be read again")
    normalizer = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=False)
    seen: Counter[str] = Counter()
    for text in _counted(texts):
        for one in [text] if isinstance(text, str) else text:
            seen.update(normalizer.normalize_str(one))
    first = [UNKNOWN, *(s for s in specials if s != UNKNOWN)]
    room = (vocab_size - len(first)) // 2
    common = sorted((c for c in seen if not c.isspace()), key=lambda c: (-seen[c], c))[: max(1, min(room, vocab_size // 4))]
    if len(common) > room:
        raise RecipeError(f"vocab_size must have room for {len(first)} special tokens and an alphabet, got {vocab_size}")
    tokenizer = Tokenizer(models.WordPiece(unk_token=UNKNOWN))
    tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.decoder = normalizer, pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=[*first, *(f"##{c}" for c in sorted(common))],
        initial_alphabet=sorted(common),
        limit_alphabet=len(common),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _unigram(texts: Iterable[str | Sequence[str]], vocab_size: int, specials: list[str]) -> Any:
    """Kudo 2018, as SentencePiece's defaults have it: NFKC, words behind U+2581, pieces of at most 16 characters."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    first = [UNIGRAM_UNKNOWN, *(s for s in specials if s != UNIGRAM_UNKNOWN)]
    trainer = trainers.UnigramTrainer(vocab_size=vocab_size, special_tokens=first, unk_token=UNIGRAM_UNKNOWN, show_progress=False)
    tokenizer.train_from_iterator(_counted(texts), trainer)
    return tokenizer


def drawn(batch: pa.RecordBatch, share: float, seed: int) -> list[str]:
    """Texts of a batch that are not empty; below a share of 1 those whose id, hashed with the seed, falls under it."""
    texts = batch.column("text")
    if share < 1.0:
        bound, key = int(share * 2.0**64), seed & (1 << 64) - 1
        chosen = [xxhash.xxh64_intdigest(name.encode(), key) < bound for name in batch.column("id").to_pylist()]
        texts = texts.filter(pa.array(chosen, pa.bool_()))
    return [text for text in texts.to_pylist() if text]


def _counted(texts: Iterable[str | Sequence[str]]) -> Iterable[str | Sequence[str]]:
    """Pass the texts on; raise DataError where there was none with a character in it."""
    any_text = False
    for text in texts:
        any_text = any_text or any(text)
        yield text
    if not any_text:
        raise DataError("There is no text to train a tokenizer on: the inputs are empty.")
