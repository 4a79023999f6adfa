"""Keep documents with mathematics in them (OpenWebMath's rules that need no model)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curate.schema import with_columns
from curate.step import BatchFn, Context, Outcome, Signal, Step
from curate.steps.bounds import Bound, judge, judged_columns, ratio

_COMMANDS = tuple(
    "\\" + name
    for name in [
        "end",
        "begin",
        "ref",
        "frac",
        "label",
        "bf",
        "right",
        "left",
        "rm",
        "alpha",
        "mu",
        "def",
        "it",
        "pi",
        "sigma",
        "sum",
        "lambda",
        "beta",
        "nu",
        "partial",
        "int",
        "delta",
        "rho",
        "phi",
        "gamma",
        "omega",
        "over",
        "nonumber",
        "bar",
        "sqrt",
        "theta",
        "tau",
        "em",
        "rangle",
        "hat",
        "tilde",
        "cal",
        "hline",
        "item",
        "psi",
        "vec",
        "langle",
        "epsilon",
        "eta",
        "cdot",
        "in",
        "xi",
        "infty",
        "quad",
        "mathcal",
        "times",
        "emph",
        "mathbf",
        "prime",
        "be",
        "mathrm",
        "ee",
        "vspace",
        "pm",
        "chi",
        "ell",
        "text",
        "qquad",
        "noindent",
        "to",
        "varphi",
        "hspace",
        "leq",
        "cos",
        "eqref",
        "overline",
        "sin",
        "kappa",
        "hbox",
        "rightarrow",
        "varepsilon",
        "textit",
        "dagger",
        "big",
        "otimes",
        "equiv",
        "zeta",
        "dot",
        "ln",
    ]
)
_RULES: tuple[tuple[str, str, str, Literal["at_least", "at_most"]], ...] = (
    ("math.too_short", "math_chars", "min_chars", "at_least"),
    ("math.no_math", "math_marks", "min_marks", "at_least"),
    ("math.few_commands", "math_commands", "min_commands", "at_least"),
    ("math.few_formulas", "math_formulas", "min_formulas", "at_least"),
    ("math.few_symbols", "math_symbols", "min_symbols", "at_least"),
    ("math.accents", "math_accented", "max_accented", "at_most"),
)
_SYMBOLS = "[\u00b1\u00d7\u00f7\u2190-\u21ff\u2200-\u22ff\u27c0-\u27ef\u2980-\u2aff\U0001d400-\U0001d7ff]"  # arrows, operators, letters for mathematics
_FORMULA = r"\$\$[^$]*\$\$|\$[^$]*\$"
_ACCENTED = "[üïöêäâîûôèéàÜÏÖÊÄÂÎÛÔÈÉÀ]"


class Math(Step):
    """Keep documents with mathematics in them.

    Reads `text`; adds columns only in `mode: annotate`. Depends on nothing but the document. About 65 MB/s per core.

    `math_commands` counts commands of LaTeX (a backslash and at least two small letters), `math_formulas` pieces between $ or
    $$, `math_symbols` is the share of characters that are signs for mathematics in Unicode, and `math_marks` counts how many
    different ones of OpenWebMath's 95 frequent commands occur, formulas and symbols counting one each. By default a document
    needs 100 characters, one mark, and at most 1.5 % accented letters (OpenWebMath's guard against text that is not English).

    OpenWebMath also asks a fastText model (MathScore at least 0.17, or 0.8 where no LaTeX was found) and a KenLM (perplexity at
    most 15,000): give those models to the steps `classifier` and `perplexity`. Its rules on addresses fit the step `url`.
    "Costs $5 to $7" counts as a formula, as there; a Windows path such as \\temp counts as a command. Arithmetic in plain
    text ("3 + 4 = 7") is not found.
    """

    name: ClassVar[str] = "math"
    summary: ClassVar[str] = "keep documents with mathematics, by LaTeX commands, formulas and symbols (OpenWebMath)"
    origin: ClassVar[str] = (
        "Paster et al. 2023 OpenWebMath (arXiv:2310.06786), section 3; keirp/OpenWebMath extract_from_warc.py, filter_dataset.py"
    )

    mode: Literal["drop", "annotate"] = Field("drop", description="annotate: add columns, drop nothing")
    min_chars: int | None = Field(100, ge=0, le=1_000_000_000, description="fewest characters; null: no bound")
    min_marks: int | None = Field(1, ge=0, le=97, description="fewest different marks of mathematics; null: no bound")
    min_commands: int | None = Field(None, ge=0, le=1_000_000, description="fewest commands of LaTeX; null: no bound")
    min_formulas: int | None = Field(None, ge=0, le=1_000_000, description="fewest pieces between dollar signs; null: no bound")
    min_symbols: float | None = Field(None, ge=0, le=1, description="smallest share of mathematical symbols; null: no bound")
    max_accented: float | None = Field(0.015, ge=0, le=1, description="largest share of accented letters; null: no bound")

    def adds(self) -> Mapping[str, pa.DataType]:
        """In annotate mode: decision, reason and the numbers."""
        if self.mode == "drop":
            return {}
        kinds = {column: pa.float64() if column in ("math_symbols", "math_accented") else pa.int64() for _, column, _, _ in _RULES}
        return {"math_keep": pa.bool_(), "math_reason": pa.string(), **kinds}

    def drops(self) -> tuple[str, ...]:
        """Reasons of the bounds that are set, in the order in which they are tested."""
        return tuple(r for r, _, setting, _ in _RULES if getattr(self, setting) is not None) if self.mode == "drop" else ()

    def signals(self) -> tuple[Signal, ...]:
        """Every number has its bound."""
        return tuple(Signal(column, setting, side) for _, column, setting, side in _RULES)

    def bind(self, ctx: Context) -> BatchFn:
        """Build the automaton of commands."""
        from curate.kernels import patterns

        machine = patterns.build([c.encode() for c in _COMMANDS])
        borders, none = [patterns.ANYWHERE] * len(_COMMANDS), [0] * len(_COMMANDS)

        def run(batch: pa.RecordBatch) -> Outcome:
            text = pc.fill_null(batch.column("text"), "")
            distinct = patterns.scan(text, machine, none, borders, 1).distinct[:, 0]
            chars = pc.utf8_length(text).to_numpy(zero_copy_only=False).astype(np.int64)
            formulas, symbols = _count(text, _FORMULA, "$"), _count(text, _SYMBOLS)
            numbers: dict[str, npt.NDArray[Any]] = {
                "math_chars": chars,
                "math_marks": distinct + (formulas > 0) + (symbols > 0),
                "math_commands": _count(text, r"\\[a-z]{2,}", "\\"),
                "math_formulas": formulas,
                "math_symbols": ratio(symbols, chars),
                "math_accented": ratio(_count(text, _ACCENTED), chars),
            }
            # Empty text is kept: it has nothing to judge.
            tested = {name: np.where(chars == 0, np.nan, values) for name, values in numbers.items()}
            verdict = judge([Bound(r, tested[c], **{side: getattr(self, setting)}) for r, c, setting, side in _RULES], len(batch))
            if self.mode == "drop":
                return Outcome(batch, verdict)
            return Outcome(with_columns(batch, judged_columns(self.name, verdict, numbers)))

        return run


def _count(text: pa.LargeStringArray, pattern: str, needs: str | None = None) -> npt.NDArray[np.int64]:
    """Matches of a regular expression in each document; those without `needs` (None: without more than ASCII) are not searched."""
    counts = np.zeros(len(text), np.int64)
    may = pc.match_substring(text, needs) if needs is not None else pc.invert(pc.string_is_ascii(text))
    rows = np.flatnonzero(may.to_numpy(zero_copy_only=False))
    if len(rows):
        counts[rows] = pc.count_substring_regex(text.take(pa.array(rows)), pattern).to_numpy(zero_copy_only=False)
    return counts
