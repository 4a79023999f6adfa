"""Which document, and which source, language or bucket, each stretch of a window belongs to, and sums of loss by them.

The loss of every token is there anyway; its sum over each document is one cumulative sum on the device. So losses by any column
of the token shards cost a few microseconds a step, and a jump of the loss can be laid at documents.

A label is "column=value": "dataset=web_tokens", "source=cc-2024", "lang_code=en", "quality_score=[2, 3)".
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import DataError
from curate.loader import Mix
from curate.tokens.mapped import TokenShard

DATASET = "dataset"  # the mix's own name of the source; every other name is a column of the shards
MAX_LABELS = 2000  # of a column; further values count as "other"
MAX_HELD = 4096  # record batches whose labels are remembered

NONE = -1  # the label of padding

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
Stretches = Sequence[tuple[TokenShard, int, I64, I64]]


class Tagger:
    """Labels of documents, as numbers that grow as labels are met.

    columns: names of columns, DATASET among them or not; buckets: borders for columns of numbers
    """

    def __init__(self, mix: Mix, columns: Sequence[str], buckets: Mapping[str, Sequence[float]]) -> None:
        self.columns, self.buckets = tuple(columns), dict(buckets)
        self.labels: list[str] = []
        self._numbers: dict[str, int] = {}
        self._per_column = dict.fromkeys(self.columns, 0)
        self._held: OrderedDict[tuple[str, int], I32] = OrderedDict()
        self._mix = mix
        self._names = [source["name"] for source in mix.sources]

    def tags(self, ks: npt.ArrayLike, starts: I64, stretches: Stretches) -> I32:
        """i32[columns, p]: labels of the pieces of windows ks, NONE where a piece is padding. starts, stretches: of `Mix.layout`"""
        made = np.full((len(self.columns), len(starts) - 1), NONE, np.int32)
        if stretches:
            at = np.searchsorted(starts, np.concatenate([places for *_, places in stretches]))
            made[:, at] = np.concatenate([self._of_batch(shard, number)[:, rows] for shard, number, rows, _ in stretches], axis=1)
        if DATASET in self.columns:
            names = np.array([self._number(DATASET, self._names[source]) for source in self._mix.order.places(ks).source], np.int32)
            row = made[self.columns.index(DATASET)]
            row[:] = np.where(row == NONE, NONE, names[starts[:-1] // self._mix.seq_len])
        return made

    def _of_batch(self, shard: TokenShard, number: int) -> I32:
        """i32[columns, rows] of a record batch; the column DATASET stays 0."""
        key = (str(shard.path), number)
        found = self._held.get(key)
        if found is None:
            batch = shard.stream(number).batch
            found = (
                np.stack([self._column(name, batch, shard) for name in self.columns])
                if self.columns
                else np.zeros((0, len(batch)), np.int32)
            )
            self._held[key] = found
            if len(self._held) > MAX_HELD:
                self._held.popitem(last=False)
        return found

    def _column(self, name: str, batch: pa.RecordBatch, shard: TokenShard) -> I32:
        if name == DATASET:
            return np.zeros(len(batch), np.int32)
        if name not in batch.schema.names:
            there = ", ".join(n for n in batch.schema.names if n != "tokens")
            raise DataError(
                f"loss_by names {name!r}, which {shard.path} does not have. It has: {there}, and {DATASET!r} for the mix's own names."
            )
        column = batch.column(name)
        if name in self.buckets:
            return self._bucketed(name, column)
        if pa.types.is_floating(column.type):
            raise DataError(f"loss_by names {name!r}, a column of numbers. Give its borders: buckets: {{{name}: [0.5, 0.9]}}.")
        coded = pc.dictionary_encode(column.cast(pa.string()), null_encoding="encode")
        numbers = np.array([self._number(name, "" if v is None else v) for v in coded.dictionary.to_pylist()], np.int32)
        return numbers[coded.indices.to_numpy(zero_copy_only=False)] if len(numbers) else np.zeros(len(batch), np.int32)

    def _bucketed(self, name: str, column: pa.Array) -> I32:
        borders = sorted(self.buckets[name])
        values = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
        places = np.where(np.isnan(values), len(borders) + 1, np.searchsorted(borders, values, "right"))
        names = [f"[{low:g}, {high:g})" for low, high in zip([-np.inf, *borders], [*borders, np.inf], strict=True)] + ["none"]
        numbers = np.array([self._number(name, n) for n in names], np.int32)
        return numbers[places]

    def _number(self, column: str, value: str) -> int:
        label = f"{column}={value}"
        if label not in self._numbers:
            if self._per_column[column] >= MAX_LABELS:
                label = f"{column}=other"
            else:
                self._per_column[column] += 1
            if label not in self._numbers:
                self._numbers[label] = len(self.labels)
                self.labels.append(label)
        return self._numbers[label]


def sums_by_label(
    tags: I32, losses: npt.NDArray[np.float64], tokens: npt.NDArray[np.int64], labels: Sequence[str]
) -> dict[str, list[float]]:
    """{label: [sum of losses, tokens]} over pieces that are learnt from. tags: i32[columns, pieces]; losses, tokens: [pieces]"""
    learnt = np.flatnonzero(tokens)
    found: dict[str, list[float]] = {}
    for row in tags[:, learnt]:
        loss = np.bincount(row, losses[learnt], len(labels))
        count = np.bincount(row, tokens[learnt], len(labels))
        for at in np.flatnonzero(count).tolist():
            found[labels[at]] = [float(loss[at]), float(count[at])]
    return found


def add_sums(total: dict[str, list[float]], more: Mapping[str, Sequence[float]]) -> None:
    """total += more, for {label: [sum of losses, tokens]}"""
    for label, (loss, tokens) in more.items():
        held = total.setdefault(label, [0.0, 0.0])
        held[0] += loss
        held[1] += tokens


def as_means(sums: Mapping[str, Sequence[float]]) -> dict[str, dict[str, list[float]]]:
    """{column: {value: [mean loss, tokens]}} for metrics.jsonl."""
    found: dict[str, dict[str, list[float]]] = {}
    for label in sorted(sums):
        column, _, value = label.partition("=")
        loss, tokens = sums[label]
        found.setdefault(column, {})[value] = [loss / tokens, tokens]
    return found
