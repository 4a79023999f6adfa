"""Bounds on numbers of a document, and the first one it crosses: the common part of rule filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.step import Measured, Verdict

F64 = npt.NDArray[np.float64]


class Bound(NamedTuple):
    """Documents whose number lies in [at_least, at_most] survive; None is no bound, NaN (0 / 0) crosses none."""

    reason: str  # drop reason
    numbers: F64  # f64[n]
    at_least: float | None = None
    at_most: float | None = None

    def crossed(self) -> npt.NDArray[np.bool_]:
        """bool[n], True where the number lies outside."""
        if self.at_most is None:
            return np.zeros(len(self.numbers), bool) if self.at_least is None else self.numbers < self.at_least
        high: npt.NDArray[np.bool_] = self.numbers > self.at_most
        return high if self.at_least is None else high | (self.numbers < self.at_least)


def judge(bounds: Sequence[Bound], n: int, measure: bool = True) -> Verdict:
    """Give each of n documents the reason and the number of the first bound it crosses, in the order given.

    measure: with what was tested against each bound; annotate mode has no use for that, and it is half of the work
    """
    keep = np.ones(n, bool)
    which = np.zeros(n, np.int64)
    value = np.zeros(n)
    measured = []
    for k, bound in enumerate(bounds):
        if bound.at_least is None and bound.at_most is None:
            continue
        if measure:
            measured.append(Measured(bound.reason, np.where(keep, bound.numbers, np.nan), bound.at_least, bound.at_most))
        new = np.flatnonzero(bound.crossed() & keep)
        keep[new] = False
        which[new] = k
        value[new] = bound.numbers[new]
    reasons = pa.array([bound.reason for bound in bounds] or [""], pa.string())
    which_reason = reasons.take(pa.array(which, mask=keep))
    return Verdict(pa.array(keep), which_reason, pa.array(value, mask=keep | np.isnan(value)), measured=measured)


def ratio(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> F64:
    """part / whole as Python divides integers below 2^53; NaN where whole is 0."""
    result = np.full(len(part), np.nan)
    np.divide(part.astype(np.float64), whole.astype(np.float64), out=result, where=whole != 0)
    return result


def judged_columns(step: str, verdict: Verdict, signals: Mapping[str, npt.NDArray[Any]]) -> dict[str, pa.Array]:
    """Columns of annotate mode: `<step>_keep`, `<step>_reason` and the signals, NaN as null."""
    columns: dict[str, pa.Array] = {f"{step}_keep": verdict.keep, f"{step}_reason": verdict.reason}
    for name, numbers in signals.items():
        columns[name] = pa.array(numbers, mask=np.isnan(numbers)) if numbers.dtype == np.float64 else pa.array(numbers)
    return columns
