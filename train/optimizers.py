"""Optimizers and the learning rate over a run.

AdamW is torch's fused one; matrices decay, norms, biases and embeddings don't (as in Llama and OLMo). Muon is torch.optim.Muon
(Jordan et al., 2024: momentum, then Newton-Schulz orthogonalisation) for the matrices inside of layers; embeddings, head and norms
stay with AdamW.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.optim import AdamW, Optimizer

from curate.errors import MissingDependency, RecipeError

if TYPE_CHECKING:
    from train.pretrain import Optimizer as OptimizerSettings
    from train.pretrain import Schedule

BASE = "base_lr"  # key of a parameter group: its peak learning rate


def default_lr(width: int) -> float:
    """Peak learning rate of AdamW where none is set: 0.8 / width, at most 3e-3 (1.0e-3 at 768, 3.9e-4 at 2,048)."""
    return min(3e-3, 0.8 / width)


def make_optimizers(model: nn.Module, settings: OptimizerSettings, width: int, sharded: bool) -> list[Optimizer]:
    """One optimizer, or Muon and AdamW. sharded: parameters are DTensors of FSDP2."""
    lr = settings.lr or default_lr(width)
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    matrices = [(n, p) for n, p in named if p.ndim >= 2 and not _is_embedding(n)]
    rest = [(n, p) for n, p in named if p.ndim < 2 or _is_embedding(n)]
    inner = [(n, p) for n, p in matrices if ".layers." in f".{n}"] if settings.name == "muon" else []
    if inner and sharded:
        raise RecipeError("optimizer.name muon needs whole matrices, and parallel: fsdp2 cuts them. Use parallel: ddp, or adamw.")
    left = {n for n, _ in matrices} - {n for n, _ in inner}
    groups = [
        {"params": [p for n, p in matrices if n in left], "weight_decay": settings.weight_decay},
        {"params": [p for _, p in rest], "weight_decay": 0.0},
    ]
    fused = all(p.device.type in ("cpu", "cuda") for _, p in named)
    made: list[Optimizer] = [
        AdamW(
            [{**g, BASE: lr} for g in groups if g["params"]], lr=lr, betas=(settings.beta1, settings.beta2), eps=settings.eps, fused=fused
        )
    ]
    if inner:
        made.append(_muon([p for _, p in inner], settings))
    return made


def _is_embedding(name: str) -> bool:
    return "embed_tokens" in name or ".wte" in name or "embed_in" in name


def _muon(parameters: list[nn.Parameter], settings: OptimizerSettings) -> Optimizer:
    muon = getattr(torch.optim, "Muon", None)
    if muon is None:
        raise MissingDependency(f"optimizer.name muon needs torch 2.9 or later, this is {torch.__version__}. Run: pip install -U torch")
    groups = [{"params": parameters, BASE: settings.muon_lr}]
    made: Optimizer = muon(groups, lr=settings.muon_lr, momentum=settings.momentum, nesterov=True, weight_decay=settings.weight_decay)
    return made


def set_rate(optimizers: list[Optimizer], share: float) -> float:
    """Set every group to `share` of its peak. Returns the first group's rate."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group[BASE] * share
    return float(optimizers[0].param_groups[0]["lr"])


def rate(schedule: Schedule, step: int, steps: int) -> float:
    """Share of the peak learning rate at a step in 0..steps-1: warm-up from one part of it, then the schedule, `final` at the last."""
    warm = round(schedule.warmup * steps)
    if step < warm:
        return (step + 1) / warm
    start = max(warm, round((1 - schedule.decay) * steps)) if schedule.name == "wsd" else warm
    if schedule.name == "constant" or step < start:
        return 1.0
    done = (step - start + 1) / max(1, steps - start)
    down = (1 + math.cos(math.pi * done)) / 2 if schedule.name == "cosine" else 1 - done
    return schedule.final + (1 - schedule.final) * max(down, 0.0 if schedule.final else 1 / (2 * max(1, steps - start)))
