"""Results as notebooks show them: `_repr_html_` of what `curate.run(...)` returns. All text of documents is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from curate.report.funnel import drop_text
from curate.report.words import size, visible

ROWS, CELL_CHARS = 5, 200
_CELL = "style='text-align:left;vertical-align:top;white-space:normal'"
_NUMBER = "style='text-align:right;vertical-align:top'"


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """An HTML table; whole numbers stand to the right."""
    body = "".join(
        "<tr>"
        + "".join(f"<td {_NUMBER if isinstance(c, int) else _CELL}>{f'{c:,}' if isinstance(c, int) else escape(str(c))}</td>" for c in row)
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{''.join(f'<th {_CELL}>{escape(h)}</th>' for h in heads)}</tr></thead><tbody>{body}</tbody></table>"


def result_html(manifest: Mapping[str, Any], out: Path, seconds: float) -> str:
    """All datasets and models of a run."""
    rows = [
        (
            name,
            e["kind"],
            "" if e["rows_in"] is None else e["rows_in"],
            e["rows_out"],
            size(e["bytes"]) if e["bytes"] else "",
            e["tokens"] or "",
        )
        for name, e in manifest["datasets"].items()
    ]
    models = "".join(f"<p>{escape(name)}: {escape(entry['kind'])}</p>" for name, entry in manifest["models"].items())
    head = f"<p><b>{escape(manifest['recipe'])}</b> {escape(str(out))}, {seconds:.1f} s; report: {escape(str(out / 'report.html'))}</p>"
    return head + table(("dataset", "kind", "documents in", "documents out", "text", "tokens"), rows) + models


def dataset_html(name: str, folder: Path, entry: Mapping[str, Any]) -> str:
    """One dataset: its funnel and its first rows."""
    funnel = [
        (line["step"], line["rows"], size(line["bytes"]) if line["bytes"] else "", drop_text(line["dropped"])) for line in entry["funnel"]
    ]
    parts = [f"<p><b>{escape(name)}</b> {entry['rows_out']:,} rows at {escape(str(folder))}</p>"]
    parts += [table(("step", "documents", "text", "dropped"), funnel)] if funnel else []
    columns, rows = first_rows(folder)
    return "".join(parts) + (table(columns, rows) if rows else "")


def first_rows(folder: Path) -> tuple[list[str], list[list[Any]]]:
    """(columns, the first rows) of a dataset of parquet or token shards, every value cut short."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    batch: Any = None
    for file in sorted(folder.glob("part-*.parquet"))[:1]:
        batch = next(pq.ParquetFile(file).iter_batches(ROWS), None)
    for file in sorted(folder.glob("part-*.arrow"))[:1]:
        shard = pa.ipc.open_file(pa.memory_map(str(file)))
        batch = shard.get_batch(0).slice(0, ROWS) if shard.num_record_batches else None
    if batch is None:
        return [], []
    rows = [[v if isinstance(v, int) else visible(str(v), CELL_CHARS) for v in row.values()] for row in batch.to_pylist()]
    return batch.schema.names, rows
