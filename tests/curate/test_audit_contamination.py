"""A run with decontamination: evidence, facts, the same bytes for any number of workers, and the page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import curate
from curate.audit_contamination import audit, page
from curate.errors import RecipeError

ITEM = "A farmer keeps seventeen brown hens & each of them lays <b>four</b> eggs a week; how many eggs are that?"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "b.jsonl").write_text("\n".join(json.dumps({"question": q}) for q in (ITEM, ITEM.replace("hens", "geese"))) + "\n")
    for part in range(3):
        rows = [{"id": f"{part}-{i}", "text": f"text {i} {ITEM if i % 4 == 0 else ''} <script>alert(1)</script>"} for i in range(20)]
        (tmp_path / f"d{part}.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    path = tmp_path / "r.yaml"
    path.write_text("name: r\ndatasets:\n  docs:\n    read: {jsonl: 'd*.jsonl'}\n    steps:\n      - decontaminate: [b.jsonl]\n")
    return path


def test_a_run_leaves_facts_and_evidence(recipe: Path, tmp_path: Path) -> None:
    outs = [tmp_path / f"out{workers}" for workers in (1, 2)]
    for workers, out in zip((1, 2), outs, strict=True):
        curate.run(recipe, out=out, workers=workers)
    files = [(out / "docs" / "contamination.jsonl").read_bytes() for out in outs]
    assert files[0] == files[1]
    found = [json.loads(line) for line in files[0].splitlines()]
    assert [row["item"] for row in found].count("b.jsonl:1") == 5
    (step,), evidence = audit(outs[0])
    assert step.checked == {"b.jsonl": {"items": 2, "usable": 2, "items_hit": 2, "rate": 1.0, "documents_hit": 15}}
    assert [{"dataset": "docs", **row} for row in found] == evidence
    html = page([step], evidence)
    assert "<script" not in html
    assert "<mark>A farmer keeps seventeen brown hens &amp; each of them lays &lt;b&gt;four&lt;/b&gt;" in html


def test_turns_and_candidates_are_checked(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text(json.dumps({"question": ITEM}) + "\n")
    chats = [[f"{i} {ITEM if i == 1 else 'why?'}", f"because {ITEM if i == 2 else ''}"] for i in range(5)]
    rows = [{"conversations": [{"from": "human", "value": q}, {"from": "gpt", "value": a}]} for q, a in chats]
    (tmp_path / "c.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    pairs = [{"prompt": f"say {i}", "chosen": f"good {ITEM * (i == 3)}", "rejected": f"bad {ITEM * (i == 4)}"} for i in range(5)]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, pairs)) + "\n")
    path = tmp_path / "r.yaml"
    path.write_text(
        "name: r\ndatasets:\n"
        "  chats: {read: {jsonl: c.jsonl, format: sharegpt}, steps: [decontaminate: [b.jsonl]], write: {format: messages}}\n"
        "  pairs: {read: {jsonl: p.jsonl, format: preference}, steps: [decontaminate: [b.jsonl]]}\n"
    )
    manifest = curate.run(path, out=tmp_path / "out", workers=1).manifest
    for name in ("chats", "pairs"):
        read, cleaned = manifest["datasets"][name]["funnel"][:2]
        assert (read["rows"], cleaned["rows"]) == (5, 3)
        assert len((tmp_path / "out" / name / "contamination.jsonl").read_text().splitlines()) == 2


def test_no_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"manifest\.json"):
        audit(tmp_path)
