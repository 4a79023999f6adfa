"""A small model on English Wikipedia pages against byte-level Kneser-Ney models, on the same bytes.

    python tests/bench/language_model.py --pages .../wikipedia_en_pages.jsonl.zst --save     # 2M and 3.7M tokens: 15 CPU minutes
    python tests/bench/language_model.py --pages ... --tokens 0.5M

Pages are split by a hash of their id (10 MB to learn from, 0.5 MB held out); pages over 60 KB, and those that are mostly tables drawn
with spaces and dashes (less than 4 bits a byte, one by one), are left out. Tokenizer, shards, mix and model are one recipe, run by
`curate.run`. The model is scored on held-out pages in windows of 256 tokens with a stride of 128, over their bytes in UTF-8.
Bars: bits per byte below those of 3-grams after 0.5M tokens, of 4-grams after 2M, of 5-grams after 3.7M.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import math
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
TRAIN_MB, HELD_OUT_MB = 10.0, 0.5
MOST_BYTES, LEAST_BITS = 60_000, 4.0  # of a page; bits of its bytes one by one
WINDOW, STRIDE = 256, 128
BARS = {500_000: 3, 2_000_000: 4, 3_700_000: 5}  # tokens -> order of the n-grams to beat
RECIPE = """
name: small
seed: 1
datasets:
  pages: {{read: {{jsonl: "{folder}/train.jsonl"}}}}
  pages_tokens: {{from: pages, steps: [{{tokenize: {{tokenizer: tok, bos: true, bos_token: "<|bos|>", eos_token: "<|endoftext|>"}}}}]}}
  order: {{mix: {{seq_len: 256, stages: [{{tokens: {tokens}, weights: {{pages_tokens: 1}}}}], max_epochs: {{pages_tokens: 4}}}}}}
models:
  tok: {{train: tokenizer, data: pages, vocab_size: 4096, special_tokens: ["<|endoftext|>", "<|bos|>"]}}
  lm:
    train: pretrain
    model: {{preset: {preset}}}
    data: order
    batch_tokens: 1024
    optimizer: {{lr: 0.004}}
"""


def pages(path: Path) -> Iterator[tuple[str, str]]:
    """(id, text), each text once, at least 200 characters."""
    import zstandard

    seen: set[bytes] = set()
    with open(path, "rb") as raw:
        data: Any = zstandard.ZstdDecompressor().stream_reader(raw) if path.suffix == ".zst" else raw
        for line in io.TextIOWrapper(data, "utf-8"):
            row = json.loads(line)
            key = hashlib.sha1(" ".join(row["text"].split()).encode()).digest()
            if len(row["text"]) >= 200 and key not in seen and prose(row["text"].encode()):
                seen.add(key)
                yield row["id"], row["text"]


def prose(text: bytes) -> bool:
    """Whether a page is neither very long nor mostly a table."""
    counts = Counter(text)
    bits = -sum(n / len(text) * math.log2(n / len(text)) for n in counts.values())
    return len(text) <= MOST_BYTES and bits >= LEAST_BITS


def split(path: Path, folder: Path) -> tuple[list[str], list[str]]:
    """Texts to learn from and held-out ones; the former are written to train.jsonl."""
    drawn = sorted(pages(path), key=lambda page: hashlib.sha1(page[0].encode()).digest())
    parts: tuple[list[tuple[str, str]], ...] = ([], [])
    at = 0
    for part, size in ((1, HELD_OUT_MB), (0, TRAIN_MB)):
        held = 0
        while held < size * 1e6:
            parts[part].append(drawn[at])
            held += len(drawn[at][1].encode())
            at += 1
    with open(folder / "train.jsonl", "w", encoding="utf-8") as file:
        for name, text in parts[0]:
            file.write(json.dumps({"id": name, "text": text}, ensure_ascii=False) + "\n")
    return [text for _, text in parts[0]], [text for _, text in parts[1]]


def bits_per_byte(folder: Path, texts: list[str]) -> float:
    """Of a model's folder on texts, each begun with BOS."""
    import torch
    from tokenizers import Tokenizer

    from train.models import load_model

    model, tokenizer = load_model(folder).eval(), Tokenizer.from_file(str(folder / "tokenizer.json"))
    bos = tokenizer.token_to_id("<|bos|>")
    bits, size = 0.0, sum(len(text.encode()) for text in texts)
    with torch.no_grad():
        for text in texts:
            ids = [bos, *tokenizer.encode(text, add_special_tokens=False).ids]
            done = 1
            for start in range(0, len(ids), STRIDE):
                window = torch.tensor([ids[start : start + WINDOW]])
                end = start + window.shape[1]
                if end > done:
                    logs = torch.log_softmax(model(input_ids=window, use_cache=False).logits[0].float(), -1)
                    targets = torch.tensor(ids[done:end])
                    bits -= float(logs[done - start - 1 : end - start - 1].gather(1, targets[:, None]).sum()) / math.log(2)
                    done = end
                if end == len(ids):
                    break
    return bits / size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=Path, required=True, help="JSONL with id and text, perhaps .zst")
    parser.add_argument("--tokens", nargs="*", default=["2M", "3.7M"])
    parser.add_argument("--preset", default="llama-1m")
    parser.add_argument("--save", action="store_true", help="write tests/bench/results/language_model.json")
    args = parser.parse_args()

    import curate
    from curate.mix_schedule import parse_tokens
    from tests.bench.kneser_ney import KneserNey, joined

    folder = Path(tempfile.mkdtemp(prefix="language-model-"))
    learn, held_out = split(args.pages, folder)
    began = time.process_time()
    grams, stream = KneserNey(joined(learn), 6), joined(held_out)
    baseline = {n: grams.bits_per_byte(stream, n) for n in range(1, 7)}
    found: dict[str, Any] = {
        "command": " ".join(sys.argv),
        "train_bytes": sum(len(t.encode()) for t in learn),
        "held_out_bytes": sum(len(t.encode()) for t in held_out),
        "kneser_ney": {str(n): round(bits, 4) for n, bits in baseline.items()},
        "kneser_ney_cpu_s": round(time.process_time() - began, 1),
        "sum_of_probabilities": grams.total(stream[5000:5004], 5),
        "models": [],
    }
    print(json.dumps(found, indent=1), flush=True)
    for wanted in args.tokens:
        tokens = parse_tokens(wanted)
        (folder / "recipe.yaml").write_text(RECIPE.format(folder=folder, tokens=tokens, preset=args.preset), "utf-8")
        began = time.monotonic()
        result = curate.run(folder / "recipe.yaml", out=folder / "run", workers=1)
        info = json.loads((folder / "run" / "lm" / "training.json").read_bytes())["info"]
        bits = bits_per_byte(folder / "run" / "lm", held_out)
        order = BARS.get(tokens)
        line = {"tokens": tokens, "learnt": info["tokens"], "parameters": info["parameters"], "loss": info["loss"],
                "bits_per_byte": round(bits, 4), "wall_s": round(time.monotonic() - began, 1),
                "beaten": [n for n, b in baseline.items() if bits < b], "bar": order, "passed": None if order is None else bits < baseline[order]}  # fmt: skip
        found["models"].append(line)
        print(json.dumps(line), flush=True)
        del result
        if args.save:
            (ROOT / "tests/bench/results/language_model.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
