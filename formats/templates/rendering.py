"""Records to rows of token ids and labels, with the mask proved for every row.

    train    assistant   every answer (turns whose weight is 0 are left out)
             last        the last answer only
             completion  everything after the prompt's last turn, to the end of the row: what trl trains in DPO, KTO and reward rows
             all         everything
    labels   the token's id where it is trained, -100 where not (torch's ignore index)

Weights of turns and of spans inside them apply in `assistant` and `last`; a label is trained or not, so any weight above 0
counts as 1. A token that reaches over the edge of a trained part is not trained: offsets decide, never a second tokenization.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from formats.records import Message, Record
from formats.templates.jinja import Span
from formats.templates.masks import Masker, Unproved
from formats.templates.pieces import Tokens
from formats.templates.tokenizer import ChatTokenizer
from formats.templates.turns import as_dicts, conversation_of, has_media, tools_of

IGNORED = -100
_FAST_FROM = 64  # rows for which opening the fast encoder is worth it
Train = Literal["assistant", "last", "completion", "all"]

REASONS = (
    "template_refused", "turn_lost", "template_rewrites", "mask_unproved", "no_stop", "stop_outside_mask", "special_text", "parts",
    "no_answer", "nothing_trained", "raw_text", "too_long", "no_good_answer",
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """How rows are rendered. See the module's text."""

    train: Train = "assistant"
    reasoning: bool = True  # False: reasoning is in the text, but not trained
    special_text: Literal["refuse", "escape"] = "refuse"


@dataclass
class Row:
    """One rendered conversation. trained: bool per token."""

    text: str
    ids: list[int]
    trained: np.ndarray
    spans: list[Span]  # trained text, code points
    offsets: list[tuple[int, int]] | None = None  # of tokens, where asked for
    turns_cut: int = 0  # turns left out because the row was too long

    def labels(self) -> np.ndarray:
        """int64 per token: its id, or -100."""
        return np.where(self.trained, np.array(self.ids, np.int64), IGNORED)


@dataclass(frozen=True)
class Refused:
    """A record that gives no row."""

    reason: str  # slug
    message: str


@dataclass
class _Text:
    text: str
    spans: list[Span]


class Renderer:
    """Rows for one tokenizer and template."""

    def __init__(self, chat: ChatTokenizer, settings: Settings | None = None) -> None:
        self.chat, self.settings = chat, settings or Settings()
        self.masker = Masker(chat)
        self._fast = False  # whether the fast encoder has been opened, which takes about half a second

    def rows(self, records: Sequence[Record], offsets: bool = False) -> list[Row | Refused]:
        """One row, or why there is none, for every record; tokenized together. offsets: keep those of tokens."""
        return self.conversations([(conversation_of(r), r) for r in records], offsets)

    def conversations(self, given: Sequence[tuple[list[Message], Record]], offsets: bool = False) -> list[Row | Refused]:
        """The same for turns given apart from their records, which lend tools and notes."""
        made: list[_Text | Refused] = []
        for messages, record in given:
            try:
                made.append(self._text(messages, record))
            except Unproved as error:
                made.append(Refused(error.reason, str(error)))
        if self.settings.special_text == "escape":
            return [m if isinstance(m, Refused) else self._escaped(m) for m in made]
        found = iter(self._encoded([m for m in made if isinstance(m, _Text)], offsets))
        return [m if isinstance(m, Refused) else next(found) for m in made]

    def _encoded(self, made: list[_Text], offsets: bool) -> list[Row]:
        """Rows of texts, by the fast way where there is one and no offsets are asked for."""
        pieces = None if offsets or (len(made) < _FAST_FROM and not self._fast) else self.chat.pieces()
        self._fast |= pieces is not None
        if pieces is None:
            return [_tokens(m, e, offsets) for m, e in zip(made, self.chat.encode([m.text for m in made]), strict=True)]
        found = pieces.encode([m.text for m in made])
        return [_tokens(m, self.chat.encode([m.text])[0], False) if f is None else _placed(m, f) for m, f in zip(made, found, strict=True)]

    def _text(self, messages: list[Message], record: Record) -> _Text:
        if not messages:
            raise _nothing(record)
        if has_media(messages):
            raise Unproved("parts", "a turn holds images, sound or other parts that a text template can't say")
        turns, tools = as_dicts(messages, record), tools_of(record)
        self._guard(turns, tools)
        text, spans = self.masker.find(turns, tools)
        trained = self._trained(messages, turns, text, spans)
        if not trained:
            raise Unproved("nothing_trained" if spans else "no_answer", "no token would be trained")
        return _Text(text, trained)

    def _guard(self, turns: list[dict[str, Any]], tools: Any) -> None:
        """Refuse, or hold, special tokens spelled out in what people and models wrote."""
        for turn in turns:
            for key, value in turn.items():
                if key != "role" and value is not None and not (isinstance(value, str) and not self.chat.forbidden.search(value)):
                    self._special(turn, key, value)
        if tools is not None and _holds(tools, self.chat.forbidden):
            raise Unproved("special_text", "a tool schema holds the text of a special token")

    def _special(self, turn: dict[str, Any], key: str, value: Any) -> None:
        if not isinstance(value, str):
            if _holds(value, self.chat.forbidden):
                raise Unproved("special_text", "a call of a tool holds the text of a special token")
            return
        found = self.chat.forbidden.search(value)
        held = self.chat.hold(value) if self.settings.special_text == "escape" else value
        outside = "".join(p for n, p in enumerate(held.replace("\ufdd3", "\ufdd2").split("\ufdd2")) if n % 2 == 0)
        if found is None or held == value or self.chat.forbidden.search(outside):
            raise Unproved(
                "special_text",
                f"{key} of a turn ({turn['role']}) holds {found[0] if found else ''!r}, which the tokenizer or the template takes for a control "
                "token; special_text: escape encodes special tokens as ordinary text",
            )
        turn[key] = held

    def _trained(self, messages: list[Message], turns: list[dict[str, Any]], text: str, spans: list[Span]) -> list[Span]:
        mode = self.settings.train
        if mode == "all":
            return [(0, len(text))]
        answers = [n for n, m in enumerate(messages) if m.role == "assistant"]
        if mode == "completion":
            first = next((k for k, n in enumerate(answers) if n == len(messages) - 1), None)
            while first and answers[first - 1] == answers[first] - 1:
                first -= 1
            return [] if first is None else [(spans[first][0], len(text))]
        kept: list[Span] = []
        for k, (number, span) in enumerate(zip(answers, spans, strict=True)):
            if mode == "last" and k < len(spans) - 1:
                continue
            kept += _parts(messages[number], turns[number], text, span, self.settings.reasoning)
        return kept

    def _escaped(self, made: _Text) -> Row | Refused:
        ids, offsets, text = self.chat.encode_held(made.text)
        held = np.cumsum([0, *(c in "\ufdd2\ufdd3" for c in made.text)])
        spans = [(a - int(held[a]), b - int(held[b])) for a, b in made.spans]
        return Row(text, ids, _inside(np.array(offsets, np.int64).reshape(-1, 2), spans), spans, offsets)


