"""The step `render`: conversations to token ids and labels, with the mask proved for every row."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from curate.schema import with_columns
from curate.step import Asset, BatchFn, Context, Outcome, Step, Verdict
from formats.batches import from_batch
from formats.lengths import TooLong
from formats.steps.prompts import READS
from formats.templates.rendering import REASONS, Renderer, Row, Settings, Train

_COLUMNS = {
    "input_ids": pa.list_(pa.int32()),
    "labels": pa.list_(pa.int32()),
    "render_tokens": pa.int64(),
    "render_trained": pa.int64(),
    "render_turns_cut": pa.int64(),
}
_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def tokenizer_files(given: Path, template: str | None) -> list[Path]:
    """The files that say how conversations are rendered."""
    folder = given if given.is_dir() else given.parent
    files = [folder / name for name in _FILES if (folder / name).is_file()] or [given]
    if template is not None and template.endswith((".jinja", ".jinja2", ".j2")):
        files.append(Path(template))
    return files


class Render(Step):
    """Render conversations with a chat template and add `input_ids` and `labels` (-100 where nothing is trained), as trl takes them.

    Before the first row the tokenizer and its template are probed; what is wrong stops the run with the change that removes it. Then every row's mask
    is found in two ways, and a row in which they differ is dropped with its reason. Rows over `max_length` follow `too_long`; none loses
    its stop token. Also adds `render_tokens`, `render_trained` (labels that are not -100) and `render_turns_cut`.
    One row in, one row out: `curate render --per-answer` and `--pack` make other rows.
    """

    name: ClassVar[str] = "render"
    summary: ClassVar[str] = "chat template to token ids and labels, each mask proved"
    shorthand: ClassVar[str | None] = "tokenizer"

    tokenizer: str = Field(min_length=1, description="folder with tokenizer.json, or the file", json_schema_extra={"path": True})
    template: str | None = Field(
        None,
        min_length=1,
        description="chatml, llama3, alpaca, alpaca_newline, vicuna, zephyr, gemma, mistral, qwen, or a .jinja file; null: the tokenizer's own",
        json_schema_extra={"path": "optional"},
    )
    train: Train = Field("assistant", description="what is trained: assistant, last, completion, all")
    train_reasoning: bool = Field(True, description="false: reasoning stands in the row, but is not trained")
    special_text: Literal["refuse", "escape"] = Field(
        "refuse", description="special tokens spelled out in a message: drop the row, or encode them as ordinary text"
    )
    max_length: int | None = Field(None, ge=1, le=1 << 24, description="most tokens of a row")
    too_long: TooLong = Field("drop", description="drop; cut_turns: whole exchanges from the end; keep_end: the oldest exchanges go")
    stop: str | None = Field(None, min_length=1, description="token that ends an answer; null: found by rendering")
    date: str | None = Field(None, pattern=r"^\d{4}-\d\d-\d\d$", description="date for templates that write one, YYYY-MM-DD")

    def reads(self) -> frozenset[str]:
        """Columns that must exist before this step."""
        return READS

    def adds(self) -> Mapping[str, pa.DataType]:
        """Columns that exist after it, with their types."""
        return _COLUMNS

    def drops(self) -> tuple[str, ...]:
        """Every drop reason it can give."""
        return tuple(f"render.{reason}" for reason in REASONS)

    def assets(self) -> tuple[Asset, ...]:
        """The tokenizer's files, and the template's."""
        return tuple(Asset(str(file), "tokenizer") for file in tokenizer_files(Path(self.tokenizer), self.template))

    def bind(self, ctx: Context) -> BatchFn:
        """Load and probe the tokenizer and its template."""
        from formats.templates.probe import check
        from formats.templates.tokenizer import load

        chat = load(self.tokenizer, self.template, self.stop, self.date)
        check(chat)
        renderer = Renderer(chat, Settings(self.train, self.train_reasoning, self.special_text))
        return lambda batch: self._run(batch, renderer)

    def _run(self, batch: pa.RecordBatch, renderer: Renderer) -> Outcome:
        from formats.rendered import Rows, int_lists

        rows = Rows(renderer, self.max_length, self.too_long)
        made = rows.all(from_batch(batch))
        good = [row if isinstance(row, Row) else None for _, row, _ in made]
        columns = {
            "input_ids": int_lists([[] if r is None else r.ids for r in good]),
            "labels": int_lists([[] if r is None else r.labels() for r in good]),
            "render_tokens": pa.array([0 if r is None else len(r.ids) for r in good], pa.int64()),
            "render_trained": pa.array([0 if r is None else int(r.trained.sum()) for r in good], pa.int64()),
            "render_turns_cut": pa.array([0 if r is None else r.turns_cut for r in good], pa.int64()),
        }
        reason = pa.array([None if isinstance(row, Row) else f"render.{row.reason}" for _, row, _ in made], pa.string())
        return Outcome(with_columns(batch, columns), Verdict(reason.is_null(), reason))
