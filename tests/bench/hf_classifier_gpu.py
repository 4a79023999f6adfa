"""`hf_classifier` on a GPU: does it give the CPU's scores, and how fast is it?

    python tests/bench/hf_classifier_gpu.py [--documents 4096] [--out FILE]      # --tiny: a model of 0.2M parameters, to try it on a CPU

A BERT of 110 million parameters with random weights (12 layers, width 768) and a WordPiece tokenizer made here: speed and agreement do not
depend on what it has learnt. Documents of 20 to 900 words from a made-up vocabulary. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
CHECKED = 96


def texts(count: int) -> list[str]:
    chance = random.Random(5)
    words = ["".join(chance.choices("etaoinshrdlucmfw", k=chance.randint(2, 9))) for _ in range(4000)]
    return [" ".join(chance.choices(words, k=int(chance.triangular(20, 900, 150)))) for _ in range(count)]


def make_model(folder: Path, some: list[str], tiny: bool) -> int:
    """Write the model and its tokenizer; returns its parameters."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer.train_from_iterator(some, trainers.WordPieceTrainer(vocab_size=8000, special_tokens=special, show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=512).save_pretrained(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128} if tiny else {}
    network = BertForSequenceClassification(BertConfig(vocab_size=30_522, num_labels=1, pad_token_id=0, initializer_range=0.05, **shape))
    network.save_pretrained(folder)
    return sum(p.numel() for p in network.parameters())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=4096)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    import numpy as np
    import pyarrow as pa
    import torch
    import transformers

    from curate.steps.transformer_scores import transformers_scorer

    documents = texts(given.documents)
    result: dict[str, Any] = {"torch": torch.__version__, "transformers": transformers.__version__, "documents": len(documents)}
    with tempfile.TemporaryDirectory() as folder:
        result["parameters"] = make_model(Path(folder), documents[:500], given.tiny)
        gpu = torch.cuda.is_available()
        result["device"] = torch.cuda.get_device_name() if gpu else "cpu"
        text = pa.array(documents, pa.large_string())
        on_cpu = transformers_scorer(folder, None, "hf_classifier", revision=None, device="cpu")(text[:CHECKED])
        scorer = transformers_scorer(folder, None, "hf_classifier", revision=None, device="cuda" if gpu else "cpu")
        found = scorer(text[:CHECKED])
        result["largest_difference_to_cpu"] = float(np.abs(found - on_cpu).max())
        result["spread_of_scores"] = float(on_cpu.std())
        started = time.monotonic()
        whole = scorer(text)
        seconds = time.monotonic() - started
        result["same_documents_in_another_batch"] = float(np.abs(whole[:CHECKED] - found).max())
        size = sum(len(d) for d in documents) / 1e6
        result |= {
            "seconds": round(seconds, 2),
            "documents_per_second": round(len(documents) / seconds, 1),
            "mb_per_second": round(size / seconds, 2),
        }
        result["gpu_memory_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 2) if gpu else None
    print(json.dumps(result))
    if given.out is not None:
        given.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
