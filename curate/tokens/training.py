"""Train a tokenizer so that the same texts give the same bytes.

The BPE trainer of the tokenizers library is reproducible (equal files from one and two threads). Its WordPiece trainer numbers
the characters inside words in the order of a hash map, so every run breaks ties in another way: we give it that alphabet,
sorted. Its Unigram trainer gave four vocabularies in four runs on one thread, which can't be helped from outside: Unigram is
learnt by the sentencepiece library, on one thread, from sorted words with their counts, and written as a tokenizer.json.
gigatoken's trainer is not used: its files have not been shown to be equal.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from curate.errors import DataError, MissingDependency, RecipeError
from curate.tokens.sentencepiece_file import read_sentencepiece
from curate.tokens.tiktoken_file import LLAMA3, QWEN2

Algorithm = Literal["bpe", "wordpiece", "unigram"]
Split = Literal["gpt2", "llama3", "qwen2"]

UNKNOWN = "[UNK]"
UNIGRAM_UNKNOWN = "<unk>"
BYTES = 256
LONGEST_WORD = 1000  # characters; SentencePiece leaves out what is longer than 4,192 bytes


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
    """Kudo 2018, with SentencePiece's defaults (pieces of at most 16 characters, characters of 99.95 % of the text) after NFKC.

    The order of texts does not matter: words are counted and sorted.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    words: Counter[str] = Counter()
    for text in _counted(texts):
        for one in [text] if isinstance(text, str) else text:
            words.update(normalizer.normalize_str(one).split())
    pieces = _sentencepiece_pieces(words, vocab_size, [s for s in specials if s != UNIGRAM_UNKNOWN])
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    tokenizer.add_special_tokens([UNIGRAM_UNKNOWN, *(s for s in specials if s != UNIGRAM_UNKNOWN)])
    return tokenizer


def _sentencepiece_pieces(words: Mapping[str, int], vocab_size: int, specials: list[str]) -> list[tuple[str, float]]:
    """Pieces with their scores: the unknown one, specials, and those learnt."""
    try:
        import sentencepiece
    except ImportError as error:
        raise MissingDependency.extra("sentencepiece", "sentencepiece", "training a unigram tokenizer") from error

    made = io.BytesIO()
    with tempfile.NamedTemporaryFile("w", suffix=".tsv", encoding="utf-8") as file:
        # A word may be a line without spaces (Chinese); longer ones than its limit would be left out.
        file.writelines(f"{word[at : at + LONGEST_WORD]}\t{count}\n" for word, count in sorted(words.items())
                        for at in range(0, len(word), LONGEST_WORD))  # fmt: skip
        file.flush()
        try:
            sentencepiece.SentencePieceTrainer.train(
                input=file.name, input_format="tsv", model_writer=made, model_type="unigram", vocab_size=vocab_size, hard_vocab_limit=False,
                normalization_rule_name="identity", unk_id=0, bos_id=-1, eos_id=-1, pad_id=-1, control_symbols=specials,
                num_threads=1, minloglevel=2,
            )  # fmt: skip
        except RuntimeError as error:
            raise RecipeError(f"vocab_size {vocab_size} does not suit these texts: {str(error).rpartition(') ] ')[2] or error}") from error
    return [(text, score) for text, score, _ in read_sentencepiece(made.getvalue()).pieces]


def _counted(texts: Iterable[str | Sequence[str]]) -> Iterable[str | Sequence[str]]:
    """Pass the texts on; raise DataError where there was none with a character in it."""
    any_text = False
    for text in texts:
        any_text = any_text or any(text)
        yield text
    if not any_text:
        raise DataError("There is no text to train a tokenizer on: the inputs are empty.")
