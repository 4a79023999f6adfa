"""What every run leaves for people: report.html, drawn without a library so that it costs little, and card.md.

A page that is newer than all that it is made of stays as it is, as make would have it: a run that finds everything done leaves both alone.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path


def write_pages(out: Path) -> list[str]:
    """Write both; return a line about each that could not be written. The data are whole whatever happens here."""
    from curate.report.card import write_card
    from curate.report.page import write_report

    writers: dict[str, tuple[Callable[[Path], object], str]] = {
        "report.html": (lambda root: write_report(root, library=False), "curate report"),
        "card.md": (write_card, "curate card"),
    }
    problems = []
    for name, (write, command) in writers.items():
        if up_to_date(out, name):
            continue
        try:
            write(out)
        except Exception as error:  # noqa: BLE001  a finished run must not fail over its description
            problems.append(f"{name} could not be written ({type(error).__name__}: {error}); `{command} {out}` tries again")
    return problems


def import_ahead() -> None:
    """Import what `write_pages` does, 0.1 to 0.2 s that are better spent while nothing waits for them. What can't be imported is told by it."""
    for module in ("jinja2", "numpy.ma", "pyarrow.dataset", "curate.report.card", "curate.report.page"):
        with suppress(ImportError):
            import_module(module)


def up_to_date(out: Path, name: str) -> bool:
    """Whether a page is newer than the run's manifest, what people said of it, its audits, and the code that draws it."""
    page = out / name
    made_of = [out / "manifest.json", out / "about.yaml", *(out / "audits").glob("*.json"), *Path(__file__).parent.iterdir()]
    return page.exists() and all(page.stat().st_mtime_ns > file.stat().st_mtime_ns for file in made_of if file.is_file())
