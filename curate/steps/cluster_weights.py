"""How often a document should be seen, by the size of its cluster of near-duplicates: rehydration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator, Field

from curate.schema import with_columns
from curate.step import BatchFn, Context, Outcome, Step

FINEWEB2 = {1: 1.0, 2: 2.0, 3: 3.0, 5: 5.0, 100: 8.0, 1000: 1.0}


def _checked(table: dict[int, float]) -> dict[int, float]:
    if min(table) != 1 or any(size < 1 for size in table):
        raise ValueError(f"must begin at cluster size 1, got {sorted(table)}")
    if any(not 0 <= weight <= 1e6 for weight in table.values()):
        raise ValueError("must have weights in 0..1e6")
    return dict(sorted(table.items()))


class WeightByCluster(Step):
    """Add `dup_weight`: how often to see a document that stands for a cluster of near-duplicates.

    Text that was copied a few times tends to be good, text that was copied thousands of times tends to be a template, so
    FineWeb-2 repeats documents by the size of the cluster they were the survivor of. Put it behind `dedup_minhash:
    {mode: annotate}`; a document that another one replaces gets 0, so `filter: "dup_weight > 0"` removes the duplicates.
    The documents themselves are not repeated: a mix, or your loader, takes the weight.

    Reads dup_size and dup_of. Depends on nothing but the row.
    """

    name: ClassVar[str] = "weight_by_cluster"
    summary: ClassVar[str] = "weigh the survivors of near-duplicate clusters by cluster size"
    origin: ClassVar[str] = "Penedo et al. 2025, FineWeb2 (arXiv:2506.20920), rehydration; table of fineweb-2-pipeline.py"
    shorthand: ClassVar[str | None] = "table"

    table: Annotated[dict[int, float], AfterValidator(_checked)] = Field(
        FINEWEB2, min_length=1, description="weight from each cluster size on; default FineWeb-2's: 1:1 2:2 3:3 5:5 100:8 1000:1"
    )

    def reads(self) -> frozenset[str]:
        """Columns that must exist before this step."""
        return frozenset({"dup_size", "dup_of"})

    def adds(self) -> Mapping[str, pa.DataType]:
        """Columns that exist after it, with their types."""
        return {"dup_weight": pa.float64()}

    def bind(self, ctx: Context) -> BatchFn:
        """Return the batch function."""
        sizes, weights = np.array(list(self.table)), np.array(list(self.table.values()))

        def weigh(batch: pa.RecordBatch) -> Outcome:
            size = pc.fill_null(batch.column("dup_size"), 1).to_numpy(zero_copy_only=False)
            weight = weights[np.maximum(np.searchsorted(sizes, size, side="right") - 1, 0)]
            replaced = batch.column("dup_of").is_valid().to_numpy(zero_copy_only=False)
            return Outcome(with_columns(batch, {"dup_weight": pa.array(np.where(replaced, 0.0, weight))}))

        return weigh
