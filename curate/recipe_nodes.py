"""What a checked recipe holds: datasets, other nodes, and where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from curate.io.reader import Reader
from curate.node import Node
from curate.step import Step


@dataclass(frozen=True)
class Write:
    """The final form of a dataset."""

    format: str = "parquet"
    settings: Mapping[str, Any] = field(default_factory=dict)


KeepDropped = Literal["sample", "all", "none"]


@dataclass(frozen=True)
class DatasetNode:
    """A dataset: documents from files or from another dataset, through steps."""

    name: str
    line: int
    reader: Reader | None
    upstream: str | None  # `from:`; exactly one of both is there
    steps: tuple[Step, ...] = ()
    step_lines: tuple[int, ...] = ()
    write: Write = Write()
    keep_dropped: KeepDropped = "sample"
    max_quarantine: float = 0.001


@dataclass(frozen=True)
class SpecialNode:
    """A node of another kind: a mix, a model."""

    name: str
    line: int
    kind: str  # "mix", "train:tokenizer", ...
    node: Node


@dataclass(frozen=True)
class Recipe:
    """A checked recipe."""

    name: str
    seed: int
    path: str  # absolute
    folder: str  # absolute; where relative paths start
    nodes: dict[str, DatasetNode | SpecialNode]  # datasets and models in file order
    plugins: tuple[str, ...]  # absolute paths
    resolved: dict[str, Any]  # plain JSON with every default filled in; paths as the recipe gives them
