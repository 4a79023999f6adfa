"""One process or many: the process group, whole copies (DDP) or cut ones (FSDP2), and sums over all ranks."""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor


@dataclass(frozen=True)
class World:
    """Who we are among the processes of the run."""

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        return self.rank == 0

    def sums(self, values: Sequence[float]) -> list[float]:
        """Sums over all ranks, in float64."""
        if self.size == 1:
            return [float(v) for v in values]
        on = "cuda" if dist.get_backend() == "nccl" else "cpu"
        total = torch.tensor(values, dtype=torch.float64, device=on)
        dist.all_reduce(total)
        return [float(v) for v in total.tolist()]

    def gather(self, value: Any) -> list[Any]:
        """A small object of every rank, in rank order."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    def wait(self) -> None:
        """Until every rank is here."""
        if self.size > 1:
            dist.barrier()


@contextlib.contextmanager
def world() -> Iterator[World]:
    """The world that torchrun's variables describe; alone without them. Ends the process group that it began."""
    rank, size, local = (int(os.environ.get(name, default)) for name, default in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0")))
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    began = size > 1 and not dist.is_initialized()
    if began:
        dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
    try:
        yield World(rank, size, device)
    finally:
        if began:
            dist.destroy_process_group()


def spread(module: nn.Module, where: World, how: str, bf16: bool, layers: Sequence[nn.Module]) -> nn.Module:
    """The module for all ranks: itself, a DDP around it, or itself cut by FSDP2 (in place)."""
    if how == "fsdp2":
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

        if where.size == 1:
            return module
        mesh = init_device_mesh(where.device.type, (where.size,))
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16 if bf16 else None, reduce_dtype=torch.float32)
        for layer in layers:
            fully_shard(layer, mesh=mesh, mp_policy=policy)
        fully_shard(module, mesh=mesh, mp_policy=policy, reshard_after_forward=False)
        return module
    if where.size == 1:
        return module
    devices = [where.device.index] if where.device.type == "cuda" else None
    ddp = nn.parallel.DistributedDataParallel
    # Positions' frequencies are the same everywhere. torch 2.13 has another name for not sending them before every forward.
    still = "forward_sync_buffers" if "forward_sync_buffers" in inspect.signature(ddp.__init__).parameters else "broadcast_buffers"
    options: dict[str, Any] = {still: False}
    return ddp(module, device_ids=devices, gradient_as_bucket_view=True, **options)


def accumulating(module: nn.Module, last: bool) -> AbstractContextManager[None]:
    """Around a forward and backward pass: gradients are summed over ranks only in the last micro-batch of a step."""
    if isinstance(module, nn.parallel.DistributedDataParallel):
        held: AbstractContextManager[None] = contextlib.nullcontext() if last else module.no_sync()
        return held
    if hasattr(module, "set_requires_gradient_sync"):
        module.set_requires_gradient_sync(last)
    return contextlib.nullcontext()


def whole(tensor: Tensor) -> Tensor:
    """A tensor with all its parts. Every rank must call it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(tensor: Tensor, target: Tensor) -> Tensor:
    """A whole tensor in the form of `target`: on its device, cut as it is."""
    if isinstance(target, DTensor):
        return distribute_tensor(tensor.to(target.device), target.device_mesh, target.placements)
    return tensor.to(target.device)
