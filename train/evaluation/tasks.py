"""A task: where its items are, how they are asked, what is counted.

`--tasks` takes files of rows (JSON lines, a JSON list, Parquet, Arrow; the kind is told by the fields, see items.py) and YAML files:

    tasks:
      - arc_easy.jsonl.gz                        # as on the command line
      - {name: mmlu, file: mmlu_test.jsonl.gz, shots: 5, shots_from: mmlu_dev.jsonl.gz}
      - {name: gsm8k, file: gsm8k_test.jsonl.gz, metric: math, max_tokens: 256, stop: ["\\n\\n"]}
      - {name: wiki, file: "held_out/*.jsonl.zst", limit: 500}
      - {name: help, file: prompts.jsonl, judge: {model: {server: "http://localhost:8000/v1", name: big}}}   # win rate over the first model
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from curate.errors import DataError, RecipeError
from curate.io.files import list_files
from curate.io.reader import Split
from formats.convert import SUFFIXES
from formats.delimited_rows import delimited_blocks, is_delimited
from formats.generation.models import LocalModel, ModelSettings, PluginModel, RecordedModel, assets
from formats.sources import Line, is_table, json_columns, rows_of, table_batches, table_rows
from train.evaluation.items import Item, NotAnItem, item_of, judged_item

BETWEEN_SHOTS = "\n\n"


class JudgeSettings(BaseModel):
    """Who compares answers, and with what."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: ModelSettings = Field(description="who judges: {server, name}, {batch, ...}, a folder, {recorded}; paths start at the task file")
    against: str | None = Field(
        default=None, min_length=1, description="field of the rows with answers to compare with; null: the answers of the first model asked"
    )
    reference: str | None = Field(default=None, min_length=1, description="field of the rows with a reference answer, shown to the judge")
    criteria: str = Field(default="", max_length=20_000, description="what to look at, in the judge's prompt")
    temperature: float | None = Field(default=0.0, ge=0, le=10, description="of the judge")
    max_tokens: int | None = Field(default=1024, ge=1, le=1 << 24, description="most tokens of a reply")
    max_failed: float = Field(default=0.0, ge=0, le=1, description="share of replies that may fail for good; more stop the command")

    @field_validator("model")
    @classmethod
    def _reachable(cls, model: ModelSettings) -> ModelSettings:
        if isinstance(model, PluginModel):
            raise ValueError("a plugin can't judge here, no file of plugins is read; use {server}, {batch}, a folder or {recorded}")
        return model


