"""A run folder with token shards of made-up documents and a mix over them, without reading or tokenizing a text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from curate.context import WorkContext
from curate.mixing import MixNode
from curate.node import NodeInput
from curate.tokens.shard import TokenShardWriter

EOS = 0


def documents(count: int, vocabulary: int, mean: float, seed: int) -> list[np.ndarray]:
    """Documents with a pattern that a small model learns: each token mostly follows from the one before. They end with EOS."""
    rng = np.random.default_rng(seed)
    made = []
    for length in np.maximum(2, rng.gamma(1.5, mean / 1.5, count).astype(int)):
        steps = rng.choice([1, 3, 7], length - 1, p=[0.7, 0.2, 0.1])
        tokens = (rng.integers(0, vocabulary) + np.cumsum(steps)) % (vocabulary - 1) + 1
        made.append(np.append(tokens, EOS).astype(np.uint16 if vocabulary <= 1 << 16 else np.uint32))
    return made


def token_dataset(run: Path, name: str, docs: list[np.ndarray], vocabulary: int, sources: int = 2) -> NodeInput:
    """Write a dataset of token shards with columns source, lang_code and quality_score."""
    folder = run / name
    folder.mkdir(parents=True)
    values, ends = np.concatenate(docs), np.cumsum([0, *(len(d) for d in docs)])
    n = len(docs)
    columns = {
        "id": pa.array([f"{name}-{i}" for i in range(n)]),
        "source": pa.array([f"{name}.{i % sources}" for i in range(n)]),
        "lang_code": pa.array(["en" if i % 3 else "de" for i in range(n)]),
        "quality_score": pa.array([None if i % 10 == 9 else (i % 10) / 10 for i in range(n)], pa.float64()),
        "n_tokens": pa.array(np.diff(ends), pa.int32()),
        "tokens": pa.LargeListArray.from_arrays(pa.array(ends), pa.array(values)),
    }
    metadata = {"tokenizer_sha256": "0" * 64, "vocab_size": str(vocabulary), "bos_id": "", "eos_id": str(EOS), "document": "ids eos"}
    batch = pa.record_batch(columns)
    writer = TokenShardWriter(folder, "part", batch.schema, {f"curate.{k}": v for k, v in metadata.items()}, batch_tokens=1 << 20)
    writer.write(batch)
    parts = writer.close()
    return NodeInput(name, str(folder), tuple(map(str, parts)), f"digest of {name}", n, int(ends[-1]))


def mix(
    run: Path, inputs: Mapping[str, NodeInput], seq_len: int, tokens: int, weights: Mapping[str, float], name: str = "mix"
) -> NodeInput:
    """Write the mix and return it as a training node gets it."""
    out = run / name
    out.mkdir()
    node = MixNode(seq_len=seq_len, stages=[{"tokens": tokens, "weights": dict(weights)}], max_epochs=dict.fromkeys(weights, 100))
    result = node.run(inputs, out, WorkContext(seed=5), lambda share, what: None)
    return NodeInput(name, str(out), (str(out / "mix.json"),), f"digest of {name}", result.rows_out, result.tokens)


def small_run(run: Path, *, seq_len: int = 64, tokens: int = 40_000, vocabulary: int = 300, mean: float = 24.0) -> NodeInput:
    """Two datasets and a mix of them."""
    inputs = {
        name: token_dataset(run, name, documents(count, vocabulary, mean, seed), vocabulary)
        for seed, (name, count) in enumerate({"web": 1200, "books": 400}.items())
    }
    return mix(run, inputs, seq_len, tokens, {"web": 0.75, "books": 0.25})


def as_input(folder: Path) -> NodeInput:
    """A mix that lies there, as a training node gets it."""
    return NodeInput("mix", str(folder), (str(folder / "mix.json"),), "digest of mix")
