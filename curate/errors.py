"""What can go wrong, sorted by what the reader will do about it.

    CurateError
    |-- RecipeError      mend the recipe or the command   (exit 2, nothing was written)
    |-- RunError         the run stopped; run again after  (exit 1, resumable)
    |   |-- DataError    ... mending the data
    |   |-- StepError    ... mending a step: it broke its contract
    |   `-- StoreError   ... mending the disk, or waiting for another run
    |-- Interrupted      nothing; run again               (exit 130)
    `-- MissingDependency  install an extra or fetch a model (exit 2)

Every message says what, where, got, expected and what to do next. Exceptions cross process borders as text, so each
takes its message as one string.
"""

from __future__ import annotations

from dataclasses import dataclass


class CurateError(Exception):
    """Any error that is meant for the user; shown without a traceback."""

    exit_code = 1


@dataclass(frozen=True)
class Problem:
    """One mistake in a recipe: where it stands and what it is."""

    message: str
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.line else f"{self.file}: " if self.file else ""
        return place + self.message


class RecipeError(CurateError):
    """The recipe or the command line is wrong. Holds every mistake found, in file order."""

    exit_code = 2

    def __init__(self, *problems: Problem | str) -> None:
        self.problems = tuple(Problem(p) if isinstance(p, str) else p for p in problems)
        super().__init__("\n".join(str(p) for p in self.problems))


class RunError(CurateError):
    """The run can't go on. What was finished is kept; the same command resumes."""


class DataError(RunError):
    """Input that can't be used: unreadable beyond the bound, missing, of the wrong shape."""


class StepError(RunError):
    """A step failed or broke its contract."""


class StoreError(RunError):
    """The run folder can't be used: full, damaged, or held by another run."""


class Interrupted(CurateError):
    """Somebody pressed Ctrl-C. What was finished is kept."""

    exit_code = 130


class MissingDependency(CurateError):
    """An optional package or a model is not there."""

    exit_code = 2

    @classmethod
    def extra(cls, package: str, extra: str, needed_by: str) -> MissingDependency:
        """Name the command that installs what `needed_by` lacks."""
        return cls(f"{needed_by} needs the package {package!r}, which is not installed. Run: pip install 'curate[{extra}]'")

    @classmethod
    def check(cls, packages: tuple[str, ...], extra: str, needed_by: str) -> None:
        """Raise for the first of the packages that is not installed. Imports none of them."""
        from importlib.util import find_spec

        for package in packages:
            if find_spec(package) is None:
                raise cls.extra(package, extra, needed_by)
