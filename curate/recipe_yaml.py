"""YAML with positions: every value knows its line, so that every mistake can name it.

Scalars follow the core schema of YAML 1.2 (section 10.3.2): `no`, `on` and `yes` are text, 017 is seventeen, 1e-3 is a
number, 12:30 and 2024-01-01 are text. Duplicate keys are mistakes. Anchors, aliases and merge keys (`<<`) work; tags
are refused, so that a recipe can't make Python objects. Size, depth and what aliases add up to are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from curate.errors import Problem, RecipeError

MAX_BYTES = 1 << 20
MAX_DEPTH = 40
MAX_ITEMS = 100_000  # with every alias counted as often as it is used


@dataclass(frozen=True)
class Mark:
    """Where something stands: a line of the recipe, or the option of the command line that it came from."""

    line: int
    origin: str = ""


@dataclass(frozen=True, eq=False)
class Item:
    """A YAML value: a scalar, a tuple of items, or a dict of items, with its place. Never changed, only replaced."""

    value: Any
    mark: Mark
    keys: Mapping[str, Mark] = field(default_factory=dict)  # of a mapping: where each key stands
    size: int = 1  # items inside, itself included

    @property
    def is_mapping(self) -> bool:
        return isinstance(self.value, dict)

    @property
    def is_list(self) -> bool:
        return isinstance(self.value, tuple)

    def plain(self) -> Any:
        """The value as plain Python: dicts, lists and scalars."""
        if isinstance(self.value, dict):
            return {key: item.plain() for key, item in self.value.items()}
        if isinstance(self.value, tuple):
            return [item.plain() for item in self.value]
        return self.value

    def key_mark(self, key: str) -> Mark:
        """Where a key of this mapping stands; the mapping's own place where there is no such key."""
        return self.keys.get(key, self.mark)

    def with_entry(self, key: str, item: Item) -> Item:
        """This mapping with one entry set."""
        keys = {**self.keys, key: self.keys.get(key, item.mark)}
        return mapping({**self.value, key: item}, self.mark, keys)

    def without(self, *names: str) -> Item:
        """This mapping without some of its entries."""
        return mapping({k: v for k, v in self.value.items() if k not in names}, self.mark, self.keys)

    def moved(self, mark: Mark) -> Item:
        """A copy whose every part stands at `mark`."""
        if isinstance(self.value, dict):
            return mapping({k: v.moved(mark) for k, v in self.value.items()}, mark, dict.fromkeys(self.value, mark))
        if isinstance(self.value, tuple):
            return sequence([v.moved(mark) for v in self.value], mark)
        return Item(self.value, mark)


def mapping(entries: dict[str, Item], mark: Mark, keys: Mapping[str, Mark] | None = None) -> Item:
    """A mapping item."""
    return Item(entries, mark, keys or {}, 1 + sum(item.size for item in entries.values()))


def sequence(items: list[Item], mark: Mark) -> Item:
    """A list item."""
    return Item(tuple(items), mark, {}, 1 + sum(item.size for item in items))


def as_item(value: Any, mark: Mark) -> Item:
    """Plain Python as an item whose every part stands at `mark`."""
    if isinstance(value, dict):
        return mapping({key: as_item(inner, mark) for key, inner in value.items()}, mark, dict.fromkeys(value, mark))
    return sequence([as_item(inner, mark) for inner in value], mark) if isinstance(value, (list, tuple)) else Item(value, mark)


class Problems:
    """Collects the mistakes of one recipe, and raises them together."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.found: list[Problem] = []

    def add(self, mark: Mark, message: str) -> None:
        """Note a mistake at a place; one message is noted once per place."""
        problem = Problem(message, mark.origin or self.file, 0 if mark.origin else mark.line)
        if problem not in self.found:
            self.found.append(problem)

    def raise_all(self) -> None:
        """Raise RecipeError with everything found, by line, those of the command line last. No mistakes: nothing."""
        if self.found:
            raise RecipeError(*sorted(self.found, key=lambda p: (p.file != self.file, p.file, p.line)))


def parse_file(path: str, problems: Problems) -> Item:
    """Parse a YAML file. Raises RecipeError where it can't be parsed at all."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise RecipeError(Problem(f"can't read the recipe: {(error.strerror or 'unreadable').lower()}.", path)) from error
    if len(data) > MAX_BYTES:
        raise RecipeError(Problem(f"is longer than {MAX_BYTES >> 20} MiB; a recipe names its data files, it does not hold them.", path))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RecipeError(Problem(f"is not UTF-8: byte 0x{data[error.start]:02x} at byte {error.start}.", path, line)) from error
    item = parse(text, problems)
    if item.value is None:
        raise RecipeError(Problem("is empty. `curate init` writes a starter recipe.", path))
    return item


def parse(text: str, problems: Problems, origin: str = "") -> Item:
    """Parse YAML text. Duplicate keys go to `problems`; what can't be parsed raises RecipeError with its line.

    origin: stands in place of file and line, for values of the command line.
    """
    try:
        return _Builder(yaml.parse(text, Loader=yaml.SafeLoader), problems, origin).document()
    except _Refused as refused:
        problem = Problem(refused.message, origin or problems.file, 0 if origin else refused.line)
        raise RecipeError(*problems.found, problem) from None
    except yaml.reader.ReaderError as error:
        line = 0 if origin else text.count("\n", 0, error.position) + 1
        raise RecipeError(
            Problem(f"the character {chr(int(error.character))!a} is not allowed in YAML.", origin or problems.file, line)
        ) from error
    except yaml.MarkedYAMLError as error:
        raise RecipeError(Problem(_syntax(error), origin or problems.file, 0 if origin else _line(error))) from error


