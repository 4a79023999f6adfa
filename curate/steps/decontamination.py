"""`decontaminate`: drop, clean or mark documents that contain items of benchmarks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator, model_validator

from curate.schema import with_columns
from curate.step import Asset, BatchFn, Context, Outcome, Step, Verdict, counted

REASON = "decontaminate.contaminated"
TOO_SHORT = "decontaminate.too_short_after_cut"
TURN_LOST = "decontaminate.turn_cut_away"
EVIDENCE_PER_DOCUMENT = 3


class Decontaminate(Step):
    """Drop, clean or mark documents that contain items of benchmark files.

    Words are runs of letters, digits and `_` in lower case, Chinese and Japanese characters one by one; so upper case,
    punctuation, white space and comment signs make no difference, code is compared by its names, keywords and numbers,
    and an n-gram of Chinese is `ngram` characters. An item matches if one of these holds:

    ngram   the document has one of its n-grams, or with `min_coverage` at least that share of its distinct n-grams
    near    in one place of the document, 1.5 times as long as the item, runs of five words or more that both have cover
            at least `near` of the item's words, and at least 8 (13 characters). This finds items with edited words.
            Runs of which every five words stand in more than 8 items do not count
    whole   an item of fewer than `ngram` words stands there word for word, and has at least `min_item_words`
    answer  a question of at least 5 words, but fewer than `min_item_words`, stands there word for word with one of its
            answers at most 30 words behind it; needs a mapping that names answers

    `method: coverage` is Tulu 3's rule (Lambert et al. 2024, section 3.2, code of open-instruct): share of an item's words
    within its 8-grams that the document has, more than half; `near` is off then unless given.

    The verdict's value is the share of the item's n-grams found (of its words by the rule near), its partner the item
    ("gsm8k_test.jsonl:17", row 17 of that file), both of the item with the largest. With `mode: annotate` they become the
    columns `contamination_item` (null where nothing was found) and `contamination_score` (0.0 there). `mode: cut` removes
    the matched places and `margin` characters around them, and drops documents of which less than `min_kept` is left; in
    chat and preference rows within the turns, and rows go where a turn of the user or an answer is left empty or a tool call matches.
    `contamination.jsonl` beside the dataset quotes matches with their surroundings in document and item.

    Which fields make an item stands in `curate/benchmarks/mappings.yaml` for well-known benchmarks (by the file's name, or
    `mapping`), in `fields`, else in `curate.steps.benchmark_items`. Chat and preference rows are checked in all turns.

    Missed: paraphrases, translations, items with an edit in every five words, items shorter than `min_item_words` without
    answers, answers alone. N-grams of numbers alone do not count. Found by mistake: common passages that a benchmark
    quotes too; raise `min_coverage` for those.

    Reads text; the result depends on the document and the benchmark files. docs/decontamination.md has measured figures.
    """

    name: ClassVar[str] = "decontaminate"
    version: ClassVar[int] = 2
    summary: ClassVar[str] = "drop, cut or mark documents that contain benchmark items (n-grams, near copies)"
    origin: ClassVar[str] = "Brown et al. 2020 (GPT-3), appendix C: 13-grams; Lambert et al. 2024 (Tulu 3): coverage; rule near: ours"
    shorthand: ClassVar[str | None] = "against"

    against: tuple[str, ...] = Field(
        min_length=1,
        description="benchmark files (.jsonl, .json, .txt, .parquet; .gz, .zst), globs, or addresses: hf://datasets/OWNER/NAME/..., s3://...",
        json_schema_extra={"path": True},
    )
    fields: tuple[str, ...] | None = Field(
        None, min_length=1, description="fields that make an item's text; default: by the mapping, else questions and prompts"
    )
    mapping: str | None = Field(None, description="named mapping of fields for all files; null: by each file's name; none: no mapping")
    method: Literal["ngram", "coverage"] = Field("ngram", description="coverage: share of an item's words (8-grams, over 0.5)")
    ngram: int = Field(13, ge=3, le=200, description="words of an n-gram (characters in Chinese and Japanese); 8 for coverage")
    near: float | None = Field(0.6, ge=0.3, le=1, description="share of an item's words in runs of 5 within one place; null: no such rule")
    min_item_words: int | None = Field(
        8, ge=3, le=200, description="items shorter than `ngram` match as a whole from this many words on; null: never"
    )
    min_coverage: float | None = Field(
        None, gt=0, le=1, description="share of an item that makes a document contaminated; null: one n-gram is enough"
    )
    mode: Literal["drop", "cut", "annotate"] = Field("drop", description="cut: remove matches; annotate: add columns and drop nothing")
    margin: int = Field(200, ge=0, le=10_000, description="cut: characters removed on both sides of a match (GPT-3: 200)")
    min_kept: int | None = Field(200, ge=1, le=1_000_000, description="cut: characters that must be left; null: keep what is left")

    @model_validator(mode="before")
    @classmethod
    def _one_or_many(cls, values: Any) -> Any:
        """Take a single file or field for a list of one; fill in what `method: coverage` means."""
        if isinstance(values, dict):
            values = {k: (v,) if k in ("against", "fields") and isinstance(v, str) else v for k, v in values.items()}
            if values.get("method") == "coverage":
                values = {"ngram": 8, "min_coverage": 0.5, "near": None} | values
        return values

    @field_validator("against")
    @classmethod
    def _named(cls, against: tuple[str, ...]) -> tuple[str, ...]:
        if not all(against):
            raise ValueError("expected names of files, got an empty one")
        return against

    @field_validator("mapping")
    @classmethod
    def _known(cls, mapping: str | None) -> str | None:
        from curate.registry import nearest
        from curate.steps.benchmark_items import mappings

        if mapping is not None and mapping != "none" and mapping not in mappings():
            raise ValueError(f"there is no mapping {mapping!r}.{nearest(mapping, list(mappings()))} Known: {', '.join(mappings())}")
        return mapping

    def adds(self) -> Mapping[str, pa.DataType]:
        """Columns of annotate mode."""
        if self.mode != "annotate":
            return {}
        return {
            "contamination_item": pa.string(),
            "contamination_score": pa.float64(),
            "decontaminate_keep": pa.bool_(),
            "decontaminate_reason": pa.string(),
        }

    def drops(self) -> tuple[str, ...]:
        """The reasons of each mode."""
        return {"drop": (REASON,), "cut": (TOO_SHORT, TURN_LOST), "annotate": ()}[self.mode]

    def files(self) -> list[str]:
        """The benchmark files, globs expanded; local ones absolute."""
        from curate.steps.benchmark_items import expand

        return [f if "://" in f else os.path.abspath(f) for f in expand(self.against)]

    def assets(self) -> tuple[Asset, ...]:
        """The benchmark files."""
        return tuple(Asset(file, "benchmark") for file in self.files())

    def facts(self) -> dict[str, Any]:
        """What was checked against: by benchmark its items, and how many are long enough to be found."""
        usable = self._benchmarks().usable()
        rule = {"method": self.method, "ngram": self.ngram, "near": self.near, "min_coverage": self.min_coverage, "mode": self.mode}
        return {"rule": rule, "checked_against": {name: {"items": items, "usable": long} for name, (items, long) in usable.items()}}

    def _least(self) -> int:
        return self.ngram if self.min_item_words is None else min(self.min_item_words, self.ngram)

    def _benchmarks(self) -> Any:
        from curate.steps.benchmark_index import Rules, open_benchmarks

        bound = self.min_coverage or 0.0
        rules = Rules(self.fields, self.mapping, self.ngram, self._least(), self.near, bound, self.method == "coverage")
        return open_benchmarks(self.files(), rules)

    def bind(self, ctx: Context) -> BatchFn:
        """Open the index of the benchmark files. Raises DataError where one is missing or has no items."""
        from curate.kernels.ngrams import match
        from curate.kernels.shingles import word_hashes
        from curate.steps.benchmark_index import check_usable

        found = self._benchmarks()
        check_usable(found, self.against, self._least())
        names = pa.array(found.names, pa.string())

        def run(batch: pa.RecordBatch) -> Outcome:
            matches = match(word_hashes(batch.column("text")), found.index)
            counts, evidence = self._account(batch, matches, found)
            keep = pa.array(~matches.passes)
            if self.mode == "cut":
                return self._cut(batch, matches, names, counts, evidence)
            item = names.take(pa.array(matches.item, mask=matches.item < 0))
            reason = pc.if_else(keep, pa.scalar(None, pa.string()), REASON)
            if self.mode == "drop":
                return Outcome(batch, _verdict(keep, reason, matches.share, item), counts, evidence)
            columns = {
                "contamination_item": item,
                "contamination_score": pa.array(matches.share),
                "decontaminate_keep": keep,
                "decontaminate_reason": reason,
            }
            return Outcome(with_columns(batch, columns), None, counts, evidence)

        return run

    def _account(self, batch: pa.RecordBatch, matches: Any, found: Any) -> tuple[dict[str, dict[str, int]] | None, list[dict[str, Any]]]:
        """Documents by source and benchmark, and rows of evidence, of matches that pass."""
        from curate.kernels.ngrams import RULES
        from curate.steps.contamination_evidence import evidence_row

        passing = np.flatnonzero(matches.rows[:, 2] > 0)
        if not len(passing):
            return None, []
        sources = batch.column("source") if "source" in batch.schema.names else pa.nulls(len(batch), pa.string())
        ids = batch.column("id") if "id" in batch.schema.names else pa.nulls(len(batch), pa.string())
        table = list(found.usable())
        number = {name: at for at, name in enumerate(table)}
        pairs: dict[tuple[int, int], None] = {}
        evidence: list[dict[str, Any]] = []
        order = passing[np.lexsort((matches.rows[passing, 1], -matches.scores[passing], matches.rows[passing, 0]))]
        shown: dict[int, int] = {}
        for at in order.tolist():
            row, item, rule, *match = matches.rows[at].tolist()
            pairs[row, number[found.benchmark(item)]] = None
            shown[row] = shown.get(row, 0) + 1
            if shown[row] <= EVIDENCE_PER_DOCUMENT:
                about = (ids[row].as_py() or "", sources[row].as_py() or "", batch.column("text")[row].as_py() or "")
                item_about = (found.names[item], found.texts[item])
                evidence.append(evidence_row(*about, *item_about, match, RULES[rule], float(matches.scores[at])))
        return counted(sources, table, pairs), evidence

    def _cut(self, batch: pa.RecordBatch, matches: Any, names: pa.Array, counts: Any, evidence: list[dict[str, Any]]) -> Outcome:
        """The batch without matched places; documents with too little left are dropped."""
        from curate.steps.contamination_evidence import cut, cut_turns, places
        from curate.steps.turns import Turns, has_turns

        turns = Turns(batch) if has_turns(batch.schema, "decontaminate") else None
        spans: dict[int, list[tuple[int, int]]] = {}
        for row, start, stop in matches.spans.tolist():
            spans.setdefault(row, []).append((start, stop))
        keep, lost = np.ones(len(batch), bool), np.zeros(len(batch), bool)
        if spans:
            texts = batch.column("text").to_pylist()
            for row, here in spans.items():
                if turns is None:
                    texts[row] = cut(texts[row], places(texts[row]), here, self.margin)
                else:
                    lost[row] = cut_turns(turns.row(row), places(texts[row]), here, self.margin)
                    texts[row] = turns.row(row).view()
                keep[row] = self.min_kept is None or len(texts[row]) >= self.min_kept
            columns = turns.columns(spans) if turns is not None else {}
            batch = with_columns(batch, {"text": pa.array(texts, pa.large_string()), **columns})
        short = pa.array(~keep)
        keep &= ~lost
        kept = pa.array(keep)
        item = names.take(pa.array(matches.item, mask=matches.item < 0))
        reason = pc.if_else(kept, pa.scalar(None, pa.string()), pc.if_else(short, TOO_SHORT, TURN_LOST))
        return Outcome(batch, _verdict(kept, reason, matches.share, item), counts, evidence)


def _verdict(keep: pa.Array, reason: pa.Array, share: npt.NDArray[np.float64], item: pa.Array) -> Verdict:
    value = pc.if_else(keep, pa.scalar(None, pa.float64()), pa.array(share))
    return Verdict(keep, reason, value, pc.if_else(keep, pa.scalar(None, pa.string()), item))
