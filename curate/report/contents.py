"""What the report says, as plain data: every figure comes from the manifest or a file that the run wrote.

`page.py` turns it into HTML; tests compare it with the manifest.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from curate.contamination import NAME as EVIDENCE
from curate.report.axis import Axis, axis, merge_series
from curate.report.examples import Cluster, Dropped, Example, clusters, of_reasons, tagged
from curate.report.run_folder import RunFolder
from curate.report.words import visible

Bounds = tuple[float | None, float | None]
QUARANTINE_SHOWN, EVIDENCE_SHOWN, LANGUAGES_SHOWN, SOURCES_SHOWN = 10, 12, 30, 30
PLOTS = 240  # on a page; the rest is in tables


@dataclass
class Line:
    """One line of a funnel."""

    step: str
    rows: int
    bytes: int
    tokens: float  # estimated from the bytes but in the last line of tokens; 0 where nothing is known
    estimated: bool
    dropped: dict[str, int]
    seconds: float | None  # of all workers together
    megabytes_per_second: float | None


@dataclass
class Drop:
    """One reason, with its number of documents and its bound."""

    step: str
    reason: str
    documents: int
    at_least: float | None = None
    at_most: float | None = None
    examples: list[Example] = field(default_factory=list)


@dataclass
class Plot:
    """A distribution: bars, bounds, the names of its series."""

    title: str
    axis: Axis
    bounds: list[float]
    series: tuple[str, ...]
    at_least: float | None = None
    at_most: float | None = None
    reason: str = ""


@dataclass
class Dataset:
    """Everything about one dataset."""

    name: str
    entry: Mapping[str, Any]
    funnel: list[Line]
    drops: list[Drop]
    plots: list[Plot]
    languages: list[tuple[str, int, int]]  # code, read, kept
    clusters: list[Cluster]
    personal: dict[str, dict[str, int]]  # step -> type -> documents or finds
    tagged: list[tuple[str, str, str, str]]
    checked: dict[str, dict[str, Mapping[str, Any]]]  # step -> benchmark -> figures
    evidence: list[Mapping[str, Any]]
    findings: dict[str, dict[str, Any]]
    shares: list[tuple[str, str, int, int]]  # step, source, documents, removed
    warnings: list[str]
    quarantine: list[Mapping[str, str]]
    other_seconds: list[tuple[str, float]]


@dataclass
class Model:
    """A model or tokenizer: its figures, and its curves where it was trained."""

    name: str
    entry: Mapping[str, Any]
    curves: dict[str, list[tuple[float, float]]]


@dataclass
class Contents:
    """The whole report."""

    run: RunFolder
    datasets: list[Dataset]
    mixes: Mapping[str, Mapping[str, Any]]
    models: list[Model]


def contents(run: RunFolder) -> Contents:
    """Read a run. Reads the manifest, what lies beside the datasets, and the rows that are shown."""
    plots_left = [PLOTS]
    datasets = [_dataset(run, name, entry, plots_left) for name, entry in run.datasets.items()]
    models = [Model(name, entry, _curves(run, name)) for name, entry in run.manifest["models"].items()]
    return Contents(run, datasets, run.mixes, models)


def _dataset(run: RunFolder, name: str, entry: Mapping[str, Any], plots_left: list[int]) -> Dataset:
    spread = run.distributions(name)
    bounds: dict[tuple[str, str], Bounds] = {(b["step"], b["reason"]): (b["at_least"], b["at_most"]) for b in spread.get("bounds", ())}
    dropped = Dropped(run, name)
    shown = of_reasons(dropped, bounds)
    drops = [
        Drop(line["step"], reason, count, *bounds.get((line["step"], reason), (None, None)), shown.get((line["step"], reason), []))
        for line in entry["funnel"]
        for reason, count in line["dropped"].items()
    ]
    findings = entry.get("findings", {})
    found = Dataset(
        name, entry, _funnel(run, name, entry), drops, _plots(spread, plots_left), _languages(spread), clusters(run, name, dropped),
        _personal(entry), [], {s: f["checked_against"] for s, f in findings.items() if "checked_against" in f}, _evidence(run, name),
        {s: {k: v for k, v in f.items() if isinstance(v, int | float | str)} for s, f in findings.items()}, _shares(findings),
        [f"{step}: {line}" for step, f in findings.items() for line in f.get("warnings", ())], _quarantine(run, name),
        _other_seconds(run, name, entry),
    )  # fmt: skip
    if found.personal:
        found.tagged = tagged(run, name)
    return found


def _funnel(run: RunFolder, name: str, entry: Mapping[str, Any]) -> list[Line]:
    """Lines with tokens (exact where the manifest counts them, else by the bytes) and speed by step."""
    ratio, exact = _tokens_per_byte(run, name, entry)
    spent = _seconds_by_step(run, name)
    names = [line["step"] for line in entry["funnel"]]
    lines, before = [], 0
    for at, line in enumerate(entry["funnel"]):
        again = names[:at].count(line["step"])
        seconds = spent.get(line["step"]) if not again and names.count(line["step"]) == 1 else None
        size = line["bytes"] if at == 0 else before
        speed = size / seconds / 1e6 if seconds and size else None
        last = at == len(names) - 1 and exact
        tokens = float(entry["tokens"]) if last else line["bytes"] * ratio
        lines.append(Line(line["step"], line["rows"], line["bytes"], tokens, not last, line["dropped"], seconds, speed))
        before = line["bytes"]
    return lines


def _tokens_per_byte(run: RunFolder, name: str, entry: Mapping[str, Any]) -> tuple[float, bool]:
    """(tokens a byte, whether this dataset has tokens itself): its own, or of the dataset that is tokenized from it."""
    if entry["tokens"]:
        return (entry["tokens"] / entry["bytes_in"] if entry["bytes_in"] else 0.0), True
    for other in run.datasets.values():
        if other.get("from") == name and other["tokens"] and other["bytes_in"]:
            return other["tokens"] / other["bytes_in"], False
    return 0.0, False


def _seconds_by_step(run: RunFolder, name: str) -> dict[str, float]:
    """Seconds of workers in every step, all its phases, and of reading, which stands under 'read'."""
    steps = {line["step"] for line in run.manifest["datasets"][name]["funnel"]}
    spent: defaultdict[str, float] = defaultdict(float)
    first = True
    for _, what, seconds in run.stage_steps(name):
        step = what.partition(".")[0] if what.partition(".")[0] in steps else what
        if step == "read":
            spent["read"] += seconds if first else 0
            first = False
        elif step in steps:
            spent[step] += seconds
    return spent


def _other_seconds(run: RunFolder, name: str, entry: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Where the rest of the time went: start of steps, reading shards again, records, books, writing."""
    steps = {line["step"] for line in entry["funnel"]} - {"read"}
    spent: defaultdict[str, float] = defaultdict(float)
    first = True
    for _, what, seconds in run.stage_steps(name):
        if what == "read" and first:  # stands in the funnel's first line
            first = False
        elif what != "task" and what.partition(".")[0] not in steps:
            spent["read again" if what == "read" else what] += seconds
    return sorted(spent.items(), key=lambda item: -item[1])


