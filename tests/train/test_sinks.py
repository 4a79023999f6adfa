"""TensorBoard, read back with its own reader, and W&B as a fake module; an interrupted run goes on in the same curves."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from curate.errors import MissingDependency
from train.metrics import Metrics
from train.pretrain import Pretrain
from train.sinks import open_sink


def write(work: Path, track: list[str], steps: range) -> None:
    metrics = Metrics(work, track, "base", {"clip": 1.0}, 10, lambda share, what: None, steps.start)
    for step in steps:
        metrics.step(step, {"loss": 3.0 - step / 8, "by": {"source": {"web": [2.5, 800]}}, "skipped": "nan"})
        metrics.speed(step, 100, 0.5, 1e12, None, 3.0)
    metrics.close()


@pytest.mark.filterwarnings("ignore")
def test_tensorboard_holds_every_step_once(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    write(tmp_path, ["tensorboard"], range(6))
    write(tmp_path, ["tensorboard"], range(4, 10))  # from the checkpoint of step 4
    read = reader.EventAccumulator(str(tmp_path / "tensorboard"))
    read.Reload()
    assert [(e.step, e.value) for e in read.Scalars("loss")] == [(n, 3.0 - n / 8) for n in range(10)]
    assert [e.value for e in read.Scalars("by/source/web")] == [2.5] * 10
    assert [e.step for e in read.Scalars("speed/tokens_per_second")] == [9]


class Run:
    """What wandb.init gives."""

    def __init__(self, id: str | None, **given: Any) -> None:
        self.id, self.given, self.logged = id or "r1", given, list[tuple[int, dict[str, float]]]()

    def log(self, values: dict[str, float], step: int) -> None:
        self.logged.append((step, values))

    def finish(self) -> None:
        self.logged.append((-1, {}))


def test_wandb_gets_numbers_by_step_and_keeps_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[Run] = []
    fake: Any = types.ModuleType("wandb")
    fake.__spec__ = importlib.util.spec_from_loader("wandb", None)
    fake.init = lambda **given: runs.append(Run(**given)) or runs[-1]
    monkeypatch.setitem(sys.modules, "wandb", fake)
    write(tmp_path, ["wandb"], range(2))
    write(tmp_path, ["wandb"], range(2, 3))
    first, second = runs
    assert first.given["name"] == "base" and first.given["config"] == {"clip": 1.0} and first.given["dir"] == str(tmp_path)
    assert first.logged == [(0, {"loss": 3.0, "by/source/web": 2.5}), (1, {"loss": 2.875, "by/source/web": 2.5}), (-1, {})]
    assert second.id == "r1" and second.given["resume"] == "allow" and second.logged[0][0] == 2


@pytest.mark.parametrize(("name", "extra"), [("tensorboard", "train"), ("wandb", "wandb")])
def test_a_sink_that_is_not_installed_is_named_before_the_run(
    name: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda wanted: None if wanted == name else found("json"))
    says = rf"track: {name} needs the package '{name}', which is not installed. Run: pip install 'curate\[{extra}\]'"
    with pytest.raises(MissingDependency, match=says):
        Pretrain(model={"preset": "llama-tiny"}, data="mix", track=[name]).check_packages("base")
    with pytest.raises(MissingDependency, match=says):
        open_sink(name, tmp_path, "base", {}, 0)
