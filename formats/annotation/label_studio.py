"""Label Studio's JSON: tasks to annotate, and completed annotations back.

    comparison   a task shows two answers to a prompt; the annotator picks one (Pairwise), or ticks the tie (Choices)
    rating       a task shows one answer; the annotator gives 1 to 5 stars (Rating)

Which answer stands on the left is drawn by the task's content, so that neither the better nor the first one always does. `data.record`,
`data.answers` (places among the record's candidates) and `data.texts` come back with the export, so an import needs no other file; with the pool at
hand the votes are added to its candidates as scores.

What comes back: the whole export ("JSON": tasks with their annotations) or the flat one ("JSON-MIN"). Annotations that were cancelled or hold
no answer are counted, never guessed. Every vote stays in `extra.votes` beside the sum: `human` is the mean rating, or the share of comparisons won
(a tie is half a win) among those that the answer was in.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from curate.errors import DataError
from formats.records import Candidate, Message, Record, text_of

Kind = Literal["comparison", "rating"]
Pairs = Literal["best_worst", "adjacent", "all"]
SCORE = "human"
STARS = 5
CONFIGS: dict[Kind, str] = {
    "comparison": """<View>
  <Header value="Which answer is better?"/>
  <Text name="prompt" value="$prompt"/>
  <Pairwise name="comparison" toName="left,right"/>
  <Text name="left" value="$left"/>
  <Text name="right" value="$right"/>
  <Choices name="tie" toName="prompt" choice="single"><Choice value="tie"/></Choices>
</View>
""",
    "rating": f"""<View>
  <Header value="How good is the answer?"/>
  <Text name="prompt" value="$prompt"/>
  <Text name="answer" value="$answer"/>
  <Rating name="rating" toName="answer" maxRating="{STARS}"/>
</View>
""",
}


def tasks(records: Iterable[Record], kind: Kind, pairs: Pairs = "best_worst", score: str | None = None) -> Iterator[dict[str, Any]]:
    """Tasks for the candidates of records; equal answers are shown once. pairs: by `score`, or in order where it is None.

    A record with fewer answers than a task needs gives none.
    """
    for record in records:
        if not record.id:
            raise DataError("A record without an id can't come back from annotation. Read it through a recipe, or convert it with --ids.")
        places = _distinct(record)
        prompt = "\n\n".join(text_of(m) if m.role == "user" else f"[{m.role}] {text_of(m)}" for m in record.messages)
        if kind == "rating":
            for at in places:
                yield _task(record, prompt, (at,), {"answer": _text(record.candidates[at])})
            continue
        for pair in _pairs(record, places, pairs, score):
            left, right = pair if _draw(record.id, pair) else pair[::-1]
            shown = {"left": _text(record.candidates[left]), "right": _text(record.candidates[right])}
            yield _task(record, prompt, (left, right), shown)


def _task(record: Record, prompt: str, places: tuple[int, ...], shown: dict[str, str]) -> dict[str, Any]:
    return {"data": {"prompt": prompt, **shown, "record": record.id, "answers": list(places)}}


def _distinct(record: Record) -> list[int]:
    first: dict[str, int] = {}
    for at, candidate in enumerate(record.candidates):
        first.setdefault(_text(candidate), at)
    return list(first.values())


def _text(candidate: Candidate) -> str:
    return "\n\n".join(text_of(m) for m in candidate.messages)


def _pairs(record: Record, places: list[int], pairs: Pairs, score: str | None) -> list[tuple[int, int]]:
    """Pairs of candidates, each with the smaller place first."""
    if score is not None:
        found = [(value, at) for at in places if (value := (record.candidates[at].scores or {}).get(score)) is not None and value == value]
        places = [at for _, at in sorted(found, key=lambda entry: (-entry[0], entry[1]))]
    if len(places) < 2:
        return []
    chosen = {
        "best_worst": [(places[0], places[-1])],
        "adjacent": list(itertools.pairwise(places)),
        "all": list(itertools.combinations(places, 2)),
    }[pairs]
    return [(min(p), max(p)) for p in chosen]


def _draw(identity: str, pair: tuple[int, int]) -> bool:
    return bool(hashlib.sha256(f"{identity}:{pair}".encode()).digest()[0] & 1)


@dataclass
class Votes:
    """What people said of a record's answers, by place."""

    prompt: str = ""
    texts: dict[int, str] = field(default_factory=dict)
    given: dict[int, list[dict[str, Any]]] = field(
        default_factory=lambda: defaultdict(list)
    )  # place -> votes: {by, value} or {by, value, against}


@dataclass
class Import:
    """All votes of an export, and what was counted."""

    records: dict[str, Votes] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)  # tasks, votes, cancelled, empty, unannotated, ties
    by_task: list[list[str]] = field(default_factory=list)  # votes of tasks with several annotators

    def agreement(self) -> float | None:
        """Share of pairs of annotators of one task who said the same; None where no task has two."""
        pairs = [a == b for votes in self.by_task for a, b in itertools.combinations(votes, 2)]
        return sum(pairs) / len(pairs) if pairs else None


def read_votes(rows: Iterable[Any]) -> Import:
    """The votes of an export's tasks. Raises DataError for a task that is not of `tasks`."""
    made = Import()
    for number, row in enumerate(rows):
        data = row.get("data", row) if isinstance(row, dict) else None
        answers: list[int] = _places(data.get("answers")) if isinstance(data, dict) else []
        if not isinstance(data, dict) or not isinstance(data.get("record"), str) or not answers:
            raise DataError(
                f"task {number}: has no 'record' and 'answers' in its data, so it is not known which answers it shows. "
                "Import tasks that `curate label-studio export` wrote."
            )
        made.counts["tasks"] += 1
        votes = made.records.setdefault(data["record"], Votes(str(data.get("prompt", ""))))
        for place, name in zip(answers, ("answer",) if len(answers) == 1 else ("left", "right"), strict=True):
            votes.texts[place] = str(data.get(name, ""))
        said = [value for by, value in _said(row, made.counts) if _cast(votes, answers, by, value, made.counts)]
        if len(said) > 1:
            made.by_task.append(said)
        if not said:
            made.counts["unannotated"] += 1
    return made


