"""Labels and scores equal fastText's lid.176 on real text: documents of every language we have, and very short ones.

CURATE_PARITY_EVERY=1 compares every document (some minutes).
"""

from __future__ import annotations

import os
from pathlib import Path

import fasttext
import numpy as np
import pyarrow as pa
import pytest

from curate.kernels.fasttext_model import parse
from curate.kernels.langid import Identifier
from curate.kernels.strings import views
from curate.steps.languages import lid_176_path
from tests.conftest import read_rows
from tests.reference import langid as naive

_BYTES_A_FILE = 2_000_000
_SHORT = 20_000  # bytes; beyond, fastText's own float32 sum over all n-grams loses more than 1e-5 now and then


def texts_of(path: Path) -> list[str]:
    """Texts spread over the whole file, about _BYTES_A_FILE of them, and at most 8,000; all of them where every one is asked for."""
    texts = [text for row in read_rows(path) for text in [row.get("text") or row.get("sentence")] if isinstance(text, str) and text.split()]
    size = sum(map(len, texts))
    if os.environ.get("CURATE_PARITY_EVERY") == "1":
        return texts
    return texts[:: max(1, size // _BYTES_A_FILE, len(texts) // 8000)]


@pytest.mark.parametrize("folder", ["langid", "text"])
def test_labels_and_scores(real_data: Path, folder: str) -> None:
    model = parse(lid_176_path().read_bytes())
    ours, public = Identifier(model), fasttext.load_model(str(lid_176_path()))
    documents = size = ended = 0
    worst, worst_long, strays = 0.0, 0.0, []
    for path in sorted((real_data / folder).iterdir()):
        texts = texts_of(path)
        labels, scores = ours(*views(pa.array(texts, pa.large_string())))
        for text, label, score in zip(texts, labels.tolist(), scores.tolist(), strict=True):
            probability, expected = public.f.predict(text.replace("\n", " ") + "\n", 1, 0.0, "strict")[0]
            assert "__label__" + model.labels[label] == expected, (path.name, text[:80])
            if "</s>" in text:  # fastText stops reading there: another text to it
                ended += 1
                continue
            off, length = abs(score - probability), len(text.encode())
            documents, size = documents + 1, size + length
            if length <= _SHORT:
                worst = max(worst, off)
            else:
                worst_long = max(worst_long, off)
                strays += [(off, text, score)] if off > 1e-5 else []
    print(f"\n{folder}: {documents:,} documents, {size / 1e6:.1f} MB: all labels equal; scores differ by at most {worst:.1e},")
    print(f"  {worst_long:.1e} in documents above {_SHORT:,} bytes ({len(strays)} of them by more than 1e-5); {ended} with </s> left out")
    assert documents > 1000 and worst < 2e-5 and worst_long < 1e-3
    for _, text, score in sorted(strays)[-2:]:
        label, exact = naive.predict(model, text)
        print(f"  {len(text.encode()):,} bytes: ours differs from the sum in float64 by {abs(score - exact):.1e}")
        assert abs(score - exact) < 1e-6 or np.isclose(score, exact, rtol=0, atol=2e-6)
