"""What is looked at in a record, in its rows of token ids, and across a set. Each check yields (defect, what was seen)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import xxhash

from formats.adapters.adapter import Unholdable
from formats.adapters.preference import ranked_pairs
from formats.records import Candidate, Message, Record, split_answer, text_of
from train.posttraining.rendering import Ids, Kind, Made

Found = tuple[str, str]  # defect, what was seen
IGNORED = -100


def of_record(record: Record, kind: Kind) -> Iterator[Found]:
    """Defects that show in the turns, without a tokenizer."""
    if record.text is not None:
        if not record.text.strip():
            yield "empty_answer", "the text is empty"
        return
    pair = _pair(record) if kind == "pairs" else None
    answers = pair if pair is not None else [] if kind == "pairs" else record.candidates
    conversations = [[*record.messages, *c.messages] for c in answers] or [record.messages]
    if kind != "prompts":
        yield from _empty(record, answers)
    for messages in conversations:
        problem = role_problem(messages, answered=kind == "sft" or bool(answers))
        if problem:
            yield "wrong_role_order", problem
            break
    if pair is not None:
        yield from _of_pair(*pair)


def role_problem(messages: list[Message], answered: bool) -> str:
    """What is wrong with the order of roles, in words; '' for nothing. answered: the last turn must be the assistant's.

    System and developer turns come first. Then user and assistant take turns; results of tools follow an assistant's turn or
    another result, and the assistant goes on after them.
    """
    before = "the beginning"
    for number, m in enumerate(messages):
        role = "system" if m.role == "developer" else m.role
        allowed = {
            "the beginning": ("system", "user"),
            "system": ("system", "user"),
            "user": ("assistant",),
            "assistant": ("user", "tool"),
            "tool": ("assistant", "tool", "user"),
        }[before]
        if role not in allowed:
            return f"turn {number} is the {role}'s, after {before if before == 'the beginning' else 'a turn of the ' + before}"
        before = role
    return f"the last turn is the {before}'s, not the assistant's" if answered and before not in ("assistant", "the beginning") else ""


def _pair(record: Record) -> list[Candidate] | None:
    try:
        return list(ranked_pairs(record, "best_vs_worst")[0])
    except Unholdable:
        return None


def _empty(record: Record, answers: list[Candidate]) -> Iterator[Found]:
    turns = [m for c in answers for m in c.messages] or [m for m in record.messages if m.role == "assistant"]
    if answers and any(not c.messages for c in answers):
        yield "empty_answer", "a candidate has no turns"
        return
    for m in turns:
        if not text_of(m).strip() and not m.tool_calls and not m.parts and m.loss != 0:
            yield "empty_answer", f"after {_tail(record)!r}"
            return


def _of_pair(chosen: Candidate, rejected: Candidate) -> Iterator[Found]:
    if _said(chosen) == _said(rejected):
        yield "same_answers", _said(chosen)
    for name, score in (chosen.scores or {}).items():
        other = (rejected.scores or {}).get(name)
        if score is not None and other is not None and other > score:
            yield "scores_contradict", f"{name}: chosen {score}, rejected {other}"
            return


def _said(candidate: Candidate) -> str:
    """Everything an answer says, calls of tools included; white space at the ends of turns left out."""
    return "\0".join(text_of(m).strip() + "".join(f"\1{c.name}\1{c.arguments}" for c in m.tool_calls or ()) for m in candidate.messages)


def _tail(record: Record) -> str:
    return text_of(split_answer(record.messages)[0][-1])[-80:] if split_answer(record.messages)[0] else ""


@dataclass(frozen=True)
class Vocabulary:
    """What the checks of token ids need to know of a tokenizer. stop: ids that end an answer."""

    size: int
    stop: frozenset[int]
    bos: int | None
    pad: int | None


def of_row(row: Made, kind: Kind, vocabulary: Vocabulary) -> Iterator[Found]:
    """Defects that show in token ids: of rows made here, and of rows that came as ids."""
    if kind == "sft":
        ids, labels = np.asarray(row.columns["input_ids"]), np.asarray(row.columns["labels"])
        yield from _ids(ids, vocabulary)
        yield from _labels(ids, labels, vocabulary)
    elif kind != "prompts":
        names = ("chosen_ids", "rejected_ids") if kind == "pairs" else ("completion_ids",)
        prompt, answers = np.asarray(row.columns["prompt_ids"]), [np.asarray(row.columns[n]) for n in names]
        yield from _ids(np.concatenate([prompt, *answers]), vocabulary)
        if any(not len(answer) for answer in answers):
            yield "empty_answer", "an answer has no tokens"
        elif vocabulary.stop and any(not vocabulary.stop & set(answer.tolist()) for answer in answers):
            yield "stop_untrained", "an answer has no stop token"
        if kind == "pairs" and np.array_equal(answers[0], answers[1]):
            yield "same_answers", "the same token ids"


def _ids(ids: Ids, vocabulary: Vocabulary) -> Iterator[Found]:
    if len(ids) and (int(ids.min()) < 0 or int(ids.max()) >= vocabulary.size):
        yield "out_of_vocabulary", f"id {int(ids.min()) if ids.min() < 0 else int(ids.max())}, the vocabulary has {vocabulary.size}"
    if len(ids) > 1 and ids[0] == ids[1] == vocabulary.bos:
        yield "double_bos", f"the first two ids are {vocabulary.bos}"


def _labels(ids: Ids, labels: Ids, vocabulary: Vocabulary) -> Iterator[Found]:
    if len(ids) != len(labels):
        yield "labels_differ", f"{len(ids)} ids and {len(labels)} labels"
        return
    trained = labels != IGNORED
    if not trained[1:].any():  # the first token is predicted by nothing
        yield "no_trained_tokens", f"none of {len(ids)} labels"
        return
    if (labels[trained] != ids[trained]).any():
        shifted = np.array_equal(labels[:-1][trained[:-1]], ids[1:][trained[:-1]])
        yield ("labels_shifted" if shifted else "labels_differ"), f"labels {labels[trained][:5].tolist()}, ids {ids[trained][:5].tolist()}"
        return
    if vocabulary.stop:
        yield from _stops(ids, trained, vocabulary)


def _stops(ids: Ids, trained: np.ndarray, vocabulary: Vocabulary) -> Iterator[Found]:
    """Every run of trained tokens that ends an answer holds its stop token: white space may follow it, nothing else."""
    ends = np.flatnonzero(trained & ~np.append(trained[1:], False))
    for end in ends.tolist():
        if end + 1 == len(ids):
            if not vocabulary.stop & set(ids[max(0, end - 2) : end + 1].tolist()):
                yield "cut_off", f"the last ids are {ids[-3:].tolist()}, the stop token {sorted(vocabulary.stop)}"
                return
        elif int(ids[end + 1]) in vocabulary.stop:
            masked = "stop_masked_as_pad" if int(ids[end + 1]) == vocabulary.pad else "stop_untrained"
            yield masked, f"id {int(ids[end + 1])} after the answer has the label -100"
            return


@dataclass
class Seen:
    """What rows were before: 8 bytes for each. labels: of answers to learn from and to avoid."""

    rows: set[int] = field(default_factory=set)
    pairs: set[int] = field(default_factory=set)
    labels: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})

    def of_record(self, record: Record, kind: Kind) -> Iterator[Found]:
        """Duplicates, and pairs that stand the other way round in a row before."""
        prompt = _key(record.messages) if record.text is None else record.text
        pair = _pair(record) if kind == "pairs" else None
        if pair is not None:
            sides = [_key(c.messages) for c in pair]
            own, other = (_hash([prompt, *order]) for order in (sides, sides[::-1]))
            if other in self.pairs and other != own:
                yield "contradicting_pairs", sides[0][:80]
            self.pairs.add(own)
        key = _hash([prompt, *(_key(c.messages) + str(c.label) for c in (pair or record.candidates))])
        if key in self.rows:
            yield "duplicate_row", _tail(record) or prompt[:200]
        self.rows.add(key)

    def of_row(self, row: Made, kind: Kind) -> Iterator[Found]:
        """The same for rows that came as ids."""
        key = _hash([f"{name}:{np.asarray(value).tobytes().hex()}" for name, value in sorted(row.columns.items()) if name.endswith("ids")])
        if key in self.rows:
            yield "duplicate_row", "the same token ids"
        self.rows.add(key)

    def of_set(self, kind: Kind) -> Iterator[Found]:
        """What the whole set lacks."""
        if kind == "labelled" and bool(self.labels[True]) != bool(self.labels[False]):
            yield "one_label", f"{self.labels[True]:,} good and {self.labels[False]:,} bad answers"


def _key(messages: list[Message]) -> str:
    return "\0".join(
        f"{m.role}\1{text_of(m).strip()}\1{m.reasoning or ''}" + "".join(f"\1{c.name}\1{c.arguments}" for c in m.tool_calls or ())
        for m in messages
    )


def _hash(parts: list[str]) -> int:
    return xxhash.xxh3_64_intdigest("\2".join(parts).encode("utf-8", "surrogatepass"))