def _places(answers: Any) -> list[int]:
    """Places of the answers that a task shows; [] for anything else."""
    good = isinstance(answers, list) and 1 <= len(answers) <= 2
    return answers if good and all(isinstance(a, int) and not isinstance(a, bool) and a >= 0 for a in answers) else []


def _said(row: dict[str, Any], counts: Counter[str]) -> Iterator[tuple[str, str]]:
    """(annotator, 'left', 'right', 'tie' or a number of stars) of each annotation of a task."""
    if "data" not in row:  # JSON-MIN: one annotation, its results flattened by the names of the controls
        value = _value([{"type": n, "value": row[n]} for n in ("comparison", "rating", "tie") if row.get(n) is not None])
        if value:
            yield str(row.get("annotator", "")), value
        return
    for annotation in row.get("annotations") or ():
        if annotation.get("was_cancelled"):
            counts["cancelled"] += 1
            continue
        value = _value(annotation.get("result") or [])
        if not value:
            counts["empty"] += 1
            continue
        by = annotation.get("completed_by", "")
        yield str(by.get("email", by.get("id", "")) if isinstance(by, dict) else by), value


def _value(results: list[Any]) -> str:
    """What an annotation says; '' where it says nothing. A ticked tie goes before a picked side."""
    found: dict[str, str] = {}
    for result in results:
        value = result.get("value") if isinstance(result, dict) else None
        inner: dict[str, Any] = value if isinstance(value, dict) else {"selected": value, "choices": [value], "rating": value}
        kind = result.get("type") if isinstance(result, dict) else None
        if kind in ("choices", "tie") and "tie" in (inner.get("choices") or ()):
            found["tie"] = "tie"
        elif kind in ("pairwise", "comparison") and inner.get("selected") in ("left", "right"):
            found["side"] = str(inner["selected"])
        elif kind == "rating" and isinstance(inner.get("rating"), (int, float)) and not isinstance(inner["rating"], bool):
            found["stars"] = str(inner["rating"])
    return found.get("tie") or found.get("side") or found.get("stars") or ""


def _cast(votes: Votes, answers: list[int], by: str, value: str, counts: Counter[str]) -> bool:
    """Book a vote; False where it does not fit the task."""
    if len(answers) == 1:
        try:
            stars = float(value)
        except ValueError:
            counts["empty"] += 1
            return False
        votes.given[answers[0]].append({"by": by, "value": stars})
    elif value in ("left", "right", "tie"):
        left = {"left": 1.0, "right": 0.0, "tie": 0.5}[value]
        votes.given[answers[0]].append({"by": by, "value": left, "against": answers[1]})
        votes.given[answers[1]].append({"by": by, "value": 1 - left, "against": answers[0]})
        counts["ties"] += value == "tie"
    else:
        counts["empty"] += 1
        return False
    counts["votes"] += 1
    return True


def annotated(made: Import) -> Iterator[Record]:
    """Records of the votes alone: the prompt as one user turn, the answers that were voted on, with scores and ranks."""
    for identity, votes in made.records.items():
        candidates = [
            Candidate([Message("assistant", votes.texts[at])], **_scored(votes.given[at])) for at in sorted(votes.texts) if votes.given[at]
        ]
        if candidates:
            _rank(candidates)
            yield Record([Message("user", votes.prompt)], candidates, id=identity)


def merged(records: Iterable[Record], made: Import) -> Iterator[Record]:
    """The pool with votes as scores of its candidates; records and candidates that nobody voted on come through unchanged.

    Raises DataError where an answer is not the one that was shown.
    """
    left = set(made.records)
    for record in records:
        votes = made.records.get(record.id)
        if votes is None:
            yield record
            continue
        left.discard(record.id)
        candidates = list(record.candidates)
        for at, given in votes.given.items():
            if at >= len(candidates) or _text(candidates[at]) != votes.texts[at]:
                raise DataError(
                    f"record {record.id!r}: answer {at} of the pool is not the one that was annotated. Give the pool that was exported."
                )
            if given:
                new = _scored(given)
                old = candidates[at]
                candidates[at] = Candidate(
                    old.messages, {**(old.scores or {}), **new["scores"]}, old.rank, old.label, old.labels, old.model, old.finish_reason,
                    {**(old.extra or {}), **new["extra"]}, old.sample, old.seed, old.round, old.tokens,
                )  # fmt: skip
        yield Record(record.messages, candidates, record.tools, record.text, record.plain, record.id, record.source, record.meta)
    if left:
        raise DataError(f"{len(left)} annotated records are not in the pool, the first is {min(left)!r}. Give the pool that was exported.")


def _scored(given: list[dict[str, Any]]) -> dict[str, Any]:
    mean = sum(vote["value"] for vote in given) / len(given)
    return {"scores": {SCORE: mean}, "extra": {"votes": given}}


def _rank(candidates: list[Candidate]) -> None:
    """Ranks by score, 0 the best; equal scores share a rank."""
    values = sorted({(c.scores or {})[SCORE] or 0.0 for c in candidates}, reverse=True)
    for candidate in candidates:
        candidate.rank = values.index((candidate.scores or {})[SCORE] or 0.0)
