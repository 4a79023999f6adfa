"""Ranges that a corpus step cuts out of documents: how they travel, and the cut itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.schema import ROW, with_columns
from curate.step import Outcome

_RANGES = pa.list_(pa.field("item", pa.int64()))
CUTS = pa.schema(
    [
        pa.field(ROW, pa.int64()),
        pa.field("starts", _RANGES),  # bytes from the start of the document, in order, apart from each other
        pa.field("stops", _RANGES),
        pa.field("share", pa.float64()),  # of the document's bytes that go
        pa.field("reason", pa.string()),
        pa.field("value", pa.float64()),
    ]
)


def columns_of(step: str) -> Mapping[str, pa.DataType]:
    """What mode: annotate adds."""
    return {f"{step}_keep": pa.bool_(), f"{step}_reason": pa.string(), f"{step}_removed": pa.float64()}


def cut_records(batch: pa.RecordBatch, doc: Any, offsets: Any, goes: Any) -> pa.Table:
    """Records of CUTS, without reasons, for the documents of which a unit goes.

    doc i64[n+1], offsets i64[u+1]: units of the documents (`text_units.Units`); goes bool[u]
    """
    before = np.concatenate([[False], goes[:-1]])
    after = np.concatenate([goes[1:], [False]])
    before[doc[:-1][doc[:-1] < len(goes)]] = False  # ranges end with their document
    after[doc[1:][doc[1:] > 0] - 1] = False
    opens, closes = np.flatnonzero(goes & ~before), np.flatnonzero(goes & ~after)
    owner = np.searchsorted(doc, opens, side="right") - 1
    starts, stops = offsets[opens], offsets[closes + 1]
    return range_records(batch, owner, starts, stops, _begins(doc, offsets))


def _begins(doc: Any, offsets: Any) -> Any:
    """i64[n+1]: where documents begin; units make them up."""
    return offsets[np.minimum(doc, len(offsets) - 1)]


def range_records(batch: pa.RecordBatch, owner: Any, starts: Any, stops: Any, begins: Any) -> pa.Table:
    """Records of CUTS, without reasons, of ranges (i64[r], bytes of the column's data) of documents `owner` i64[r], in order.

    begins: i64[n+1], where documents begin.
    """
    inside, at = np.unique(owner, return_index=True)
    lists = np.append(at, len(owner)).astype(np.int32)
    relative = [pa.ListArray.from_arrays(pa.array(lists), pa.array(edges - begins[owner])) for edges in (starts, stops)]
    lost = np.add.reduceat(stops - starts, at) if len(at) else np.zeros(0, np.int64)
    size = begins[inside + 1] - begins[inside]
    columns = [pa.array(batch.column(ROW).to_numpy()[inside]), *relative, pa.array(lost / np.maximum(size, 1)),
               pa.nulls(len(inside), pa.string()), pa.nulls(len(inside), pa.float64())]  # fmt: skip
    return pa.table(columns, schema=CUTS)


def cut(text: pa.Array, records: pa.Table) -> pa.LargeStringArray:
    """Return the texts without the ranges; records: one of CUTS for each, null where nothing goes."""
    from curate.kernels.strings import from_buffers, views
    from curate.kernels.text_units import without_ranges

    starts, stops = (records.column(name).combine_chunks() for name in ("starts", "stops"))
    counts = pc.fill_null(pc.list_value_length(starts), 0).to_numpy().astype(np.int64)
    if not counts.any():
        return text
    data, offsets = views(text)
    owner = np.repeat(np.arange(len(counts)), counts)
    begins = offsets[owner]
    found = without_ranges(data, offsets, owner, begins + starts.flatten().to_numpy(), begins + stops.flatten().to_numpy())
    return from_buffers(*found, validity=text)


def annotated(step: str, batch: pa.RecordBatch, delivered: pa.Table) -> Outcome:
    """The batch with the columns of `columns_of`."""
    reason, share = (delivered.column(name).combine_chunks() for name in ("reason", "share"))
    values = [reason.is_null(), reason, pc.fill_null(share, 0.0)]
    return Outcome(with_columns(batch, dict(zip(columns_of(step), values, strict=True))))
