"""The manifest: what every dataset and model of a run is, counted from receipts alone.

Everything but `seconds` is the same for any number of workers, any executor and any interruption.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from curate import __version__
from curate.contamination import note_contamination
from curate.done import Done, data_files
from curate.errors import StepError
from curate.figures import add
from curate.plan import Plan, needs
from curate.recipe_nodes import SpecialNode
from curate.step import CorpusStep, Step
from curate.worker.ledger import OTHERS

WARN_SHARE = 0.3  # of a source's documents that one deduplication step removes
WARNED_SOURCES = 20


def node_entry(plan: Plan, name: str, done: dict[str, Done]) -> dict[str, Any]:
    """The manifest's entry of one finished node."""
    last = done[plan.final[name]]
    node = plan.recipe.nodes[name]
    entry: dict[str, Any] = {"path": name, "key": last.key, "digest": last.digest}
    if isinstance(node, SpecialNode):
        result = last.receipts[0]["result"]
        entry |= {
            "kind": node.kind,
            "files": _files(last),
            "tokens": result["tokens"],
            "rows_out": result["rows_out"],
            "info": result["info"],
        }
        return entry if node.node.is_model else {**_empty_ledger(), **entry}
    entry |= dataset_ledger(plan, name, done)
    entry |= {"kind": "dataset", "from": node.upstream, "files": _files(last), "findings": corpus_findings(plan, name, done)}
    _note_sources(entry, node.steps)
    note_contamination(entry, node.steps, ledger_stages(plan, name, done))
    return entry


def _note_sources(entry: dict[str, Any], steps: Sequence[Step]) -> None:
    """Move what deduplication steps counted by source from the funnel to the findings; warn of sources that lost much or aren't there."""
    names: Counter[str] = Counter()
    for line in entry["funnel"]:
        names[line["step"]] += 1
        counts = line.get("counts", {})
        if not counts or not all(set(c) <= {"documents", "removed"} for c in counts.values()):
            continue
        del line["counts"]
        again = names[line["step"]]
        found = entry["findings"].setdefault(line["step"] + (f".{again}" if again > 1 else ""), {})
        found["by_source"] = {source: {"documents": c["documents"], "removed": c.get("removed", 0)} for source, c in counts.items()}
        lost = [(c["removed"] / c["documents"], source, c) for source, c in found["by_source"].items()]
        heavy = sorted((x for x in lost if x[0] > WARN_SHARE), key=lambda x: (-x[2]["removed"], x[1]))
        told = [f"source {source!r} lost {c['removed']:,} of {c['documents']:,} documents ({share:.1%})" for share, source, c in heavy]
        if len(told) > WARNED_SOURCES:
            told = [*told[:WARNED_SOURCES], f"{len(told) - WARNED_SOURCES:,} more sources lost more than {WARN_SHARE:.0%}, see by_source"]
        step = [s for s in steps if s.name == line["step"]][again - 1]
        named = step.sources() if isinstance(step, CorpusStep) else ()
        absent = [source for source in named if source not in found["by_source"]]
        if absent and OTHERS not in found["by_source"]:
            told.append(f"no document is of the source {', '.join(map(repr, absent))} that keep: source_priority names")
        if told:
            found["warnings"] = [*found.get("warnings", []), *told]


def corpus_findings(plan: Plan, name: str, done: dict[str, Done]) -> dict[str, dict[str, Any]]:
    """What the corpus steps of a dataset say of themselves, by step (`dedup_minhash`, `dedup_minhash.2` ...)."""
    figures: dict[int, tuple[CorpusStep, dict[str, int]]] = {}
    for stage in plan.of_node(name):
        pair = stage.phase or stage.emit
        if pair is not None and stage.label in done:
            _, total = figures.setdefault(id(pair[0]), (pair[0], {}))
            for receipt in done[stage.label].receipts:
                add(total, receipt.get("figures", {}).items())
    found: dict[str, dict[str, Any]] = {}
    for step, total in figures.values():
        again = sum(key.partition(".")[0] == step.name for key in found) + 1
        entry = step.findings(total)
        if entry:
            found[step.name + (f".{again}" if again > 1 else "")] = entry
    return found


def ledger_stages(plan: Plan, name: str, done: dict[str, Done]) -> list[Done]:
    """Finished stages of a dataset that wrote documents: those whose ledgers add up."""
    return [done[s.label] for s in plan.of_node(name) if s.sink is not None and s.label in done]


