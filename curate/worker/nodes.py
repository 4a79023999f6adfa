"""The task of a node that is not a plain dataset: hand it its finished inputs and a folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from curate import registry
from curate.context import WorkContext
from curate.node import Node, NodeInput


def run_node(job: dict[str, Any], run: Path, scratch: Path, ctx: WorkContext) -> dict[str, Any]:
    """Do the task and return its receipt (without files). Paths in the job are relative to the run folder."""
    node: Node = registry.load("nodes", job["node_kind"])(**job["settings"])
    inputs = {}
    for name, entry in job["node_inputs"].items():
        parts = tuple(str(run / part) for part in entry["parts"])
        inputs[name] = NodeInput(**{**entry, "parts": parts, "folder": str(run / entry["folder"])})
    started = time.perf_counter()
    result = node.run(inputs, scratch, ctx, ctx.say)
    return {
        "result": {"rows_out": result.rows_out, "tokens": result.tokens, "info": dict(result.info)},
        "seconds": {node.kind: time.perf_counter() - started},
    }
