"""Any filter or formatter of datatrove as a step."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field, model_validator

from curate.errors import StepError
from curate.schema import with_columns
from curate.step import BatchFn, Context, Outcome, Step, Verdict
from curate.steps import datatrove_classes


class Datatrove(Step):
    """Run a filter or formatter of the installed datatrove on every document.

    Reads `text`, `id`, `meta` (its keys are the document's metadata) and the columns named in `metadata`; rewrites `text`
    where the class does. As slow as datatrove is: it runs Python on each document. Take our own step where there is one.

    Only classes in datatrove's packages `filters` and `formatters` can be named; LambdaFilter (it takes code) and
    SamplerFilter (it depends on the order of documents) can't. A reason becomes `datatrove.<slug>`. What a filter
    writes into the metadata of a document (a language, a score) is the JSON column `<name>_metadata` in `mode: annotate`, and is
    not kept otherwise. Replacements that a formatter takes in turn (PIIFormatter) start anew with every document, since
    the result must not depend on how documents are divided among workers. Filters that fetch lists or models from the network do so here too.
    """

    name: ClassVar[str] = "datatrove"
    summary: ClassVar[str] = "run a filter or formatter of datatrove"
    origin: ClassVar[str] = "datatrove 0.10, datatrove.pipeline.filters and datatrove.pipeline.formatters"
    rewrites_text: ClassVar[bool] = True

    filter: str | None = Field(None, description="name of a filter class, such as GopherQualityFilter")
    formatter: str | None = Field(None, description="name of a formatter class, such as FTFYFormatter")
    settings: dict[str, Any] = Field(default_factory=dict, description="arguments of the class, by name")
    metadata: dict[str, str] = Field(
        default_factory=dict, description="more metadata for the class: key -> column, such as {language: lang_code}"
    )
    label: str = Field("datatrove", pattern=r"^[a-z][a-z0-9_]{0,60}$", description="beginning of the columns of annotate mode")
    mode: Literal["drop", "annotate"] = Field("drop", description="annotate: add columns; change no text, drop nothing")

    @model_validator(mode="after")
    def _sensible(self) -> Datatrove:
        if (self.filter is None) == (self.formatter is None):
            raise ValueError("needs either `filter` or `formatter`")
        datatrove_classes.check(self._class(), self.settings)
        return self

    def _class(self) -> type[Any]:
        if self.filter is not None:
            return datatrove_classes.find("filter", self.filter)
        return datatrove_classes.find("formatter", self.formatter or "")

    def reads(self) -> frozenset[str]:
        """Text, id, meta and the columns named."""
        return frozenset({"text", "id", "meta", *self.metadata.values()})

    def adds(self) -> Mapping[str, pa.DataType]:
        """In annotate mode decision, reason and metadata; of a formatter the text it would have made."""
        if self.mode == "drop":
            return {}
        if self.formatter is not None:
            return {f"{self.label}_text": pa.large_string()}
        return {f"{self.label}_keep": pa.bool_(), f"{self.label}_reason": pa.string(), f"{self.label}_metadata": pa.large_string()}

    def drops(self) -> tuple[str, ...]:
        """Reasons that stand in the source of the class; it may put others together as it runs."""
        if self.mode == "annotate" or self.filter is None:
            return ()
        return tuple(f"datatrove.{slug}" for slug in datatrove_classes.reasons(self._class()))

    def bind(self, ctx: Context) -> BatchFn:
        """Make the object."""
        cls = self._class()
        try:
            made = cls(**self.settings)
        except Exception as error:
            raise StepError(f"datatrove: {cls.__name__} can't be made with {self.settings}: {error}") from error
        return self._filtering(made) if self.filter is not None else self._formatting(made)

    def _filtering(self, made: Any) -> BatchFn:
        from datatrove.data import Document

        def run(batch: pa.RecordBatch) -> Outcome:
            texts, ids = batch.column("text").to_pylist(), batch.column("id").to_pylist()
            keeps: list[bool] = []
            reasons: list[str | None] = []
            after: list[dict[str, Any]] = []
            for row, (text, id_, meta) in enumerate(zip(texts, ids, self._metadata(batch), strict=True)):
                document = Document(text=text or "", id=id_ or "", metadata=dict(meta))
                answer = self._safely(made.filter, document, id_)
                keep, reason = (answer[0], answer[1]) if isinstance(answer, tuple) else (answer, None)
                keeps.append(bool(keep))
                reasons.append(None if keep else f"datatrove.{datatrove_classes.slug('dropped' if reason is None else reason)}")
                after.append({k: v for k, v in document.metadata.items() if k not in meta or meta[k] != v})
                if keep and document.text != (text or ""):
                    texts[row] = document.text
            verdict = Verdict(pa.array(keeps, pa.bool_()), pa.array(reasons, pa.string()))
            if self.mode == "drop":
                return Outcome(_with_text(batch, texts), verdict)
            columns = (
                verdict.keep,
                verdict.reason,
                pa.array([json.dumps(a, ensure_ascii=False, default=str) for a in after], pa.large_string()),
            )
            return Outcome(with_columns(batch, dict(zip(self.adds(), columns, strict=True))))

        return run

    def _formatting(self, made: Any) -> BatchFn:
        turns = [value for value in vars(made).values() if hasattr(value, "_replace_i")]

        def run(batch: pa.RecordBatch) -> Outcome:
            texts: list[str | None] = []
            for text, id_ in zip(batch.column("text").to_pylist(), batch.column("id").to_pylist(), strict=True):
                for turn in turns:
                    turn._replace_i = 0
                texts.append(text if not text else self._safely(made.format, text, id_))
            if self.mode == "drop":
                return Outcome(_with_text(batch, texts))
            return Outcome(with_columns(batch, {f"{self.label}_text": pa.array(texts, pa.large_string())}))

        return run

    def _safely(self, function: Callable[[Any], Any], given: Any, id_: str | None) -> Any:
        try:
            return function(given)
        except Exception as error:
            name = self.filter or self.formatter
            raise StepError(f"datatrove: {name} failed on document {id_!r}: {type(error).__name__}: {error}") from error

    def _metadata(self, batch: pa.RecordBatch) -> list[dict[str, Any]]:
        """The metadata of every document: its `meta`, and the columns named."""
        found = [_object(meta) for meta in batch.column("meta").to_pylist()]
        for key, column in self.metadata.items():
            for meta, value in zip(found, batch.column(column).to_pylist(), strict=True):
                if value is not None:
                    meta[key] = value
        return found


def _object(meta: str | None) -> dict[str, Any]:
    try:
        found = json.loads(meta or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _with_text(batch: pa.RecordBatch, texts: list[str | None]) -> pa.RecordBatch:
    """The batch with these texts. A lone half of a surrogate pair, which is no UTF-8, becomes U+FFFD."""
    safe = [t if t is None or t.isascii() else t.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for t in texts]
    return with_columns(batch, {"text": pa.array(safe, pa.large_string())})
