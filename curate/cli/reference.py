"""The reference pages of docs/, written from the code: `python -m curate.cli.reference docs/reference`.

Steps, readers, writers, kinds of nodes, commands and keys of a recipe, with the texts that `curate steps NAME`, `curate schema` and
`--help` show. Only what comes with curate itself is told, not what other installed packages add. A test compares the files.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, get_args, get_origin

import typer

from curate import describe, registry
from curate.cli.app import COMMANDS
from curate.cli.output import OPTIONS
from curate.recipe_write import settings_of

OWN = ("curate.", "formats.", "train.")
SHARED = ("mode", "checkpoint")  # settings of steps that are told once
SCALARS = {bool: "flag", int: "N", float: "X", str: "TEXT", Path: "PATH"}

KEYS = {  # of recipes, where the schema has no word for them
    "seed": "decides everything that is drawn; default 0",
    "datasets": "name: dataset, in any order",
    "models": "name: model or tokenizer",
    "read": "a reader and its input: {jsonl: PATHS, text: FIELD}",
    "steps": "what is done to the documents, in this order; a step is its name, or {name: settings}, or {preset: NAME}",
    "train": "kind of training; its settings stand beside it",
}

# What --json prints: the keys of its object, or in words what it is. tests/curate/test_cli_output.py runs each command and compares.
PRINTS = {
    "init": "recipe, seen",
    "validate": "recipe, nodes",
    "plan": "recipe, out, stages, nodes, steps, estimated, basis, without",
    "run": "recipe, out, seconds, tasks, datasets, models",
    "status": "run, state, stages",
    "inspect": "a line with an object for each row",
    "steps": "a list of steps; of one step: name, kind, summary, details, origin, shorthand, parameters, reads, adds, annotates, removes, drops",
    "schema": "the JSON Schema of recipes",
    "tune": "recipe, sample, datasets",
    "gc": "folders, bytes",
    "export": "out, form, dataset, documents, tokens, bytes_per_token, files, tokenizer, dataset_digest",
    "report": "report, bytes, library",
    "trace": "mix, step, batch_windows, rank, world_size, windows, documents",
    "verify": "run, content, files, bytes, mixes, problems",
    "why": "documents",
    "diff": "first, second, changes, datasets, only_first, only_second",
    "card": "cards; with --check: card, differences",
    "push": "repository, files, bytes, address",
    "tokenizer train": "tokenizer, vocab_size, bytes, documents; with --weight: times_read",
    "tokenizer report": "tokenizers, sources, languages",
    "tokenizer convert": "tokenizer, vocab_size",
    "audit pii": "a list with an object for each dataset",
    "audit dedup": "a list with an object for each step",
    "audit contamination": "steps, evidence",
    "index info": "index, versions",
    "index verify": "index, documents",
    "index merge": "index, version",
    "index reset": "index, version",
    "classifier train": "the report that lies beside the model",
    "convert": "path, format, evidence, rows, records, held, written, unreadable, dropped, lost_fields, odd, notes, examples",
    "pool": "prompts, candidates, without_candidates, cut_off, empty, mean_length, scores, agreement",
    "label-studio": "tasks, written, configuration; of import: counts, agreement, written",
    "render": "source, rows, and counts; template_sha256",
    "train": "model, info; with --plan: model, plan",
    "doctor": "kind, rows, trained, left_out, tokens, trained_tokens, defects, examples, not_checked, refused_for",
    "eval": "models, written",
    "ablate": "the content of ablation.json",
}


def main(folder: str) -> None:
    """Write all pages."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (Path(folder) / name).write_text(text, encoding="utf-8")


def pages() -> dict[str, str]:
    """Every page by file name."""
    made = {"steps.md": _steps(), "readers.md": _readers(), "nodes.md": _nodes(), "commands.md": _commands(), "recipe.md": _recipe()}
    note = "<!-- Written by `python -m curate.cli.reference docs/reference`; edit the code instead. -->\n"
    return {name: "\n".join([note, *lines]).rstrip() + "\n" for name, lines in made.items()}


