"""`curate audit pii`: canaries are what they say, recall is counted, hits are masked."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pyarrow as pa
import pytest

from curate.apply import run_step
from curate.audit_pii import audit
from curate.canaries import MAKERS
from curate.errors import RecipeError
from curate.steps.personal_data import TYPES, PersonalData
from tests.curate.engine_case import curate, write_recipe


def test_there_is_a_maker_for_every_type() -> None:
    assert set(MAKERS) == set(TYPES)


@pytest.mark.parametrize("name", TYPES)
def test_canaries_are_found_alone_and_differ(name: str) -> None:
    make = random.Random(3)
    values = set()
    for _ in range(60):
        label, value = MAKERS[name](make)
        _, head, tail = label.split("|") if "|" in label else ("", f"{label}: ", "")
        text = f"x {head}{value}{tail} y"
        spans = (
            run_step(PersonalData(mode="annotate"), pa.table({"text": pa.array([text], pa.large_string())})).column("pii_spans")[0].as_py()
        )
        assert (len(f"x {head}"), len(f"x {head}{value}"), name) in [(s["start"], s["end"], s["type"]) for s in spans], text
        values.add(value)
    assert len(values) > 40


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audit")
    rows = [{"text": f"Some words, and more of them, number {i}. Write to me{i}@corp.com now.", "source": f"s{i % 2}"} for i in range(300)]
    (folder / "in.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    recipe = "name: a\nread: {jsonl: in.jsonl, source: source}\nsteps:\n  - pii: {email: fake, ip: tag, key: drop_document}\n"
    curate("run", write_recipe(folder, recipe), "--out", folder / "out", "--quiet")
    return folder / "out"


def test_recall_counts_and_masked_hits(run: Path) -> None:
    (found,) = audit(run, documents=100, per_type=30, hits=4, seed=1)
    assert found.counts == {"s0": {"email": 150}, "s1": {"email": 150}}
    assert set(found.recall) == {"key", "email", "ip"}
    for one in found.recall.values():
        assert one.planted == 30 and one.found + one.other + len(one.missed) == 30 and one.found >= 28 and one.gone >= 28
    assert len(found.hits["email"]) == 4
    for hit in found.hits["email"]:
        assert "[[" in hit and "@****.***" in hit and "corp.com" not in hit


def test_command_prints_json(run: Path) -> None:
    (one,) = json.loads(curate("audit", "pii", run, "--canaries", "5", "--json").stdout)
    assert one["dataset"] == "a" and one["recall"]["email"]["planted"] == 5


def test_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no manifest\.json"):
        audit(tmp_path, 1, 1, 1, 0)
