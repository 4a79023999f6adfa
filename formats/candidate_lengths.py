"""Prompts with candidates (pairs, ranked lists, labelled answers) that are too long: what goes, so that all candidates stay comparable.

    prompt    keep_end   the oldest whole exchanges go, for all candidates alike; system turns and the last question stay
    answers   cut        an answer ends earlier, at the end of a paragraph, a line or a sentence, never inside a code block

Everything else is refused with its reason. A stop token is never lost: the template writes it after what is left of an
answer, which is a whole sentence. Trainers cut at a token instead: trl 1.16 cuts DPO's and KTO's answers on the right, and the
policy then learns that good answers don't end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from formats.lengths import shortened
from formats.records import Candidate, Message, Record
from formats.templates.rendering import Refused, Row

Ids = npt.NDArray[np.int32]
Side = tuple[Ids, Ids]  # tokens of the prompt, tokens of the answer with its stop token
LongPrompt = Literal["drop", "keep_end"]
LongAnswer = Literal["drop", "cut"]
# Where an answer may end: before a line break, after a sentence.
_ENDS = re.compile(r"(?<=\S)(?=\s*\n)|(?<=[.!?])(?=\s)|(?<=[\u3002\uff01\uff1f])")
_FENCE = "```"


class Conversations(Protocol):
    """What renders turns: see formats.templates.rendering.Renderer, with `train` = completion."""

    def conversations(self, given: Sequence[tuple[list[Message], Record]], offsets: bool = False) -> list[Row | Refused]:
        """One row, or why there is none, for turns of each record."""
        ...


@dataclass(frozen=True)
class Limits:
    """Most tokens; None: no bound. whole: prompt and the longest answer."""

    whole: int | None = None
    prompt: int | None = None
    answer: int | None = None
    long_prompt: LongPrompt = "drop"
    long_answer: LongAnswer = "drop"


@dataclass(frozen=True)
class Fitted:
    """A record that fits. turns_cut: of the prompt; answers_cut: candidates that end earlier."""

    record: Record
    sides: list[Side]
    turns_cut: int = 0
    answers_cut: int = 0


def split(renderer: Conversations, record: Record, prompt: list[Message], candidates: Sequence[Candidate]) -> list[Side] | Refused:
    """Tokens of prompt and answer for every candidate, or why one of them has none."""
    made: list[Side] = []
    for row in renderer.conversations([([*prompt, *c.messages], record) for c in candidates]):
        if isinstance(row, Refused):
            return row
        ids, start = np.array(row.ids, np.int32), int(row.trained.argmax())
        if not row.trained[start:].all():
            return Refused("mask_unproved", "the trained part of the answer has a hole")
        made.append((ids[:start], ids[start:]))
    return made


def fit(renderer: Conversations, record: Record, limits: Limits) -> Fitted | Refused:
    """The record within its limits, with all candidates and one prompt, or why it can't be. A record that fits is given back itself."""
    sides = split(renderer, record, record.messages, record.candidates)
    if isinstance(sides, Refused):
        return sides
    if not sides:
        return Refused("no_candidates", "there is no candidate")
    before = record.candidates
    if limits.answer is not None and max(len(a) for _, a in sides) > limits.answer:
        room = limits.answer
        found = _cut(renderer, record, sides, limits, lambda prompt, answer: len(answer) <= room)
        if isinstance(found, Refused):
            return found
        record, sides = found
    turns = len(record.messages)
    shorter = _shorter(renderer, record, sides, limits)
    if isinstance(shorter, Refused):
        return shorter
    record, sides = shorter
    if not _fits(sides, limits):
        whole = limits.whole
        found = _cut(renderer, record, sides, limits, lambda prompt, answer: whole is None or len(prompt) + len(answer) <= whole)
        if isinstance(found, Refused):
            return found
        record, sides = found
    cut = sum(new is not old for new, old in zip(record.candidates, before, strict=True))
    if cut and any(a.messages == b.messages for a, b in zip(record.candidates, record.candidates[1:], strict=False)):
        return Refused("identical", "the answers are equal after they were cut")
    return Fitted(record, sides, turns - len(record.messages), cut)


