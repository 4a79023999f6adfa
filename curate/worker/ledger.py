"""The books of one task: rows and bytes after every step, what was dropped and why, what could not be read.

    rows_in + created = rows_out + dropped + merged + quarantined

is asserted when the task closes. rows_in counts unreadable rows too: they came in and are accounted for.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.distributions import Distributions
from curate.errors import StepError
from curate.io.json_text import json_objects
from curate.io.reader import Unreadable
from curate.schema import DOCUMENT, ROW
from curate.step import Verdict

MAX_SOURCES = 256  # a task keeps a step's figures apart for so many sources; those of later ones are summed under OTHERS
OTHERS = "(others)"
GROUP_BYTES = 8 << 20  # rows of the ledger that are held before they are written, a row counted as ROW_BYTES beside its text
ROW_BYTES = 128
RUN_ROWS = 16  # rows between two that are dropped, from which on texts are copied run by run
EVIDENCE_PER_ITEM = 5  # documents that a task keeps as evidence for one benchmark item
SAMPLE_PER_REASON = 20  # rows of a task kept whole for each reason with keep_dropped: sample
DROPS = pa.schema([("id", pa.string()), ("step", pa.string()), ("reason", pa.string()), ("value", pa.float64()), ("partner", pa.string())])
DROPPED = pa.schema(
    [
        *DOCUMENT,
        ("columns", pa.large_string()),
        ("drop_step", pa.string()),
        ("drop_reason", pa.string()),
        ("drop_value", pa.float64()),
        ("drop_partner", pa.string()),
    ]
)
OWN_COLUMNS = {*DOCUMENT.names, ROW}


def in_order(counts: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """Figures by source and name, both in order, so that receipts don't depend on who counted first."""
    return {source: dict(sorted(figures.items())) for source, figures in sorted(counts.items())}


def text_bytes(batch: pa.RecordBatch) -> int:
    """UTF-8 bytes of the text column; 0 where there is none."""
    at = batch.schema.get_field_index("text")
    if at < 0 or not len(batch):
        return 0
    column = batch.column(at)
    offsets = np.frombuffer(column.buffers()[1], np.int64)[column.offset : column.offset + len(column) + 1]
    return int(offsets[-1] - offsets[0])


