"""Settings in words: what a field allows, and what is wrong with a value, in one form for every step, reader and node.

    steps[3] dedup_minhash.bands must be an integer in 1..256, got '20x'.

Values are taken as YAML means them: pydantic would turn '20' into 20 and true into 1, we call both a mistake.
"""

from __future__ import annotations

import json
import math
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import annotated_types as at
from pydantic import BaseModel, Tag, ValidationError
from pydantic.fields import FieldInfo

from curate.errors import CurateError
from curate.recipe_yaml import Item, Mark, Problems
from curate.registry import nearest

M = TypeVar("M", bound=BaseModel)

# Coercions of pydantic's lax mode that hide mistakes: what its strict mode says of them.
_NOT_COERCED = {"int_type", "float_type", "bool_type", "string_type"}


def build(cls: type[M], given: Item, where: str, problems: Problems) -> M | None:
    """Make a settings object from a mapping item; None, and problems with their lines, where it can't be.

    where: how messages call it, such as "steps[3] dedup_minhash".
    """
    plain = given.plain()
    endless = [item for item in walk(given) if isinstance(item.value, float) and not math.isfinite(item.value)]
    if endless:
        problems.add(endless[0].mark, f"{where}: {endless[0].value} is no usable number; null disables a bound.")
        return None
    try:
        made = cls.model_validate(plain)
    except ValidationError as error:
        found = error.errors()
        made = None
    except CurateError as error:
        problems.add(given.mark, f"{where}: {error}")
        return None
    else:
        found = []
    seen: set[str] = set()
    for wrong in [*found, *_coerced(cls, plain)]:
        mark, path, message = _explain(cls, given, where, wrong)
        if path not in seen:
            seen.add(path)
            problems.add(mark, message)
    return None if seen else made


def walk(item: Item) -> Iterator[Item]:
    """An item and everything in it."""
    yield item
    inner = item.value.values() if isinstance(item.value, dict) else item.value if isinstance(item.value, tuple) else ()
    for part in inner:
        yield from walk(part)


def _coerced(cls: type[BaseModel], plain: Any) -> list[Any]:
    """Errors of strict mode that lax mode would have coerced away. 1e5 may be an integer all the same."""
    try:
        cls.model_validate_json(json.dumps(plain), strict=True)
    except ValidationError as error:
        return [e for e in error.errors() if e["type"] in _NOT_COERCED and not (isinstance(e["input"], float) and e["input"].is_integer())]
    except CurateError:
        return []
    return []


def _explain(cls: type[BaseModel], given: Item, where: str, error: Any) -> tuple[Mark, str, str]:
    """Place, path and sentence for one error of pydantic."""
    kind, loc = error["type"], error["loc"]
    item, mark, path, allowed, owner = given, given.mark, where, Field(cls, ()), cls
    for part in loc:
        inner = allowed.inner(part)
        if isinstance(item.value, dict) and part in item.value:
            owner = allowed.model() or owner
            item, mark = item.value[part], item.key_mark(str(part)) if kind == "extra_forbidden" else item.value[part].mark
            path += f".{part}"
        elif isinstance(item.value, tuple) and isinstance(part, int) and part < len(item.value):
            item, path = item.value[part], f"{path}[{part}]"
            mark = item.mark
        else:
            # A missing key, or the name pydantic gives to one member of a union.
            if kind == "missing" and part == loc[-1]:
                return mark, f"{path}.{part}", f"{path} needs {str(part)!r}: {inner.text()}{_described(inner)}."
            allowed = allowed.tagged(part)
            owner = allowed.model() or owner
            continue
        allowed = inner
    if kind == "extra_forbidden":
        name, known = str(loc[-1]), keys(owner)
        parent = path[: -len(name) - 1]
        listing = f" It has: {', '.join(known)}." if known else " It has no settings."
        return mark, path, f"{parent} has no setting {name!r}.{nearest(name, known) or listing}"
    if kind in ("value_error", "assertion_error"):
        message = str(error["ctx"]["error"]) if "error" in error.get("ctx", {}) else error["msg"]
        return mark, path, f"{path}{'' if message.startswith('must ') else ':'} {message.rstrip('.')}."
    text = allowed.text()
    got = shown(item.plain())
    return mark, path, f"{path} must be {text}, got {got}." if text else f"{path}: {error['msg']}, got {got}."


