"""Records to token ids, for every kind of post-training, with the loss mask of every row proved or the row refused.

    sft        input_ids, labels                            labels are -100 where nothing is trained
    pairs      prompt_ids, chosen_ids, rejected_ids         one row for the best and the worst candidate; margin where both are scored
    labelled   prompt_ids, completion_ids, label            one row a candidate
    prompts    prompt, row                                  rendered prompt, and the record's other fields as JSON for rewards

Conversations go through a chat template (`formats.templates`); with `template: none` a row is the prompt's text, the
answer's text and the end-of-text token, the two encoded apart, as they are at inference. Nothing is cut inside a turn.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.errors import RecipeError
from formats.adapters.adapter import Unholdable
from formats.adapters.preference import labelled_candidates, ranked_pairs
from formats.candidate_lengths import split
from formats.lengths import TooLong, shortened
from formats.records import Candidate, Message, Record, split_answer, text_of
from formats.rendered import Rows, int_lists
from formats.templates.rendering import Refused, Renderer, Row, Settings, Train
from formats.templates.tokenizer import ChatTokenizer, load
from formats.templates.turns import as_dicts, tools_of

Kind = Literal["sft", "pairs", "labelled", "prompts"]
Ids = npt.NDArray[np.int32]
NO_TEMPLATE = "none"

_IDS = pa.list_(pa.int32())
_ID = pa.field("id", pa.string())
SCHEMAS: dict[Kind, pa.Schema] = {
    "sft": pa.schema([_ID, pa.field("input_ids", _IDS), pa.field("labels", _IDS)]),
    "pairs": pa.schema(
        [_ID, pa.field("prompt_ids", _IDS), pa.field("chosen_ids", _IDS), pa.field("rejected_ids", _IDS), pa.field("margin", pa.float32())]
    ),
    "labelled": pa.schema([_ID, pa.field("prompt_ids", _IDS), pa.field("completion_ids", _IDS), pa.field("label", pa.bool_())]),
    "prompts": pa.schema([_ID, pa.field("prompt", pa.large_string()), pa.field("row", pa.large_string()), pa.field("tokens", pa.int32())]),
}


@dataclass(frozen=True)
class Made:
    """A row. columns: by the names of its kind's schema, `id` apart; tokens: all it costs; trained: those with a loss."""

    id: str
    columns: dict[str, Any]
    tokens: int
    trained: int
    shortened: bool = False


@dataclass(frozen=True)
class Rendering:
    """How rows are made. max_length: tokens of a row, of the longer side of a pair, of a prompt."""

    template: str | None = None  # a name, a .jinja file, "none"; None: the tokenizer's own
    train_on: Train = "assistant"
    reasoning: bool = True
    special_text: Literal["refuse", "escape"] = "refuse"
    max_length: int | None = None
    too_long: TooLong = "drop"
    per_answer: bool = False
    stop: str | None = None
    date: str | None = None


class PlainRenderer:
    """Rows without a template: [BOS] prompt, answer, end of text. BOS only where the tokenizer puts it there by itself."""

    def __init__(self, chat: ChatTokenizer, settings: Settings) -> None:
        self.chat, self.settings = chat, settings
        spelled = chat.special.get("eos_token")
        eos = None if spelled is None else chat.tokenizer.token_to_id(spelled)
        if eos is None:
            raise RecipeError("template: none ends every row with the tokenizer's eos_token, which this tokenizer does not name.")
        self.eos: int = eos
        bos = chat.tokenizer.token_to_id(chat.special.get("bos_token", ""))
        self.head = [bos] if bos is not None and bos in chat.own_ids else []

    def conversations(self, given: Sequence[tuple[list[Message], Record]], offsets: bool = False) -> list[Row | Refused]:
        """One row, or why there is none, for turns of each record."""
        return [self._row(messages, record) for messages, record in given]

    def prompt(self, text: str) -> list[int]:
        """Ids of a prompt alone."""
        return [*self.head, *self.chat.encode([text])[0].ids]

    def _row(self, messages: list[Message], record: Record) -> Row | Refused:
        before, answer = ([], []) if record.text is not None else split_answer(messages)
        asked, said = "".join(map(text_of, before)), record.text if record.text is not None else "".join(map(text_of, answer))
        if self.settings.special_text == "refuse" and (found := self.chat.forbidden.search(asked + said)):
            return Refused("special_text", f"the text holds {found[0]!r}, which is a special token")
        if not said:
            return Refused("no_answer", "there is no answer to train")
        first, second = (e.ids for e in self.chat.encode([asked, said]))
        ids = [*self.head, *first, *second, self.eos]
        trained = np.zeros(len(ids), bool)
        trained[0 if self.settings.train == "all" else len(self.head) + len(first) :] = True
        return Row(asked + said, ids, trained, [])


