"""Rows of CSV and TSV files as rows of a format. Cells are text, so columns that a format reads as something else are decoded by name.

    turns, candidates, labels, history ...   JSON text of a list or an object; an empty cell is a missing field
    prompt, chosen, rejected, completion ... the same where the cell is a JSON list of turns or one turn, text otherwise
    label, kto_tag                           true or false, 1 or 0
    rank, preference, scores, attributes     numbers

The columns of a `task` are whole numbers where they are written as such. Everything else stays text, an empty cell an empty one. A list as Python prints it (what a data frame writes for a column of
lists) is refused with its reason: quotes inside it can't be told apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from curate.io.delimited import CsvReader, Table, WholeRow
from curate.io.reader import Split, Unreadable
from formats.adapters.adapter import Adapter, Row
from formats.adapters.chat import CONTAINERS
from formats.adapters.mapped import Mapped
from formats.json_text import loads
from formats.sources import MAX_ROW_BYTES, Block

SUFFIXES = tuple(name + packed for name in (".csv", ".tsv") for packed in ("", ".gz", ".zst"))
NESTED = frozenset(
    (*CONTAINERS, "completions", "answers", "history", "instances", "labels", "segments", "models", "function", "question", "context",
     "prompt", "chosen", "rejected", "completion", "response", "correct_answers", "incorrect_answers")
)  # fmt: skip
ALSO_TEXT = frozenset({"question", "context", "prompt", "chosen", "rejected", "completion", "response"})
TRUTHS = frozenset({"label", "kto_tag"})
NUMBERS = frozenset(
    {"rank", "preference", "margin", "score_chosen", "score_rejected", "helpfulness", "correctness", "coherence", "complexity", "verbosity"}
)
_TRUTH = {"true": True, "1": True, "false": False, "0": False}
_PYTHON = re.compile(r"\[\s*(?:\{\s*'|')|\{\s*'")
_WHOLE = re.compile(r"0|-?[1-9]\d{0,17}", re.ASCII)
_BLOCK_BYTES = 1 << 18
_BLOCK_ROWS = 1024


def is_delimited(uri: str) -> bool:
    """Whether a file is CSV or TSV by its name."""
    return uri.lower().endswith(SUFFIXES)


def delimited_blocks(
    split: Split, reader: Adapter | None = None, max_bytes: int = MAX_ROW_BYTES, delimiter: str | None = None
) -> Iterator[Block]:
    """The rows of a file with a header. reader: whose names of columns count; delimiter: a tab for .tsv, else a comma, where it is None."""
    mark = delimiter or ("\t" if ".tsv" in split.uri.lower()[-8:] else ",")
    settings = CsvReader.model_validate({"paths": (split.uri,), "delimiter": mark, "max_doc_bytes": max_bytes})
    found = _Found()
    for _ in _Rows(settings, split, reader).into(found):
        if found.size >= _BLOCK_BYTES or len(found.unreadable) >= _BLOCK_ROWS:
            yield found.whole()
            found.clear()
    if found.size or found.unreadable:
        yield found.whole()


class _Found:
    """Rows and what was unreadable since the last block."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Start the next block."""
        self.unreadable: list[Unreadable] = []
        self.block = Block([], [], b"", [], [])
        self.raws: list[bytes] = []
        self.size = 0

    def put(self, value: Any, offset: int, raw: bytes) -> None:
        """Add a row and its bytes."""
        block = self.block
        block.values.append(value)
        block.offsets.append(offset)
        block.starts.append(self.size)
        self.raws.append(raw)
        self.size += len(raw)
        block.ends.append(self.size)

    def whole(self) -> Block:
        """The block, with what was unreadable at its end."""
        for row in self.unreadable:
            self.put(row, row.offset, b"")
        self.block.data = b"".join(self.raws)
        return self.block


class _Rows(Table[_Found]):
    def __init__(self, settings: CsvReader, split: Split, reader: Adapter | None) -> None:
        super().__init__(settings, split)
        columns = reader.columns if isinstance(reader, Mapped) else {}
        self.names = {theirs: ours for ours, theirs in columns.items()}
        self.task = reader is not None and reader.name == "task"

    def add(self, rows: _Found, row: dict[str, str]) -> None:
        """Add a row of a format."""
        rows.put(
            _whole_numbers(row) if self.task else decoded(row, self.names), self.taken[0].offset, b"".join(line.raw for line in self.taken)
        )


def _whole_numbers(row: dict[str, str]) -> Row:
    """A row of a task: its templates take labels as numbers, and print them as they were."""
    return {name: int(cell) if _WHOLE.fullmatch(cell) else cell for name, cell in row.items()}


def decoded(row: dict[str, str], names: Mapping[str, str]) -> Row:
    """A row with the values that its cells stand for. names: what a column is called by its format. Raises WholeRow for a list as Python prints it."""
    made: Row = {}
    for column, cell in row.items():
        name = names.get(column, column)
        if name in NESTED and (found := _nested(name, cell)) is not None:
            made[column] = found
        elif name in TRUTHS and cell.lower() in _TRUTH:
            made[column] = _TRUTH[cell.lower()]
        elif name in NUMBERS and (number := _number(cell)) is not None:
            made[column] = number
        elif cell or not (name in TRUTHS or name in NUMBERS or name in NESTED - ALSO_TEXT):
            made[column] = cell
    return made


def _nested(name: str, cell: str) -> Any:
    """The value of a cell with JSON; None where it is text."""
    if cell[:1] not in ("[", "{"):
        return None
    try:
        value = loads(cell)
    except ValueError:
        if (name not in ALSO_TEXT or "'role'" in cell or "'from'" in cell) and _PYTHON.match(cell):
            raise WholeRow(f"column {name!r} is a list as Python prints it, expected JSON: write it with json.dumps") from None
        return None
    return value if name not in ALSO_TEXT or _turns(value) else None


def _turns(value: Any) -> bool:
    """Whether this is a turn, or a list of turns (or of lists of them)."""
    if isinstance(value, list):
        return bool(value) and all(map(_turns, value))
    return isinstance(value, dict) and ("role" in value or "from" in value)


def _number(cell: str) -> int | float | None:
    try:
        value = loads(cell)
    except ValueError:
        return None
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
