"""Loss on windows that are not trained on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from curate.errors import DataError
from curate.loader import Mix, open_mix
from curate.node import NodeInput
from train.attribution import Tagger, add_sums, as_means, sums_by_label
from train.batches import Source
from train.loss import document_sums
from train.node import MIX, TrainJob

if TYPE_CHECKING:
    from train.loop import Run


def validate(run: Run, module: nn.Module, name: str, windows: int) -> dict[str, Any]:
    """Mean loss on windows of another mix, spread evenly over it, and by label. The ranks share the windows out."""
    mix = held_out(run.job, name)
    source = Source(mix, Tagger(mix, run.node.loss_by, run.node.buckets), isolate=run.node.isolate)
    source.capacity = run.source.capacity
    count = min(windows, len(mix))
    chosen = [number * len(mix) // count for number in range(count)]
    size = max(1, min(run.choices.micro, count // run.where.size))
    parts = [chosen[at : at + size] for at in range(0, count, size)]
    rounds = -(-len(parts) // run.where.size)  # every rank computes as often as the others, or they would wait for ever
    found: dict[str, list[float]] = {}
    one = torch.ones((), device=run.where.device)
    module.eval()
    with torch.no_grad(), run.autocast():
        for turn in range(rounds):
            at = turn * run.where.size + run.where.rank
            rows = source.rows(parts[min(at, len(parts) - 1)])
            inputs, labels, pieces = run.to_device(rows)
            sums = document_sums(module(inputs, labels, one)[1], pieces).cpu().numpy()
            if at < len(parts):
                by = sums_by_label(rows.tags, sums, rows.learnt, source.tagger.labels)
                add_sums(found, {**by, "": [float(sums.sum()), float(rows.real)]})
    module.train()
    total: dict[str, list[float]] = {"": [0.0, 0.0]}
    for one_rank in run.where.gather(found):
        add_sums(total, one_rank)
    loss, tokens = total.pop("")
    return {"loss": loss / max(1.0, tokens), "tokens": int(tokens), "by": as_means(total)}


def open_data(data: NodeInput) -> Mix:
    """The mix that is trained on. Raises DataError where it is none."""
    if not (Path(data.folder) / MIX).is_file():
        raise DataError(f"Pretraining reads a mix, and {data.name} ({data.folder}) has no {MIX}. Make one with `mix:` of token datasets.")
    return open_mix(data.folder)


def held_out(job: TrainJob, name: str) -> Mix:
    """The held-out windows of a mix; all of its windows where it holds none out and is not what is trained on."""
    mix = open_mix(job.inputs[name].folder, held_out=True)
    if len(mix):
        return mix
    if name == job.data.name:
        raise DataError(
            f"validation names {name}, which is trained on and holds nothing out. Give the mix `held_out: 0.001`, or name another mix."
        )
    return open_data(job.inputs[name])