class Ledger:
    """Collects while a task runs; writes its files and returns the receipt's entry at the end."""

    def __init__(self, folder: Path, steps: Sequence[str], keep_dropped: str) -> None:
        """steps: names in the order they are applied (deliveries of corpus steps first)."""
        self._folder, self._keep = folder, keep_dropped
        self._stages: list[dict[str, Any]] = [{"step": s, "rows": 0, "bytes": 0, "dropped": Counter(), "seconds": 0.0} for s in steps]
        self._counts: list[dict[str, Counter[str]]] = [{} for _ in steps]
        self.created = 0
        self.rows_in = self.bytes_in = self.rows_out = self.bytes_out = self.tokens = 0
        self._quarantined: Counter[str] = Counter()
        self._skipped: Counter[str] = Counter()
        self._drops = _Rows(folder / "ledger.parquet", DROPS)
        self._dropped = _Rows(folder / "dropped.parquet", DROPPED)
        self._sampled: Counter[str] = Counter()
        self._quarantine: Any = None
        self._evidence: Any = None
        self._shown: Counter[tuple[int, str]] = Counter()
        self.distributions = Distributions(steps)
        self._waiting: list[tuple[int, pa.RecordBatch, tuple[pa.Array, ...]]] = []

    def came_in(self, batch: pa.RecordBatch) -> None:
        """Count a batch as read."""
        self.rows_in += len(batch)
        self.bytes_in += text_bytes(batch)
        self.distributions.came_in(batch)

    def went_out(self, batch: pa.RecordBatch) -> None:
        """Count what is left of a batch after all steps."""
        self.rows_out += len(batch)
        self.bytes_out += text_bytes(batch)
        self.distributions.went_out(batch)
        if "n_tokens" in batch.schema.names and len(batch):
            self.tokens += int(pc.sum(batch.column("n_tokens")).as_py() or 0)

    def passed(self, position: int, batch: pa.RecordBatch, seconds: float) -> None:
        """Count what a step let through."""
        stage = self._stages[position]
        stage["rows"] += len(batch)
        stage["bytes"] += text_bytes(batch)
        stage["seconds"] += seconds

    def count(self, position: int, counts: Mapping[str, Mapping[str, int]]) -> None:
        """Add figures that a step reports, by source."""
        held = self._counts[position]
        for source, figures in counts.items():
            known = source if source in held or len(held) < MAX_SOURCES else OTHERS
            held.setdefault(known, Counter()).update(figures)

    def evidence(self, position: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write what a step found in which benchmark items, the first few documents of each."""
        for row in rows:
            key = (position, row["item"])
            self._shown[key] += 1
            if self._shown[key] > EVIDENCE_PER_ITEM:
                continue
            if self._evidence is None:
                self._evidence = open(self._folder / "contamination.jsonl", "w", encoding="utf-8")  # noqa: SIM115  closed by close()
            self._evidence.write(json.dumps({"step": self._stages[position]["step"], **row}, ensure_ascii=True) + "\n")

    def drop(self, position: int, batch: pa.RecordBatch, verdict: Verdict) -> pa.RecordBatch:
        """Book the rows a verdict drops and return those it keeps."""
        if verdict.keep.true_count == len(batch):
            return batch
        gone = pc.invert(verdict.keep)
        rows = batch.filter(gone)
        reasons = verdict.reason.filter(gone).cast(pa.string())
        step = self._stages[position]["step"]
        if reasons.null_count:
            raise StepError(f"Step {step} dropped {reasons.null_count} documents without a reason. Every dropped row needs one.")
        counts = pc.value_counts(reasons)
        self._stages[position]["dropped"].update(dict(zip(counts.field(0).to_pylist(), counts.field(1).to_pylist(), strict=True)))
        none = pa.nulls(len(rows))
        value = verdict.value.filter(gone).cast(pa.float64()) if verdict.value is not None else none.cast(pa.float64())
        partner = verdict.partner.filter(gone).cast(pa.string()) if verdict.partner is not None else none.cast(pa.string())
        names = pa.array([step] * len(rows), pa.string())
        self._waiting.append((position, rows, (names, reasons, value, partner)))
        return _kept(batch, verdict.keep)

    def batch_done(self) -> None:
        """Write the drops of the batch, step by step: the same bytes whether it went through whole or in slices."""
        waiting = sorted(self._waiting, key=lambda entry: entry[0])  # stable: within a step in the order of the rows
        self._waiting = []
        if not waiting:
            return
        self._drops.add([pa.table([rows.column("id"), *verdict], schema=DROPS) for _, rows, verdict in waiting])
        self._dropped.add([table for _, rows, verdict in waiting if (table := self._rows_kept(rows, verdict)) is not None])

    def _rows_kept(self, rows: pa.RecordBatch, verdict: tuple[pa.Array, ...]) -> pa.Table | None:
        """The dropped rows that are kept whole to be looked at."""
        if self._keep == "none" or "text" not in rows.schema.names:
            return None
        if self._keep == "sample":
            wanted = np.zeros(len(rows), bool)
            for at, reason in enumerate(verdict[1].to_pylist()):
                if self._sampled[reason] < SAMPLE_PER_REASON:
                    self._sampled[reason] += 1
                    wanted[at] = True
            if not wanted.any():
                return None
            mask = pa.array(wanted)
            rows, verdict = rows.filter(mask), tuple(v.filter(mask) for v in verdict)
        own = [rows.column(name).cast(DOCUMENT.field(name).type) for name in DOCUMENT.names]
        return pa.table([*own, _as_json(rows), *verdict], schema=DROPPED)

    def quarantine(self, rows: Sequence[Unreadable], counted: bool = False) -> None:
        """Book unreadable rows. counted: they are in rows_in already (a document that killed its process)."""
        for row in rows:
            if self._quarantine is None:
                self._quarantine = open(self._folder / "quarantine.jsonl", "w", encoding="utf-8")  # noqa: SIM115  closed by close()
            content = row.content.decode("utf-8", "backslashreplace")
            line = {"file": row.path, "offset": row.offset, "error": row.error, "bytes": content}
            self._quarantine.write(json.dumps(line, ensure_ascii=True) + "\n")
            self._quarantined[row.error.partition(":")[0][:80]] += 1
            self.rows_in += not counted

    def skip(self, counts: Mapping[str, int]) -> None:
        """Count what the reader passed over, by reason; beyond MAX_SOURCES reasons of a task under OTHERS."""
        for reason, count in counts.items():
            known = reason if reason in self._skipped or len(self._skipped) < MAX_SOURCES else OTHERS
            self._skipped[known] += count

    def close(self, sink_rows: bool) -> dict[str, Any]:
        """Close the files, check the balance and return the entry of the receipt."""
        for file in (self._drops, self._dropped, self._quarantine, self._evidence):
            if file is not None:
                file.close()
        dropped = sum(sum(s["dropped"].values()) for s in self._stages)
        quarantined = sum(self._quarantined.values())
        if sink_rows and self.rows_in + self.created != self.rows_out + dropped + quarantined:
            raise StepError(
                f"The ledger does not balance: {self.rows_in} in, {self.created} created, {self.rows_out} out, {dropped} dropped, {quarantined} quarantined. "
                "A step returned another number of rows than it got."
            )
        skipped = {"skipped": dict(sorted(self._skipped.items()))} if self._skipped else {}
        return {
            **skipped,
            "rows_in": self.rows_in,
            "bytes_in": self.bytes_in,
            "created": self.created,
            "rows_out": self.rows_out,
            "bytes_out": self.bytes_out,
            "tokens": self.tokens,
            "merged": 0,
            "quarantined": dict(sorted(self._quarantined.items())),
            "steps": [self._entry(position) for position in range(len(self._stages))],
        }

    def _entry(self, position: int) -> dict[str, Any]:
        """What the receipt says of one step; `counts` only where it reported some."""
        stage, counts = self._stages[position], self._counts[position]
        entry = {"step": stage["step"], "rows": stage["rows"], "bytes": stage["bytes"], "dropped": dict(sorted(stage["dropped"].items()))}
        return entry | ({"counts": in_order(counts)} if counts else {})

    def seconds(self) -> dict[str, float]:
        """Seconds spent in each step."""
        spent: Counter[str] = Counter()
        for stage in self._stages:
            spent[stage["step"]] += stage["seconds"]
        return dict(spent)


def _kept(batch: pa.RecordBatch, keep: pa.BooleanArray) -> pa.RecordBatch:
    """The rows to keep. Where they are nearly all, texts go run by run: `filter` takes twice the time, it copies one by one."""
    at = batch.schema.get_field_index("text")
    if at < 0 or batch.column(at).null_count or RUN_ROWS * (len(batch) - keep.true_count) > len(batch):
        return batch.filter(keep)
    runs = np.flatnonzero(np.diff(keep.to_numpy(zero_copy_only=False), prepend=False, append=False)).reshape(-1, 2)
    columns = batch.drop_columns(["text"]).filter(keep).columns
    columns.insert(at, pa.concat_arrays([batch.column(at).slice(start, stop - start) for start, stop in runs.tolist()]))
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


class _Rows:
    """A parquet file of the ledger, which is there once it has a row. Row groups end with a batch, so that the bytes do not depend on slices of it."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path, self._schema = path, schema
        self._held: list[pa.Table] = []
        self._size = 0
        self._file: pq.ParquetWriter | None = None

    def add(self, rows: list[pa.Table]) -> None:
        """Take the rows of one batch."""
        for table in rows:
            self._held.append(table)
            self._size += ROW_BYTES * len(table)
            if "text" in table.column_names:
                self._size += pc.sum(pc.binary_length(table["text"])).as_py() or 0
        if self._size >= GROUP_BYTES:
            self._write()

    def _write(self) -> None:
        self._file = self._file or pq.ParquetWriter(self._path, self._schema, compression="zstd")
        self._file.write_table(pa.concat_tables(self._held))
        self._held, self._size = [], 0

    def close(self) -> None:
        """Write what is held."""
        if self._held:
            self._write()
        if self._file is not None:
            self._file.close()


def _as_json(rows: pa.RecordBatch) -> pa.Array:
    """The columns that steps added, as one JSON text per row."""
    extra = [name for name in rows.schema.names if name not in OWN_COLUMNS]
    if not extra:
        return pa.array(["{}"] * len(rows), pa.large_string())
    return json_objects(rows.select(extra))