def _described(field: Field) -> str:
    return f" ({field.description})" if field.description else ""


def keys(cls: type[BaseModel]) -> list[str]:
    """The recipe's keys of a settings class."""
    return [info.alias or name for name, info in cls.model_fields.items()]


def fields(cls: type[BaseModel]) -> dict[str, FieldInfo]:
    """Fields of a settings class by the recipe's key."""
    return {info.alias or name: info for name, info in cls.model_fields.items()}


def dump(model: BaseModel) -> dict[str, Any]:
    """Plain JSON of settings, every default filled in, sets in order."""
    dumped = model.model_dump(mode="json", by_alias=True)
    for name, info in type(model).model_fields.items():
        if isinstance(getattr(model, name), (set, frozenset)):
            dumped[info.alias or name].sort()
    return dumped


def shown(value: Any, limit: int = 60) -> str:
    """A value as messages show it: short, and as the recipe would spell it."""
    if isinstance(value, str):
        text = repr(value)
    elif isinstance(value, (list, tuple)):
        text = "[" + ", ".join(shown(v) for v in value[:10]) + (", ..." if len(value) > 10 else "") + "]"
    elif isinstance(value, dict):
        text = "{" + ", ".join(f"{k}: {shown(v)}" for k, v in list(value.items())[:10]) + "}"
    else:
        text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= limit else text[: limit - 4] + "..." + (text[-1] if text[-1] in "'\"]}" else "")


class Field:
    """What one field allows: its type with its bounds."""

    def __init__(self, annotation: Any, metadata: Sequence[Any], description: str | None = None) -> None:
        while get_origin(annotation) is Annotated:
            annotation, *more = get_args(annotation)
            metadata = [*metadata, *more]
        self.annotation = annotation
        self.bounds = _Bounds(metadata)
        self.metadata = metadata
        self.description = description

    @classmethod
    def of(cls, info: FieldInfo) -> Field:
        """The field of a settings class."""
        return cls(info.annotation, info.metadata, info.description)

    def members(self) -> list[Field]:
        """The members of a union, or the field itself; bounds of a union count for its numbers."""
        if get_origin(self.annotation) in (Union, types.UnionType):
            inner = [Field(a, self.metadata, self.description) for a in get_args(self.annotation)]
            return [member for field in inner for member in field.members()]
        return [self]

    def tagged(self, tag: str | int) -> Field:
        """The member of a union that has this tag, or the field itself."""
        return next((m for m in self.members() if any(isinstance(x, Tag) and x.tag == tag for x in m.metadata)), self)

    def model(self) -> type[BaseModel] | None:
        """The settings class this is, if it is one."""
        return next((m.annotation for m in self.members() if isinstance(m.annotation, type) and issubclass(m.annotation, BaseModel)), None)

    def inner(self, part: str | int) -> Field:
        """The field one level further in: a key of a mapping, an item of a list."""
        model = self.model()
        if model is not None and isinstance(part, str):
            info = fields(model).get(part)
            return Field.of(info) if info else Field(None, ())
        for member in self.members():
            arguments = [a for a in get_args(member.annotation) if a is not Ellipsis]
            origin = get_origin(member.annotation)
            if _is_mapping(origin) and isinstance(part, str) and len(arguments) == 2:
                return Field(arguments[1], ())
            if _is_list(origin) and isinstance(part, int) and arguments:
                return Field(arguments[min(part, len(arguments) - 1)], ())
        return self

    def text(self) -> str:
        """In words: 'an integer in 1..256', "'drop' or 'annotate'", 'a list of text, or null'."""
        parts = list(dict.fromkeys(_one(member) for member in self.members()))
        if not all(parts):
            return ""
        if "null" in parts and len(parts) > 1:
            parts = [p for p in parts if p != "null"]
            return f"{' or '.join(parts)}, or null"
        return " or ".join(parts)