def _plots(spread: Mapping[str, Any], left: list[int]) -> list[Plot]:
    """Lengths first, then every bound, those that dropped something before the others."""
    if not spread:
        return []
    made = []
    lengths = spread["lengths"]
    if lengths["read"]:
        went = [(a, b, n) for a, b, n in lengths["read"]]
        made.append(Plot("Length in bytes of UTF-8", axis(_against(went, lengths["kept"])), [], ("kept", "removed")))
    if spread["tokens"]:
        made.append(Plot("Length in tokens", axis(spread["tokens"]), [], ("documents",)))
    with_drops = sorted(spread["bounds"], key=lambda b: sum(x[3] for x in b["bins"]) == 0)
    for bound in with_drops:
        limits = [b for b in (bound["at_least"], bound["at_most"]) if b is not None]
        if bound["bins"]:
            made.append(Plot(f"{bound['step']}: {bound['reason']}", axis(bound["bins"], *limits), limits, ("kept", "dropped"),
                             bound["at_least"], bound["at_most"], bound["reason"]))  # fmt: skip
    shown = made[: left[0]]
    left[0] -= len(shown)
    return shown


def _against(read: Sequence[Sequence[float]], kept: Sequence[Sequence[float]]) -> list[list[float]]:
    """Bins with (kept, read and not kept). A step may have changed lengths: then a bin can hold more than was read."""
    return [[low, high, stays, max(0.0, came - stays)] for low, high, came, stays in merge_series(read, kept)]


