"""The JSON Schema of recipes, for editors: `curate schema > recipe.schema.json`.

It knows every step, reader and node kind of this installation with descriptions and bounds. It is a little wider than
the loader: what only the whole graph tells (names, columns, cycles, files) is not in it.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from curate import presets, registry
from curate.describe import summary_of
from curate.errors import CurateError
from curate.io.reader import Reader
from curate.recipe_build import KEEP_DROPPED, MAX_SEED, needs_paths
from curate.recipe_rounds import MAX_ROUNDS
from curate.settings import fields
from curate.step import Step

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_NAME = {"pattern": r"^[A-Za-z0-9_][A-Za-z0-9_.\-]*$"}
_BLOCK = {"type": "object", "additionalProperties": {"type": "object"}}  # any value may be {rounds: [first, second, ...]}
_ROUNDS = {
    "type": "object",
    "description": "a block of nodes, unrolled to n copies: name@1, name@2, ...",
    "properties": {
        "n": {"type": "integer", "minimum": 1, "maximum": MAX_ROUNDS},
        **{key: {"type": "object", "additionalProperties": {"type": "string"}} for key in ("start", "next")},
        "control": {"type": "array", "items": {"type": "string"}},
        "stop": {"type": "string"},
        "datasets": _BLOCK,
        "models": _BLOCK,
    },
    "required": ["n"],
    "additionalProperties": False,
}
_PATHS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}


def json_schema() -> dict[str, Any]:
    """The schema as plain JSON. Steps whose packages are not installed are named, without their settings."""
    classes = {table: _classes(table) for table in ("steps", "readers", "nodes")}
    models = {cls: None for found in classes.values() for cls in found.values() if cls is not None}
    mode: JsonSchemaMode = "validation"
    refs, shared = models_json_schema([(cls, mode) for cls in models], by_alias=True)
    definitions: dict[str, Any] = dict(shared.get("$defs", {}))
    made = _Schema(definitions, {cls: refs[cls, mode]["$ref"].rpartition("/")[2] for cls in models})
    definitions["step"] = made.step(classes["steps"])
    definitions["read"] = made.read(classes["readers"])
    definitions["dataset"] = made.dataset(classes["nodes"])
    definitions["model"] = made.model(classes["nodes"])
    return made.recipe()


def _classes(table: str) -> dict[str, type[BaseModel] | None]:
    found: dict[str, type[BaseModel] | None] = {}
    for name in registry.names(table):
        try:
            found[name] = registry.load(table, name)
        except (CurateError, ImportError):
            found[name] = None
    return found


class _Schema:
    """Parts of the schema. ids: name of a settings class among the definitions."""

    def __init__(self, definitions: dict[str, Any], ids: dict[type[BaseModel], str]) -> None:
        self.definitions, self.ids = definitions, ids

    def ref(self, cls: type[BaseModel] | None) -> dict[str, Any]:
        return {"$ref": f"#/$defs/{self.ids[cls]}"} if cls is not None else {"type": "object"}

    def step(self, classes: dict[str, type[BaseModel] | None]) -> dict[str, Any]:
        """An entry of `steps`: a name, a name with settings or its short form, or a preset."""
        settings = {name: self._step_settings(cls) for name, cls in classes.items()}
        settings["preset"] = {"enum": presets.names(), "description": "the steps of a published recipe"}
        entry = {"type": "object", "properties": settings, "additionalProperties": False, "minProperties": 1, "maxProperties": 1}
        return {"anyOf": [{"enum": list(classes)}, entry]}

    def _step_settings(self, cls: Any) -> dict[str, Any]:
        forms: list[dict[str, Any]] = [self.ref(cls), {"type": "null"}]
        description = summary_of(cls)[0] if cls is not None else "its packages are not installed"
        if cls is not None and issubclass(cls, Step) and cls.shorthand:
            forms.append(self.definitions[self.ids[cls]]["properties"][cls.shorthand])
        return {"anyOf": forms, "description": description}

    def read(self, classes: dict[str, Any]) -> dict[str, Any]:
        """The value of `read`: one reader's name with paths, and its settings beside it."""
        forms = [self._reader(name, cls) for name, cls in classes.items()]
        for name, cls in classes.items():
            if name.endswith("_records"):  # `jsonl:` with a `format` beside it is the reader jsonl_records
                form = self._reader(name.removesuffix("_records"), cls)
                forms.append({**form, "required": [*form["required"], "format"]})
        return {"anyOf": forms}

    def _reader(self, name: str, cls: type[Reader] | None) -> dict[str, Any]:
        own = dict(self.definitions[self.ids[cls]]["properties"]) if cls is not None else {}
        with_paths = cls is None or needs_paths(cls)
        own.pop("paths", None)
        main = {**_PATHS, "description": "files, globs or folders"} if with_paths else {"anyOf": [_PATHS, self.ref(cls), {"type": "null"}]}
        required = [key for key, info in (fields(cls) if cls else {}).items() if info.is_required() and key not in ("paths", name)]
        return {"type": "object", "properties": {**own, name: main}, "required": [name, *required], "additionalProperties": cls is None}

    def dataset(self, nodes: dict[str, type[BaseModel] | None]) -> dict[str, Any]:
        """A node of `datasets`."""
        plain = {"type": "object", "properties": self.dataset_keys(), "additionalProperties": False}
        forms: list[dict[str, Any]] = [{**plain, "required": [source]} for source in ("read", "from")]
        for kind, cls in nodes.items():
            if not kind.startswith("train:"):
                forms.append({"type": "object", "properties": {kind: self.ref(cls)}, "required": [kind], "additionalProperties": False})
        return {"anyOf": forms}

    def dataset_keys(self) -> dict[str, Any]:
        """Keys of a dataset, which may also stand at the top of a recipe."""
        share = {"type": "number", "minimum": 0, "maximum": 1}
        form = {"enum": registry.names("writers"), "default": "parquet"}
        return {
            "read": {"$ref": "#/$defs/read"},
            "from": {"type": "string", "description": "name of the dataset whose documents these are"},
            "steps": {"type": ["array", "null"], "items": {"$ref": "#/$defs/step"}},
            "write": {"anyOf": [form, {"type": "object", "properties": {"format": form}}], "description": "form of the final dataset"},
            "keep_dropped": {"enum": list(KEEP_DROPPED), "default": "sample", "description": "which dropped documents stay readable"},
            "max_quarantine": {**share, "default": 0.001, "description": "share of unreadable rows above which the run fails"},
        }

    def model(self, nodes: dict[str, type[BaseModel] | None]) -> dict[str, Any]:
        """A node of `models`: the kind of training, and its settings beside it."""
        forms = []
        for kind, cls in nodes.items():
            if kind.startswith("train:"):
                own = self.definitions[self.ids[cls]] if cls is not None else {"properties": {}}
                properties = {"train": {"const": kind.removeprefix("train:")}, **own["properties"]}
                required = ["train", *own.get("required", [])]
                forms.append({"type": "object", "properties": properties, "required": required, "additionalProperties": cls is None})
        return {"anyOf": forms} if forms else {"type": "object"}

    def recipe(self) -> dict[str, Any]:
        """The whole schema."""
        named = {"type": ["object", "null"], "propertyNames": _NAME}
        nodes = {part: {**named, "additionalProperties": {"$ref": f"#/$defs/{part[:-1]}"}} for part in ("datasets", "models")}
        name = {"type": "string", **_NAME, "description": "default: the file's name"}
        seed = {"type": "integer", "minimum": 0, "maximum": MAX_SEED, "default": 0}
        return {
            "$schema": DIALECT,
            "title": "curate recipe",
            "type": "object",
            "properties": {"name": name, "seed": seed, **nodes, "rounds": _ROUNDS, **self.dataset_keys()},
            "additionalProperties": False,
            "$defs": self.definitions,
        }
