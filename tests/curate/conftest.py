"""A small registry of stand-ins, so that tests of the recipe say nothing about real steps."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Annotated, Any, ClassVar, Literal

import pyarrow as pa
import pytest
from pydantic import BeforeValidator, Field

from curate import plugins, registry
from curate.io.reader import Reader
from curate.node import Node
from curate.step import Asset, CorpusStep, Step


class Clean(Step):
    """Tidy text.

    Says more here.
    """

    name: ClassVar[str] = "clean"


class Language(Step):
    name: ClassVar[str] = "language"
    summary: ClassVar[str] = "keep documents of some languages"
    origin: ClassVar[str] = "a paper"
    shorthand: ClassVar[str | None] = "keep"
    keep: tuple[str, ...] = Field((), description="codes")
    min_score: float | None = Field(0.65, gt=0, le=1, description="score that survives")
    mode: Literal["drop", "annotate"] = "drop"

    def adds(self) -> Mapping[str, pa.DataType]:
        return {"lang_code": pa.string(), "lang_score": pa.float64()} if self.mode == "annotate" else {}

    def drops(self) -> tuple[str, ...]:
        return ("language.low_score",)


class Filter(Step):
    name: ClassVar[str] = "filter"
    shorthand: ClassVar[str | None] = "expression"
    expression: str = Field(min_length=1, description="SQL")

    def reads(self) -> frozenset[str]:
        return frozenset({self.expression.split()[0]})


class Dedup(CorpusStep):
    name: ClassVar[str] = "dedup_minhash"
    bands: int = Field(14, ge=1, le=256, description="bands of the signature")


class Decontaminate(Step):
    name: ClassVar[str] = "decontaminate"
    shorthand: ClassVar[str | None] = "against"
    against: tuple[str, ...] = Field(description="benchmarks", json_schema_extra={"path": True})

    def assets(self) -> tuple[Asset, ...]:
        return tuple(Asset(path, "benchmark") for path in self.against)


class Tokenize(Step):
    name: ClassVar[str] = "tokenize"
    shorthand: ClassVar[str | None] = "tokenizer"
    tokenizer: str = Field(description="node, file or name", json_schema_extra={"path": "optional"})

    def adds(self) -> Mapping[str, pa.DataType]:
        return {"tokens": pa.large_list(pa.uint16())}

    def removes(self) -> frozenset[str]:
        return frozenset({"text"})

    def models(self) -> tuple[str, ...]:
        return (self.tokenizer,)


class JsonlReader(Reader):
    name: ClassVar[str] = "jsonl"


class TextReader(Reader):
    name: ClassVar[str] = "text"


class DocsReader(Reader):
    name: ClassVar[str] = "installed_docs"
    paths: tuple[str, ...] = ()
    max_mb: int = Field(20, ge=1)


def _count(value: Any) -> Any:
    return int(value[:-1]) * 10**6 if isinstance(value, str) and value.endswith("M") else value


class MixStage(Node):
    kind: ClassVar[str] = "stage"
    tokens: Annotated[int, BeforeValidator(_count)] = Field(gt=0, description="length")
    weights: dict[str, float] = Field(description="dataset -> share")


class Mix(Node):
    kind: ClassVar[str] = "mix"
    stages: tuple[MixStage, ...]

    def inputs(self) -> tuple[str, ...]:
        return tuple(name for stage in self.stages for name in stage.weights)


class Tokenizer(Node):
    kind: ClassVar[str] = "train:tokenizer"
    is_model: ClassVar[bool] = True
    data: str
    vocab_size: int = Field(32000, ge=256)

    def inputs(self) -> tuple[str, ...]:
        return (self.data,)


STEPS = (Clean, Language, Filter, Dedup, Decontaminate, Tokenize)
READERS = (JsonlReader, TextReader, DocsReader)
NODES = (Mix, Tokenizer)


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace all registered steps, readers and nodes by the classes above."""
    module: Any = ModuleType("curate_stand_ins")
    tables: dict[str, dict[str, str]] = {"steps": {}, "readers": {}, "nodes": {}, "writers": dict(registry.WRITERS), "executors": {}}
    named = [("steps", s, s.name) for s in STEPS] + [("readers", r, r.name) for r in READERS] + [("nodes", n, n.kind) for n in NODES]
    for table, cls, name in named:
        setattr(module, cls.__name__, cls)
        tables[table][name] = f"curate_stand_ins:{cls.__name__}"
    monkeypatch.setitem(sys.modules, "curate_stand_ins", module)
    monkeypatch.setattr(registry, "table", lambda kind: tables[kind])
    monkeypatch.setattr(registry, "_plugins", {})
    monkeypatch.setattr(plugins, "_loaded", {})
