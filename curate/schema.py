"""The batch contract: which columns every document has, and how steps may change a batch.

    id      string        given, or derived from where the document lies (never from a split or an absolute path)
    text    large_string  UTF-8
    source  string        which data set or sub-set the document came from
    meta    large_string  JSON object, opaque to the engine
    _row    int64         (task << 40) | ordinal: the engine's own name for a row inside one run

Every other column is declared by the step that adds it and is named `namespace_slug`. `_row` belongs to the engine:
steps pass it through and never read it (corpus phases do: it is how they name documents to each other).
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

ROW = "_row"
ROW_TASK_SHIFT = 40  # 2^40 documents a task, 2^23 tasks
ROW_COPY_SHIFT = 12  # of rows that came from one: 2^12 of them, and then 2^28 documents a task

DOCUMENT = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("text", pa.large_string()),
        pa.field("source", pa.string()),
        pa.field("meta", pa.large_string()),
    ]
)


def with_columns(batch: pa.RecordBatch, columns: Mapping[str, pa.Array]) -> pa.RecordBatch:
    """Return the batch with `columns` set: replaced where the name exists, appended otherwise."""
    for name, array in columns.items():
        at = batch.schema.get_field_index(name)
        field = pa.field(name, array.type)
        batch = batch.append_column(field, array) if at < 0 else batch.set_column(at, field, array)
    return batch


def concat(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    """Join batches of one schema into one."""
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)
