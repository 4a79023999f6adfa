"""Run filters with each document's own language's settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, PrivateAttr, ValidationError, model_validator

from curate.errors import RecipeError
from curate.languages import LanguageSettings, load
from curate.registry import load as registered
from curate.registry import names, nearest
from curate.step import Asset, BatchFn, Context, CorpusStep, Outcome, Step, Verdict

_UNLISTED = "by_language.unlisted"


class ByLanguage(Step):
    """Run filters on each document with the settings of its language.

    Reads `lang_code` (of `language`, before it) and what the filters read; adds what they add. A batch is split by
    language, every part goes through all filters, which share its word split, and the rows go back into their order. A
    document is dropped for the first reason in the order of `steps`; filters don't see what another one changed in it.
    Costs the filters' time, and a copy of the text where a batch has several languages.

    A filter's settings are, each winning over the next: those of the language in the file, those given here, its defaults.
    """

    name: ClassVar[str] = "by_language"
    summary: ClassVar[str] = "run filters with the settings of each document's language"
    origin: ClassVar[str] = "FineWeb-2's settings per language (arXiv:2506.20920); huggingface/fineweb-2, configs/*.yml"
    shorthand: ClassVar[str | None] = "settings"

    settings: str = Field(
        "fineweb2",
        description="a file of settings per language, or the name of one that comes with curate: fineweb2 (80 languages)",
        json_schema_extra={"path": "optional"},
    )
    steps: tuple[str | dict[str, dict[str, Any] | None], ...] = Field(
        ("gopher_repetition", "fineweb", "gopher_quality"),
        min_length=1,
        max_length=50,
        description="filters, in order, each with settings where the file has none: [gopher_repetition, {gopher_quality: {min_words: 20}}]",
    )
    unlisted: Literal["default", "keep", "drop"] = Field(
        "default", description="languages that the file does not name: default: the filters' own settings; keep: untouched; or drop"
    )
    mode: Literal["drop", "annotate"] = Field("drop", description="annotate: filters add their columns, nothing is dropped")

    _variants: dict[str | None, tuple[Step, ...]] = PrivateAttr(default_factory=dict)  # key of a language, or None: unlisted

    @model_validator(mode="after")
    def _buildable(self) -> ByLanguage:
        try:
            file = load(self.settings)
            self._variants[None] = self._build(None, {})
            for code, settings in file.by_code.items():
                self._variants[code] = self._build(code, settings)
        except RecipeError as error:
            raise ValueError(str(error)) from error
        return self

    def _build(self, code: str | None, own: Mapping[str, dict[str, Any]]) -> tuple[Step, ...]:
        where = "steps" if code is None else f"{self.settings}: languages.{code}"
        built = []
        for entry in self.steps:
            if isinstance(entry, dict) and len(entry) != 1:
                raise RecipeError(f"steps: expected one filter an entry, got {sorted(entry)}")
            name, given = (entry, None) if isinstance(entry, str) else next(iter(entry.items()))
            if name not in names("steps") or name == self.name:
                raise RecipeError(f"steps: no filter {name!r}.{nearest(name, names('steps'))}")
            cls = registered("steps", name)
            mode = {"mode": self.mode} if "mode" in cls.model_fields else {}
            try:
                step = cls(**(given or {}) | own.get(name, {}) | mode)
            except ValidationError as error:
                first = error.errors()[0]
                at = ".".join(map(str, first["loc"]))
                raise RecipeError(f"{where}.{name}{'.' + at if at else ''}: {first['msg']}, got {first['input']!r}") from error
            if isinstance(step, CorpusStep) or step.removes() or not (step.drops() or step.adds()):
                raise RecipeError(f"steps: {name} is not a filter that judges documents one by one")
            built.append(step)
        return tuple(built)

    def reads(self) -> frozenset[str]:
        """The language, and what the filters read."""
        return frozenset({"lang_code"}).union(*(step.reads() for step in self._variants[None]))

    def adds(self) -> Mapping[str, pa.DataType]:
        """What the filters add."""
        return {name: kind for step in self._variants[None] for name, kind in step.adds().items()}

    def drops(self) -> tuple[str, ...]:
        """Reasons of all filters in all languages, in the order of the filters."""
        if self.mode == "annotate":
            return ()
        used = [steps for code, steps in self._variants.items() if code is not None or self.unlisted == "default"]
        ordered = [reason for place in range(len(self.steps)) for steps in used for reason in steps[place].drops()]
        return tuple(dict.fromkeys(ordered)) + ((_UNLISTED,) if self.unlisted == "drop" else ())

    def assets(self) -> tuple[Asset, ...]:
        """The file of settings, those that it extends, and what the filters need."""
        own = tuple(Asset(path, "settings per language") for path in load(self.settings).paths)
        inner = [asset for steps in self._variants.values() for step in steps for asset in step.assets()]
        return own + tuple(dict.fromkeys(inner))

    def bind(self, ctx: Context) -> BatchFn:
        """Return the batch function; the filters of a language are bound when it is met."""
        file, bound = load(self.settings), dict[str | None, tuple[BatchFn, ...]]()

        def judge(key: str | None, part: pa.RecordBatch) -> Outcome:
            if key is None and self.unlisted != "default" and self.mode == "drop":
                return _alike(part, None if self.unlisted == "keep" else _UNLISTED)
            if key not in bound:
                bound[key] = tuple(step.bind(ctx) for step in self._variants[key])
            return _in_turn(bound[key], part)

        def run(batch: pa.RecordBatch) -> Outcome:
            groups = _groups(batch.column("lang_code"), file)
            if len(groups) <= 1:
                return judge(next(iter(groups), None), batch)
            parts = [judge(key, batch.take(pa.array(rows))) for key, rows in groups.items()]
            return _together(parts, np.concatenate(list(groups.values())))

        return run


def _groups(codes: pa.Array, file: LanguageSettings) -> dict[str | None, np.ndarray[Any, np.dtype[np.int64]]]:
    """Row numbers of each language's key in the file, ascending; None: of all languages that it does not name."""
    distinct = codes.dictionary_encode()
    keys = [file.names.get(code or "") for code in distinct.dictionary.to_pylist()]
    order: dict[str | None, int] = {None: 0}
    numbers = np.array([order.setdefault(key, len(order)) for key in keys] + [0], np.int64)
    at = numbers[distinct.indices.fill_null(len(keys)).to_numpy(zero_copy_only=False)]
    return {key: np.flatnonzero(at == number) for key, number in order.items() if (at == number).any()}


