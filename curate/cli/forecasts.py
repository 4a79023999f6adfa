"""What steps say before a run about their cost (`Step.forecast`), from the rows that will reach them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from curate.context import KEPT
from curate.recipe_nodes import DatasetNode, Recipe
from curate.step import Incoming, Step

if TYPE_CHECKING:
    from curate.io.reader import Reader
    from curate.node import NodeInput

WHOLE_BYTES = 32 << 20  # inputs up to this size are counted; of larger ones two pieces are
PIECE_BYTES = 4 << 20


def step_forecasts(recipe: Recipe, out: Path, known: dict[str, NodeInput]) -> dict[str, list[str]]:
    """Lines by dataset. known: figures of datasets that an earlier run finished (their digest is set)."""
    found: dict[str, list[str]] = {}
    for name, node in recipe.nodes.items():
        if not isinstance(node, DatasetNode):
            continue
        telling = [at for at, step in enumerate(node.steps) if type(step).forecast is not Step.forecast]
        if telling:
            incoming = _incoming(recipe, node, known, out)
            for at in telling:
                here = incoming if at == 0 else Incoming(incoming.rows, incoming.bytes, False, incoming.kept)
                found.setdefault(name, []).extend(node.steps[at].forecast(here, recipe.seed))
    return found


def _incoming(recipe: Recipe, node: DatasetNode, known: dict[str, NodeInput], out: Path) -> Incoming:
    """What the first step of a dataset gets. What earlier datasets drop is not known before they ran."""
    if node.upstream is not None:
        made = known.get(node.upstream)
        if made is not None and made.digest:
            return Incoming(made.rows, made.bytes, True, out / KEPT)
        above = recipe.nodes[node.upstream]
        if isinstance(above, DatasetNode):
            first = _incoming(recipe, above, known, out)
            return Incoming(first.rows, first.bytes, first.exact and not above.steps, out / KEPT)
    if node.reader is None:
        return Incoming(0, 0, False, out / KEPT)
    rows, size, exact = count_rows(node.reader, recipe.folder)
    return Incoming(rows, size, exact, out / KEPT)


def count_rows(reader: Reader, folder: str) -> tuple[int, int, bool]:
    """(rows, bytes of text, whether that is counted): of all files, or by two pieces of 4 MiB where there is much."""
    from curate.worker.ledger import text_bytes

    splits = reader.splits(folder, PIECE_BYTES)
    total = sum(s.size for s in splits)
    exact = total <= WHOLE_BYTES
    chosen = splits if exact else [splits[0], splits[len(splits) // 2]]
    rows = size = 0
    for split in chosen:
        for batch, *_ in reader.read(split, "plan"):
            rows += len(batch)
            size += text_bytes(batch)
    scale = 1.0 if exact else total / max(1, sum(s.size for s in chosen))
    return int(rows * scale), int(size * scale), exact
