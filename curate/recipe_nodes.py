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
class Rounds:
    """An unrolled block of rounds that may end early. Its nodes are called NAME@ROUND, or NAME@ROUND.CONTROL."""

    n: int
    ledger: str  # the node that says so, without its round

    def awaited(self, node: str) -> str | None:
        """The ledger that must be there before a node of a round is made; None for others and for round 1."""
        _, at, rest = node.partition("@")
        number = rest.partition(".")[0]
        return f"{self.ledger}@{int(number) - 1}" if at and number.isdigit() and int(number) > 1 else None

    def ends(self, node: str) -> int | None:
        """The round after which there are no more where this node says so; None for nodes that are not asked."""
        name, _, number = node.partition("@")
        return int(number) if name == self.ledger and number.isdigit() and int(number) < self.n else None


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
    overrides: tuple[str, ...] = ()  # what `--set` said, in order
    rounds: Rounds | None = None  # where they may end early
