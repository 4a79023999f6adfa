"""Show what a run's decontamination was checked against, what it found, and every piece of evidence with the match marked.

All text comes from data: the page escapes it, loads nothing and runs no script.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from curate.contamination import NAME
from curate.errors import RecipeError

STYLE = """body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color-scheme:light dark}
table{border-collapse:collapse}td,th{padding:.2rem .8rem;text-align:right}td:first-child,th:first-child{text-align:left}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:1rem;white-space:pre-wrap;overflow-wrap:anywhere}
@media(max-width:40rem){.pair{grid-template-columns:1fr}}mark{background:#ffd54a;color:#000}section{border-top:1px solid #8886;padding:.5rem 0}"""


@dataclass
class Audit:
    """One decontamination step of a dataset."""

    dataset: str
    step: str  # "decontaminate", "decontaminate.2" ...
    rule: dict[str, Any]
    checked: dict[str, dict[str, Any]]  # by benchmark: items, usable, items_hit, rate, documents_hit


def audit(run: Path) -> tuple[list[Audit], list[dict[str, Any]]]:
    """(steps, evidence) of a finished run. RecipeError where there is no run or nothing was checked."""
    path = run / "manifest.json"
    if not path.exists():
        raise RecipeError(f"{run} has no manifest.json: it is no run folder, or its run has not finished. Run the recipe first.")
    datasets = json.loads(path.read_bytes())["datasets"]
    steps = [
        Audit(name, step, facts["rule"], facts["checked_against"])
        for name, entry in datasets.items()
        for step, facts in entry.get("findings", {}).items()
        if "checked_against" in facts
    ]
    if not steps:
        raise RecipeError(
            f"No dataset of {run} has the step decontaminate. Add `- decontaminate: [benchmarks/*.jsonl]` and run the recipe."
        )
    evidence = [row for name in dict.fromkeys(s.dataset for s in steps) for row in _evidence(run / name / NAME, name)]
    return steps, evidence


def _evidence(path: Path, dataset: str) -> Iterator[dict[str, Any]]:
    if path.exists():
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                yield {"dataset": dataset, **json.loads(line)}


def page(steps: list[Audit], evidence: list[dict[str, Any]]) -> str:
    """One self-contained HTML page."""
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'><title>Contamination</title><style>{STYLE}</style>"
    ]
    parts.append("<h1>Contamination</h1>")
    for step in steps:
        rule = ", ".join(f"{k} {v}" for k, v in step.rule.items() if v is not None)
        parts.append(f"<h2>{escape(step.dataset)}: {escape(step.step)}</h2><p>{escape(rule)}</p><table>")
        parts.append("<tr><th>benchmark<th>items<th>long enough<th>items hit<th>rate<th>documents hit</tr>")
        for name, about in step.checked.items():
            parts.append(
                f"<tr><td>{escape(name)}<td>{about['items']:,}<td>{about['usable']:,}<td>{about['items_hit']:,}"
                f"<td>{about['rate']:.2%}<td>{about['documents_hit']:,}</tr>"
            )
        parts.append("</table>")
    parts.append(f"<h2>Evidence</h2><p>{len(evidence):,} matches, at most five documents an item.</p>")
    for row in evidence:
        head = f"{row['dataset']} {row['document']} / {row['item']}: {row['rule']}, {row['score']:.2f}"
        parts.append(
            f"<section><h3>{escape(head)}</h3><div class=pair><div>{_marked(row, '')}</div><div>{_marked(row, 'item_')}</div></div></section>"
        )
    return "\n".join([*parts, "</html>\n"])


def _marked(row: dict[str, Any], side: str) -> str:
    return f"{escape(row[side + 'before'])}<mark>{escape(row[side + 'match'])}</mark>{escape(row[side + 'after'])}"
