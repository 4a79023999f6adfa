"""What happened to one document: its way through every step, where its tokens lie, which training windows show them.

Answered from what the run wrote: the ledger of every drop (id, step, reason, value, partner), the published parts, the
token shards and the mix. Nothing is run again, unless `measure` is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from curate.errors import RecipeError
from curate.report.documents import Place, containing, find, rows_at
from curate.report.run_folder import RunFolder
from curate.report.token_places import Document, Tokens, tokens_of, windows_of
from curate.report.words import limits, number, visible

By = Literal["id", "url", "text"]
MATCHES = 20  # documents that are told of
TEXT_CHARS = 2000
OWN = ("id", "text", "source", "meta")


@dataclass
class StepFate:
    """What one step did with the document."""

    step: str
    fate: Literal["passed", "dropped", "not reached"]
    note: str  # value against bound, partner; the bounds that it passed


@dataclass
class Journey:
    """A document in one dataset."""

    dataset: str
    id: str
    fate: Literal["kept", "dropped"]
    file: str  # where it lies now, or where the ledger tells of it, inside the run
    row: int
    source: str = ""
    reason: str = ""
    value: float | None = None
    bound: str = ""
    partner: str | None = None
    partner_fate: str = ""
    columns: dict[str, Any] = field(default_factory=dict)  # that steps added
    meta: str = ""
    text: str | None = None  # None: not kept
    path: list[StepFate] = field(default_factory=list)
    tokens: Tokens | None = None
    token_row: Document | None = None

    def record(self) -> dict[str, Any]:
        """As plain data."""
        found = asdict(self)
        del found["token_row"]
        return found


def why(run: RunFolder, what: str, by: By | None = None) -> list[Journey]:
    """Every document that `what` names, in every dataset. RecipeError where there is none.

    by: None tries the id, then a URL, where it looks like one, then a piece of text
    Training windows are left to `add_windows`: everything else is there in a fraction of a second.
    """
    kept, gone = _named(run, {what}) if by in (None, "id") else ({}, {})
    if not kept and not gone and by != "id":
        url = by == "url" or (by is None and "://" in what)
        ids = _ids_of(run, "meta" if url else "text", json.dumps(what, ensure_ascii=False)[1:-1] if url else what)
        kept, gone = _named(run, ids)
    found = [_kept(run, name, place) for name, places in kept.items() for place in places[:MATCHES]]
    found += [_dropped(run, name, place) for name, places in gone.items() for place in places[:MATCHES]]
    if not found:
        raise RecipeError(_nothing(run, what))
    order = list(run.datasets)
    for journey in found:
        journey.path = list(_path(run, journey))
        lies = tokens_of(run, journey.dataset, journey.file, journey.row) if journey.fate == "kept" else None
        journey.tokens, journey.token_row = lies or (None, None)
    return sorted(found, key=lambda j: (j.id, order.index(j.dataset)))


def add_windows(run: RunFolder, journey: Journey, batch: int | None = None) -> None:
    """Add the training windows that show the document. batch: windows of a step, for a trainer of your own."""
    if journey.tokens is not None and journey.token_row is not None:
        journey.tokens.seen = windows_of(run, journey.token_row, batch)


def _named(run: RunFolder, ids: set[str]) -> tuple[dict[str, list[Place]], dict[str, list[Place]]]:
    """(in published parts, in ledgers), by dataset."""
    kept = {name: find(run.parts(name), ids) for name in run.datasets}
    gone = {name: find(run.beside(name, "ledger"), ids) for name in run.datasets}
    return {k: v for k, v in kept.items() if v}, {k: v for k, v in gone.items() if v}


def _ids_of(run: RunFolder, column: str, needle: str) -> set[str]:
    """Ids of documents whose text or metadata hold a string; of dropped ones only those that are kept to look at."""
    found: set[str] = set()
    for name in run.datasets:
        for kind in (run.parts(name), run.beside(name, "dropped")):
            places = containing(kind, column, needle, MATCHES)
            found |= {str(row["id"]) for row in rows_at(places, ["id"]).values()}
    return set(sorted(found)[:MATCHES])


def _kept(run: RunFolder, name: str, place: Place) -> Journey:
    row = rows_at([place])[place]
    columns = {k: v for k, v in row.items() if k not in (*OWN, "tokens") and isinstance(v, int | float | str | None)}
    text = row.get("text")
    return Journey(name, place.id, "kept", _inside(run, place), place.row, row.get("source") or "", columns=columns,
                   meta=visible(row.get("meta") or "", TEXT_CHARS), text=None if text is None else visible(text, TEXT_CHARS))  # fmt: skip


def _dropped(run: RunFolder, name: str, place: Place) -> Journey:
    drop = rows_at([place])[place]
    bounds = {
        b["reason"]: limits(b["at_least"], b["at_most"]) for b in run.distributions(name).get("bounds", ()) if b["step"] == drop["step"]
    }
    journey = Journey(name, place.id, "dropped", _inside(run, place), place.row, reason=drop["reason"], value=drop["value"],
                      bound=bounds.get(drop["reason"], ""), partner=drop["partner"])  # fmt: skip
    journey.path = [StepFate(drop["step"], "dropped", "")]
    for at, row in rows_at(find(_kept_beside(run, name, place), {place.id})).items():
        if row["drop_step"] == drop["step"] and row["drop_reason"] == drop["reason"] and at.id == place.id:
            journey.text, journey.meta, journey.source = visible(row["text"] or "", TEXT_CHARS), row["meta"] or "", row["source"] or ""
            journey.columns = json.loads(row["columns"] or "{}")
    if journey.partner is not None:
        journey.partner_fate = _fate(run, name, journey.partner)
    return journey


def _kept_beside(run: RunFolder, name: str, place: Place) -> list[Path]:
    """Where the row of a ledger's entry may be kept: a task that keeps rows has a ledger too, so where both are as many, they pair up."""
    files = run.beside(name, "dropped")
    paired = len(files) == len(run.beside(name, "ledger"))
    return [file for file in files if file.name == place.file.name] if paired else files


