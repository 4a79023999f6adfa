"""What a mix trains on of each dataset: documents held out, repeated, split by a column; then cut or packed into windows.

Every token is accounted for, source by source:

    tokens + repeated = in_windows + tail + cropped + dropped + held_out
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, model_validator

from curate.errors import DataError, StepError
from curate.mix_schedule import TokenCount
from curate.mix_windows import BestFit, Concat, IndexWriter
from curate.steps.sampling import draws
from curate.tokens.mapped import TokenShard

I64 = npt.NDArray[np.int64]
MAX_GROUPS = 1000
MAX_REPEATS = 1000
WAITING_PIECES = 1 << 23  # in all packers together
Weight = Annotated[float, Field(ge=0, le=MAX_REPEATS)]


class Settings(BaseModel):
    """Base of a mix's inner settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class HeldOut(Settings):
    """Validation data: never trained on."""

    share: float = Field(gt=0, lt=1, description="about this share of the documents, or of the windows, of each dataset")
    by: Literal["documents", "windows"] = Field(
        default="documents", description="documents: whole ones, by a hash of `key`; windows: a document may have windows on both sides"
    )
    key: str = Field(default="id", min_length=1, description="column whose hash decides: documents with one value stay together")


class Repeat(Settings):
    """How often documents are seen in one epoch of their source."""

    column: str = Field(
        min_length=1, description="column with the number of times; of 2.3, a seeded three in ten documents come a third time"
    )
    table: dict[float, Weight] | None = Field(
        default=None, min_length=1, description="times from each value of the column on, such as {2: 1, 3.5: 4}; below the first: 0"
    )


class Split(Settings):
    """One dataset as a source for each value of a column, such as languages."""

    column: str = Field(min_length=1, description="column of the token dataset, such as lang_code")
    temperature: float | None = Field(
        default=None, ge=1, le=1e6, description="shares of the dataset's tokens: size ** (1 / temperature); 1 keeps the sizes"
    )
    weights: dict[str, Annotated[float, Field(gt=0, le=1e9)]] | None = Field(
        default=None, min_length=1, max_length=MAX_GROUPS, description="or these weights; values that are not named are not trained on"
    )

    min_tokens: TokenCount = Field(
        default=0, ge=0, le=10**15, description="values with fewer tokens are not trained on, such as the few documents of a wrong language"
    )

    @model_validator(mode="after")
    def _one(self) -> Split:
        if (self.temperature is None) == (self.weights is None):
            raise ValueError("must have either temperature or weights")
        return self


class Choice(Settings):
    """All that decides what is trained on of one dataset."""

    seq_len: int
    packing: Literal["concat", "best_fit"]
    over_long: Literal["split", "crop", "drop"]
    held_out: HeldOut | None
    repeat: Repeat | None
    split: Split | None
    seed: int

    @property
    def plain(self) -> bool:
        """Whether the windows are the whole stream cut up, so that no index is needed."""
        by_documents = self.held_out is not None and self.held_out.by == "documents"
        return self.packing == "concat" and not by_documents and self.repeat is None and self.split is None