def _languages(spread: Mapping[str, Any]) -> list[tuple[str, int, int]]:
    found = spread.get("languages", {"read": {}, "kept": {}})
    codes = sorted({*found["read"], *found["kept"]}, key=lambda c: (-max(found["read"].get(c, 0), found["kept"].get(c, 0)), c))
    return [(code, found["read"].get(code, 0), found["kept"].get(code, 0)) for code in codes[:LANGUAGES_SHOWN]]


def _personal(entry: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """What steps counted by type, summed over sources."""
    found = {}
    for line in entry["funnel"]:
        if line["step"] == "pii" and line.get("counts"):
            total: Counter[str] = Counter()
            for figures in line["counts"].values():
                total.update(figures)
            found[line["step"]] = dict(total)
    return found


def _evidence(run: RunFolder, name: str) -> list[Mapping[str, Any]]:
    path = run.root / name / EVIDENCE
    if not path.exists():
        return []
    with open(path, encoding="utf-8") as lines:
        return [{k: visible(v, 600) if isinstance(v, str) else v for k, v in json.loads(x).items()} for x in islice(lines, EVIDENCE_SHOWN)]


def _shares(findings: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str, int, int]]:
    found = [
        (step, visible(source, 100), figures["documents"], figures["removed"])
        for step, said in findings.items()
        for source, figures in said.get("by_source", {}).items()
    ]
    return sorted(found, key=lambda f: (-f[3], f[0], f[1]))[:SOURCES_SHOWN]


def _quarantine(run: RunFolder, name: str) -> list[Mapping[str, str]]:
    rows: list[Mapping[str, str]] = []
    for file in run.beside(name, "quarantine"):
        with open(file, encoding="utf-8") as lines:
            for line in islice(lines, QUARANTINE_SHOWN - len(rows)):
                row: dict[str, Any] = json.loads(line)
                rows.append({key: visible(str(value), 300) for key, value in row.items()})
    return rows


def _curves(run: RunFolder, name: str) -> dict[str, list[tuple[float, float]]]:
    """Series of metrics.jsonl by step: losses (each source's too, where there are several), learning rate, accuracies, margins, tasks."""
    path = run.root / name / "metrics.jsonl"
    found: dict[str, list[tuple[float, float]]] = {}
    if path.exists():
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                if isinstance(row.get("step"), int):
                    for key, value in _told(row):
                        if isinstance(value, int | float) and math.isfinite(value):
                            found.setdefault(key, []).append((float(row["step"]), float(value)))
    return {key: points for key, points in found.items() if len(points) > 1}


def _told(row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in row.items():
        if key in ("lr", "learning_rate"):
            yield "learning rate", value
        elif any(word in key for word in ("loss", "accurac", "margin")):
            yield key.replace("_", " "), value
    for column, sources in row.get("by", {}).items():
        for source, figures in sources.items() if len(sources) > 1 else ():
            yield f"loss, {column} {visible(str(source), 60)}", figures[0]
    for task, figures in row.get("evaluation", {}).items():
        yield f"{visible(str(task), 60)}, {figures['main'].replace('_', ' ')}", figures.get(figures["main"])