class _Bounds:
    """Bounds found in the metadata of a field."""

    def __init__(self, metadata: Sequence[Any]) -> None:
        flat = [inner for m in metadata for inner in (m if isinstance(m, at.GroupedMetadata) else [m])]
        self.low = next((m.ge for m in flat if isinstance(m, at.Ge)), None)
        self.above = next((m.gt for m in flat if isinstance(m, at.Gt)), None)
        self.high = next((m.le for m in flat if isinstance(m, at.Le)), None)
        self.below = next((m.lt for m in flat if isinstance(m, at.Lt)), None)
        self.shortest = next((m.min_length for m in flat if isinstance(m, at.MinLen)), None)
        self.longest = next((m.max_length for m in flat if isinstance(m, at.MaxLen)), None)
        self.pattern = next((p for m in flat if (p := getattr(m, "pattern", None))), None)

    def number(self) -> str:
        """' in 1..256', ' of at least 1', ' above 0 and at most 1', or ''."""
        if self.low is not None and self.high is not None:
            return f" in {self.low}..{self.high}"
        low = f"at least {self.low}" if self.low is not None else f"above {self.above}" if self.above is not None else ""
        high = f"at most {self.high}" if self.high is not None else f"below {self.below}" if self.below is not None else ""
        both = " and ".join(part for part in (low, high) if part)
        return f" of {both}" if both.startswith("at") else f" {both}" if both else ""

    def length(self) -> str:
        """' (1 to 10 long)' for text and lists, or ''."""
        if self.pattern:
            return f" matching {self.pattern}"
        if not self.shortest and self.longest is None:
            return ""
        if self.longest is None:
            return ", not empty" if self.shortest == 1 else f", at least {self.shortest} long"
        if self.shortest == self.longest:
            return f", exactly {self.longest} long"
        return f", {self.shortest or 0} to {self.longest} long"


_SCALARS = {str: "text", bool: "true or false", type(None): "null", None: "null", bytes: "bytes"}


def _one(field: Field) -> str:
    """Words for one member of a union; '' where it has none."""
    annotation, origin, bounds = field.annotation, get_origin(field.annotation), field.bounds
    if annotation is int:
        return "an integer" + bounds.number()
    if annotation is float:
        return "a number" + bounds.number()
    if annotation is str:
        return "text" + bounds.length()
    if annotation is Any:
        return "any value"
    if origin is Literal:
        choices = [shown(a) for a in get_args(annotation)]
        return " or ".join(choices) if len(choices) < 3 else f"one of {', '.join(choices)}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return getattr(annotation, "in_words", None) or f"a mapping with the keys {', '.join(keys(annotation))}"
    arguments = [a for a in get_args(annotation) if a is not Ellipsis]
    if _is_mapping(origin or annotation):
        return "a mapping" + (f" of names to {Field(arguments[1], ()).text()}" if len(arguments) == 2 else "")
    if _is_list(origin or annotation):
        fixed = origin is tuple and Ellipsis not in get_args(annotation) and len(arguments) > 1
        inner = ", ".join(Field(a, ()).text() for a in arguments) if fixed else Field(arguments[0], ()).text() if arguments else ""
        return ("a list" + (f" of {inner}" if inner else "")) + bounds.length()
    return _SCALARS.get(annotation, "") if annotation is None or isinstance(annotation, type) else ""


def _is_mapping(origin: Any) -> bool:
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _is_list(origin: Any) -> bool:
    return isinstance(origin, type) and issubclass(origin, (Sequence, frozenset, set)) and not issubclass(origin, (str, bytes))
