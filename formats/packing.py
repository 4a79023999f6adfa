"""Several rows in one sequence, each kept apart from its neighbours.

Best-fit decreasing: rows from the longest to the shortest, each into the sequence with the least room that still holds it
(Ding et al. 2024, "Fewer Truncations Improve Language Modeling", section 3; trl's `bfd`). Over the whole set at once, not within batches of 1,000 rows as in
trl; no row is ever cut or split. Rows of equal length keep their order, so the result is a function of the lengths.

A row's document is told by `position_ids`, which start at 0 for each, and by `seq_lengths`; `cu_seqlens` makes the boundaries that FlashAttention's varlen functions want. Attention that ignores them
lets documents see each other: trl isolates them with `packing=True` and FlashAttention, or `padding_free`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curate.errors import DataError
from formats.templates.rendering import IGNORED


@dataclass(frozen=True)
class Packed:
    """Which rows share a sequence. bins: row numbers by sequence, in order of their first row."""

    bins: list[list[int]]
    capacity: int
    tokens: int

    @property
    def fill(self) -> float:
        """Share of the sequences that holds tokens; 1.0 for no rows."""
        return self.tokens / (self.capacity * len(self.bins)) if self.bins else 1.0


def pack(lengths: Sequence[int], capacity: int) -> Packed:
    """Put rows into sequences of at most `capacity` tokens. About 8 microseconds a row.

    Raises DataError for a row that does not fit: what happens to those is decided before (`too_long`), never here.
    """
    sizes = np.asarray(lengths, np.int64)
    if len(sizes) and int(sizes.max()) > capacity:
        row = int(sizes.argmax())
        raise DataError(
            f"row {row} has {sizes[row]} tokens, a packed sequence holds {capacity}: decide with too_long, or pack into longer ones."
        )
    if len(sizes) and int(sizes.min()) <= 0:
        raise DataError(f"row {int(sizes.argmin())} has no tokens and can't be packed.")
    bins: list[list[int]] = []
    open_bins: list[list[int]] = [[] for _ in range(capacity + 1)]  # by room left
    rooms = 0  # bit r: some sequence has room r
    for row in np.argsort(-sizes, kind="stable").tolist():
        size = int(sizes[row])
        fitting = rooms >> size
        if fitting:
            room = size + (fitting & -fitting).bit_length() - 1
            at = open_bins[room].pop()
            if not open_bins[room]:
                rooms ^= 1 << room
        else:
            room, at = capacity, len(bins)
            bins.append([])
        bins[at].append(row)
        left = room - size
        if left:
            if not open_bins[left]:
                rooms |= 1 << left
            open_bins[left].append(at)
    ordered = sorted((sorted(one) for one in bins), key=lambda one: one[0])
    return Packed(ordered, capacity, int(sizes.sum()))


def joined(rows: Sequence[tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
    """One sequence of (ids, labels) rows: input_ids, labels, position_ids, seq_lengths.

    The first label of each document is -100: it would be predicted from the document before.
    """
    lengths = np.array([len(ids) for ids, _ in rows], np.int64)
    labels = np.concatenate([label for _, label in rows])
    starts = np.cumsum(lengths) - lengths
    labels[starts] = IGNORED
    return {
        "input_ids": np.concatenate([ids for ids, _ in rows]),
        "labels": labels,
        "position_ids": np.arange(int(lengths.sum())) - np.repeat(starts, lengths),
        "seq_lengths": lengths,
    }


def cu_seqlens(seq_lengths: Sequence[int]) -> np.ndarray:
    """int32[documents + 1]: where each document of a sequence begins, and the end; as FlashAttention's varlen functions take it."""
    return np.concatenate([[0], np.cumsum(np.asarray(seq_lengths, np.int32))]).astype(np.int32)