def _nothing(record: Record) -> Unproved:
    if record.text is not None:
        return Unproved("raw_text", "raw text has no turns")
    return Unproved("no_good_answer", "no candidate is marked as good" if record.candidates else "there is no turn")


def _parts(message: Message, turn: dict[str, Any], text: str, span: Span, reasoning: bool) -> list[Span]:
    """The trained parts of one answer, by its weight, the weights of its spans and whether reasoning is trained."""
    if not (message.spans or message.loss is not None or message.reasoning):
        return [span]
    if message.loss == 0 and not message.spans:
        return []
    start, end = span
    off: list[Span] = []
    if message.reasoning and not reasoning:
        thought = turn["reasoning_content"].strip()
        at = text.find(thought, start, end)
        rest = text.find(turn["content"].strip(), at + len(thought), end) if turn["content"].strip() else -1
        off.append((start, rest if rest >= 0 else at + len(thought)))
    on: list[Span] = []
    if message.spans:
        content = turn["content"]
        core = content.strip()
        first = text.rfind(core, start, end) - (len(content) - len(content.lstrip())) if core else start
        for part in message.spans:
            place = (max(start, first + part.start), min(end, first + part.end))
            (on if part.loss > 0 else off).append(place)
    return _without([span] if message.loss != 0 else [], off, on)


def _without(kept: list[Span], off: list[Span], on: list[Span]) -> list[Span]:
    """Spans without `off`, with `on`."""
    points = sorted({p for span in (*kept, *off, *on) for p in span})
    made: list[Span] = []
    for a, b in pairwise(points):
        inside = [any(x <= a and b <= y for x, y in group) for group in (kept, off, on)]
        if inside[2] or (inside[0] and not inside[1]):
            made = [*made[:-1], (made[-1][0], b)] if made and made[-1][1] == a else [*made, (a, b)]
    return made


def _tokens(made: _Text, encoding: Any, offsets: bool) -> Row:
    """Token mask from a few look-ups at the edges of spans instead of all offsets."""
    ids = encoding.ids
    trained = np.zeros(len(ids), bool)
    for start, end in made.spans:
        trained[_token_at(encoding, start, len(made.text), len(ids), whole=True) : _token_at(encoding, end, len(made.text), len(ids), whole=False)] = True  # fmt: skip
    return Row(made.text, ids, trained, made.spans, encoding.offsets if offsets else None)


def _placed(made: _Text, tokens: Tokens) -> Row:
    """The same from tokens whose bytes are known."""
    trained = np.zeros(len(tokens.ids), bool)
    text, plain = made.text, made.text.isascii()
    for a, b in made.spans:
        start, end = (a, b) if plain else (len(text[:a].encode()), len(text[:b].encode()))
        first, after = tokens.inside(start, end)
        trained[first:after] = True
    return Row(text, tokens.ids.tolist(), trained, made.spans)


def _token_at(encoding: Any, place: int, length: int, tokens: int, whole: bool) -> int:
    """Index of the first token at or after a place in the text. whole: not one that began before it."""
    at = None
    while place < length and (at := encoding.char_to_token(place)) is None:
        place += 1
    if at is None:
        return tokens
    if whole:
        while at < tokens and encoding.token_to_chars(at)[0] < place:
            at += 1
    return int(at)


def _inside(offsets: np.ndarray, spans: list[Span]) -> np.ndarray:
    """Tokens that lie in a span with all their text."""
    found = np.zeros(len(offsets), bool)
    for start, end in spans:
        found |= (offsets[:, 0] >= start) & (offsets[:, 1] <= end) & (offsets[:, 1] > offsets[:, 0])
    return found


def _holds(value: Any, pattern: Any) -> bool:
    if isinstance(value, str):
        return pattern.search(value) is not None
    if isinstance(value, dict):
        return any(_holds(v, pattern) for pair in value.items() for v in pair)
    return isinstance(value, list) and any(_holds(v, pattern) for v in value)
