"""Small tokenizers of every kind, made on the spot, and documents to encode."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from curate.apply import outcomes
from curate.steps.tokenization import Tokenize

EOS = "<|endoftext|>"
TEXTS = [
    *(f"The quick brown fox number {i} jumps over {i * 7} lazy dogs, isn't it? It's fine." for i in range(60)),
    *(f"Grüße aus Köln {i}: 中文字符测试 and naïve café\n\n\tdef f(x): return x ** {i}" for i in range(40)),
]
HOSTILE = [
    "",
    f"a{EOS}b",
    f"{EOS}{EOS}",
    "<unk></s><s>[UNK][CLS]",
    "x" * 3000,
    "\x00\uffff\U0010ffff",
    "🙂‍↔️ e\u0301",
    f"{EOS[:-1]}",
    "<|im_start|>user",
]


def byte_bpe(path: Path, ignore_merges: bool = False, split: Any = None) -> Path:
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = split or pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=[EOS, "<pad>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.add_tokens([AddedToken("fox", normalized=False)])
    tokenizer.add_special_tokens([AddedToken("<|im_start|>")])
    tokenizer.add_tokens(["dogs,"])
    tokenizer.save(str(path))
    return path


def unigram(path: Path) -> Path:
    # EOS has the best score of all: the model would take it out of the text if it could.
    pieces = [
        ("<unk>", 0.0),
        ("</s>", 0.0),
        *((c, -5.0) for c in "abcdefghijklmnopqrstuvwxyzT</>s\u2581|"),
        ("fox", -1.0),
        ("\u2581the", -2.0),
    ]
    tokenizer = Tokenizer(models.Unigram([(p, s) for p, s in dict(pieces).items()], unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(["<unk>", "</s>"])
    tokenizer.save(str(path))
    return path


def wordpiece(path: Path) -> Path:
    words = [
        "[UNK]",
        "[EOS]",
        "[PAD]",
        *"abcdefghijklmnopqrstuvwxyz",
        *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz"),
        "fox",
        "the",
        "[",
        "]",
    ]
    tokenizer = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["[UNK]", "[EOS]", "[PAD]"])
    tokenizer.save(str(path))
    return path


def byte_fallback(path: Path) -> Path:
    """In the style of Llama 2: SentencePiece BPE, spaces as U+2581, unknown characters as bytes."""
    letters = sorted(set("".join(TEXTS)) - set("中文字符测试 \n\t"))
    vocab = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), *letters, "\u2581", "fo", "fox", "\u2581t", "\u2581th"]
    merges = [("f", "o"), ("fo", "x"), ("\u2581", "t"), ("\u2581t", "h")]
    model = models.BPE({t: i for i, t in enumerate(dict.fromkeys(vocab))}, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.save(str(path))
    return path


KINDS = {"byte_bpe": byte_bpe, "unigram": unigram, "wordpiece": wordpiece, "byte_fallback": byte_fallback}


def document_batch(texts: Sequence[str | None], prefix: str = "d") -> pa.RecordBatch:
    return pa.record_batch(
        {
            "id": pa.array([f"{prefix}{i}" for i in range(len(texts))], pa.string()),
            "text": pa.array(texts, pa.large_string()),
            "source": pa.array(["s"] * len(texts), pa.string()),
            "meta": pa.array(["{}"] * len(texts), pa.large_string()),
        }
    )


def tokenized(path: Path, texts: Sequence[str | None], prefix: str = "d", **settings: Any) -> pa.RecordBatch:
    return outcomes(Tokenize(tokenizer=str(path), **settings), [document_batch(texts, prefix)])[0].batch
