"""Which text of a rendered conversation is trained: found twice, by ways that share nothing, and compared.

    markers   what the template writes between {% generation %} and {% endgeneration %}
    search    from the header of an answer to its stop token. Header and stop are learned once by rendering known turns; in a row
              they are looked for in order, over the content of every turn before
    prefix    the text that a turn adds: render(turns before, with header) to render(turns up to it); two renderings a turn

A template with markers is checked by `search`, one without is read by `search` and checked by `prefix`. Where the two differ
in more than white space after the stop token, or one finds nothing, the row is refused with a reason: a mask that only one
of two ways sees is not proved. The trained text of an answer is its reasoning, content, calls of tools and its stop token.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from curate.errors import DataError
from formats.templates.jinja import Span, TemplateFailed, spans
from formats.templates.tokenizer import ChatTokenizer
from formats.templates.turns import lost_turn

_USER, _ANSWER = ("curatequestion{}", "curateanswer{}")


class Unproved(ValueError):
    """A conversation whose mask can't be proved. reason: a slug for ledgers."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Anchors(NamedTuple):
    """Text around an answer. header: right before it; stop: the token that ends it."""

    header: str
    stop: str


class Masker:
    """Finds the trained text of conversations for one tokenizer and template."""

    def __init__(self, chat: ChatTokenizer) -> None:
        self.chat = chat
        self.anchors = learn(chat)

    def find(self, turns: list[dict[str, Any]], tools: Any = None) -> tuple[str, list[Span]]:
        """(rendered text, one span per assistant turn, in order). Raises Unproved.

        turns: as `turns.as_dicts` makes them.
        """
        template = self.chat.template
        try:
            text, marked = spans(template.marked(turns, tools, **self.chat.names()))
        except TemplateFailed as error:
            raise Unproved("template_refused", str(error)) from error
        lost = lost_turn(turns, text)
        if lost is not None:
            raise Unproved("turn_lost", f"the template leaves out {lost}; one row per answer (`per_answer`) or another template keeps it")
        searched = self.search(turns, text)
        if template.has_markers:
            self._compare(text, [s for s in marked if text[s[0] : s[1]].strip()], searched, "the template's markers")
            return text, marked
        found = self.prefix(turns, tools, text)
        self._compare(text, found, searched, "what each turn adds")
        return text, searched

    def search(self, turns: list[dict[str, Any]], text: str) -> list[Span]:
        """Spans by header and stop, in order."""
        header, stop = self.anchors
        found: list[Span] = []
        at = 0
        for number, turn in enumerate(turns):
            content = turn["content"].strip()
            if turn["role"] != "assistant":
                place = text.find(content, at) if content else at
                at = place + len(content) if place >= 0 else at
                continue
            start = text.find(header, at)
            if start < 0:
                raise Unproved("mask_unproved", f"the header {header!r} does not stand before turn {number}")
            start += len(header)
            inside = text.find(content, start) if content else start
            end = -1 if inside < 0 else text.find(stop, inside + len(content))
            if end < 0:
                raise Unproved("no_stop", f"no {stop!r} after turn {number}: the model would not learn to stop")
            at = end + len(stop)
            found.append((start, at))
        return found

    def prefix(self, turns: list[dict[str, Any]], tools: Any, text: str) -> list[Span]:
        """Spans by what each assistant turn adds to the text."""
        render, names, stop = self.chat.template.render, self.chat.names(), self.anchors.stop
        found: list[Span] = []
        for number, turn in enumerate(turns):
            if turn["role"] != "assistant":
                continue
            try:
                before = render(turns[:number], tools, prompt=True, **names)
                upto = render(turns[: number + 1], tools, **names).rstrip()
            except TemplateFailed as error:
                raise Unproved("mask_unproved", f"turns up to {number} can't be rendered alone: {error}") from error
            if not upto.startswith(before) or not text.startswith(upto):
                raise Unproved(
                    "template_rewrites",
                    f"the text up to turn {number} is another one when more turns follow, or when the answer is still to come; one row per "
                    "answer (`per_answer: true`), or a template that keeps the history, makes it trainable",
                )
            if not upto.endswith(stop):
                raise Unproved("no_stop", f"turn {number} does not end with {stop!r}")
            found.append((len(before), len(upto)))
        return found

    def _compare(self, text: str, first: list[Span], second: list[Span], what: str) -> None:
        """Raise where two lists of spans differ in more than white space at the end."""
        tight = [(a, a + len(text[a:b].rstrip())) for a, b in first]
        if tight == second:
            return
        if len(tight) != len(second):
            raise Unproved("mask_unproved", f"{what} give {len(tight)} answers, the search for headers {len(second)}")
        (a, b), (c, d) = next((x, y) for x, y in zip(tight, second, strict=True) if x != y)
        if not text[a:b].endswith(self.anchors.stop):
            raise Unproved("stop_outside_mask", f"{what} leave the stop token {self.anchors.stop!r} out: {text[a:b][-40:]!r}")
        raise Unproved("mask_unproved", f"{what} train {_short(text[a:b])}, the search for headers {_short(text[c:d])}")


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:30]} ... {text[-25:]}")


class NoAnchors(DataError):
    """A template whose answers can't be located. code: for the probe."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def learn(chat: ChatTokenizer) -> Anchors:
    """The header and the stop of answers, from one rendering of known turns. Raises NoAnchors.

    The stop is the token given for it, or else the first special token after an answer with nothing but white space before it;
    the last resort is a special token that the template writes between an answer and the next question.
    """
    turns = [{"role": r, "content": c.format(n)} for n in (1, 2) for r, c in (("user", _USER), ("assistant", _ANSWER))]
    names = chat.names()
    text = chat.template.render(turns, **names)
    places = [text.find(turn["content"]) for turn in turns]
    if -1 in places or sorted(places) != places:
        missing = next((t for t, p in zip(turns, places, strict=True) if p < 0), turns[0])
        raise NoAnchors("turn_lost", f"the template does not write the {missing['role']}'s turn, or not in its place")
    ends = [p + len(t["content"]) for p, t in zip(places, turns, strict=True)]
    between = text[ends[2] : places[3]]  # before the last answer, as at inference
    empty, header = (chat.template.render(turns[:1], prompt=prompt, **names) for prompt in (False, True))
    added = header[len(empty) :] if header.startswith(empty) else ""
    header = added if added.strip() and between.rstrip(" ").endswith(added.rstrip(" ")) else between
    if not header:
        raise NoAnchors("no_header", "the template writes nothing between a question and its answer")
    stop = _stop(chat, text[ends[1] : places[2]], text[ends[3] :], text[: places[0]])
    return Anchors(header, stop)


def _stop(chat: ChatTokenizer, after: str, last: str, head: str) -> str:
    """after: text between an answer and the next question; last: after the last answer; head: before the first question."""
    if chat.stop is not None:
        if chat.stop not in after or chat.stop not in last:
            raise NoAnchors("no_stop", f"the template does not write the stop token {chat.stop!r} after an answer")
        return chat.stop
    for rest in (last, after):
        found = next((t for t in sorted(chat.added, key=len, reverse=True) if rest.lstrip().startswith(t)), None)
        if found is not None and found in after and found not in head:
            if not last.lstrip().startswith(found):
                raise NoAnchors("no_final_stop", f"{found!r} stands after an answer only where a turn follows, not after the last one")
            return found
    raise NoAnchors("no_stop", f"the template writes no special token after an answer, but {last[:30]!r}")
