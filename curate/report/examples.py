"""Documents to look at: dropped ones near to and far from their bound, near-duplicates side by side, tags of personal data."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.report.documents import Place, find, rows_at
from curate.report.run_folder import RunFolder
from curate.report.words import visible

SHOWN_CHARS = 700
NEAR, FAR, PLAIN = 2, 2, 3  # documents shown of a reason: nearest to the bound, farthest; the first ones where there is no number
CLUSTERS, MEMBERS = 8, 2
DIFF_WORDS = 400  # of each document that are compared: the comparison is quadratic
SCANNED_ROWS = 20_000  # of a dataset that are searched for tags
TAGS_SHOWN, AROUND = 8, 90
TAG = re.compile(r"<(?:EMAIL|IP|PHONE|CARD|IBAN|SSN|NATIONAL_ID|CREDENTIALS|KEY)(?:_[A-Za-z0-9]{16})?>")

Reason = tuple[str, str]  # (step, reason)


@dataclass
class Example:
    """A dropped document."""

    id: str
    source: str
    text: str
    value: float | None
    partner: str | None
    side: str  # "near", "far" or ""


@dataclass
class Pair:
    """A removed document beside the one that stays; both texts in pieces (kind, text), kind "", "del" or "ins"."""

    id: str
    value: float | None
    kept: list[tuple[str, str]] = field(default_factory=list)
    removed: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Cluster:
    """Documents that one document stands for."""

    step: str
    id: str
    size: int  # removed documents
    pairs: list[Pair]


class Dropped:
    """The kept rows of a dataset's dropped documents; texts are read only for what is shown."""

    def __init__(self, run: RunFolder, name: str) -> None:
        self._files = run.beside(name, "dropped")
        columns = ["id", "drop_step", "drop_reason", "drop_value", "drop_partner"]
        tables, self._places = [], list[tuple[int, int]]()
        for number, file in enumerate(self._files):
            tables.append(pq.read_table(file, columns=columns, use_threads=False))
            self._places += [(number, row) for row in range(len(tables[-1]))]
        self._table = pa.concat_tables(tables) if tables else None

    def by_reason(self) -> dict[Reason, np.ndarray[Any, Any]]:
        """Rows of every (step, reason)."""
        found: dict[Reason, list[int]] = defaultdict(list)
        if self._table is not None:
            pairs = zip(self._table.column("drop_step").to_pylist(), self._table.column("drop_reason").to_pylist(), strict=True)
            for row, pair in enumerate(pairs):
                found[pair].append(row)
        return {pair: np.array(rows) for pair, rows in found.items()}

    def values(self, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """drop_value of rows, f64, NaN where there is none."""
        assert self._table is not None
        column = self._table.column("drop_value").take(pa.array(rows)).fill_null(np.nan)
        return np.asarray(column.to_numpy(), np.float64)

    def partners(self) -> dict[str, list[int]]:
        """Rows by the document that they were dropped for."""
        found: dict[str, list[int]] = defaultdict(list)
        if self._table is not None:
            for row, partner in enumerate(self._table.column("drop_partner").to_pylist()):
                if partner is not None:
                    found[partner].append(row)
        return found

    def read(self, rows: Sequence[int]) -> dict[int, dict[str, Any]]:
        """Whole rows, with texts."""
        places = {row: Place(self._files[self._places[row][0]], self._places[row][1], "") for row in rows}
        found = rows_at(list(places.values()))
        return {row: found[place] for row, place in places.items()}


def of_reasons(dropped: Dropped, bounds: Mapping[Reason, tuple[float | None, float | None]]) -> dict[Reason, list[Example]]:
    """A few documents of every reason."""
    chosen: dict[Reason, list[tuple[int, str]]] = {}
    for reason, rows in dropped.by_reason().items():
        values = dropped.values(rows)
        limits = [b for b in bounds.get(reason, ()) if b is not None]
        if not limits or np.isnan(values).all():
            chosen[reason] = [(int(row), "") for row in rows[:PLAIN]]
            continue
        distance = np.min([np.abs(values - b) for b in limits], axis=0)
        order = np.argsort(np.where(np.isnan(distance), np.inf, distance), kind="stable")
        near, far = order[:NEAR], [at for at in order[NEAR:][::-1][:FAR] if not np.isnan(distance[at])]
        chosen[reason] = [(int(rows[at]), "near") for at in near] + [(int(rows[at]), "far") for at in far]
    texts = dropped.read([row for pairs in chosen.values() for row, _ in pairs])
    return {reason: [_example(texts[row], side) for row, side in pairs] for reason, pairs in chosen.items()}


def _example(row: Mapping[str, Any], side: str) -> Example:
    text = visible(row["text"] or "", SHOWN_CHARS)
    return Example(visible(row["id"], 200), visible(row["source"] or "", 100), text, row["drop_value"], row["drop_partner"], side)


def clusters(run: RunFolder, name: str, dropped: Dropped) -> list[Cluster]:
    """The largest clusters of which the run keeps removed documents, with texts compared; sizes from the whole ledger."""
    partners = dropped.partners()
    files = run.beside(name, "ledger")
    if not partners or not files:
        return []
    sizes = _removed_for(files, pa.array(list(partners), pa.string()))
    largest = sorted(sizes.items(), key=lambda entry: (-entry[1], entry[0][1], entry[0][0]))[:CLUSTERS]
    shown = {partner: partners[partner][:MEMBERS] for (_, partner), _ in largest}
    rows = dropped.read([row for mine in shown.values() for row in mine])
    kept: dict[str, str] = {}
    places = find(run.parts(name), shown)
    for place, row in rows_at(places, ["text"]).items():
        kept.setdefault(place.id, row.get("text") or "")
    made = []
    for (step, partner), size in largest:
        pairs = [_pair(kept.get(partner), rows[row]) for row in shown[partner] if rows[row]["drop_step"] == step]
        made.append(Cluster(step, visible(partner, 200), size, pairs))
    return made


def _removed_for(files: Sequence[Path], partners: pa.StringArray) -> Counter[tuple[str, str]]:
    """How many documents each deduplicating step removed for each of these partners: (step, partner) -> count."""
    found: Counter[tuple[str, str]] = Counter()
    for file in files:
        for batch in pq.ParquetFile(file).iter_batches(1 << 16, columns=["step", "partner"], use_threads=False):
            batch = batch.filter(pc.and_(pc.is_in(batch.column("partner"), partners), pc.starts_with(batch.column("step"), "dedup")))
            for step in batch.column("step").unique().to_pylist():
                mine = batch.filter(pc.equal(batch.column("step"), step)).column("partner").value_counts()
                found.update({(step, entry["values"]): entry["counts"] for entry in mine.to_pylist()})
    return found


def _pair(kept: str | None, row: Mapping[str, Any]) -> Pair:
    pair = Pair(visible(row["id"], 200), row["drop_value"])
    if kept is not None:
        pair.kept, pair.removed = compared(kept, row["text"] or "")
    return pair


def compared(first: str, second: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Both texts in pieces: what only the first has is "ins", what only the second has "del"."""
    left, right = (re.findall(r"\s+|\w+|[^\w\s]", visible(t, 12 * DIFF_WORDS))[: 2 * DIFF_WORDS] for t in (first, second))
    a: list[tuple[str, str]] = []
    b: list[tuple[str, str]] = []
    for kind, i, i_end, j, j_end in SequenceMatcher(None, left, right, autojunk=len(left) > DIFF_WORDS).get_opcodes():
        for side, text, mark in ((a, "".join(left[i:i_end]), "ins"), (b, "".join(right[j:j_end]), "del")):
            if text:
                side.append(("" if kind == "equal" else mark, text))
    return a, b


def tagged(run: RunFolder, name: str) -> list[tuple[str, str, str, str]]:
    """(id, before, tag, after) of the first places where the step pii left a tag."""
    found: list[tuple[str, str, str, str]] = []
    for row_id, text in _texts(run, name):
        match = TAG.search(text)
        if match is not None:
            start, end = match.span()
            before, after = text[max(0, start - AROUND) : start], text[end : end + AROUND]
            found.append((visible(row_id, 200), visible(before, 2 * AROUND), match[0], visible(after, 2 * AROUND)))
            if len(found) == TAGS_SHOWN:
                break
    return found


def _texts(run: RunFolder, name: str) -> Iterator[tuple[str, str]]:
    left = SCANNED_ROWS
    for file in run.parts(name):
        if file.suffix != ".parquet" or left <= 0:
            return
        for batch in pq.ParquetFile(file).iter_batches(1024, columns=["id", "text"], use_threads=False):
            yield from zip(batch.column("id").to_pylist(), (t or "" for t in batch.column("text").to_pylist()), strict=True)
            left -= len(batch)
            if left <= 0:
                return
