"""Chat template to ids and labels: ours against trl's own preparation, on the same rows, tokenizer and template.

    python tests/bench/rendering.py DATA.jsonl[.gz] [--rows N] [--template qwen] [--repeat 3] [--save]

Both get the same messages and a byte-level BPE trained on them, and give input_ids and labels, which are compared token by token. CPU seconds of this process; threads
of the tokenizers library are off. trl's part is what SFTTrainer does with `assistant_only_loss=True`: `_tokenize` with a mask, then labels, each a
`datasets.map` without its cache. Needs trl.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

os.environ |= {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
BATCH = 512


def read(path: Path, rows: int) -> list[Any]:
    """Records of a file, repeated up to `rows`."""
    from formats.catalog import adapter
    from formats.detect import detect

    open_it: Any = gzip.open if path.suffix == ".gz" else open
    with open_it(path, "rt", encoding="utf-8") as file:
        given = [json.loads(line) for line in file]
    reader = adapter(detect(iter([json.loads(json.dumps(r)) for r in given[:500]]), str(path)).format)
    records = [r for row in given for r in reader.read_many(row)]
    return (records * -(-rows // len(records)))[:rows]


def tokenizer(records: list[Any]) -> Any:
    """A byte-level BPE of 16,000 tokens trained on the records."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=16_000, special_tokens=list(SPECIAL), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    made.train_from_iterator([m.content or "" for r in records[:2000] for m in r.messages], trainer)
    return made


def main() -> None:
    """Measure, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--template", default="qwen")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--save", action="store_true")
    given = parser.parse_args()
    records = read(given.data, given.rows)
    ours, theirs, versions = prepare(records, given.template)
    runs: list[tuple[float, float]] = []
    for _ in range(given.repeat):
        (a, labels), (b, other) = timed(ours), timed(theirs)
        runs.append((a, b))
        same = sum(x == y for x, y in zip(labels, other, strict=True))
        print(
            f"ours {len(records) / a:,.0f} rows/s, trl {len(records) / b:,.0f} rows/s, ratio {b / a:.2f}, {same} of {len(labels)} rows with equal labels"
        )
    found = {
        "data": given.data.name, "rows": len(records), "template": given.template, "versions": versions,
        "ours_rows_s": round(len(records) / median(a for a, _ in runs)), "trl_rows_s": round(len(records) / median(b for _, b in runs)),
        "ratio": round(median(b / a for a, b in runs), 2), "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000),
    }  # fmt: skip
    print(json.dumps(found))
    if given.save:
        (Path(__file__).parent / "results" / "rendering.json").write_text(json.dumps(found, indent=1) + "\n")


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    """(CPU seconds, result)."""
    started = time.process_time()
    found = run()
    return time.process_time() - started, found


def prepare(records: list[Any], template: str) -> tuple[Callable[[], Any], Callable[[], Any], dict[str, str]]:
    """The two ways, both with everything loaded."""
    from importlib.metadata import version

    import datasets
    from transformers import PreTrainedTokenizerFast
    from trl.trainer.sft_trainer import _tokenize

    from formats.templates.rendering import Renderer, Row
    from formats.templates.tokenizer import make

    datasets.disable_progress_bars()
    bare = tokenizer(records)
    chat = make(bare, {"eos_token": "<|endoftext|>"}, template, None)
    renderer = Renderer(chat)
    chat.pieces()  # opened once a run, half a second
    theirs = PreTrainedTokenizerFast(tokenizer_object=bare, eos_token="<|endoftext|>")
    theirs.chat_template = chat.template.source
    rows = datasets.Dataset.from_list([{"messages": [{"role": m.role, "content": m.content} for m in r.messages]} for r in records])

    def ids(example: Any) -> Any:
        made = _tokenize(theirs, example["messages"], return_assistant_tokens_mask=True)
        return {key: made[key] for key in ("input_ids", "assistant_masks")}

    def labels(example: Any) -> Any:
        return {"labels": [i if m else -100 for i, m in zip(example["input_ids"], example["assistant_masks"], strict=True)]}

    def trl() -> Any:
        return rows.map(ids, load_from_cache_file=False).map(labels, load_from_cache_file=False)["labels"][:]

    def mine() -> Any:
        made = [row for first in range(0, len(records), BATCH) for row in renderer.rows(records[first : first + BATCH])]
        return [row.labels().tolist() if isinstance(row, Row) else None for row in made]

    return mine, trl, {name: version(name) for name in ("trl", "transformers", "tokenizers", "gigatoken")}


if __name__ == "__main__":
    main()
