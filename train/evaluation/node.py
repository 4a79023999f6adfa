"""The node `evaluate`: models of a recipe asked the items of files, as `curate eval` asks them, with the comparison beside the figures.

datasets:
  judged: {evaluate: {models: [chat, final], tasks: [tasks.yaml], chat: true}}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from curate.errors import DataError
from curate.node import Node, NodeInput, NodeResult, Progress
from curate.step import Asset, Context
from train.evaluation.tasks import load_tasks, task_files

RESULTS = "evaluation.json"
Name = Annotated[str, Field(min_length=1)]


class EvaluateNode(Node):
    """Figures of one or several models on tasks. With several, the others are compared to the first, item by item, with 95 % intervals.

    Writes evaluation.json ({models: {name: {task: figures}}, compared: {name: {task: difference}}, digests}) and, for each model, a folder NAME with
    the files of `curate eval`: evaluation.json and the items of each task. Nothing is a row: no dataset can be read from it.
    """

    kind: ClassVar[str] = "evaluate"
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers")
    extra: ClassVar[str] = "train"
    summary: ClassVar[str] = "figures of models on tasks, compared item by item"

    models: list[Name] = Field(min_length=1, max_length=100, description="models of the recipe; the others are compared to the first")
    tasks: list[Name] = Field(
        min_length=1,
        max_length=1000,
        description="files of items, or YAML files of tasks with settings",
        json_schema_extra={"path": True},
    )
    chat: bool = Field(default=False, description="send questions that are answered in words through the chat template")
    limit: int | None = Field(default=None, ge=1, le=10**9, description="at most so many items of each task, drawn by the task's seed")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto: the first GPU, else the CPU")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(default="auto", description="auto: bfloat16 on a GPU, float32 on a CPU")
    batch_tokens: int = Field(default=16_384, ge=64, le=1 << 26, description="tokens in one batch")
    max_length: int | None = Field(default=None, ge=2, le=1 << 24, description="longest sequence; null: what the model reads")

    @field_validator("models", mode="after")
    @classmethod
    def _each_once(cls, models: list[str]) -> list[str]:
        twice = sorted({m for m in models if models.count(m) > 1})
        if twice:
            raise ValueError(f"{twice[0]!r} is named twice")
        return models

    def inputs(self) -> tuple[str, ...]:
        """The models."""
        return tuple(self.models)

    def documents(self) -> tuple[str, ...]:
        """None: it reads models."""
        return ()

    def assets(self) -> tuple[Asset, ...]:
        """Task files, and the files of items that they name."""
        return tuple(Asset(file, "evaluation task") for file in task_files(self.tasks))

    def forecast(self, inputs: Mapping[str, NodeInput], exact: bool) -> list[str]:
        """How many items."""
        tasks = load_tasks(self.tasks, self.limit)
        return [f"{len(self.models)} models on {sum(len(t.items) for t in tasks):,} items of {', '.join(t.name for t in tasks)}"]

    def run(self, inputs: Mapping[str, NodeInput], out: Path, ctx: Context, progress: Progress) -> NodeResult:
        """Ask every model. Raises DataError where an input is no model."""
        from train.evaluation.asking import Asking, ask
        from train.evaluation.evaluate import TaskResult, save
        from train.evaluation.judging import JUDGED, check_opponents, judge
        from train.evaluation.tables import compare

        for name in self.models:
            if not (Path(inputs[name].folder) / "config.json").is_file():
                raise DataError(f"evaluate: {name!r} is no language model: {inputs[name].folder} has no config.json.")
        tasks = load_tasks(self.tasks, self.limit)
        check_opponents(tasks, len(self.models))
        how = Asking(chat=self.chat, device=self.device, dtype=self.dtype, batch_tokens=self.batch_tokens, max_length=self.max_length)
        tell = _Share(progress, len(self.models) * sum(len(t.items) for t in tasks))
        results: dict[str, list[TaskResult]] = {}
        for name in self.models:
            tell.model = name
            results[name] = ask(inputs[name].folder, tasks, how, tell)
        results = judge(results, tasks, ctx.kept(JUDGED), ctx.say)
        for name, found in results.items():
            save(found, out / name, {"model": name, "harness": "curate"})
        first = results[self.models[0]]
        compared = {
            name: {c.task: {"figure": c.main, **c.difference._asdict(), "verdict": c.verdict} for c in compare(first, results[name])}
            for name in self.models[1:]
        }
        figures = {name: {r.task: {"main": r.main, **r.figures} for r in found} for name, found in results.items()}
        digests = {name: inputs[name].digest for name in self.models}
        report = {"models": figures, "compared": compared, "against": self.models[0], "digests": digests}
        (out / RESULTS).write_text(json.dumps(report, indent=1, ensure_ascii=False, sort_keys=True) + "\n", "utf-8")
        main = {name: {r.task: r.figures[r.main] for r in found} for name, found in results.items()}
        measures = {r.task: r.main for r in first}
        return NodeResult(info={"figures": main, "measures": measures, "items": sum(len(t.items) for t in tasks)})


class _Share:
    """Progress over all models, from what `evaluate` tells of a task's items."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0
        self.model = ""

    def __call__(self, task: str, done: int, total: int) -> None:
        self._done += done
        self._progress(min(1.0, self._done / max(1, self._total)), f"{self.model}: {task}, {total:,} items")

    def tick(self) -> None:
        """Something goes on that has no number yet."""
        self._progress(min(1.0, self._done / max(1, self._total)), f"{self.model}: answering")