def _fate(run: RunFolder, name: str, partner: str) -> str:
    """What became of the document that another one was dropped for."""
    if find(run.parts(name), {partner}):
        return "kept"
    places = find(run.beside(name, "ledger"), {partner})
    drops = rows_at(places, ["step", "reason"])
    return (
        f"dropped later by {drops[places[0]]['step']}: {drops[places[0]]['reason']}" if places else ""
    )  # a benchmark item, or a document of an index


def _path(run: RunFolder, journey: Journey) -> Iterator[StepFate]:
    """All steps of the dataset, in order."""
    dropped_by = journey.path[0].step if journey.path else None
    bounds: dict[int, list[Mapping[str, Any]]] = {}
    for bound in run.distributions(journey.dataset).get("bounds", ()):
        bounds.setdefault(bound["line"], []).append(bound)
    over = False
    for line, entry in enumerate(run.datasets[journey.dataset]["funnel"]):
        if over:
            yield StepFate(entry["step"], "not reached", "")
        elif entry["step"] == dropped_by and journey.reason in entry["dropped"]:
            over = True
            yield StepFate(entry["step"], "dropped", _said(journey))
        elif line:
            yield StepFate(entry["step"], "passed", _bounds_text(bounds.get(line, ())))


def _bounds_text(bounds: Sequence[Mapping[str, Any]]) -> str:
    texts = [f"{b['reason'].partition('.')[2]} {limits(b['at_least'], b['at_most'])}" for b in bounds]
    return ", ".join(texts)


def _said(journey: Journey) -> str:
    parts = [journey.reason]
    if journey.value is not None:
        parts.append(f"{number(journey.value)}" + (f", and {journey.bound} survives" if journey.bound else ""))
    if journey.partner is not None:
        parts.append(f"for {visible(journey.partner, 200)}" + (f" ({journey.partner_fate})" if journey.partner_fate else ""))
    return "; ".join(parts)


def _inside(run: RunFolder, place: Place) -> str:
    return str(place.file.relative_to(run.root))


def _nothing(run: RunFolder, what: str) -> str:
    """The message for something that nobody has seen, with what may be meant."""
    text = f"{run.root}: no document has the id {visible(what, 100)!r}, nor holds it as text or URL."
    samples = [name for name in run.datasets if run.settings(name).get("keep_dropped", "sample") != "all" and run.beside(name, "ledger")]
    if samples:
        text += (
            f" Texts of dropped documents are searched only as far as they are kept ({', '.join(samples)} keep a sample;"
            " `keep_dropped: all` keeps all). Ids of dropped documents are all known."
        )
    return text


def measure(run: RunFolder, journey: Journey) -> list[tuple[str, str, float | None, str]]:
    """(step, number, value, what survives) of every bounded number, by running the steps in annotate mode on the text as it is now.

    Steps before may have changed the text since: a number can differ from the one that was judged.
    """
    import pyarrow as pa

    from curate import registry
    from curate.apply import run_step
    from curate.steps.signal_table import signals_of

    if journey.text is None:
        return []
    row = {"id": journey.id, "text": whole_text(run, journey), "source": journey.source, "meta": journey.meta or "{}"}
    found = []
    for name, settings in run.steps(journey.dataset):
        if name not in registry.names("steps") or "mode" not in registry.load("steps", name).model_fields:
            continue
        step = registry.load("steps", name)(**{**settings, "mode": "annotate"})
        signals = signals_of(step)
        if signals:
            told = run_step(step, pa.table({k: pa.array([v], pa.large_string() if k == "text" else None) for k, v in row.items()}))
            for signal in signals:
                value, bound = told.column(signal.column)[0].as_py(), getattr(step, signal.setting)
                if isinstance(bound, int | float):
                    side = limits(bound, None) if signal.survives == "at_least" else limits(None, bound)
                    found.append((name, signal.column, None if value is None else float(value), side))
    return found


def whole_text(run: RunFolder, journey: Journey) -> str:
    """The document's text, uncut; '' where the run does not keep it."""
    if journey.fate == "kept":
        place = Place(run.root / journey.file, journey.row, journey.id)
        return str(rows_at([place], ["text"])[place].get("text") or "")
    places = find(run.beside(journey.dataset, "dropped"), {journey.id})
    rows = rows_at(places, ["text", "drop_reason"])
    return next((row["text"] or "" for row in rows.values() if row["drop_reason"] == journey.reason), "")