def _own(kind: str) -> list[tuple[str, Any]]:
    """(name, class) of everything of a kind that comes with curate."""
    found = [(name, where) for name, where in registry.table(kind).items() if where.startswith(OWN)]
    return [(name, registry.load(kind, name)) for name, _ in found]


def _steps() -> Iterator[str]:
    yield "# Steps\n"
    yield "Every filter takes `mode: annotate` (add columns, drop nothing; default `drop`) and every step `checkpoint: true` (end the stage after it)."
    yield "A step is also a function on a table: `curate.steps.NAME(table, setting=value)`.\n"
    for name, _ in _own("steps"):
        card = describe.describe_step(name)
        yield f"## {name}\n\n*{card.kind}*: {_cell(card.summary)}\n"
        if card.details:
            yield card.details + "\n"
        if card.origin:
            yield f"Source: {card.origin}\n"
        yield from _table([p for p in card.parameters if p.name not in SHARED])
        told = {"reads": card.reads, "adds": card.adds, "adds with annotate": card.annotates, "removes": card.removes, "drops": card.drops}
        lines = [f"- {what}: {', '.join(f'`{value}`' for value in values)}" for what, values in told.items() if values]
        yield "\n".join(lines) + "\n"


def _readers() -> Iterator[str]:
    yield "# Readers and writers\n"
    yield "`read: {NAME: PATHS, setting: value}`; `write: {format: NAME, setting: value}`. A setting that no table names is refused.\n"
    yield from _entries("readers", "reader ")
    yield "## writers\n\n| format | what | settings |\n|---|---|---|"
    yield from (f"| `{name}` | {_cell(_doc(cls).partition(chr(10))[0])} | {_writer_settings(cls)} |" for name, cls in _own("writers"))


def _writer_settings(cls: type) -> str:
    """The settings of a writer with their defaults; what it hands on to `convert` stands with that step."""
    own = [p for p in settings_of(cls).values() if p.kind is not p.VAR_KEYWORD]
    return ", ".join(f"`{p.name}: {str(p.default).lower() if isinstance(p.default, bool) else p.default}`" for p in own)


def _entries(kind: str, before: str = "") -> Iterator[str]:
    """Every registered class of a kind: its name, what its docstring says, its settings."""
    for name, cls in _own(kind):
        yield f"## {before}{name.replace(':', ': ')}\n\n{_doc(cls)}\n"
        yield from _table(describe.parameters(cls))


def _nodes() -> Iterator[str]:
    yield "# Kinds of datasets and models\n"
    yield "Beside `read` or `from` with `steps`, a dataset may be of one of these kinds: `NAME: {KIND: {setting: value}}`. A model is `NAME: {train: KIND, setting: value}`.\n"
    yield from _entries("nodes")


def _recipe() -> Iterator[str]:
    from curate.recipe_schema import json_schema

    schema = json_schema()
    yield "# Keys of a recipe\n"
    yield "A recipe of one dataset has its keys at the top. Paths start at the recipe's folder. `curate schema` prints the whole JSON Schema.\n"
    for title, part in (("recipe", schema), *((name, schema["$defs"][name]) for name in ("dataset", "model"))):
        yield f"## {title}\n\n| key | what |\n|---|---|"
        keys: dict[str, str] = {}
        for shape in (part, *part.get("anyOf", ()), *part.get("oneOf", ())):
            for key, about in shape.get("properties", {}).items():
                keys.setdefault(key, str(about.get("description", "")))
        named = {key: about or KEYS.get(key, "a kind of dataset: [kinds](nodes.md)") for key, about in keys.items()}
        yield from (f"| `{key}` | {about.replace('|', '/')} |" for key, about in named.items())
        yield ""
    yield "Settings of each kind of model: [kinds](nodes.md). Of each step: [steps](steps.md)."


