"""Settings of tasks that are asked while a model is trained. Need no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field

from curate.errors import RecipeError
from curate.step import Asset

if TYPE_CHECKING:
    from train.evaluation.tasks import Task

ASKED_IN_MEMORY = ("text", "choice", "continuation")


class TaskEvaluation(BaseModel):
    """Tasks that the weights at hand are asked every so many steps; the settings are those of the node `evaluate`."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    every: int | None = Field(default=None, ge=1, le=10**9, description="steps from one time to the next; the end always; null: then only")
    tasks: list[Annotated[str, Field(min_length=1)]] = Field(
        min_length=1,
        max_length=1000,
        description="files of items, or YAML files of tasks with settings; none whose answers are written by the model",
        json_schema_extra={"path": True},
    )
    limit: int | None = Field(default=None, ge=1, le=10**9, description="at most so many items of each task, drawn by the task's seed")
    batch_tokens: int = Field(default=16_384, ge=64, le=1 << 26, description="tokens in one batch")
    max_length: int | None = Field(default=None, ge=2, le=1 << 24, description="longest sequence; null: what the model reads")

    def due(self, done: int, steps: int) -> bool:
        """Whether tasks are asked behind step number `done`, counted from 1, of `steps`."""
        return done == steps or (self.every is not None and done % self.every == 0)

    def assets(self) -> tuple[Asset, ...]:
        """Task files, and the files of items that they name."""
        from train.evaluation.tasks import task_files

        return tuple(Asset(file, "evaluation task") for file in task_files(self.tasks))

    def load(self) -> list[Task]:
        """The tasks. Raises RecipeError where one can't be asked during training."""
        from train.evaluation.tasks import load_tasks

        tasks = load_tasks(self.tasks, self.limit)
        for task in tasks:
            if task.kind not in ASKED_IN_MEMORY:
                raise RecipeError(
                    f"evaluate: in {task.name} the model must write answers, which it can't while it is trained. Take texts, choices or "
                    "continuations here, and ask this task with `curate eval` or the node `evaluate` when the model is done."
                )
        return tasks

    def forecast(self) -> str:
        """A line for `curate plan`."""
        tasks = self.load()
        when = "at the end" if self.every is None else f"every {self.every:,} steps and at the end"
        return f"asks {sum(len(t.items) for t in tasks):,} items of {', '.join(t.name for t in tasks)} {when}"