def dataset_ledger(plan: Plan, name: str, done: dict[str, Done]) -> dict[str, Any]:
    """Sum the ledgers of a dataset's stages; StepError where they do not balance."""
    total = _empty_ledger()
    rows = None
    for stage in ledger_stages(plan, name, done):
        books = [r["ledger"] for r in stage.receipts]
        came = sum(b["rows_in"] for b in books)
        if rows is None:
            total |= {"rows_in": came, "bytes_in": sum(b["bytes_in"] for b in books)}
            total["funnel"].append({"step": "read", "rows": came, "bytes": total["bytes_in"], "dropped": {}})
            skipped: Counter[str] = Counter()
            for book in books:
                skipped.update(book.get("skipped", {}))
            if skipped:
                total["skipped"] = dict(sorted(skipped.items()))
        elif came != rows:
            raise StepError(
                f"{stage.label} read {came} documents of {rows} that the stage before wrote. Delete {stage.folder.path} and run again."
            )
        rows = sum(b["rows_out"] for b in books)
        _add_stage(total, books)
    quarantined = sum(total["quarantine"].values())
    total["quarantined"] = quarantined
    gone = sum(total["dropped"].values())
    if total["rows_in"] + total["created"] != total["rows_out"] + gone + total["merged"] + quarantined:
        raise StepError(f"The ledger of {name} does not balance: {total}.")
    return total


def _add_stage(total: dict[str, Any], books: list[dict[str, Any]]) -> None:
    dropped: Counter[str] = Counter(total["dropped"])
    unread: Counter[str] = Counter(total["quarantine"])
    for position, step in enumerate(books[0]["steps"]):
        reasons: Counter[str] = Counter()
        for book in books:
            reasons.update(book["steps"][position]["dropped"])
        dropped.update(reasons)
        counts = {k: sum(b["steps"][position][k] for b in books) for k in ("rows", "bytes")}
        line = {"step": step["step"], **counts, "dropped": dict(sorted(reasons.items()))}
        figures = _counts([book["steps"][position] for book in books])
        total["funnel"].append(line | ({"counts": figures} if figures else {}))
    for book in books:
        unread.update(book["quarantined"])
    total |= {
        "created": total["created"] + sum(b["created"] for b in books),
        "rows_out": sum(b["rows_out"] for b in books),
        "bytes": sum(b["bytes_out"] for b in books),
        "tokens": sum(b["tokens"] for b in books),
        "dropped": dict(sorted(dropped.items())),
        "quarantine": dict(sorted(unread.items())),
    }


def _counts(entries: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Figures that a step reported in all tasks, by source and name."""
    found: dict[str, Counter[str]] = {}
    for entry in entries:
        for source, figures in entry.get("counts", {}).items():
            found.setdefault(source, Counter()).update(figures)
    return {source: dict(sorted(found[source].items())) for source in sorted(found)}


def _empty_ledger() -> dict[str, Any]:
    return {"rows_in": None, "created": 0, "rows_out": 0, "dropped": {}, "merged": 0, "quarantined": 0, "quarantine": {},
            "bytes_in": 0, "bytes": 0, "tokens": 0, "funnel": []}  # fmt: skip


def _files(last: Done) -> list[dict[str, Any]]:
    sums = {last.folder.task(r["task"]) / f["name"]: f for r in last.receipts for f in r["files"]}
    return [{"name": inside, "bytes": sums[path]["bytes"], "xxh128": sums[path]["xxh128"]} for inside, path in data_files(last)]


def make_manifest(plan: Plan, done: dict[str, Done]) -> dict[str, Any]:
    """The whole manifest of what is finished."""
    datasets: dict[str, Any] = {}
    models: dict[str, Any] = {}
    for name, label in plan.final.items():
        if label in done:
            node = plan.recipe.nodes[name]
            is_model = isinstance(node, SpecialNode) and node.node.is_model
            (models if is_model else datasets)[name] = {**node_entry(plan, name, done), "made_from": needs(node, plan.recipe)}
    nodes = {s.label: s.node for s in plan.stages}
    stages = {
        d.label: {"node": nodes[d.label], "key": d.key, "digest": d.digest, "tasks": len(d.receipts), "bytes": d.bytes}
        for d in done.values()
    }
    return {"curate": __version__, "recipe": plan.recipe.name, "seed": plan.recipe.seed, "datasets": datasets, "models": models,
            "stages": stages, "seconds": seconds(done)}  # fmt: skip


def keep_others(manifest: dict[str, Any], earlier: dict[str, Any], plan: Plan) -> dict[str, Any]:
    """After a run of some nodes only: the manifest with what an earlier one says of the recipe's other nodes."""
    others = {name for name in plan.recipe.nodes if name not in plan.final}
    merged = dict(manifest)
    for kind in ("datasets", "models"):
        merged[kind] = {**{n: e for n, e in earlier[kind].items() if n in others}, **manifest[kind]}
    kept = {label: e for label, e in earlier["stages"].items() if e["node"] in others}
    merged["stages"] = {**kept, **manifest["stages"]}
    merged["seconds"] = {**{label: s for label, s in earlier["seconds"].items() if label in kept}, **manifest["seconds"]}
    return merged


def seconds(done: dict[str, Done]) -> dict[str, dict[str, float]]:
    """Seconds by stage and step, summed over tasks; the only figures that differ between runs."""
    spent: dict[str, dict[str, float]] = {}
    for stage in done.values():
        total: Counter[str] = Counter()
        for receipt in stage.receipts:
            total.update(receipt["seconds"])
        spent[stage.label] = {k: round(v, 4) for k, v in total.items()}
    return spent
