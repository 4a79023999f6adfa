"""What every run leaves for people: report.html, drawn without a library so that it costs little, and card.md."""

from __future__ import annotations

from collections.abc import Callable
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
        try:
            write(out)
        except Exception as error:  # noqa: BLE001  a finished run must not fail over its description
            problems.append(f"{name} could not be written ({type(error).__name__}: {error}); `{command} {out}` tries again")
    return problems
