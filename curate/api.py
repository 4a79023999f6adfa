"""What Python users call: `curate.run(...)`, and results with tables."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

    from curate.executors.executor import Executor
    from curate.executors.local import LocalExecutor
    from curate.recipe_nodes import Recipe
    from curate.runner import Display, Outcome


EARLY = 4  # workers started before the number of tasks is known


class DatasetResult:
    """A finished dataset: its figures, and its rows as a table."""

    def __init__(self, name: str, folder: Path, entry: dict[str, Any]) -> None:
        self.name, self.folder, self.figures = name, folder, entry

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows as a pyarrow table, in order."""
        return read_dataset(self.folder, columns)

    def __repr__(self) -> str:
        return f"<dataset {self.name}: {self.figures['rows_out']:,} rows at {self.folder}>"

    def _repr_html_(self) -> str:
        from curate.report.notebook import dataset_html

        return dataset_html(self.name, self.folder, self.figures)


class Result:
    """What a run made. `result["web"].table()`; `result.manifest` has every figure."""

    def __init__(self, outcome: Outcome) -> None:
        self.out, self.manifest, self.seconds = outcome.out, outcome.manifest, outcome.seconds
        self.tasks = {"run": outcome.tasks_run, "reused": outcome.tasks_reused}
        self._outcome = outcome
        self.datasets = {n: DatasetResult(n, self.out / n, e) for n, e in self.manifest["datasets"].items()}
        self.models = {n: self.out / n for n in self.manifest["models"]}

    def __getitem__(self, name: str) -> DatasetResult:
        return self.datasets[name]

    def __repr__(self) -> str:
        return f"<run of {self.manifest['recipe']}: {', '.join([*self.datasets, *self.models])} at {self.out}>"

    def _repr_html_(self) -> str:
        from curate.report.notebook import result_html

        return result_html(self.manifest, self.out, self.seconds)

    def summary(self) -> dict[str, Any]:
        """The object that `curate run --json` prints."""
        return self._outcome.summary()


def run(
    recipe: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    only: Sequence[str] = (),
    set: Sequence[str] = (),
    sample: int | None = None,
    workers: int | None = None,
    executor: str | Executor = "local",
    plugins: Sequence[str] = (),
    display: Display | None = None,
) -> Result:
    """Run a recipe and return its results; what was finished before is reused.

    out: default runs/<recipe name>; with `sample` the folder's name gets the suffix @sample
    set: overrides such as "datasets.web.steps.language.min_score=0.8"
    executor: "local", "ray", or one that `make_executor` made and that runs already, with its own number of workers; it ends with the run
    Raises RecipeError before anything is written, RunError where the run stopped (call again to resume).
    """
    with make_executor(executor, workers) if isinstance(executor, str) else executor as runner:
        start_early(runner, recipe, out, sample)
        from curate.recipe import load_recipe
        from curate.runner import run_recipe

        loaded = load_recipe(os.fspath(recipe), tuple(set), tuple(plugins))
        outcome = run_recipe(loaded, run_folder(loaded.name, out, sample), Announced(runner, display, loaded), display, tuple(only), sample)
        _dismiss(runner)
        _describe(outcome.out, display)
    return Result(outcome)


def _dismiss(executor: Executor) -> None:
    """No task comes any more: the processes end while the pages are written."""
    from curate.executors.local import LocalExecutor

    if isinstance(executor, LocalExecutor):
        executor.dismiss()


def _describe(out: Path, display: Display | None) -> None:
    """Write what people read: report.html and card.md. The run is done whatever happens here."""
    from curate.report.after_run import write_pages

    for problem in write_pages(out):
        if display is not None:
            display.note(problem)


class Announced:
    """An executor that starts when the first task needs it, saying so where kernels must be compiled first."""

    def __init__(self, inner: Executor, display: Display | None, recipe: Recipe) -> None:
        self._inner, self._display, self._recipe, self._warm = inner, display, recipe, False

    def run(self, job_path: str, tasks: Sequence[int], progress: Any, whole_machine: bool = False) -> None:
        """Compile the recipe's kernels once, then run the tasks."""
        from curate.executors.local import LocalExecutor
        from curate.report.after_run import import_ahead

        if isinstance(self._inner, LocalExecutor) and not self._warm and not whole_machine:
            self._inner.start(len(tasks))
            self._compile(self._inner)
            Thread(target=import_ahead).start()  # this process only listens while the first tasks run
        self._warm = self._warm or not whole_machine
        self._inner.run(job_path, tasks, progress, whole_machine)

    def _compile(self, inner: LocalExecutor) -> None:
        from curate.compilation import to_compile
        from curate.kernels.cache import note_compiled

        modules = to_compile(self._recipe)
        if not modules:
            return
        if self._display is not None:
            self._display.note(f"compiling {len(modules)} modules of kernels, once (up to a minute)")
        inner.warm_up(modules)
        for name in modules:
            note_compiled(name)

    def __enter__(self) -> Announced:
        return self

    def __exit__(self, *error: Any) -> None:
        return None


def start_early(executor: Executor, recipe: str | os.PathLike[str], out: str | os.PathLike[str] | None, sample: int | None) -> None:
    """Start the first workers of a new run: getting ready takes each a second, in which this process imports and reads the recipe.

    Nothing starts where the folder holds a finished run, whose tasks may all be reused.
    """
    from curate.executors.local import LocalExecutor

    folder = run_folder(Path(recipe).stem, out, sample)
    if isinstance(executor, LocalExecutor) and os.path.isfile(recipe) and not (folder / "manifest.json").exists():
        executor.start(EARLY)


def run_folder(name: str, out: str | os.PathLike[str] | None, sample: int | None) -> Path:
    """Where the results of a run of the recipe of that name go."""
    folder = Path(out) if out is not None else Path("runs") / name
    return folder.with_name(folder.name + "@sample") if sample is not None else folder


def make_executor(name: str, workers: int | None) -> Executor:
    """The executor of that name. RecipeError where there is none."""
    from curate import registry
    from curate.errors import RecipeError

    if name not in registry.names("executors"):
        known = registry.names("executors")
        raise RecipeError(f"--executor {name!r} is unknown.{registry.nearest(name, known)} There is: {', '.join(known)}.")
    executor: Executor = registry.load("executors", name)(workers)
    return executor


def read_dataset(folder: str | os.PathLike[str], columns: Sequence[str] | None = None) -> pa.Table:
    """Rows of a published dataset (parquet, jsonl or token shards), in order."""
    import pyarrow as pa

    folder = Path(folder)
    names = list(columns) if columns else None
    parquet, arrow = sorted(folder.glob("part-*.parquet")), sorted(folder.glob("part-*.arrow"))
    if parquet:
        import pyarrow.parquet as pq

        return pa.concat_tables(pq.read_table(p, columns=names) for p in parquet)
    if arrow:
        tables = [pa.ipc.open_file(pa.memory_map(str(p))).read_all() for p in arrow]
        return pa.concat_tables([t.select(names) if names else t for t in tables])
    lines = sorted(folder.glob("part-*.jsonl*"))
    if lines:
        import polars as pl

        frame = pl.scan_ndjson(lines, infer_schema_length=None)
        return (frame.select(names) if names else frame).collect().to_arrow()
    raise FileNotFoundError(f"{folder} has no part-*.parquet, part-*.arrow or part-*.jsonl")
