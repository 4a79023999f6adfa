"""Micro-batches of a packed mix: padding is learnt nowhere, and a piece of its own that no label counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from curate.context import WorkContext
from curate.loader import open_mix
from curate.mixing import MixNode
from tests.curate.test_mix_choice import SEQ_LEN, dataset
from tests.curate.tokens.small import TEXTS, byte_bpe
from train.attribution import NONE, Tagger
from train.batches import IGNORED, Source


def test_padding(tmp_path: Path) -> None:
    byte_bpe(tmp_path / "tokenizer.json")
    given = dataset(tmp_path, "web", TEXTS)
    (tmp_path / "mix").mkdir()
    node = MixNode(seq_len=SEQ_LEN, packing="best_fit", stages=[{"tokens": 24 * SEQ_LEN, "weights": ["web"]}])
    node.run({"web": given}, tmp_path / "mix", WorkContext(seed=1), lambda share, what: None)
    mix = open_mix(tmp_path / "mix")
    for isolate in (True, False):
        source = Source(mix, Tagger(mix, ("dataset", "lang_code"), {}), isolate=isolate)
        windows = range(3, 11)
        rows = source.rows(windows)
        real = mix.sizes(list(windows))
        assert (real < SEQ_LEN).any()
        pieces = [p for k in windows for p in mix.trace(k)]
        starts = [i * SEQ_LEN + int(s) for i, k in enumerate(windows) for s in mix.document_starts(k)[:-1]]
        assert rows.pieces.tolist() == [*starts, len(windows) * SEQ_LEN]
        assert rows.tags.shape == (2, len(starts)) and len(rows.learnt) == len(starts)
        padding = rows.tags[0] == NONE
        assert padding.sum() == len(starts) - len(pieces) == (real < SEQ_LEN).sum() and not rows.learnt[padding].any()
        for i, size in enumerate(real):
            labels = rows.labels[i]
            assert (labels[size - 1 :] == IGNORED).all()
            learnt = labels != IGNORED
            assert (labels[:-1][learnt[:-1]] == rows.tokens[i][1:][learnt[:-1]]).all()
            assert rows.positions[i, 0] == 0 and (not isolate or size == SEQ_LEN or rows.positions[i, size] == 0)
        expected = sum(p.stop - p.start - 1 for p in pieces) if isolate else int((real - 1).sum())
        assert rows.real == expected
        assert not isolate or set(rows.ends.tolist()) == set(rows.pieces.tolist())
        assert np.array_equal(rows.tokens, mix.windows(list(windows)))