class _Refused(Exception):
    """YAML that parses but is not allowed here."""

    def __init__(self, line: int, message: str) -> None:
        self.line, self.message = line, message


class _Builder:
    """Builds items from parser events (no recursion beyond MAX_DEPTH, nothing resolved before its depth is known)."""

    def __init__(self, events: Iterator[Any], problems: Problems, origin: str) -> None:
        self.events, self.problems, self.origin = events, problems, origin
        self.anchors: dict[str, Item | None] = {}
        self.total = 0

    def document(self) -> Item:
        item = Item(None, Mark(1, self.origin))
        seen = 0
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                seen += 1
                if seen > 1:
                    mark: Any = event.start_mark
                    raise _Refused(mark.line + 1, "a second document starts here ('---'); a recipe is one document.")
            elif isinstance(event, yaml.NodeEvent):
                item = self.node(event, 1)
        return item

    def node(self, event: Any, depth: int) -> Item:
        line = event.start_mark.line + 1
        mark = Mark(line, self.origin)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(str(event.anchor), line)
        if depth > MAX_DEPTH:
            raise _Refused(line, f"is nested deeper than {MAX_DEPTH} levels.")
        if event.tag is not None:
            raise _Refused(line, f"the tag {_tag(event.tag)!r} is not allowed; a recipe holds plain values only.")
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        self._count(1, line)
        if isinstance(event, yaml.MappingStartEvent):
            item = self._mapping(mark, depth)
        elif isinstance(event, yaml.SequenceStartEvent):
            items = []
            while not isinstance(inner := next(self.events), yaml.SequenceEndEvent):
                items.append(self.node(inner, depth + 1))
            item = sequence(items, mark)
        else:
            text = _text(event)
            item = Item(text if event.style else scalar(text), mark)
        if event.anchor is not None:
            self.anchors[event.anchor] = item
        return item

    def _mapping(self, mark: Mark, depth: int) -> Item:
        entries: dict[str, Item] = {}
        keys: dict[str, Mark] = {}
        merged: list[Item] = []
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            line = event.start_mark.line + 1
            if not isinstance(event, yaml.ScalarEvent):
                raise _Refused(line, "a key must be a plain word.")
            if event.tag is not None:
                raise _Refused(line, f"the tag {_tag(event.tag)!r} is not allowed; a recipe holds plain values only.")
            key, value = _text(event), self.node(next(self.events), depth + 1)
            if event.anchor is not None:
                self.anchors[event.anchor] = Item(key, Mark(line, self.origin))
            if key == "<<" and event.style is None:
                merged += self._merged(value, line)
            elif key in entries:
                message = f"the key {key!r} is here twice: first in line {keys[key].line}, again in line {line}."
                self.problems.add(Mark(line, self.origin), message)
            else:
                entries[key], keys[key] = value, Mark(line, self.origin)
        for source in merged:
            for key, value in source.value.items():
                if key not in entries:
                    entries[key], keys[key] = value, source.key_mark(key)
        return mapping(entries, mark, keys)

    def _merged(self, value: Item, line: int) -> list[Item]:
        sources = list(value.value) if value.is_list else [value]
        if not all(source.is_mapping for source in sources):
            raise _Refused(line, "'<<' merges mappings; it needs one, or a list of them.")
        return sources

    def _alias(self, name: str, line: int) -> Item:
        if name not in self.anchors:
            raise _Refused(line, f"the alias '*{name}' has no anchor '&{name}' before it.")
        item = self.anchors[name]
        if item is None:
            raise _Refused(line, f"the alias '*{name}' stands inside its own anchor.")
        self._count(item.size, line)
        return item

    def _count(self, size: int, line: int) -> None:
        self.total += size
        if self.total > MAX_ITEMS:
            raise _Refused(line, f"holds more than {MAX_ITEMS} values, aliases counted as often as they are used.")


_INTEGER = re.compile(r"[-+]?[0-9]{1,400}|0o[0-7]{1,400}|0x[0-9a-fA-F]{1,400}", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_WORDS: dict[str, bool | float | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((sign + word for sign in ("", "+") for word in (".inf", ".Inf", ".INF")), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}


def scalar(text: str) -> str | int | float | bool | None:
    """What a plain (unquoted) scalar means: the core schema of YAML 1.2."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text, {"o": 8, "x": 16}.get(text[1:2], 10))
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def _text(event: Any) -> str:
    """Text of a scalar; halves that JSON escapes of one character left (\\ud83d\\ude00) are joined."""
    text = str(event.value)
    if not any("\ud800" <= character <= "\udfff" for character in text):
        return text
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise _Refused(event.start_mark.line + 1, "holds half a character (a lone surrogate escape).") from None


def _tag(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")


_HINTS = {
    "'\\t'": " YAML is indented with spaces, not with tabs.",
    "mapping values are not allowed": " A value that holds ': ' needs quotes; a nested key needs its own line.",
    "cannot start any token": " A value that starts with this character needs quotes.",
    "expected <block end>": " Check the indentation: entries of one list or mapping start in the same column.",
}


def _line(error: Any) -> int:
    return int(error.problem_mark.line) + 1 if error.problem_mark else 1


def _syntax(error: Any) -> str:
    """One sentence for a syntax error of the parser."""
    what = " ".join((error.problem or "syntax error").split())
    since = f" ({error.context}, which starts in line {error.context_mark.line + 1})" if error.context_mark and error.context else ""
    return f"is not valid YAML: {what}{since}." + next((hint for sign, hint in _HINTS.items() if sign in what), "")
