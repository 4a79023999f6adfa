"""What a deduplication step took from a run: its share of every source, and its largest clusters with their texts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from curate.worker.source import SHARD

if TYPE_CHECKING:
    import polars as pl

SHOWN_CHARS = 3000  # of a document that is shown
MEMBERS = 3  # removed documents shown of a cluster: the least similar, one from the middle, the most similar


@dataclass
class Shares:
    """One source, before and after a step."""

    step: str
    source: str
    documents: int
    removed: int

    @property
    def share(self) -> float:
        """Of the source's documents."""
        return self.removed / self.documents if self.documents else 0.0


@dataclass
class Member:
    """A removed document."""

    id: str
    similarity: float | None
    text: str | None  # null where no stage of the run holds it any more


@dataclass
class Cluster:
    """A document that stays, and some of those removed for it."""

    id: str
    size: int  # removed documents
    text: str | None
    members: list[Member] = field(default_factory=list)


def shares(entry: dict[str, Any]) -> list[Shares]:
    """Removed shares of a dataset's manifest entry, the largest first."""
    found = [
        Shares(step, source, figures["documents"], figures.get("removed", 0))
        for step, said in entry.get("findings", {}).items()
        for source, figures in said.get("by_source", {}).items()
    ]
    return sorted(found, key=lambda s: (-s.share, s.step, s.source))


def clusters(run: Path, dataset: str, step: str, stage: Path, count: int) -> list[Cluster]:
    """The largest clusters of a step, from what it dropped, or from its columns with `mode: annotate`; texts from the shards that it read."""
    import polars as pl

    drops = _dropped(run / dataset, step) if count else None
    if drops is None:
        return []
    largest = drops.group_by("partner").len().sort(["len", "partner"], descending=[True, False]).head(count).collect()
    wanted = drops.filter(pl.col("partner").is_in(largest["partner"].to_list())).sort(["value", "id"]).collect()
    found = []
    for partner, size in largest.iter_rows():
        own = wanted.filter(pl.col("partner") == partner)
        chosen = sorted({0, len(own) // 2, len(own) - 1})[:MEMBERS]
        members = [Member(own["id"][i], own["value"][i], None) for i in chosen]
        found.append(Cluster(partner, size, None, members))
    texts = _texts(stage, {name for c in found for name in (c.id, *(m.id for m in c.members))})
    for cluster in found:
        cluster.text = texts.get(cluster.id)
        for member in cluster.members:
            member.text = texts.get(member.id)
    return found


def _dropped(dataset: Path, step: str) -> pl.LazyFrame | None:
    """(id, partner, value) of the documents that the step dropped or, where it annotates, named as duplicates."""
    import polars as pl

    files = sorted((dataset / "ledger").glob("part-*.parquet"))
    if files:
        drops = pl.scan_parquet(files).filter((pl.col("step") == step) & pl.col("partner").is_not_null()).select("id", "partner", "value")
        if drops.head(1).collect().height:
            return drops
    parts = sorted(dataset.glob("part-*.parquet"))
    if not parts or not {"dup_of", "dup_similarity"} <= set(pl.scan_parquet(parts[0]).collect_schema()):
        return None
    named = pl.scan_parquet(parts).filter(pl.col("dup_of").is_not_null())
    return named.select(pl.col("id").cast(pl.String), partner="dup_of", value="dup_similarity")


def _texts(stage: Path, ids: set[str]) -> dict[str, str]:
    """First SHOWN_CHARS characters of the documents of these ids, the first of each."""
    import pyarrow.compute as pc

    found: dict[str, str] = {}
    wanted = pa.array(sorted(ids), pa.string())
    for path in sorted(stage.glob(f"task-*/{SHARD}")):
        file = pa.ipc.open_file(pa.memory_map(str(path)))
        for number in range(file.num_record_batches):
            batch = file.get_batch(number)
            here = batch.select(["id", "text"]).filter(pc.is_in(pc.cast(batch.column("id"), pa.string()), value_set=wanted))
            for name, text in zip(here.column("id").to_pylist(), here.column("text").to_pylist(), strict=True):
                found.setdefault(name, (text or "")[:SHOWN_CHARS])
    return found
