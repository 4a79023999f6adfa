"""Tokenising: ids against the tokenizers library on all real text and hostile strings, and speed against it.

    taskset -c 0 python -m tests.bench.tokenization_speed ids [--save]      # 15 minutes: every document, four tokenizers
    taskset -c 0 python -m tests.bench.tokenization_speed speed [--save]    # English, Chinese, everything; long pieces
    taskset -c 0 python -m tests.bench.tokenization_speed chain [--save]    # read + tokenise + write against encoding alone

CPU seconds of one core; ours and theirs on the same bytes, alternating, best of several. Tokenizers are byte-level BPE of 32,000
ids with the splits of GPT-2, Llama 3 and Qwen2, and a SentencePiece BPE with byte fallback, all trained on one document in twenty.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.context import WorkContext
from curate.kernels.strings import views
from curate.tokens.encoder import Encoder
from curate.tokens.libraries import Fast, Tokenizers
from curate.tokens.probe import PIECES
from curate.tokens.training import train_tokenizer
from curate.tokens.vocabulary import Vocabulary, load_vocabulary, plain_config, without_special
from tests.bench.measure import machine
from tests.conftest import read_rows

DATA = Path(os.environ.get("CURATE_TEST_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
RESULTS = Path(__file__).parent / "results" / "tokenization_speed.json"
BATCH_BYTES = 8 << 20
HOSTILE = 30_000
SPLITS = ("gpt2", "llama3", "qwen2")
PARTS = {"English": ("wikipedia_en_pages",), "Chinese": ("zh_classical_modern", "zh_poetry")}


def documents(names: tuple[str, ...] | None = None) -> list[str]:
    """Texts of all files, or of those named, in order."""
    files = [f for f in sorted((DATA / "text").iterdir()) if names is None or f.name.partition(".")[0] in names]
    return [str(row.get("text") or "") for file in files for row in read_rows(file)]


def batches(texts: list[str]) -> Iterator[list[str]]:
    """Lists of about BATCH_BYTES."""
    held: list[str] = []
    size = 0
    for text in texts:
        held.append(text)
        size += len(text.encode())
        if size >= BATCH_BYTES:
            yield held
            held, size = [], 0
    if held:
        yield held


def hostile(count: int) -> list[str]:
    """Random joins of hostile pieces, other than those of the probe."""
    pick = random.Random(7)
    pool = [*PIECES, *(chr(pick.randrange(0x20, 0xD800)) for _ in range(400)), *(chr(pick.randrange(0x10000, 0x30000)) for _ in range(100))]
    return ["".join(pick.choices(pool, k=pick.randint(1, 40))) for _ in range(count)]


def tokenizers(texts: list[str], folder: Path) -> dict[str, Vocabulary]:
    """Trained on one document in twenty; made once in a folder."""
    sample, made = texts[::20], {}
    for split in SPLITS:
        path = folder / f"{split}.json"
        if not path.exists():
            path.write_bytes(train_tokenizer(sample, vocab_size=32_000, pretokenizer=split).content)
        made[split] = load_vocabulary(str(path))
    path = folder / "llama2.model"
    if not path.exists():
        import sentencepiece

        lines = [line for text in sample for line in text.split("\n") if 0 < len(line) < 4000]
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines[:200_000]), model_prefix=str(path.with_suffix("")), vocab_size=16_000, model_type="bpe",
            byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False, character_coverage=0.9995,
            minloglevel=2, num_threads=1,
        )  # fmt: skip
    made["SentencePiece"] = load_vocabulary(str(path))
    return made


def compare_ids(vocabularies: dict[str, Vocabulary], texts: list[str]) -> dict[str, Any]:
    """Documents and hostile strings that differ, for every tokenizer; both engines in one process, document by document."""
    found = {}
    strings = [*texts, *hostile(HOSTILE)]
    for name, vocabulary in vocabularies.items():
        encoder, judge = Encoder(vocabulary, check_one_in=1 << 62), Tokenizers(json.dumps(plain_config(vocabulary)))
        differ = tokens = 0
        for batch in batches(strings):
            ids, ends = encoder.encode(pa.array(batch, pa.large_string()))
            expected, bounds = judge.encode(batch)
            tokens += len(ids)
            if np.array_equal(ids, expected) and np.array_equal(ends, bounds):
                continue
            for at in range(len(batch)):
                differ += not np.array_equal(ids[ends[at] : ends[at + 1]], expected[bounds[at] : bounds[at + 1]])
        found[name] = {"library": encoder.library, "documents": len(texts), "hostile": HOSTILE, "tokens": tokens, "differ": differ}
        print(
            f"{name}: {encoder.library}, {len(texts):,} documents, {HOSTILE:,} hostile strings, {tokens:,} tokens, {differ} differ",
            flush=True,
        )
    return found


def spent(function: Callable[[], object]) -> float:
    started = time.process_time()
    function()
    return time.process_time() - started


def compare_speed(vocabularies: dict[str, Vocabulary], texts: list[str], repeats: int, mb: float) -> dict[str, Any]:
    """MB/s of ours, from an empty cache and with the checks that a run makes, and of encode_batch_fast."""
    found: dict[str, Any] = {}
    parts = {**{name: documents(files) for name, files in PARTS.items()}, "all languages": texts[:: max(1, len(texts) // 20_000)]}
    for part, given in parts.items():
        chosen, size = [], 0
        for text in given:
            chosen.append(text)
            size += len(text.encode())
            if size >= mb * 1e6:
                break
        lists = list(batches(chosen))
        columns = [pa.array(texts, pa.large_string()) for texts in lists]
        for name in ("gpt2", "llama3"):
            judge = Tokenizers(json.dumps(plain_config(vocabularies[name])))
            best: dict[str, list[float]] = {"ours": [], "theirs": []}
            for _ in range(repeats):
                encoder = Encoder(vocabularies[name])
                best["ours"].append(spent(lambda e=encoder, cs=columns: [e.encode(c) for c in cs]))  # type: ignore[misc]
                best["theirs"].append(
                    spent(lambda: [judge.library.encode_batch_fast(texts, add_special_tokens=False) for texts in lists])  # noqa: B023
                )
            rates = {k: round(size / 1e6 / min(v), 2) for k, v in best.items()}
            found[f"{part}, {name}"] = {"mb": round(size / 1e6, 1), **rates, "ratio": round(rates["ours"] / rates["theirs"], 1)}
            print(f"{part}, {name}: {found[f'{part}, {name}']}", flush=True)
    found["long pieces"] = {name: long_pieces(vocabularies[name]) for name in ("gpt2", "llama3", "SentencePiece")}
    print(f"long pieces: {found['long pieces']}")
    return found


def long_pieces(vocabulary: Vocabulary) -> dict[str, Any]:
    """Seconds and memory for 10 MB that no split cuts."""
    encoder = Encoder(vocabulary, check_one_in=1 << 62)
    found = {}
    for name, text in (("a", "a" * 10_000_000), ("Chinese", "\u4e2d\u6587\u5b57" * 1_111_111), ("newlines", "\n" * 10_000_000),
                       ("random letters", "".join(random.Random(3).choices("abcdefghijklmnopqrstuvwxyz", k=10_000_000)))):  # fmt: skip
        column = pa.array([text], pa.large_string())
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        seconds = spent(lambda c=column: encoder.encode(c))  # type: ignore[misc]
        more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        found[name] = {"seconds": round(seconds, 2), "more_memory_mib": round(more)}
    return found


def compare_chain(folder: Path, vocabulary: Path, repeats: int) -> dict[str, Any]:
    """Reading JSON lines, tokenising with all checks and writing shards, against gigatoken alone on the same texts; start-up left out."""
    import zstandard

    from curate.io.jsonl import JsonlReader
    from curate.steps.tokenization import Tokenize
    from curate.tokens.shard import TokenShardWriter

    source = folder / "en.jsonl.zst"
    if not source.exists():
        lines = [
            json.dumps({"id": str(i), "text": t}, ensure_ascii=False).encode() + b"\n" for i, t in enumerate(documents(PARTS["English"]))
        ]
        source.write_bytes(zstandard.ZstdCompressor(level=3).compress(b"".join(lines)))
    reader = JsonlReader(paths=(str(source),))
    columns = [rows.batch.column("text") for split in reader.splits("/") for rows in reader.read(split, "x")]
    size = sum(pc.sum(pc.binary_length(c)).as_py() for c in columns) / 1e6
    spent_on: dict[str, list[float]] = {"chain": [], "alone": []}

    def chain(step: Any, out: str) -> None:
        writer = None
        for split in reader.splits("/"):
            for rows in reader.read(split, "x"):
                batch = step(rows.batch).batch
                writer = writer or TokenShardWriter(Path(out), "part", batch.schema, {})
                writer.write(batch)
        assert writer is not None
        writer.close()

    for _ in range(repeats):
        step = Tokenize(tokenizer=str(vocabulary)).bind(WorkContext())
        with tempfile.TemporaryDirectory(dir=folder) as out:
            spent_on["chain"].append(spent(lambda s=step, o=out: chain(s, o)))  # type: ignore[misc]
        fast = Fast(json.dumps(without_special(plain_config(load_vocabulary(str(vocabulary))))))
        fast.encode(*views(columns[0].slice(0, 1)))
        spent_on["alone"].append(spent(lambda f=fast: [f.encode(*views(c)) for c in columns]))  # type: ignore[misc]
    best = {name: min(values) for name, values in spent_on.items()}
    found = {
        "mb": round(size, 1),
        "mb_per_s_alone": round(size / best["alone"], 1),
        "mb_per_s_chain": round(size / best["chain"], 1),
        "share": round(best["alone"] / best["chain"], 3),
    }
    print(found)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("ids", "speed", "chain"))
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "curate-tokenization", help="tokenizers are kept here")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--mb", type=float, default=60, help="text of each part in `speed`")
    parser.add_argument("--save", action="store_true")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    texts = documents()
    vocabularies = tokenizers(texts, arguments.work)
    found = {
        "ids": lambda: compare_ids(vocabularies, texts),
        "speed": lambda: compare_speed(vocabularies, texts, arguments.repeats, arguments.mb),
        "chain": lambda: compare_chain(arguments.work, arguments.work / "gpt2.json", arguments.repeats),
    }[arguments.what]()
    if arguments.save:
        saved = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        saved |= {
            "machine": machine(),
            "versions": {p: version(p) for p in ("gigatoken", "tokenizers", "pyarrow", "numpy")},
            arguments.what: found,
        }
        RESULTS.write_text(json.dumps(saved, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
