"""A chat template: Jinja in a sandbox, with the text between `{% generation %}` markers located.

The environment is that of transformers 5 (`render_jinja_template`): the same options, filters and functions, so that a template renders
to the same text. We differ in three things. The marked text is found wherever the template writes it, also inside a macro or
a captured block, because two noncharacters are written around it and taken out again; transformers counts what was written
so far, which is wrong there. `strftime_now` gives the date of the setting `date` and fails without one: a corpus must not
depend on the day it was made. What a template may see is JSON alone.

The sandbox keeps a template away from files, attributes and code. It does not bound time: nested loops over long ranges can
run for hours.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime
from functools import lru_cache
from typing import Any

from curate.errors import DataError, RecipeError

OPEN, CLOSE = "\ufdd0", "\ufdd1"  # noncharacters: no text that is meant for exchange holds them
_MARKS = re.compile(f"[{OPEN}{CLOSE}]")
_MARKERS = re.compile(r"\{%-?\s*generation\s*-?%\}")

Span = tuple[int, int]  # code points of the rendered text, end exclusive


class TemplateFailed(DataError):
    """A template refused a conversation, or can't render it."""


class Template:
    """A compiled template. source: its text; date: what strftime_now gives, YYYY-MM-DD."""

    def __init__(self, source: str, date: str | None = None) -> None:
        self.source = source
        self.has_markers = _MARKERS.search(source) is not None
        self._compiled = _compile(source, date)

    @property
    def sha256(self) -> str:
        """Digest of its text, for data cards: training and serving must use the same."""
        return hashlib.sha256(self.source.encode()).hexdigest()

    def render(self, messages: list[dict[str, Any]], tools: Any = None, prompt: bool = False, **names: Any) -> str:
        """The text of a conversation. prompt: with the header of the answer to come. Raises TemplateFailed."""
        return _MARKS.sub("", self.marked(messages, tools, prompt, **names))

    def marked(self, messages: list[dict[str, Any]], tools: Any = None, prompt: bool = False, **names: Any) -> str:
        """The text with OPEN and CLOSE around what stands between generation markers; `spans` takes them out."""
        from jinja2 import TemplateError

        try:
            text: str = self._compiled.render(messages=messages, tools=tools, documents=None, add_generation_prompt=prompt, **names)
        except TemplateError as error:
            raise TemplateFailed(f"the template refuses it: {error}") from error
        except (TypeError, KeyError, ValueError, AttributeError, IndexError, RecursionError, ZeroDivisionError, OverflowError) as error:
            raise TemplateFailed(f"the template can't render it: {type(error).__name__}: {error}") from error
        return text


def spans(marked: str) -> tuple[str, list[Span]]:
    """(the text without marks, where they stood). A pair around nothing is left out; pairs don't nest."""
    pieces = marked.split(OPEN)
    if len(pieces) == 1:
        return marked, []
    text, at, found = [pieces[0]], len(pieces[0]), []
    for piece in pieces[1:]:
        inside, closed, outside = piece.partition(CLOSE)
        if not closed or CLOSE in outside:
            raise TemplateFailed("the template's generation blocks lie inside each other, or it cuts the text inside one")
        if inside:
            found.append((at, at + len(inside)))
        text += [inside, outside]
        at += len(inside) + len(outside)
    return "".join(text), found


@lru_cache(maxsize=64)
def _compile(source: str, date: str | None) -> Any:
    from jinja2 import TemplateSyntaxError

    try:
        return _environment(date).from_string(source)
    except TemplateSyntaxError as error:
        raise RecipeError(f"the chat template is not valid Jinja: line {error.lineno}: {error.message}.") from error


@lru_cache(maxsize=8)
def _environment(date: str | None) -> Any:
    from jinja2 import nodes
    from jinja2.exceptions import TemplateError
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from jinja2.utils import Namespace

    class Generation(Extension):
        tags = {"generation"}  # noqa: RUF012  the name and kind that Jinja wants

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            return nodes.CallBlock(self.call_method("_marked"), [], [], body).set_lineno(line)

        @staticmethod
        def _marked(caller: Any) -> str:
            return f"{OPEN}{caller()}{CLOSE}"

    class Names(Namespace):
        def __setitem__(self, name: str, value: Any) -> None:
            if name.startswith("_"):
                raise TemplateError(f"a namespace can't hold the name {name!r}")
            super().__setitem__(name, value)

    def refuse(message: str) -> None:
        raise TemplateError(message)

    def now(form: str) -> str:
        if date is None:
            raise TemplateError("it writes today's date, so that rows would depend on the day; give a fixed one with the setting `date`")
        return datetime.strptime(date, "%Y-%m-%d").strftime(form)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    environment.filters["tojson"] = _to_json
    environment.globals.update(raise_exception=refuse, strftime_now=now, namespace=Names)
    return environment


def _to_json(value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False) -> str:
    """JSON without the HTML escapes of Jinja's own filter."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