def _fits(sides: Sequence[Side], limits: Limits) -> bool:
    return limits.whole is None or max(len(p) + len(a) for p, a in sides) <= limits.whole


def _shorter(renderer: Conversations, record: Record, sides: list[Side], limits: Limits) -> tuple[Record, list[Side]] | Refused:
    """The record with the latest exchanges of its prompt that fit; with the last one alone where answers can still be cut."""
    length = max(len(p) for p, _ in sides)
    most = limits.prompt if limits.prompt is not None else limits.whole
    if (most is None or length <= most) and _fits(sides, limits):
        return record, sides
    answers_may = limits.long_answer == "cut"

    def measure(part: list[Message]) -> int | None:
        """1 where these turns fit, 2 where not."""
        found = split(renderer, record, part, record.candidates)
        if isinstance(found, Refused):
            return None
        short = limits.prompt is None or max(len(p) for p, _ in found) <= limits.prompt
        return 1 if short and _fits(found, limits) else 2

    kept = shortened(record.messages, measure, 1, "keep_end", answered=False) if limits.long_prompt == "keep_end" else None
    if kept is None and answers_may and (most is None or length < most):
        return record, sides  # its answers are what is too long
    if kept is None:
        what = "prompt_too_long" if most is not None and length > most else "too_long"
        return Refused(what, f"{length} tokens of prompt, {max(len(p) + len(a) for p, a in sides)} with the longest answer")
    found = split(renderer, record, kept, record.candidates)
    return found if isinstance(found, Refused) else (msgspec.structs.replace(record, messages=kept), found)


def _cut(
    renderer: Conversations, record: Record, sides: list[Side], limits: Limits, fits: Callable[[Ids, Ids], bool]
) -> tuple[Record, list[Side]] | Refused:
    """The record with every answer that does not fit cut at the last place where it does."""
    made: list[Candidate] = []
    done: list[Side] = []
    for candidate, side in zip(record.candidates, sides, strict=True):
        found = (candidate, side) if fits(*side) else None
        if found is None and limits.long_answer == "cut":
            found = _ended(renderer, record, candidate, fits)
        if found is None:
            return Refused("answer_too_long", f"{len(side[1])} tokens of answer after {len(side[0])} of prompt")
        made.append(found[0])
        done.append(found[1])
    return msgspec.structs.replace(record, candidates=made), done


def _ended(
    renderer: Conversations, record: Record, candidate: Candidate, fits: Callable[[Ids, Ids], bool]
) -> tuple[Candidate, Side] | None:
    """The candidate with the longest beginning of its text that fits; None where there is none, or it is more than one turn of text."""
    if len(candidate.messages) != 1:
        return None
    (turn,) = candidate.messages
    content = turn.content
    if content is None or turn.tool_calls or turn.spans or turn.parts:
        return None
    ends = [m.start() for m in _ENDS.finditer(content) if 0 < m.start() < len(content.rstrip())]
    ends = [at for at in dict.fromkeys(ends) if content.count(_FENCE, 0, at) % 2 == 0]

    def one(at: int) -> tuple[Candidate, Side] | None:
        shorter = msgspec.structs.replace(turn, content=content[:at])
        ended = msgspec.structs.replace(candidate, messages=[shorter], finish_reason="length")
        found = split(renderer, record, record.messages, [ended])
        return None if isinstance(found, Refused) or not fits(*found[0]) else (ended, found[0])

    best, low, high = None, 0, len(ends) - 1
    while low <= high:  # longer text is more tokens, so halving finds the last place
        middle = (low + high) // 2
        found = one(ends[middle])
        best, low, high = (found, middle + 1, high) if found is not None else (best, low, middle - 1)
    return best
