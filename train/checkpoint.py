"""Checkpoints to go on from exactly: weights, optimizer, place in the data, random state, history of losses. No pickle.

    <work>/step-00000120/   model.safetensors  optimizer.safetensors  state.json
    <work>/tmp-*            being written

Tensors are whole, also where FSDP2 cuts them, so another number of processes can go on. They are copied to the host at once and
written by a thread; the folder is renamed when everything is on disk, so there is never half a checkpoint.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from curate.errors import DataError
from curate.store import flush, flush_folder
from train.parallel import World, like, whole

FORMAT = 1
MODEL, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"
RNG, RNG_CUDA = "rng.cpu", "rng.cuda"


class Checkpoints:
    """The checkpoints of a run. All ranks call `save` and `load`; rank 0 writes."""

    def __init__(self, work: Path, identity: str, keep: int, where: World) -> None:
        self._work, self._identity, self._keep, self._where = work, identity, keep, where
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def newest(self) -> Path | None:
        """Folder of the newest whole checkpoint."""
        found = sorted(self._work.glob("step-*"))
        return found[-1] if found else None

    def save(self, step: int, model: nn.Module, optimizers: list[Optimizer], state: dict[str, Any]) -> None:
        """Keep everything as it is after `step` steps. Returns when it is copied; the disk follows."""
        self.wait()
        weights = {name: _host(p, self._where) for name, p in model.named_parameters()}
        moments = _moments(model, optimizers, self._where)
        if not self._where.first:
            return
        moments[RNG] = torch.get_rng_state()
        if self._where.device.type == "cuda":
            moments[RNG_CUDA] = torch.cuda.get_rng_state(self._where.device)
        content = {
            **state,
            "format": FORMAT,
            "identity": self._identity,
            "step": step,
            "torch": torch.__version__,
            "processes": self._where.size,
        }
        self._thread = threading.Thread(target=self._write, args=(step, weights, moments, content), name="curate-checkpoint")
        self._thread.start()

    def _write(self, step: int, weights: dict[str, Tensor], moments: dict[str, Tensor], state: dict[str, Any]) -> None:
        try:
            scratch, final = self._work / f"tmp-{os.getpid()}", self._work / f"step-{step:08d}"
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir(parents=True)
            save_file(weights, scratch / MODEL)
            save_file(moments, scratch / OPTIMIZER)
            (scratch / STATE).write_text(json.dumps(state, sort_keys=True), "utf-8")
            for file in scratch.iterdir():
                flush(file)
            shutil.rmtree(final, ignore_errors=True)
            os.replace(scratch, final)
            flush_folder(self._work)
            for old in sorted(self._work.glob("step-*"))[: -self._keep]:
                shutil.rmtree(old)
        except BaseException as error:  # noqa: BLE001  raised again by wait()
            self._error = error

    def wait(self) -> None:
        """Until the last checkpoint is on disk. Raises what went wrong while it was written."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def load(self, model: nn.Module, optimizers: list[Optimizer]) -> dict[str, Any] | None:
        """Put the newest checkpoint into model and optimizers; returns its state, None where there is none."""
        folder = self.newest()
        if folder is None:
            return None
        state: dict[str, Any] = json.loads((folder / STATE).read_bytes())
        if state["format"] != FORMAT or state["identity"] != self._identity:
            raise DataError(
                f"{folder} is a checkpoint of other settings or data, or of another version of curate. "
                f"Remove {self._work}, choose another --out, or use --force to train anew."
            )
        weights, moments = load_file(folder / MODEL), load_file(folder / OPTIMIZER)
        with torch.no_grad():
            for name, p in model.named_parameters():
                p.copy_(like(weights[name], p))
        _restore(model, optimizers, moments)
        torch.set_rng_state(moments[RNG])
        if RNG_CUDA in moments and self._where.device.type == "cuda":
            torch.cuda.set_rng_state(moments[RNG_CUDA], self._where.device)
        return state


def _host(tensor: Tensor, where: World) -> Tensor:
    """A copy on the host (of rank 0; nothing elsewhere), whole and contiguous."""
    full = whole(tensor.detach())
    if not where.first:
        return full.new_empty(0)
    return full.to("cpu", copy=True).contiguous()


def _names(model: nn.Module) -> dict[int, str]:
    return {id(p): name for name, p in model.named_parameters()}


def _moments(model: nn.Module, optimizers: list[Optimizer], where: World) -> dict[str, Tensor]:
    """States of the optimizers: "exp_avg/<parameter>" and so on."""
    names, found = _names(model), {}
    for optimizer in optimizers:
        for p, state in sorted(optimizer.state.items(), key=lambda item: names[id(item[0])]):
            for key in sorted(state):
                value = state[key]
                found[f"{key}/{names[id(p)]}"] = _host(value if isinstance(value, Tensor) else torch.tensor(value), where)
    return found


def _restore(model: nn.Module, optimizers: list[Optimizer], moments: dict[str, Tensor]) -> None:
    by_name: dict[str, dict[str, Tensor]] = {}
    for key, value in moments.items():
        kind, slash, name = key.partition("/")
        if slash:
            by_name.setdefault(name, {})[kind] = value
    names = _names(model)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for p in group["params"]:
                given = by_name.get(names[id(p)], {})
                # The count of steps is a scalar that lies where the optimizer's kernels want it; the rest is like the parameter.
                optimizer.state[p] = {k: v.to(p.device) if v.ndim == 0 else like(v, p) for k, v in given.items()}
