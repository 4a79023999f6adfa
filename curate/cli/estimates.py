"""Sizes of datasets that are not there yet, for `curate plan`: measured on a sample where there is one, else guessed from bytes.

A run with --sample leaves its figures in <out>@sample: how much of the text that was read comes out of each dataset, as documents, bytes
and tokens. How much text the input files hold is read from a piece of up to three of them, or guessed for large compressed files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from curate.errors import CurateError
from curate.io.reader import Reader
from curate.node import NodeInput
from curate.plan import make_plan
from curate.recipe_nodes import DatasetNode, Recipe, SpecialNode

BYTES_PER_TOKEN = 4.3  # English web text with a 32k vocabulary
PACKED_RATIO = 3  # text bytes for a byte of a compressed file
PACKED = (".gz", ".zst", ".bz2", ".xz", ".parquet")
PIECE_BYTES = 1 << 20  # of a file that are read
LARGEST_PIECE = 8 << 20  # a file that can't be read in pieces is read whole up to here
GUESSED = "bytes of input and 4.3 bytes a token"


def estimates(recipe: Recipe, stages: list[dict[str, Any]], out: Path) -> tuple[dict[str, NodeInput], str]:
    """(datasets by name, what the figures come from)."""
    read = {s["node"]: s["bytes"] for s in reversed(stages) if s["bytes"]}
    sample = _sample(out)
    found: dict[str, NodeInput] = {}
    measured = 0
    for name in make_plan(recipe).final:
        node = recipe.nodes[name]
        root = name
        while isinstance(at := recipe.nodes[root], DatasetNode) and at.upstream:
            root = at.upstream
        first = recipe.nodes[root]
        seen = sample.get(name), sample.get(root)
        if isinstance(node, DatasetNode) and isinstance(first, DatasetNode) and first.reader is not None and seen[0] and seen[1]:
            text = read.get(root, 0) * text_share(first.reader, recipe.folder)
            found[name] = _scaled(name, seen[0], text / max(1, seen[1]["bytes_in"]))
            measured += 1
            continue
        upstream = node.upstream if isinstance(node, DatasetNode) else None
        count = read.get(name) or (found[upstream].bytes if upstream in found else 0)
        tokens = int(count / BYTES_PER_TOKEN)
        if isinstance(node, SpecialNode) and node.kind == "mix":  # as long as it says, whatever it reads
            tokens = sum(stage.tokens for stage in getattr(node.node, "stages", ()))
        found[name] = NodeInput(name, "", (), "", 0, tokens, count)
    return found, f"a run over a sample, {out.name}@sample" if measured else GUESSED


def _sample(out: Path) -> Mapping[str, Any]:
    """Datasets in the manifest of the sample's run; none where there is none, or it says too little."""
    path = out.with_name(out.name + "@sample") / "manifest.json"
    if not path.exists():
        return {}
    datasets = json.loads(path.read_bytes())["datasets"]
    return {name: entry for name, entry in datasets.items() if entry.get("bytes_in")}


def _scaled(name: str, entry: Mapping[str, Any], times: float) -> NodeInput:
    rows, tokens, size = (int(entry[key] * times) for key in ("rows_out", "tokens", "bytes"))
    return NodeInput(name, "", (), "", rows, tokens, size)


def text_share(reader: Reader, folder: str) -> float:
    """Bytes of text for a byte of the input files."""
    text = size = 0
    try:
        splits = reader.splits(folder, PIECE_BYTES)
        for split in {
            splits[0].uri: splits[0],
            splits[len(splits) // 2].uri: splits[len(splits) // 2],
            splits[-1].uri: splits[-1],
        }.values():
            if split.size <= LARGEST_PIECE:
                size += split.size
                text += sum(pc.sum(pc.binary_length(rows.batch.column("text"))).as_py() or 0 for rows in reader.read(split, "plan"))
    except (CurateError, OSError, IndexError):  # the run will say what is wrong with the input
        return 1.0
    if size:
        return text / size
    return PACKED_RATIO if splits[0].uri.endswith(PACKED) else 1.0
