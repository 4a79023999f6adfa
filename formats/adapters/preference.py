"""Pairs and labelled answers: trl's preference (explicit, implicit, hybrid) and unpaired types, and how other sets write them.

We always write explicit prompts: taking the prompt out of two full texts by their common characters, as trl does, moves
shared first words of the answers into the prompt. Full conversations are compared turn by turn, and the last turn of
the shorter one is never part of the prompt.

Sources: trl docs/source/dataset_formats.md; LLaMA-Factory data/README.md; axolotl docs/dataset-formats/rlhf.qmd.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations, pairwise
from typing import Any, ClassVar, Literal

from formats.adapters.adapter import (
    ALL_TURNS,
    Adapter,
    Row,
    Unholdable,
    Unreadable,
    finish,
    kind,
    notes,
    side_fields,
    want_text,
    with_notes,
)
from formats.adapters.alpaca import ALPACA, Keys, read_prompt, write_prompt
from formats.adapters.chat import SPELLINGS, find_container, spelling_of, write_sharegpt
from formats.adapters.simple import write_side
from formats.adapters.turns import OPENAI, read_turn, tools_text, write_turn
from formats.records import Candidate, Message, Record

Pairs = Literal["best_vs_worst", "top_vs_rest", "adjacent", "all"]
# Names of (chosen, rejected), and of their scores.
ANSWER_KEYS = (
    ("chosen", "rejected"),
    ("chosen_response", "rejected_response"),
    ("chosen_messages", "rejected_messages"),
    ("answer_matching_behavior", "answer_not_matching_behavior"),
)
SCORE_KEYS = (
    ("score_chosen", "score_rejected"),
    ("chosen_score", "rejected_score"),
    ("chosen-rating", "rejected-rating"),
    ("chosen_rating", "rejected_rating"),
)
_PROMPTS = ("prompt", "question", "instruction", "input", "query")


class Preference(Adapter):
    """A prompt with a chosen and a rejected answer."""

    name: ClassVar[str] = "preference"
    summary: ClassVar[str] = (
        "prompt, chosen, rejected: trl's explicit and implicit pairs, ShareGPT and Alpaca pairs, other sets by their fields"
    )
    holds: ClassVar[frozenset[str]] = ALL_TURNS | {"tools", "plain", "candidates", "candidates.rank"}
    native: ClassVar[frozenset[str]] = frozenset({"prompt", "chosen", "rejected", "tools"})

    def __init__(self, roles: Mapping[str, str] | None = None, pairs: Pairs = "best_vs_worst") -> None:
        self.roles, self.pairs = roles, pairs

    def read(self, row: Row) -> Record:
        keys = answer_keys(row)
        if keys is None:
            raise Unreadable("missing_field", f"no fields 'chosen' and 'rejected'; fields are: {', '.join(row) or '(none)'}")
        kept: dict[str, Any] = {} if keys == ANSWER_KEYS[0] else {"answers": list(keys)}
        values = [row.pop(key) for key in keys]
        prompt, plain, how = _prompt(row, values, self.roles, kept)
        answers = [_answer(value, key, self.roles, plain) for value, key in zip(values, keys, strict=True)]
        if how == "full":
            prompt, answers = _shared(prompt, answers, kept)
        record = Record(prompt, [Candidate(turns, rank=rank) for rank, turns in enumerate(answers)], plain=plain)
        _scores(record, row, kept)
        record.tools = tools_text(row.pop("tools")) if row.get("tools") is not None else None
        record.meta = with_notes("preference", kept)
        return finish(record, row)

    def write(self, record: Record, lost: set[str]) -> list[Row]:
        found = ranked_pairs(record, self.pairs)
        if len(found) > 1 or [c.rank for c in record.candidates] != [0, 1]:
            lost.add("candidates")
        return [self._row(record, pair, number, len(found), lost) for number, pair in enumerate(found)]

    def _row(self, record: Record, pair: tuple[Candidate, Candidate], number: int, count: int, lost: set[str]) -> Row:
        kept = notes(record, "preference")
        chosen, rejected = pair
        row = _written(record, pair, kept, lost) if kept.get("form") else None
        if row is None:
            kept = {k: v for k, v in kept.items() if k == "scores"}
            row = {"prompt": write_side(record.messages, record.plain, "user", lost)}
            row["chosen"], row["rejected"] = (write_side(c.messages, record.plain, "assistant", lost) for c in (chosen, rejected))
        _write_scores(row, pair, kept, lost)
        if record.tools is not None:
            row["tools"] = record.tools
        row = side_fields(record, row, self, "preference")
        if count > 1:
            row["group_id"], row["pair"] = record.id or row.get("group_id", ""), number
        return row

    def evidence(self, row: Row) -> str | None:
        keys = answer_keys(row)
        if keys is None or any(isinstance(row[k], str) and row[k].startswith("\n\nHuman:") for k in keys):
            return None
        return f"answers under {keys[0]!r} and {keys[1]!r}"


def answer_keys(row: Row) -> tuple[str, str] | None:
    """The names of the two answers."""
    return next((keys for keys in ANSWER_KEYS if keys[0] in row and keys[1] in row), None)


def _prompt(row: Row, values: list[Any], roles: Any, kept: dict[str, Any]) -> tuple[list[Message], bool, str]:
    """(turns of the prompt, whether the row is plain strings, "full" where the answers repeat the prompt or hold it)."""
    lists = all(isinstance(v, list) for v in values)
    container = find_container(row)
    if container is not None:
        spelling = spelling_of(row[container]) or "from"
        kept |= {"form": "turns", "container": container, "keys": spelling}
        if all(isinstance(v, dict) for v in values):
            kept["one"] = True
        return [read_turn(t, SPELLINGS[spelling], roles) for t in row.pop(container)], False, ""
    key = next((name for name in _PROMPTS if name in row), None)
    if key is None:
        kept["form"] = "implicit"
        return [], not lists, "full" if lists else ""
    if isinstance(row[key], list):
        return [read_turn(t, OPENAI, roles) for t in row.pop(key)], False, ""
    if key == "prompt" and not lists:
        return [Message("user", want_text(row, key))], True, ""
    if lists:
        kept["form"] = "hybrid"
        kept["prompt"] = row.pop(key)
        kept["key"] = key
        return [], False, "full"
    own: dict[str, Any] = {}
    prompt, _, _ = read_prompt(row, ALPACA if key == "instruction" else Keys(key, "", ""), own)
    kept |= {"form": "fields", "key": key, **own}
    return prompt, False, ""


def _answer(value: Any, key: str, roles: Any, plain: bool) -> list[Message]:
    if isinstance(value, str):
        return [Message("assistant", value)]
    turns = [value] if isinstance(value, dict) else value
    if not isinstance(turns, list) or plain or not turns:
        raise Unreadable("wrong_type", f"field {key!r} is {kind(value)}, expected what its partner is: text, a turn or a list of turns")
    spelling = spelling_of(turns) if all(isinstance(t, dict) for t in turns) else None
    return [read_turn(t, SPELLINGS[spelling or "role/content"], roles) for t in turns]


def _shared(prompt: list[Message], answers: list[list[Message]], kept: dict[str, Any]) -> tuple[list[Message], list[list[Message]]]:
    """Full conversations to a prompt and two continuations: the turns they share, never the last one of either."""
    a, b = answers
    most = min(len(a), len(b)) - 1
    at = 0
    while at < most and a[at] == b[at]:
        at += 1
    if kept["form"] == "hybrid" and at and a[at - 1].role == "user" and a[at - 1].content == kept["prompt"]:
        kept.pop("prompt")  # the string is the last user turn again
    return a[:at], [a[at:], b[at:]]


def _scores(record: Record, row: Row, kept: dict[str, Any]) -> None:
    for keys in SCORE_KEYS:
        values = [row.get(k) for k in keys]
        if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values):
            for candidate, key in zip(record.candidates, keys, strict=True):
                candidate.scores = {"score": float(row.pop(key))}
            if keys != SCORE_KEYS[0]:
                kept["scores"] = list(keys)
            return


def _write_scores(row: Row, pair: tuple[Candidate, Candidate], kept: dict[str, Any], lost: set[str]) -> None:
    """One number for each side has a place; other scores are named as lost."""
    names = kept.get("scores", SCORE_KEYS[0])
    if all(c.scores is not None and list(c.scores) == ["score"] and c.scores["score"] is not None for c in pair):
        for name, candidate in zip(names, pair, strict=True):
            value = (candidate.scores or {})["score"]
            row[name] = int(value) if value is not None and value.is_integer() else value
        lost.discard("candidates.scores")
    elif any(c.scores is not None for c in pair):
        lost.add("candidates.scores")


def _written(record: Record, pair: tuple[Candidate, Candidate], kept: dict[str, Any], lost: set[str]) -> Row | None:
    """The row in the form it was read in; None where the record has outgrown it."""
    names = kept.get("answers", ANSWER_KEYS[0])
    form = kept["form"]
    prompt, answers = record.messages, [c.messages for c in pair]
    if form in ("implicit", "hybrid"):
        if record.plain:
            return None if prompt else {n: write_side(a, True, "assistant", lost) for n, a in zip(names, answers, strict=True)}
        row: Row = {kept["key"]: kept.get("prompt", prompt[-1].content if prompt else "")} if form == "hybrid" else {}
        return {**row, **{name: _turns([*prompt, *turns]) for name, turns in zip(names, answers, strict=True)}}
    if form == "turns":
        spelling = SPELLINGS[kept["keys"]]
        row = {kept["container"]: [t for m in prompt for t in write_sharegpt(m, spelling, lost)]}
        for name, turns in zip(names, answers, strict=True):
            written = [t for m in turns for t in write_sharegpt(m, spelling, lost)]
            if kept.get("one") and len(written) != 1:
                return None
            row[name] = written[0] if kept.get("one") else written
        return row
    keys = ALPACA if kept["key"] == "instruction" else Keys(kept["key"], "", "")
    if any(len(turns) != 1 or turns[0] != Message("assistant", turns[0].content) for turns in answers):
        return None
    try:
        row = write_prompt(prompt, keys, kept)
    except Unholdable:
        return None
    return {**row, **{name: turns[0].content for name, turns in zip(names, answers, strict=True)}}


def _turns(messages: list[Message]) -> list[Row]:
    return [write_turn(m, OPENAI) for m in messages]


def ranked_pairs(record: Record, rule: Pairs) -> list[tuple[Candidate, Candidate]]:
    """(better, worse) candidates. Labels count as two ranks. Equal ranks make no pair. Raises Unholdable where there is none."""
    ranks = [(c.rank if c.rank is not None else None if c.label is None else int(not c.label), c) for c in record.candidates]
    known = sorted(((r, n, c) for n, (r, c) in enumerate(ranks) if r is not None), key=lambda x: x[:2])
    if len(known) < 2:
        raise Unholdable("no_pair", "fewer than two candidates have a rank or a label; score and select first")
    first, last = known[0], known[-1]
    made = {
        "best_vs_worst": [(first, last)],
        "top_vs_rest": [(first, other) for other in known[1:]],
        "adjacent": list(pairwise(known)),
        "all": list(combinations(known, 2)),
    }[rule]
    pairs = [(a[2], b[2]) for a, b in made if a[0] < b[0]]
    if not pairs:
        raise Unholdable("tied", "all candidates have the same rank")
    return pairs


class Kto(Adapter):
    """A prompt, a completion and whether it is desirable."""

    name: ClassVar[str] = "kto"
    summary: ClassVar[str] = "prompt, completion, label (trl's unpaired type); also messages + label and kto_tag"
    holds: ClassVar[frozenset[str]] = ALL_TURNS | {"tools", "plain", "candidates", "candidates.label"}
    native: ClassVar[frozenset[str]] = frozenset({"prompt", "completion", "label", "tools"})

    def __init__(self, roles: Mapping[str, str] | None = None) -> None:
        self.roles = roles

    def read(self, row: Row) -> Record:
        tag = next((k for k in ("label", "kto_tag") if isinstance(row.get(k), bool)), None)
        if tag is None:
            raise Unreadable("label", f"no field 'label' or 'kto_tag' that is true or false; fields are: {', '.join(row) or '(none)'}")
        label = row.pop(tag)
        kept: dict[str, Any] = {} if tag == "label" else {"label": tag}
        container = find_container(row)
        plain = False
        if container is not None:
            spelling = spelling_of(row[container]) or "from"
            turns = [read_turn(t, SPELLINGS[spelling], self.roles) for t in row.pop(container)]
            if not turns or turns[-1].role != "assistant":
                raise Unreadable("no_answer", "the last turn is not the assistant's, so there is nothing that the label is about")
            prompt, answer = turns[:-1], turns[-1:]
            kept |= {"container": container, "keys": spelling}
        elif "instruction" in row:
            own: dict[str, Any] = {}
            prompt, _, _ = read_prompt(row, ALPACA, own)
            answer = [Message("assistant", want_text(row, "output"))]
            kept |= {"fields": True, **own}
        else:
            plain = isinstance(row.get("prompt"), str) and isinstance(row.get("completion"), str)
            prompt = _prompt_value(row.pop("prompt", None), "prompt", "user", self.roles)
            answer = _prompt_value(row.pop("completion", None), "completion", "assistant", self.roles)
        tools = tools_text(row.pop("tools")) if row.get("tools") is not None else None
        return finish(Record(prompt, [Candidate(answer, label=label)], tools, plain=plain, meta=with_notes("kto", kept)), row)

    def write(self, record: Record, lost: set[str]) -> list[Row]:
        labelled = labelled_candidates(record)
        if len(labelled) > 1:
            lost.add("candidates")
        rows = [self._row(record, c, label, lost) for c, label in labelled]
        if len(rows) > 1:
            for row in rows:
                row["pair_id"] = record.id or row.get("pair_id", "")
        return rows

    def _row(self, record: Record, candidate: Candidate, label: bool, lost: set[str]) -> Row:
        kept = notes(record, "kto")
        row: Row
        if "container" in kept:
            spelling = SPELLINGS[kept["keys"]]
            row = {kept["container"]: [t for m in [*record.messages, *candidate.messages] for t in write_sharegpt(m, spelling, lost)]}
        elif "fields" in kept:
            row = write_prompt(record.messages, ALPACA, kept)
            row["output"] = candidate.messages[0].content
        else:
            row = {"prompt": write_side(record.messages, record.plain, "user", lost)}
            row["completion"] = write_side(candidate.messages, record.plain, "assistant", lost)
        row[kept.get("label", "label")] = label
        if record.tools is not None:
            row["tools"] = record.tools
        return side_fields(record, row, self, "kto")

    def evidence(self, row: Row) -> str | None:
        tag = next((k for k in ("label", "kto_tag") if isinstance(row.get(k), bool)), None)
        if tag and (("prompt" in row and "completion" in row) or find_container(row) or ("instruction" in row and "output" in row)):
            return f"an answer with {tag!r} true or false"
        return None


def _prompt_value(value: Any, key: str, role: str, roles: Any) -> list[Message]:
    if isinstance(value, str):
        return [Message(role, value)]
    if isinstance(value, list):
        return [read_turn(t, OPENAI, roles) for t in value]
    raise Unreadable("wrong_type", f"field {key!r} is {kind(value)}, expected text or a list of turns")


def labelled_candidates(record: Record) -> list[tuple[Candidate, bool]]:
    """Candidates with their labels; a pair by rank counts as one good and one bad answer. A genuinely empty answer keeps its label."""
    if record.candidates and all(c.label is not None for c in record.candidates):
        return [(c, bool(c.label)) for c in record.candidates]
    ranks = [c.rank for c in record.candidates]
    if len(ranks) == 2 and None not in ranks and ranks[0] != ranks[1]:
        best = min(r for r in ranks if r is not None)
        return [(c, c.rank == best) for c in record.candidates]
    raise Unholdable("no_label", "candidates have no labels, and are not a pair by rank; select or threshold first")
