"""Classifier steps: the column, the bound, the exact top share."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import curate
from curate.apply import outcomes, run_step
from curate.errors import RecipeError
from curate.schema import ROW
from curate.steps.classification import Classifier
from curate.steps.scored import best
from tests.curate.steps.phases import run
from tests.curate.steps.small_models import BAD, GOOD, save_classifier

UNHURRIED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_classifier(tmp_path_factory.mktemp("model") / "quality.bin"))


def table(texts: list[str | None]) -> pa.Table:
    n = len(texts)
    return pa.table(
        {"id": [f"d{i:03}" for i in range(n)], "text": pa.array(texts, pa.large_string()), "source": ["s"] * n, "meta": ["{}"] * n}
    )


def test_score_alone_drops_nothing(model: str) -> None:
    step = Classifier(model=model)
    assert step.phases() == () and step.drops() == ()
    made = run_step(step, table([*GOOD, *BAD, "", None]))
    scores = made.column("classifier_score").to_pylist()
    assert min(scores[:3]) > 0.9 and max(scores[3:6]) < 0.1 and scores[6:] == [0.0, 0.0]
    other = run_step(Classifier(model=model, label="__label__lq", column="lq_score"), table(GOOD)).column("lq_score").to_pylist()
    assert other == pytest.approx([1 - s for s in scores[:3]], abs=1e-4)


def test_bound(model: str) -> None:
    documents = table([*GOOD, *BAD])
    score = run_step(Classifier(model=model), documents).column("classifier_score")[0].as_py()
    for bound, kept in ((score, True), (float(np.nextafter(score, 2)), False), (float(np.nextafter(score, 0)), True)):
        (outcome,) = outcomes(Classifier(model=model, min_score=bound), documents.slice(0, 1).to_batches())
        assert outcome.verdict is not None and outcome.verdict.keep.to_pylist() == [kept]
    (dropped,) = outcomes(Classifier(model=model, min_score=0.5), documents.slice(3).to_batches())
    assert dropped.verdict is not None and set(dropped.verdict.reason.to_pylist()) == {"classifier.low_score"}
    marked = run_step(Classifier(model=model, min_score=0.5, mode="annotate"), documents)
    assert marked.column("classifier_keep").to_pylist() == [True] * 3 + [False] * 3
    assert marked.column("classifier_reason").to_pylist() == [None] * 3 + ["classifier.low_score"] * 3


@pytest.mark.parametrize("fraction", [0.1, 0.34, 0.5, 1.0])
@pytest.mark.parametrize("mode", ["drop", "annotate"])
def test_top_fraction_whatever_the_batches(model: str, fraction: float, mode: str) -> None:
    texts = [" ".join((GOOD + BAD)[i % 6].split()[: 2 + i % 5]) for i in range(50)] + [""] * 3
    documents = table(texts)
    scores = run_step(Classifier(model=model), documents).column("classifier_score").to_pylist()
    order = sorted(range(53), key=lambda i: (-scores[i], f"d{i:03}"))
    expected = sorted(order[: math.ceil(Fraction(str(fraction)) * 53)])
    step = Classifier(model=model, top_fraction=fraction, mode=mode)  # type: ignore[arg-type]
    for cuts in ((), (1, 20, 40)):
        made = run(step, documents, cuts=cuts, shuffle=len(cuts))
        rows = made.column(ROW).to_pylist()
        if mode == "annotate":
            assert made.column("classifier_score").to_pylist() == scores
            assert set(made.column("classifier_reason").to_pylist()) <= {None, "classifier.not_in_top"}
            rows = [row for row, keep in zip(rows, made.column("classifier_keep").to_pylist(), strict=True) if keep]
        assert rows == expected


@UNHURRIED
@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.text("ab\U0001f600\uffff", max_size=3)), max_size=30),
    st.sampled_from([0.1, 0.3, 0.5, 0.9]),
)
def test_best_is_exact(drawn: list[tuple[float, str]], fraction: float) -> None:
    records = pa.table({
        ROW: pa.array(range(len(drawn)), pa.int64()),
        "score": pa.array([s for s, _ in drawn], pa.float32()),
        "id": pa.array([i for _, i in drawn], pa.large_string()),
    })  # fmt: skip
    order = sorted(range(len(drawn)), key=lambda k: (-drawn[k][0], drawn[k][1], k))
    wanted = set(order[: math.ceil(Fraction(str(fraction)) * len(drawn))])
    assert set(np.flatnonzero(best(records, fraction)).tolist()) == wanted


def test_a_share_is_taken_as_written() -> None:
    records = pa.table(
        {
            ROW: pa.array(range(30), pa.int64()),
            "score": pa.array(range(30), pa.float32()),
            "id": pa.array(map(str, range(30)), pa.large_string()),
        }
    )
    assert best(records, 0.1).sum() == 3
    assert best(records.slice(0, 0), 0.5).sum() == 0 and best(records, 1e-9).sum() == 1


def test_in_a_recipe_for_any_number_of_workers(model: str, tmp_path: Path) -> None:
    import json

    for part in range(3):
        rows = [{"id": f"{part}-{i}", "text": " ".join((GOOD + BAD)[(i + part) % 6].split()[: 1 + i % 7])} for i in range(200)]
        (tmp_path / f"in{part}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    recipe = tmp_path / "r.yaml"
    recipe.write_text(f"name: r\nread: {{jsonl: 'in*.jsonl'}}\nsteps:\n  - classifier: {{model: {model}, top_fraction: 0.1}}\n")
    kept = []
    for workers in (1, 2):
        result = curate.run(recipe, out=tmp_path / f"out{workers}", workers=workers)
        entry = result.manifest["datasets"]["r"]
        assert entry["rows_in"] == 600 and entry["rows_out"] == 60 and entry["dropped"] == {"classifier.not_in_top": 540}
        kept.append(sorted(curate.read_dataset(tmp_path / f"out{workers}" / "r").column("id").to_pylist()))
    assert kept[0] == kept[1]


def test_mistakes(model: str) -> None:
    with pytest.raises(pydantic.ValidationError, match="not both"):
        Classifier(model=model, min_score=0.5, top_fraction=0.1)
    with pytest.raises(pydantic.ValidationError, match="lower-case letters"):
        Classifier(model=model, column="text")
    with pytest.raises(RecipeError, match=r"no label 'hp'\. It has: hq, lq"):
        run_step(Classifier(model=model, label="hp"), table(["x"]))
    with pytest.raises(RecipeError, match="can't be opened"):
        run_step(Classifier(model="/nowhere/model.bin"), table(["x"]))
    for bound in (-0.01, 1.01):
        with pytest.raises(pydantic.ValidationError):
            Classifier(model=model, min_score=bound)
    for share in (0.0, 1.01):
        with pytest.raises(pydantic.ValidationError):
            Classifier(model=model, top_fraction=share)
