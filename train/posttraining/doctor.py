"""The data doctor: one pass over a set that makes its rows, looks for defects, and refuses a set that has too many.

    files -> records -> checks of turns -> rows of ids -> checks of ids -> rows.arrow
             (or rows of ids that were rendered before)

The pass needs no torch; `curate doctor FILE` is the same pass without an output. What it can't see: answers that are
wrong, paraphrases of evaluation items, near-duplicates (see the steps dedup_minhash and decontaminate).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curate.errors import RecipeError
from curate.io.files import File, list_files
from formats.convert import SUFFIXES, holds_records, records, sample
from formats.records import Record
from formats.report import Report
from formats.sources import is_table, table_batches
from formats.templates.rendering import Refused
from train.posttraining.checks import IGNORED, Found, Seen, Vocabulary, of_record, of_row
from train.posttraining.contamination import EvaluationSets
from train.posttraining.findings import DEFECTS, Findings, of_refusal
from train.posttraining.rendering import SCHEMAS, Kind, Made, RowMaker, as_batch

_BATCH = 512
Advance = Callable[[float, str], None]
# Columns of rows that were rendered before, by kind.
RENDERED: dict[Kind, tuple[str, ...]] = {
    "sft": ("input_ids", "labels"),
    "pairs": ("prompt_ids", "chosen_ids", "rejected_ids"),
    "labelled": ("prompt_ids", "completion_ids", "label"),
    "prompts": ("prompt", "row"),
}


@dataclass
class Doctor:
    """One examination. maker: None where no tokenizer is known: then only turns are looked at."""

    kind: Kind
    maker: RowMaker | None
    against: Sequence[str] = ()
    findings: Findings = field(default_factory=Findings)

    def __post_init__(self) -> None:
        self._seen = Seen()
        self._sets = EvaluationSets(self.against) if self.against else None
        self._vocabulary = None
        if self.maker is None:
            self.findings.skipped.append("token ids, masks and lengths: no tokenizer was given")
        else:
            chat = self.maker.chat
            self._vocabulary = Vocabulary(chat.tokenizer.get_vocab_size(), self.maker.stop_ids, self.maker.bos, self.maker.pad)
        if not self.against:
            self.findings.skipped.append("contamination: no evaluation sets were given")

    def examine(self, files: Sequence[str], advance: Advance | None = None, source: str | None = None) -> Iterator[list[Made]]:
        """Rows to train on, in the order of the files, while defects are counted. files: data files, or folders and globs of them.

        source: name of the format; None: told by content.
        """
        listed = _listed(files)
        done, total = 0, sum(f.size for f in listed) or 1
        rendered = _columns(listed[0]) >= set(RENDERED[self.kind])
        form = None if rendered else source or _format(listed)
        for file in listed:
            for batch in self._batches(file, form):
                yield self._checked(batch)
            done += file.size
            if advance is not None:
                advance(done / total, f"looking at {self.findings.rows:,} rows")
        for defect, message in self._seen.of_set(self.kind):
            self.findings.counts[defect] = self.findings.rows
            self.findings.examples[defect] = [message]

    def _batches(self, file: File, form: str | None) -> Iterator[Sequence[Record] | list[Made]]:
        if form is None:
            return (_rendered(batch, self.kind) for batch in table_batches(file.uri))
        return self._records(file, form)

    def _records(self, file: File, form: str) -> Iterator[list[Record]]:
        from formats.catalog import adapter

        report, quarantine = Report(), list[dict[str, Any]]()
        found = (record for record, _ in records(file, adapter(form), report, quarantine))
        while batch := list(islice(found, _BATCH)):
            yield batch
        for row in quarantine:
            self.findings.rows += 1
            self.findings.left_out += 1
            self.findings.add("unreadable", f"{row['file']}@{row['offset']}", f"{row['error']}: {row['content']}")

    def _checked(self, batch: Sequence[Record] | list[Made]) -> list[Made]:
        """Rows of a batch without those that a defect leaves out."""
        given = [row for row in batch if isinstance(row, Made)]
        if len(given) == len(batch):
            return [row for row in given if self._row_stays(row, [*self._of_ids(row), *self._seen.of_row(row, self.kind)])]
        read = [record for record in batch if isinstance(record, Record)]
        items = self._sets.items(read) if self._sets is not None else [None] * len(read)
        made: Sequence[Sequence[Made | Refused]] = self.maker.rows(read) if self.maker is not None else [[]] * len(read)
        kept: list[Made] = []
        for record, rows, item in zip(read, made, items, strict=True):
            found = [*of_record(record, self.kind), *self._seen.of_record(record, self.kind)]
            if item is not None:
                found.append(("contaminated", item))
            kept += self._rows_of(record, rows, found)
        return kept

    def _rows_of(self, record: Record, rows: Sequence[Made | Refused], found: list[Found]) -> Iterator[Made]:
        if self.maker is None:
            self._count(record.id, found, 1)
            return
        for number, row in enumerate(rows):
            of_turns = found if number == 0 else [f for f in found if not DEFECTS[f[0]].stays]
            if isinstance(row, Refused):
                refusal = of_refusal(row.reason)
                self._count(record.id, [*of_turns, *([] if refusal in dict(of_turns) else [(refusal, row.message)])], 0)
            elif self._row_stays(row, [*of_turns, *self._of_ids(row)]):
                yield row

    def _of_ids(self, row: Made) -> list[Found]:
        found = [("shortened", f"now {row.tokens} tokens")] if row.shortened else []
        limit = self.maker.rendering.max_length if self.maker is not None else None
        if limit is not None and _length(row) > limit:  # rows that came as ids
            found.append(("too_long", f"{_length(row)} tokens, {limit} are allowed"))
        return [*found, *(of_row(row, self.kind, self._vocabulary) if self._vocabulary is not None else ())]

    def _row_stays(self, row: Made, found: list[Found]) -> bool:
        kept = self._count(row.id, found, 1)
        if kept:
            self.findings.tokens += row.tokens
            self.findings.trained_tokens += row.trained
            if self.kind == "labelled":
                self._seen.labels[bool(row.columns["label"])] += 1
        return kept

    def _count(self, where: str, found: list[Found], rows: int) -> bool:
        """Book a row; whether it is trained."""
        number = self.findings.rows
        self.findings.rows += 1
        for defect, message in dict(found).items():
            self.findings.add(defect, where or f"row {number}", message)
        stays = bool(rows) and all(DEFECTS[defect].stays for defect, _ in found)
        self.findings.trained += stays
        self.findings.left_out += not stays
        return stays


def _length(row: Made) -> int:
    """Tokens of the longest sequence that the row makes."""
    if "chosen_ids" in row.columns:
        return len(row.columns["prompt_ids"]) + max(len(row.columns["chosen_ids"]), len(row.columns["rejected_ids"]))
    return row.tokens


def _listed(files: Sequence[str]) -> list[File]:
    found: list[str] = []
    for name in files:
        path = Path(name)
        found.append(str(path / "part-*") if path.is_dir() and any(path.glob("part-*")) else name)
    return list_files(tuple(found), ".", SUFFIXES, "doctor")


def _columns(file: File) -> set[str]:
    """Names of the columns of a table; none for other files."""
    first = next(table_batches(file.uri), None) if is_table(file.uri) else None
    return set() if first is None else set(first.schema.names)


def _format(listed: list[File]) -> str:
    """What the files hold: records, or the format that their content tells."""
    from formats.detect import detect

    return "messages" if holds_records(listed) else detect(sample(listed), listed[0].path).format


def _rendered(batch: pa.RecordBatch, kind: Kind) -> list[Made]:
    """Rows that came as token ids."""
    names = [f.name for f in SCHEMAS[kind] if f.name in batch.schema.names and f.name != "id"]
    ids = batch.column("id").to_pylist() if "id" in batch.schema.names else [""] * len(batch)
    columns = {n: [np.asarray(v) if isinstance(v, list) else v for v in batch.column(n).to_pylist()] for n in names}
    made = []
    for number, identity in enumerate(ids):
        row = {name: values[number] for name, values in columns.items()}
        if kind == "pairs":
            row.setdefault("margin", None)
        arrays = [v for v in row.values() if isinstance(v, np.ndarray)]
        tokens = len(row["input_ids"]) if kind == "sft" else sum(map(len, arrays))
        trained = int((row["labels"] != IGNORED).sum()) if kind == "sft" else tokens - len(row.get("prompt_ids", ()))
        made.append(Made(identity or "", row, tokens, trained))
    return made


def prepare(doctor: Doctor, files: Sequence[str], target: Path, advance: Advance | None = None, source: str | None = None) -> None:
    """Write the rows to train on to `target`, an Arrow stream that datasets maps into memory."""
    schema = SCHEMAS[doctor.kind]
    scratch = target.with_name(f".{target.name}.tmp")
    with pa.OSFile(str(scratch), "wb") as sink, pa.ipc.new_stream(sink, schema) as out:
        for rows in doctor.examine(files, advance, source):
            if rows:
                out.write_batch(as_batch(doctor.kind, rows))
    scratch.replace(target)


def kind_of(files: Sequence[str]) -> Kind:
    """What a set can train, told by its first records: pairs, labelled answers, conversations, or prompts alone."""
    from formats.catalog import adapter

    listed = _listed(files)
    names = _columns(listed[0])
    if rendered := next((kind for kind, wanted in RENDERED.items() if set(wanted) <= names), None):
        return rendered
    reader = adapter(_format(listed))
    heads: Iterable[Record] = islice((r for f in listed for r, _ in records(f, reader, Report(), [])), 100)
    for record in heads:
        if record.candidates:
            return "labelled" if all(c.label is not None for c in record.candidates) else "pairs"
        if record.text is not None or any(m.role == "assistant" for m in record.messages):
            return "sft"
    return "prompts"


def check_names(allow: dict[str, float]) -> None:
    """Raise RecipeError for a defect that there is not."""
    from curate.registry import nearest

    for name in allow:
        if name not in DEFECTS:
            raise RecipeError(f"doctor.allow: there is no defect {name!r}.{nearest(name, list(DEFECTS))} Known: {', '.join(DEFECTS)}.")
