"""A user's own steps from a local file: `curate run r.yaml --plugin my_steps.py`.

A recipe never runs code by itself; only this option does. The file is imported under a name made of its digest, the
digest is part of the key of every stage that uses its steps, and its steps replace nothing that exists. What the file
imports in turn is not part of the digest: a change there is not seen.

    from curate.plugins import per_document

    @per_document("shout")
    def shout(text):
        return text.upper()
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar

import pyarrow as pa

from curate import registry
from curate.errors import Problem, RecipeError
from curate.schema import with_columns
from curate.step import BatchFn, Context, Outcome, Step, Verdict

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)
DocumentFn = Callable[[str], "str | bool | None"]


@dataclass(frozen=True)
class Plugin:
    """A loaded file of steps."""

    path: str
    sha256: str
    steps: dict[str, type[Step]]


_loaded: dict[tuple[str, str], Plugin] = {}


def load_plugin(path: str) -> Plugin:
    """Import a file, once per content and process, and register its steps. Raises RecipeError naming file and line."""
    path = os.path.abspath(path)
    try:
        with open(path, "rb") as file:
            sha256 = hashlib.sha256(file.read()).hexdigest()
    except OSError as error:
        raise RecipeError(Problem(f"can't read the plugin: {(error.strerror or 'unreadable').lower()}.", path)) from error
    if (path, sha256) not in _loaded:
        module = _import(path, f"curate_plugin_{sha256[:16]}")
        plugin = Plugin(path, sha256, _steps_of(module, path, sha256))
        _loaded[path, sha256] = plugin
    registry.add_plugin_steps(_loaded[path, sha256].steps)
    return _loaded[path, sha256]


def load_plugins(paths: Sequence[str]) -> tuple[Plugin, ...]:
    """Import several files, in order."""
    return tuple(load_plugin(path) for path in paths)


def plugin_digest(step: type[Step]) -> str:
    """sha256 of the plugin file that a step's class comes from; '' for steps of installed packages."""
    return str(getattr(step, "plugin_digest", ""))


def _import(path: str, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise RecipeError(Problem("is no plugin; expected a Python file, my_steps.py.", path))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pydantic looks up annotations there, and pickle classes
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # anything may go wrong in a user's file, and is shown as its mistake
        del sys.modules[name]
        raise RecipeError(Problem(f"the plugin does not load: {type(error).__name__}: {error}", path, _line(error, path))) from error
    return module


def _line(error: BaseException, path: str) -> int:
    """Line of the plugin at which an error came up; 0 where it isn't known."""
    if isinstance(error, SyntaxError) and error.filename == path:
        return error.lineno or 0
    frames = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return frames[-1] or 0 if frames else 0


def _steps_of(module: ModuleType, path: str, sha256: str) -> dict[str, type[Step]]:
    """Step classes that the file itself defines, by name. None need be there where it marks something else with `curate_plugin = True`."""
    found: dict[str, type[Step]] = {}
    for value in vars(module).values():
        if not (isinstance(value, type) and issubclass(value, Step) and value.__module__ == module.__name__):
            continue
        name = getattr(value, "name", None)
        if name is None or value in found.values():  # a base class of the file's own; a second name for one class
            continue
        if not isinstance(name, str) or not NAME.fullmatch(name):
            message = f"the step {value.__name__} has the name {name!r}; expected letters, digits, '_', '-' and '.'."
            raise RecipeError(Problem(message, path))
        if name in found:
            raise RecipeError(Problem(f"two steps have the name {name!r}.", path))
        if name in registry.names("steps") and not _is_older(name, path):
            raise RecipeError(Problem(f"a step {name!r} exists already; a plugin can't replace it. Give yours another name.", path))
        value.plugin_digest = sha256  # type: ignore[attr-defined]  # part of the key of stages that use it
        found[name] = value
    if not found and not any(getattr(value, "curate_plugin", False) is True for value in vars(module).values()):
        message = "defines no step: no subclass of curate.step.Step with a `name`, and no function with @per_document."
        raise RecipeError(Problem(message, path))
    return found


def _is_older(name: str, path: str) -> bool:
    """Whether the known step of that name is from an earlier content of the same file."""
    known = registry.load("steps", name)
    return any(plugin.path == path and plugin.steps.get(name) is known for plugin in _loaded.values())


class PerDocument(Step):
    """A step made of a Python function on one text. Slow by design: one call per document."""

    function: ClassVar[DocumentFn]

    def drops(self) -> tuple[str, ...]:
        return (f"{self.name}.rejected",)

    def bind(self, ctx: Context) -> BatchFn:
        function, reason = type(self).function, self.drops()[0]

        def run(batch: pa.RecordBatch) -> Outcome:
            texts: list[str | None] = batch.column("text").to_pylist()
            results = [function(text or "") for text in texts]
            keep = [result is not False for result in results]
            new = [result if isinstance(result, str) else text for result, text in zip(results, texts, strict=True)]
            verdict = Verdict(pa.array(keep, pa.bool_()), pa.array([None if kept else reason for kept in keep], pa.string()))
            if new == texts:
                return Outcome(batch, verdict)
            return Outcome(with_columns(batch, {"text": pa.array(new, pa.large_string())}), verdict)

        return run


def per_document(name: str) -> Callable[[DocumentFn], type[Step]]:
    """Make a step of a function on one text: it returns the new text, False to drop the document, True or None to keep it."""

    def decorate(function: DocumentFn) -> type[Step]:
        members: dict[str, Any] = {
            "__module__": function.__module__,
            "__doc__": function.__doc__ or f"The function {function.__name__} on every document.",
            "name": name,
            "function": staticmethod(function),
        }
        return type(function.__name__, (PerDocument,), members)

    return decorate
