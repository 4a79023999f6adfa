"""`decontaminate`: drop or mark documents that contain items of benchmarks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator, model_validator

from curate.schema import with_columns
from curate.step import Asset, BatchFn, Context, Outcome, Step, Verdict

REASON = "decontaminate.contaminated"


class Decontaminate(Step):
    """Drop documents that share word n-grams with the items of benchmark files.

    Words are runs of letters, digits and `_` in lower case, Chinese and Japanese characters one by one; so upper case,
    punctuation and white space make no difference, and an n-gram of Chinese is `ngram` characters. An item matches if the
    document has one of its n-grams, or with `min_coverage` at least that share of its distinct n-grams. An item of fewer
    than `ngram` words matches only as a whole, and only if it has at least `min_item_words`.

    The verdict's value is the share of the item's n-grams found, its partner the item ("gsm8k_test.jsonl:17", row 17 of
    that file), both of the item with the largest share. With `mode: annotate` they become the columns
    `contamination_item` (null where nothing was found) and `contamination_score` (0.0 there).

    Which fields make an item, if `fields` does not say, stands in `curate.steps.benchmark_items`: questions and prompts.

    Missed: paraphrases, translations, items with a change in every n-gram, items shorter than `min_item_words`, answers
    alone. N-grams of numbers alone do not count. Found by mistake: common passages that a benchmark quotes too; raise `min_coverage` for those.

    Reads text; the result depends on the document and the benchmark files. About 150 MB/s per core.
    """

    name: ClassVar[str] = "decontaminate"
    summary: ClassVar[str] = "drop or mark documents that contain benchmark items (word n-grams)"
    origin: ClassVar[str] = "Brown et al. 2020 (GPT-3), appendix C: 13-grams; here any file of items and a share of n-grams"
    shorthand: ClassVar[str | None] = "against"

    against: tuple[str, ...] = Field(
        min_length=1, description="benchmark files (.jsonl, .json, .txt, .parquet; .gz, .zst) or globs", json_schema_extra={"path": True}
    )
    fields: tuple[str, ...] | None = Field(
        None, min_length=1, description="fields that make an item's text; default: questions and prompts"
    )
    ngram: int = Field(13, ge=3, le=200, description="words of an n-gram (characters in Chinese and Japanese)")
    min_item_words: int | None = Field(
        8, ge=3, le=200, description="items shorter than `ngram` match as a whole from this many words on; null: never"
    )
    min_coverage: float | None = Field(
        None, gt=0, le=1, description="share of an item's n-grams that makes a document contaminated; null: one n-gram is enough"
    )
    mode: Literal["drop", "annotate"] = Field("drop", description="annotate: add columns and drop nothing")

    @model_validator(mode="before")
    @classmethod
    def _one_or_many(cls, values: Any) -> Any:
        """Take a single file or field for a list of one."""
        if isinstance(values, dict):
            values = {k: (v,) if k in ("against", "fields") and isinstance(v, str) else v for k, v in values.items()}
        return values

    @field_validator("against")
    @classmethod
    def _named(cls, against: tuple[str, ...]) -> tuple[str, ...]:
        if not all(against):
            raise ValueError("expected names of files, got an empty one")
        return against

    def adds(self) -> Mapping[str, pa.DataType]:
        """Columns of annotate mode."""
        if self.mode == "drop":
            return {}
        return {
            "contamination_item": pa.string(),
            "contamination_score": pa.float64(),
            "decontaminate_keep": pa.bool_(),
            "decontaminate_reason": pa.string(),
        }

    def drops(self) -> tuple[str, ...]:
        """The one reason."""
        return (REASON,) if self.mode == "drop" else ()

    def assets(self) -> tuple[Asset, ...]:
        """The benchmark files, globs expanded."""
        from curate.steps.benchmark_items import expand

        return tuple(Asset(os.path.abspath(file), "benchmark") for file in expand(self.against))

    def bind(self, ctx: Context) -> BatchFn:
        """Read the benchmark files and index them. Raises DataError where one is missing or has no items."""
        from curate.errors import DataError
        from curate.kernels.ngrams import build, match
        from curate.kernels.shingles import word_hashes
        from curate.steps.benchmark_items import expand, read_items

        items = list(read_items(expand(self.against), self.fields))
        least = self.ngram if self.min_item_words is None else min(self.min_item_words, self.ngram)
        index = build(word_hashes(pa.array([i.text for i in items], pa.large_string())), self.ngram, least)
        if not (index.sizes > 0).any():
            raise DataError(
                f"decontaminate: the benchmark files {list(self.against)} have {len(items)} items, none of at least {least} words. "
                "Check `fields`, or lower `min_item_words`."
            )
        names = pa.array([i.name for i in items], pa.string())
        bound = self.min_coverage or 0.0

        def run(batch: pa.RecordBatch) -> Outcome:
            found = match(word_hashes(batch.column("text")), index)
            any_found = found.item >= 0
            item = names.take(pa.array(found.item, mask=~any_found))
            keep = pa.array(~(any_found & (found.share >= bound)))
            reason = pc.if_else(keep, pa.scalar(None, pa.string()), REASON)
            if self.mode == "drop":
                gone = pa.scalar(None, pa.float64())
                value = pc.if_else(keep, gone, pa.array(found.share))
                partner = pc.if_else(keep, pa.scalar(None, pa.string()), item)
                return Outcome(batch, Verdict(keep, reason, value, partner))
            columns = {
                "contamination_item": item,
                "contamination_score": pa.array(found.share),
                "decontaminate_keep": keep,
                "decontaminate_reason": reason,
            }
            return Outcome(with_columns(batch, columns))

        return run
