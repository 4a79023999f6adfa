"""Tiny models made on the spot: a fastText classifier, an n-gram model, a Hugging Face classifier."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from curate.classifiers.binary import write_model
from curate.classifiers.training import Corpus, Settings, train_model

GOOD = ["the study shows how the river shaped the valley", "we measured the rate of growth and explain the result", "a history of the town"]
BAD = ["buy now cheap cheap click here", "click here to win free casino money", "free free download now"]

# log10 probabilities and backoffs chosen by hand: the figures of the tests follow from them.
ARPA = """\\data\\
ngram 1=5
ngram 2=2

\\1-grams:
-1.0\t<unk>
-99\t<s>\t-0.5
-1.5\t</s>
-0.7\tthe\t-0.25
-0.9\triver\t-0.125

\\2-grams:
-0.3\t<s> the
-0.2\tthe river

\\end\\
"""


def save_classifier(path: Path, **settings: int | float) -> Path:
    """Labels hq and lq, eight dimensions."""
    corpus = Corpus(("hq", "lq"))
    corpus.add(pa.array(GOOD * 5, pa.large_string()), 0)
    corpus.add(pa.array(BAD * 4, pa.large_string()), 1)
    write_model(train_model(corpus, Settings(**{"dim": 8, "epochs": 20, "buckets": 100, "lr": 0.5} | settings)), path)  # type: ignore[arg-type]
    return path


def save_arpa(path: Path) -> Path:
    path.write_text(ARPA)
    return path


def save_transformer(folder: Path, labels: int = 2) -> Path:
    """A BERT of one layer with random weights of a fixed seed."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer.train_from_iterator([*GOOD, *BAD], trainers.WordPieceTrainer(vocab_size=200, special_tokens=special, show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)
    torch.manual_seed(7)
    config = BertConfig(vocab_size=tokenizer.get_vocab_size(), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                        intermediate_size=16, max_position_embeddings=64, num_labels=labels, initializer_range=1.0)  # fmt: skip
    if labels > 1:
        config.id2label = {0: "lq", 1: "hq"}
    BertForSequenceClassification(config).eval().save_pretrained(folder)
    return folder