def _alike(batch: pa.RecordBatch, reason: str | None) -> Outcome:
    n = len(batch)
    keep = pa.array(np.full(n, reason is None))
    return Outcome(batch, Verdict(keep, pa.array([reason] * n, pa.string()), pa.nulls(n, pa.float64())))


def _in_turn(functions: tuple[BatchFn, ...], batch: pa.RecordBatch) -> Outcome:
    """All filters on one batch; the first one that drops a document decides."""
    verdict: Verdict | None = None
    for function in functions:
        outcome = function(batch)
        batch, new = outcome.batch, outcome.verdict
        if new is None:
            continue
        value = new.value if new.value is not None else pa.nulls(len(batch), pa.float64())
        if verdict is None:
            verdict = Verdict(new.keep, new.reason, value)
        else:
            so_far = verdict.keep
            verdict = Verdict(
                pc.and_(so_far, new.keep), pc.if_else(so_far, new.reason, verdict.reason), pc.if_else(so_far, value, verdict.value)
            )
    return Outcome(batch, verdict)


def _together(parts: list[Outcome], rows: np.ndarray[Any, np.dtype[np.int64]]) -> Outcome:
    """Parts joined and put back into the order of the batch; rows: where each of their rows was."""
    back = pa.array(np.argsort(rows, kind="stable"))
    batch = pa.Table.from_batches([part.batch for part in parts]).combine_chunks().to_batches()[0].take(back)
    verdicts = [part.verdict for part in parts]
    if any(verdict is None for verdict in verdicts):
        return Outcome(batch)
    columns = [
        pa.concat_arrays([verdict[k] for verdict in verdicts if verdict is not None]).take(back)  # keep, reason, value
        for k in range(3)
    ]
    return Outcome(batch, Verdict(*columns))
