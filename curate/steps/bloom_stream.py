"""The Bloom mode of exact deduplication: one task that sees every hash once, in the order of the corpus."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from curate.figures import with_figures
from curate.schema import ROW
from curate.step import RecordsFn

STREAM = pa.schema([pa.field("key", pa.uint64()), pa.field("hash", pa.uint64()), pa.field(ROW, pa.int64())])
SEEN = pa.schema([pa.field(ROW, pa.int64()), pa.field("reason", pa.string())])


def bloom_filter(expected: int, false_positive: float, reason: str) -> RecordsFn:
    """Return the function of a phase over everything: records of STREAM to records of SEEN for those found in the filter.

    The filter is filled in the order of `_row`, the order of the corpus, by one task, so what is dropped, false positives among it,
    is the same for any number of workers. Memory: the filter; records come memory-mapped and are looked at once.
    """
    from curate.kernels.bloom import add_and_test, layout

    size = layout(expected, false_positive)

    def run(records: pa.Table) -> Iterator[pa.Table]:
        bits = np.zeros(size.bits // 64, np.uint64)
        added, last = 0, -1
        for batch in _in_order(records).to_batches():
            rows = batch.column(ROW).to_numpy()
            assert not len(rows) or rows[0] > last, "records out of order"
            last = int(rows[-1]) if len(rows) else last
            seen = np.zeros(len(batch), np.uint8)
            added += add_and_test(bits, size.hashes, batch.column("key").to_numpy(), batch.column("hash").to_numpy(), seen)
            dropped = rows[seen.view(bool)]
            if len(dropped):
                yield pa.table([pa.array(dropped), pa.array([reason]).take(pa.array(np.zeros(len(dropped), np.int64)))], schema=SEEN)
        yield with_figures(SEEN.empty_table(), {"values_in_the_filter": added})

    return run


def _in_order(records: pa.Table) -> pa.Table:
    """The records by `_row`; as they are where they come so, as from the engine."""
    last = -1
    for chunk in records.column(ROW).chunks:
        rows = chunk.to_numpy()
        if len(rows) and (rows[0] <= last or bool((rows[1:] <= rows[:-1]).any())):
            return records.sort_by(ROW)
        last = int(rows[-1]) if len(rows) else last
    return records
