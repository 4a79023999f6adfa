"""report.html: one file without scripts that needs nothing else, under a policy that lets nothing run or load.

The template escapes every value by itself; only the plots, drawn from numbers, are put in as they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from curate import __version__
from curate.report.contents import Contents, Plot, contents
from curate.report.plots import curve, has_library, histogram
from curate.report.run_folder import RunFolder
from curate.report.templates import environment
from curate.report.words import limits, number, percent, size
from curate.store import write_atomic

NAME = "report.html"


def write_report(root: Path, library: bool | None = None, path: Path | None = None) -> Path:
    """Write report.html of a finished run and return where it lies.

    library: draw with matplotlib; None: where it is installed
    """
    target = path or root / NAME
    write_atomic(target, page(contents(RunFolder(root)), has_library() if library is None else library).encode("utf-8", "backslashreplace"))
    return target


def page(report: Contents, library: bool) -> str:
    """The page as text."""
    from markupsafe import Markup

    templates = environment(autoescape=True)

    def drawn(plot: Plot) -> Any:
        return Markup(histogram(plot.axis, plot.bounds, f"{plot.title}, distribution", library))

    def line(name: str, points: list[tuple[float, float]]) -> Any:
        return Markup(curve(points, f"{name} by step", library))

    filters = {"size": size, "number": number, "percent": percent, "whole": lambda n: f"{n:,.0f}"}
    templates.filters.update(filters)
    return templates.get_template("page.html").render(
        report=report, manifest=report.run.manifest, run=report.run, version=__version__, drawn=drawn, line=line, limits=limits
    )