class RowMaker:
    """Rows of one kind from records, under one policy for lengths."""

    def __init__(self, kind: Kind, tokenizer: str, rendering: Rendering) -> None:
        """tokenizer: folder with tokenizer.json. Raises DataError where tokenizer and template would give wrong rows."""
        from formats.templates.probe import check

        self.kind, self.rendering = kind, rendering
        plain = rendering.template == NO_TEMPLATE
        self.chat = load(tokenizer, None if plain else rendering.template, rendering.stop, rendering.date)
        train: Train = rendering.train_on if kind == "sft" else "completion"
        settings = Settings(train, rendering.reasoning, rendering.special_text)
        self.renderer: Renderer | PlainRenderer
        if plain:
            self.renderer = PlainRenderer(self.chat, settings)
            self.stop_ids = frozenset({self.renderer.eos})
        else:
            self.notes = check(self.chat)
            self.renderer = Renderer(self.chat, settings)
            stop = self.chat.tokenizer.token_to_id(self.renderer.masker.anchors.stop)
            self.stop_ids = frozenset() if stop is None else frozenset({int(stop)})
        self._fit = Rows(self.renderer, rendering.max_length, rendering.too_long, rendering.per_answer)  # type: ignore[arg-type]

    @property
    def bos(self) -> int | None:
        """Id of the token that begins a text."""
        return self._id("bos_token")

    @property
    def pad(self) -> int | None:
        """Id of the token that fills up."""
        return self._id("pad_token")

    def rows(self, records: Sequence[Record]) -> list[list[Made | Refused]]:
        """Rows, or why there are none, of each record."""
        if self.kind == "sft":
            return self._sft(records)
        one = {"pairs": self._pair, "labelled": self._labelled, "prompts": self._prompt}[self.kind]
        return [one(record) for record in records]

    def _id(self, name: str) -> int | None:
        spelled = self.chat.special.get(name)
        found = None if spelled is None else self.chat.tokenizer.token_to_id(spelled)
        return None if found is None else int(found)

    def _sft(self, records: Sequence[Record]) -> list[list[Made | Refused]]:
        made: list[list[Made | Refused]] = [[] for _ in records]
        for identity, row, number in self._fit.all(records):
            if isinstance(row, Refused):
                made[number].append(row)
                continue
            columns = {"input_ids": np.array(row.ids, np.int32), "labels": row.labels().astype(np.int32)}
            made[number].append(Made(identity, columns, len(row.ids), int(row.trained.sum()), row.turns_cut > 0))
        return made

    def _pair(self, record: Record) -> list[Made | Refused]:
        try:
            ((better, worse),) = ranked_pairs(record, "best_vs_worst")
        except Unholdable as error:
            return [Refused(error.reason, str(error))]
        sides = self._sides(record, [better, worse])
        if isinstance(sides, Refused):
            return [sides]
        ((first, chosen), (second, rejected)), cut = sides
        if not np.array_equal(first, second):
            return [Refused("prompt_not_prefix", "the tokens of the prompt differ between the two answers")]
        columns = {"prompt_ids": first, "chosen_ids": chosen, "rejected_ids": rejected, "margin": _margin(better, worse)}
        return [Made(record.id, columns, 2 * len(first) + len(chosen) + len(rejected), len(chosen) + len(rejected), cut)]

    def _labelled(self, record: Record) -> list[Made | Refused]:
        try:
            labelled = labelled_candidates(record)
        except Unholdable as error:
            return [Refused(error.reason, str(error))]
        made: list[Made | Refused] = []
        for candidate, label in labelled:
            sides = self._sides(record, [candidate])
            if isinstance(sides, Refused):
                made.append(sides)
                continue
            ((prompt, answer),), cut = sides
            columns = {"prompt_ids": prompt, "completion_ids": answer, "label": label}
            made.append(Made(record.id, columns, len(prompt) + len(answer), len(answer), cut))
        return made

    def _sides(self, record: Record, candidates: Sequence[Candidate]) -> tuple[list[tuple[Ids, Ids]], bool] | Refused:
        """(prompt, answer) of every candidate, and whether turns of the prompt went; one that is too long is shortened for all of them."""
        found = split(self.renderer, record, record.messages, candidates)
        limit = self.rendering.max_length
        if isinstance(found, Refused) or limit is None or _longest(found) <= limit:
            return found if isinstance(found, Refused) else (found, False)

        def measure(part: list[Message]) -> int | None:
            sides = split(self.renderer, record, part, candidates)
            return None if isinstance(sides, Refused) else _longest(sides)

        kept = shortened(record.messages, measure, limit, self.rendering.too_long, answered=False)
        if kept is None:
            return Refused("too_long", f"{_longest(found)} tokens, {limit} are allowed")
        sides = split(self.renderer, record, kept, candidates)
        return sides if isinstance(sides, Refused) else (sides, True)

    def _prompt(self, record: Record) -> list[Made | Refused]:
        prompt = record.messages if record.candidates else split_answer(record.messages)[0]
        if not prompt:
            return [Refused("no_prompt", "there is no turn before the answer")]
        if isinstance(self.renderer, PlainRenderer):
            text = "".join(map(text_of, prompt))
            length = len(self.renderer.prompt(text))
        else:
            turns, tools = as_dicts(prompt, record), tools_of(record)
            if any(isinstance(v, str) and self.chat.forbidden.search(v) for t in turns for v in t.values()):
                return [Refused("special_text", "a turn holds the text of a special token")]
            text = self.chat.template.render(turns, tools, prompt=True, **self.chat.names())
            length = len(self.chat.encode([text])[0].ids)
        limit = self.rendering.max_length
        if limit is not None and length > limit:
            return [Refused("too_long", f"{length} tokens in the prompt, {limit} are allowed")]
        return [
            Made(record.id, {"prompt": text, "row": json.dumps(_fields(record, prompt), ensure_ascii=False), "tokens": length}, length, 0)
        ]

    def prompt_ids(self, text: str) -> list[int]:
        """Ids of a rendered prompt, as the policy reads them."""
        if isinstance(self.renderer, PlainRenderer):
            return self.renderer.prompt(text)
        found: list[int] = self.chat.encode([text])[0].ids
        return found


