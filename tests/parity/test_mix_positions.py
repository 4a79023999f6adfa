"""A thousand random positions of a mix of real text lead to documents whose text encodes to the same ids."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from curate.context import WorkContext
from curate.loader import open_mix
from curate.mixing import MixNode
from curate.node import NodeInput
from curate.tokens.shard import TokenShardWriter
from tests.conftest import read_rows
from tests.curate.tokens.small import byte_bpe, tokenized


@pytest.mark.parametrize("packing", ["concat", "best_fit"])
def test_a_thousand_positions(real_data: Path, tmp_path: Path, packing: str) -> None:
    tokenizer = byte_bpe(tmp_path / "tokenizer.json")
    texts, inputs = {}, {}
    for name in ("c4_demo", "wiki_demo", "dolma_test_docs"):
        path = next((real_data / "text").glob(f"{name}.jsonl*"))
        rows = [str(row["text"])[:4000] for row in itertools.islice(read_rows(path), 40)]
        texts |= {f"{name}{i}": text for i, text in enumerate(rows)}
        batch = tokenized(tokenizer, rows, prefix=name)
        (tmp_path / name).mkdir()
        writer = TokenShardWriter(tmp_path / name, "part", batch.schema, {}, batch_tokens=9000, file_bytes=batch.nbytes // 2)
        writer.write(batch)
        parts = tuple(map(str, writer.close()))
        inputs[name] = NodeInput(name, str(tmp_path / name), parts, name, len(batch), sum(batch.column("n_tokens").to_pylist()))
    (tmp_path / "mix").mkdir()
    node = MixNode(seq_len=256, packing=packing, stages=[{"tokens": "10M", "weights": list(inputs)}], held_out=0.1, fit=True)
    node.run(inputs, tmp_path / "mix", WorkContext(seed=1), lambda share, what: None)
    mix, reference, choose = open_mix(tmp_path / "mix"), Tokenizer.from_file(str(tokenizer)), random.Random(1)
    encoded: dict[str, list[int]] = {}
    for _ in range(1000):
        k, at = choose.randrange(len(mix)), choose.randrange(256)
        piece = next((p for p in mix.trace(k) if p.start <= at < p.stop), None)
        if piece is None:
            assert at >= mix.sizes([k])[0] and mix.window(k)[at] == mix.pad_id
            continue
        if piece.id not in encoded:
            encoded[piece.id] = [*reference.encode(texts[piece.id], add_special_tokens=False).ids, mix.pad_id]
        assert mix.window(k)[at] == encoded[piece.id][piece.first + at - piece.start]
    assert len(encoded) > 20
