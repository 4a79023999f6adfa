"""Many short ranges of numbers as one array."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]


def ranges(start: I64, count: I64) -> I64:
    """start[i], start[i] + 1, ..., count[i] numbers for each i, one after the other: i64[sum(count)]. start, count: i64[n]."""
    found: I64 = np.arange(int(count.sum())) + np.repeat(start - (np.cumsum(count) - count), count)
    return found