def _fields(record: Record, prompt: list[Message]) -> dict[str, Any]:
    """What a reward sees of a record: every other column, the turns of its prompt, and its last answer where there is one."""
    answer = "" if record.candidates else "".join(map(text_of, split_answer(record.messages)[1]))
    given = {k: v for k, v in record.meta.items() if k != "meta"}
    turns = [{"role": m.role, "content": text_of(m)} for m in prompt]
    return {**({"answer": answer} if answer else {}), **given, "id": record.id, "messages": turns}


def _longest(sides: Iterable[tuple[Ids, Ids]]) -> int:
    return max(len(prompt) + len(answer) for prompt, answer in sides)


def _margin(better: Candidate, worse: Candidate) -> float | None:
    """Difference of the one score that both have; None where there is none, or several."""
    if not better.scores or not worse.scores or len(better.scores) != 1 or better.scores.keys() != worse.scores.keys():
        return None
    ((a, b),) = zip(better.scores.values(), worse.scores.values(), strict=True)
    return None if a is None or b is None else a - b


def as_batch(kind: Kind, rows: Sequence[Made]) -> pa.RecordBatch:
    """Rows as a batch with the schema of their kind."""
    schema = SCHEMAS[kind]
    columns = [pa.array([r.id for r in rows], pa.string())]
    for field in list(schema)[1:]:
        values = [r.columns[field.name] for r in rows]
        columns.append(int_lists(values) if field.type == _IDS else pa.array(values, field.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)
