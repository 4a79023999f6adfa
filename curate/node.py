"""Nodes that are not plain datasets: a mix, a trained tokenizer, later a trained model.

A node is one task that reads finished datasets or models whole and writes a folder. `formats` and `train` add kinds
through the entry point group `curate.nodes`: "train:NAME" for the models of a recipe, any other key beside `read` and
`from` for its datasets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from curate.errors import MissingDependency
from curate.step import Asset, Context

Progress = Callable[[float, str], None]  # share done in [0, 1], what is going on


@dataclass(frozen=True)
class NodeInput:
    """A finished dataset or model that a node reads."""

    name: str
    folder: str
    parts: tuple[str, ...]  # absolute paths of its data files, in order
    digest: str  # of all its bytes
    rows: int = 0
    tokens: int = 0
    bytes: int = 0  # of text, UTF-8


@dataclass(frozen=True)
class NodeResult:
    """What a node made, beside the files it wrote: figures for the manifest."""

    rows_out: int = 0
    tokens: int = 0
    info: Mapping[str, Any] = field(default_factory=dict)  # JSON; deterministic


class Node(BaseModel):
    """Base of node kinds. Fields are the keys of the node in the recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    kind: ClassVar[str]
    version: ClassVar[int] = 1
    summary: ClassVar[str] = ""
    is_model: ClassVar[bool] = False
    adds: ClassVar[tuple[str, ...] | None] = None  # to the columns of its first input, where `part-*.parquet` are documents for `from:`
    packages: ClassVar[tuple[str, ...]] = ()  # that `run` imports and a base install lacks; looked for before a recipe starts
    extra: ClassVar[str] = ""  # of curate's, that brings them

    def check_packages(self, needed_by: str) -> None:
        """Raise MissingDependency for what `run` would miss. Imports nothing."""
        MissingDependency.check(self.packages, self.extra, needed_by)

    def inputs(self) -> tuple[str, ...]:
        """Names of the recipe's nodes that it reads."""
        raise NotImplementedError

    def documents(self) -> tuple[str, ...]:
        """Of those, the datasets that it reads row by row: they must have the columns it needs."""
        return self.inputs()

    def for_sample(self) -> Node:
        """The node as a run over a sample has it: what needs all of the data must do with less."""
        return self

    def assets(self) -> tuple[Asset, ...]:
        """Files whose content decides the result."""
        return ()

    def forecast(self, inputs: Mapping[str, NodeInput], exact: bool) -> list[str]:
        """Lines for `curate plan`: what is feasible. `exact` is False where the inputs are estimates.

        Raises RecipeError for what can never be.
        """
        return []

    def run(self, inputs: Mapping[str, NodeInput], out: Path, ctx: Context, progress: Progress) -> NodeResult:
        """Write the node's files below `out` (exists, empty). Same bytes for the same inputs."""
        raise NotImplementedError
