"""Items of evaluation sets in records: the step `decontaminate`, asked before a training run."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from curate.context import WorkContext
from formats.records import Record, text_view


class EvaluationSets:
    """Finds records that hold an item of the given files, by the rules and defaults of `decontaminate`."""

    def __init__(self, files: Sequence[str]) -> None:
        from curate.steps.decontamination import Decontaminate

        self._run = Decontaminate.model_validate({"against": tuple(files), "mode": "annotate"}).bind(WorkContext())

    def items(self, records: Sequence[Record]) -> list[str | None]:
        """The item that each record holds ("gsm8k_test.jsonl:17"), or None."""
        columns = {
            "id": pa.array([r.id for r in records], pa.string()),
            "text": pa.array([text_view(r) for r in records], pa.large_string()),
            "source": pa.array([r.source for r in records], pa.string()),
        }
        found = self._run(pa.RecordBatch.from_pydict(columns)).batch
        items: list[str | None] = found.column("contamination_item").to_pylist()
        return items
