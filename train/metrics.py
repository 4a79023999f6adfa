"""What a run says while it goes on: metrics.jsonl, TensorBoard and W&B where asked for, and a line of progress.

metrics.jsonl holds what was learnt and is the same for the same inputs; times and rates, which never are, go to speed.jsonl.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curate.node import Progress
from train.cost import duration
from train.gpus import gpu_of
from train.sinks import open_sink

METRICS, SPEED = "metrics.jsonl", "speed.jsonl"
SPEED_EVERY_S = 10.0


def peak_flops(device: str) -> float | None:
    """Dense bf16 FLOP/s of a GPU by the name that CUDA gives it; None for others."""
    found = gpu_of(device)
    return None if found is None else found.bf16


class Metrics:
    """Writes for rank 0. `step` for what was learnt, `speed` for how fast."""

    def __init__(
        self, work: Path, track: list[str], name: str, settings: Mapping[str, Any], steps: int, progress: Progress, start: int = 0
    ) -> None:
        """start: the first step that will come; lines of it and those behind are gone already (`cut`)"""
        self._work, self._steps, self._progress = work, steps, progress
        self._file = open(work / METRICS, "a", encoding="utf-8")  # noqa: SIM115  closed by close()
        self._sinks = [open_sink(t, work, name, settings, start) for t in track]
        self._started = self._last = time.monotonic()
        self._done_steps = self._tokens = self._first = 0
        self._flops = self._spent = 0.0

    @staticmethod
    def cut(work: Path, step: int) -> None:
        """Remove lines of steps from `step` on: they will come again."""
        path = work / METRICS
        if path.exists():
            kept = [line for line in path.read_text("utf-8").splitlines(keepends=True) if json.loads(line)["step"] < step]
            path.write_text("".join(kept), "utf-8")

    def step(self, step: int, values: Mapping[str, Any]) -> None:
        """What was learnt in a step, or a validation behind it."""
        self._file.write(json.dumps({"step": step, **_finite(values)}, ensure_ascii=False) + "\n")
        self._file.flush()
        flat = {k: v for k, v in _flat(values).items() if isinstance(v, (int, float))}
        for sink in self._sinks:
            sink(step, flat)

    def speed(self, step: int, tokens: int, seconds: float, flops: float, peak: float | None, loss: float) -> None:
        """One step was done: tokens over all processes, FLOPs of one. Prints and writes a line now and then."""
        self._done_steps += 1
        self._tokens += tokens
        self._flops += flops
        self._spent += seconds
        now = time.monotonic()
        if now - self._last < SPEED_EVERY_S and step + 1 < self._steps:
            return
        rate, model = self._tokens / self._spent, self._flops / self._spent
        left = (self._steps - step - 1) * self._spent / self._done_steps
        line = {
            "step": step,
            "tokens_per_second": rate,
            "tflops_per_process": model / 1e12,
            "mfu": model / peak if peak else None,
            "seconds_left": left,
        }
        with open(self._work / SPEED, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        for sink in self._sinks:
            sink(step, {f"speed/{k}": v for k, v in line.items() if isinstance(v, float)})
        mfu = f", MFU {model / peak:.1%}" if peak else ""
        self._progress(
            (step + 1) / self._steps,
            f"step {step + 1:,}/{self._steps:,}, loss {loss:.3f}, {rate:,.0f} tokens/s{mfu}, {duration(left)} left",
        )
        self._last, self._done_steps, self._tokens, self._flops, self._spent = now, 0, 0, 0.0, 0.0

    def close(self) -> None:
        """End all files."""
        self._file.close()
        for sink in self._sinks:
            sink(-1, {})


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"by": {"source": {"web": [2.1, 800]}}} -> {"by/source/web": 2.1}"""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}/")
        else:
            found[f"{prefix}{key}"] = value[0] if isinstance(value, list) and value else value
    return found


def _finite(values: Any) -> Any:
    """JSON has no NaN: null stands for it."""
    if isinstance(values, Mapping):
        return {k: _finite(v) for k, v in values.items()}
    if isinstance(values, list):
        return [_finite(v) for v in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values