def _commands() -> Iterator[str]:
    yield "# Commands\n"
    yield "Every command takes `--json`, `--quiet` (`-q`), `--verbose` (`-v`) and `--help` (`-h`).\n"
    yield "- `--json`: stdout holds JSON on one line and nothing else (`inspect`: a line a row); progress and words go to stderr."
    yield "- `--quiet`: nothing is printed but errors, and what `--json` asks for."
    yield "- `--verbose`: errors come with their traceback; `run` adds where the time went.\n"
    yield "Exit codes: 0 done, 1 the run failed and can be resumed (or a check found something), 2 the recipe or the command is wrong and nothing was written, 130 interrupted. With `--json` the last line on stderr is"
    yield '`{"error": {"kind", "message", "problems": [{"message", "file", "line"}], "exit_code"}}`; NaN and infinities are null.\n'
    for name, function in commands().items():
        arguments, options = [], []
        for parameter in inspect.signature(function, eval_str=True).parameters.values():
            info = next((a for a in get_args(parameter.annotation)[1:] if isinstance(a, typer.models.ParameterInfo)), None)
            if isinstance(info, typer.models.ArgumentInfo):
                arguments.append((parameter, info))
            elif info is not None and not {info.default, *(info.param_decls or ())} & set(OPTIONS):
                options.append((parameter, info))
        usage = " ".join([f"curate {name}", *(_argument(parameter) for parameter, _ in arguments)])
        yield f"## {name}\n\n`{usage}`: {' '.join(inspect.cleandoc(function.__doc__ or '').split())}\n"
        yield "| | default | |\n|---|---|---|"
        yield from (f"| {parameter.name.upper()} | {_given(parameter)} | {_cell(info.help or '')} |" for parameter, info in arguments)
        yield from (f"| {_option(parameter, info)} | {_given(parameter)} | {_cell(info.help or '')} |" for parameter, info in options)
        yield f"| `--json` | | prints {PRINTS[name]} |\n"


def commands() -> dict[str, Callable[..., Any]]:
    """Every command of curate by its words: 'run', 'audit pii'."""
    found: dict[str, Callable[..., Any]] = {}
    places = COMMANDS | {p.name: p.value for p in registry.installed("curate.commands") if p.value.startswith(OWN)}
    for name, place in places.items():
        module, _, attribute = place.partition(":")
        command = getattr(import_module(module), attribute)
        if isinstance(command, typer.Typer):
            found |= {f"{name} {info.name}": info.callback for info in command.registered_commands if info.callback is not None}
        else:
            found[name] = command
    return found


def _argument(parameter: inspect.Parameter) -> str:
    name = parameter.name.upper()
    several = get_origin(get_args(parameter.annotation)[0]) is list
    shown = f"{name}..." if several else name
    return shown if parameter.default is inspect.Parameter.empty else f"[{shown}]"


def _option(parameter: inspect.Parameter, info: Any) -> str:
    names = [str(d) for d in (info.default, *(info.param_decls or ())) if isinstance(d, str)] or [f"--{parameter.name.replace('_', '-')}"]
    kind = get_args(parameter.annotation)[0]
    inner = next((a for a in get_args(kind) if a is not type(None)), kind)
    inner = get_args(inner)[0] if get_origin(inner) is list else inner
    value = info.metavar or SCALARS.get(inner, "TEXT")
    return "`" + ", ".join(names) + ("`" if value == "flag" else f" {value}`")


def _given(parameter: inspect.Parameter) -> str:
    default = parameter.default
    return "" if default in (None, False, inspect.Parameter.empty) else f"`{default}`"


def _table(parameters: Sequence[describe.Parameter]) -> Iterator[str]:
    if not parameters:
        return
    yield "| setting | takes | default | |\n|---|---|---|---|"
    for p in parameters:
        default = "required" if p.required else f"`{p.default}`" if p.default else ""
        yield f"| `{p.name}` | {_cell(p.allowed)} | {_cell(default)} | {_cell(p.description)} |"
    yield ""


def _doc(cls: type) -> str:
    return inspect.cleandoc(cls.__doc__ or "")


def _cell(text: str) -> str:
    """Text as a cell of a table: one line, no border, no HTML."""
    return " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")


if __name__ == "__main__":
    main(sys.argv[1])
