"""Two runs beside each other: what changed in the recipe, and which documents that gained or lost, by reason.

Documents are matched by id. Ids that a reader derives hold for the same files in the same place below the data set's root,
so two runs over one input can be compared whatever the recipe changes. Memory: about 100 bytes for each document of the
larger run and dataset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from curate.report.documents import Place, read_column, rows_at
from curate.report.run_folder import RunFolder
from curate.report.words import visible

if TYPE_CHECKING:
    import polars as pl

EXAMPLE_CHARS = 400
NOT_READ = "not read"  # the other run had no document of this id
SIZES = ("rows_in", "rows_out", "bytes_in", "bytes", "tokens", "quarantined")
ABSENT = "(absent)"


@dataclass
class Change:
    """One setting that differs."""

    where: str  # "web.steps.gopher_quality.min_words"
    first: Any
    second: Any


@dataclass
class Moved:
    """Documents that are in one result and not in the other, with the reason that the other run gives."""

    step: str
    reason: str
    documents: int
    examples: list[tuple[str, float | None, str]] = field(default_factory=list)  # (id, value, text)


@dataclass
class DatasetDiff:
    """One dataset that both runs have."""

    name: str
    same: bool  # byte for byte
    sizes: dict[str, tuple[int, int]]
    dropped: dict[str, tuple[int, int]]  # reason -> documents in the first and second run
    lost: list[Moved]  # in the first, not in the second; reasons of the second
    gained: list[Moved]  # in the second, not in the first; reasons of the first
    other_reason: list[tuple[str, str, int]]  # dropped by both for different reasons
    languages: dict[str, tuple[int, int]]


@dataclass
class Diff:
    """Everything that differs."""

    first: str
    second: str
    changes: list[Change]
    datasets: list[DatasetDiff]
    only_first: list[str]
    only_second: list[str]

    def record(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def compare(first: RunFolder, second: RunFolder, examples: int = 2) -> Diff:
    """Compare all datasets of text that both runs have. examples: documents shown of each reason."""
    both = [name for name in first.datasets if name in second.datasets]
    return Diff(
        str(first.root),
        str(second.root),
        changes(first.lock, second.lock),
        [_dataset(first, second, name, examples) for name in both],
        [name for name in first.datasets if name not in both],
        [name for name in second.datasets if name not in both],
    )


def changes(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Change]:
    """Settings that differ, with every default filled in; steps are matched by name and how-manieth of it."""
    a, b = _flat(first), _flat(second)
    keys = list(dict.fromkeys([*a, *b]))
    return [Change(key, a.get(key, ABSENT), b.get(key, ABSENT)) for key in keys if a.get(key, ABSENT) != b.get(key, ABSENT)]


def _flat(value: Any, at: str = "") -> dict[str, Any]:
    """Dotted names of all leaves; a step that the other recipe lacks stands for itself."""
    if isinstance(value, Mapping) and value:
        return {k: v for key, inner in value.items() for k, v in _flat(inner, f"{at}.{key}" if at else str(key)).items()}
    if isinstance(value, list) and at.endswith("steps"):
        found: dict[str, Any] = {}
        seen: dict[str, int] = {}
        for place, step in enumerate(value):
            name, settings = next(iter(step.items())) if isinstance(step, Mapping) and len(step) == 1 else (str(step), {})
            seen[name] = seen.get(name, 0) + 1
            key = f"{at}.{name}" + (f".{seen[name]}" if seen[name] > 1 else "")
            found[f"{key} (place)"] = place + 1
            found |= _flat(settings, key) if settings else {}
        return found
    return {at: value}


def _dataset(first: RunFolder, second: RunFolder, name: str, examples: int) -> DatasetDiff:
    a, b = first.datasets[name], second.datasets[name]
    sizes = {key: (a[key] or 0, b[key] or 0) for key in SIZES}
    reasons = sorted({*a["dropped"], *b["dropped"]})
    dropped = {r: (a["dropped"].get(r, 0), b["dropped"].get(r, 0)) for r in reasons}
    languages = [run.distributions(name).get("languages", {}).get("kept", {}) for run in (first, second)]
    codes = sorted({*languages[0], *languages[1]}, key=lambda c: (-languages[0].get(c, 0) - languages[1].get(c, 0), c))
    by_language = {c: (languages[0].get(c, 0), languages[1].get(c, 0)) for c in codes}
    if a["digest"] == b["digest"] and dropped == {r: (n, n) for r, (n, _) in dropped.items()}:
        return DatasetDiff(name, True, sizes, dropped, [], [], [], by_language)
    there, now = _ids(first, name), _ids(second, name)
    drops = (_drops(first, name), _drops(second, name))
    lost = _moved(there, now, drops[1], first.parts(name), examples)
    gained = _moved(now, there, drops[0], second.parts(name), examples)
    return DatasetDiff(name, False, sizes, dropped, lost, gained, _other_reason(*drops), by_language)


def _ids(run: RunFolder, name: str) -> pl.DataFrame:
    """(id, file, row) of every published document."""
    import polars as pl

    frames = []
    for number, file in enumerate(run.parts(name)):
        ids = pl.from_arrow(pa.table({"id": read_column(file, "id")}))
        assert isinstance(ids, pl.DataFrame)
        frames.append(ids.with_row_index("row").with_columns(file=pl.lit(number, pl.UInt32)))
    empty = pl.DataFrame(schema={"row": pl.UInt32, "id": pl.String, "file": pl.UInt32})
    return pl.concat(frames) if frames else empty


def _drops(run: RunFolder, name: str) -> pl.DataFrame:
    """(id, step, reason, value) of every drop, the first of each id."""
    import polars as pl

    files = run.beside(name, "ledger")
    if not files:
        return pl.DataFrame(schema={"id": pl.String, "step": pl.String, "reason": pl.String, "value": pl.Float64})
    scan = pl.scan_parquet(files).select("id", pl.col("step").cast(pl.Categorical), pl.col("reason").cast(pl.Categorical), "value")
    return scan.unique("id", keep="first", maintain_order=True).with_columns(pl.col("step", "reason").cast(pl.String)).collect()


def _moved(here: pl.DataFrame, there: pl.DataFrame, drops: pl.DataFrame, parts: list[Path], examples: int) -> list[Moved]:
    """Documents of `here` that are not in `there`, by the reason that `drops` gives."""
    import polars as pl

    gone = here.join(there.select("id").unique(), on="id", how="anti", maintain_order="left")
    told = gone.join(drops, on="id", how="left", maintain_order="left").with_columns(
        pl.col("step").fill_null(""), pl.col("reason").fill_null(NOT_READ)
    )
    found = []
    for (step, reason), mine in sorted(told.partition_by("step", "reason", as_dict=True).items(), key=lambda item: -len(item[1])):
        shown = [(Place(parts[r["file"]], r["row"], r["id"]), r["value"]) for r in mine.head(examples).to_dicts()]
        texts = rows_at([place for place, _ in shown], ["text"])
        told_of = [(visible(p.id, 200), value, visible(texts[p].get("text") or "", EXAMPLE_CHARS)) for p, value in shown]
        found.append(Moved(str(step), str(reason), len(mine), told_of))
    return found


def _other_reason(first: pl.DataFrame, second: pl.DataFrame) -> list[tuple[str, str, int]]:
    import polars as pl

    both = first.select("id", "reason").join(second.select("id", pl.col("reason").alias("now")), on="id")
    counted = (
        both.filter(pl.col("reason") != pl.col("now"))
        .group_by("reason", "now")
        .len()
        .sort(["len", "reason", "now"], descending=[True, False, False])
    )
    return [(a, b, n) for a, b, n in counted.iter_rows()]
