"""Interpolated modified Kneser-Ney over bytes (Chen and Goodman, 1999, section 2.7), in numpy: a yardstick for small language models.

An n-gram is packed into a u64, so orders go up to 8. Byte 0 stands between documents and is not scored.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]
F64 = npt.NDArray[np.float64]
BITS = np.uint64(8)
BYTES = 256


def joined(texts: Sequence[str]) -> npt.NDArray[np.uint8]:
    """Bytes of all texts, a 0 before each."""
    return np.frombuffer(b"".join(b"\0" + text.encode().replace(b"\0", b"") for text in texts), np.uint8)


def grams(stream: npt.NDArray[np.uint8], n: int) -> U64:
    """Every n-gram of a stream, the first byte highest: u64[len - n + 1]."""
    wide = stream.astype(np.uint64)
    packed = np.zeros(len(stream) - n + 1, np.uint64)
    for i in range(n):
        packed = (packed << BITS) | wide[i : len(stream) - n + 1 + i]
    return packed


class Order:
    """Discounted counts of one order. keys: u64[g], sorted and unique; counts: of each"""

    def __init__(self, keys: U64, counts: npt.NDArray[np.int64]) -> None:
        seen = [int((counts == i).sum()) for i in range(1, 5)]
        y = seen[0] / max(seen[0] + 2 * seen[1], 1)
        steps = [(i - (i + 1) * y * seen[i] / seen[i - 1]) if seen[i - 1] else 0.5 for i in (1, 2, 3)]
        discounts = np.array([0.0, *(min(max(d, 0.05), i - 0.02) for i, d in enumerate(steps, 1))])
        taken = discounts[np.minimum(counts, 3)]
        self._keys, self._left = keys, counts - taken
        self._contexts, first = np.unique(keys >> BITS, return_index=True)
        self._totals = np.add.reduceat(counts.astype(np.float64), first)
        self._weight = np.add.reduceat(taken, first) / self._totals  # of the lower order

    def probabilities(self, wanted: U64, lower: F64) -> F64:
        """Of the last byte of each n-gram, given what the next lower order says."""
        at = np.searchsorted(self._keys, wanted).clip(0, len(self._keys) - 1)
        own = np.where(self._keys[at] == wanted, self._left[at], 0.0)
        context = wanted >> BITS
        place = np.searchsorted(self._contexts, context).clip(0, len(self._contexts) - 1)
        mixed = own / self._totals[place] + self._weight[place] * lower
        return np.where(self._contexts[place] == context, mixed, lower)


class KneserNey:
    """Models of all orders up to `highest`, learnt from one stream."""

    def __init__(self, stream: npt.NDArray[np.uint8], highest: int) -> None:
        counted = {n: np.unique(grams(stream, n), return_counts=True) for n in range(1, highest + 1)}
        self._raw = {n: Order(*found) for n, found in counted.items()}
        # Lower orders count in how many contexts an n-gram stands, not how often.
        self._lower = {n: Order(*np.unique(counted[n + 1][0] & np.uint64((1 << 8 * n) - 1), return_counts=True)) for n in range(1, highest)}

    def probabilities(self, stream: npt.NDArray[np.uint8], order: int) -> F64:
        """Of every byte of a stream by the model of that order: f64[len]."""
        found = np.full(len(stream), 1.0 / BYTES)
        for n in range(1, min(order, len(stream)) + 1):
            model = self._raw[n] if n == order else self._lower[n]
            found[n - 1 :] = model.probabilities(grams(stream, n), found[n - 1 :])
        return found

    def bits_per_byte(self, stream: npt.NDArray[np.uint8], order: int) -> float:
        """Mean of -log2 over the bytes that are text."""
        real = stream != 0
        return float(-np.log2(self.probabilities(stream, order)[real]).sum() / real.sum())

    def total(self, context: npt.NDArray[np.uint8], order: int) -> float:
        """Sum of the probabilities of all bytes behind a context: 1."""
        return float(sum(self.probabilities(np.append(context, np.uint8(b)), order)[-1] for b in range(BYTES)))
