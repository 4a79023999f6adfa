"""What a step is: a frozen record of settings that can be bound to a worker.

A step says which columns it reads and adds, which files its result depends on, and its version; `bind` loads what it
needs, once per process, and returns the function that is called on every batch. Nothing here knows who executes it.

Three kinds differ in what they may do to rows:

    Step          looks at one batch at a time; keeps every row (a map) or returns a Verdict on each (a filter)
    CorpusStep    needs to see other documents: declares phases with a shuffle between them

A bound function gets a RecordBatch and returns an Outcome: the batch with the same rows in the same order, and perhaps
a Verdict. The engine applies verdicts, counts them and writes the ledger; steps never drop a row themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field


class Measured(NamedTuple):
    """The number behind one drop reason, for the distributions that `curate report` draws."""

    reason: str
    numbers: npt.NDArray[np.float64]  # f64[n]; NaN for documents that have none or were dropped by an earlier reason
    at_least: float | None  # what survives; None: no bound on this side
    at_most: float | None


class Verdict(NamedTuple):
    """What a filter decided about each of n rows."""

    keep: pa.BooleanArray  # n, no nulls; True: the document survives
    reason: pa.StringArray  # n, "namespace.slug" where dropped, null where kept
    value: pa.DoubleArray | None = None  # n, the number that crossed the bound; null where there is none
    partner: pa.StringArray | None = None  # n, id of the kept document that replaces this one (dedup)
    measured: Sequence[Measured] = ()  # of all n rows, kept ones too; in the order in which the reasons are tested


class Expanded(NamedTuple):
    """What a batch becomes where a row can turn into several (selected answers of a pool, pairs of a prompt)."""

    batch: pa.RecordBatch  # the new rows; `_row` is set by the engine
    parents: (
        pa.Int64Array
    )  # for each of them the row of the given batch it comes from, ascending; every kept row at least once, no dropped one


class Outcome(NamedTuple):
    """What a step returns for a batch: the batch (same rows, same order), from filters a verdict, perhaps figures.

    counts: whole numbers of this batch's documents, by source and then by a name of the step's own: `{"web": {"email": 3}}`.
    The ledger sums them; they stand in receipts and in the manifest's funnel beside the step. `counted` makes them.
    evidence: rows of `contamination.jsonl`, each with `item`; the ledger keeps the first few of an item in a task.
    unreadable: rows of the batch that the step could not process, with what is wrong ("timeout: ..."): they are quarantined
    like rows that a reader can't read, count for `max_quarantine`, and go no further. A verdict on them is not looked at.
    expanded: takes the place of `batch` (which stays as it was given) after the verdict; a step sets it for all batches or for none.
    The ledger books the rows above one for each kept row as created.
    """

    batch: pa.RecordBatch
    verdict: Verdict | None = None
    counts: Mapping[str, Mapping[str, int]] | None = None
    evidence: Sequence[Mapping[str, Any]] = ()
    unreadable: Mapping[int, str] = MappingProxyType({})
    expanded: Expanded | None = None


def counted(sources: pa.Array, names: Sequence[str], figures: Iterable[tuple[int, int]]) -> dict[str, dict[str, int]]:
    """Make `Outcome.counts` of (row, index into `names`) pairs, one for each thing counted, in order of rows.

    sources: the batch's column of that name; a null counts under ''.
    """
    found: dict[str, dict[str, int]] = {}
    row, inner = -1, {}
    for at, name in figures:
        if at != row:
            row, inner = at, found.setdefault(sources[at].as_py() or "", {})
        inner[names[name]] = inner.get(names[name], 0) + 1
    return found


class Signal(NamedTuple):
    """A number that a step adds in annotate mode, and the setting that bounds it."""

    column: str
    setting: str  # its field; None there is no bound
    survives: Literal["at_least", "at_most"]  # which side of the bound, the bound included


BatchFn = Callable[[pa.RecordBatch], Outcome]


@dataclass(frozen=True)
class Asset:
    """A file that a step's result depends on; its content digest is part of the stage key."""

    uri: str  # absolute path, or fsspec URL
    role: str = "file"  # shown in messages: "benchmark", "word list", "model"


