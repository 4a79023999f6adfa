"""Several scored answers to one prompt: ranked lists, NVIDIA's context/completions, UltraFeedback, HelpSteer, AlpacaFarm.

Sources: NVIDIA-NeMo/RL docs/guides/dpo.md and rm.md; Nectar's fields as axolotl reads them; OpenBMB/UltraFeedback
README.md; HelpSteer's five attributes, 0 to 4; tatsu-lab/alpaca_farm (output_1, output_2, preference).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from formats.adapters.adapter import (
    ALL_TURNS,
    Adapter,
    Row,
    Unholdable,
    Unreadable,
    finish,
    kind,
    notes,
    only_text,
    side_fields,
    want_text,
    with_notes,
)
from formats.adapters.alpaca import ALPACA, read_prompt, write_prompt
from formats.adapters.chatml import inline
from formats.adapters.simple import read_side, write_side
from formats.adapters.turns import OPENAI, write_turn
from formats.records import Candidate, Message, Record

ATTRIBUTES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
_TEXT = "response"


class Ranked(Adapter):
    """K answers with ranks: `prompt` and `answers` of {answer, rank} (Nectar), or `context` and `completions` of {rank, completion} (NVIDIA)."""

    name: ClassVar[str] = "ranked"
    summary: ClassVar[str] = "K ranked answers: NVIDIA context/completions/rank, Nectar prompt/answers"
    holds: ClassVar[frozenset[str]] = (
        ALL_TURNS | {f"candidates.{n}" for n in ("rank", "scores", "label", "model", "finish_reason", "extra")} | {"candidates"}
    )
    native: ClassVar[frozenset[str]] = frozenset({"context", "completions", "prompt", "answers"})

    def __init__(self, roles: Mapping[str, str] | None = None) -> None:
        self.roles = roles

    def read(self, row: Row) -> Record:
        nectar = "answers" in row and "completions" not in row
        items = row.pop("answers" if nectar else "completions", None)
        if not isinstance(items, list) or not all(isinstance(i, dict) for i in items):
            raise Unreadable("missing_field", f"'completions' is {kind(items)}, expected a list of {{rank, completion}}")
        prompt, plain = read_side(row, "prompt" if nectar else "context", "user", self.roles)
        kept = {"form": "nectar"} if nectar else {"context": "text"} if plain else {}
        candidates = [self._candidate(dict(item), nectar) for item in items]
        return finish(Record(prompt, candidates, meta=with_notes("ranked", kept)), row)

    def _candidate(self, item: dict[str, Any], nectar: bool) -> Candidate:
        rank = item.pop("rank", None)
        if not isinstance(rank, (int, float)) or rank != int(rank):
            raise Unreadable("rank", f"a rank is {kind(rank)}, expected a whole number; lower is better")
        messages, _ = read_side(item, "answer" if nectar else "completion", "assistant", self.roles)
        made = Candidate(messages, rank=int(rank))
        if isinstance(item.get("scores"), dict) and all(v is None or isinstance(v, (int, float)) for v in item["scores"].values()):
            made.scores = {k: None if v is None else float(v) for k, v in item.pop("scores").items()}
        if isinstance(item.get("label"), bool):
            made.label = item.pop("label")
        for name in ("model", "finish_reason"):
            if isinstance(item.get(name), str):
                setattr(made, name, item.pop(name))
        made.extra = item or None
        return made

    def write(self, record: Record, lost: set[str]) -> list[Row]:
        if not record.candidates or any(c.rank is None for c in record.candidates):
            raise Unholdable("unranked", "not every candidate has a rank; score and rank first")
        kept = notes(record, "ranked")
        nectar = kept.get("form") == "nectar" and all(len(c.messages) == 1 and c.messages[0].content is not None for c in record.candidates)
        items = [self._item(c, nectar) for c in record.candidates]
        if nectar:
            row: Row = {"prompt": write_side(record.messages, True, "user", lost), "answers": items}
        else:
            row = {"context": write_side(record.messages, kept.get("context") == "text", "user", lost), "completions": items}
        return [side_fields(record, row, self, "ranked")]

    def _item(self, c: Candidate, nectar: bool) -> Row:
        item: Row = {"answer": c.messages[0].content} if nectar else {}
        item["rank"] = c.rank
        if not nectar:
            item["completion"] = [write_turn(m, OPENAI) for m in c.messages]
        for name in ("scores", "label", "model", "finish_reason"):
            if getattr(c, name) is not None:
                item[name] = getattr(c, name)
        return {**item, **(c.extra or {})}

    def evidence(self, row: Row) -> str | None:
        for prompt, items in (("context", "completions"), ("prompt", "answers")):
            found = row.get(items)
            if prompt in row and isinstance(found, list) and found and all(isinstance(i, dict) and "rank" in i for i in found):
                return f"{prompt!r} and {items!r} with ranks"
        return None


class UltraFeedback(Adapter):
    """UltraFeedback raw: an instruction and completions with aspect ratings and an overall score."""

    name: ClassVar[str] = "ultrafeedback"
    summary: ClassVar[str] = "UltraFeedback raw: instruction, models, completions with annotations (binarised: preference)"
    holds: ClassVar[frozenset[str]] = frozenset({"candidates", "candidates.scores", "candidates.model", "candidates.extra"})
    native: ClassVar[frozenset[str]] = frozenset({"instruction", "completions", "models"})

    def read(self, row: Row) -> Record:
        items = row.pop("completions", None)
        if not isinstance(items, list):
            raise Unreadable("missing_field", f"'completions' is {kind(items)}, expected a list of {{model, response, annotations}}")
        record = Record([Message("user", want_text(row, "instruction"))], [self._candidate(item) for item in items])
        if row.get("models") == [c.model for c in record.candidates]:
            del row["models"]
        return finish(record, row)

    def _candidate(self, item: Any) -> Candidate:
        if not isinstance(item, dict):
            raise Unreadable("wrong_type", f"a completion is {kind(item)}, expected an object")
        rest = dict(item)
        made = Candidate([Message("assistant", want_text(rest, _TEXT))])
        if isinstance(rest.get("model"), str):
            made.model = rest.pop("model")
        made.scores = _ratings(rest) or None
        made.extra = rest or None
        return made

    def write(self, record: Record, lost: set[str]) -> list[Row]:
        if not record.candidates:
            raise Unholdable("no_candidates", "there are no candidates")
        if len(record.messages) != 1 or record.messages[0].role != "user":
            raise Unholdable("turns", "the prompt must be one user turn")
        if any(len(c.messages) != 1 for c in record.candidates):
            raise Unholdable("turns", "an answer must be one turn")
        only_text([*record.messages, *(c.messages[0] for c in record.candidates)], "UltraFeedback", lost)
        row: Row = {"instruction": inline(record.messages[0])}
        if all(c.model is not None for c in record.candidates):
            row["models"] = [c.model for c in record.candidates]
        row["completions"] = [self._item(c, lost) for c in record.candidates]
        return [side_fields(record, row, self, "ultrafeedback")]

    def _item(self, c: Candidate, lost: set[str]) -> Row:
        item: Row = {"model": c.model} if c.model is not None else {}
        item |= {"response": inline(c.messages[0]), **(c.extra or {})}
        known = _ratings(dict(item))
        if {k: v for k, v in (c.scores or {}).items() if known.get(k, ...) != v}:
            if "overall_score" in (c.scores or {}) and "overall_score" not in item:
                item["overall_score"] = (c.scores or {})["overall_score"]
            if _ratings(dict(item)) != (c.scores or {}):
                lost.add("candidates.scores")
        return item

    def evidence(self, row: Row) -> str | None:
        found = row.get("completions")
        if "instruction" in row and isinstance(found, list) and found and all(isinstance(i, dict) and _TEXT in i for i in found):
            return "an 'instruction' and 'completions' with a 'response' each"
        return None


def _ratings(item: dict[str, Any]) -> dict[str, float | None]:
    """Scores of a completion: one of each aspect, and the overall one. Ratings are text ("5", "N/A", "10") and must be a whole number to count.

    The set once read "1" out of "10": a rating is compared as a whole, and what is no number is None, not a guess. The
    annotations themselves stay in the candidate's `extra`.
    """
    scores: dict[str, float | None] = {}
    annotations = item.get("annotations")
    for aspect, found in (annotations if isinstance(annotations, dict) else {}).items():
        if isinstance(found, dict) and "Rating" in found:
            scores[aspect] = _number(found["Rating"])
    for name in ("overall_score", "fine-grained_score"):
        if name in item:
            scores[name] = _number(item[name])
    return scores


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if found - found == 0 else None


class HelpSteer(Adapter):
    """HelpSteer: one response a row with five attributes of 0 to 4."""

    name: ClassVar[str] = "helpsteer"
    summary: ClassVar[str] = "HelpSteer: prompt, response and five attributes"
    holds: ClassVar[frozenset[str]] = frozenset({"candidates", "candidates.scores"})
    native: ClassVar[frozenset[str]] = frozenset({"prompt", "response", *ATTRIBUTES})

    def read(self, row: Row) -> Record:
        prompt, answer = want_text(row, "prompt"), want_text(row, "response")
        scores = {name: _number(row.pop(name)) for name in ATTRIBUTES if name in row}
        return finish(Record([Message("user", prompt)], [Candidate([Message("assistant", answer)], scores=scores)]), row)

    def write(self, record: Record, lost: set[str]) -> list[Row]:
        scored = [c for c in record.candidates if c.scores is not None and set(c.scores) <= set(ATTRIBUTES)]
        if not scored or len(scored) != len(record.candidates):
            raise Unholdable("no_attributes", f"every candidate needs scores among {', '.join(ATTRIBUTES)} and no others")
        if len(record.messages) != 1 or any(len(c.messages) != 1 for c in scored):
            raise Unholdable("turns", "prompt and answer must be one turn each")
        only_text([*record.messages, *(c.messages[0] for c in scored)], "HelpSteer", lost)
        if len(scored) > 1:
            lost.add("candidates")
        rows = []
        for c in scored:
            row: Row = {"prompt": inline(record.messages[0]), "response": inline(c.messages[0])}
            row |= {k: int(v) if v is not None and v.is_integer() else v for k, v in (c.scores or {}).items()}
            rows.append(side_fields(record, row, self, "helpsteer"))
        return rows

    def evidence(self, row: Row) -> str | None:
        if {"prompt", "response", *ATTRIBUTES[:3]} <= set(row):
            return "a 'prompt', a 'response' and HelpSteer's attributes"
        return None


class AlpacaFarm(Adapter):
    """AlpacaFarm and AlpacaEval: instruction, output_1, output_2 and which one is preferred (0: a tie)."""

    name: ClassVar[str] = "alpaca_farm"
    summary: ClassVar[str] = "AlpacaFarm comparisons: output_1, output_2, preference"
    holds: ClassVar[frozenset[str]] = frozenset({"candidates", "candidates.rank", "candidates.model"})
    native: ClassVar[frozenset[str]] = frozenset(
        {"instruction", "input", "output_1", "output_2", "preference", "generator_1", "generator_2"}
    )

    def read(self, row: Row) -> Record:
        kept: dict[str, Any] = {}
        prompt, _, _ = read_prompt(row, ALPACA, kept)
        preferred = row.pop("preference", None)
        if preferred not in (0, 1, 2):
            raise Unreadable("preference", f"'preference' is {preferred!r}, expected 1 or 2, or 0 for a tie")
        candidates = []
        for n in (1, 2):
            rank = 0 if preferred in (0, n) else 1
            candidates.append(Candidate([Message("assistant", want_text(row, f"output_{n}"))], rank=rank))
            if isinstance(row.get(f"generator_{n}"), str):
                candidates[-1].model = row.pop(f"generator_{n}")
        return finish(Record(prompt, candidates, meta=with_notes("alpaca_farm", kept)), row)

    def write(self, record: Record, lost: set[str]) -> list[Row]:
        ranks = [c.rank for c in record.candidates]
        if len(ranks) != 2 or None in ranks:
            raise Unholdable("no_pair", "two candidates with ranks are expected")
        if any(len(c.messages) != 1 for c in record.candidates):
            raise Unholdable("turns", "an answer must be one turn")
        only_text([*record.messages, *(c.messages[0] for c in record.candidates)], "AlpacaFarm", lost)
        row = write_prompt(record.messages, ALPACA, notes(record, "alpaca_farm"))
        for n, c in enumerate(record.candidates, 1):
            row[f"output_{n}"] = inline(c.messages[0])
            if c.model is not None:
                row[f"generator_{n}"] = c.model
        a, b = (r or 0 for r in ranks)
        row["preference"] = 0 if a == b else 1 if a < b else 2
        if sorted((a, b)) not in ([0, 0], [0, 1]):
            lost.add("candidates.rank")
        return [side_fields(record, row, self, "alpaca_farm")]

    def evidence(self, row: Row) -> str | None:
        return "'output_1', 'output_2' and 'preference'" if {"output_1", "output_2", "preference"} <= set(row) else None
