"""The loss report: what came in, what went out, what was left behind and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

EXAMPLES = 3  # shown for each reason
_SHOWN = 160  # characters of an example


@dataclass
class Report:
    """Counts of one conversion. rows = records + unreadable; records = held + dropped; written rows may be more than records held."""

    rows: int = 0  # read from the source, with the unreadable ones
    records: int = 0  # conversations in them
    held: int = 0  # records that the target could express
    written: int = 0  # rows written
    unreadable: Counter[str] = field(default_factory=Counter)  # source rows, by reason
    dropped: Counter[str] = field(default_factory=Counter)  # records, by reason
    lost: Counter[str] = field(default_factory=Counter)  # records that had a field the target can't hold
    odd: Counter[str] = field(default_factory=Counter)  # records with an odd case that a policy names
    examples: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)  # about the file that was written

    def example(self, reason: str, where: str, text: str) -> None:
        """Keep the first few places of a reason."""
        held = self.examples.setdefault(reason, [])
        if len(held) < EXAMPLES:
            shown = " ".join(text[: 8 * _SHOWN].split())
            held.append(f"{where}: {shown[:_SHOWN]}{'...' if len(shown) > _SHOWN else ''}")

    def balanced(self) -> bool:
        """Whether every record is accounted for."""
        return self.records == self.held + self.dropped.total()

    def as_json(self) -> dict[str, Any]:
        """Plain JSON, in a stable order."""
        return {
            "rows": self.rows,
            "records": self.records,
            "held": self.held,
            "written": self.written,
            "unreadable": dict(sorted(self.unreadable.items())),
            "dropped": dict(sorted(self.dropped.items())),
            "lost_fields": dict(sorted(self.lost.items())),
            "odd": dict(sorted(self.odd.items())),
            "notes": self.notes,
            "examples": dict(sorted(self.examples.items())),
        }

    def lines(self) -> list[str]:
        """For people."""
        rows = "" if self.written == self.held else f" as {self.written:,} rows"
        made = [f"{self.rows:,} rows read, {self.held:,} records written{rows}"]
        for title, counts in (
            ("not readable", self.unreadable),
            ("dropped", self.dropped),
            ("fields that the target can't hold", self.lost),
            ("odd conversations", self.odd),
        ):
            if counts:
                made.append(f"{title}:")
                for name, count in counts.most_common():
                    made.append(f"  {count:>9,}  {name}")
                    made += [f"             {text}" for text in self.examples.get(name, ())]
        return [*made, *self.notes]