class Context(Protocol):
    """What a worker lends to a step when it binds it."""

    seed: int

    def words(self, text: pa.LargeStringArray, split: str) -> Any:
        """Words of every document (`curate.kernels.words.Words`), computed once per batch and shared by steps."""
        ...

    def model(self, name: str) -> str | None:
        """Folder of the recipe's model node of that name, or None where there is no such node."""
        ...

    def kept(self, name: str) -> Path:
        """Folder of the run that outlives its stages, for what is dear to make again (answers of a model). Made by whoever writes to it."""
        ...

    def say(self, share: float, text: str) -> None:
        """Tell what goes on in a task that is no stream of documents. share: of it done, in [0, 1]."""
        ...


@dataclass(frozen=True)
class Incoming:
    """What will reach a step, as far as it is known before a run."""

    rows: int
    bytes: int  # of text or of input files, UTF-8
    exact: bool  # False: estimated from the first documents of the input
    kept: Path | None = None  # parent of `Context.kept`


class Step(BaseModel):
    """Base of all steps. Fields are the recipe's keys; class variables are what the engine needs to know."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    name: ClassVar[str]
    version: ClassVar[int] = 1  # bump when output bytes may change
    summary: ClassVar[str] = ""  # one line for `curate steps`
    origin: ClassVar[str] = ""  # paper and section, or tool and version
    shorthand: ClassVar[str | None] = None  # the field that `- name: value` sets
    own_models: ClassVar[bool] = False  # names in `models()` are nodes of the recipe and nothing else: others are mistakes

    checkpoint: bool = Field(False, description="end the stage after this step, so that edits of later steps don't repeat it")

    def reads(self) -> frozenset[str]:
        """Columns that must exist before this step."""
        return frozenset({"text"})

    def adds(self) -> Mapping[str, pa.DataType]:
        """Columns that exist after it, with their types."""
        return {}

    def removes(self) -> frozenset[str]:
        """Columns that are gone after it."""
        return frozenset()

    def drops(self) -> tuple[str, ...]:
        """Every drop reason it can give, in the order they are tested; () for a map."""
        return ()

    def signals(self) -> tuple[Signal, ...]:
        """Numbers that `mode: annotate` adds and a setting bounds, in the order they are tested; what `curate tune` shows."""
        return ()

    def assets(self) -> tuple[Asset, ...]:
        """Files whose content decides the result."""
        return ()

    def facts(self) -> dict[str, Any]:
        """What the manifest says of the step beside its figures, from its settings and files: what was checked against."""
        return {}

    def models(self) -> tuple[str, ...]:
        """Names that may be model nodes of the recipe (a tokenizer, a classifier)."""
        return ()

    def forecast(self, incoming: Incoming, seed: int) -> list[str]:
        """Lines for `curate plan`: what the step will cost in more than time."""
        return []

    def bind(self, ctx: Context) -> BatchFn:
        """Load models and tables, once per process, and return the batch function."""
        raise NotImplementedError


@dataclass(frozen=True)
class Phase:
    """One leg of a corpus step: what a call sees, what it may read beside it, where its records go.

    `over`  documents: called with each batch of documents (with `_row`) of one task, and returns records;
            partition: called once with all records whose key falls into one partition;
            everything: called once with all records.
    `to`    key: records are shuffled by the unsigned 64-bit column `key`; the next phase sees partitions of it;
            everything: the next phase is called once with all of them;
            documents: records (with `_row`) travel back to the documents they name.
    `reads` names of earlier phases with `to="documents"` whose records a documents phase gets beside each batch:
            side[name] has the rows of this task only, sorted by `_row`.
    Columns of its records: `schema` (the key among them, and `_row` where to="documents").
    """

    name: str
    over: Literal["documents", "partition", "everything"]
    to: Literal["key", "everything", "documents"]
    schema: pa.Schema
    key: str | None = None
    reads: tuple[str, ...] = ()
    columns: frozenset[str] = field(default_factory=lambda: frozenset({"text"}))  # what a documents phase needs
    note: str = ""  # what `curate plan` says beside it
    whole_machine: bool = False  # over everything: its one task may use all cores (a model that runs in it)


DocumentsFn = Callable[[pa.RecordBatch, Mapping[str, pa.Table]], pa.Table]
RecordsFn = Callable[[pa.Table], pa.Table | Iterator[pa.Table]]  # an iterator where the result would not fit into memory


class Outside(Protocol):
    """Something that a corpus step reads and extends outside of the run, in versions: an index."""

    @property
    def root(self) -> str:
        """Where it lies."""
        ...

    @property
    def made_for(self) -> dict[str, Any]:
        """What steps that share it must agree on."""
        ...

    def hold(self) -> AbstractContextManager[None]:
        """Keep other runs out while this one goes on."""
        ...

    def pinned(self, sent: str, source: str) -> dict[str, Any]:
        """Settings that fix what is read. sent: digest of what the step's first phase made; source: of the dataset's input files."""
        ...

    def finish(self, sent: str, source: str, files: Mapping[str, list[Path]], say: Callable[[str], None]) -> None:
        """Add what the run made, once. files: the record files of each phase, in task order; say: tells people of what takes long."""
        ...


class CorpusStep(Step):
    """A step whose decision on a document depends on other documents.

    The last phase has `to="documents"` (or the one that `decides` names). Its records name rows by `_row`; `apply` turns them into an Outcome: a row
    named with a `reason` is dropped (`value`, `partner` beside it), other columns are new columns of the document.
    Text is never copied between phases: only hashes, rows, ids and verdicts travel.
    """

    def phases(self) -> tuple[Phase, ...]:
        """The legs, in order; () where the settings need no other document: then it is bound like any other step."""
        raise NotImplementedError

    def bind_phase(self, phase: str, ctx: Context) -> DocumentsFn | RecordsFn:
        """Return the function of that phase: DocumentsFn where it is over documents, RecordsFn otherwise."""
        raise NotImplementedError

    def decides(self) -> str:
        """Name of the phase whose records are verdicts: the last one."""
        return self.phases()[-1].name

    def outside(self) -> Outside | None:
        """What it reads and extends outside of the run; None: nothing."""
        return None

    def findings(self, figures: Mapping[str, int]) -> dict[str, Any]:
        """What the manifest says of the step, from the figures that its phases reported (`curate.figures`), summed.

        `warnings`, a list of sentences, is shown at the end of a run.
        """
        return dict(sorted(figures.items()))

    def sources(self) -> tuple[str, ...]:
        """Sources that the settings name; a run warns of those that no document has."""
        return ()

    def apply(self, batch: pa.RecordBatch, delivered: pa.Table) -> Outcome:
        """Turn the last phase's records for these rows into an Outcome.

        delivered: one row per row of `batch`, in its order, with the last phase's columns; all null where the phase
        said nothing about a row. By default `reason`, `value`, `partner` make the verdict.
        """
        reason = delivered.column("reason").combine_chunks()
        value = delivered.column("value").combine_chunks() if "value" in delivered.column_names else None
        partner = delivered.column("partner").combine_chunks() if "partner" in delivered.column_names else None
        verdict = Verdict(reason.is_null(), reason, value, partner)
        return Outcome(batch, verdict, _by_source(batch, verdict) if partner is not None else None)


def _by_source(batch: pa.RecordBatch, verdict: Verdict) -> dict[str, dict[str, int]] | None:
    """Documents and removed ones of every source: for the share of each source that duplicates took."""
    if "source" not in batch.schema.names:
        return None
    sources = batch.column("source").fill_null("")
    found: dict[str, dict[str, int]] = {}
    for name, values in (("documents", sources), ("removed", sources.filter(verdict.reason.is_valid()))):
        for entry in values.value_counts().to_pylist():
            found.setdefault(entry["values"], {})[name] = entry["counts"]
    return found
