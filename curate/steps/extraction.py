"""From the HTML of a page to its main text.

The engines are Trafilatura (Barbaresi 2021, ACL demo; the best F1 on public benchmarks) and Resiliparse (Bevendorff et al.
2018, ECIR; an order of magnitude faster, the extractor of DCLM). They run in a process of their own, where every
document has its own limits of CPU time and memory: a page that breaks them is quarantined and the next ones go on.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from typing import ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from curate.errors import MissingDependency
from curate.kernels.strings import joined
from curate.schema import with_columns
from curate.step import BatchFn, Context, Outcome, Step, Verdict
from curate.steps.guarded_calls import Failure, GuardedCalls

EMPTY = "extract.no_text"
METADATA = ("title", "author", "date", "site", "language")


class Extract(Step):
    """Replace the HTML in `text` by the page's main text; drop pages without any.

    Adds extract_title, extract_author, extract_date (YYYY-MM-DD as the page has it), extract_site and extract_language
    (strings, null where the page does not tell) unless `metadata` is `none`. The result depends on the document and the
    engine's version alone. A document that takes more than `max_seconds` of CPU or `max_memory_mb`, or crashes the
    engine, is quarantined ("timeout: ...", "memory: ...", "crash: ...", "failed: ..."; engines tell a lack of memory in all three of the last ways). About 2 MB of HTML per second and core with
    Trafilatura, 30 with Resiliparse. Misses: text that scripts would fetch, frames, text in pictures; Resiliparse 2 leaves out most
    unordered lists.
    """

    name: ClassVar[str] = "extract"
    summary: ClassVar[str] = "HTML to the main text of the page"
    origin: ClassVar[str] = "trafilatura 2 extract; resiliparse extract_plain_text"
    shorthand: ClassVar[str | None] = "engine"

    engine: Literal["trafilatura", "resiliparse"] = Field("trafilatura", description="who finds the main text")
    favor: Literal["balanced", "precision", "recall"] = Field(
        "balanced", description="precision: less boilerplate, some text lost; recall: the other way round"
    )
    format: Literal["text", "markdown"] = Field(
        "text", description="markdown: headings, lists, tables, code blocks and emphasis as Markdown (trafilatura only)"
    )
    tables: bool = Field(True, description="keep the text of tables")
    comments: bool = Field(False, description="keep readers' comments")
    links: bool = Field(False, description="keep link targets beside the link's text")
    fast: bool = Field(False, description="trafilatura: no second opinion by other algorithms; about twice as fast, a little worse")
    metadata: Literal["page", "full", "none"] = Field(
        "page",
        description="columns with title, author, date, site and language: page, as its tags say; full, as trafilatura finds them in the text too "
        "(twice the time); none",
    )
    empty: Literal["drop", "keep"] = Field("drop", description="what becomes of pages in which no text was found")
    max_seconds: float = Field(10.0, gt=0, le=3600, description="CPU seconds a page may take before it is quarantined")
    max_memory_mb: int = Field(1024, ge=64, le=1 << 20, description="MiB of memory a page may take before it is quarantined")

    @model_validator(mode="after")
    def _fits_the_engine(self) -> Self:
        if self.engine == "resiliparse" and self.format == "markdown":
            raise ValueError("format: markdown needs engine: trafilatura; resiliparse writes plain text")
        for setting, given in (("fast: true", self.fast), ("metadata: full", self.metadata == "full")):
            if self.engine == "resiliparse" and given:
                raise ValueError(f"{setting} needs engine: trafilatura")
        return self

    def adds(self) -> Mapping[str, pa.DataType]:
        """Columns with what the page says of itself."""
        return {f"extract_{name}": pa.string() for name in METADATA} if self.metadata != "none" else {}

    def drops(self) -> tuple[str, ...]:
        """Pages without text."""
        return (EMPTY,) if self.empty == "drop" else ()

    def bind(self, ctx: Context) -> BatchFn:
        """Get the engine's process ready; it starts with the first document. Raises MissingDependency."""
        for package in (self.engine, "lxml"):
            if importlib.util.find_spec(package) is None:
                raise MissingDependency.extra(package, "html", "step 'extract'")
        names = ("favor", "tables", "comments", "links", "fast", "metadata")
        arguments = {name: getattr(self, name) for name in names} | {"form": self.format}
        engine = f"curate.steps.extraction_engines:{self.engine}"
        calls = GuardedCalls(engine, arguments, self.max_seconds, self.max_memory_mb << 20)
        return lambda batch: self._extracted(batch, calls)

    def _extracted(self, batch: pa.RecordBatch, calls: GuardedCalls) -> Outcome:
        pages = _pages(batch.column("text").cast(pa.large_binary()))
        full = [row for row, page in enumerate(pages) if page]
        texts: list[bytes] = [b""] * len(pages)
        said: list[dict[str, str]] = [{}] * len(pages)
        unreadable: dict[int, str] = {}
        for row, answer in zip(full, calls([pages[row] for row in full]), strict=True):
            if isinstance(answer, Failure):
                unreadable[row] = f"extract {answer.error}"
            else:
                line, _, texts[row] = answer.partition(b"\n")
                said[row] = json.loads(line) if line else {}
        columns = {"text": joined(texts)}
        columns["text"].validate(full=True)
        columns |= {column: pa.array([page.get(column[8:]) for page in said], pa.string()) for column in self.adds()}
        verdict = None
        if self.empty == "drop":
            keep = np.array([bool(text) for text in texts], bool)
            verdict = Verdict(pa.array(keep), pa.array([None if k else EMPTY for k in keep], pa.string()))
        return Outcome(with_columns(batch, columns), verdict, unreadable=unreadable)


def _pages(texts: pa.LargeBinaryArray) -> list[memoryview]:
    """Texts where they lie, without a copy; null as an empty one."""
    _, offsets, data = texts.buffers()
    if data is None:
        return [memoryview(b"")] * len(texts)
    bounds = np.frombuffer(offsets, np.int64, len(texts) + 1, texts.offset * 8).tolist()
    view, there = memoryview(data), texts.is_valid().to_pylist()
    return [view[start:stop] if full else view[:0] for start, stop, full in zip(bounds, bounds[1:], there, strict=False)]