def survey(dataset: str, shards: Sequence[TokenShard], choice: Choice, out: Path, first: int, report: Callable[[float], None]) -> list[dict[str, Any]]:  # fmt: skip
    """Sources of a dataset, as mix.json has them but for what the plan decides; their window indexes are written to `out`.

    first: number for the first index written
    """
    if choice.plain:
        tokens = sum(shard.tokens for shard in shards)
        ledger = _ledger(tokens, tokens - tokens % choice.seq_len, tail=tokens % choice.seq_len)
        rows = sum(shard.rows_before(shard.batches) for shard in shards)
        return [_entry(dataset, dataset, rows, tokens // choice.seq_len, None, None, ledger, choice)]
    groups: dict[str | None, _Group] = {}
    total = max(1, sum(shard.tokens for shard in shards))
    for at, size, batch in documents(shards):
        report(int(at[0]) / total if len(at) else 0.0)
        for value, chosen in _split(choice.split, batch, dataset):
            if value not in groups:
                groups[value] = _Group(choice, out, first + len(groups))
            if chosen is None:
                groups[value].add(at, size, batch, dataset)
            else:
                groups[value].add(at[chosen], size[chosen], batch.take(pa.array(chosen)), dataset)
        while sum(g.waiting for g in groups.values()) > WAITING_PIECES:
            max(groups.values(), key=lambda g: g.waiting).flush()
    entries = []
    for value in sorted(groups, key=str):
        name = dataset if value is None else f"{dataset}/{value}"
        entries.append(groups[value].entry(dataset, name))
    return entries


def documents(shards: Sequence[TokenShard]) -> Iterator[tuple[I64, I64, pa.RecordBatch]]:
    """(first token in the dataset's stream, tokens, rows) of all documents, a record batch at a time."""
    base = 0
    for shard in shards:
        for number in range(shard.batches):
            stream = shard.stream(number)
            offsets = stream.offsets + (base + shard.starts[number])
            yield offsets[:-1], np.diff(offsets), stream.batch
        base += shard.tokens


class _Group:
    """One source while its documents are read."""

    def __init__(self, choice: Choice, out: Path, number: int) -> None:
        self._choice, self._out = choice, out
        self._train = _packer(choice, IndexWriter(out, f"windows-{number:04d}"))
        by_documents = choice.held_out is not None and choice.held_out.by == "documents"
        self._held = _packer(choice, IndexWriter(out, f"held_out-{number:04d}")) if by_documents else None
        self._documents = self._tokens = self._repeated = self._never = self._held_tokens = 0

    @property
    def waiting(self) -> int:
        return self._train.waiting + (self._held.waiting if self._held else 0)

    def flush(self) -> None:
        self._train.flush()
        if self._held:
            self._held.flush()

    def add(self, at: I64, size: I64, batch: pa.RecordBatch, dataset: str) -> None:
        self._documents += len(at)
        self._tokens += int(size.sum())
        held = self._choice.held_out
        if self._held is not None and held is not None:
            chosen = (
                draws(_column(batch, held.key, dataset, "held_out.key").cast(pa.string()), salt("held_out", self._choice.seed)) < held.share
            )
            self._held.add(at[chosen], size[chosen])
            self._held_tokens += int(size[chosen].sum())
            at, size, batch = at[~chosen], size[~chosen], batch.filter(pa.array(~chosen))
        if self._choice.repeat is None:
            self._train.add(at, size)
            return
        times = repeats(self._choice.repeat, batch, dataset, self._choice.seed)
        self._never += int(size[times == 0].sum())
        self._repeated += int((size * np.maximum(times - 1, 0)).sum())
        for count in range(int(times.max(initial=0))):  # copies far apart, not one behind the other
            self._train.add(at[times > count], size[times > count])

    def entry(self, dataset: str, name: str) -> dict[str, Any]:
        self.flush()
        train = self._train
        ledger = _ledger(
            self._tokens, train.out.tokens, repeated=self._repeated, tail=train.tail, cropped=train.cropped, held_out=self._held_tokens,
            dropped={"repeat.zero": self._never, "packing.over_long": train.too_long}, padded=train.out.windows * self._choice.seq_len - train.out.tokens,
        )  # fmt: skip
        return _entry(
            dataset, name, self._documents, train.out.windows, train.out, self._held.out if self._held else None, ledger, self._choice
        )


def _packer(choice: Choice, out: IndexWriter) -> Concat | BestFit:
    return Concat(choice.seq_len, out) if choice.packing == "concat" else BestFit(choice.seq_len, out, choice.over_long)


def _ledger(tokens: int, in_windows: int, *, repeated: int = 0, tail: int = 0, cropped: int = 0, held_out: int = 0,
            dropped: Mapping[str, int] | None = None, padded: int = 0) -> dict[str, Any]:  # fmt: skip
    return {"tokens": tokens, "repeated": repeated, "in_windows": in_windows, "tail": tail, "cropped": cropped,
            "dropped": {k: v for k, v in (dropped or {}).items() if v}, "held_out": held_out, "padded": padded}  # fmt: skip


def balance(ledger: Mapping[str, Any]) -> int:
    """Tokens that a ledger does not account for: 0."""
    gone = ledger["tail"] + ledger["cropped"] + sum(ledger["dropped"].values()) + ledger["held_out"]
    return int(ledger["tokens"] + ledger["repeated"] - ledger["in_windows"] - gone)


def _entry(dataset: str, name: str, rows: int, windows: int, index: IndexWriter | None, held: IndexWriter | None, ledger: dict[str, Any],
           choice: Choice) -> dict[str, Any]:  # fmt: skip
    if balance(ledger):
        raise StepError(f"The tokens of {name} do not add up: {ledger}.")
    held_out: dict[str, Any] = {"by": "documents", "windows": held.windows, "tokens": held.tokens, "index": held.name} if held else {
        "by": "windows", "windows": 0, "tokens": 0, "index": None}  # fmt: skip
    if choice.held_out is not None and choice.held_out.by == "windows" and windows > 1:
        held_out["windows"] = max(1, math.floor(windows * Fraction(str(choice.held_out.share))))
    return {
        "name": name,
        "dataset": dataset,
        "documents": rows,
        "tokens": ledger["tokens"],
        "windows": windows - (held_out["windows"] if held_out["by"] == "windows" else 0),
        "tail_tokens": ledger["tail"],
        "index": index.name if index else None,
        "held_out": held_out,
        "ledger": ledger,
    }


def _split(split: Split | None, batch: pa.RecordBatch, dataset: str) -> Iterator[tuple[str | None, I64 | None]]:
    """(value, rows) of each value of the column in a batch; (None, None) where there is no column."""
    if split is None:
        yield None, None
        return
    coded = pc.fill_null(_column(batch, split.column, dataset, "split.column").cast(pa.string()), "none").dictionary_encode()
    if len(coded.dictionary) > MAX_GROUPS:
        raise DataError(f"mix: column {split.column!r} of {dataset} has more than {MAX_GROUPS} values. Split by a column with few.")
    codes = coded.indices.to_numpy()
    for number, value in enumerate(coded.dictionary.to_pylist()):
        if split.weights is None or value in split.weights:
            yield value, np.flatnonzero(codes == number)


def repeats(repeat: Repeat, batch: pa.RecordBatch, dataset: str, seed: int) -> I64:
    """How often each document is seen in an epoch: i64[n]."""
    column = _column(batch, repeat.column, dataset, "repeat")
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise DataError(f"mix: repeat needs numbers, {dataset}.{repeat.column} is of type {column.type}.")
    values = pc.fill_null(column.cast(pa.float64()), math.nan).to_numpy(zero_copy_only=False)
    if repeat.table is not None:
        bounds = np.array(sorted(repeat.table))
        steps = np.array([0.0, *(repeat.table[bound] for bound in sorted(repeat.table))])
        times = np.where(np.isnan(values), 0.0, steps[np.searchsorted(bounds, values, "right")])
    else:
        times = np.where(np.isnan(values), 1.0, values)
    wrong = np.flatnonzero(~((times >= 0) & (times <= MAX_REPEATS)))
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"mix: {dataset}.{repeat.column} is {values[row]} in document {batch.column('id')[row].as_py()!r}; as a number of times it "
            f"must lie in 0..{MAX_REPEATS}. Give a table that maps values to times."
        )
    whole = np.floor(times)
    more = draws(batch.column("id").cast(pa.string()), salt("repeat", seed)) < times - whole
    return whole.astype(np.int64) + more


def _column(batch: pa.RecordBatch, name: str, dataset: str, setting: str) -> pa.Array:
    if name not in batch.schema.names:
        raise DataError(f"mix: {setting} names column {name!r}, which {dataset} does not have. It has: {', '.join(batch.schema.names)}.")
    return batch.column(name)


def salt(purpose: str, seed: int) -> int:
    """A seed of its own for each purpose, so that what is held out does not depend on what a `sample` step kept."""
    return int.from_bytes(hashlib.sha256(f"{purpose}\0{seed}".encode()).digest()[:7], "little")