class TaskSettings(BaseModel):
    """An entry of a task file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str = Field(min_length=1, description="file or pattern of files with the items")
    name: str | None = Field(default=None, min_length=1, description="name in tables; the file's without its suffixes")
    kind: str | None = Field(
        default=None,
        pattern="^(text|choice|continuation|answer|code)$",
        description="how it is asked, where the fields of rows leave a choice",
    )
    shots: int = Field(default=0, ge=0, le=1000, description="solved items before each question")
    shots_from: str | None = Field(default=None, min_length=1, description="file with items for these; the other items of the task itself")
    limit: int | None = Field(default=None, ge=1, description="only so many items, drawn by seed")
    seed: int = Field(default=0, ge=0, description="of the drawing of items and shots")
    metric: str | None = Field(default=None, min_length=1, description="of answers: exact, f1, math, choice, bleu, rouge, or any verifier")
    pattern: str | None = Field(default=None, min_length=1, description="regular expression that finds the answer in what the model wrote")
    samples: int = Field(default=1, ge=1, le=1000, description="answers to each question; above 1 pass@k is given as well")
    temperature: float = Field(default=0.0, ge=0, le=10, description="of answers; 0: the likeliest token each time")
    max_tokens: int = Field(default=256, ge=1, le=1 << 20, description="of an answer")
    stop: tuple[str, ...] = Field(default=(), description="texts that end an answer")
    stride: int | None = Field(default=None, ge=1, description="of texts: tokens that each window scores; half a window")
    judge: JudgeSettings | None = Field(default=None, description="answers are compared by a judge, in both orders: win rate")

    @model_validator(mode="after")
    def _judged(self) -> TaskSettings:
        if self.judge is not None and (self.shots or self.samples > 1 or self.metric or self.kind):
            raise ValueError("judge goes without shots, samples, metric and kind: one answer to each bare prompt is compared")
        return self


@dataclass(frozen=True)
class Task:
    """A task with its items, ready to be asked."""

    name: str
    kind: str
    items: tuple[Item, ...]
    settings: TaskSettings
    digest: str  # of the items and of what decides how they are asked
    skipped: int = 0  # rows that could not be read or hold no item

    @property
    def closed(self) -> bool:
        """All items have the same choices: a classification."""
        return self.kind == "choice" and len({item.choices for item in self.items}) == 1 and not self.items[0].contexts


def load_tasks(given: Sequence[str], limit: int | None = None) -> list[Task]:
    """Tasks of files and YAML files. limit: most items of each. Raises RecipeError for wrong settings, DataError for files without items."""
    tasks = [load_task(_limited(settings, limit), folder) for settings, folder in _settings(given)]
    names = [task.name for task in tasks]
    for name in names:
        if names.count(name) > 1:
            raise RecipeError(f"two tasks are called {name!r}. Give `name:` in a task file.")
    return tasks


def task_files(given: Sequence[str]) -> list[str]:
    """Every file whose content decides what is asked: YAML files, items, items that examples are drawn from. Sorted, each once."""
    found = {entry for entry in given if _is_yaml(entry)}
    for settings, folder in _settings(given):
        for pattern in (settings.file, settings.shots_from):
            if pattern is not None:
                found |= {source.uri for source in list_files((pattern,), folder, SUFFIXES, "tasks")}
        if settings.judge is not None:
            found |= {asset.uri for asset in assets(settings.judge.model)}
    return sorted(found)


def _settings(given: Sequence[str]) -> Iterator[tuple[TaskSettings, str]]:
    """Settings of every task, and the folder where their relative paths start."""
    for entry in given:
        if _is_yaml(entry):
            yield from ((settings, str(Path(entry).parent)) for settings in _from_yaml(Path(entry)))
        else:
            yield TaskSettings(file=entry), "."


def _is_yaml(entry: str) -> bool:
    return Path(entry).suffix in (".yaml", ".yml")


def _limited(settings: TaskSettings, limit: int | None) -> TaskSettings:
    if limit is None or (settings.limit is not None and settings.limit <= limit):
        return settings
    return settings.model_copy(update={"limit": limit})


def _from_yaml(path: Path) -> list[TaskSettings]:
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise RecipeError(f"{path}: not read: {error}") from error
    entries = content.get("tasks") if isinstance(content, dict) else content
    if not isinstance(entries, list) or not entries:
        raise RecipeError(f"{path}: a list of tasks is expected, or `tasks:` with one.")
    found: list[TaskSettings] = []
    problems: list[str] = []
    for number, entry in enumerate(entries, 1):
        try:
            found.append(_at_home(TaskSettings(**({"file": entry} if isinstance(entry, str) else entry)), path.parent))
        except (ValidationError, TypeError) as error:
            lines = (
                [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
                if isinstance(error, ValidationError)
                else [str(error)]
            )
            problems += [f"{path}: task {number}: {line}" for line in lines]
    if problems:
        raise RecipeError("\n".join(problems))
    return found


def _at_home(settings: TaskSettings, folder: Path) -> TaskSettings:
    """The settings with the files of a judge as absolute paths."""
    judge = settings.judge
    if judge is None:
        return settings
    model = LocalModel(folder=judge.model) if isinstance(judge.model, str) else judge.model
    if isinstance(model, LocalModel):
        home = (folder / Path(model.folder).expanduser()).absolute()
        if not (home / "config.json").is_file():
            raise RecipeError(f"judge.model: {model.folder!r} is no model: {home} has no config.json.")
        model = model.model_copy(update={"folder": str(home)})
    elif isinstance(model, RecordedModel):
        model = model.model_copy(update={"recorded": str((folder / Path(model.recorded).expanduser()).absolute())})
        if not Path(model.recorded).is_file():
            raise RecipeError(f"judge.model: there is no file {model.recorded}.")
    return settings.model_copy(update={"judge": judge.model_copy(update={"model": model})})


def load_task(settings: TaskSettings, folder: str) -> Task:
    """Read the items of a task. folder: where relative paths start."""
    judge = settings.judge
    items, skipped, why = read_items(settings.file, folder, item_of if judge is None else lambda row: judged_item(row, judge.against))
    if settings.kind is not None:
        items = [i for i in items if i.kind == settings.kind]
    if not items:
        raise DataError(f"{settings.file}: no item of a known form{f' of kind {settings.kind!r}' if settings.kind else ''}. {why}")
    kinds = sorted({item.kind for item in items})
    if len(kinds) > 1:
        raise DataError(f"{settings.file}: items of several kinds ({', '.join(kinds)}). Say which with `kind:`, or split the file.")
    items = _with_labels(items)
    whole = items
    if settings.limit is not None and settings.limit < len(items):
        chosen = sorted(random.Random(f"{settings.seed}:limit").sample(range(len(items)), settings.limit))
        items = [items[i] for i in chosen]
    if settings.shots:
        examples = _with_labels(read_items(settings.shots_from, folder)[0]) if settings.shots_from else whole
        items = [_with_shots(item, examples, settings) for item in items]
    name = settings.name or _stem(settings.file)
    asked = settings.model_dump(exclude={"file", "name", "shots_from"} | ({"judge"} if judge is None else set()))
    digest = hashlib.sha256(repr((sorted(asked.items()), [_key(i) for i in items])).encode()).hexdigest()
    return Task(name, kinds[0], tuple(items), settings, digest, skipped)


def read_items(file: str, folder: str, make: Callable[[Any], Item] = item_of) -> tuple[list[Item], int, str]:
    """(items in order, rows that are none, why the first of these is none). Raises DataError where there is no such file."""
    found: list[Item] = []
    skipped, why = 0, "It is empty."
    for source in list_files((file,), folder, SUFFIXES, "tasks"):
        for row in _rows(source):
            try:
                if not isinstance(row, Line):
                    raise NotAnItem(str(row.error))
                item = make(row.value)
            except NotAnItem as error:
                why = f"The first row that is none: {error}" if not skipped else why
                skipped += 1
                continue
            found.append(item if item.domain else replace(item, domain=_stem(source.path)))
    return found, skipped, why


def _rows(source: Any) -> Any:
    if is_table(source.uri):
        for batch in table_batches(source.uri):
            yield from table_rows(batch, 0, json_columns(batch.schema), source.path)
        return
    if is_delimited(source.uri):
        for block in delimited_blocks(Split(source.uri, source.path, source.size, source.fingerprint)):
            yield from block.lines()
        return
    yield from rows_of(Split(source.uri, source.path, source.size, source.fingerprint))


def _with_labels(items: list[Item]) -> list[Item]:
    """Classification rows with the labels of the file as choices."""
    bare = [i for i in items if i.kind == "choice" and not i.choices]
    if not bare:
        return items
    labels = tuple(sorted({i.answers[0] for i in bare}))
    return [
        replace(i, prompt=f"{i.prompt}\nLabel:", choices=labels, gold=(labels.index(i.answers[0]),), answers=()) if not i.choices else i
        for i in items
    ]


def _with_shots(item: Item, examples: Sequence[Item], settings: TaskSettings) -> Item:
    """The item behind solved ones: drawn by the seed and the item itself, so that they do not depend on the other items asked."""
    others = [e for e in examples if _key(e) != _key(item)]
    if len(others) < settings.shots:
        raise DataError(f"{settings.file}: {settings.shots} shots are wanted, there are {len(others)} other items.")
    drawn = random.Random(f"{settings.seed}:{_key(item)}").sample(others, settings.shots)
    before = BETWEEN_SHOTS.join(e.shown() for e in drawn) + BETWEEN_SHOTS
    if item.contexts:
        return replace(item, contexts=tuple(before + c for c in item.contexts))
    return replace(item, prompt=before + item.prompt)


def _key(item: Item) -> str:
    return repr((item.kind, item.prompt, item.choices, item.gold, item.contexts, item.answers))


def _stem(file: str) -> str:
    name = Path(file).name
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return Path(file).stem
